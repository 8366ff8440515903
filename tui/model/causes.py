"""Why a session ended: one cause out of a small closed set, from all the evidence there is. Pure.

An agent's own CloseEvent says `user_initiated` for five different ends, and LiveKit's disconnect reason is the same for
two of these (livekit-agents 1.8.9, livekit-server 1.13.5). Together with the dispatch's presence, the room's fate and
what was done from here they can mostly be told apart; where they can't, the verdict says between what.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from tui.model.action import CHANGED_NOTHING, Action, Outcome
from tui.model.evidence import Evidence, Fact, Source


class Cause(StrEnum):
    """The closed set; the values are for files and filters (docs/closes-json.md)."""

    CLOSED_BY_OPERATOR = "closed_by_operator"
    CLOSED_BY_CODE = "closed_by_code"
    USER_LEFT = "user_left"
    TASK_COMPLETED = "task_completed"
    ERROR = "error"
    SHUT_DOWN_BY_OPERATOR = "shut_down_by_operator"
    SHUT_DOWN_BY_CODE = "shut_down_by_code"
    DISPATCH_DELETED = "dispatch_deleted"
    WORKER_STOPPED = "worker_stopped"
    KICKED_BY_OPERATOR = "kicked_by_operator"
    KICKED_BY_SOMEONE = "kicked_by_someone"
    ROOM_DELETED_BY_OPERATOR = "room_deleted_by_operator"
    ROOM_DELETED_BY_SOMEONE = "room_deleted_by_someone"
    TORN_DOWN_BY_OPERATOR = "torn_down_by_operator"
    ROOM_ENDED_EMPTY = "room_ended_empty"
    AGENT_LOST = "agent_lost"
    SERVER_SHUTDOWN = "server_shutdown"
    DUPLICATE_IDENTITY = "duplicate_identity"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the evidence adds up to. `could_be` are the causes that the evidence can't tell from this one, or, where
    the cause is unknown, those that are left. `by` is the operator behind it, or empty."""

    cause: Cause
    by: str = ""
    could_be: tuple[Cause, ...] = ()


ANSWERED_LATELY_S = 21.0
"""LiveKit lists a dead agent for so long: one that answered later than that before it left was alive."""

SILENT_WITHIN_S = 8.0
"""So soon after its user left a session leaves a question unanswered: it is asked every 1.5 s, and finishes a turn."""
HEARD_LATE_S = 3.5
"""Of somebody without tracks LiveKit tells 3 s late that they left (1.13.5)."""

CLOCKS_S = 5.0
"""Others' clocks may be so much behind ours without an action seeming to come after its effect."""

_SAID: Mapping[str, Cause] = {
    "error": Cause.ERROR,
    "participant_disconnected": Cause.USER_LEFT,
    "task_completed": Cause.TASK_COMPLETED,
}
"""CloseReasons that mean one thing. `user_initiated` doesn't, and `job_shutdown` leaves open who shut it down."""

_SERVER_SAID: Mapping[str, Cause] = {
    "DUPLICATE_IDENTITY": Cause.DUPLICATE_IDENTITY,
    "SERVER_SHUTDOWN": Cause.SERVER_SHUTDOWN,
    "PARTICIPANT_REMOVED": Cause.KICKED_BY_SOMEONE,
    "ROOM_DELETED": Cause.ROOM_DELETED_BY_SOMEONE,
    "ROOM_CLOSED": Cause.ROOM_ENDED_EMPTY,
    "CONNECTION_TIMEOUT": Cause.AGENT_LOST,
    "SIGNAL_CLOSE": Cause.AGENT_LOST,
    "MEDIA_FAILURE": Cause.AGENT_LOST,
    "AGENT_ERROR": Cause.ERROR,
}
"""DisconnectReasons that mean one thing, where no operator's action explains them better. CLIENT_INITIATED stands for
ctx.shutdown and for DeleteDispatch."""


def judge(evidence: Iterable[Evidence]) -> Verdict:
    """The one cause that the evidence adds up to, in whatever order it came."""
    return _Case(tuple(evidence)).verdict()


class _Case:
    """The evidence, sorted by what it speaks of."""

    def __init__(self, evidence: tuple[Evidence, ...]) -> None:
        self._facts: dict[Fact, list[Evidence]] = {}
        # By time, not by arrival: late or early, the same evidence gives the same verdict.
        for piece in sorted(evidence, key=lambda piece: (piece.at, piece.key)):
            self._facts.setdefault(piece.fact, []).append(piece)
        closes = self._facts.get(Fact.SESSION_CLOSED, ())
        # What the agent says outranks what its silence tells.
        self.said = next((e for e in closes if e.source is Source.HELPER), next(iter(closes), None))
        self.shutdown = self._first(Fact.JOB_SHUT_DOWN)
        self.left = self._first(Fact.AGENT_LEFT)
        lefts = self._facts.get(Fact.AGENT_LEFT, ())
        self.server_said = next((e.reason for e in lefts if e.reason), "")
        self.acted = self._in_time(
            [e for e in self._facts.get(Fact.OPERATOR_ACTED, ()) if e.outcome not in CHANGED_NOTHING]
        )

    def _in_time(self, acted: list[Evidence]) -> dict[Action, Evidence]:
        """Of these actions those that can have ended it, because none of them was begun when it was known to be over.

        Of one that was done twice it is the first time that was seen to be done, or else the first one.
        """
        seen = min(
            (e.at + (CLOCKS_S if e.source is not Source.POLLING else 0.0) for e in self._seen()), default=math.inf
        )
        # What was done from here ended it too: whatever was begun later found its session closed.
        done = min((e.done_at for e in acted if e.done_at is not None), default=math.inf)
        in_time: dict[Action, Evidence] = {}
        for piece in acted:
            if piece.action is not None and piece.at <= seen and (piece.at < done or piece.done_at == done):
                known = in_time.setdefault(piece.action, piece)
                if known.done_at is None and piece.done_at is not None:
                    in_time[piece.action] = piece
        return in_time

    def _seen(self) -> Iterator[Evidence]:
        """What shows that it is over, other than the agent's word: that has the time of a clock that may be wrong."""
        for fact in (Fact.SESSION_CLOSED, Fact.AGENT_LEFT, Fact.ROOM_ENDED):
            yield from (e for e in self._facts.get(fact, ()) if e.source is not Source.HELPER)

    def _first(self, fact: Fact) -> Evidence | None:
        return next(iter(self._facts.get(fact, ())), None)

    def verdict(self) -> Verdict:
        said = self.said
        if said is not None and (cause := _SAID.get(said.reason)) is not None:
            return Verdict(cause)
        if said is not None and Fact.SESSION_FAILED in self._facts and not said.reason:
            return Verdict(Cause.ERROR)
        if said is not None and self._session_alone():
            return self._closed_alone(said)
        return self._operator() or self._server() or self._helper() or self._lists()

    # The session alone, the agent stayed

    def _session_alone(self) -> bool:
        """Whether only the session ended: what became of the agent later is another story."""
        said = self.said
        if said is not None and said.by and (self.shutdown is None or said.at < self.shutdown.at):
            # Asked to: it closes the session of a job that it shuts down after it has said that it does.
            return True
        if self.shutdown is not None:
            return False
        if said is not None and said.source is Source.OBSERVER:
            # Its process still answered when its session didn't any more.
            return True
        if self._cut_off():
            # It could not have said any more that its session closed.
            return True
        return (self.left is None and Fact.ROOM_ENDED not in self._facts) or Fact.AGENT_STAYED in self._facts

    def _cut_off(self) -> bool:
        """Whether it was put out of the room, or lost, while nothing was shutting its job down."""
        if Fact.DISPATCH_GONE in self._facts or Action.SHUT_DOWN_JOB in self.acted:
            return False
        return self.server_said in _CUT_OFF or (not self.server_said and not _CUTTING_OFF.isdisjoint(self.acted))

    def _closed_alone(self, said: Evidence) -> Verdict:
        if (acted := self.acted.get(Action.TEAR_DOWN)) is not None and said.by in ("", acted.by):
            return Verdict(Cause.TORN_DOWN_BY_OPERATOR, acted.by)
        if said.by:
            return Verdict(Cause.CLOSED_BY_OPERATOR, said.by)
        if (acted := self.acted.get(Action.CLOSE_SESSION)) is not None:
            return Verdict(Cause.CLOSED_BY_OPERATOR, acted.by)
        if not said.reason:
            return self._fell_silent(said)
        if Fact.AGENT_STAYED in self._facts or self._cut_off():
            return Verdict(Cause.CLOSED_BY_CODE)
        # A job that ends closes its session first of all, and says a moment later that it is the job.
        return Verdict(Cause.CLOSED_BY_CODE, could_be=(Cause.SHUT_DOWN_BY_CODE, Cause.DISPATCH_DELETED))

    def _fell_silent(self, closed: Evidence) -> Verdict:
        """Its silence says only that it closed; a user who had just left is reason enough (livekit-agents' default)."""
        left = (piece.at for piece in self._facts.get(Fact.PERSON_LEFT, ()))
        if any(-HEARD_LATE_S <= closed.at - at <= SILENT_WITHIN_S for at in left):
            return Verdict(Cause.USER_LEFT, could_be=(Cause.CLOSED_BY_CODE,))
        return Verdict(Cause.UNKNOWN, could_be=(Cause.CLOSED_BY_CODE, Cause.USER_LEFT, Cause.ERROR))

    # What was done from here

    def _operator(self) -> Verdict | None:
        """Our own action, if the server's word doesn't contradict it.

        Of several that overlap it is the strongest: it was begun because the others didn't do. One that ended without
        its effect having been seen comes after those whose effect was.
        """
        fits: tuple[tuple[Action, Cause, frozenset[str]], ...] = (
            (Action.TEAR_DOWN, Cause.TORN_DOWN_BY_OPERATOR, _BY_TEARING_DOWN),
            (Action.DELETE_ROOM, Cause.ROOM_DELETED_BY_OPERATOR, frozenset({"", "ROOM_DELETED"})),
            (Action.REPAIR_ROOM, Cause.ROOM_DELETED_BY_OPERATOR, frozenset({"", "ROOM_DELETED"})),
            (Action.KICK, Cause.KICKED_BY_OPERATOR, frozenset({"", "PARTICIPANT_REMOVED"})),
            (Action.SHUT_DOWN_JOB, Cause.SHUT_DOWN_BY_OPERATOR, _BY_SHUTTING_DOWN),
        )
        fitting = [
            (acted, cause)
            for action, cause, reasons in fits
            if (acted := self.acted.get(action)) is not None and self.server_said in reasons
        ]
        if fitting:
            acted, cause = min(fitting, key=lambda fit: fit[0].done_at is None and fit[0].outcome in _UNPROVEN)
            return Verdict(cause, acted.by)
        closed = self.acted.get(Action.CLOSE_SESSION)
        if closed is not None and closed.done_at is not None:
            # Whatever became of the agent later.
            return Verdict(Cause.CLOSED_BY_OPERATOR, closed.by)
        if self.shutdown is not None and self.shutdown.by:
            return Verdict(Cause.SHUT_DOWN_BY_OPERATOR, self.shutdown.by)
        if self.said is not None and self.said.by:
            return Verdict(Cause.CLOSED_BY_OPERATOR, self.said.by)
        return None

    # What the server said

    def _server(self) -> Verdict | None:
        if self.server_said == "PARTICIPANT_REMOVED" and Fact.DISPATCH_GONE in self._facts:
            # So ends a hung agent whose dispatch was deleted, 4.4 s later; a kick leaves the dispatch.
            return Verdict(Cause.DISPATCH_DELETED)
        if (cause := _SERVER_SAID.get(self.server_said)) is not None:
            return Verdict(cause)
        if self.server_said == "CLIENT_INITIATED":
            return self._left_by_itself()
        # A reason that lk-tui doesn't know: it is shown as it is.
        return Verdict(Cause.UNKNOWN) if self.server_said else None

    def _left_by_itself(self) -> Verdict:
        if self.shutdown is not None and self.shutdown.reason:
            return Verdict(Cause.SHUT_DOWN_BY_CODE)
        if Fact.DISPATCH_GONE in self._facts:
            return Verdict(Cause.DISPATCH_DELETED)
        if Fact.DISPATCH_STAYS in self._facts:
            return Verdict(Cause.SHUT_DOWN_BY_CODE, could_be=(Cause.WORKER_STOPPED,))
        return Verdict(Cause.UNKNOWN, could_be=(Cause.SHUT_DOWN_BY_CODE, Cause.DISPATCH_DELETED, Cause.WORKER_STOPPED))

    # What the agent said of its job

    def _helper(self) -> Verdict | None:
        return self._left_by_itself() if self.shutdown is not None else None

    # What the lists say

    def _lists(self) -> Verdict:
        if Fact.ROOM_ENDED in self._facts:
            return self._room_ended()
        if Fact.DISPATCH_GONE in self._facts:
            return Verdict(Cause.DISPATCH_DELETED)
        if self._silent():
            return Verdict(Cause.AGENT_LOST)
        left: list[Cause] = [Cause.KICKED_BY_SOMEONE, Cause.SHUT_DOWN_BY_CODE]
        if Fact.DISPATCH_STAYS not in self._facts:
            left.append(Cause.DISPATCH_DELETED)
        if not self._alive():
            left.append(Cause.AGENT_LOST)
        return Verdict(Cause.UNKNOWN, could_be=tuple(left))

    def _room_ended(self) -> Verdict:
        if Fact.SERVER_AWAY in self._facts:
            ends = (Cause.SERVER_SHUTDOWN, Cause.ROOM_DELETED_BY_SOMEONE, Cause.ROOM_ENDED_EMPTY)
            return Verdict(Cause.UNKNOWN, could_be=ends)
        if Fact.ROOM_NOT_DUE in self._facts:
            return Verdict(Cause.ROOM_DELETED_BY_SOMEONE)
        if Fact.ROOM_DUE in self._facts:
            return Verdict(Cause.ROOM_ENDED_EMPTY, could_be=(Cause.ROOM_DELETED_BY_SOMEONE,))
        return Verdict(Cause.UNKNOWN, could_be=(Cause.ROOM_DELETED_BY_SOMEONE, Cause.ROOM_ENDED_EMPTY))

    def _silent(self) -> bool:
        """Whether the last probe before it left went unanswered."""
        silent, answered = self._first(Fact.NOT_ANSWERING), self._first(Fact.ANSWERED)
        return silent is not None and (answered is None or answered.at < silent.at)

    def _alive(self) -> bool:
        """Whether it answered so shortly before it left that it can't have been dead for as long as LiveKit waits."""
        answered = self._first(Fact.ANSWERED)
        return answered is not None and self.left is not None and self.left.at - answered.at < ANSWERED_LATELY_S


_CUT_OFF = frozenset(
    {
        "PARTICIPANT_REMOVED",
        "ROOM_DELETED",
        "ROOM_CLOSED",
        "DUPLICATE_IDENTITY",
        "SERVER_SHUTDOWN",
        "CONNECTION_TIMEOUT",
        "SIGNAL_CLOSE",
        "MEDIA_FAILURE",
    }
)
"""DisconnectReasons of an agent whose attributes don't get out any more when its session closes for it."""
_CUTTING_OFF = frozenset({Action.KICK, Action.DELETE_ROOM, Action.REPAIR_ROOM})
_UNPROVEN = frozenset({Outcome.UNKNOWN, Outcome.STOPPED})
_BY_SHUTTING_DOWN = frozenset({"", "CLIENT_INITIATED", "PARTICIPANT_REMOVED"})
"""PARTICIPANT_REMOVED: a hung agent whose dispatch was deleted."""
_BY_TEARING_DOWN = _BY_SHUTTING_DOWN | {"ROOM_DELETED"}
