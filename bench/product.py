"""Every place where the bench touches lk-tui's own code. Where lk-tui changes, this is what follows."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from textual.geometry import Region

from tui import cli
from tui.demo import DemoService, World
from tui.gateway import poller
from tui.gateway.budget import Budget
from tui.gateway.client import Gateway
from tui.model.room import Room
from tui.model.secret import Secret
from tui.model.snapshot import Snapshot
from tui.ui.app import Supervisor
from tui.ui.rows import ROOM_COLUMNS

LK_TUI = str(Path(sys.executable).with_name("lk-tui"))
"""The program as it was installed beside this Python."""
SECRET_VARIABLE = "LIVEKIT_API_SECRET"  # noqa: S105 - its name
LIVE = "● live"
"""What stands on the first line once the rooms are there and fresh."""
INTERVAL_S = 2.0
"""Between two polls, unless `--interval` says otherwise."""
DEFAULT_BUDGET = 600
DEMO_BUDGET = 6_000
"""Requests a minute, unless `--budget` says otherwise; on `lk-tui demo`."""
_UNLIMITED = 1_000_000
NAME_CELLS = 13
"""Cells in which every room's name differs from the others'."""


def demo_world(seed: int, rooms: int, people: int, churn: float) -> World:
    """What the demo server serves: in every room `people` and an agent; of the rooms the share `churn` is replaced in
    a second."""
    return World(seed, rooms, people=people, churn=churn, trouble=False)


def demo_service(world: World, clock: Callable[[], float]) -> DemoService:
    """Serves that world."""
    return DemoService(world, clock)


def connection_flags(url: str, api_key: str) -> list[str]:
    """The command line that connects; the secret goes into the environment, as `SECRET_VARIABLE`."""
    return ["--url", url, "--api-key", api_key]


class OpeningBudget(Budget):
    """A budget without limits, until `settle`: reading 10,000 rooms with 600 requests a minute takes a quarter of an
    hour, and it is what comes after that is to be measured."""

    latest: OpeningBudget | None = None

    def __init__(self, _: int, sent: Callable[[], int], last_minute: Callable[[], int]) -> None:
        super().__init__(_UNLIMITED, sent, last_minute)
        self._all_sent = sent
        self._all_last_minute = last_minute
        OpeningBudget.latest = self

    def settle(self, per_minute: int) -> None:
        """From now on `per_minute`, as if nothing had been sent before."""
        before = self._all_sent()

        def since() -> int:
            return self._all_sent() - before

        super().__init__(per_minute, since, lambda: min(since(), self._all_last_minute()))


def without_budget() -> None:
    """Have every poller that is made from now on start with an `OpeningBudget`."""
    vars(poller)["Budget"] = OpeningBudget


def settle(per_minute: int) -> None:
    """Give the poller a budget."""
    if OpeningBudget.latest is None:
        raise RuntimeError("there is no poller")
    OpeningBudget.latest.settle(per_minute)


class Dashboard:
    """The dashboard as the bench sees it from inside."""

    def __init__(self, app: Supervisor) -> None:
        self._app = app

    @property
    def picture(self) -> Snapshot:
        """What was read last."""
        return self._app.main.newest if self._app.screen_stack else Snapshot()

    def poll_now(self) -> None:
        """Have it not wait for the next interval."""
        self._app.wake()

    @property
    def area(self) -> Region:
        """Where the rooms are on the screen, titles included."""
        return self._app.main.rooms.region

    @property
    def name_at(self) -> int:
        """The column of the screen at which the rooms' names begin."""
        marks = 1
        return self.area.x + marks + ROOM_COLUMNS[0].width + 1

    @property
    def log_pane(self) -> Region:
        """Where the log is on the screen."""
        return self._app.main.log_pane.region

    @property
    def on_screen(self) -> Sequence[Room]:
        """The rooms on screen, top to bottom."""
        return [row.room for row in self._app.main.rooms.visible_rows]


def open_dashboard(arguments: Sequence[str], opened: Callable[[Dashboard], None]) -> None:
    """`lk-tui ARGUMENTS` in this process, until it ends; `opened` is called on its event loop before anything else."""
    run_async = Supervisor.run_async

    async def run(self: Supervisor, **how: Any) -> None:
        opened(Dashboard(self))
        await run_async(self, **how)

    Supervisor.run_async = run  # type: ignore[assignment,method-assign]
    without_budget()
    cli.cli([*arguments])


async def poll(url: str, api_key: str, api_secret: str, publish: Callable[[Snapshot], Awaitable[None]]) -> None:
    """Poll as the dashboard does, without a screen, for ever."""
    without_budget()
    async with Gateway(url, api_key, Secret(api_secret)) as gateway:
        await poller.Poller(gateway, publish, interval_s=INTERVAL_S).run()


def read_rooms(rooms: Mapping[str, Room]) -> int:
    """Of how many rooms the participants are known."""
    return sum(1 for room in rooms.values() if room.participants is not None)


async def gone(dashboard: Callable[[], Snapshot], room_sid: str, participant_sid: str) -> float | None:
    """When the picture has the room without this participant: seconds of the monotonic clock; None if the room goes."""
    while (room := dashboard().rooms.get(room_sid)) is not None:
        if room.participant(participant_sid) is None:
            return time.monotonic()
        await asyncio.sleep(0.005)
    return None
