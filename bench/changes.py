"""From a change on the server to the row that shows it."""

from __future__ import annotations

import asyncio
import time
from functools import partial

from livekit import api

from bench.dashboard import Dashboard
from bench.servers import Server
from bench.terminal import NotSeenError

PATIENCE_S = 20.0
_BREATH_S = 0.5
_PAUSES_S = (0.2, 1.0, 1.6, 0.6)
"""Not in step with the refreshes."""


def on_screen(server: Server, dashboard: Dashboard, count: int) -> list[float]:
    """Send the agents of rooms on screen away, one after the other; seconds until each row shows that it has none."""
    took: list[float] = []
    tried: set[str] = set()
    until = time.monotonic() + PATIENCE_S
    while len(took) < count and time.monotonic() < until:
        served = dashboard.ask("served", on_screen=True)["rooms"]
        found = [(one[0], one[3]) for one in served if one[0] not in tried and _shows(dashboard, one[0], one[3])]
        if not found:
            dashboard.terminal.watch(_BREATH_S)
            continue
        # Not the first ones: a row at the edge may scroll away.
        name, agent = found[len(found) // 2]
        tried.add(name)
        began = time.monotonic()
        asyncio.run(_dismiss(server, name))
        try:
            shown = dashboard.terminal.wait_for(
                partial(_shows_not, dashboard, name, agent), f"{name} without an agent", PATIENCE_S
            )
        except NotSeenError:
            continue
        if _row(dashboard, name) is not None:
            took.append(shown - began)
        dashboard.terminal.watch(_PAUSES_S[len(tried) % len(_PAUSES_S)])
    return took


def off_screen(server: Server, dashboard: Dashboard, count: int) -> list[float]:
    """Send the agents of rooms off screen away, all at once; seconds until the picture has each room without it.

    `PATIENCE_S` stands for those that it still has by then. Rooms that end meanwhile are left out.
    """
    began: dict[str, float] = {}
    for name, room_sid, agent_sid, _ in dashboard.ask("served", on_screen=False)["rooms"][:count]:
        dashboard.ask("watch", room_sid=room_sid, participant_sid=agent_sid)
        began[agent_sid] = time.monotonic()
        asyncio.run(_dismiss(server, name))
    until = time.monotonic() + PATIENCE_S
    seen: dict[str, float | None] = {}
    while len(seen) < len(began) and time.monotonic() < until:
        dashboard.terminal.watch(_BREATH_S)
        seen = dashboard.ask("seen")["gone"]
    known = {sid: at - began[sid] for sid, at in seen.items() if at is not None}
    return [known.get(sid, PATIENCE_S) for sid in began if sid in known or sid not in seen]


def _row(dashboard: Dashboard, name: str) -> int | None:
    return next((row for row in dashboard.rows if dashboard.name(row) == name), None)


def _shows(dashboard: Dashboard, name: str, agent: str) -> bool:
    row = _row(dashboard, name)
    return row is not None and agent in dashboard.facts(row)


def _shows_not(dashboard: Dashboard, name: str, agent: str) -> bool:
    return not _shows(dashboard, name, agent)


async def _dismiss(server: Server, name: str) -> None:
    async with server.client() as client:
        try:
            for dispatch in await client.agent_dispatch.list_dispatch(name):
                await client.agent_dispatch.delete_dispatch(dispatch.id, name)
        except api.TwirpError:
            # The room went just now: then its row does, too.
            return
