"""People who call and are answered by agents, on a real server, in a process of their own.

    python -m bench.callers URL API_KEY API_SECRET

It says when (seconds of the monotonic clock) it did what it was asked to.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Mapping
from typing import Any

import aiohttp
from livekit import api, rtc
from livekit.api.twirp_client import TwirpClient
from livekit.protocol import models as models_pb
from livekit.protocol import room as room_pb

from bench.child import Answer, answer_parent

_LOOK_S = 0.05
_ANSWER_MS = 10_000


class Callers:
    """One caller in each room, and the agent that serves it."""

    def __init__(self, livekit: api.LiveKitAPI, url: str, key: str, secret: str) -> None:
        self._livekit = livekit
        self._url = url
        self._credentials = (key, secret)
        self._calls: dict[str, rtc.Room] = {}
        self._agents: dict[str, str] = {}

    async def answer(self, question: Mapping[str, Any]) -> Answer:
        """`call` a room, `kick` its agent, have its agent `close` its session, or `hang_up`."""
        answer: Answer = await getattr(self, question["do"])(question["room"])
        return answer

    async def call(self, room: str) -> Answer:
        """Somebody comes into the room; the answer comes once an agent serves them."""
        self._calls[room] = connection = rtc.Room()
        token = self._token(api.VideoGrants(room_join=True, room=room), f"caller-{room}")
        await connection.connect(self._url.replace("http", "ws", 1), token)
        while True:
            there = await self._livekit.room.list_participants(api.ListParticipantsRequest(room=room))
            for one in there.participants:
                if one.kind == models_pb.ParticipantInfo.AGENT and one.attributes.get("lk-tui.session"):
                    self._agents[room] = one.identity
                    return {}
            await asyncio.sleep(_LOOK_S)

    async def kick(self, room: str) -> Answer:
        """The agent is put out of the room."""
        began = time.monotonic()
        await self._livekit.room.remove_participant(api.RoomParticipantIdentity(room=room, identity=self._agents[room]))
        return {"at": began}

    async def close(self, room: str) -> Answer:
        """The agent's own code closes its session."""
        request = room_pb.PerformRpcRequest(
            room=room,
            destination_identity=self._agents[room],
            method="lab.aclose",
            response_timeout_ms=_ANSWER_MS,
        )
        header = {"authorization": f"Bearer {self._token(api.VideoGrants(room_admin=True, room=room))}"}
        async with aiohttp.ClientSession() as http:
            # livekit-api has no method for it.
            twirp = TwirpClient(http, self._url, "livekit")
            began = time.monotonic()
            await twirp.request("RoomService", "PerformRpc", request, header, room_pb.PerformRpcResponse)
        return {"at": began}

    async def hang_up(self, room: str) -> Answer:
        """Everybody is out."""
        await self._calls.pop(room).disconnect()
        await self._livekit.room.delete_room(api.DeleteRoomRequest(room=room))
        return {}

    def _token(self, grants: api.VideoGrants, identity: str = "") -> str:
        token = api.AccessToken(*self._credentials).with_grants(grants)
        return (token.with_identity(identity) if identity else token).to_jwt()


async def _serve(url: str, key: str, secret: str) -> None:
    async with api.LiveKitAPI(url, key, secret) as livekit:
        await answer_parent({}, Callers(livekit, url, key, secret).answer)


if __name__ == "__main__":
    asyncio.run(_serve(*sys.argv[1:4]))
