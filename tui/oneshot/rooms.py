"""`lk-tui rooms`: one picture of a project as text or JSON, without the dashboard. It is also the accessible view.

The JSON is a documented contract (docs/rooms-json.md): fields may be added, never renamed or removed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from tui.gateway.client import Gateway
from tui.gateway.poller import Poller
from tui.history.codec import time_text
from tui.model.fleet import RoomRow, arranged
from tui.model.phrases import GHOST_WORDS, KIND_WORDS, agent_names, as_agent, count, people, sign_words, span
from tui.model.room import Agent, Participant
from tui.model.signs import Thresholds
from tui.model.snapshot import Snapshot
from tui.settings import Connection


async def read_once(connection: Connection, budget: int) -> Snapshot:
    """One complete picture of the project. Raises `GatewayError` if its rooms can't be listed."""
    async with Gateway(connection.url, connection.api_key, connection.api_secret, read_only=True) as gateway:
        return await Poller(gateway, budget=budget).poll_everything()


def rows_of(snapshot: Snapshot, thresholds: Thresholds) -> Sequence[RoomRow]:
    """The rooms with their signs, trouble first."""
    return arranged(snapshot.rooms, snapshot.at, thresholds)


def as_json(rows: Sequence[RoomRow], now: float) -> str:
    """The JSON document, indented; names are raw, non-ASCII and control characters escaped by JSON itself."""
    return json.dumps({"at": time_text(now), "rooms": [_room(row, now) for row in rows]}, indent=2)


def as_text(rows: Sequence[RoomRow], now: float) -> str:
    """The rooms one after the other, each with its signs, participants and agents, for reading from top to bottom."""
    lines = [f"{count(len(rows), 'room')}, {people(sum(row.room.people_count for row in rows))}"]
    for row in rows:
        room = row.room
        lines.append("")
        lines.append(f"{room.name.safe}  {room.sid}  {people(room.people_count)}, {as_agent(agent_names(room))}")
        lines += [f"  ! {sign_words(sign, now)}" for sign in row.signs]
        if room.ghost_since is not None:
            lines.append(f"  who is in it is {GHOST_WORDS}:")
        lines += [f"  {_participant_line(participant, now)}" for participant in room.participants or ()]
        lines += [f"  {as_agent(agent.name)}: {agent.state or 'state not published'}" for agent in room.agents]
        if room.participants is None:
            lines.append("  participants unknown")
    return "\n".join(lines)


def _participant_line(participant: Participant, now: float) -> str:
    kind = "hidden" if participant.hidden else KIND_WORDS[participant.kind]
    joined = span(now - participant.joined_at)
    return f"{participant.identity.safe}  {kind}, {participant.state.value}, joined {joined} ago"


def _room(row: RoomRow, now: float) -> Mapping[str, Any]:
    room = row.room
    return {
        "name": room.name.raw,
        "sid": room.sid,
        "created_at": time_text(room.created_at),
        "participants": None if room.participants is None else [_participant(one) for one in room.participants],
        "agents": None if room.participants is None else [_agent(agent) for agent in room.agents],
        "signs": [
            {
                "code": sign.code.value,
                "since": time_text(sign.since) if sign.since is not None else None,
                "text": sign_words(sign, now),
            }
            for sign in row.signs
        ],
    }


def _participant(participant: Participant) -> Mapping[str, Any]:
    return {
        "identity": participant.identity.raw,
        "sid": participant.sid,
        "kind": participant.kind.value,
        "state": participant.state.value,
        "joined_at": time_text(participant.joined_at),
        "hidden": participant.hidden,
    }


def _agent(agent: Agent) -> Mapping[str, Any]:
    return {
        "identity": agent.participant.identity.raw,
        "sid": agent.participant.sid,
        "name": agent.name,
        "state": agent.facts.state or None,
        "session": agent.facts.session.value,
        "dispatch": agent.dispatch.id if agent.dispatch is not None else None,
        "job": agent.job.id if agent.job is not None else None,
    }
