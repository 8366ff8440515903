"""Why an agent's session ended: evidence gathered from two snapshots and our own actions, and the cause it adds up to.

A close event is keyed by the agent's participant SID and grows: later evidence is added to it, and its cause is worked
out again from all of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from tui.model.action import Action, ActionRecord, Outcome
from tui.model.room import Agent, CloseReport, Room, SessionState
from tui.model.snapshot import Snapshot
from tui.model.text import Name


class Fact(StrEnum):
    """One observed thing."""

    SESSION_CLOSED = "session closed"
    JOB_SHUT_DOWN = "job shut down"
    AGENT_GONE = "agent gone"
    DISPATCH_GONE = "dispatch gone"
    ROOM_GONE = "room gone"
    OPERATOR_ACTED = "operator acted"


class Source(StrEnum):
    """Where evidence comes from."""

    POLLING = "polling"
    HELPER = "helper"
    OPERATOR = "operator"


@dataclass(frozen=True, slots=True)
class Evidence:
    """An observed fact, by whom it was seen and when (seconds since 1970)."""

    at: float
    source: Source
    fact: Fact
    detail: str = ""
    by: str = ""
    action: Action | None = None


class Cause(StrEnum):
    """What the evidence adds up to."""

    CLOSED_BY_OPERATOR = "session closed by operator"
    CLOSED_BY_CODE = "session closed by the agent's code"
    USER_LEFT = "user left"
    TASK_COMPLETED = "task completed"
    ERROR = "error"
    SHUT_DOWN_BY_OPERATOR = "job shut down by operator"
    SHUT_DOWN = "job shut down"
    KICKED_BY_OPERATOR = "kicked by operator"
    ROOM_DELETED_BY_OPERATOR = "room deleted by operator"
    TORN_DOWN_BY_OPERATOR = "torn down by operator"
    ROOM_ENDED = "room ended"
    AGENT_LEFT = "agent left, cause unknown"


@dataclass(frozen=True, slots=True)
class CloseEvent:
    """The end of one agent's session, as far as it is known. Times are seconds since 1970."""

    room: Name
    room_sid: str
    agent: str
    identity: Name
    participant_sid: str
    began: float
    seen: float
    evidence: tuple[Evidence, ...] = ()
    report: CloseReport | None = None
    agent_gone: bool = False
    room_gone: bool = False

    @property
    def cause(self) -> Cause:
        """What the evidence adds up to, worked out by `cause`."""
        return cause(self)

    @property
    def by(self) -> str:
        """The operator behind it, or empty."""
        if self.report is not None and self.report.by:
            return self.report.by
        return next((e.by for e in self.evidence if e.by), "")

    @property
    def duration(self) -> float:
        """Seconds from the agent's joining to the end of its session."""
        at = self.report.at if self.report is not None and self.report.at is not None else self.seen
        return max(0.0, at - self.began)


CLOSE_REASONS: Mapping[str, Cause] = {
    "error": Cause.ERROR,
    "participant_disconnected": Cause.USER_LEFT,
    "task_completed": Cause.TASK_COMPLETED,
    "job_shutdown": Cause.SHUT_DOWN,
}
"""What a CloseReason says by itself. `user_initiated` is missing: it stands for five causes (livekit-agents 1.8.9)."""

_OPERATORS = (
    # Strongest first: what ended the session is the strongest thing that was done to it.
    (Action.TEAR_DOWN, Cause.TORN_DOWN_BY_OPERATOR),
    (Action.DELETE_ROOM, Cause.ROOM_DELETED_BY_OPERATOR),
    (Action.KICK, Cause.KICKED_BY_OPERATOR),
    (Action.SHUT_DOWN_JOB, Cause.SHUT_DOWN_BY_OPERATOR),
    (Action.CLOSE_SESSION, Cause.CLOSED_BY_OPERATOR),
)


def cause(event: CloseEvent) -> Cause:
    """The one cause that the evidence adds up to; the agent's word first, where it is unambiguous."""
    if event.report is not None:
        if (said := CLOSE_REASONS.get(event.report.reason)) is not None:
            return said
        if event.report.by:
            return Cause.CLOSED_BY_OPERATOR
    facts = {evidence.fact for evidence in event.evidence}
    acted = {evidence.action for evidence in event.evidence if evidence.fact is Fact.OPERATOR_ACTED}
    for action, meant in _OPERATORS:
        if action in acted:
            return meant
    if Fact.JOB_SHUT_DOWN in facts or Fact.DISPATCH_GONE in facts:
        return Cause.SHUT_DOWN
    if Fact.SESSION_CLOSED in facts:
        return Cause.CLOSED_BY_CODE
    return Cause.ROOM_ENDED if event.room_gone else Cause.AGENT_LEFT


class CloseBook:
    """Every close event seen so far, by the agent's participant SID."""

    def __init__(self) -> None:
        self._events: dict[str, CloseEvent] = {}

    @property
    def events(self) -> Iterable[CloseEvent]:
        """All of them, in the order in which they were first seen."""
        return self._events.values()

    def absorb(self, before: Snapshot, after: Snapshot, actions: Iterable[ActionRecord]) -> tuple[CloseEvent, ...]:
        """Take in what changed between two snapshots; return the events that are new or have grown.

        A room that can't be read, and a picture that could not be renewed, prove nothing and change nothing.
        """
        if after.failure is not None:
            return ()
        records = tuple(actions)
        grown: dict[str, CloseEvent] = {}
        for sid, was in before.rooms.items():
            if sid not in after.rooms:
                for agent in was.agents:
                    self._compare(agent, was, None, after.at, records, grown)
        for sid, now in after.rooms.items():
            if (earlier := before.rooms.get(sid)) is not now:
                agents = {agent.participant.sid: agent for agent in now.agents}
                agents |= {agent.participant.sid: agent for agent in earlier.agents} if earlier is not None else {}
                for agent in agents.values():
                    self._compare(agent, now, now, after.at, records, grown)
        self._events.update(grown)
        return tuple(grown.values())

    def _compare(
        self,
        was: Agent,
        room: Room,
        room_now: Room | None,
        at: float,
        actions: tuple[ActionRecord, ...],
        grown: dict[str, CloseEvent],
    ) -> None:
        sid = was.participant.sid
        now = room_now.agent(sid) if room_now is not None else None
        facts = (now or was).facts
        news: list[Evidence] = []
        if facts.session is SessionState.CLOSED:
            report = facts.close
            news.append(
                Evidence(
                    report.at if report is not None and report.at is not None else at,
                    Source.HELPER,
                    Fact.SESSION_CLOSED,
                    report.reason if report is not None else "",
                    report.by if report is not None else "",
                )
            )
        if facts.shutdown is not None:
            said = facts.shutdown
            news.append(Evidence(said.at or at, Source.HELPER, Fact.JOB_SHUT_DOWN, said.reason, said.by))
        if room_now is None:
            news.append(Evidence(at, Source.POLLING, Fact.ROOM_GONE))
        elif now is None:
            news.append(Evidence(at, Source.POLLING, Fact.AGENT_GONE))
        if now is None and room_now is not None and _dispatch_gone(was, room_now):
            news.append(Evidence(at, Source.POLLING, Fact.DISPATCH_GONE))
        if not news:
            return
        news += [
            Evidence(
                record.at, Source.OPERATOR, Fact.OPERATOR_ACTED, record.action.value, record.operator, record.action
            )
            for record in actions
            if record.outcome is not Outcome.REFUSED and _concerns(record, room, sid)
        ]
        event = self._events.get(sid) or CloseEvent(
            room.name, room.sid, was.name, was.participant.identity, sid, was.participant.joined_at, at
        )
        known = {(evidence.source, evidence.fact, evidence.action) for evidence in event.evidence}
        added = tuple(e for e in news if (e.source, e.fact, e.action) not in known)
        if added:
            grown[sid] = replace(
                event,
                evidence=event.evidence + added,
                report=facts.close or event.report,
                agent_gone=now is None,
                room_gone=room_now is None,
            )


def _dispatch_gone(was: Agent, room: Room) -> bool:
    return (
        was.dispatch is not None
        and room.dispatches is not None
        and all(dispatch.id != was.dispatch.id for dispatch in room.dispatches)
    )


def _concerns(record: ActionRecord, room: Room, participant_sid: str) -> bool:
    if record.target.room_sid != room.sid or record.action is Action.DISPATCH_AGENT:
        return False
    return record.target.participant_sid in ("", participant_sid)
