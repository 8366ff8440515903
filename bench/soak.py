"""`python -m bench.soak`: the dashboard on the demo server for an hour, with somebody pressing random keys meanwhile.

Rooms end and are opened again under their names, participants leave and come back, and whatever a key asks for is
confirmed more often than not. At the end nothing may have failed, nothing may have grown, and of every action it must
be known how it ended, truthfully: the server is asked. Ends with 1 if not so.

--minutes N is for how long, --seed N for other keys, --docs writes the result into docs/soak.md.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import inspect
import logging
import os
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from bench.child import REPOSITORY
from bench.machine import Machine, this_machine
from bench.monkey import SIZES, Monkey
from bench.process import cpu_seconds, resident_mb
from bench.witness import Hit, WitnessedWorld
from tui.config import Sources
from tui.control.plan import Plan
from tui.control.plan_many import ManyPlan
from tui.demo import DemoService, DemoSessions
from tui.garbage import Collector
from tui.model.action import INSIDE, Action, ActionRecord, Outcome
from tui.model.phrases import count
from tui.model.secret import Secret
from tui.settings import Connection
from tui.ui.app import Supervisor
from tui.ui.bars import Where

PAGE = REPOSITORY / "docs" / "soak.md"
ROOMS = 40
INTERVAL_S = 0.5
STEP_S = 0.1
"""Between two things that the monkey does."""
CHURN_EVERY = 12
"""Of its steps, between two rooms that are replaced, or participants who rejoin."""
SAMPLES = 360
ENDING_S = 90.0
"""How long the last actions may take to end: a deleted room's name is watched for 20 s."""
LEAVING_S = 5.0
"""How long what is left of requests may take to end: the demo's server lets some wait for 3 s."""
LONG_ENOUGH = 10.0
"""Minutes; in less, nothing can be told about growth."""
MAY_GROW_MB = 6.0
"""What the last quarter's memory may be above the second's, besides what is kept."""
KEPT_KB = 6.0
"""What a close or an action may take in memory, with all that is known of it; they are kept up to a number."""
MAY_GROW = 8
"""How many file descriptors, tasks and threads there may be more at the quietest moment of the last quarter."""
ABOUT = (
    "`python -m bench.soak --docs` wrote this page. It runs the dashboard on the demo server while somebody presses",
    "random keys, many times as fast as a person, and confirms most of what is asked; meanwhile rooms are replaced",
    "under their names, and participants leave and come back.",
)


@dataclass(frozen=True, slots=True)
class Sample:
    """What the process held at a time: seconds since the start, megabytes, and numbers."""

    at: float
    memory_mb: float
    files: int
    tasks: int
    threads: int
    kept: int


@dataclass(slots=True)
class Soak:
    """What came of a run. `faults` are sentences; there must be none."""

    minutes: float
    seed: int
    samples: list[Sample] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    pressed: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[tuple[Action, Outcome]] = field(default_factory=Counter)
    hits: Counter[str] = field(default_factory=Counter)
    closes: int = 0
    steps: int = 0
    cpu_s: float = 0.0


class Soaked(Supervisor):
    """The dashboard, with its word taken down: what was confirmed, and what it says became of that."""

    CSS_PATH = str(Path(inspect.getfile(Supervisor)).with_name("style.tcss"))

    def __init__(self, world: WitnessedWorld, faults: list[str], **more: Any) -> None:
        super().__init__(self._serve, Where("demo", "starting …", "the soak", demo=True), **more)
        self.world = world
        self._faults = faults
        self.confirmed: list[Plan] = []

    @asynccontextmanager
    async def _serve(self) -> AsyncIterator[Connection]:
        async with DemoService(self.world) as service:
            secret = Secret(service.api_secret)
            yield Connection(service.url, service.api_key, secret, "demo", "the soak", DemoSessions(self.world))

    def carry_out(self, plan: Plan) -> None:
        """Take down what was confirmed."""
        self.confirmed.append(plan)
        super().carry_out(plan)

    def carry_out_many(self, many: ManyPlan) -> None:
        """Take down what was confirmed."""
        self.confirmed += many.plans
        super().carry_out_many(many)

    def _publish_record(self, record: ActionRecord) -> None:
        super()._publish_record(record)
        if record.outcome is not Outcome.RUNNING and (against := self.world.contradicts(record)):
            self._faults.append(f"{_words(record)}, but {against}")

    async def action_quit(self) -> None:
        """It ends when the time is over."""


class _Heard(logging.Handler):
    """Takes down what is logged as an error, by whomever."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__(logging.ERROR)
        self._faults = faults

    def emit(self, record: logging.LogRecord) -> None:
        self._faults.append(f"logged by {record.name}: {self.format(record)}")


async def soak(minutes: float, seed: int, folder: Path) -> Soak:
    """Run it; what it saves goes into `folder`."""
    result = Soak(minutes, seed)
    _hear_all(result.faults)
    before = asyncio.all_tasks()
    app = Soaked(
        WitnessedWorld(seed, ROOMS),
        result.faults,
        operator="monkey",
        sources=Sources(INTERVAL_S, 60_000),
        history=folder / "history.db",
        collector=Collector(),
    )
    began = time.monotonic()
    try:
        async with app.run_test(size=SIZES[0], notifications=True) as pilot:
            await _press_keys(app, Monkey(app, pilot, seed), result, began)
            await _let_end(app, result.faults)
            workers = list(app.workers)
            app.exit()
            await _until(lambda: not app.is_running and all(worker.is_finished for worker in workers))
    except Exception as error:
        result.faults.append(f"ended by {type(error).__name__}: {error}")
        logging.getLogger(__name__).exception("the dashboard ended")
    _judge_actions(app, result)
    _judge_growth(result)

    def left() -> list[asyncio.Task[Any]]:
        return [task for task in asyncio.all_tasks() if task not in before and not task.done()]

    await _until(lambda: not left(), LEAVING_S)
    result.faults += [f"left over: {task.get_name()} {task.get_coro()}" for task in left()]
    result.faults += [f"left over: process {pid}" for pid in children(os.getpid())]
    result.cpu_s = cpu_seconds(os.getpid())
    return result


async def _press_keys(app: Soaked, monkey: Monkey, result: Soak, began: float) -> None:
    until = began + result.minutes * 60
    every = max(1.0, result.minutes * 60 / SAMPLES)
    next_sample = began
    result.pressed = monkey.pressed
    while (now := time.monotonic()) < until and app.is_running:
        if now >= next_sample:
            result.samples.append(_sample(app, now - began))
            next_sample = now + every
            _report(result)
        await monkey.step()
        result.steps += 1
        if result.steps % CHURN_EVERY == 0 and app.world.rooms():
            app.world.churn()
        await asyncio.sleep(STEP_S)
    if not app.is_running:
        result.faults.append(f"the dashboard ended by itself after {time.monotonic() - began:.0f} s")


def _report(result: Soak) -> None:
    """A line for who waits."""
    sample = result.samples[-1]
    faults = "".join(f"\n  {fault}" for fault in result.faults)
    print(f"{sample}, {result.steps} steps, {len(result.faults)} faults{faults}", file=sys.stderr, flush=True)


async def _let_end(app: Soaked, faults: list[str]) -> None:
    """Wait until no action is running any more."""
    await _until(lambda: all(record.outcome is not Outcome.RUNNING for record in app.records))
    running = [record for record in app.records if record.outcome is Outcome.RUNNING]
    faults += [f"{_words(record)} {ENDING_S:.0f} s after the last key" for record in running]


async def _until(so: Callable[[], bool], patience_s: float = ENDING_S) -> None:
    """Wait for that, but not for ever."""
    until = time.monotonic() + patience_s
    while not so() and time.monotonic() < until:  # noqa: ASYNC110 - nobody tells
        await asyncio.sleep(0.1)


def _judge_actions(app: Soaked, result: Soak) -> None:
    """Nothing was hit that was not confirmed, and of nothing it is unknown how it ended."""
    for record in app.records:
        result.outcomes[record.action, record.outcome] += 1
        # A session may close before it has answered, and then nobody can tell; nor whether a hung agent will obey.
        told = record.action in INSIDE or record.by_dispatch
        if record.outcome is Outcome.UNKNOWN and not told:
            result.faults.append(_words(record))
    rooms: dict[str, list[Plan]] = {}
    for plan in app.confirmed:
        rooms.setdefault(plan.target.room_sid, []).append(plan)
    for hit in app.world.hits:
        result.hits[hit.method] += 1
        if not any(_means(plan, hit) for plan in rooms.get(hit.room_sid, ())):
            result.faults.append(f"nobody confirmed {hit}")
    result.closes = len(app.closes)


def _means(plan: Plan, hit: Hit) -> bool:
    """Whether the hit is what this plan, for that room, says."""
    if hit.participant_sid and plan.action is not Action.TEAR_DOWN:
        return hit.participant_sid == plan.target.participant_sid
    return True


def _judge_growth(result: Soak) -> None:
    early, late = quarters(result.samples)
    if result.minutes < LONG_ENOUGH or not early:
        return
    kept = _median(late, "kept") - _median(early, "kept")
    grown = _median(late, "memory_mb") - _median(early, "memory_mb")
    allowed = MAY_GROW_MB + kept * KEPT_KB / 1000
    if grown > allowed:
        result.faults.append(f"memory grew by {grown:.1f} MB, where {allowed:.1f} are allowed")
    for what in ("files", "tasks", "threads"):
        more = _least(late, what) - _least(early, what)
        if more > MAY_GROW:
            result.faults.append(f"{what} grew by {more:.0f}")


def quarters(samples: Sequence[Sample]) -> tuple[Sequence[Sample], Sequence[Sample]]:
    """Those of the second quarter, and those of the last. The first is for warming up."""
    quarter = len(samples) // 4
    return samples[quarter : 2 * quarter], samples[3 * quarter :] if quarter else ()


def _median(samples: Sequence[Sample], what: str) -> float:
    values: list[float] = [getattr(sample, what) for sample in samples]
    return median(values)


def _least(samples: Sequence[Sample], what: str) -> float:
    """A burst of work is no growth: of what leaks, there is never less again."""
    values: list[float] = [getattr(sample, what) for sample in samples]
    return min(values)


def _sample(app: Soaked, at: float) -> Sample:
    return Sample(
        at=at,
        memory_mb=resident_mb(os.getpid()),
        files=sum(1 for _ in Path("/proc/self/fd").iterdir()),
        tasks=len(asyncio.all_tasks()),
        threads=threading.active_count(),
        kept=len(app.closes) + len(app.records),
    )


def _hear_all(faults: list[str]) -> None:
    """From now on, whatever goes wrong where nobody catches it is a fault."""
    logging.getLogger().addHandler(_Heard(faults))

    def in_loop(_: asyncio.AbstractEventLoop, context: Mapping[str, Any]) -> None:
        faults.append(f"in the event loop: {context.get('exception') or context['message']!r}")

    asyncio.get_running_loop().set_exception_handler(in_loop)
    threading.excepthook = lambda raised: faults.append(f"in a thread: {raised.exc_value!r}")
    sys.unraisablehook = lambda raised: faults.append(f"nobody could catch: {raised.exc_value!r}")


def children(pid: int) -> list[int]:
    """The processes that this one has started and that have not ended."""
    found: list[int] = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = status.read_text().rpartition(")")[2].split()
            if int(fields[1]) == pid and fields[0] != "Z":
                found.append(int(status.parent.name))
    return found


def _words(record: ActionRecord) -> str:
    return f"{record.action} {record.target.room_sid} {record.target.participant_sid} {record.outcome}: {record.last}"


def lines(result: Soak, machine: Machine) -> list[str]:
    """The result as a page of the docs (Markdown)."""
    early, late = quarters(result.samples)
    verdict = "Nothing went wrong." if not result.faults else f"{count(len(result.faults), 'fault')}:"
    page = [
        "# Random keys, for long",
        "",
        *ABOUT,
        "",
        f"{machine.date}: {machine.processor}, {machine.cores} cores,",
        f"Python {machine.python}, Textual {machine.textual}.",
        f"{result.minutes:g} minutes, seed {result.seed}. **{verdict}**",
        "",
        *(f"- {fault}" for fault in result.faults),
        *([""] if result.faults else []),
        "It must run to the end without an exception; every action must end, with what became of it known (but for",
        "hung agents that were asked) and not contradicted by the server at that moment; nothing may be changed that",
        "was not confirmed by its SID; no task and no process may be left over. From the second quarter to the last,",
        f"memory (median) may grow by {MAY_GROW_MB:g} MB, and by {KEPT_KB:g} kB for every close and action that is",
        f"kept besides; open files, tasks and threads (fewest) by {MAY_GROW}. The first quarter is for warming up.",
        "",
        "| | |",
        "|---|--:|",
        f"| keys and clicks | {result.steps:,} |",
        f"| changes that the server carried out | {result.hits.total():,} |",
        f"| closes told | {result.closes:,} |",
    ]
    if early:
        before, after = (f"{_median(samples, 'memory_mb'):,.0f} MB" for samples in (early, late))
        page.append(f"| memory, second quarter → last | {before} → {after} |")
        for what, name in (("files", "open files"), ("tasks", "tasks"), ("threads", "threads")):
            before, after = (f"{_least(samples, what):,.0f}" for samples in (early, late))
            page.append(f"| {name}, second quarter → last | {before} → {after} |")
        kept = f"{_median(early, 'kept'):,.0f} → {_median(late, 'kept'):,.0f}"
        page.append(f"| closes and actions kept, second quarter → last | {kept} |")
    page += ["", "| Action | Outcome | |", "|---|---|--:|"]
    page += [f"| {action} | {outcome} | {number:,} |" for (action, outcome), number in sorted(result.outcomes.items())]
    return page


def main() -> None:
    """Run it, say what came of it, and end with 1 if anything is wrong."""
    parser = argparse.ArgumentParser(prog="bench.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--docs", action="store_true")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        result = asyncio.run(soak(chosen.minutes, chosen.seed, Path(folder)))
    said = "\n".join(lines(result, this_machine())) + "\n"
    print(said)
    if chosen.docs:
        PAGE.write_text(said, "utf-8")
    sys.exit(1 if result.faults else 0)


if __name__ == "__main__":
    main()
