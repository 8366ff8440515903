"""What an operator can do to a server, to what, and how it went."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from tui.model.text import Name


class Action(StrEnum):
    """The remedy, what is done inside a session, the five actions, weakest first, and the repair of a ghost room."""

    DISPATCH_AGENT = "dispatch agent"
    INSPECT_SESSION = "inspect session"
    UNSILENCE_AGENT = "unsilence agent"
    SILENCE_AGENT = "silence agent"
    UNDEAFEN_AGENT = "undeafen agent"
    DEAFEN_AGENT = "deafen agent"
    SAY_TO_AGENT = "say to agent"
    CLOSE_SESSION = "close session"
    SHUT_DOWN_JOB = "shut down job"
    KICK = "kick"
    DELETE_ROOM = "delete room"
    TEAR_DOWN = "tear down"
    REPAIR_ROOM = "repair room"


ENDS_ROOM = frozenset({Action.DELETE_ROOM, Action.TEAR_DOWN, Action.REPAIR_ROOM})
ROOM_ACTIONS = ENDS_ROOM | {Action.DISPATCH_AGENT}
"""Actions on a room; all others are on one participant."""

INSIDE = frozenset(
    {
        Action.INSPECT_SESSION,
        Action.UNSILENCE_AGENT,
        Action.SILENCE_AGENT,
        Action.UNDEAFEN_AGENT,
        Action.DEAFEN_AGENT,
        Action.SAY_TO_AGENT,
    }
)
"""Actions on an agent's session from within: they need it to be looked into, and end nothing."""


@dataclass(frozen=True, slots=True)
class Target:
    """Exactly what an action is aimed at, frozen when the key was pressed.

    LiveKit's calls take names; the SIDs are what the target is re-checked by. `participant_sid` and `identity` are
    there for actions on one participant; `agent_name` is its name for people, or the name to dispatch (safe to show;
    empty for an automatic agent).
    """

    room: Name
    room_sid: str
    identity: Name | None = None
    participant_sid: str = ""
    agent_name: str = ""


class Outcome(StrEnum):
    """How an action stands. All but `RUNNING` are final."""

    RUNNING = "running"
    CONFIRMED = "confirmed"
    """done, and seen to be done in the server's own lists"""
    REFUSED = "refused"
    """nothing was sent: the target changed, or the supervisor is read-only"""
    UNSUPPORTED = "not supported"
    """the agent has no helper to ask; nothing changed"""
    FAILED = "failed"
    """the server said no; nothing changed, as far as it can be seen"""
    UNKNOWN = "outcome unknown"
    """sent, but neither the answer nor the lists prove what came of it"""
    CAME_BACK = "came back"
    """done, and undone since: the room is there again under its name, or the participant under its identity"""
    STOPPED = "stopped"
    """the operator stopped it between two steps"""


CHANGED_NOTHING = frozenset({Outcome.REFUSED, Outcome.UNSUPPORTED, Outcome.FAILED})
"""Outcomes of an action that ended no session, because it was not sent, or was declined."""


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that an action did or saw, at a time (seconds since 1970), in words."""

    at: float
    text: str
    outcome: Outcome = Outcome.RUNNING


@dataclass(frozen=True, slots=True)
class Batch:
    """An action on `size` targets that was confirmed as one, at a time (seconds since 1970); `id` is nobody else's."""

    id: str
    size: int
    at: float


@dataclass(frozen=True, slots=True)
class ActionRecord:
    """An action from request to outcome: replaced as a whole by a longer one, under the same `id`.

    `sent` says whether a change was sent at all, without which nothing that is seen can be its effect. `offers` is what
    is worth offering next, given how it ended. `came_back_sid` is the SID under which the room or the participant is
    there again (`Outcome.CAME_BACK`). `by_dispatch` says that the agent's helper was asked in vain, so that an offered
    shut down has to go by the dispatch (`tui.control.plan.plan`). `batch` is the one that it belongs to, if any.
    `done_at` is when its effect was first seen in the server's own lists (seconds since 1970), None if it wasn't, or
    not yet.
    """

    id: int
    action: Action
    target: Target
    operator: str
    at: float
    steps: tuple[Step, ...] = ()
    outcome: Outcome = Outcome.RUNNING
    sent: bool = False
    offers: tuple[Action, ...] = ()
    came_back_sid: str = ""
    by_dispatch: bool = False
    batch: Batch | None = None
    done_at: float | None = None

    @property
    def last(self) -> str:
        """What happened last, in words."""
        return self.steps[-1].text if self.steps else "requested"


@dataclass(frozen=True, slots=True)
class BatchRecord:
    """What has become of a batch so far: the records of the targets that were begun, or never will be, by their id."""

    batch: Batch
    records: tuple[ActionRecord, ...]

    @property
    def action(self) -> Action:
        """What is done to each target."""
        return self.records[0].action

    @property
    def operator(self) -> str:
        """Who confirmed it."""
        return self.records[0].operator

    @property
    def counts(self) -> Counter[Outcome]:
        """How many targets ended how, and how many are under way."""
        return Counter(record.outcome for record in self.records)

    @property
    def outcome(self) -> Outcome:
        """The one that asks most for a look; running until every target has ended."""
        counts = self.counts
        # Those of earlier runs have negative ids; nothing more will come of them.
        if counts[Outcome.RUNNING] or (counts.total() < self.batch.size and self.records[-1].id > 0):
            return Outcome.RUNNING
        return next(outcome for outcome in WORST_OUTCOMES_FIRST if counts[outcome])

    @property
    def ended_at(self) -> float:
        """When the last thing happened in it, seconds since 1970."""
        return max((record.steps[-1].at if record.steps else record.at) for record in self.records)

    def with_records(self, records: Mapping[int, ActionRecord]) -> BatchRecord:
        """With these records, by id, in place of the shorter ones, or added."""
        known = {record.id: record for record in self.records}
        return BatchRecord(self.batch, tuple({**known, **records}.values()))


WORST_OUTCOMES_FIRST = (
    Outcome.UNKNOWN,
    Outcome.CAME_BACK,
    Outcome.FAILED,
    Outcome.REFUSED,
    Outcome.UNSUPPORTED,
    Outcome.RUNNING,
    Outcome.STOPPED,
    Outcome.CONFIRMED,
)
"""Outcomes, those first that ask most for a look."""
