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
_FRAME, _DATA = 1.5, 3.0
"""How many times as long as `import textual` the first frame and the first rooms may take."""


def measure(lengths: Lengths) -> Iterator[Figure]:
    """Start it again and again, in turn with a Python that does nothing but `import textual`."""
    imports, frames, data, memory = [], [], [], []
    for _ in range(lengths.starts):
        imports.append(_import())
        with tempfile.TemporaryDirectory() as home:
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
    yield Figure(PART, "start → first rooms", median(data), "ms", least, than, least * _DATA)
    yield Figure(PART, "memory with 40 rooms, server included", median(memory), "MB")


def _import() -> float:
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", "import textual"], check=True)
    return (time.monotonic() - began) * 1e3
