"""A real livekit-server with so many rooms, in which nobody is."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from livekit import api

from bench import fleet, naive, product, servers, typist
from bench.dashboard import Dashboard
from bench.figures import Figure, quantile
from bench.lengths import Lengths
from bench.process import resident_mb
from bench.servers import Server
from bench.window import look, screen_figures, traffic_figures

_NAIVE_S = 60.0
_TIMES_FEWER = 100.0
_PAUSES_S = (0.1, 0.9, 1.7, 0.5, 1.3)
"""Not in step with the refreshes."""
_WORD = "zebra"
"""No room has it in its name."""


def measure(lengths: Lengths) -> Iterator[Figure]:
    """All figures, side by side with a naive poller."""
    part = f"livekit-server, {lengths.real_rooms:,} rooms"
    strict = lengths.real_rooms == fleet.LARGEST
    lengths = lengths.halved
    with tempfile.TemporaryDirectory() as folder, servers.real(Path(folder), lengths.real_rooms) as server:
        asked = asyncio.run(naive.refresh(server, _NAIVE_S))
        everything = server.traffic()
        with Dashboard(server) as dashboard:
            yield Figure(part, "start → first rooms", dashboard.shows_data_after_s, "s")
            dashboard.ask("settle", budget=product.DEFAULT_BUDGET)
            dashboard.terminal.watch(lengths.warming)
            quiet = look(server, dashboard, lengths.churning)
            busy = look(server, dashboard, lengths.typing, typing=True)
            yield Figure(part, "memory", resident_mb(dashboard.terminal.pid), "MB")
            opened = _open_and_delete(server, dashboard, lengths.changes)
    yield from traffic_figures(part, quiet.traffic, everything, asked)
    fewer = everything.requests / quiet.traffic.a_refresh[0]
    target = _TIMES_FEWER if strict else None
    yield Figure(part, "requests a refresh, times fewer than naive", fewer, "×", target=target, at_least=True)
    yield from screen_figures(part, (quiet, busy), None, strict=strict)
    yield Figure(part, "room opened or deleted → painted, p50", quantile(opened, 0.5), "s")
    within = product.INTERVAL_S + fleet.INSTANT_MS / 1e3 if strict else None
    yield Figure(part, "room opened or deleted → painted, worst", max(opened), "s", target=within)


def _open_and_delete(server: Server, dashboard: Dashboard, count: int) -> list[float]:
    """Open rooms and delete them again, with a filter that shows just these; seconds until each is on screen, or off
    it."""
    terminal = dashboard.terminal
    terminal.send("/")
    terminal.watch(0.5)
    typist.press(dashboard, f"{_WORD}\r", lambda: dashboard.count == "0", "no room")
    took = []
    for number in range(count):
        name = f"{_WORD}-{number}"
        for there, change in ((True, _open), (False, _delete)):
            began = time.monotonic()
            asyncio.run(change(server, name))
            shown = terminal.wait_for(partial(_is, dashboard, name, there), f"{name} opened or deleted")
            took.append(shown - began)
            terminal.watch(_PAUSES_S[number % len(_PAUSES_S)])
    return took


def _is(dashboard: Dashboard, name: str, there: bool) -> bool:  # noqa: FBT001 - of a partial
    return (name in dashboard.names) is there


async def _open(server: Server, name: str) -> None:
    async with server.client() as client:
        await client.room.create_room(api.CreateRoomRequest(name=name))


async def _delete(server: Server, name: str) -> None:
    async with server.client() as client:
        await client.room.delete_room(api.DeleteRoomRequest(room=name))
