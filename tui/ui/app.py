"""The dashboard: connects, polls, shows, and carries out what was confirmed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Coroutine, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.text import Text
from textual import events
from textual.app import App, SystemCommand
from textual.notifications import Notify, SeverityLevel
from textual.screen import Screen
from textual.timer import Timer

from tui.config import Config, Sources
from tui.garbage import Collector
from tui.model.action import ActionRecord
from tui.model.closes import CloseEvent
from tui.model.evidence import SourceStatus
from tui.model.room import Agent, Room
from tui.model.signs import Kicks
from tui.model.snapshot import FailureKind, Snapshot
from tui.settings import Connection, SettingsError
from tui.ui.backgrounds import let_lines_go
from tui.ui.bars import Where
from tui.ui.commands import Group, commands
from tui.ui.main_screen import MainScreen
from tui.ui.messages import LogChanged, SnapshotArrived
from tui.ui.panes_screen import PanesScreen
from tui.ui.theme import THEME
from tui.ui.toasts import Notice

if TYPE_CHECKING:
    from tui.control.control import Control
    from tui.control.plan import Plan
    from tui.control.plan_many import ManyPlan
    from tui.history.store import History
    from tui.model.session import SessionView
    from tui.ui.session_screen import Inspection
    from tui.watch import Watch

CALM_S = 2.0
"""So long after the last key nobody is kept waiting by what takes a while."""
MANY = 2_000
"""Rooms with which a collection holds keys up."""
LOG_EVERY_S = 0.1
"""Between two changes of the log, when a thousand events a second come in."""
EXIT_USAGE = 2
EXIT_CODES = {FailureKind.AUTHENTICATION: 3, FailureKind.UNREACHABLE: 4, FailureKind.NOT_LIVEKIT: 4}
"""With what the program ends when the very first poll fails for good. Later failures never end it."""


class Supervisor(App[None]):
    """Watches one project. `connect` opens the connection (and, for the demo, the server) once the screen is up."""

    CSS_PATH = "style.tcss"
    TITLE = "lk-tui"
    ENABLE_COMMAND_PALETTE = True
    COMMAND_PALETTE_BINDING = "ctrl+p"
    ALLOW_SELECT = False
    """Textual 8.2.8 ends the program when the mouse begins to select in a widget that is just going, such as a toast.
    The terminal's own selection, with Shift, is not concerned."""

    def __init__(
        self,
        connect: Callable[[], AbstractAsyncContextManager[Connection]],
        where: Where,
        *,
        operator: str,
        config: Config | None = None,
        sources: Sources = Sources(),  # noqa: B008 - immutable
        history: Path | None = None,
        warning: str = "",
        collector: Collector | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """The `collector` begins once the first picture, or what keeps it from coming, is on the screen."""
        super().__init__()
        let_lines_go()
        self.register_theme(THEME)
        # Not by `self.theme = …`: Textual 8.2.8 would read all stylesheets twice.
        self.set_reactive(App.theme, THEME.name)
        self.stylesheet.set_variables(self.get_css_variables())
        self.where = where
        self._connect = connect
        self._operator = operator
        self._config = config or Config()
        self._sources = sources
        self._history = history
        self._warning = warning
        self._collector = collector
        self._touched_at = 0.0
        self._clock = clock
        self._watch: Watch | None = None
        self._newest = Snapshot()
        self._arrived = asyncio.Event()
        self._closes_to_show: dict[str, CloseEvent] = {}
        self._records_to_show: dict[int, ActionRecord] = {}
        self._log_pause: Timer | None = None
        self._control: Control | None = None
        self._tasks: set[asyncio.Task[object]] = set()
        self._asked_to_quit = False

    def get_default_screen(self) -> Screen[None]:
        """The main screen; there is no other."""
        return MainScreen(self._config.thresholds, self._clock)

    @property
    def main(self) -> MainScreen:
        """The main screen, under whatever dialog is open."""
        screen = self.screen_stack[0]
        assert isinstance(screen, MainScreen)  # noqa: S101 - the default screen is made above
        return screen

    def on_mount(self) -> None:
        """Connect once the first frame is out."""
        self.call_after_refresh(self._start)

    def _start(self) -> None:
        if self._warning:
            self.notify(self._warning, severity="warning", timeout=15, markup=False)
        self.run_worker(self._supervise(), name="supervise")
        self.run_worker(self._show_pictures(), name="pictures")

    async def _supervise(self) -> None:
        # livekit-api costs more than Textual to import: not before the first frame, and not on the event loop.
        Watch, History, Control = await asyncio.to_thread(_link)  # noqa: N806 - classes
        async with self._connect() as connection:
            self.where = Where(
                connection.project,
                connection.url,
                connection.source,
                demo=self.where.demo,
                read_only=self.where.read_only,
                insecure=connection.insecure,
            )
            watch = Watch(
                connection,
                self._sources,
                on_snapshot=self._publish_snapshot,
                on_closes=self._publish_closes,
                history=History(self._history, connection.url, clock=self._clock) if self._history else None,
                read_only=self.where.read_only,
                clock=self._clock,
            )
            try:
                async with watch:
                    self._watch = watch
                    self._control = Control(
                        watch.gateway,
                        self._operator,
                        self._publish_record,
                        patience=self._config.patience,
                        clock=self._clock,
                        inspector=watch.inspector,
                    )
                    self.main.take_remembered(watch.remembered_actions)
                    try:
                        await watch.run()
                    finally:
                        for task in self._tasks:
                            task.cancel()
                        await asyncio.gather(*self._tasks, return_exceptions=True)
            except SettingsError as error:
                self.exit(return_code=EXIT_USAGE, message=Text(f"lk-tui: {error}"))

    async def on_event(self, event: events.Event) -> None:
        """What is pasted comes from anywhere: no line that is typed into gets to show what a terminal would act on."""
        if isinstance(event, events.InputEvent):
            self._touched_at = time.monotonic()
            if self._watch is not None:
                self._watch.stir()
        if isinstance(event, events.Paste):
            event.text = "".join(char if char.isprintable() else " " for char in event.text)
        await super().on_event(event)

    def notify(
        self,
        message: str,
        *,
        title: str = "",
        severity: SeverityLevel = "information",
        timeout: float | None = None,
        markup: bool = True,
    ) -> None:
        """As Textual's, with a notice that does no harm when its time is just over."""
        seconds = self.NOTIFICATION_TIMEOUT if timeout is None else timeout
        self.post_message(Notify(Notice(message, title, severity, seconds, markup=markup)))

    def _publish_snapshot(self, snapshot: Snapshot) -> None:
        self.post_message(SnapshotArrived(snapshot))

    def _publish_closes(self, events: Sequence[CloseEvent]) -> None:
        self._closes_to_show.update((event.participant_sid, event) for event in events)
        self.post_message(LogChanged())

    def _publish_record(self, record: ActionRecord) -> None:
        if self._watch is not None:
            self._watch.take_record(record)
        self._records_to_show[record.id] = record
        self.post_message(LogChanged())

    def on_snapshot_arrived(self, message: SnapshotArrived) -> None:
        """Show it; a first picture that fails for good ends the program."""
        snapshot = message.snapshot
        failure = snapshot.failure
        if failure is not None and snapshot.listed_at is None and failure.kind in EXIT_CODES:
            self.exit(return_code=EXIT_CODES[failure.kind], message=Text(f"lk-tui: {failure.message}"))
            return
        self._newest = snapshot
        self._arrived.set()

    def show_again(self) -> None:
        """Show the newest picture as it looks now, by what time alone has changed."""
        self._arrived.set()

    async def _show_pictures(self) -> None:
        """Always the newest; in a task of its own, because keys wait for a message's handler."""
        await self._show_next_picture()
        if self._collector is not None:
            self.call_after_refresh(self._collect_from_now_on, self._collector)
        while True:
            await self._show_next_picture()

    def _collect_from_now_on(self, collector: Collector) -> None:
        def collect() -> None:
            calm = time.monotonic() - self._touched_at > CALM_S
            collector.collect(calm=calm, many=len(self._newest.rooms) >= MANY)

        collector.begin()
        self.set_interval(1.0, collect)

    async def _show_next_picture(self) -> None:
        await self._arrived.wait()
        self._arrived.clear()
        if self.screen_stack:
            await self.main.take_snapshot(self._newest)

    def on_log_changed(self) -> None:
        """Show what is new in the log: at once, unless more comes than an eye can follow."""
        if self._log_pause is None:
            self._show_log()

    def _show_log(self) -> None:
        self._log_pause = None
        if not self.screen_stack:
            # The program ends: its screens are closed already.
            return
        events, self._closes_to_show = self._closes_to_show, {}
        records, self._records_to_show = self._records_to_show, {}
        if not events and not records:
            return
        if events:
            self.main.take_closes(tuple(events.values()))
        if records:
            self.main.take_records(tuple(records.values()))
        self._log_pause = self.set_timer(LOG_EVERY_S, self._show_log)

    # What the screen needs to know, and may order

    @property
    def closes(self) -> Collection[CloseEvent]:
        """All close events so far."""
        return self._watch.closes if self._watch is not None else ()

    @property
    def sources(self) -> Sequence[SourceStatus]:
        """How the sources of evidence stand."""
        totals = self.main.fleet.totals
        helper = SourceStatus("helper", on=totals.helped > 0, words=f"{totals.helped:,}/{totals.agents:,} agents")
        return (helper, *self._watch.sources) if self._watch is not None else (helper,)

    @property
    def records(self) -> Sequence[ActionRecord]:
        """All actions so far."""
        return self._control.records if self._control is not None else ()

    @property
    def kicks(self) -> Kicks:
        """The kicks carried out from here."""
        return self._control.kicks if self._control is not None else {}

    def look_at(self, visible: Sequence[str], selected: str | None, opened: str | None) -> None:
        """Tell which rooms are on the screen, which one is selected, and which one is open, by SID.

        The open one is observed from inside, and as many of those on screen, from the top, as are allowed besides.
        """
        if self._watch is not None:
            self._watch.look_at(visible, selected)
            others = visible if self._sources.observe > 1 else ()
            self._watch.observe(tuple(dict.fromkeys((*((opened,) if opened else ()), *others))))

    def inspect(self, room: Room, agent: Agent, on_view: Callable[[SessionView], None]) -> Inspection | None:
        """Look into this agent's session until it is closed; None where that is turned off, or can't be."""
        return self._watch.inspect(room, agent.participant.sid, on_view) if self._watch is not None else None

    def wake(self, room_sid: str | None = None, *, insist: bool = False) -> None:
        """Poll now; a failing server is asked before its time only on insistence."""
        if self._watch is not None:
            self._watch.wake(room_sid, insist=insist)

    def carry_out(self, plan: Plan) -> None:
        """Do what was confirmed; the log tells how it goes."""
        if self._control is not None:
            self._begin(self._control.carry_out(plan))

    def carry_out_many(self, many: ManyPlan) -> None:
        """Do what was confirmed, to all of them; the log tells how it goes."""
        if self._control is not None:
            self._begin(self._control.carry_out_many(many))

    def _begin(self, work: Coroutine[Any, Any, object]) -> None:
        self._asked_to_quit = False
        task: asyncio.Task[object] = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def stop_actions(self) -> int:
        """Stop all running actions between two steps; how many there are."""
        return self._control.stop_all() if self._control is not None else 0

    def keep(self, seconds: float) -> None:
        """Have all that is known kept, from any thread, because the program ends; waits for so long at the most."""
        if self._watch is not None:
            self._watch.keep(seconds)

    def action_suspend_process(self) -> None:
        """Go to the shell's background; not in the middle of an action, which would be sent long after its re-check."""
        if self._tasks:
            self.notify("An action is still running: S stops it.", severity="warning")
            return
        super().action_suspend_process()

    async def action_quit(self) -> None:
        """Leave; with actions under way, only when asked twice."""
        if self._tasks and not self._asked_to_quit:
            self._asked_to_quit = True
            self.notify(
                "An action is still running: quit again to leave without seeing it verified.", severity="warning"
            )
            return
        self.exit()

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """The palette: every command of the registry, and Textual's themes."""
        below = next(each for each in reversed(self.screen_stack) if isinstance(each, PanesScreen))
        for command in commands(below.KIND):
            acts = command.changes is not None or command.group is Group.ACT
            if command.id == "palette" or (acts and self.where.read_only):
                continue
            title = f"{command.label.capitalize()}  ({command.key_words})"
            yield SystemCommand(title, command.help, lambda run=command.run: self.call_later(below.run_action, run))
        yield from (known for known in super().get_system_commands(screen) if known.title == "Theme")


def _link() -> tuple[type[Watch], type[History], type[Control]]:
    from tui.control.control import Control
    from tui.history.store import History
    from tui.watch import Watch

    return Watch, History, Control
