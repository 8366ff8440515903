"""Between lk-tui and a server: what it asks for is kept, request by request, as the server gets it."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Self

import aiohttp
from aiohttp import web
from google.protobuf.message import Message
from livekit.protocol import agent_dispatch as dispatch_pb
from livekit.protocol import room as room_pb

_CHANGES: dict[str, type[Message]] = {
    "DeleteRoom": room_pb.DeleteRoomRequest,
    "CreateRoom": room_pb.CreateRoomRequest,
    "RemoveParticipant": room_pb.RoomParticipantIdentity,
    "PerformRpc": room_pb.PerformRpcRequest,
    "CreateDispatch": dispatch_pb.CreateAgentDispatchRequest,
    "DeleteDispatch": dispatch_pb.DeleteAgentDispatchRequest,
}
_READS = frozenset({"ListRooms", "ListParticipants", "GetParticipant", "ListDispatch"})
PROBE = "lk-tui.probe"
"""The one RPC that changes nothing."""


class Wire:
    """Passes everything on to the server at `url`, for `async with`; its own address is `url` then."""

    def __init__(self, url: str) -> None:
        self._there = url
        self.url = ""
        self.asked: list[str] = []
        """the methods of all requests, in their order"""
        self.changes: list[tuple[str, Message]] = []
        """the requests among them that change something, or may, whatever the server made of them"""

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=0)
        app.router.add_route("*", "/{path:.*}", self._pass_on)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        self._client = aiohttp.ClientSession()
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._runner.cleanup()
        await self._client.close()

    def changes_of(self, method: str) -> Sequence[Message]:
        """The requests of this method."""
        return [message for name, message in self.changes if name == method]

    async def _pass_on(self, request: web.Request) -> web.Response:
        body = await request.read()
        if request.path.startswith("/twirp/"):
            # Whoever joins a room comes another way.
            self._keep(request.path.rpartition("/")[2], body)
        headers = {name: request.headers[name] for name in ("Authorization", "Content-Type") if name in request.headers}
        there = self._there + request.path_qs
        async with self._client.request(request.method, there, data=body, headers=headers) as answer:
            kind = answer.headers.get("Content-Type", "")
            return web.Response(status=answer.status, body=await answer.read(), headers={"Content-Type": kind})

    def _keep(self, method: str, body: bytes) -> None:
        self.asked.append(method)
        if method in _READS:
            return
        # A method that is not known here counts as one that changes something, too.
        message = _CHANGES.get(method, room_pb.PerformRpcRequest)()
        message.ParseFromString(body)
        if not (isinstance(message, room_pb.PerformRpcRequest) and message.method == PROBE):
            self.changes.append((method, message))
