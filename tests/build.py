"""Model objects for tests, with everything that a test does not care about filled in."""

from __future__ import annotations

from typing import Any

from tui.model.room import AgentFacts, Dispatch, Job, Kind, Participant, ParticipantState, Room
from tui.model.snapshot import Snapshot
from tui.model.text import Name

NOW = 1_800_000_000.0
"""The present moment of these rooms and their people."""


def person(identity: str = "ann", *, joined: float = 60.0, sid: str = "", **more: Any) -> Participant:
    """A person who joined `joined` seconds ago."""
    fields: dict[str, Any] = {"kind": Kind.STANDARD, "state": ParticipantState.ACTIVE, **more}
    return Participant(sid or f"PA_{identity}", Name.of(identity), joined_at=NOW - joined, **fields)


def agent(identity: str = "agent-AJ_1", *, joined: float = 60.0, sid: str = "", **facts: Any) -> Participant:
    """An agent that joined `joined` seconds ago and publishes these facts."""
    return Participant(
        sid or f"PA_{identity}",
        Name.of(identity),
        Kind.AGENT,
        ParticipantState.ACTIVE,
        NOW - joined,
        agent=AgentFacts(**facts),
    )


def dispatch(name: str = "", *identities: str, id: str = "AD_1") -> Dispatch:  # noqa: A002 - LiveKit's word
    """A dispatch whose jobs run behind these identities."""
    jobs = tuple(Job(f"AJ_{identity}", Name.of(identity), "AW_1", "running") for identity in identities)
    return Dispatch(id, Name.of(name), jobs, created_at=NOW - 60)


def room(name: str = "support-1", *participants: Participant, sid: str = "", **more: Any) -> Room:
    """A room that was read just now."""
    fields: dict[str, Any] = {"created_at": NOW - 300, "participants": participants, "checked_at": NOW, **more}
    return Room(sid or f"RM_{name}", Name.of(name), **fields)


def snapshot(*rooms: Room, number: int = 1, at: float = NOW, **more: Any) -> Snapshot:
    """A good picture of these rooms."""
    fields: dict[str, Any] = {"listed_at": at, "interval": 2.0, "budget": 600, **more}
    return Snapshot(number, at, {one.sid: one for one in rooms}, **fields)
