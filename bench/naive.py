"""A poller as scripts and web dashboards have it: list all rooms, then ask for everything in each of them."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from livekit import api

from bench.servers import Server

AT_ONCE = 8
"""Requests under way at once: as many as lk-tui's."""
_NO_RESPONSE = "no response from servers"


@dataclass(frozen=True, slots=True)
class Refresh:
    """One refresh: how many seconds it took, and of how many rooms it read how many before it was stopped."""

    seconds: float
    rooms: int
    read: int


async def refresh(server: Server, limit_s: float) -> Refresh:
    """Read everything once, through the wire; stop after `limit_s` seconds."""
    began = time.monotonic()
    done = 0
    async with api.LiveKitAPI(server.url, server.api_key, server.api_secret) as client:
        rooms = (await client.room.list_rooms(api.ListRoomsRequest())).rooms
        left = iter(rooms)

        async def work() -> None:
            nonlocal done
            for room in left:
                await client.room.list_participants(api.ListParticipantsRequest(room=room.name))
                try:
                    await client.agent_dispatch.list_dispatch(room.name)
                except api.TwirpError as error:
                    # The room has gone meanwhile, which takes LiveKit 3 s to say.
                    if _NO_RESPONSE not in error.message:
                        raise
                done += 1

        try:
            async with asyncio.timeout(limit_s), asyncio.TaskGroup() as group:
                for _ in range(AT_ONCE):
                    group.create_task(work())
        except TimeoutError:
            pass
    return Refresh(time.monotonic() - began, len(rooms), done)
