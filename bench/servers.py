"""The servers that are looked at, each behind a wire that counts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from livekit import api

from bench.child import Child
from tests.lab.server import LabServer, server_binary

ALL_LIVE_S = 3_600
"""The real rooms' empty_timeout: nobody is in them, and they stay all the same."""
_CREATED_AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class Traffic:
    """What went over the wire: requests of all kinds, and bytes both ways, as `bench.wire` counts them."""

    requests: int
    bytes: int
    listings: Sequence[tuple[int, int]]

    @property
    def a_refresh(self) -> tuple[float, float]:
        """Requests and bytes that a refresh took, of those that were seen from one listing to the next. Raises
        RuntimeError where there was none."""
        if len(self.listings) < 2:
            raise RuntimeError("no whole refresh was seen: the window is too short")
        (requests, size), (requests_then, size_then) = self.listings[0], self.listings[-1]
        refreshes = len(self.listings) - 1
        return (requests_then - requests) / refreshes, (size_then - size) / refreshes


class Server:
    """A server with its credentials. What goes through `url` is counted; what goes to `direct_url` is not."""

    def __init__(
        self, direct_url: str, api_key: str, api_secret: str, wire: Child, churn: Callable[[], object] = bool
    ) -> None:
        self.direct_url = direct_url
        self.url = f"http://127.0.0.1:{wire.hello['port']}"
        self.api_key = api_key
        self.api_secret = api_secret
        self._wire = wire
        self._churn = churn

    def churn(self) -> None:
        """Let time run on the demo server; nothing happens to a real one."""
        self._churn()

    def traffic(self) -> Traffic:
        """What went over the wire since this was last asked."""
        return Traffic(**self._wire.ask("look"))

    def client(self) -> api.LiveKitAPI:
        """LiveKit's own client, not counted. For `async with`, on the running loop."""
        return api.LiveKitAPI(self.direct_url, self.api_key, self.api_secret)


@contextmanager
def demo(rooms: int, people: int, churn: float) -> Iterator[Server]:
    """The demo server with so many rooms; see `bench.demo_server`."""
    with Child("bench.demo_server", str(rooms), str(people), str(churn)) as child:
        hello = child.hello
        with wired(hello["url"]) as wire:
            yield Server(hello["url"], hello["api_key"], hello["api_secret"], wire, lambda: child.ask("go"))


@contextmanager
def real(directory: Path, rooms: int) -> Iterator[Server]:
    """A real livekit-server with so many rooms, all empty. `directory` gets its log."""
    lab = LabServer(directory, empty_timeout=ALL_LIVE_S)
    with lab, wired(lab.url) as wire:
        server = Server(lab.url, lab.api_key, lab.api_secret, wire)
        asyncio.run(_create(server, rooms))
        yield server


def has_real() -> bool:
    """Whether there is a livekit-server to measure."""
    return server_binary().is_file()


def wired(url: str) -> Child:
    """A wire to there that counts; see `bench.wire`."""
    there = urlsplit(url)
    return Child("bench.wire", str(there.hostname), str(there.port))


async def _create(server: Server, rooms: int) -> None:
    left = iter(range(rooms))

    async def work(client: api.LiveKitAPI) -> None:
        for number in left:
            await client.room.create_room(api.CreateRoomRequest(name=f"room-{number:05}", metadata='{"line": "bench"}'))

    async with server.client() as client, asyncio.TaskGroup() as group:
        for _ in range(_CREATED_AT_ONCE):
            group.create_task(work(client))
