"""Rooms by their names, for many actions at once in one request."""

from __future__ import annotations

import asyncio

from tui.gateway.client import Gateway
from tui.model.room import Room

GATHERED_S = 0.02
"""How long a request waits for others to go along: 500 actions that watch their rooms' names cost one a second."""


class RoomsByName:
    """Asks for rooms by name; who asks at about the same time shares a request that is sent after all have asked."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._names: set[str] = set()
        self._request: asyncio.Task[tuple[Room, ...]] | None = None

    async def of(self, name: str) -> tuple[Room, ...]:
        """The rooms that have this (raw) name now: none or one. Raises GatewayError."""
        if self._request is None:
            self._request = asyncio.create_task(self._ask())
        self._names.add(name)
        # One asker that is cancelled must not take the answer from the others.
        rooms = await asyncio.shield(self._request)
        return tuple(room for room in rooms if room.name.raw == name)

    async def _ask(self) -> tuple[Room, ...]:
        await asyncio.sleep(GATHERED_S)
        names, self._names, self._request = sorted(self._names), set(), None
        return tuple(await self._gateway.list_rooms(names))
