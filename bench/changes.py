"""From a change on the server to the row that shows it."""

from __future__ import annotations

import asyncio
import time
from functools import partial

from livekit import api

from bench.dashboard import Dashboard
from bench.servers import Server
from bench.terminal import NotSeenError

_PATIENCE_S = 20.0


def on_screen(server: Server, dashboard: Dashboard, count: int) -> list[float]:
    """Send the agents of rooms on screen away, one after the other; seconds until each row shows that it has none."""
    took: list[float] = []
    tried: set[str] = set()
    until = time.monotonic() + _PATIENCE_S + 3.0 * count
    while len(took) < count and time.monotonic() < until:
        found = [one for one in dashboard.ask("served", on_screen=True)["rooms"] if one[0] not in tried]
        if not found:
            dashboard.terminal.watch(0.5)
            continue
        # Not the first ones: a row at the edge may scroll away.
        name, _, _, agent = found[len(found) // 2]
        tried.add(name)
        row = _row(dashboard, name)
        if row is None or agent not in dashboard.terminal.screen.line(row):
            continue
        began = time.monotonic()
        asyncio.run(_dismiss(server, name))
        try:
            shown = dashboard.terminal.wait_for(partial(_without, dashboard, name, agent), f"{name} without an agent")
        except NotSeenError:
            continue
        if _row(dashboard, name) is not None:
            took.append(shown - began)
    return took


def off_screen(server: Server, dashboard: Dashboard, count: int) -> list[float]:
    """Send the agents of rooms off screen away, all at once; seconds until the picture has each room without it."""
    began: dict[str, float] = {}
    for name, room_sid, agent_sid, _ in dashboard.ask("served", on_screen=False)["rooms"][:count]:
        dashboard.ask("watch", room_sid=room_sid, participant_sid=agent_sid)
        began[agent_sid] = time.monotonic()
        asyncio.run(_dismiss(server, name))
    until = time.monotonic() + _PATIENCE_S
    seen: dict[str, float | None] = {}
    while len(seen) < len(began) and time.monotonic() < until:
        dashboard.terminal.watch(0.5)
        seen = dashboard.ask("seen")["gone"]
    return [at - began[sid] for sid, at in seen.items() if at is not None]


def _row(dashboard: Dashboard, name: str) -> int | None:
    return next((row for row in dashboard.rows if dashboard.name(row) == name), None)


def _without(dashboard: Dashboard, name: str, agent: str) -> bool:
    row = _row(dashboard, name)
    return row is None or agent not in dashboard.terminal.screen.line(row)


async def _dismiss(server: Server, name: str) -> None:
    async with server.client() as client:
        try:
            for dispatch in await client.agent_dispatch.list_dispatch(name):
                await client.agent_dispatch.delete_dispatch(dispatch.id, name)
        except api.TwirpError:
            # The room went just now: then its row does, too.
            return
