"""Takes the pictures in this folder from the real dashboard on the demo server: `make screenshots`.

Each is an SVG; where `rsvg-convert` is installed (Debian: librsvg2-bin, fonts-firacode) those that README shows become
PNGs too. `--only NAME` takes one, `--into FOLDER` puts them elsewhere.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import shutil
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from textual.pilot import Pilot

from tui.config import Sources
from tui.demo import DemoService, DemoSessions, World
from tui.model.action import Outcome
from tui.model.secret import Secret
from tui.model.signs import SignCode
from tui.settings import Connection
from tui.ui.app import Supervisor
from tui.ui.bars import Where
from tui.ui.session_screen import SessionScreen

SEED = 3
PATIENCE_S = 90.0


@dataclass(frozen=True)
class Shot:
    """A picture: its size in cells, the keys to press (or what works them out), and what must be true before it is
    taken."""

    name: str
    size: tuple[int, int]
    keys: Sequence[str] | Callable[[Supervisor], Sequence[str]] = ()
    png: bool = False
    ready: Callable[[Supervisor], bool] = lambda _: True


def _all_is_shown(app: Supervisor) -> bool:
    rooms = app.main.picture.rooms.values()
    return bool(rooms) and all(room.participants is not None for room in rooms) and len(list(app.closes)) > 2


def _done(app: Supervisor) -> bool:
    return any(record.outcome is Outcome.CONFIRMED for record in app.records)


def _session_is_told(app: Supervisor) -> bool:
    screen = app.screen
    return isinstance(screen, SessionScreen) and len(screen.view.entries) > TOLD and len(screen.view.rtc) > TOLD


def _into_a_session(app: Supervisor) -> Sequence[str]:
    """The keys that lead into the session of an agent who has been at work for a while, and is well."""
    calm = [row.room for row in app.main.rooms.rows if not row.signs and len(row.room.agents) == 1]
    room = min(calm, key=lambda room: (room.agents[0].name != "frontdesk", room.created_at))
    return ("slash", *(_KEY_NAMES.get(char, char) for char in room.name.raw), "enter", "enter", "G", "enter", "n")


_KEY_NAMES = {"-": "minus"}
TOLD = 12
"""Entries of its conversation, and samples of its connection, that there have to be."""
SHOTS = (
    Shot("dashboard", (120, 40), png=True),
    Shot("dashboard-80x24", (80, 24), png=True),
    Shot("delete-room", (120, 40), ("slash", *"intake", "enter", "D")),
    Shot("close-session", (120, 40), ("slash", *"closer", "enter", "c", "right", "enter"), ready=_done),
    Shot("participant", (120, 40), ("slash", *"closer", "enter", "tab", "g", "enter")),
    Shot("log-80x24", (80, 24), ("shift+tab",)),
    Shot("session", (120, 40), _into_a_session, png=True, ready=_session_is_told),
    Shot("session-80x24", (80, 24), _into_a_session, ready=_session_is_told),
    Shot("close", (120, 40), ("shift+tab", "g", "enter"), png=True),
    Shot("causes", (120, 40), ("f",)),
    Shot("tear-down-many", (120, 40), ("asterisk", "T")),
    Shot("sources", (120, 40), ("i",)),
    Shot("help", (120, 40), ("question_mark",)),
)


async def take(shot: Shot, folder: Path) -> None:
    """Take one picture; raises TimeoutError if it does not come about."""

    @asynccontextmanager
    async def connect() -> AsyncIterator[Connection]:
        world = World(SEED)
        async with DemoService(world) as demo:
            secret = Secret(demo.api_secret)
            yield Connection(demo.url, demo.api_key, secret, "demo", "lk-tui demo", DemoSessions(world))

    where = Where("demo", "starting …", "lk-tui demo", demo=True)
    app = Supervisor(connect, where, operator="mira@ops1", sources=Sources(budget=6_000))
    async with app.run_test(size=shot.size, notifications=True) as pilot:
        await _until(pilot, lambda: _all_is_shown(app))
        await _until(pilot, lambda: any(s.code is SignCode.WAITING for row in app.main.rooms.rows for s in row.signs))
        for key in shot.keys(app) if callable(shot.keys) else shot.keys:
            await pilot.press(key)
        await _until(pilot, lambda: shot.ready(app))
        await pilot.pause()
        svg = folder / f"{shot.name}.svg"
        svg.write_text(_plain(app.export_screenshot(title="lk-tui")), "utf-8")
    if shot.png and (converter := shutil.which("rsvg-convert")):
        arguments = [str(svg), "-w", "1300", "-o", str(svg.with_suffix(".png"))]
        await (await asyncio.create_subprocess_exec(converter, *arguments)).wait()


async def _until(pilot: Pilot[None], condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():
            await pilot.pause(0.05)


def _plain(svg: str) -> str:
    """The SVG without fonts from the network, and with blanks that every renderer keeps."""
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)
    return svg.replace("&#160;", " ").replace("<text ", '<text xml:space="preserve" ')


def main() -> None:
    """Take all pictures, or one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=[shot.name for shot in SHOTS])
    parser.add_argument("--into", type=Path, default=Path(__file__).parent)
    chosen = parser.parse_args()
    for shot in SHOTS:
        if chosen.only in (None, shot.name):
            asyncio.run(take(shot, chosen.into))
            print(shot.name)


if __name__ == "__main__":
    main()
