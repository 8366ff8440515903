"""A server on which nothing happens, and nobody at the keyboard: what lk-tui takes all the same."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator

from bench import product, servers
from bench.dashboard import clean_environment
from bench.figures import Figure
from bench.lengths import Lengths
from bench.process import cpu_seconds, resident_mb
from bench.terminal import Terminal

ROOMS = 1_000
PART = "1,000 rooms in which nothing changes"


def measure(lengths: Lengths) -> Iterator[Figure]:
    """Let it stand for a while. It is the installed program, with all its defaults."""
    with servers.demo(ROOMS, 1, 0.01) as server, tempfile.TemporaryDirectory() as home:
        command = [product.LK_TUI, *product.connection_flags(server.url, server.api_key)]
        with Terminal(command, clean_environment(home, server.api_secret)) as terminal:
            terminal.wait_for(lambda: product.LIVE in terminal.screen.line(0), "the rooms")
            terminal.watch(lengths.warming)
            server.traffic()
            began, cpu, written = time.monotonic(), cpu_seconds(terminal.pid), terminal.written
            terminal.watch(lengths.idle)
            took = time.monotonic() - began
            traffic = server.traffic()
            yield Figure(PART, "CPU", (cpu_seconds(terminal.pid) - cpu) / took * 100, "% of a core", target=2.0)
            written = terminal.written - written
            yield Figure(PART, "bytes to the terminal", written / took / 1e3, "KB/s", target=1.0)
            yield Figure(PART, "requests a refresh", traffic.a_refresh[0], "requests")
            yield Figure(PART, "memory", resident_mb(terminal.pid), "MB")
