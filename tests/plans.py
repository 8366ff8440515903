"""A room as it stands before something is planned for it: who is in it, and what brought its agents."""

from tui.model.room import (
    AgentFacts,
    Dispatch,
    Job,
    Kind,
    Participant,
    ParticipantState,
    Room,
    SessionState,
)
from tui.model.text import Name

NOW = 1_000_000.0
LONG_AGO = NOW - 600.0


def person(name: str, kind: Kind = Kind.STANDARD, *, hidden: bool = False) -> Participant:
    return Participant(f"PA_{name}", Name.of(name), kind, ParticipantState.ACTIVE, LONG_AGO, hidden=hidden)


def agent(
    name: str,
    *,
    helper: bool = True,
    joined_at: float = LONG_AGO,
    session: SessionState = SessionState.OPEN,
    state: str = "listening",
) -> Participant:
    facts = AgentFacts(
        name=name,
        state=state,
        helper="1" if helper else "",
        session=session if helper else SessionState.UNKNOWN,
    )
    identity = Name.of(f"agent-AJ_{name}")
    return Participant(f"PA_{name}", identity, Kind.AGENT, ParticipantState.ACTIVE, joined_at, agent=facts)


def room(*participants: Participant, dispatches: tuple[Dispatch, ...] | None = ()) -> Room:
    return Room(
        "RM_1",
        Name.of("support-4711"),
        LONG_AGO,
        participants=participants,
        checked_at=NOW - 1.0,
        dispatches=dispatches,
        dispatches_at=NOW - 1.0,
    )


def dispatch(*names: str, id: str = "AD_1") -> Dispatch:  # noqa: A002 - what it is
    jobs = tuple(Job(f"AJ_{name}", Name.of(f"agent-AJ_{name}"), "AW_1", "running") for name in names)
    return Dispatch(id, Name.of(""), jobs, LONG_AGO)
