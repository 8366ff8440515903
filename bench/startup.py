"""From the command to the first frame, and to the first rooms."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from statistics import median

from bench import product
from bench.dashboard import clean_environment
from bench.figures import Figure
from bench.lengths import Lengths
from bench.process import resident_mb
from bench.terminal import Terminal

PART = "start of `lk-tui demo`"
_EMPTY_APP = """
from textual.app import App
from textual.widgets import Static

class Empty(App):
    def compose(self):
        yield Static("here")

Empty().run()
"""
_FRAME, _DATA = 1.5, 3.0
"""How many times as long as `import textual` the first frame and the first rooms may take."""


def measure(lengths: Lengths) -> Iterator[Figure]:
    """Start it again and again, in turn with a Python that does nothing but `import textual`."""
    imports, empty, frames, data, memory = [], [], [], [], []
    for _ in range(lengths.starts):
        imports.append(_import())
        with tempfile.TemporaryDirectory() as home:
            empty.append(_empty(home))
            command = [product.LK_TUI, "demo", "--seed", "1"]
            with Terminal(command, clean_environment(home, "")) as terminal:
                screen = terminal.screen
                frame = terminal.wait_for(lambda screen=screen: "lk-tui" in screen.line(0), "a frame")  # type: ignore[misc]
                shown = terminal.wait_for(lambda screen=screen: product.LIVE in screen.line(0), "the rooms")  # type: ignore[misc]
                frames.append((frame - terminal.started_at) * 1e3)
                data.append((shown - terminal.started_at) * 1e3)
                memory.append(resident_mb(terminal.pid))
    least = median(imports)
    than = "`import textual`"
    yield Figure(PART, "start → first frame", median(frames), "ms", least, than, least * _FRAME)
    yield Figure(PART, "start → first frame of a Textual app that shows one word", median(empty), "ms", least, than)
    yield Figure(PART, "start → first rooms", median(data), "ms", least, than, least * _DATA)
    yield Figure(PART, "memory with 40 rooms, server included", median(memory), "MB")


def _empty(home: str) -> float:
    with Terminal([sys.executable, "-c", _EMPTY_APP], clean_environment(home, "")) as terminal:
        frame = terminal.wait_for(lambda: "here" in terminal.screen.line(0), "a frame")
        return (frame - terminal.started_at) * 1e3


def _import() -> float:
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", "import textual"], check=True)
    return (time.monotonic() - began) * 1e3
