"""The dashboard in a terminal that nobody sees, driven by keys; what it would write is read line by line."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
from livekit.protocol import models as models_pb
from rich.cells import cell_len
from textual import _wait
from textual.app import App
from textual.pilot import Pilot
from textual.screen import Screen
from textual.strip import Strip
from textual.widgets import Button

from tests.build import NOW, agent, dispatch, person, room
from tests.lab.server import LabServer
from tests.lab.waiting import eventually
from tui.config import Sources
from tui.demo import DemoService, DemoSessions, World
from tui.demo.rooms import Room as DemoRoom
from tui.garbage import Collector
from tui.model.action import ActionRecord
from tui.model.room import Participant, Room, SessionState
from tui.model.secret import Secret
from tui.model.snapshot import Snapshot
from tui.settings import Connection
from tui.ui.app import Supervisor
from tui.ui.bars import Where
from tui.ui.dialogs import ConfirmDialog
from tui.ui.main_screen import MainScreen
from tui.ui.messages import SnapshotArrived

OPERATOR = "mira"
PATIENCE_S = 20.0

Connect = Callable[[], AbstractAsyncContextManager[Connection]]


# Pilot waits after every key until the process has idled, which it looks for in steps of 20 ms, several times.
_wait.SLEEP_GRANULARITY = 0.004


def written(app: App[Any]) -> list[Strip]:
    """What would be written to the terminal, line by line."""
    # Not a screenshot: that is made by Rich, which cleans what it is given.
    return app.screen._compositor.render_strips()


class Clock:
    """Seconds since 1970, standing still unless a test moves it."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


class Dashboard:
    """A running dashboard. `press` waits until the keys were taken; what they lead to is waited for by `wait_for`."""

    def __init__(self, app: Supervisor, pilot: Pilot[None]) -> None:
        self.app = app
        self.pilot = pilot

    # What is seen

    @property
    def main(self) -> MainScreen:
        """The main screen, under whatever dialog is open."""
        return self.app.main

    @property
    def screen(self) -> Screen[Any]:
        """The topmost screen."""
        return self.app.screen

    @property
    def dialog(self) -> ConfirmDialog:
        """The confirmation that is open."""
        screen = self.app.screen
        assert isinstance(screen, ConfirmDialog), f"no confirmation is open:\n{self.text}"
        return screen

    @property
    def lines(self) -> list[str]:
        """What would be written to the terminal, top to bottom; each line fills its width."""
        return [strip.text for strip in written(self.app)]

    @property
    def text(self) -> str:
        """All lines."""
        return "\n".join(self.lines)

    @property
    def said(self) -> str:
        """What the dialog that is open says, its lines joined as they were before they were wrapped."""
        region = self.app.screen.query_one("#dialog").content_region
        strips = written(self.app)[region.y : region.bottom]
        return " ".join(" ".join(strip.crop(region.x, region.right).text for strip in strips).split())

    def line(self, wanted: str) -> str:
        """The first line that holds `wanted`, or nothing."""
        return next((line for line in self.lines if wanted in line), "")

    @property
    def toasts(self) -> list[str]:
        """What the toasts say that have not gone yet, oldest first."""
        return [notification.message for notification in self.app._notifications]

    @property
    def room_names(self) -> list[str]:
        """The table of rooms, top to bottom."""
        return [row.room.name.raw for row in self.main.rooms.rows]

    @property
    def focused(self) -> str:
        """The id of what has the focus."""
        focused = self.app.screen.focused
        return (focused.id or "") if focused is not None else ""

    def button(self, id: str) -> Button:  # noqa: A002 - Textual's word
        """A button of the dialog that is open."""
        return self.app.screen.query_one(f"#{id}", Button)

    # What is done

    async def show(self, snapshot: Snapshot) -> None:
        """Have this picture arrive, and wait until it is on the screen."""
        self.app.post_message(SnapshotArrived(snapshot))
        await self.wait_for(lambda: self.main.newest is snapshot)
        await self.pilot.pause()

    async def tell(self, record: ActionRecord) -> None:
        """Have an action go on or end."""
        self.main.take_records([record])
        await self.pilot.pause()

    async def press(self, *keys: str) -> None:
        """Press keys, by Textual's names, and wait until each was taken."""
        await self.pilot.press(*keys)
        await self.pilot.pause()

    async def type(self, text: str) -> None:
        """Type a text, key by key."""
        await self.press(*text)

    async def select(self, room: str) -> None:
        """Filter for the room, and go back to the table, where it is selected and its participants are known."""
        await self.wait_for(lambda: room in [known.name.raw for known in self.main.picture.rooms.values()])
        await self.press("slash")
        await self.type(room)
        await self.press("enter")
        await self.wait_for(lambda: self.main.room is not None and self.main.room.participants is not None)
        assert self.main.room is not None
        assert self.main.room.name.raw == room

    async def ask(self, key: str) -> ConfirmDialog:
        """Press an action's key, and wait for its confirmation."""
        await self.press(key)
        return await self.asked()

    async def asked(self, after: Screen[Any] | None = None) -> ConfirmDialog:
        """Wait until a confirmation is open and drawn; with `after`, another one than that."""
        await self.wait_for(
            lambda: isinstance(self.screen, ConfirmDialog) and self.screen is not after and self.focused == "cancel"
        )
        await self.wait_for(lambda: "Cancel" in self.said or "Close" in self.said)
        return self.dialog

    async def confirm(self, key: str) -> ConfirmDialog:
        """Press an action's key, step from Cancel to the button that does it, and press that."""
        dialog = await self.ask(key)
        await self.press("right", "enter")
        await self.wait_for(lambda: self.app.screen is not dialog)
        return dialog

    async def wait_for(self, wanted: str | Callable[[], object], seconds: float = PATIENCE_S) -> None:
        """Wait until the screen holds `wanted`, or until `wanted()` is true; fails with the screen if it never is."""
        seen = (lambda: wanted in self.text) if isinstance(wanted, str) else wanted
        try:
            async with asyncio.timeout(seconds):
                while not seen():
                    if not self.app.is_running:
                        pytest.fail(f"The dashboard ended before this was seen: {_name(wanted)}")
                    await self.pilot.pause(0.02)
        except TimeoutError:
            pytest.fail(f"Not seen within {seconds:g} s: {_name(wanted)}\n{self.text}")

    async def wait_for_words(self, words: str) -> None:
        """Wait until the screen holds these words, however many blanks are between them."""
        await self.wait_for(lambda: words in " ".join(self.text.split()))

    async def ended(self) -> None:
        """Wait until the dashboard has ended; its exit code is `app.return_code`."""
        await eventually(lambda: not self.app.is_running, PATIENCE_S)

    def assert_harmless(self) -> None:
        """It still runs, and nothing on its screen would make a terminal do anything but show it, line by line."""
        assert self.app.is_running
        lines = self.lines
        strange = {char for line in lines for char in line if not char.isprintable()}
        assert not strange, [line for line in lines if not line.isprintable()]
        if self.screen is self.main:
            # Behind a dialog the edge may cut an emoji of two cells in two.
            torn = [line for line in lines if cell_len(line) != self.app.size.width]
            assert not torn, torn


def _name(wanted: str | Callable[[], object]) -> str:
    if isinstance(wanted, str):
        return repr(wanted)
    code = getattr(wanted, "__code__", None)
    name = getattr(wanted, "__qualname__", repr(wanted))
    return name if code is None else f"{name} ({code.co_filename}:{code.co_firstlineno})"


@asynccontextmanager
async def dashboard(
    connect: Connect, where: Where, *, size: tuple[int, int] = (120, 40), **more: Any
) -> AsyncIterator[Dashboard]:
    """The dashboard, connected as `connect` says, in a terminal of `size` cells; it ends with the `async with`.

    `more` are further arguments of `Supervisor`. An exception anywhere in it is raised at the end.
    """
    app = Supervisor(connect, where, operator=OPERATOR, **more)
    async with app.run_test(size=size, notifications=True) as pilot:
        # From then on it can be ended.
        await eventually(lambda: len(app.workers), 60.0)
        try:
            yield Dashboard(app, pilot)
        finally:
            # As a person leaves: `run_test` by itself takes the screens apart while pictures still arrive.
            workers = list(app.workers)
            if app.is_running:
                app.exit()
            await eventually(lambda: not app.is_running and all(worker.is_finished for worker in workers))


@asynccontextmanager
async def on_pictures(
    *pictures: Snapshot,
    size: tuple[int, int] = (120, 40),
    clock: Callable[[], float] | None = None,
    read_only: bool = False,
    demo: bool = False,
    collector: Collector | None = None,
) -> AsyncIterator[Dashboard]:
    """A dashboard that is connected to nothing: it sees what a test shows it, first of all `pictures`."""

    @asynccontextmanager
    async def never() -> AsyncIterator[Connection]:
        await asyncio.Event().wait()
        yield Connection("", "", Secret(""), "", "")

    where = Where("acme", "https://acme.example", "a test", demo=demo, read_only=read_only)
    async with dashboard(never, where, size=size, clock=clock or Clock(), collector=collector) as shown:
        for picture in pictures:
            await shown.show(picture)
        yield shown


@asynccontextmanager
async def on_demo(
    world: World, *, size: tuple[int, int] = (120, 40), read_only: bool = False, interval_s: float = 0.25
) -> AsyncIterator[Dashboard]:
    """A dashboard on the embedded demo server, which serves `world`; its rooms have been read."""

    @asynccontextmanager
    async def connect() -> AsyncIterator[Connection]:
        async with DemoService(world) as demo:
            secret = Secret(demo.api_secret)
            yield Connection(demo.url, demo.api_key, secret, "demo", "a test", DemoSessions(world))

    where = Where("demo", "starting …", "a test", demo=True, read_only=read_only)
    async with dashboard(connect, where, size=size, sources=Sources(interval_s, 60_000)) as shown:
        await shown.wait_for(lambda: _all_read(shown.main.picture))
        yield shown


@asynccontextmanager
async def on_server(
    server: LabServer, *, url: str = "", size: tuple[int, int] = (120, 40), read_only: bool = False
) -> AsyncIterator[Dashboard]:
    """A dashboard on a real server, with its first picture; `url` is another way to that server."""
    there = url or server.url

    @asynccontextmanager
    async def connect() -> AsyncIterator[Connection]:
        yield Connection(there, server.api_key, Secret(server.api_secret), "lab", "a test")

    sources = Sources(0.3, 60_000, observe=0)
    where = Where("lab", there, "a test", read_only=read_only)
    async with dashboard(connect, where, size=size, sources=sources) as shown:
        await shown.wait_for("● live")
        yield shown


def _all_read(picture: Snapshot) -> bool:
    rooms = picture.rooms.values()
    return picture.listed_at is not None and all(room.dispatches is not None or not room.agents for room in rooms)


def served(name: str, *others: Participant, **more: Any) -> Room:
    """A room with ann and an agent in it, and whoever else; the agent has the helper, and its job is known."""
    serving = agent(f"agent-{name}", name="frontdesk", state="listening", helper="1", session=SessionState.OPEN)
    order = dispatch("", f"agent-{name}", id=f"AD_{name}")
    return room(name, person("ann", sid=f"PA_ann_{name}"), serving, *others, **{"dispatches": (order,), **more})


# The demo's world

SETTLED_S = 60.0
"""So long ago everybody came in: agents are at work, and their jobs are listed."""


def small_world() -> World:
    """A demo world of only those rooms that a test opens."""
    world = World(1, rooms=0, trouble=False)
    world.advance(time.time() - SETTLED_S)
    return world


def open_room(world: World, name: str, *people: str, agents: Sequence[str] = ("",), **more: Any) -> DemoRoom:
    """A room with these people in it, and a dispatch for each of `agents`; `""` is the helpful frontdesk's.

    `more` are further fields of each person. On a `small_world` that is not served yet.
    """
    room = world.create_room(name, agents)
    for identity in people:
        join(world, room, identity, **more)
    return room


def join(world: World, room: DemoRoom, identity: str, **more: Any) -> None:
    """Somebody comes into the room."""
    world._rooms.join_person(room, identity, models_pb.ParticipantInfo.STANDARD, **more)
