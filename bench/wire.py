"""Listens in between a client and a server, and counts what goes over the wire.

    python -m bench.wire HOST PORT

A process of its own. It adds some tenths of a millisecond to a call.
"""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Mapping
from typing import Any

from bench.child import Answer, answer_parent

_CHUNK = 262_144
_REQUEST = re.compile(rb"POST /twirp/livekit\.\w+/(\w+) ")
_LONGEST = 128
"""More bytes than a request's first line has."""


class Wire:
    """Passes on every connection to `host:port`, and counts since it was looked at last.

    `requests` and `bytes` (both ways) are all of them. `listings` are what these were when each ListRooms came, which
    was not counted yet: from one to the next is a whole refresh.
    """

    def __init__(self, host: str, port: int) -> None:
        self._there = (host, port)
        self.requests = 0
        self.bytes = 0
        self.listings: list[tuple[int, int]] = []

    def look(self) -> Answer:
        """The counts so far, which start anew."""
        seen: Answer = {"requests": self.requests, "bytes": self.bytes, "listings": self.listings}
        self.requests = self.bytes = 0
        self.listings = []
        return seen

    def count(self, tail: bytes, data: bytes) -> bytes:
        """Count the requests that begin in `data`, or in `tail`, which this returned for the piece before."""
        seen = tail + data
        end = 0
        for found in _REQUEST.finditer(seen):
            if found[1] == b"ListRooms":
                self.listings.append((self.requests, self.bytes))
            self.requests += 1
            end = found.end()
        # A first line may come in two pieces: its start is kept, what was counted isn't.
        return seen[max(end, len(seen) - _LONGEST) :]

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """A client came."""
        try:
            server_reader, server_writer = await asyncio.open_connection(*self._there, limit=_CHUNK)
            await asyncio.gather(self._up(reader, server_writer), self._down(server_reader, writer))
        except OSError:
            # Either side may cut the connection off; the other side will notice.
            pass
        finally:
            writer.close()

    async def _up(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tail = b""
        while data := await reader.read(_CHUNK):
            tail = self.count(tail, data)
            self.bytes += len(data)
            writer.write(data)
            await writer.drain()
        writer.close()

    async def _down(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(_CHUNK):
            self.bytes += len(data)
            writer.write(data)
            await writer.drain()
        writer.close()


async def _listen(host: str, port: int) -> None:
    wire = Wire(host, port)
    async with await asyncio.start_server(wire.accept, "127.0.0.1", 0, limit=_CHUNK) as server:
        here = server.sockets[0].getsockname()[1]

        async def answer(_: Mapping[str, Any]) -> Answer:
            return wire.look()

        await answer_parent({"port": here}, answer)


if __name__ == "__main__":
    asyncio.run(_listen(sys.argv[1], int(sys.argv[2])))
