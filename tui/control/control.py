"""Carries plans out, many at once, and keeps what became of each."""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from tui.control.close_session import close_session
from tui.control.delete_room import delete_room
from tui.control.dispatch_agent import dispatch_agent
from tui.control.inside_session import say_to_agent, switch_audio
from tui.control.kick import kick
from tui.control.names import RoomsByName
from tui.control.plan import Plan
from tui.control.plan_many import ManyPlan
from tui.control.progress import EndedError, Ending, Progress
from tui.control.repair_room import repair_room
from tui.control.shut_down_job import shut_down_job
from tui.control.tear_down import tear_down
from tui.control.work import Work
from tui.gateway.client import Gateway
from tui.gateway.inspector import Inspector
from tui.model.action import Action, ActionRecord, Batch, Outcome, Target
from tui.model.patience import Patience
from tui.model.signs import Kick, Kicks
from tui.model.text import Name

_log = logging.getLogger(__name__)

RECORDS_KEPT = 20_000
"""Records, and kicks, beyond this number are forgotten, the oldest finished ones first."""
AT_ONCE = 8
"""Targets of one batch that are changed at a time; those that are only watched don't count."""


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
        inspector: Inspector | None = None,
    ) -> None:
        self._gateway = gateway
        self._inspector = inspector
        if inspector is not None:
            inspector.on_open = self._note_inspection
        self._names = RoomsByName(gateway)
        self._operator = operator
        self._publish_outside = publish
        self._patience = patience
        self._clock = clock
        self._ids = itertools.count(1)
        self._records: dict[int, ActionRecord] = {}
        self._under_way: dict[int, Progress] = {}
        self._batches: dict[str, bool] = {}
        """those under way, and whether they are to stop"""
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
        return await self._carry_out(plan, None, lambda: None)

    async def carry_out_many(self, many: ManyPlan) -> tuple[ActionRecord, ...]:
        """Carry all its plans out, each as `carry_out` does, `AT_ONCE` at a time; return their records, in their order.

        Those that are not begun when it is stopped get a record that says so.
        """
        batch = Batch(uuid.uuid4().hex[:12], len(many.plans), self._clock())
        slots = asyncio.Semaphore(AT_ONCE)

        async def one(plan: Plan) -> ActionRecord:
            begun = False
            try:
                async with _slot(slots) as free:
                    if self._batches[batch.id]:
                        return self._never_begun(plan, batch)
                    begun = True
                    return await self._carry_out(plan, batch, free)
            except asyncio.CancelledError:
                if not begun:
                    self._never_begun(plan, batch)
                raise

        self._batches[batch.id] = False
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(one(plan)) for plan in many.plans]
        finally:
            del self._batches[batch.id]
        return tuple(task.result() for task in tasks)

    async def _carry_out(self, plan: Plan, batch: Batch | None, only_watching: Callable[[], None]) -> ActionRecord:
        progress = self._begin(plan, batch)
        record = progress.record
        self._under_way[record.id] = progress
        try:
            progress.say("requested")
            progress.end(await self._ending(plan, progress, only_watching))
        except Exception as error:  # noqa: BLE001 - one action's fault must not cut others off in mid-change
            _log.exception("an action failed by our own fault")
            progress.cut_off(f"lk-tui itself failed ({type(error).__name__}: a bug)")
        finally:
            # Cancelled: the record must not stay open for ever.
            progress.cut_off("lk-tui ended")
            del self._under_way[record.id]
        return progress.record

    def _begin(self, plan: Plan, batch: Batch | None) -> Progress:
        at = self._clock()
        record = ActionRecord(next(self._ids), plan.action, plan.target, self._operator, at, batch=batch)
        return Progress(record, self._publish, self._clock)

    def _never_begun(self, plan: Plan, batch: Batch) -> ActionRecord:
        progress = self._begin(plan, batch)
        progress.end(Ending(Outcome.STOPPED, "stopped before it was begun: nothing was sent"))
        return progress.record

    def stop_all(self) -> int:
        """Have everything end between two steps, and nothing more begin; how many actions are under way."""
        self._batches = dict.fromkeys(self._batches, True)
        for progress in self._under_way.values():
            progress.stop()
        return len(self._under_way)

    async def _ending(self, plan: Plan, progress: Progress, only_watching: Callable[[], None]) -> Ending:
        if plan.blocked:
            return Ending(Outcome.REFUSED, f"{plan.blocked} Nothing was sent.", plan.offers)
        work = Work(self._gateway, self._names, plan, progress, self._patience, only_watching, self._inspector)
        try:
            match plan.action:
                case Action.DISPATCH_AGENT:
                    return await dispatch_agent(work)
                case Action.INSPECT_SESSION:
                    return Ending(Outcome.REFUSED, "nothing is to be done: it is looked into, or it is not")
                case Action.SILENCE_AGENT | Action.UNSILENCE_AGENT | Action.DEAFEN_AGENT | Action.UNDEAFEN_AGENT:
                    return await switch_audio(work)
                case Action.SAY_TO_AGENT:
                    return await say_to_agent(work)
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
                case Action.REPAIR_ROOM:
                    return await repair_room(work)
        except EndedError as ended:
            return progress.cut_short(ended.ending)

    def _publish(self, record: ActionRecord) -> None:
        self._records[record.id] = record
        if len(self._records) > RECORDS_KEPT:
            ended = next((kept.id for kept in self._records.values() if kept.outcome is not Outcome.RUNNING), None)
            if ended is not None:
                del self._records[ended]
        self._publish_outside(record)

    def _note_inspection(self, target: Target) -> None:
        """Who looks into a session reads what people say to an agent: that this was done is kept, not what was read."""
        record = ActionRecord(next(self._ids), Action.INSPECT_SESSION, target, self._operator, self._clock())
        Progress(record, self._publish, self._clock).end(Ending(Outcome.CONFIRMED, "looked into its session"))

    def _note_kick(self, target: Target, who: Name) -> None:
        key = (target.room_sid, who.raw)
        # Taken out first, so that a second kick counts as new, and the oldest one is the first to be forgotten.
        self._kicks.pop(key, None)
        self._kicks[key] = Kick(target.participant_sid, self._clock())
        if len(self._kicks) > RECORDS_KEPT:
            del self._kicks[next(iter(self._kicks))]


@asynccontextmanager
async def _slot(slots: asyncio.Semaphore) -> AsyncIterator[Callable[[], None]]:
    """Wait for a place; what is given frees it before the end."""
    held = False

    def free() -> None:
        nonlocal held
        if held:
            held = False
            slots.release()

    await slots.acquire()
    held = True
    try:
        yield free
    finally:
        free()
