"""A listing whose rooms are left as the bytes that came."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from livekit.protocol import models as models_pb
from livekit.protocol import room as room_pb

from tests.fake_gateway import FakeGateway, Screen
from tui.gateway.listing import Listing
from tui.gateway.poller import Poller
from tui.model.snapshot import FailureKind

ROOMS = st.builds(models_pb.Room, sid=st.text(), name=st.text(), num_participants=st.integers(0, 2**32 - 1))


@given(st.lists(ROOMS))
def test_it_is_what_livekit_lists_one_level_deep(rooms: list[models_pb.Room]) -> None:
    body = room_pb.ListRoomsResponse(rooms=rooms).SerializeToString()
    assert [models_pb.Room.FromString(message) for message in Listing.FromString(body).rooms] == rooms


class _Stranger(FakeGateway):
    """Lists something, but no rooms."""

    async def list_room_messages(self) -> tuple[bytes, ...]:
        return (*await super().list_room_messages(), b"\xff\xff\xff")


@pytest.mark.parametrize("before", [True, False])
async def test_what_is_no_room_is_not_livekit_and_the_last_good_picture_stays(before: bool) -> None:  # noqa: FBT001
    gateway = FakeGateway(["alpha"])
    poller = Poller(gateway, Screen().publish)
    good = (await poller.poll()).rooms if before else {}
    stranger = _Stranger(["alpha", "bravo"])
    gateway.list_room_messages = stranger.list_room_messages  # type: ignore[method-assign]
    snapshot = await poller.poll()
    assert snapshot.failure is not None
    assert snapshot.failure.kind is FailureKind.NOT_LIVEKIT
    assert snapshot.rooms == good
    gateway.list_room_messages = FakeGateway(["bravo"]).list_room_messages  # type: ignore[method-assign]
    snapshot = await poller.poll()
    assert [room.name.raw for room in snapshot.rooms.values()] == ["bravo"]
    await poller.close()
