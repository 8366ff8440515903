"""A program in a real pseudo-terminal: every byte is counted, and every frame has its time."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Self

from bench.child import REPOSITORY
from bench.screen import Screen

COLUMNS, ROWS = 160, 50
PATIENCE_S = 60.0

# The child makes the pseudo-terminal its controlling one before it becomes the program.
_TAKE_TERMINAL = (
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execvp(sys.argv[1], sys.argv[1:])"
)
_CAN_UPDATE_AT_ONCE, _IT_CAN = b"\x1b[?2026$p", b"\x1b[?2026;2$y"
"""The question whether the terminal can hold an update back until it is complete, and the answer: each is marked."""
_UPDATE_ENDS = b"\x1b[?2026l"


class TerminalError(RuntimeError):
    """The program has ended. The message ends with the screen, as do those of the next one."""


class NotSeenError(TerminalError):
    """The program does not show what is waited for."""


class Terminal:
    """One program, for `with`. What it writes is taken whenever something is waited for; it must not wait for long."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], *, passed: Sequence[int] = ()) -> None:
        """`environment` is all that the program gets, besides the file descriptors that are `passed`."""
        self._command = list(command)
        self._environment = dict(environment)
        self._passed = tuple(passed)
        self._master = -1
        self._unfed = b""
        self._marks = False
        self.screen = Screen(COLUMNS, ROWS)
        self.written = 0
        """Bytes, so far."""
        self.started_at = self.painted_at = 0.0
        """When the program was started, and when its last frame was complete: seconds of the monotonic clock."""

    def __enter__(self) -> Self:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        self.started_at = time.monotonic()
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _TAKE_TERMINAL, *self._command],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            cwd=REPOSITORY,
            env=self._environment,
            start_new_session=True,
            pass_fds=self._passed,
        )
        os.close(slave)
        os.set_blocking(self._master, False)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        os.close(self._master)

    @property
    def pid(self) -> int:
        """The program's process id."""
        return self._process.pid

    def send(self, keys: str) -> float:
        """Type; returns when (seconds of the monotonic clock)."""
        now = time.monotonic()
        os.write(self._master, keys.encode())
        return now

    def wait_for(self, seen: Callable[[], bool], what: str, patience_s: float = PATIENCE_S) -> float:
        """Take frames until `seen()` after one of them, or now; returns when that frame was complete."""
        until = time.monotonic() + patience_s
        while not seen():
            if time.monotonic() > until:
                raise NotSeenError(f"not seen within {patience_s:.0f} s: {what}\n" + "\n".join(self.screen.lines))
            self.take(0.2)
        return self.painted_at

    def watch(self, seconds: float) -> None:
        """Take all frames of so many seconds."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self.take(left, whole=False)

    def take(self, patience_s: float, *, also: int | None = None, whole: bool = True) -> bool:
        """Take what is written within so many seconds, at most one frame of it; whether `also` can be read.

        Without `whole` it needs not be a frame.
        """
        until = time.monotonic() + patience_s
        while True:
            waited = [self._master] if also is None else [self._master, also]
            ready, _, _ = select.select(waited, [], [], max(0.0, until - time.monotonic()))
            if self._master in ready:
                framed = self._read()
                if framed or not whole:
                    return also in ready
            if not ready or also in ready:
                return also in ready

    def _read(self) -> bool:
        try:
            data = os.read(self._master, 65_536)
        except BlockingIOError:
            return False
        except OSError:
            # Linux answers EIO once the program has ended.
            last = self._unfed.decode(errors="replace")
            raise TerminalError("\n".join(["the program has ended", *self.screen.lines, last])) from None
        now = time.monotonic()
        self.written += len(data)
        self._unfed += data
        if _CAN_UPDATE_AT_ONCE in self._unfed[-len(data) - len(_CAN_UPDATE_AT_ONCE) :]:
            os.write(self._master, _IT_CAN)
        if (end := self._unfed.rfind(_UPDATE_ENDS)) >= 0:
            self._marks = True
            end += len(_UPDATE_ENDS)
        elif self._marks:
            return False
        else:
            # The first frames may come before our answer to Textual's question, without marks.
            end = max(0, self._unfed.rfind(b"\x1b"))
        self.painted_at = now
        self.screen.feed(self._unfed[:end])
        self._unfed = self._unfed[end:]
        return True
