"""A poller as scripts and web dashboards have it: list all rooms, then ask for everything in each of them."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from livekit import api

from bench.servers import Server

AT_ONCE = 8
"""Requests under way at once: as many as lk-tui's."""


@dataclass(frozen=True, slots=True)
class Refresh:
    """One refresh: how many seconds it took, and of how many rooms it read how many before it was stopped."""

    seconds: float
    rooms: int
    read: int


async def refresh(server: Server, limit_s: float) -> Refresh:
    """Read everything once, through the wire; stop after `limit_s` seconds.

    To be done while no room ends: of each that has ended meanwhile, LiveKit takes 3 s to say so.
    """
    began = time.monotonic()
    done = 0
    async with api.LiveKitAPI(server.url, server.api_key, server.api_secret) as client:
        rooms = (await client.room.list_rooms(api.ListRoomsRequest())).rooms
        left = iter(rooms)

        async def work() -> None:
            nonlocal done
            for room in left:
                await client.room.list_participants(api.ListParticipantsRequest(room=room.name))
                await client.agent_dispatch.list_dispatch(room.name)
                done += 1

        try:
            async with asyncio.timeout(limit_s), asyncio.TaskGroup() as group:
                for _ in range(AT_ONCE):
                    group.create_task(work())
        except TimeoutError:
            pass
    return Refresh(time.monotonic() - began, len(rooms), done)
