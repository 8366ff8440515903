"""Observers on a real server: they hear reasons at once, are nobody, hold nothing open, and leave nothing behind."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from livekit import api

from tests.lab.people import join
from tests.lab.server import LabServer
from tests.lab.waiting import eventually
from tests.lab.worker import LabWorker
from tui.gateway.client import Gateway
from tui.gateway.observer import Observers, session_error
from tui.model.evidence import Evidence, Fact, Sighting, Source
from tui.model.room import OBSERVER_PREFIX, Room, SessionError
from tui.model.secret import Secret
from tui.model.text import Name


async def come_true(check: Callable[[], Awaitable[bool]]) -> None:
    """Wait until it is; other processes take part in it, on a machine that may be busy."""
    found: bool = await eventually(check, 60.0)
    assert found


class Observing:
    """Observers, and what they told."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.sightings: list[Sighting] = []
        self.touched: list[str] = []
        self.observers: Observers

    async def room(self, name: str) -> Room:
        (found,) = await self.gateway.list_rooms([name])
        return found

    async def watch(self, *rooms: Room) -> None:
        """Watch these until all are joined."""
        words = f"{len(rooms)} room{'' if len(rooms) == 1 else 's'}"

        def joined() -> bool:
            self.observers.watch(rooms)
            return self.observers.status.words == words

        await eventually(joined)

    async def hidden(self, name: str) -> list[str]:
        """The identities of our observers in a room."""
        here = await self.gateway.list_participants(Name.of(name))
        return [who.identity.raw for who in here if who.identity.raw.startswith(OBSERVER_PREFIX) and who.hidden]

    def evidence(self, fact: Fact) -> list[Evidence]:
        return [piece for sighting in self.sightings for piece in sighting.evidence if piece.fact is fact]


@asynccontextmanager
async def observing(server: LabServer, limit: int = 3) -> AsyncIterator[Observing]:
    async with Gateway(server.url, server.api_key, Secret(server.api_secret)) as gateway:
        shown = Observing(gateway)

        async def is_there(room: Room) -> bool:
            return any(now.sid == room.sid for now in await gateway.list_rooms([room.name.raw]))

        shown.observers = Observers(
            server.url,
            server.api_key,
            Secret(server.api_secret),
            shown.sightings.append,
            limit=limit,
            touched=shown.touched.append,
            is_there=is_there,
            answers=lambda room, identity: gateway.probe(room.name, identity),
        )
        async with shown.observers:
            yield shown


async def test_the_reason_for_which_somebody_left_is_heard(lab_server: LabServer, room_name: str) -> None:
    async with (
        observing(lab_server) as shown,
        await join(lab_server, room_name, "alice"),
        await join(lab_server, room_name, "bob"),
    ):
        await shown.watch(await shown.room(room_name))
        await shown.gateway.remove_participant(Name.of(room_name), Name.of("bob"))
        left = await eventually(lambda: shown.evidence(Fact.PERSON_LEFT))
    assert [(piece.source, piece.who, piece.reason) for piece in left] == [
        (Source.OBSERVER, "bob", "PARTICIPANT_REMOVED")
    ]


async def test_a_rooms_end_is_heard_with_its_reason_for_the_room_and_its_agent(
    lab_server: LabServer, lab_worker: LabWorker, room_name: str
) -> None:
    async with observing(lab_server) as shown, await join(lab_server, room_name, "alice"):
        await lab_worker.wait_for("ready", room=room_name)
        await shown.watch(await shown.room(room_name))
        lab_server.delete_room(room_name)
        await eventually(lambda: shown.evidence(Fact.ROOM_ENDED) and shown.evidence(Fact.AGENT_LEFT))
    assert {piece.reason for piece in shown.evidence(Fact.AGENT_LEFT)} == {"ROOM_DELETED"}
    assert {piece.reason for piece in shown.evidence(Fact.ROOM_ENDED)} == {"ROOM_DELETED"}


async def test_an_observer_is_nobody_and_holds_no_room_open(tmp_path: Path) -> None:
    with LabServer(tmp_path, departure_timeout=1) as server:
        async with observing(server) as shown:
            async with await join(server, "r", "alice"):
                room = await shown.room("r")
                await shown.watch(room)
                assert len(await shown.hidden("r")) == 1
                here = await shown.gateway.list_participants(Name.of("r"))
                assert [who.identity.raw for who in here if who.is_person] == ["alice"]

            async def gone() -> bool:
                return not await shown.gateway.list_rooms(["r"])

            await come_true(gone)
            (ended,) = shown.evidence(Fact.ROOM_ENDED)
            assert ended.reason == "ROOM_CLOSED"


async def test_no_more_rooms_are_observed_than_allowed_and_others_are_left(lab_server: LabServer) -> None:
    async with observing(lab_server, limit=1) as shown, lab_server.client() as livekit:
        for name in ("limit-1", "limit-2"):
            await livekit.room.create_room(api.CreateRoomRequest(name=name))
        first, second = await shown.room("limit-1"), await shown.room("limit-2")
        await shown.watch(first)

        async def moved() -> bool:
            shown.observers.watch([second, first])
            return not await shown.hidden("limit-1") and len(await shown.hidden("limit-2")) == 1

        await come_true(moved)
        for name in ("limit-1", "limit-2"):
            lab_server.delete_room(name)


async def test_a_room_that_is_gone_is_not_brought_back(lab_server: LabServer, room_name: str) -> None:
    async with observing(lab_server) as shown:
        async with await join(lab_server, room_name, "alice"):
            await shown.watch(room := await shown.room(room_name))
        lab_server.delete_room(room_name)
        await eventually(lambda: shown.evidence(Fact.ROOM_ENDED))
        shown.observers.watch([room])
        # Another room takes the turn of this one, so that by then it was refused.
        async with await join(lab_server, f"{room_name}-other", "bob"):
            other = await shown.room(f"{room_name}-other")

            async def other_is_joined() -> bool:
                shown.observers.watch([room, other])
                return shown.observers.status.on

            await come_true(other_is_joined)
        assert not await shown.gateway.list_rooms([room_name])


async def test_the_observers_leave_when_they_are_closed(lab_server: LabServer, room_name: str) -> None:
    async with await join(lab_server, room_name, "alice"):
        async with observing(lab_server) as shown:
            await shown.watch(await shown.room(room_name))
            assert await shown.hidden(room_name)
        async with observing(lab_server) as shown:

            async def left() -> bool:
                return not await shown.hidden(room_name)

            await come_true(left)


PARENT = """
import asyncio, sys
from tui.gateway.client import Gateway
from tui.gateway.observer import Observers
from tui.model.secret import Secret

async def main(url, key, secret, name):
    async with Gateway(url, key, Secret(secret)) as gateway:
        (room,) = await gateway.list_rooms([name])
        async def there(_): return True
        async def answers(*_): return True
        watching = Observers(url, key, Secret(secret), print, limit=1, touched=str, is_there=there, answers=answers)
        async with watching:
            watching.watch([room])
            await asyncio.Event().wait()

asyncio.run(main(*sys.argv[1:]))
"""


async def test_a_killed_dashboard_leaves_no_observer_behind_and_prints_nothing(
    lab_server: LabServer, room_name: str
) -> None:
    async with await join(lab_server, room_name, "alice"), observing(lab_server) as shown:
        arguments = [lab_server.url, lab_server.api_key, lab_server.api_secret, room_name]
        parent = subprocess.Popen(  # noqa: ASYNC220 - it returns at once
            [sys.executable, "-c", PARENT, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        try:

            async def there() -> bool:
                return bool(await shown.hidden(room_name))

            await come_true(there)
        finally:
            os.kill(parent.pid, signal.SIGKILL)
        output, _ = await asyncio.to_thread(parent.communicate)

        async def left() -> bool:
            return not await shown.hidden(room_name)

        await come_true(left)
        assert output == b""


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (
            "type='llm_error' timestamp=1.5 label='openai.LLM' error=APIConnectionError(\"it's away\", retryable=True)",
            SessionError("APIConnectionError", "openai.LLM", "it's away"),
        ),
        ("something else", SessionError("", "session", "something else")),
        ("\x1b[2J", SessionError("", "session", "\\x1b[2J")),
    ],
)
def test_the_error_in_a_sessions_event_is_read_as_far_as_it_goes(text: str, error: SessionError) -> None:
    assert session_error(text) == error
