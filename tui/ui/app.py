"""The dashboard: connects, polls, shows, and carries out what was confirmed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING

from rich.text import Text
from textual.app import App, SystemCommand
from textual.screen import Screen

from tui.model.action import ActionRecord, Outcome
from tui.model.closes import CloseBook, CloseEvent
from tui.model.signs import Kicks, Thresholds
from tui.model.snapshot import FailureKind, Snapshot
from tui.ui.bars import Where
from tui.ui.commands import COMMANDS, Group
from tui.ui.main_screen import MainScreen
from tui.ui.messages import RecordChanged, SnapshotArrived
from tui.ui.theme import THEME

if TYPE_CHECKING:
    from tui.control.control import Control
    from tui.control.plan import Plan
    from tui.gateway.poller import Poller
    from tui.settings import Connection

EXIT_CODES = {FailureKind.AUTHENTICATION: 3, FailureKind.UNREACHABLE: 4, FailureKind.NOT_LIVEKIT: 4}
"""With what the program ends when the very first poll fails for good. Later failures never end it."""


class Supervisor(App[None]):
    """Watches one project. `connect` opens the connection (and, for the demo, the server) once the screen is up."""

    CSS_PATH = "style.tcss"
    TITLE = "lk-tui"
    ENABLE_COMMAND_PALETTE = True
    COMMAND_PALETTE_BINDING = "ctrl+p"

    def __init__(
        self,
        connect: Callable[[], AbstractAsyncContextManager[Connection]],
        where: Where,
        *,
        operator: str,
        thresholds: Thresholds | None = None,
        interval_s: float = 2.0,
        budget: int = 600,
        warning: str = "",
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__()
        self.register_theme(THEME)
        self.theme = THEME.name
        self.where = where
        self._connect = connect
        self._operator = operator
        self._thresholds = thresholds or Thresholds()
        self._interval_s = interval_s
        self._budget = budget
        self._warning = warning
        self._clock = clock
        self._book = CloseBook()
        self._latest = Snapshot()
        self._poller: Poller | None = None
        self._control: Control | None = None
        self._tasks: set[asyncio.Task[object]] = set()
        self._asked_to_quit = False

    def get_default_screen(self) -> Screen[None]:
        """The main screen; there is no other."""
        return MainScreen(self._thresholds, self._clock)

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

    async def _supervise(self) -> None:
        # livekit-api costs more than Textual to import: not before the first frame, and not on the event loop.
        Gateway, Poller, Control = await asyncio.to_thread(_link)  # noqa: N806 - classes
        async with self._connect() as connection:
            self.where = Where(
                connection.project,
                connection.url,
                connection.source,
                demo=self.where.demo,
                read_only=self.where.read_only,
                insecure=connection.insecure,
            )
            async with Gateway(
                connection.url, connection.api_key, connection.api_secret, read_only=self.where.read_only
            ) as gateway:
                self._control = Control(gateway, self._operator, self._publish_record, clock=self._clock)
                self._poller = Poller(gateway, self._publish_snapshot, interval_s=self._interval_s, budget=self._budget)
                try:
                    await self._poller.run()
                finally:
                    for task in self._tasks:
                        task.cancel()
                    await asyncio.gather(*self._tasks, return_exceptions=True)

    def _publish_snapshot(self, snapshot: Snapshot) -> None:
        self.post_message(SnapshotArrived(snapshot))

    def _publish_record(self, record: ActionRecord) -> None:
        self.post_message(RecordChanged(record))

    def on_snapshot_arrived(self, message: SnapshotArrived) -> None:
        """Compare with the picture before, then show it."""
        snapshot = message.snapshot
        failure = snapshot.failure
        if failure is not None and snapshot.listed_at is None and failure.kind in EXIT_CODES:
            self.exit(return_code=EXIT_CODES[failure.kind], message=Text(f"lk-tui: {failure.message}"))
            return
        self._book.absorb(self._latest, snapshot, self.records)
        if failure is None:
            self._latest = snapshot
        self.main.take_snapshot(snapshot)

    def on_record_changed(self, message: RecordChanged) -> None:
        """Show how an action goes; when it ended, look at the room at once."""
        if message.record.outcome is not Outcome.RUNNING:
            self.wake(message.record.target.room_sid)
        self.main.take_record(message.record)

    # What the screen needs to know, and may order

    @property
    def closes(self) -> Iterable[CloseEvent]:
        """All close events so far."""
        return self._book.events

    @property
    def records(self) -> Sequence[ActionRecord]:
        """All actions so far."""
        return self._control.records if self._control is not None else ()

    @property
    def kicks(self) -> Kicks:
        """The kicks carried out from here."""
        return self._control.kicks if self._control is not None else {}

    def watch_rooms(self, visible: Sequence[str], opened: str | None) -> None:
        """Tell the poller what is on the screen."""
        if self._poller is not None:
            self._poller.watch(visible, opened)

    def wake(self, room_sid: str | None = None) -> None:
        """Poll now."""
        if self._poller is not None:
            self._poller.wake(room_sid)

    def carry_out(self, plan: Plan) -> None:
        """Do what was confirmed; the log tells how it goes."""
        if self._control is not None:
            task: asyncio.Task[object] = asyncio.create_task(self._control.carry_out(plan))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def stop_actions(self) -> int:
        """Stop all running actions between two steps; how many there are."""
        running = [record.id for record in self.records if record.outcome is Outcome.RUNNING]
        for record_id in running:
            if self._control is not None:
                self._control.stop(record_id)
        return len(running)

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
        for command in COMMANDS:
            if command.group is Group.MOVE or command.id == "palette":
                continue
            if command.changes is not None and self.where.read_only:
                continue
            title = f"{command.label.capitalize()}  ({command.key_words})"
            yield SystemCommand(title, command.help, lambda run=command.run: self.call_later(self.main.run_action, run))
        yield from (known for known in super().get_system_commands(screen) if known.title == "Theme")


def _link() -> tuple[type, type, type]:
    from tui.control.control import Control
    from tui.gateway.client import Gateway
    from tui.gateway.poller import Poller

    return Gateway, Poller, Control
