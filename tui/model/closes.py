"""The end of an agent's session: a record that grows with every piece of evidence, and the book of all of them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field, replace

from tui.model.action import INSIDE, Action, ActionRecord, Outcome
from tui.model.causes import CLOCKS_S, Cause, Verdict, judge
from tui.model.changes import changes
from tui.model.evidence import Evidence, Fact, Sighting, Source
from tui.model.room import Agent, Dispatch, SessionError
from tui.model.slices import Slices
from tui.model.snapshot import Snapshot
from tui.model.text import Name

KEPT = 10_000
"""Close events in memory; the history keeps more."""
RELEVANT_S = 60.0
"""What was seen or done in a room longer ago explains nothing that ends there now."""
_REMEMBERED_ROOMS = 10_000
_REMEMBERED_OF_A_ROOM = 16


@dataclass(frozen=True, slots=True)
class Revision:
    """The verdict until `at` (seconds since 1970), when later evidence changed the cause."""

    at: float
    before: Verdict


@dataclass(frozen=True, slots=True)
class CloseEvent:
    """The end of one agent's session, as far as it is known. Times are seconds since 1970.

    `began` is when the agent joined, `seen` when the end was first known here. `dispatch`, `job` and `worker` are ids,
    empty where not known.
    """

    room: Name
    room_sid: str
    agent: str
    identity: Name
    participant_sid: str
    began: float
    seen: float
    dispatch: str = ""
    job: str = ""
    worker: str = ""
    evidence: tuple[Evidence, ...] = ()
    verdict: Verdict = field(default=Verdict(Cause.UNKNOWN))
    revisions: tuple[Revision, ...] = ()

    @property
    def cause(self) -> Cause:
        """What the evidence adds up to."""
        return self.verdict.cause

    @property
    def by(self) -> str:
        """The operator behind it, or empty."""
        return self.verdict.by

    @property
    def reason(self) -> str:
        """The CloseReason that the agent said, or empty."""
        said = self._said
        return said.reason if said is not None else ""

    @property
    def error(self) -> SessionError | None:
        """The error that ended it, as the agent said; without its word, the last one that was heard of."""
        said = self._said
        if said is not None:
            return said.error
        return next((e.error for e in reversed(self.evidence) if e.fact is Fact.SESSION_FAILED), None)

    @property
    def at(self) -> float:
        """When it ended, by the best of those who tell: the agent first, polling last."""
        ends = [piece for piece in self.evidence if piece.fact in _ENDS]
        return min(ends, key=lambda piece: (_ENDS[piece.fact], _EXACT[piece.source])).at if ends else self.seen

    @property
    def duration(self) -> float:
        """Seconds from the agent's joining to the end of its session."""
        return max(0.0, self.at - self.began)

    @property
    def agent_gone(self) -> bool:
        """Whether the agent has left as well."""
        return any(piece.fact in (Fact.AGENT_LEFT, Fact.ROOM_ENDED) for piece in self.evidence)

    @property
    def room_gone(self) -> bool:
        """Whether the room is gone as well."""
        return any(piece.fact is Fact.ROOM_ENDED for piece in self.evidence)

    @property
    def _said(self) -> Evidence | None:
        return next((e for e in self.evidence if e.fact is Fact.SESSION_CLOSED and e.source is Source.HELPER), None)

    def grown(self, news: Iterable[Evidence], at: float) -> CloseEvent:
        """With more evidence, judged anew at `at`; the same object where nothing in it is new.

        A cause that changes is noted: no line ever says something else than before without saying so.
        """
        pieces = {piece.key: piece for piece in self.evidence}
        for piece in news:
            known = pieces.get(piece.key)
            if known is None or piece.says_more_than(known):
                pieces[piece.key] = piece
        evidence = tuple(pieces.values())
        if evidence == self.evidence:
            return self
        verdict = judge(evidence)
        revisions = self.revisions
        if self.evidence and verdict.cause is not self.cause:
            revisions = (*revisions, Revision(at, self.verdict))
        return replace(self, evidence=evidence, verdict=verdict, revisions=revisions)


_ENDS = {Fact.SESSION_CLOSED: 0, Fact.JOB_SHUT_DOWN: 1, Fact.AGENT_LEFT: 2, Fact.ROOM_ENDED: 3}
"""Facts that a close event can begin with, the one that dates it best first."""
_EXACT = {source: rank for rank, source in enumerate((Source.HELPER, Source.OBSERVER, Source.WEBHOOK))} | {
    Source.PROBE: 3,
    Source.OPERATOR: 3,
    Source.POLLING: 4,
}


class CloseBook:
    """Every close event seen so far, by the agent's participant SID. Sources come in any order, or not at all.

    An agent's session ends with the first sighting of it that says so. Everything else that is seen of the agent or of
    its room, shortly before or after, becomes evidence for that end.
    """

    def __init__(self, kept: int = KEPT) -> None:
        self._kept = kept
        self._events: dict[str, CloseEvent] = {}
        self._of_room: dict[str, dict[str, None]] = {}
        self._remembered: dict[str, list[tuple[str, Evidence]]] = {}
        self._records: dict[str, dict[int, ActionRecord]] = {}
        """what was sent from here, by room; the room in which something was done last is the last"""
        self._undecided: dict[str, None] = {}
        """agents that polling saw leave, and whose dispatch was not listed since"""
        self._grown: dict[str, CloseEvent] = {}
        self._latest = Snapshot()
        self._away = False

    @property
    def events(self) -> Collection[CloseEvent]:
        """All of them, in the order in which they were first seen."""
        return self._events.values()

    def event(self, participant_sid: str) -> CloseEvent | None:
        """The end of this agent's session, if one was seen."""
        return self._events.get(participant_sid)

    def restore(self, events: Iterable[CloseEvent]) -> None:
        """Take in what an earlier run knew; what is seen from now on is added to it."""
        for event in events:
            self._put(event)

    def absorb(self, after: Snapshot) -> Iterator[tuple[CloseEvent, ...]]:
        """Take in what changed since the last picture, one slice of rooms for each step of the iterator: a step gives
        the events that are new or have grown in it.

        A room that can't be read, and a picture that could not be renewed, prove nothing and change nothing.
        """
        if after.failure is not None:
            self._away = True
            return
        slices = Slices()
        for sightings in changes(self._latest, after, away=self._away):
            for sighting in sightings:
                self._take(sighting)
            if slices.ends(changed=bool(sightings)):
                yield self._news()
        self._latest = after
        self._away = False
        for sid in tuple(self._undecided):
            self._look_for_dispatch(sid, after.at)
        yield self._news()

    def absorb_sighting(self, sighting: Sighting) -> tuple[CloseEvent, ...]:
        """Take in what a source was told; return the events that are new or have grown."""
        self._take(sighting)
        return self._news()

    def absorb_record(self, record: ActionRecord) -> tuple[CloseEvent, ...]:
        """Take in what was done from here; return the events that it explains."""
        if not record.sent:
            # It explains nothing; and of what is sent, nothing may be pushed out by it.
            return ()
        of_room = self._records.pop(record.target.room_sid, {})
        self._records[record.target.room_sid] = of_room
        of_room.pop(record.id, None)
        of_room[record.id] = record
        if len(of_room) > _REMEMBERED_OF_A_ROOM:
            del of_room[next(iter(of_room))]
        if len(self._records) > _REMEMBERED_ROOMS:
            del self._records[next(iter(self._records))]
        for sid in self._of_room.get(record.target.room_sid, ()):
            event = self._events[sid]
            if _explains(record, event):
                self._grow(event, (), _last_step(record))
        return self._news()

    # One sighting

    def _take(self, sighting: Sighting) -> None:
        at = max(piece.at for piece in sighting.evidence)
        if sighting.agent is None:
            for sid in self._of_room.get(sighting.room_sid, ()):
                self._grow(self._events[sid], sighting.evidence, at)
            self._remember(sighting.room_sid, "", sighting.evidence)
            return
        sid = sighting.agent.participant.sid
        event = self._events.get(sid)
        if event is None and not any(piece.fact in _ENDS for piece in sighting.evidence):
            self._remember(sighting.room_sid, sid, sighting.evidence)
            return
        self._grow(event or self._begun(sighting, sighting.agent, at), sighting.evidence, at)

    def _begun(self, sighting: Sighting, agent: Agent, at: float) -> CloseEvent:
        """A new event. Only polling knows dispatches: what others sighted is looked up in the last picture."""
        sid = agent.participant.sid
        if agent.dispatch is None and (room := self._latest.rooms.get(sighting.room_sid)) is not None:
            agent = room.agent(sid) or agent
        return CloseEvent(
            sighting.room,
            sighting.room_sid,
            agent.name,
            agent.participant.identity,
            sid,
            # An observer isn't told when it joined.
            agent.participant.joined_at or at,
            at,
            agent.dispatch.id if agent.dispatch is not None else "",
            agent.job.id if agent.job is not None else "",
            agent.job.worker_id if agent.job is not None else "",
        )

    def _grow(self, event: CloseEvent, news: Iterable[Evidence], at: float) -> None:
        sid = event.participant_sid
        remembered = self._remembered.get(event.room_sid, ()) if sid not in self._events else ()
        earlier = [e for about, e in remembered if about in ("", sid) and event.seen - e.at < RELEVANT_S]
        done = self._records.get(event.room_sid, {}).values()
        acted = [_acted(record) for record in done if _explains(record, event)]
        grown = event.grown((*earlier, *news, *acted), at)
        if grown is not event:
            self._put(grown)
            self._grown[sid] = grown
            if _undecided(grown):
                self._undecided[sid] = None

    def _put(self, event: CloseEvent) -> None:
        self._events[event.participant_sid] = event
        self._of_room.setdefault(event.room_sid, {})[event.participant_sid] = None
        while len(self._events) > self._kept:
            oldest = self._events.pop(next(iter(self._events)))
            self._undecided.pop(oldest.participant_sid, None)
            siblings = self._of_room[oldest.room_sid]
            del siblings[oldest.participant_sid]
            if not siblings:
                del self._of_room[oldest.room_sid]

    def _remember(self, room_sid: str, participant_sid: str, evidence: Iterable[Evidence]) -> None:
        kept = self._remembered.pop(room_sid, [])
        kept += [(participant_sid, piece) for piece in evidence]
        self._remembered[room_sid] = kept[-_REMEMBERED_OF_A_ROOM:]
        if len(self._remembered) > _REMEMBERED_ROOMS:
            del self._remembered[next(iter(self._remembered))]

    def _look_for_dispatch(self, sid: str, at: float) -> None:
        """Whether its dispatch outlived it, by the first list of dispatches that is newer than its leaving."""
        event = self._events[sid]
        room = self._latest.rooms.get(event.room_sid)
        if room is None or at - event.seen > RELEVANT_S:
            del self._undecided[sid]
            return
        left = next(e.at for e in event.evidence if e.fact is Fact.AGENT_LEFT and e.source is Source.POLLING)
        if room.dispatches is None or room.dispatches_at is None or room.dispatches_at < left:
            return
        theirs = next((d for d in room.dispatches if d.id == event.dispatch or _had(d, event)), None)
        if theirs is None and not event.dispatch:
            # Which one was its own is not known: LiveKit lists jobs up to 5 s late.
            return
        fact = Fact.DISPATCH_STAYS if theirs is not None else Fact.DISPATCH_GONE
        known = replace(event, dispatch=theirs.id) if theirs is not None else event
        del self._undecided[sid]
        self._grow(known, (Evidence(room.dispatches_at, Source.POLLING, fact),), at)

    def _news(self) -> tuple[CloseEvent, ...]:
        news = tuple(self._grown.values())
        self._grown.clear()
        return news


def _undecided(event: CloseEvent) -> bool:
    facts = {(piece.fact, piece.source) for piece in event.evidence}
    return (Fact.AGENT_LEFT, Source.POLLING) in facts and not (
        facts & {(Fact.DISPATCH_GONE, Source.POLLING), (Fact.DISPATCH_STAYS, Source.POLLING)}
    )


def _had(dispatch: Dispatch, event: CloseEvent) -> bool:
    return any(job.identity.raw == event.identity.raw for job in dispatch.jobs)


def _acted(record: ActionRecord) -> Evidence:
    return Evidence(
        _as_kept(record.at),
        Source.OPERATOR,
        Fact.OPERATOR_ACTED,
        by=record.operator,
        action=record.action,
        outcome=record.outcome,
        done_at=_as_kept(record.done_at) if record.done_at is not None else None,
    )


def _as_kept(at: float) -> float:
    """As exact as files have it, so that it is the same piece of evidence when it is read again."""
    return round(at, 3)


def _last_step(record: ActionRecord) -> float:
    return record.steps[-1].at if record.steps else record.at


def _explains(record: ActionRecord, event: CloseEvent) -> bool:
    """Whether this action was under way, or just over, when the end was first seen, and was aimed at it."""
    target = record.target
    if record.by_dispatch and record.outcome is Outcome.UNKNOWN:
        # The helper did not answer. If the agent does it when it wakes, it says for whom.
        return False
    return (
        record.action is not Action.DISPATCH_AGENT
        and record.action not in INSIDE
        and target.participant_sid in ("", event.participant_sid)
        and record.at - CLOCKS_S <= event.seen <= _last_step(record) + RELEVANT_S
    )
