"""The poller on the real server."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fake_gateway import Screen, running
from tests.lab.people import join
from tests.lab.server import LabServer
from tests.lab.waiting import eventually
from tui.gateway.client import Gateway
from tui.gateway.poller import Poller
from tui.model.room import Dispatch, Room
from tui.model.secret import Secret
from tui.model.snapshot import FailureKind
from tui.model.text import Name


def gateway_to(server: LabServer) -> Gateway:
    return Gateway(server.url, server.api_key, Secret(server.api_secret))


def room_on(screen: Screen, name: str) -> Room | None:
    """The room of this name on the newest picture, if there is one."""
    rooms = screen.last.rooms.values() if screen.snapshots else ()
    return next((room for room in rooms if room.name.raw == name), None)


async def test_a_person_who_joins_and_leaves_is_seen_to(lab_server: LabServer, room_name: str) -> None:
    screen = Screen()

    def people() -> list[str] | None:
        room = room_on(screen, room_name)
        return [p.identity.raw for p in room.people] if room and room.participants is not None else None

    async with gateway_to(lab_server) as gateway, running(Poller(gateway, screen.publish, interval_s=0.3)):
        async with await join(lab_server, room_name, "ann"):
            await eventually(lambda: people() == ["ann"])
        await eventually(lambda: people() == [])


@pytest.mark.usefixtures("lab_worker")
async def test_an_agent_ended_by_its_dispatch_leaves_together_with_it(lab_server: LabServer, room_name: str) -> None:
    screen = Screen()

    def its_dispatch() -> Dispatch | None:
        room = room_on(screen, room_name)
        return next((agent.dispatch for agent in room.agents if agent.dispatch), None) if room else None

    def room_without_agents() -> Room | None:
        room = room_on(screen, room_name)
        return room if room and not room.agents else None

    async with (
        gateway_to(lab_server) as gateway,
        await join(lab_server, room_name, "ann"),
        running(Poller(gateway, screen.publish, interval_s=0.3)),
    ):
        brought_by = await eventually(its_dispatch)
        assert brought_by is not None
        await gateway.delete_dispatch(Name.of(room_name), brought_by.id)
        room = await eventually(room_without_agents)
        assert room is not None
        assert room.dispatches == ()


@pytest.fixture
def mortal_server(tmp_path: Path) -> Iterator[LabServer]:
    with LabServer(tmp_path) as server:
        yield server


async def test_a_server_that_dies_is_reported_and_its_return_is_noticed(mortal_server: LabServer) -> None:
    screen = Screen()
    async with gateway_to(mortal_server) as gateway:
        await gateway.create_dispatch(Name.of("kept"), "")
        poller = Poller(gateway, screen.publish, interval_s=0.3)
        async with running(poller):
            await eventually(lambda: bool(screen.snapshots) and len(screen.last.rooms) == 1)
            mortal_server.stop()
            await eventually(lambda: screen.last.failure)
            assert screen.last.failure is not None
            assert screen.last.failure.kind is FailureKind.UNREACHABLE
            assert [room.name.raw for room in screen.last.rooms.values()] == ["kept"]
            await asyncio.to_thread(mortal_server.start)
            poller.wake(insist=True)
            await eventually(lambda: screen.last.failure is None and not screen.last.rooms)
