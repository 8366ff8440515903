"""However the dashboard ends: the terminal is as it was, within a second or so, and nothing is left running or lost."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path

import pytest

from bench.process import cpu_seconds
from tests.lab.people import join
from tests.lab.server import LabServer
from tests.lab.waiting import eventually
from tests.terminal import ENTER, LK_TUI, RIGHT, Terminal, clean_environment
from tests.test_terminal import assert_restored, environment
from tui.history.file import newest_actions, open_to_read

SOON_S = 8.0
"""An end is a matter of tenths of a second; what is more is for a machine that is busy with other things. What waits
for a server would take 10 s."""

WAYS: dict[str, Callable[[Terminal], None]] = {
    "q": lambda terminal: terminal.send("q"),
    "SIGTERM": lambda terminal: terminal.signal(signal.SIGTERM),
    "the terminal closed": lambda terminal: terminal.hang_up(),
}


@contextmanager
def hung(server: LabServer) -> Iterator[None]:
    """The server accepts connections and never answers any more."""
    os.kill(server.process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(server.process.pid, signal.SIGCONT)


@pytest.fixture
def slow_server(tmp_path: Path) -> Iterator[LabServer]:
    """A server of our own, to be stopped."""
    directory = tmp_path / "server"
    directory.mkdir()
    with LabServer(directory) as server:
        yield server


def descendants(pid: int) -> list[int]:
    """The processes that this one has started, and those that these have, as far as they live."""
    found = [int(each.name) for each in Path("/proc").glob("[0-9]*") if _status(int(each.name))[1] == pid]
    return found + [further for child in found for further in descendants(child)]


def lives(pid: int) -> bool:
    """Whether there is such a process, other than as a zombie."""
    return _status(pid)[0] not in ("", "Z")


def _status(pid: int) -> tuple[str, int]:
    try:
        state, parent, *_ = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return "", 0
    return state, int(parent)


@pytest.mark.parametrize("way", WAYS)
async def test_a_hung_server_keeps_nobody_from_leaving(slow_server: LabServer, tmp_path: Path, way: str) -> None:
    argv = [LK_TUI, "--interval", "0.3"]
    async with (
        await join(slow_server, "here", "ann"),
        Terminal(argv, environment=environment(slow_server, tmp_path), cwd=tmp_path) as terminal,
    ):
        await terminal.wait_for("ann")
        terminal.send(ENTER)
        await terminal.wait_for("● observer")
        observers = descendants(terminal.pid)
        assert observers
        with hung(slow_server):
            await terminal.wait_for("✗ stale")
            began, leader = time.monotonic(), terminal.pid
            WAYS[way](terminal)
            code = await terminal.exit_code(30)
            assert time.monotonic() - began < SOON_S
            await eventually(lambda: not any(lives(pid) for pid in (leader, *observers)), SOON_S)
        if way == "the terminal closed":
            assert code == 128 + signal.SIGHUP
        else:
            assert code == 0
            assert terminal.strays == b""
            assert_restored(terminal)


@asynccontextmanager
async def demo(home: Path, *options: str, **variables: str) -> AsyncIterator[Terminal]:
    """The demo, with its first picture drawn."""
    argv = [LK_TUI, "demo", "--seed", "7", *options]
    async with Terminal(argv, environment={**clean_environment(home), **variables}, cwd=home) as terminal:
        await terminal.wait_for("40 rooms")
        yield terminal


async def test_what_was_told_to_the_history_is_not_lost_with_the_terminal(tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    async with demo(tmp_path, "--history", str(path)) as terminal:
        await eventually(path.exists)
        await terminal.wait_for("● history")
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            # Whatever comes now cannot be written before we let go.
            await eventually(lambda: _locked(other))
            terminal.send("D")
            await terminal.wait_for("As seen")
            await terminal.press(RIGHT, "Cancel")
            terminal.send(ENTER)
            await terminal.wait_for("delete room")
            terminal.hang_up()
            other.rollback()
        assert await terminal.exit_code(SOON_S) == 128 + signal.SIGHUP
    with closing(open_to_read(path)) as file:
        (record,) = [record for project in _projects(file) for record in newest_actions(file, project, 0.0, 10)]
    assert record.action == "delete room"


def _locked(file: sqlite3.Connection) -> bool:
    try:
        file.execute("BEGIN EXCLUSIVE")
    except sqlite3.OperationalError:
        return False
    return True


def _projects(file: sqlite3.Connection) -> list[str]:
    return [project for (project,) in file.execute("SELECT DISTINCT project FROM actions")]


async def test_a_program_without_its_terminal_does_not_spin_before_it_ends(tmp_path: Path) -> None:
    argv = ["sh", "-c", 'trap "" HUP; exec "$@"', "sh", LK_TUI, "demo"]
    async with Terminal(argv, environment=clean_environment(tmp_path), cwd=tmp_path) as terminal:
        await terminal.wait_for("40 rooms")
        pid = terminal.pid
        before = cpu_seconds(pid)
        terminal.hang_up()
        spent = before
        async with asyncio.timeout(30):
            while lives(pid):
                spent = _spent(pid) or spent
                await asyncio.sleep(0.02)
        assert spent - before < 1.5, "seconds of CPU"


def _spent(pid: int) -> float:
    try:
        return cpu_seconds(pid)
    except OSError:
        return 0.0


# The shell's job control


async def test_it_can_be_suspended_and_comes_back_to_the_same_screen(tmp_path: Path) -> None:
    argv = ["bash", "--norc", "--noediting", "-i"]
    variables = {**clean_environment(tmp_path), "PS1": "READY>", "HISTFILE": ""}
    async with Terminal(argv, environment=variables, cwd=tmp_path) as terminal:
        await terminal.wait_for("READY>")
        terminal.send(f"stty -a | md5sum; {LK_TUI} demo --seed 7\r")
        await terminal.wait_for("40 rooms")
        terminal.send("\x1a")
        await terminal.wait_for("Stopped")
        assert_restored(terminal)
        terminal.send("stty -a | md5sum; fg\r")
        await terminal.wait_for("40 rooms")
        await terminal.wait_for("● live")
        terminal.send("?")
        await terminal.wait_for("lk-tui help")
        terminal.send("q")
        await terminal.wait_for(lambda: "lk-tui help" not in terminal.text)
        terminal.send("q")
        await terminal.wait_for(lambda: terminal.raw.endswith(b"READY>"))
        assert_restored(terminal)
        terminal.send("stty -a | md5sum; exit\r")
        await terminal.exit_code()
        sums = [line.split()[0] for line in terminal.raw.decode(errors="replace").splitlines() if line.endswith("  -")]
        assert len(sums) == 3
        assert len(set(sums)) == 1


async def test_it_is_not_suspended_in_the_middle_of_an_action(tmp_path: Path) -> None:
    async with demo(tmp_path) as terminal:
        terminal.send("D")
        await terminal.wait_for("As seen")
        await terminal.press(RIGHT, "Cancel")
        terminal.send(ENTER)
        await terminal.wait_for("… delete room")
        terminal.send("\x1a")
        await terminal.wait_for("An action is still running: S stops it.")
        terminal.send("?")
        await terminal.wait_for("lk-tui help")


# Terminals of all kinds


async def test_a_storm_of_sizes_leaves_the_screen_whole(tmp_path: Path) -> None:
    async with demo(tmp_path) as terminal:
        for columns, rows in ((20, 5), (200, 60), (20, 5), (80, 24), (1, 1), (40, 12), (300, 8), (20, 50), (20, 5)) * 3:
            terminal.resize(columns, rows)
            terminal.send("?", "q", "j")
            await asyncio.sleep(0.02)
        terminal.resize(120, 40)
        await terminal.wait_for(lambda: "q quit" in terminal.lines[39] and "40 rooms" in terminal.text, 40)
        terminal.send("q")
        assert await terminal.exit_code() == 0
        assert_restored(terminal)


@pytest.mark.parametrize(
    "variables",
    [
        {"LC_ALL": "C"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"NO_COLOR": "1"},
        {"TERM": "linux", "COLORTERM": ""},
    ],
    ids=["C", "no UTF-8 at all", "no colour", "console"],
)
async def test_it_runs_in_a_poor_terminal_too(tmp_path: Path, variables: dict[str, str]) -> None:
    argv = ["sh", "-c", 'stty -g; "$@"; echo "ended with $?"; stty -g', "sh", LK_TUI, "demo", "--seed", "7"]
    async with Terminal(argv, environment={**clean_environment(tmp_path), **variables}, cwd=tmp_path) as terminal:
        await terminal.wait_for("40 rooms")
        terminal.send("?")
        await terminal.wait_for("lk-tui help")
        terminal.send("q")
        await terminal.wait_for(lambda: "lk-tui help" not in terminal.text)
        terminal.send("q")
        await terminal.exit_code()
        before, *_, after = terminal.strays.decode(errors="replace").split()
        assert "ended with 0" in terminal.strays.decode(errors="replace")
        assert before == after
        assert_restored(terminal)


async def test_a_terminal_that_cannot_be_drawn_on_is_left_alone(tmp_path: Path) -> None:
    variables = clean_environment(tmp_path, TERM="dumb")
    async with Terminal([LK_TUI, "demo"], environment=variables, cwd=tmp_path) as terminal:
        assert await terminal.exit_code() == 2
        assert terminal.raw == (
            b"lk-tui: the dashboard needs a terminal, and not a dumb one: without one, use `lk-tui rooms`\r\n"
        )
