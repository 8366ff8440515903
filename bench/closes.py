"""From the end of an agent's session to the line of the log that tells of it, by whom it is heard first."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench import product
from bench.child import Child
from bench.dashboard import Dashboard
from bench.figures import Figure, quantile
from bench.lengths import Lengths
from bench.servers import Server, wired
from tests.lab.server import LabServer, free_port
from tests.lab.worker import LabWorker

PART = "livekit-server, sessions that close"
_AT_ONCE_MS = 100.0
_PAINTING_S = 0.05
_PAUSES_S = (0.3, 1.1, 0.7, 1.9)
"""Not in step with the refreshes."""


@dataclass(frozen=True, slots=True)
class Source:
    """By which a close is heard: lk-tui's flags for it alone, what is done to the agent, and the targets."""

    name: str
    flags: Sequence[str]
    deed: str
    p50_ms: float | None = _AT_ONCE_MS
    worst_ms: float | None = None


def measure(lengths: Lengths) -> Iterator[Figure]:
    """Real agents with the helper, one room each; for each source a dashboard that has no other but polling."""
    port = free_port()
    interval_ms = (product.INTERVAL_S + _PAINTING_S) * 1e3
    sources = (
        Source("polling", ("--observe", "0"), "kick", None, interval_ms),
        Source("webhook", ("--observe", "0", "--webhook", str(port)), "kick"),
        Source("observer", ("--observe", str(lengths.closes)), "kick"),
        Source("helper", ("--observe", str(lengths.closes)), "close"),
    )
    with tempfile.TemporaryDirectory() as folder:
        lab = LabServer(Path(folder), webhook_urls=[f"http://127.0.0.1:{port}/"])
        with lab, LabWorker(lab, Path(folder)), wired(lab.url) as wire:
            server = Server(lab.url, lab.api_key, lab.api_secret, wire)
            with Child("bench.callers", lab.url, lab.api_key, lab.api_secret, mute=True) as callers:
                for source in sources:
                    took = list(_listen(server, callers, source, lengths))
                    name = f"end of a session → row, by {source.name}"
                    note = f"{len(took)} closes"
                    yield Figure(PART, f"{name}, p50", quantile(took, 0.5), "ms", target=source.p50_ms, note=note)
                    yield Figure(PART, f"{name}, worst", max(took), "ms", target=source.worst_ms)


def _listen(server: Server, callers: Child, source: Source, lengths: Lengths) -> Iterator[float]:
    """Milliseconds from each deed to the line about it."""
    rooms = [f"{source.name}-{number}" for number in range(lengths.closes)]
    for room in rooms:
        callers.ask("call", room=room)
    with Dashboard(server, flags=source.flags) as dashboard:
        dashboard.ask("settle", budget=product.DEMO_BUDGET)
        dashboard.terminal.wait_for(lambda: set(rooms) <= set(dashboard.names), "all rooms")
        # Until the rooms have been read, and those that are observed are heard.
        dashboard.terminal.watch(lengths.warming)
        for number, room in enumerate(rooms):
            began = callers.ask(source.deed, room=room)["at"]
            shown = dashboard.terminal.wait_for(partial(_told, dashboard, room), f"a line about {room}")
            yield (shown - began) * 1e3
            dashboard.terminal.watch(_PAUSES_S[number % len(_PAUSES_S)])
    for room in rooms:
        callers.ask("hang_up", room=room)


def _told(dashboard: Dashboard, room: str) -> bool:
    return any(f" {room} " in dashboard.terminal.screen.line(row) for row in dashboard.log_rows)
