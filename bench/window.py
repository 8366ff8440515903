"""A screen that is looked at for a while: what it takes of the machine, of the server and of the person's patience."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bench import product, typist
from bench.dashboard import DATA_TABLE, Dashboard
from bench.figures import Figure, quantile
from bench.naive import Refresh
from bench.process import cpu_seconds, resident_mb
from bench.servers import Server, Traffic

KEY_MS, BLOCKED_MS = 50.0, 25.0
"""The targets: from a key to its frame in 99 of 100 cases, and the loop blocked by a refresh at the worst."""


@dataclass(frozen=True, slots=True)
class Window:
    """`cpu` is the share of a core, `written_s` bytes to the terminal a second. `blocks` and `loops` are, a refresh,
    how long the loop was blocked at the longest, and how much CPU it used in that: milliseconds, as are `keys`."""

    traffic: Traffic
    cpu: float
    written_s: float
    blocks: Sequence[float]
    loops: Sequence[float]
    keys: Sequence[float]
    memory_mb: float
    ended_at: float


def look(server: Server, dashboard: Dashboard, seconds: float, *, typing: bool = False) -> Window:
    """Look at it for so many seconds, with or without somebody at the keyboard."""
    terminal = dashboard.terminal
    server.traffic()
    dashboard.ask("begin")
    began, cpu, written = time.monotonic(), cpu_seconds(terminal.pid), terminal.written
    keys: list[float] = []
    if typing:
        keys = typist.move(dashboard, seconds)
    else:
        terminal.watch(seconds)
    ended = time.monotonic()
    took = ended - began
    blocks = dashboard.ask("end")["blocks"]
    return Window(
        server.traffic(),
        (cpu_seconds(terminal.pid) - cpu) / took,
        (terminal.written - written) / took,
        [passed for passed, _ in blocks],
        [used for _, used in blocks],
        keys,
        resident_mb(terminal.pid),
        ended,
    )


def traffic_figures(part: str, traffic: Traffic, naive: Traffic, refresh: Refresh | None) -> Iterator[Figure]:
    """What a refresh costs the server, `naive` being that of the one naive `refresh`, if there was one."""
    requests, size = traffic.a_refresh
    kilobytes = size / 1e3
    most = product.DEFAULT_BUDGET * product.INTERVAL_S / 60
    if refresh is None:
        yield Figure(part, "requests a refresh", requests, "requests", target=most)
        yield Figure(part, "bytes a refresh", kilobytes, "KB")
        return
    done = refresh.read / max(1, refresh.rooms)
    note = "" if done == 1.0 else f"the naive one was stopped after {done:.0%} of the rooms"
    # Where everything can be read several times a minute, a minute's budget may be spent at its beginning.
    target = most if naive.requests > product.DEFAULT_BUDGET else None
    yield Figure(part, "requests a refresh", requests, "requests", naive.requests, "naive", target, note=note)
    yield Figure(part, "bytes a refresh", kilobytes, "KB", naive.bytes / 1e3, "naive")
    yield Figure(part, "one refresh", product.INTERVAL_S, "s", refresh.seconds, "naive", note=note)


def screen_figures(
    part: str, ours: tuple[Window, Window], theirs: tuple[Window, Window] | None, *, strict: bool
) -> Iterator[Figure]:
    """What a refresh costs the person at the keyboard: each time a window without keys, and one with. `strict` holds
    lk-tui to the targets."""
    quiet, busy = ours
    for name, share in (("p50", 0.5), ("p99", 0.99)):
        other = quantile(theirs[1].keys, share) if theirs is not None else None
        target = KEY_MS if strict and name == "p99" else None
        note = f"{len(busy.keys)} keys"
        yield Figure(
            part, f"key → frame, {name}", quantile(busy.keys, share), "ms", other, DATA_TABLE, target, note=note
        )
    blocks = [*quiet.blocks, *busy.blocks]
    others = [*theirs[0].blocks, *theirs[1].blocks] if theirs is not None else []
    for name, share in (("p50", 0.5), ("p99", 0.99), ("worst", 1.0)):
        value, other = quantile(blocks, share), quantile(others, share) if others else None
        target = BLOCKED_MS if strict and name == "worst" else None
        note = f"{len(blocks)} refreshes"
        yield Figure(part, f"loop blocked by a refresh, {name}", value, "ms", other, DATA_TABLE, target, note=note)
    used = quantile([*quiet.loops, *busy.loops], 0.5)
    other = quantile([*theirs[0].loops, *theirs[1].loops], 0.5) if theirs is not None else None
    yield Figure(part, "CPU in the longest block of a refresh, p50", used, "ms", other, DATA_TABLE)
    other = theirs[0].cpu * 100 if theirs is not None else None
    yield Figure(part, "CPU under churn", quiet.cpu * 100, "% of a core", other, DATA_TABLE)
    other = theirs[0].written_s / 1e3 if theirs is not None else None
    yield Figure(part, "bytes to the terminal under churn", quiet.written_s / 1e3, "KB/s", other, DATA_TABLE)
