"""Every name that LiveKit accepts, on a real server: whatever has it can be found, opened, marked and ended, alone."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

import pytest
from livekit import api
from livekit.protocol import room as room_pb
from textual import events

from tests.dashboard import Dashboard, on_server
from tests.hostile import NAMES, NASTIEST
from tests.lab.people import LabPerson, join
from tests.lab.server import LabServer
from tests.lab.waiting import come_true, eventually
from tests.lab.wire import Wire
from tui.model.action import Outcome
from tui.model.text import Name
from tui.ui.dialogs import DetailDialog
from tui.ui.many_dialogs import ConfirmManyDialog

NOT_DONE = {Outcome.FAILED, Outcome.REFUSED, Outcome.UNKNOWN, Outcome.CAME_BACK}


@pytest.fixture(scope="module")
def odd_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabServer]:
    """A server of our own: every room on it counts."""
    with LabServer(tmp_path_factory.mktemp("server")) as server:
        yield server


class Odd:
    """The dashboard on a server, with a wire in between that keeps what is asked of it."""

    def __init__(self, shown: Dashboard, wire: Wire, livekit: api.LiveKitAPI) -> None:
        self.shown = shown
        self.wire = wire
        self._livekit = livekit

    async def create(self, names: list[str]) -> dict[str, str]:
        """Rooms of these names; their SIDs."""
        for name in names:
            await self._livekit.room.create_room(api.CreateRoomRequest(name=name))
        rooms = await self.rooms()
        assert set(names) <= set(rooms)
        await self.shown.wait_for(
            lambda: set(rooms) <= {each.name.raw for each in self.shown.main.picture.rooms.values()}
        )
        return rooms

    async def rooms(self) -> dict[str, str]:
        """What rooms the server says there are: their SIDs, by name."""
        return {room.name: room.sid for room in (await self._livekit.room.list_rooms(api.ListRoomsRequest())).rooms}

    async def people(self, room: str) -> dict[str, str]:
        """Who the server says is in the room: their SIDs, by identity."""
        answer = await self._livekit.room.list_participants(api.ListParticipantsRequest(room=room))
        return {who.identity: who.sid for who in answer.participants}

    async def find(self, name: str, sid: str) -> None:
        """Filter by the name as it is shown, and select the room that has this SID among those that match."""
        shown = self.shown
        await shown.press("escape", "escape", "slash")
        shown.app.post_message(events.Paste(Name.of(name).safe))
        await shown.wait_for(
            lambda: sid in [row.room.sid for row in shown.main.rooms.rows] and shown.focused == "filter"
        )
        await shown.press("enter")
        assert shown.main.rooms.select(sid)
        assert shown.main.room is not None
        assert shown.main.room.name.raw == name


@asynccontextmanager
async def odd(server: LabServer) -> AsyncIterator[Odd]:
    """The dashboard on it, what is left there is deleted at the end."""
    async with server.client() as livekit, Wire(server.url) as wire:
        try:
            async with on_server(server, url=wire.url, size=(160, 50)) as shown:
                yield Odd(shown, wire, livekit)
        finally:
            for room in (await livekit.room.list_rooms(api.ListRoomsRequest())).rooms:
                server.delete_room(room.name)


def assert_all_done(here: Odd) -> None:
    """No action ended otherwise than it was meant to."""
    assert [record for record in here.shown.app.records if record.outcome in NOT_DONE] == []


async def test_a_room_is_found_opened_marked_and_deleted_and_no_other_one_is(odd_server: LabServer) -> None:
    names = ["", *(NAMES[label] for label in NASTIEST)]
    async with odd(odd_server) as here:
        shown, left = here.shown, await here.create([*NAMES.values(), ""])
        for name in names:
            sid = left.pop(name)
            await here.find(name, sid)
            await shown.press("enter")
            assert shown.focused == "participants"
            await shown.press("escape", "space")
            assert list(shown.main.rooms.marks) == [sid]
            await shown.press("u")
            shown.assert_harmless()

            assert shown.main.rooms.select(sid)
            dialog = await shown.confirm("D")
            assert (dialog.plan.target.room.raw, dialog.plan.target.room_sid) == (name, sid)
            await are_left(here.rooms, left)
        assert here.wire.changes == [("DeleteRoom", room_pb.DeleteRoomRequest(room=name)) for name in names]
        assert_all_done(here)


async def test_all_rooms_but_one_are_marked_and_deleted_at_once(odd_server: LabServer) -> None:
    async with odd(odd_server) as here:
        shown, rooms = here.shown, await here.create(list(NAMES.values()))
        kept = rooms[NAMES["plain"]]
        await shown.press("asterisk")
        assert set(shown.main.rooms.marks) == set(rooms.values())
        assert shown.main.rooms.select(kept)
        await shown.press("space", "D")
        await shown.wait_for(lambda: isinstance(shown.screen, ConfirmManyDialog) and shown.focused == "word")
        await shown.type(str(len(rooms) - 1))
        await shown.press("enter")
        await are_left(here.rooms, {NAMES["plain"]: kept})
        deleted = sorted(message.SerializeToString() for _, message in here.wire.changes)
        wanted = [room_pb.DeleteRoomRequest(room=name) for name in NAMES.values() if name != NAMES["plain"]]
        assert deleted == sorted(message.SerializeToString() for message in wanted)
        assert_all_done(here)


async def test_a_participant_is_found_opened_and_kicked_and_nobody_else_is(odd_server: LabServer) -> None:
    async with odd(odd_server) as here, AsyncExitStack() as stack:
        people: dict[str, LabPerson] = {}
        for identity in NAMES.values():
            people[identity] = await stack.enter_async_context(await join(odd_server, "hall", identity))
        # Rooms are called like the people, too, and like what a path made of both would lead to.
        rooms = await here.create([*NAMES.values(), "hall"])
        shown, left = here.shown, await here.people("hall")
        assert left.keys() == people.keys()
        await here.find("hall", rooms["hall"])
        await shown.press("escape", "escape", "enter")
        await shown.wait_for(lambda: {who.identity.raw for who in shown.main.participants.rows} == people.keys())
        singly = [NAMES[label] for label in NASTIEST[:3]]
        for identity in singly:
            sid = left.pop(identity)
            assert shown.main.participants.select(sid)
            await shown.press("enter")
            await shown.wait_for(lambda: isinstance(shown.screen, DetailDialog))
            await shown.wait_for(sid)
            shown.assert_harmless()
            await shown.press("escape")
            dialog = await shown.confirm("K")
            target = dialog.plan.target
            assert (target.room.raw, target.identity, target.participant_sid) == ("hall", Name.of(identity), sid)
            await eventually(partial(_was_kicked, people[identity]))
            await are_left(partial(here.people, "hall"), left)

        # The others all at once, but for one.
        kept = NAMES["plain"]
        await shown.wait_for(lambda: {who.identity.raw for who in shown.main.participants.rows} == left.keys())
        await shown.press("asterisk")
        assert shown.main.participants.select(left[kept])
        await shown.press("space", "K")
        await shown.wait_for(lambda: isinstance(shown.screen, ConfirmManyDialog))
        await shown.press("right", "enter")
        await are_left(partial(here.people, "hall"), {kept: left[kept]})
        at_once = [identity for identity in left if identity != kept]
        kicked = [(method, message.SerializeToString()) for method, message in here.wire.changes]
        wanted = [
            ("RemoveParticipant", room_pb.RoomParticipantIdentity(room="hall", identity=identity).SerializeToString())
            for identity in (*singly, *at_once)
        ]
        assert kicked[: len(singly)] == wanted[: len(singly)]
        assert sorted(kicked) == sorted(wanted)
        assert await here.rooms() == rooms
        assert people[kept].disconnected is None
        await shown.wait_for(lambda: all(record.outcome is not Outcome.RUNNING for record in shown.app.records))
        assert_all_done(here)


def _was_kicked(person: LabPerson) -> bool:
    return person.disconnected == "PARTICIPANT_REMOVED"


async def are_left(read: Callable[[], Awaitable[dict[str, str]]], wanted: dict[str, str]) -> None:
    """Wait until exactly these are there, each under its SID."""

    async def so() -> bool:
        found = await read()
        assert found == wanted, {"too many": found.keys() - wanted.keys(), "missing": wanted.keys() - found.keys()}
        return True

    await come_true(so)
