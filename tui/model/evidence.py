"""What was seen of a session's end: one fact at a time, with who saw it and when.

LiveKit tells the end of a session to nobody in full. Every source sees its own part, late, twice or not at all, and in
any order; so each part is kept as it was seen, and what they add up to is worked out from all of them (`causes`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from tui.model.action import Action, Outcome
from tui.model.room import Agent, CloseReport, Participant, SessionError, SessionState
from tui.model.text import Name


class Source(StrEnum):
    """Who saw it."""

    POLLING = "polling"
    HELPER = "helper"
    """the agent's own word, in its attributes, whoever carried it here"""
    WEBHOOK = "webhook"
    OBSERVER = "observer"
    PROBE = "probe"
    OPERATOR = "operator"
    """what was done from this lk-tui"""


class Fact(StrEnum):
    """What was seen; the values are for people and for files."""

    SESSION_CLOSED = "session closed"
    """`reason` is the CloseReason, empty where only the session's silence tells; `by` and `error` as the agent said"""
    SESSION_FAILED = "session failed"
    """an error that the agent told of, which need not have ended the session; `error`"""
    JOB_SHUT_DOWN = "job shutting down"
    """`reason` is the text given to ctx.shutdown, empty where its code gave none; `by` as the agent said"""
    AGENT_STAYED = "agent still in the room"
    """seen in the room some time after its session had closed"""
    AGENT_LEFT = "agent left"
    """`reason` is LiveKit's DisconnectReason, empty where the source isn't told"""
    DISPATCH_GONE = "its dispatch is gone"
    DISPATCH_STAYS = "its dispatch is still there"
    PERSON_LEFT = "person left"
    """`who`, and `reason` as above"""
    ROOM_ENDED = "room gone"
    ROOM_NOT_DUE = "too early for LiveKit to close the room by itself"
    """`at` is when the last person was seen in it"""
    ROOM_DUE = "empty for so long that LiveKit closes the room by itself"
    """`at` as above"""
    SERVER_AWAY = "the server could not be asked meanwhile"
    NOT_ANSWERING = "agent not answering"
    ANSWERED = "agent answered"
    OPERATOR_ACTED = "operator acted"
    """`action`, its `outcome`, and `by` whom; `at` is when it began, `done_at` when its effect was seen"""


@dataclass(frozen=True, slots=True)
class Evidence:
    """One fact. `at` is seconds since 1970, by the clock of whoever tells it; all text is safe to show."""

    at: float
    source: Source
    fact: Fact
    reason: str = ""
    by: str = ""
    who: str = ""
    error: SessionError | None = None
    action: Action | None = None
    outcome: Outcome | None = None
    done_at: float | None = None

    @property
    def key(self) -> tuple[str, ...]:
        """What makes it the same piece when it is seen again, perhaps with more in it."""
        # What is done twice is two pieces: the second time may fail where the first one did it.
        done = (self.action.value, f"{self.at:.3f}") if self.action is not None else ()
        return (self.source.value, self.fact.value, self.who, *done)

    def says_more_than(self, known: Evidence) -> bool:
        """Whether this, seen again, should take the place of `known`: an action went on, a gap is filled."""
        if self.fact is Fact.OPERATOR_ACTED:
            return (self.outcome, self.done_at) != (known.outcome, known.done_at)
        return bool(self.reason and not known.reason) or bool(self.by and not known.by)


@dataclass(frozen=True, slots=True)
class Sighting:
    """What one source saw at one moment in one room: about this agent, or, without one, about the room itself.

    What is about the room, such as a person's leaving, is evidence for every session that ends in it.
    """

    room: Name
    room_sid: str
    evidence: tuple[Evidence, ...]
    agent: Agent | None = None


@dataclass(frozen=True, slots=True)
class SourceStatus:
    """Whether a source is there, for the screen: `name` is one short word, `words` says more (where it listens, or what
    is wrong with it). `trouble` says that it was asked for and doesn't work."""

    name: str
    on: bool
    words: str = ""
    trouble: bool = False


def published(agent: Participant, at: float) -> Iterator[Evidence]:
    """What the agent says of its session's end in its attributes, which were seen at `at`."""
    facts = agent.agent
    if facts is None:
        return
    close, shutdown = facts.close, facts.shutdown
    if facts.session is SessionState.CLOSED:
        told = close or CloseReport("")
        yield Evidence(told.at or at, Source.HELPER, Fact.SESSION_CLOSED, told.reason, told.by, error=told.error)
    if shutdown is not None:
        yield Evidence(shutdown.at or at, Source.HELPER, Fact.JOB_SHUT_DOWN, shutdown.reason, shutdown.by)


def probed(agent: Participant) -> Iterator[Evidence]:
    """What the probes of this agent came to."""
    facts = agent.agent
    if facts is None:
        return
    if facts.answered_at is not None:
        yield Evidence(facts.answered_at, Source.PROBE, Fact.ANSWERED)
    if facts.silent_since is not None:
        yield Evidence(facts.silent_since, Source.PROBE, Fact.NOT_ANSWERING)
