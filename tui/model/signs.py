"""What is wrong with a room: its signs, worst first."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from tui.model.room import Agent, ParticipantState, Room


class SignCode(StrEnum):
    """The kinds of trouble, as `rooms --json` and filters name them, worst first."""

    SILENT = "silent"
    WAITING = "waiting"
    STUCK = "stuck"
    RETURNED = "returned"
    GHOST = "ghost"
    CLOSED = "closed"
    ALONE = "alone"
    DOUBLE = "double"
    FAILED = "failed"
    STALE = "stale"


WORST_FIRST: Mapping[SignCode, int] = {code: rank for rank, code in enumerate(SignCode)}


@dataclass(frozen=True, slots=True)
class Sign:
    """One thing that is wrong: its code, since when (seconds since 1970, None where unknown), and who it is about."""

    code: SignCode
    since: float | None
    who: str = ""
    count: int = 1


@dataclass(frozen=True, slots=True)
class Thresholds:
    """How long something must last before it is a sign. Seconds."""

    waiting_s: float = 10.0
    """a person is in the room and no agent is"""
    alone_s: float = 30.0
    """an agent is in the room and no person is"""
    initializing_s: float = 15.0
    """an agent's state is `initializing`"""
    thinking_s: float = 30.0
    """an agent's state is `thinking`"""
    silent_s: float = 4.0
    """an agent answers no probe"""
    closed_s: float = 5.0
    """an agent's session has closed and the agent is still there"""
    returned_s: float = 120.0
    """for how long after its return a kicked participant is pointed out"""
    stale_s: float = 60.0
    """a room's participants were last read"""


@dataclass(frozen=True, slots=True)
class Kick:
    """A kick that this supervisor carried out: who was cut off, by participant SID, and when."""

    participant_sid: str
    at: float


Kicks = Mapping[tuple[str, str], Kick]
"""Kicks by (room SID, raw identity)."""


def signs(room: Room, now: float, thresholds: Thresholds, kicks: Kicks | None = None) -> tuple[Sign, ...]:
    """The room's signs at `now`, worst first. A room whose participants were never read has no signs but `failed`."""
    found = [sign for sign, begins, ends in _conditions(room, thresholds, kicks or {}) if begins <= now < ends]
    if len(found) > 1:
        found.sort(key=lambda sign: (WORST_FIRST[sign.code], sign.since or 0.0))
    return tuple(found)


def next_change(room: Room, now: float, thresholds: Thresholds, kicks: Kicks | None = None) -> float | None:
    """When the room's signs will be others although nothing happens in it, by time alone; None for never."""
    times = (time for _, *span in _conditions(room, thresholds, kicks or {}) for time in span)
    return min((time for time in times if now < time < math.inf), default=None)


_Condition = tuple[Sign, float, float]
"""A sign, when it begins to be one, and when it ceases to (seconds since 1970, or infinite)."""


def _conditions(room: Room, limits: Thresholds, kicks: Kicks) -> Iterator[_Condition]:
    """Everything in the room that is a sign, was one, or will be if it lasts."""
    if room.ghost_since is not None:
        # Nothing that is listed of it need be so: no other sign can be told from its people and agents.
        yield Sign(SignCode.GHOST, room.ghost_since), -math.inf, math.inf
        return
    if room.trouble:
        yield Sign(SignCode.FAILED, room.checked_at, room.trouble), -math.inf, math.inf
    if room.participants is None:
        return
    if room.checked_at is not None:
        yield Sign(SignCode.STALE, room.checked_at), room.checked_at + limits.stale_s, math.inf
    people, agents = room.people, room.agents
    active = [person for person in people if person.state is ParticipantState.ACTIVE]
    if active and not agents:
        since = max(min(person.joined_at for person in active), room.agent_at or 0.0)
        yield Sign(SignCode.WAITING, since, count=len(active)), since + limits.waiting_s, math.inf
    if agents and not people:
        since = max(min(agent.participant.joined_at for agent in agents), room.people_at or 0.0)
        yield Sign(SignCode.ALONE, since, agents[0].name, len(agents)), since + limits.alone_s, math.inf
    for agent in agents:
        yield from _of_agent(agent, len(agents), limits)
    if len(agents) > 1:
        for name, count in Counter(agent.name for agent in agents).items():
            if count > 1:
                yield Sign(SignCode.DOUBLE, None, name, count), -math.inf, math.inf
    if kicks:
        yield from _returned(room, limits, kicks)


def _of_agent(agent: Agent, count: int, limits: Thresholds) -> Iterator[_Condition]:
    """What is wrong with one of the `count` agents in its room."""
    facts = agent.facts
    silent_at = math.inf
    if facts.silent_since is not None:
        # From then on, what it published last says nothing of it any more.
        silent_at = facts.silent_since + limits.silent_s
        yield Sign(SignCode.SILENT, facts.silent_since, agent.name, count), silent_at, math.inf
    if facts.closed:
        since = facts.close.at if facts.close is not None else facts.closed_since
        begins = since + limits.closed_s if since is not None else -math.inf
        yield Sign(SignCode.CLOSED, since, agent.name), begins, silent_at
        return
    limit = {"initializing": limits.initializing_s, "thinking": limits.thinking_s}.get(facts.state)
    if limit is not None and facts.state_since is not None:
        sign = Sign(SignCode.STUCK, facts.state_since, f"{agent.name} {facts.state}")
        yield sign, facts.state_since + limit, silent_at


def _returned(room: Room, limits: Thresholds, kicks: Kicks) -> Iterator[_Condition]:
    for participant in room.participants or ():
        kick = kicks.get((room.sid, participant.identity.raw))
        if kick is not None and kick.participant_sid != participant.sid:
            sign = Sign(SignCode.RETURNED, participant.joined_at, participant.identity.safe)
            yield sign, -math.inf, max(kick.at, participant.joined_at) + limits.returned_s
