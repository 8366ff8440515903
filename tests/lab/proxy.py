"""A proxy in front of a livekit-server that does to each request, or to its answer, what a bad network would."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from types import TracebackType
from typing import Self

import aiohttp
from livekit.protocol import room as room_pb

READS = frozenset({"ListRooms", "ListParticipants", "ListDispatch"})
"""The methods that change nothing; nor does a probe, which is a PerformRpc."""
_PROBE = "lk-tui.probe"
_PASSED_ON = ("Content-Type", "Date")


@dataclass(frozen=True)
class Answer:
    """What is answered, complete."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)

    def head(self, *, length: int | None = None) -> bytes:
        """The status line and the headers; `length` instead of the body's own, -1 for none at all."""
        promised = len(self.body) if length is None else length
        reason = HTTPStatus(self.status).phrase
        lines = [f"HTTP/1.1 {self.status} {reason}", *(f"{name}: {value}" for name, value in self.headers.items())]
        lines += [f"Content-Length: {promised}"] if promised >= 0 else ["Connection: close"]
        return "\r\n".join((*lines, "", "")).encode()


class Exchange:
    """One request on its way, and the connection that it came over."""

    def __init__(
        self, proxy: FaultProxy, path: str, headers: Mapping[str, str], body: bytes, writer: asyncio.StreamWriter
    ) -> None:
        self.path = path
        self.headers = dict(headers)
        self.body = body
        self.writer = writer
        self._proxy = proxy

    @property
    def method(self) -> str:
        """LiveKit's name of the call, such as `ListRooms`."""
        return self.path.rpartition("/")[2]

    @property
    def changes(self) -> bool:
        """Whether it changes a server, or asks an agent to."""
        if self.method == "PerformRpc":
            return room_pb.PerformRpcRequest.FromString(self.body).method != _PROBE
        return self.method not in READS

    async def forward(self) -> Answer:
        """Ask the server itself; its whole answer."""
        return await self._proxy.ask(self)

    async def write(self, data: bytes) -> None:
        """Send some bytes of an answer."""
        self.writer.write(data)
        self._proxy.bytes_sent += len(data)
        await self.writer.drain()

    async def reply(self, answer: Answer) -> None:
        """Answer as a server does."""
        await self.write(answer.head() + answer.body)

    def reset(self) -> None:
        """Break the connection off, as a router does that has forgotten it: RST, not FIN."""
        raw: socket.socket = self.writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def hang(self) -> None:
        """Say nothing more, for as long as the other side waits."""
        await self.writer.wait_closed()


Fault = Callable[[Exchange], Awaitable[None]]
"""Deals with one request: forwards it or not, answers it or not."""


async def no_fault(exchange: Exchange) -> None:
    """As if there was no proxy."""
    await exchange.reply(await exchange.forward())


class FaultProxy:
    """Listens on loopback in front of the server at `url`; an async context manager. `fault` may change at any time."""

    def __init__(self, url: str) -> None:
        self._upstream = url
        self.fault: Fault = no_fault
        self.port = 0
        self.asked: Counter[str] = Counter()
        """requests that came, by method"""
        self.changes: Counter[str] = Counter()
        """of these, those that change a server"""
        self.open = 0
        """connections that are open"""
        self.most_open = 0
        self.bytes_sent = 0
        self._server: asyncio.Server | None = None
        self._session: aiohttp.ClientSession | None = None
        self._connections: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    @property
    def url(self) -> str:
        """`http://127.0.0.1:<port>`, the same for as long as this object lives."""
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession()
        await self.listen()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop_listening()
        if self._session is not None:
            await self._session.close()

    async def listen(self) -> None:
        """Take connections (again)."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop_listening(self) -> None:
        """Take no more connections, and break those off that there are: as if the server was not there."""
        if self._server is not None:
            self._server.close()
            self._server = None
        await self.break_off()

    async def break_off(self) -> None:
        """End all connections."""
        connections = dict(self._connections)
        for writer in connections.values():
            writer.transport.abort()
        if connections:
            await asyncio.wait(connections)

    @property
    def connections(self) -> Collection[asyncio.StreamWriter]:
        """Those that are open."""
        return self._connections.values()

    async def ask(self, exchange: Exchange) -> Answer:
        """Pass a request on."""
        assert self._session is not None
        headers = {name: value for name, value in exchange.headers.items() if name in ("authorization", "content-type")}
        async with self._session.post(self._upstream + exchange.path, data=exchange.body, headers=headers) as response:
            kept = {name: response.headers[name] for name in _PASSED_ON if name in response.headers}
            return Answer(response.status, await response.read(), kept)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections[task] = writer
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        try:
            while not writer.is_closing() and (exchange := await self._request(reader, writer)) is not None:
                self.asked[exchange.method] += 1
                if exchange.changes:
                    self.changes[exchange.method] += 1
                await self._deal_with(exchange, reader)
        except (ConnectionError, asyncio.IncompleteReadError, aiohttp.ClientError):
            pass
        finally:
            self.open -= 1
            del self._connections[task]
            writer.transport.abort()

    async def _deal_with(self, exchange: Exchange, reader: asyncio.StreamReader) -> None:
        """Let the fault act, until it is done or the other side has gone."""
        dealing = asyncio.ensure_future(self.fault(exchange))
        gone = asyncio.ensure_future(reader.read(1))
        try:
            await asyncio.wait({dealing, gone}, return_when=asyncio.FIRST_COMPLETED)
            if gone.done():
                raise ConnectionResetError
            await dealing
        finally:
            for task in (dealing, gone):
                task.cancel()
            await asyncio.gather(dealing, gone, return_exceptions=True)

    async def _request(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Exchange | None:
        first = await reader.readline()
        if not first:
            return None
        path = first.decode().split()[1]
        headers: dict[str, str] = {}
        while (line := await reader.readline()) not in (b"\r\n", b""):
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.lower()] = value.strip()
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        return Exchange(self, path, headers, body, writer)
