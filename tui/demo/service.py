"""The demo's server: LiveKit's room service and agent dispatch service on loopback, over a simulated `World`.

Statuses, bodies and waits are those of livekit-server 1.13.5, compared call by call. What is left out: JSON requests,
and the methods that lk-tui has no use for.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from random import Random
from types import TracebackType
from typing import Protocol, Self, TypeVar

from aiohttp import web
from livekit import api
from livekit.protocol import agent_dispatch as dispatch_pb
from livekit.protocol import models as pb
from livekit.protocol import room as room_pb

from tui.demo import tokens
from tui.demo.rooms import Agent, Process
from tui.demo.world import NoResponseError, NotFoundError, World

TICK_S = 0.1
"""How often the world moves on while nobody asks for anything."""
NO_RESPONSE_S = 3.0
"""How long LiveKit waits for a room or participant that is not there."""
NO_ACKNOWLEDGEMENT_S = 2.0
"""How long LiveKit waits for a participant to acknowledge an RPC."""
NAME_LIMIT = 256
"""LiveKit's limit for a room name's characters."""

_BEARER = "Bearer "
_PROTOBUF = "application/protobuf"
_CLOSING_S = 0.5


class Message(Protocol):
    """What is used of a protobuf message."""

    def ParseFromString(self, serialized: bytes, /) -> int: ...  # noqa: N802 - protobuf's name
    def SerializeToString(self) -> bytes: ...  # noqa: N802


M = TypeVar("M", bound=Message)
Allowed = Callable[[api.VideoGrants, M], bool]
Method = Callable[[bytes, api.VideoGrants], Awaitable[bytes]]


class TwirpError(Exception):
    """A refusal, as Twirp writes it: HTTP `status`, and a JSON body of `code` and the exception's text."""

    def __init__(self, status: int, code: str, message: str, **meta: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.meta = meta

    def response(self) -> web.Response:
        """The response that says so."""
        body = {"code": self.code, "msg": str(self)} | ({"meta": self.meta} if self.meta else {})
        return web.json_response(body, status=self.status)


def _from_server(status: int, code: str, message: str) -> TwirpError:
    """An error of LiveKit's own, whose text Twirp prefixes."""
    return TwirpError(status, code, f"twirp error unknown: {message}")


class DemoService:
    """Serves `world` on a free port of 127.0.0.1, for `async with`; `clock` tells the time in seconds since 1970."""

    def __init__(self, world: World, clock: Callable[[], float] = time.time) -> None:
        self.world = world
        self._clock = clock
        self._key = f"demo{secrets.token_hex(4)}"
        self._secret = secrets.token_urlsafe(32)
        self._order = Random()  # noqa: S311 - LiveKit's lists are in no order; that has not to be unguessable
        self._runner: web.AppRunner | None = None
        self._ticking: asyncio.Task[None] | None = None
        self._methods = self._routes()

    @property
    def url(self) -> str:
        """Where it listens, `http://127.0.0.1:PORT`. Raises RuntimeError unless it was started."""
        if self._runner is None:
            raise RuntimeError("the demo is not running: await start() first")
        host, port = self._runner.addresses[0][:2]
        return f"http://{host}:{port}"

    @property
    def api_key(self) -> str:
        """The one API key it knows, new for every service."""
        return self._key

    @property
    def api_secret(self) -> str:
        """The secret to `api_key`."""
        return self._secret

    async def start(self) -> None:
        """Bring the world to the present and listen. Raises OSError if there is no loopback to listen on."""
        self.world.advance(self._clock())
        app = web.Application()
        app.router.add_get("/", self._say_ok)
        app.router.add_route("*", "/twirp/{service}/{method}", self._twirp)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=_CLOSING_S)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
        except OSError:
            await runner.cleanup()
            raise
        self._runner = runner
        self._ticking = asyncio.create_task(self._tick())

    async def close(self) -> None:
        """Stop, within about a second whatever is still being waited for. Does nothing when not running."""
        if self._ticking is not None:
            self._ticking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._ticking
            self._ticking = None
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            self.world.advance(self._clock())

    async def _say_ok(self, request: web.Request) -> web.Response:  # noqa: ARG002 - aiohttp passes it
        return web.Response(text="OK")

    async def _twirp(self, request: web.Request) -> web.Response:
        try:
            grants = self._grants(request)
            method = self._method(request)
            self.world.advance(self._clock())
            answer = await method(await request.read(), grants)
        except tokens.BadTokenError as error:
            return web.Response(status=401, text=str(error))
        except TwirpError as error:
            return error.response()
        except NotFoundError as error:
            return _from_server(404, "not_found", str(error)).response()
        except NoResponseError:
            await asyncio.sleep(NO_RESPONSE_S)
            return _from_server(503, "unavailable", "no response from servers").response()
        return web.Response(body=answer, content_type=_PROTOBUF)

    def _grants(self, request: web.Request) -> api.VideoGrants:
        """What the caller may do: nothing, without a token. Raises BadTokenError; LiveKit says that in plain text."""
        header = request.headers.get("Authorization", "")
        if not header:
            return api.VideoGrants()
        if not header.startswith(_BEARER):
            raise tokens.BadTokenError(f"invalid authorization header. Must start with {_BEARER}")
        return tokens.grants(header.removeprefix(_BEARER), self._key, self._secret)

    def _method(self, request: web.Request) -> Method:
        problem = ""
        method = self._methods.get(f"{request.match_info['service']}/{request.match_info['method']}")
        if request.method != "POST":
            problem = f'unsupported method "{request.method}" (only POST is allowed)'
        elif request.content_type != _PROTOBUF:
            problem = f'unexpected Content-Type: "{request.content_type}"'
        if method is None or problem:
            problem = problem or f'no handler for path "{request.path}"'
            raise TwirpError(404, "bad_route", problem, twirp_invalid_route=f"{request.method} {request.path}")
        return method

    def _routes(self) -> Mapping[str, Method]:
        rooms = {
            "ListRooms": _method(room_pb.ListRoomsRequest, lambda grants, _: bool(grants.room_list), self._list_rooms),
            "CreateRoom": _method(room_pb.CreateRoomRequest, _may_create, self._create_room),
            "DeleteRoom": _method(room_pb.DeleteRoomRequest, _may_create, self._delete_room),
            "ListParticipants": _method(room_pb.ListParticipantsRequest, _may_admin, self._list_participants),
            "GetParticipant": _method(room_pb.RoomParticipantIdentity, _may_admin, self._get_participant),
            "RemoveParticipant": _method(room_pb.RoomParticipantIdentity, _may_admin, self._remove_participant),
            "PerformRpc": _method(room_pb.PerformRpcRequest, _may_admin, self._perform_rpc),
        }
        dispatches = {
            "ListDispatch": _method(dispatch_pb.ListAgentDispatchRequest, _may_admin, self._list_dispatch),
            "CreateDispatch": _method(dispatch_pb.CreateAgentDispatchRequest, _may_admin, self._create_dispatch),
            "DeleteDispatch": _method(dispatch_pb.DeleteAgentDispatchRequest, _may_admin, self._delete_dispatch),
        }
        return {f"livekit.RoomService/{name}": method for name, method in rooms.items()} | {
            f"livekit.AgentDispatchService/{name}": method for name, method in dispatches.items()
        }

    async def _list_rooms(self, request: room_pb.ListRoomsRequest) -> bytes:
        return b"".join(room.listed() for room in self.world.rooms(request.names))

    async def _create_room(self, request: room_pb.CreateRoomRequest) -> bytes:
        if len(request.name) > NAME_LIMIT:
            message = f"room name length exceeds limits: max length {NAME_LIMIT}"
            raise _from_server(400, "invalid_argument", message)
        room = self.world.create_room(
            request.name,
            [agent.agent_name for agent in request.agents],
            metadata=request.metadata,
            empty_timeout=request.empty_timeout,
            departure_timeout=request.departure_timeout,
        )
        return room.info.SerializeToString()

    async def _delete_room(self, request: room_pb.DeleteRoomRequest) -> bytes:
        self.world.delete_room(request.room)
        return b""

    async def _list_participants(self, request: room_pb.ListParticipantsRequest) -> bytes:
        participants = [participant.message() for participant in self.world.participants(request.room)]
        self._order.shuffle(participants)
        return room_pb.ListParticipantsResponse(participants=participants).SerializeToString()

    async def _get_participant(self, request: room_pb.RoomParticipantIdentity) -> bytes:
        message: pb.ParticipantInfo = self.world.participant(request.room, request.identity).message()
        return message.SerializeToString()

    async def _remove_participant(self, request: room_pb.RoomParticipantIdentity) -> bytes:
        self.world.remove_participant(request.room, request.identity)
        return b""

    async def _list_dispatch(self, request: dispatch_pb.ListAgentDispatchRequest) -> bytes:
        dispatches = [
            dispatch.message(self.world.now)
            for dispatch in self.world.dispatches(request.room)
            if request.dispatch_id in ("", dispatch.id)
        ]
        return dispatch_pb.ListAgentDispatchResponse(agent_dispatches=dispatches).SerializeToString()

    async def _create_dispatch(self, request: dispatch_pb.CreateAgentDispatchRequest) -> bytes:
        dispatch = self.world.create_dispatch(request.room, request.agent_name, request.metadata)
        return dispatch.message(self.world.now).SerializeToString()

    async def _delete_dispatch(self, request: dispatch_pb.DeleteAgentDispatchRequest) -> bytes:
        dispatch = self.world.delete_dispatch(request.room, request.dispatch_id)
        return dispatch.message(self.world.now).SerializeToString()

    async def _perform_rpc(self, request: room_pb.PerformRpcRequest) -> bytes:
        if not request.destination_identity:
            raise _from_server(400, "invalid_argument", "destination identity is required")
        participant = self.world.reach(request.room, request.destination_identity)
        if isinstance(participant, Agent) and participant.process is not Process.RUNNING:
            await asyncio.sleep(NO_ACKNOWLEDGEMENT_S)
            raise _from_server(408, "canceled", "RpcError 1501: Connection timeout")
        if not isinstance(participant, Agent) or not participant.helper or request.method not in _HELPER_METHODS:
            raise _from_server(400, "invalid_argument", "RpcError 1400: Method not supported at destination")
        try:
            operator = tokens.operator(request.payload, request.room, time.time(), self._key, self._secret)
        except tokens.BadTokenError as error:
            # how LiveKit reports an RpcError that the agent's own code raises
            raise _from_server(500, "internal", f"RpcError 403: {error}") from error
        answer = _HELPER_METHODS[request.method](self.world, participant, operator)
        return room_pb.PerformRpcResponse(payload=json.dumps(answer)).SerializeToString()


def _method(request: type[M], allowed: Allowed[M], answer: Callable[[M], Awaitable[bytes]]) -> Method:
    """A Twirp method: decodes its request, checks the grants against it, and answers with a serialized message."""

    async def call(body: bytes, grants: api.VideoGrants) -> bytes:
        message = request()
        try:
            message.ParseFromString(body)
        # the protobuf library's own error, which the generated messages don't name
        except Exception as error:
            raise TwirpError(400, "malformed", "the protobuf request could not be decoded") from error
        if not allowed(grants, message):
            raise TwirpError(401, "unauthenticated", "permissions denied")
        return await answer(message)

    return call


class _OfRoom(Message, Protocol):
    """A request about one room."""

    room: str


def _may_admin(grants: api.VideoGrants, request: _OfRoom) -> bool:
    return bool(grants.room_admin) and grants.room == request.room


def _may_create(grants: api.VideoGrants, request: Message) -> bool:  # noqa: ARG001 - LiveKit grants it for all rooms
    return bool(grants.room_create)


def _close_session(world: World, agent: Agent, operator: str) -> dict[str, str]:
    return {"session": world.close_session(agent, operator).value}


def _shut_down_job(world: World, agent: Agent, operator: str) -> dict[str, str]:
    world.shut_down_job(agent, operator)
    return {"job": "shutting_down"}


_HELPER_METHODS: Mapping[str, Callable[[World, Agent, str], dict[str, str]]] = {
    "lk-tui.close_session": _close_session,
    "lk-tui.shut_down_job": _shut_down_job,
}
"""What an agent with the helper registers (docs/helper-protocol.md)."""
