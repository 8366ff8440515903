"""A screen that runs in a terminal under observation: keys and frames from outside, answers from inside."""

from __future__ import annotations

import json
import os
import re
import socket
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self

from bench import product
from bench.child import Answer
from bench.servers import Server
from bench.terminal import ROWS, Terminal

LK_TUI, DATA_TABLE = "lk-tui", "DataTable"

_COUNT = re.compile(r"([\d,]+)/[\d,]+")
_ALTERED = "⚑"
"""Before a name that can't be shown as it is."""


def clean_environment(home: str, secret: str) -> dict[str, str]:
    """An environment with nothing of ours in it: an empty home directory, UTF-8, the secret."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": home,
        "TERM": "xterm-256color",
        "COLORTERM": "truecolor",
        "LC_ALL": "C.UTF-8",
        product.SECRET_VARIABLE: secret,
    }


class Dashboard:
    """One screen on one server, for `with`: lk-tui's, or the DataTable. Its poller has no budget until `settle`."""

    def __init__(self, server: Server, screen: str = LK_TUI, flags: Sequence[str] = ()) -> None:
        self._server = server
        self._screen = screen
        self._flags = list(flags)
        self._open = ExitStack()

    def __enter__(self) -> Self:
        home = self._open.enter_context(tempfile.TemporaryDirectory())
        ours, theirs = socket.socketpair()
        self._control = self._open.enter_context(ours)
        with theirs:
            passed = theirs.fileno()
            command = [sys.executable, "-m", "bench.inside", str(passed), self._screen]
            command += product.connection_flags(self._server.url, self._server.api_key)
            environment = clean_environment(home, self._server.api_secret)
            self.terminal = self._open.enter_context(Terminal([*command, *self._flags], environment, passed=(passed,)))
        self.shows_data_after_s = self._wait_for_data()
        places = self.ask("places")
        x, y, width, height = places["area"]
        self._table = range(y + 1, y + height)
        self._log = range(places["log"][1], places["log"][1] + places["log"][3])
        self._name = (places["name_at"], places["name_at"] + product.NAME_CELLS)
        self._middle = x + width // 2
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def _wait_for_data(self) -> float:
        screen = self.terminal.screen
        shown = self.terminal.wait_for(lambda: product.LIVE in screen.line(0), "the rooms")
        return shown - self.terminal.started_at

    # What is seen

    @property
    def rows(self) -> range:
        """The rows of the screen at which rooms are."""
        return self._table

    @property
    def log_rows(self) -> range:
        """The rows of the screen at which the log is."""
        return self._log

    def name(self, row: int) -> str:
        """The start of the room's name at this row of the screen."""
        return self.terminal.screen.line(row, *self._name).strip()

    @property
    def names(self) -> list[str]:
        """The starts of all rooms' names that are on screen, top to bottom."""
        return [name for row in self._table if (name := self.name(row))]

    @property
    def selected(self) -> str:
        """The start of the selected room's name; empty where none is selected."""
        row = self.terminal.screen.highlighted(self._table, self._middle)
        return self.name(row) if row is not None else ""

    def facts(self, row: int) -> str:
        """What is told of the room at this row of the screen, without its name: the right half."""
        return self.terminal.screen.line(row, self._middle)

    @property
    def heading(self) -> str:
        """What stands above the rooms: their order, in words."""
        return self.terminal.screen.line(self._table.start - 2)

    @property
    def count(self) -> str:
        """How many rooms the filter leaves; empty without a filter."""
        below = self.terminal.screen.line(min(self._table.stop, ROWS - 1))
        found = _COUNT.search(self.heading) or _COUNT.search(below)
        return found[1] if found else ""

    @property
    def is_sorted_by_name(self) -> bool:
        """Whether the rooms on screen are in the order of their names."""
        names = [name.removeprefix(_ALTERED).casefold() for name in self.names]
        return names == sorted(names)

    # What is asked

    def ask(self, do: str, **details: object) -> Answer:
        """Ask the screen's own process, and take its frames until it answers."""
        self._control.sendall(json.dumps({"do": do, **details}).encode() + b"\n")
        said = b""
        while not said.endswith(b"\n"):
            if self.terminal.take(1.0, also=self._control.fileno()):
                said += self._control.recv(65_536)
        answer: dict[str, Any] = json.loads(said)
        return answer

    def read_everything(self, patience_s: float) -> float:
        """Wait until every room's participants were read, or no longer; the share of the rooms that has been."""
        self.ask("hurry")
        until = time.monotonic() + patience_s
        while True:
            state = self.ask("state")
            if state["read"] >= state["rooms"] or time.monotonic() > until:
                return float(state["read"] / max(1, state["rooms"]))
            self.terminal.watch(0.5)
