"""A program in a real pseudo-terminal: what it draws is what a person would see, what it sends is kept byte by byte."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import pyte
import pytest

LK_TUI = str(Path(sys.executable).with_name("lk-tui"))
"""The program as it was installed beside this Python."""

DOWN, RIGHT, END, ENTER, ESCAPE, TAB, CTRL_C, CTRL_P = "\x1b[B", "\x1b[C", "\x1b[F", "\r", "\x1b", "\t", "\x03", "\x10"
"""Keys as a terminal sends them."""

INTO_ALTERNATE_SCREEN, OUT_OF_ALTERNATE_SCREEN = b"\x1b[?1049h", b"\x1b[?1049l"
HIDE_CURSOR, SHOW_CURSOR = b"\x1b[?25l", b"\x1b[?25h"

# The child makes the pseudo-terminal its controlling one (Ctrl+C, window size) before it becomes the program. Done
# there, not in a `preexec_fn`, which may deadlock: livekit's rtc library runs threads in this process.
_TAKE_TERMINAL = (
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execvp(sys.argv[1], sys.argv[1:])"
)
_KEYBOARD_MODE = re.compile(rb"\x1b\[[<>=][0-9;]*u")
"""Kitty's keyboard protocol, which pyte doesn't know and would draw."""
_CAN_UPDATE_AT_ONCE, _IT_CAN = b"\x1b[?2026$p", b"\x1b[?2026;2$y"
"""The question whether the terminal can hold a screen update back until it is complete, and the answer. Textual then
marks where each of its updates begins and ends, and all else that is written can be told apart."""
_UPDATE_BEGINS, _UPDATE_ENDS = b"\x1b[?2026h", b"\x1b[?2026l"
_UPDATE = re.compile(rb"\x1b\[\?2026h.*?(?:\x1b\[\?2026l|\Z)", re.DOTALL)
_CONTROL = re.compile(rb"\x1b\[[<>=?]*[0-9;]*\$?[A-Za-z]|\x1b\]22;\w+\x07")
"""What Textual controls the terminal with: CSI sequences, and OSC 22 for the mouse pointer's shape."""


def clean_environment(home: Path, **added: str) -> dict[str, str]:
    """An environment with nothing of ours in it: no LIVEKIT_ variable, an empty home directory, UTF-8."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "TERM": "xterm-256color",
        "COLORTERM": "truecolor",
        "LC_ALL": "C.UTF-8",
        **added,
    }


class Terminal:
    """One program in a terminal of its own; the whole process group is killed at the end of `async with`.

    Everything it writes, standard error too, goes to the terminal as it would for a person. Belongs to the event loop
    it was opened in, which must not be blocked for long: what isn't read holds the program up.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        environment: Mapping[str, str],
        cwd: Path,
        columns: int = 120,
        rows: int = 40,
    ) -> None:
        """`environment` is all that the program gets. A size is in character cells."""
        self._argv = list(argv)
        self._environment = dict(environment)
        self._cwd = cwd
        self._screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self._screen)
        self._lines: list[str] = []
        self._raw = bytearray()
        self._unfed = b""
        self._changed = asyncio.Event()
        self._master: int | None = None
        self._process: subprocess.Popen[bytes] | None = None

    async def __aenter__(self) -> Self:
        self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # What is seen

    @property
    def lines(self) -> list[str]:
        """The screen, top to bottom, without the spaces at the ends of lines."""
        # Not pyte's `display`, which measures every character anew, and is asked for after everything that is drawn.
        buffer, columns = self._screen.buffer, range(self._screen.columns)
        self._lines = self._lines[: self._screen.lines]
        self._lines += [""] * (self._screen.lines - len(self._lines))
        for y in self._screen.dirty.intersection(range(self._screen.lines)):
            row = buffer[y]
            self._lines[y] = "".join([row[x].data for x in columns]).rstrip()
        self._screen.dirty.clear()
        return list(self._lines)

    @property
    def text(self) -> str:
        """The screen as one string."""
        return "\n".join(self.lines)

    @property
    def raw(self) -> bytes:
        """Every byte that the program has written so far."""
        return bytes(self._raw)

    @property
    def drawn(self) -> bytes:
        """What all the screen's updates so far wrote, without Textual's own control sequences."""
        return self.plain(b"".join(_UPDATE.findall(self.raw)))

    @property
    def strays(self) -> bytes:
        """What was written outside of the screen's updates, likewise: warnings, logs, last words.

        The first updates may come before our answer to Textual's question, unmarked, and are passed over.
        """
        raw = self.raw
        begin, marked = raw.find(INTO_ALTERNATE_SCREEN), raw.find(_UPDATE_BEGINS)
        if begin >= 0:
            raw = raw[:begin] + raw[marked if marked >= 0 else raw.rfind(OUT_OF_ALTERNATE_SCREEN) :]
        return self.plain(_UPDATE.sub(b"", raw))

    @staticmethod
    def plain(written: bytes) -> bytes:
        """`written` without what Textual controls the terminal with."""
        return _CONTROL.sub(b"", written)

    @property
    def pid(self) -> int:
        """The program's process id."""
        return self._running().pid

    def line(self, wanted: str) -> str:
        """The first line of the screen that holds `wanted`, or nothing."""
        return next((line for line in self.lines if wanted in line), "")

    def looks(self, wanted: str) -> list[tuple[object, ...]]:
        """Colours and style of `wanted`, cell by cell, where it is first seen; empty where it isn't."""
        for row, line in enumerate(self.lines):
            column = line.find(wanted)
            if column >= 0:
                cells = self._screen.buffer[row]
                return [tuple(cells[x])[1:] for x in range(column, column + len(wanted))]
        return []

    async def wait_for(
        self,
        wanted: str | Callable[[], object],
        timeout: float = 20.0,  # noqa: ASYNC109 -- asyncio.timeout couldn't show the screen
    ) -> None:
        """Wait until the screen holds `wanted`, or until `wanted()` is true, looked at after everything that is drawn.

        Fails the test with the screen after `timeout` seconds, or as soon as the program has ended without it.
        """
        seen = (lambda: wanted in self.text) if isinstance(wanted, str) else wanted
        what = repr(wanted) if isinstance(wanted, str) else getattr(wanted, "__qualname__", repr(wanted))
        try:
            async with asyncio.timeout(timeout):
                while not seen():
                    if self._master is None:
                        pytest.fail(f"The program ended before {what} was seen:\n{self._shown()}")
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            pytest.fail(f"Not seen within {timeout:g} s: {what}\n{self._shown()}")

    async def exit_code(
        self,
        timeout: float = 20.0,  # noqa: ASYNC109 -- asyncio.timeout couldn't show the screen
    ) -> int:
        """Wait until the program has ended and all that it wrote was read; its exit code (negative: a signal)."""
        process = self._running()
        try:
            async with asyncio.timeout(timeout):
                while self._master is not None:
                    self._changed.clear()
                    await self._changed.wait()
                return await asyncio.to_thread(process.wait, timeout)
        except (TimeoutError, subprocess.TimeoutExpired):
            pytest.fail(f"The program did not end within {timeout:g} s:\n{self._shown()}")

    # What is done

    async def press(self, key: str, until_changed: str) -> None:
        """Type a key, and wait until what is written there looks different: has got the focus, or lost it."""
        before = self.looks(until_changed)
        self.send(key)
        await self.wait_for(lambda: self.looks(until_changed) not in ([], before))

    def send(self, *keys: str) -> None:
        """Type the keys, one right behind the other: a screen that has to change first may still get the later ones."""
        if self._master is None:
            pytest.fail(f"The program has ended:\n{self._shown()}")
        data = "".join(keys).encode()
        while data:
            data = data[os.write(self._master, data) :]

    def resize(self, columns: int, rows: int) -> None:
        """Change the terminal's size as a window's owner does; the program is told."""
        if self._master is not None:
            self._screen.resize(rows, columns)
            fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def signal(self, number: signal.Signals) -> None:
        """Send the program a signal."""
        os.killpg(self._running().pid, number)

    def hang_up(self) -> None:
        """Close the terminal under the program, as a window that is closed does. Nothing happens if it is closed."""
        if self._master is not None:
            with contextlib.suppress(RuntimeError):
                asyncio.get_running_loop().remove_reader(self._master)
            os.close(self._master)
            self._master = None

    def open(self) -> None:
        """Start the program."""
        master, slave = pty.openpty()
        try:
            size = struct.pack("HHHH", self._screen.lines, self._screen.columns, 0, 0)
            fcntl.ioctl(slave, termios.TIOCSWINSZ, size)
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", _TAKE_TERMINAL, *self._argv],
                stdin=slave,
                stdout=slave,
                stderr=slave,
                cwd=self._cwd,
                env=self._environment,
                start_new_session=True,
            )
        except BaseException:
            os.close(master)
            raise
        finally:
            os.close(slave)
        self._master = master
        asyncio.get_running_loop().add_reader(master, self._read)

    def close(self) -> None:
        """Kill the program with everything it started. Nothing happens if it was never started."""
        if self._process is not None:
            # The group may outlive its leader, so it is killed even when the leader has ended already.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self.hang_up()

    def _read(self) -> None:
        assert self._master is not None
        try:
            data = os.read(self._master, 65_536)
        except OSError:
            # Linux answers EIO once the last process has closed the terminal.
            data = b""
        if data:
            self._raw += data
            if _CAN_UPDATE_AT_ONCE in self._raw[-len(data) - len(_CAN_UPDATE_AT_ONCE) :]:
                os.write(self._master, _IT_CAN)
            self._feed(data)
        else:
            self.hang_up()
        self._changed.set()

    def _feed(self, data: bytes) -> None:
        data = _KEYBOARD_MODE.sub(b"", self._unfed + data)
        begin = data.rfind(_UPDATE_BEGINS)
        if begin >= 0 and _UPDATE_ENDS not in data[begin:]:
            # Half an update is never shown: what has only been moved would look as if it had gone.
            cut = begin
        else:
            # A sequence may be cut in two by the read: its start is kept until the rest is there.
            start = data.rfind(b"\x1b")
            cut = start if start >= 0 and re.fullmatch(rb"\x1b(\[[<>=?]?[0-9;]*)?", data[start:]) else len(data)
        self._unfed = data[cut:]
        self._stream.feed(data[:cut])

    def _running(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, "not opened"
        return self._process

    def _shown(self) -> str:
        return "\n".join(f"|{line}" for line in self.lines)
