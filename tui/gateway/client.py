"""The gateway: every call that lk-tui makes to LiveKit's server API, one method each.

Built on livekit-api's Twirp client and access tokens. Its helpers are left aside because they lack PerformRpc and, on
LiveKit Cloud, replay a failed change against another region: here nothing that changes a server is ever sent twice.
"""

from __future__ import annotations

import json
import re
import ssl
import time
from asyncio import IncompleteReadError
from collections import deque
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Self, TypeVar
from urllib.parse import urlsplit

import aiohttp
from google.protobuf.message import DecodeError, Message
from livekit.api.access_token import AccessToken, VideoGrants
from livekit.api.twirp_client import TwirpClient
from livekit.protocol import agent_dispatch as dispatch_pb
from livekit.protocol import models as models_pb
from livekit.protocol import room as room_pb

from tui.gateway import convert
from tui.gateway.clocks import skew_s
from tui.gateway.connections import BODY_LIMIT, BodyTooLargeError, Connections
from tui.gateway.errors import (
    AgentNotAnsweringError,
    AgentRefusedError,
    AuthenticationError,
    GatewayError,
    MethodUnsupportedError,
    MissingError,
    NoResponseError,
    NotLiveKitError,
    RateLimitedError,
    ReadOnlyError,
    ServerFailedError,
    UnreachableError,
)
from tui.gateway.listing import Listing
from tui.model.phrases import clock_words
from tui.model.room import Dispatch, Participant, Room
from tui.model.secret import Secret
from tui.model.text import Name, safe_text

Answer = TypeVar("Answer", bound=Message)

TIMEOUT_S = 10.0
"""A whole call, connection included. LiveKit's own slowest honest answers take 3 s (503) to 6 s (Redis trouble)."""
CONNECT_TIMEOUT_S = 4.0
BLAMED_SKEW_S = 30.0
"""Clocks that differ by more are the likelier reason for a refusal than the key is."""
TOKEN_TTL = timedelta(seconds=60)
"""The helper accepts no request token that lives longer (docs/helper-protocol.md)."""
RPC_TIMEOUT_S = 5.0
"""How long an agent may take to answer a request, after it was acknowledged."""
PROBE = "lk-tui.probe"
"""An RPC method that agents need not have: that they say so is answer enough."""
PROBE_TIMEOUT_S = 2.0
"""As long as livekit-server waits for an acknowledgement (1.13.5; fixed)."""

ROOMS = "RoomService"
DISPATCHES = "AgentDispatchService"

_PROTOBUF = "application/protobuf"
_ERROR_LIMIT = 65_536
"""Bytes read of an answer that isn't success; LiveKit's are a few hundred."""
_TOKEN = re.compile(r"eyJ[\w-]+\.[\w-]+\.[\w-]*")
"""An access token: livekit-server quotes one that it refuses (1.13.5, pkg/service/auth.go)."""
_RPC_ERROR = re.compile(r"RpcError (\d+): ?(.*)", re.DOTALL)
_RPC_UNSUPPORTED, _RPC_NO_CONNECTION, _RPC_NO_RESPONSE = 1400, 1501, 1502
_RPC_UNDELIVERED = frozenset({1401, 1403, 1503, 1505})
"""Recipient not found, not supported by the server, recipient disconnected, failed to send: not the agent's words."""


class Gateway:
    """LiveKit's server API for one project. Open until `close()`; also an async context manager.

    Every method raises a `GatewayError` and nothing else. With `read_only`, those that change a server raise
    `ReadOnlyError` before anything is sent.
    """

    def __init__(
        self,
        url: str,
        api_key: str,
        api_secret: Secret,
        *,
        read_only: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`clock` gives seconds since 1970: with it the server's clock is compared."""
        self.url = url
        self.read_only = read_only
        self.skew_s = 0.0
        """by how many seconds the server's clock is ahead of ours, as far as that is certain"""
        self._key = api_key
        self._secret = api_secret
        self._host = safe_text(urlsplit(url).netloc.rpartition("@")[2])
        self._clock = clock
        self._connections = Connections(self._look)
        self._sent: deque[float] = deque()
        self._sent_in_all = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections; calls under way fail."""
        await self._connections.close()

    @property
    def requests_last_minute(self) -> int:
        """Requests sent within the last 60 s, of all kinds."""
        horizon = time.monotonic() - 60.0
        while self._sent and self._sent[0] < horizon:
            self._sent.popleft()
        return len(self._sent)

    @property
    def requests_sent(self) -> int:
        """Requests sent so far, of all kinds."""
        return self._sent_in_all

    # What reads

    async def list_rooms(self, names: Iterable[str] = ()) -> tuple[Room, ...]:
        """All rooms, or those of these (raw) names that exist. Participants and dispatches are not in them."""
        answer = await self._list_rooms(names, room_pb.ListRoomsResponse)
        return tuple(convert.room(message) for message in answer.rooms)

    async def list_room_messages(self) -> tuple[bytes, ...]:
        """All rooms, each as the message that came: the poller reads only those that have changed."""
        return tuple((await self._list_rooms((), Listing)).rooms)

    async def _list_rooms(self, names: Iterable[str], answer: type[Answer]) -> Answer:
        request = room_pb.ListRoomsRequest(names=[_sendable(name) for name in names])
        return await self._ask(ROOMS, "ListRooms", request, VideoGrants(room_list=True), answer, timeout=TIMEOUT_S)

    async def list_participants(self, room: Name) -> tuple[Participant, ...]:
        """Everyone in the room, oldest first. A missing room answers empty (open source) or `MissingError` (Cloud)."""
        request = room_pb.ListParticipantsRequest(room=room.raw)
        answer = await self._ask(
            ROOMS, "ListParticipants", request, _admin(room), room_pb.ListParticipantsResponse, timeout=TIMEOUT_S
        )
        # LiveKit's order changes from call to call.
        found = (convert.participant(message) for message in answer.participants)
        return tuple(sorted(found, key=lambda participant: (participant.joined_at, participant.sid)))

    async def list_dispatches(self, room: Name) -> tuple[Dispatch, ...]:
        """The room's dispatches with their jobs, oldest first. A missing room is `NoResponseError` after 3 s."""
        request = dispatch_pb.ListAgentDispatchRequest(room=room.raw)
        answer = await self._ask(
            DISPATCHES,
            "ListDispatch",
            request,
            _admin(room),
            dispatch_pb.ListAgentDispatchResponse,
            timeout=TIMEOUT_S,
        )
        found = (convert.dispatch(message) for message in answer.agent_dispatches)
        return tuple(sorted(found, key=lambda dispatch: (dispatch.created_at or 0.0, dispatch.id)))

    async def probe(self, room: Name, identity: Name) -> bool:
        """Whether the process behind a participant answers at all; that it doesn't takes 2 s to know.

        Any other error proves nothing: a participant that has left is `NoResponseError` after 3 s, one that is still
        joining `ServerFailedError`. The participant's own code takes no notice, unless it has the method.
        """
        request = room_pb.PerformRpcRequest(
            room=room.raw,
            destination_identity=identity.raw,
            method=PROBE,
            response_timeout_ms=int(PROBE_TIMEOUT_S * 1000),
        )
        try:
            await self._ask(ROOMS, "PerformRpc", request, _admin(room), room_pb.PerformRpcResponse, timeout=TIMEOUT_S)
        except (MethodUnsupportedError, AgentRefusedError):
            return True
        except AgentNotAnsweringError:
            return False
        return True

    # What changes

    async def call_helper(self, room: Name, identity: Name, method: str, operator: str) -> str:
        """Ask an agent's helper (docs/helper-protocol.md) to do `method`, in the operator's name.

        Returns the one word that the helper answers with, such as `closing`. Raises `MethodUnsupportedError` where no
        helper runs, `AgentNotAnsweringError` where the process hangs, `AgentRefusedError` where the helper said no.
        """
        token = self._token(_admin(room), identity=operator)
        request = room_pb.PerformRpcRequest(
            room=room.raw,
            destination_identity=identity.raw,
            method=method,
            payload=json.dumps({"token": token}),
            response_timeout_ms=int(RPC_TIMEOUT_S * 1000),
        )
        answer = await self._change(ROOMS, "PerformRpc", request, _admin(room), room_pb.PerformRpcResponse)
        try:
            said = json.loads(answer.payload)
        except ValueError:
            said = None
        words = [str(word) for word in said.values()] if isinstance(said, dict) else []
        return safe_text(words[0] if words else answer.payload, 80)

    async def remove_participant(self, room: Name, identity: Name) -> None:
        """Kick whoever has this identity now. `MissingError` if nobody has."""
        request = room_pb.RoomParticipantIdentity(room=room.raw, identity=identity.raw)
        await self._change(ROOMS, "RemoveParticipant", request, _admin(room), room_pb.RemoveParticipantResponse)

    async def delete_room(self, room: Name) -> None:
        """Delete whatever room has this name now. `MissingError` if none has."""
        request = room_pb.DeleteRoomRequest(room=room.raw)
        await self._change(ROOMS, "DeleteRoom", request, VideoGrants(room_create=True), room_pb.DeleteRoomResponse)

    async def create_room(self, room: Name) -> Room:
        """Create a room, or have one of this name that is there held by a node that is alive; its SID stays.

        `NoResponseError` after 3 s where a node that is dead still counts as alive (5 s after its last sign of life).
        """
        request = room_pb.CreateRoomRequest(name=room.raw)
        grants = VideoGrants(room_create=True)
        return convert.room(await self._change(ROOMS, "CreateRoom", request, grants, models_pb.Room))

    async def create_dispatch(self, room: Name, agent_name: str) -> Dispatch:
        """Order an agent into the room: of this (raw) agent name, or an automatic one if it is empty."""
        request = dispatch_pb.CreateAgentDispatchRequest(room=room.raw, agent_name=_sendable(agent_name))
        answer = await self._change(DISPATCHES, "CreateDispatch", request, _admin(room), dispatch_pb.AgentDispatch)
        return convert.dispatch(answer)

    async def delete_dispatch(self, room: Name, dispatch_id: str) -> None:
        """End all jobs of a dispatch. `MissingError` if there is no such dispatch."""
        request = dispatch_pb.DeleteAgentDispatchRequest(room=room.raw, dispatch_id=dispatch_id)
        await self._change(DISPATCHES, "DeleteDispatch", request, _admin(room), dispatch_pb.AgentDispatch)

    # How

    async def _change(
        self, service: str, method: str, request: Message, grants: VideoGrants, answer: type[Answer]
    ) -> Answer:
        """The one way to a change, and so the one place that read-only needs."""
        if self.read_only:
            raise ReadOnlyError("lk-tui is read-only: nothing was sent")
        return await self._ask(service, method, request, grants, answer, timeout=TIMEOUT_S + RPC_TIMEOUT_S)

    async def _ask(
        self,
        service: str,
        method: str,
        request: Message,
        grants: VideoGrants,
        answer: type[Answer],
        *,
        timeout: float,  # noqa: ASYNC109 - aiohttp's own, which also ends the connection
    ) -> Answer:
        headers = {"authorization": f"Bearer {self._token(grants)}"}
        limit = aiohttp.ClientTimeout(total=timeout, connect=CONNECT_TIMEOUT_S)
        self._sent.append(time.monotonic())
        self._sent_in_all += 1
        try:
            async with self._connections.use() as session:
                # The client is a few strings: making one a call keeps it from outliving its session.
                twirp = TwirpClient(session, self.url, "livekit", failover=False)
                return await twirp.request(service, method, request, headers, answer, timeout=limit)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise self._unreachable(error) from None
        except DecodeError:
            raise NotLiveKitError(f"{self._host} answers, but not as LiveKit does: check the URL") from None
        except BodyTooLargeError:
            most = f"{BODY_LIMIT // 1024**2} MB"
            raise NotLiveKitError(
                f"{self._host} answers with more than {most}, not as LiveKit does: check the URL"
            ) from None

    async def _look(self, request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        """Judge an answer before the Twirp client does: it sees no headers, and trips over errors that aren't Twirp."""
        sent_at = self._clock()
        response = await send(request)
        skew = skew_s(response.headers.get("Date", ""), sent_at, self._clock())
        if skew is not None:
            self.skew_s = skew
        if response.status == 200 and response.content_type == _PROTOBUF:
            return response
        try:
            raise self._refusal(response, await _start_of(response))
        finally:
            response.close()

    def _token(self, grants: VideoGrants, identity: str = "") -> str:
        token = AccessToken(self._key, self._secret.reveal()).with_ttl(TOKEN_TTL).with_grants(grants)
        return token.with_identity(identity).to_jwt()

    def _refusal(self, response: aiohttp.ClientResponse, body: bytes) -> GatewayError:
        """The error that an answer other than success stands for."""
        status = response.status
        if status == 429:
            return self._rate_limit(response.headers.get("Retry-After", ""))
        if status in (401, 403):
            _, said = _twirp_error(body) or ("", "")
            why = f" ({said.replace(self._key, '(the API key)')})" if said else ""
            if abs(self.skew_s) > BLAMED_SKEW_S:
                # First what matters: a small screen cuts the rest off.
                differ = f"this machine's clock is {clock_words(self.skew_s)} {self._host}'s: set the clocks right"
                return AuthenticationError(f"{differ}; it refuses our tokens{why}")
            return AuthenticationError(
                f"{self._host} refuses the API key or its secret{why}: check LIVEKIT_API_KEY and LIVEKIT_API_SECRET"
            )
        if status < 300:
            kind = safe_text(response.content_type, 40)
            return NotLiveKitError(f"{self._host} answers with {kind}, not as LiveKit does: check the URL")
        if status < 400:
            where = safe_text(response.headers.get("Location", "") or "nowhere", 80)
            return NotLiveKitError(f"{self._host} redirects ({status}) to {where}: check the URL")
        error = _twirp_error(body)
        if error is None and status >= 500:
            return ServerFailedError(f"{self._host} failed ({status}): {safe_text(response.reason or 'no reason', 80)}")
        if error is None or (status == 404 and error[0] != "not_found"):
            return NotLiveKitError(f"{self._host} does not know LiveKit's API ({status}): check the URL and its path")
        said = error[1]
        if (rpc := _RPC_ERROR.search(said)) is not None:
            return _rpc_refusal(int(rpc[1]), rpc[2])
        if status == 404:
            return MissingError(said or "there is no such thing on the server")
        if status == 503 and "no response from servers" in said:
            return NoResponseError("no response from the server that should hold this room (503)")
        return ServerFailedError(f"{self._host} failed ({status}): {said or 'without a reason'}")

    def _rate_limit(self, retry_after: str) -> RateLimitedError:
        # It may be a date as well; our own back-off serves for that.
        seconds = float(retry_after) if retry_after.isdecimal() else None
        after = f"; it asks for {seconds:.0f} s of quiet" if seconds is not None else ""
        return RateLimitedError(f"{self._host} limits our requests (429){after}: lower --budget", seconds)

    def _unreachable(self, error: Exception) -> GatewayError:
        match error:
            case aiohttp.ClientConnectorDNSError():
                return UnreachableError(f"no such host: {self._host}: check the URL")
            case aiohttp.ClientConnectorCertificateError() | aiohttp.ClientSSLError() | ssl.SSLError():
                return UnreachableError(f"TLS failed with {self._host}: check http/https and the certificate")
            case aiohttp.ClientConnectorError(os_error=ConnectionRefusedError()):
                return UnreachableError(f"{self._host} refused the connection: is livekit-server running there?")
            case aiohttp.ClientPayloadError():
                return UnreachableError(f"the connection to {self._host} broke in the middle of an answer")
            case TimeoutError():
                return UnreachableError(f"{self._host} did not answer in time")
            case aiohttp.InvalidURL() | aiohttp.NonHttpUrlClientError() | ValueError():
                shown = re.sub(r"//[^/]*@", "//***@", self.url)
                return UnreachableError(f"not a URL that can be asked: {safe_text(shown, 80)}: check the URL")
            case _:
                return UnreachableError(f"the connection to {self._host} broke: {safe_text(str(error), 120)}")


def _admin(room: Name) -> VideoGrants:
    return VideoGrants(room_admin=True, room=room.raw)


def _sendable(name: str) -> str:
    """`name` if protobuf can carry it; what a shell or a terminal passes on need not be Unicode."""
    try:
        name.encode()
    except UnicodeEncodeError:
        raise MissingError(f"no room or agent can be called {safe_text(name)}: that is not Unicode") from None
    return name


async def _start_of(response: aiohttp.ClientResponse) -> bytes:
    try:
        return await response.content.readexactly(_ERROR_LIMIT)
    except IncompleteReadError as all_of_it:
        return all_of_it.partial


def _twirp_error(body: bytes) -> tuple[str, str] | None:
    """A Twirp error's code and its message, safe to show and free of tokens; None if it isn't one."""
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(said, dict) or not isinstance(said.get("code"), str):
        return None
    message = str(said.get("msg") or "").removeprefix("twirp error unknown: ")
    return said["code"], safe_text(_TOKEN.sub("(token)", message), 200)


def _rpc_refusal(code: int, said: str) -> GatewayError:
    if code == _RPC_UNSUPPORTED:
        return MethodUnsupportedError("the agent does not run the lk-tui helper")
    if code in (_RPC_NO_CONNECTION, _RPC_NO_RESPONSE):
        return AgentNotAnsweringError("the agent does not answer: its process hangs or is dead")
    if code in _RPC_UNDELIVERED:
        return ServerFailedError(f"the request did not reach the agent: {said} ({code})")
    return AgentRefusedError(f"the agent refused: {said} ({code})")
