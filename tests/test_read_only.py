"""Read-only: whatever is pressed, chosen or called, no request that changes anything goes out. All commands there are
come from the registry and from the command line itself, so that none can be forgotten."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import click
import pytest

from tests.command import completed
from tests.dashboard import Dashboard, dashboard, open_room, small_world
from tests.lab.wire import Wire
from tests.terminal import LK_TUI, clean_environment
from tui.cli import cli
from tui.cli.options import EXIT_REFUSED
from tui.config import Sources
from tui.control.plan import plan
from tui.demo import DemoService
from tui.model.action import Action, Outcome
from tui.model.room import Room
from tui.model.secret import Secret
from tui.settings import Connection
from tui.ui.bars import Where
from tui.ui.commands import COMMANDS, Command, Group

ROOMS = ("alpha", "beta", "gamma")
PLACES = {
    "a room": (),
    "marked rooms": ("asterisk",),
    "a participant": ("enter",),
    "marked participants": ("enter", "asterisk"),
    "an agent": ("tab", "tab"),
    "an agent's session": ("tab", "tab", "enter"),
    "the log": ("shift+tab",),
}
"""Where a key may be pressed, and how to get there from the table of rooms."""
NOT_PRESSED = {"quit", "suspend", "palette"}
"""What leaves the dashboard, and what lists all the others and is gone through by itself."""


@asynccontextmanager
async def watched(*, read_only: bool) -> AsyncIterator[tuple[Dashboard, Wire]]:
    """The dashboard on a demo server of three rooms, each with a person and two agents; and the wire in between."""
    world = small_world()
    for name in ROOMS:
        open_room(world, name, "ann", agents=["", "nobody-of-this-name"])
    opened: list[Wire] = []

    @asynccontextmanager
    async def connect() -> AsyncIterator[Connection]:
        async with DemoService(world) as demo, Wire(demo.url) as wire:
            opened.append(wire)
            yield Connection(wire.url, demo.api_key, Secret(demo.api_secret), "demo", "a test")

    where = Where("demo", "starting …", "a test", demo=True, read_only=read_only)
    async with dashboard(connect, where, sources=Sources(0.25, 60_000, observe=0)) as shown:
        await shown.wait_for(lambda: len(_at_work(shown)) == len(ROOMS) and opened)
        yield shown, opened[0]


def _at_work(shown: Dashboard) -> list[Room]:
    """The rooms whose agents are known, each with its job."""
    rooms = shown.main.picture.rooms.values()
    return [room for room in rooms if room.agents and all(agent.job is not None for agent in room.agents)]


async def go_home(shown: Dashboard) -> None:
    """Back to the table of rooms: no dialog, no filter, no marks."""
    while shown.screen is not shown.main:
        await shown.press("escape")
    await shown.press("escape", "escape", "u")
    assert shown.focused == "rooms"


async def press_through(shown: Dashboard, place: Sequence[str], command: Command) -> None:
    """Press the command's first key there, and confirm whatever comes."""
    await go_home(shown)
    await shown.press(*place)
    await shown.press(command.keys.split(",")[0])
    for _ in range(2):
        if shown.screen is not shown.main:
            await shown.press("right", "enter")


@pytest.mark.parametrize("place", PLACES)
async def test_no_key_changes_anything(place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Where what is saved goes to.
    monkeypatch.chdir(tmp_path)
    async with watched(read_only=True) as (shown, wire):
        for command in COMMANDS:
            # The others, which look and move, are pressed in one place.
            acts = command.changes is not None or command.group in (Group.ACT, Group.SESSION)
            if command.id not in NOT_PRESSED and (acts or place == "a room"):
                await press_through(shown, PLACES[place], command)
        assert wire.asked
        assert wire.changes == []
        # Looking into a session is kept as well, and changes nothing.
        assert {record.action for record in shown.app.records} <= {Action.INSPECT_SESSION}


async def test_the_same_keys_do_change_something_otherwise() -> None:
    async with watched(read_only=False) as (shown, wire):
        for place in ("a participant", "a room"):
            for command in COMMANDS:
                if command.group is Group.ACT:
                    await press_through(shown, PLACES[place], command)
        await shown.wait_for(lambda: wire.changes_of("RemoveParticipant") and wire.changes_of("DeleteRoom"))


async def test_the_palette_offers_nothing_that_changes_anything() -> None:
    async with watched(read_only=True) as (shown, wire):
        for place in ("a room", "a participant", "an agent's session"):
            await go_home(shown)
            await shown.press(*PLACES[place])
            offered = {entry.title.partition("  (")[0] for entry in shown.app.get_system_commands(shown.screen)}
            changing = {command.label.capitalize() for command in COMMANDS if command.changes is not None}
            assert offered
            assert not offered & (changing | {"Stop"})
        assert wire.changes == []


@pytest.mark.parametrize("action", Action)
async def test_no_action_is_carried_out_whoever_orders_it(action: Action) -> None:
    async with watched(read_only=True) as (shown, wire):
        room = _at_work(shown)[0]
        planned = plan(action, room, room.agents[0].participant.sid, time.time(), agent_name="frontdesk")
        shown.app.carry_out(planned)
        await shown.wait_for(lambda: shown.app.records and shown.app.records[0].outcome is not Outcome.RUNNING)
        (record,) = shown.app.records
        assert record.outcome in (Outcome.REFUSED, Outcome.UNSUPPORTED), record
        assert not record.sent
        assert wire.changes == []


# The command line


@asynccontextmanager
async def reachable(home: Path) -> AsyncIterator[tuple[Wire, dict[str, str]]]:
    """A wire to a demo server of three rooms, and a person's environment that names it."""
    world = small_world()
    for name in ROOMS:
        open_room(world, name, "ann")
    async with DemoService(world) as demo, Wire(demo.url) as wire:
        yield (
            wire,
            clean_environment(
                home, LIVEKIT_URL=wire.url, LIVEKIT_API_KEY=demo.api_key, LIVEKIT_API_SECRET=demo.api_secret
            ),
        )


async def run(command: click.Command, environment: dict[str, str]) -> int:
    """Run it as far as it may go, on all rooms, and without a question; its exit code."""
    flags = {"everything": "--all", "yes": "--yes"}
    given = [flags[param.name] for param in command.params if param.name in flags]
    argv = [LK_TUI, str(command.name), *given]
    return (await completed(argv, environment, Path(environment["HOME"]))).returncode


ONE_SHOTS = {name: command for name, command in cli.commands.items() if name != "demo"}
"""All that ends by itself."""


@pytest.mark.parametrize("name", ONE_SHOTS)
async def test_no_command_line_changes_anything(name: str, tmp_path: Path) -> None:
    async with reachable(tmp_path) as (wire, environment):
        code = await run(ONE_SHOTS[name], {**environment, "LK_TUI_READ_ONLY": "1"})
        changes = any(param.name == "yes" for param in ONE_SHOTS[name].params)
        assert code == (EXIT_REFUSED if changes else 0)
        assert wire.changes == []


async def test_the_same_command_line_does_change_something_otherwise(tmp_path: Path) -> None:
    async with reachable(tmp_path) as (wire, environment):
        assert await run(ONE_SHOTS["kick"], environment) == 0
        assert wire.changes_of("RemoveParticipant")
