"""A demo server with so many rooms, 1 % of which end and are replaced in a second, and ten participants in each."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from functools import partial

from bench import changes, naive, product, servers, typist
from bench.dashboard import DATA_TABLE, Dashboard
from bench.figures import Figure, quantile
from bench.lengths import Lengths
from bench.process import resident_mb
from bench.servers import Server
from bench.window import Window, look, screen_figures, traffic_figures

PEOPLE, CHURN = 9, 0.01
LARGEST = 10_000
"""The targets are for this many."""
INSTANT_MS = 50.0
"""Within what a key's frame is to be there."""
_OPENING_S = 70.0
"""How long reading every room once may take."""
_NAIVE_S = 30.0
_DIGITS = "417"
"""Typed as a filter: each leaves fewer rooms."""
_BREATH_S = 0.2


def measure(rooms: int, lengths: Lengths) -> Iterator[Figure]:
    """One size, side by side with a naive poller and a DataTable; the largest one of a run in all its aspects."""
    part = f"demo server, {rooms:,} rooms"
    largest = rooms == max(lengths.rooms)
    lengths = lengths if largest else lengths.halved
    strict = rooms == LARGEST
    with servers.demo(rooms, PEOPLE, CHURN) as server:
        # That of 10,000 rooms is left to the real server.
        asked = asyncio.run(naive.refresh(server, _NAIVE_S)) if rooms < LARGEST else None
        everything = server.traffic()
        with Dashboard(server) as dashboard:
            yield Figure(part, "start → first rooms", dashboard.shows_data_after_s, "s")
            read = dashboard.read_everything(_OPENING_S)
            note = "" if read == 1.0 else f"{read:.0%} of the rooms were read"
            memory = resident_mb(dashboard.terminal.pid)
            yield Figure(part, "memory, everything read", memory, "MB", target=200.0 if strict else None, note=note)
            _settle(server, dashboard, lengths)
            quiet = look(server, dashboard, lengths.churning)
            busy = look(server, dashboard, lengths.typing, typing=True)
            if largest:
                yield from _changes(part, server, dashboard, lengths, strict=strict)
                yield from _growth(part, quiet, dashboard)
                sort, narrow = arrange(dashboard, len(_DIGITS))
        yield from traffic_figures(part, quiet.traffic, everything, asked)
        lengths = lengths.halved
        with Dashboard(server, DATA_TABLE) as table:
            _settle(server, table, lengths)
            table_quiet = look(server, table, lengths.churning)
            table_busy = look(server, table, lengths.typing, typing=True)
            if largest:
                table_sort, table_narrow = arrange(table, 1)
    yield from screen_figures(part, (quiet, busy), (table_quiet, table_busy), strict=strict)
    if largest:
        instant = INSTANT_MS if strict else None
        yield Figure(part, "sort → frame, worst", max(sort), "ms", max(table_sort), DATA_TABLE, instant)
        worst = "filter, a key → frame, worst"
        yield Figure(part, worst, max(narrow), "ms", max(table_narrow), DATA_TABLE, instant)


def _settle(server: Server, dashboard: Dashboard, lengths: Lengths) -> None:
    dashboard.ask("settle", budget=product.DEFAULT_BUDGET)
    server.churn()
    dashboard.terminal.watch(lengths.warming)


def _changes(part: str, server: Server, dashboard: Dashboard, lengths: Lengths, *, strict: bool) -> Iterator[Figure]:
    """From a change on the server to the screen, with the default budget, and with one that is ample."""
    within = product.INTERVAL_S + INSTANT_MS / 1e3
    for budget in (product.DEFAULT_BUDGET, product.DEMO_BUDGET):
        dashboard.ask("settle", budget=budget)
        if not (seen := changes.on_screen(server, dashboard, lengths.changes)):
            continue
        name, note = f"change on screen → painted, {budget:,} a minute", f"{len(seen)} changes"
        target = within if strict and budget == product.DEMO_BUDGET else None
        yield Figure(part, f"{name}, p50", quantile(seen, 0.5), "s", note=note)
        yield Figure(part, f"{name}, worst", max(seen), "s", target=target)
    if not (learned := changes.off_screen(server, dashboard, lengths.changes)):
        return
    late = sum(1 for seconds in learned if seconds >= changes.PATIENCE_S)
    name, note = f"change off screen → known, {product.DEMO_BUDGET:,} a minute", f"{len(learned)} changes"
    yield Figure(part, f"{name}, p50", quantile(learned, 0.5), "s", note=note)
    note = f"{late} not known even then" if late else ""
    yield Figure(part, f"{name}, worst", max(learned), "s", note=note)


def _growth(part: str, quiet: Window, dashboard: Dashboard) -> Iterator[Figure]:
    """What memory does in the first minutes of churn."""
    memory = resident_mb(dashboard.terminal.pid)
    growth = (memory - quiet.memory_mb) / (time.monotonic() - quiet.ended_at) * 60
    # No more than this is said of the hours after it: how memory is then is measured by `bench.soak`.
    yield Figure(part, "memory, growth while the log fills up", growth, "MB/min")


def arrange(dashboard: Dashboard, times: int) -> tuple[list[float], list[float]]:
    """Sort and filter a picture that is held, while polling goes on; milliseconds until each frame that is right.

    `times` is how often it is sorted, and how many digits are typed.
    """
    terminal = dashboard.terminal
    _press(dashboard, "p")
    sort = []
    for _ in range(times):
        sort.append(typist.press(dashboard, "s", partial(_sorted_anew, dashboard, dashboard.heading), "another order"))
        terminal.watch(_BREATH_S)
    _press(dashboard, "/")
    narrow = []
    for digit in _DIGITS[:times]:
        narrow.append(typist.press(dashboard, digit, partial(_counted, dashboard, dashboard.count), "fewer rooms"))
        terminal.watch(_BREATH_S)
    _press(dashboard, "\x1b")
    _press(dashboard, "p")
    return sort, narrow


def _press(dashboard: Dashboard, key: str) -> None:
    dashboard.terminal.send(key)
    dashboard.terminal.watch(3 * _BREATH_S)


def _sorted_anew(dashboard: Dashboard, before: str) -> bool:
    return dashboard.heading != before and ("by name" not in dashboard.heading or dashboard.is_sorted_by_name)


def _counted(dashboard: Dashboard, before: str) -> bool:
    return dashboard.count not in ("", before)
