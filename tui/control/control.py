"""Carries plans out, many at once, and keeps what became of each."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable

from tui.control.close_session import close_session
from tui.control.delete_room import delete_room
from tui.control.dispatch_agent import dispatch_agent
from tui.control.kick import kick
from tui.control.patience import Patience
from tui.control.plan import Plan
from tui.control.progress import EndedError, Ending, Progress
from tui.control.shut_down_job import shut_down_job
from tui.control.tear_down import tear_down
from tui.control.work import Work
from tui.gateway.client import Gateway
from tui.model.action import Action, ActionRecord, Outcome, Target
from tui.model.signs import Kick, Kicks
from tui.model.text import Name

__all__ = ["RECORDS_KEPT", "Control", "Patience"]

RECORDS_KEPT = 1_000
"""Records, and kicks, beyond this number are forgotten, the oldest finished ones first."""


class Control:
    """The operator's hand on a project. `publish` gets an action's record after every step of it."""

    def __init__(
        self,
        gateway: Gateway,
        operator: str,
        publish: Callable[[ActionRecord], None],
        *,
        patience: Patience = Patience(),  # noqa: B008 - immutable
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._gateway = gateway
        self._operator = operator
        self._publish_outside = publish
        self._patience = patience
        self._clock = clock
        self._ids = itertools.count(1)
        self._records: dict[int, ActionRecord] = {}
        self._under_way: dict[int, Progress] = {}
        self._kicks: dict[tuple[str, str], Kick] = {}

    @property
    def records(self) -> tuple[ActionRecord, ...]:
        """What was done and is being done, in the order in which it began."""
        return tuple(self._records.values())

    @property
    def kicks(self) -> Kicks:
        """The kicks that were sent and proven, whether or not the participant came back since."""
        return self._kicks

    async def carry_out(self, plan: Plan) -> ActionRecord:
        """Re-check the plan's target, do what it says, and verify it; return the record of it, ended.

        Nothing that the server or an agent does is raised: it is in the record. A plan that is blocked is refused.
        Nothing that changes a server is sent twice.
        """
        at = self._clock()
        record = ActionRecord(next(self._ids), plan.action, plan.target, self._operator, at)
        progress = Progress(record, self._publish, self._clock)
        self._under_way[record.id] = progress
        try:
            progress.say("requested")
            progress.end(await self._ending(plan, progress))
        finally:
            # Cancelled, or failed by a fault of our own: the record must not stay open for ever.
            progress.cut_off()
            del self._under_way[record.id]
        return progress.record

    def stop(self, record_id: int) -> None:
        """Have an action end between two steps; nothing happens if it has ended."""
        if (progress := self._under_way.get(record_id)) is not None:
            progress.stop()

    async def _ending(self, plan: Plan, progress: Progress) -> Ending:
        if plan.blocked:
            return Ending(Outcome.REFUSED, f"{plan.blocked} Nothing was sent.", plan.offers)
        work = Work(self._gateway, plan, progress, self._patience)
        try:
            match plan.action:
                case Action.DISPATCH_AGENT:
                    return await dispatch_agent(work)
                case Action.CLOSE_SESSION:
                    return await close_session(work)
                case Action.SHUT_DOWN_JOB:
                    return await shut_down_job(work)
                case Action.KICK:
                    return await kick(work, self._note_kick)
                case Action.DELETE_ROOM:
                    return await delete_room(work)
                case Action.TEAR_DOWN:
                    return await tear_down(work)
        except EndedError as ended:
            return ended.ending

    def _publish(self, record: ActionRecord) -> None:
        self._records[record.id] = record
        if len(self._records) > RECORDS_KEPT:
            ended = next((kept.id for kept in self._records.values() if kept.outcome is not Outcome.RUNNING), None)
            if ended is not None:
                del self._records[ended]
        self._publish_outside(record)

    def _note_kick(self, target: Target, who: Name) -> None:
        key = (target.room_sid, who.raw)
        # Taken out first, so that a second kick counts as new, and the oldest one is the first to be forgotten.
        self._kicks.pop(key, None)
        self._kicks[key] = Kick(target.participant_sid, self._clock())
        if len(self._kicks) > RECORDS_KEPT:
            del self._kicks[next(iter(self._kicks))]
