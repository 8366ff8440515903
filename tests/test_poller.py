"""The poller's pictures: what is in them, what stays the same object, and what a failure leaves of them."""

import pytest

from tests.fake_gateway import (
    DISPATCHES,
    EPOCH,
    PARTICIPANTS,
    REFUSED,
    ROOMS,
    FakeGateway,
    Screen,
    agent,
    dispatch_of,
    person,
    poller_of,
    polls,
    run_for,
    wall_clock,
)
from tests.virtual_time import in_virtual_time, seconds
from tui.gateway.errors import (
    AuthenticationError,
    GatewayError,
    MissingError,
    NoResponseError,
    RateLimitedError,
    ServerFailedError,
)
from tui.gateway.poller import Poller
from tui.model.room import Participant
from tui.model.snapshot import FailureKind, Snapshot


def test_rooms_have_their_participants_and_those_with_agents_their_dispatches_at_once() -> None:
    async def scenario() -> None:
        gateway = FakeGateway(["empty"])
        gateway.add("busy", person("ann"), agent("bot"))
        gateway.dispatches["busy"] = (dispatch_of("bot"),)
        poller = poller_of(gateway)
        first = await polls(poller)
        assert first.failure is None
        assert first.listed_at == first.at == EPOCH
        assert [(room.people_count, len(room.agents)) for room in first.rooms.values()] == [(0, 0), (1, 1)]
        assert first.rooms["RM_busy"].agents[0].dispatch == dispatch_of("bot")
        assert (await polls(poller)).number == first.number + 1
        assert gateway.asked(DISPATCHES, "empty") == []

    in_virtual_time(scenario())


def test_the_very_first_picture_has_everybody_and_waits_for_no_dispatches() -> None:
    async def scenario() -> None:
        gateway, screen = FakeGateway(), Screen()
        for name in ("one", "two"):
            gateway.add(name, person(f"ann-{name}"), agent(f"bot-{name}"))
        gateway.delays[PARTICIPANTS, "two"], gateway.delays[DISPATCHES, "one"] = 0.2, 0.5
        poller = poller_of(gateway, screen)
        last = await poller.poll()
        (early,) = screen.snapshots
        assert early.number < last.number
        assert (early.at, last.at) == (EPOCH + 0.2, EPOCH + 0.5)
        assert [(room.people_count, len(room.agents)) for room in early.rooms.values()] == [(1, 1), (1, 1)]
        assert early.rooms["RM_one"].dispatches is None
        assert last.rooms["RM_one"].dispatches is not None

    in_virtual_time(scenario())


def test_a_room_that_was_not_read_again_stays_the_same_object() -> None:
    async def scenario() -> None:
        gateway = FakeGateway(["one"])
        poller = poller_of(gateway)
        first = (await polls(poller, every=0.3)).rooms["RM_one"]
        assert (await polls(poller)).rooms["RM_one"] is first
        read_again = (await poller.poll()).rooms["RM_one"]
        assert read_again is not first
        assert (first.checked_at, read_again.checked_at) == (EPOCH, wall_clock())
        assert read_again.participants is first.participants

    in_virtual_time(scenario())


def test_rooms_on_screen_are_shown_before_others_that_take_longer() -> None:
    async def scenario() -> None:
        gateway, screen = FakeGateway(["seen", "slow"]), Screen()
        gateway.participants["seen"] = gateway.participants["slow"] = (person("ann"),)
        gateway.delays[PARTICIPANTS, "slow"] = 0.8
        poller = poller_of(gateway, screen)
        poller.watch(["RM_seen"], None)
        last = await poller.poll()
        (early,) = screen.snapshots
        assert early.number < last.number
        assert early.rooms["RM_seen"] is last.rooms["RM_seen"]
        assert early.rooms["RM_seen"].participants is not None
        assert early.rooms["RM_slow"].participants is None
        assert last.at > early.at + 0.7
        await poller.poll()
        assert len(screen.snapshots) == 1, "nothing was slower than what is on screen"

    in_virtual_time(scenario())


def test_a_listing_that_changed_keeps_what_was_read() -> None:
    async def scenario() -> None:
        gateway = FakeGateway(["one"])
        gateway.participants["one"] = (person("ann"),)
        poller = poller_of(gateway)
        first = (await polls(poller, every=0.3)).rooms["RM_one"]
        gateway.rooms["one"].metadata = "new"
        gateway.errors[PARTICIPANTS, "one"] = REFUSED
        second = (await poller.poll()).rooms["RM_one"]
        assert (second.metadata, second.participants, second.checked_at) == ("new", first.participants, EPOCH)

    in_virtual_time(scenario())


def test_a_snapshot_never_changes_after_it_was_published() -> None:
    async def scenario() -> None:
        gateway = FakeGateway(["one"])
        poller = poller_of(gateway)
        first = await polls(poller)
        gateway.add("two")
        gateway.participants["one"] = (person("ann"),)
        await poller.poll()
        assert list(first.rooms) == ["RM_one"]
        assert first.rooms["RM_one"].participants == ()

    in_virtual_time(scenario())


def test_one_rooms_failure_is_that_rooms() -> None:
    async def scenario() -> None:
        gateway = FakeGateway(["well"])
        gateway.add("ill", person("ann"))
        poller = poller_of(gateway)
        await polls(poller)
        gateway.errors[PARTICIPANTS, "ill"] = AuthenticationError("refused")
        snapshot = await polls(poller)
        ill = snapshot.rooms["RM_ill"]
        assert snapshot.failure is None
        assert ill.trouble == "refused"
        assert [p.identity.raw for p in ill.people] == ["ann"]
        assert ill.checked_at == EPOCH
        assert snapshot.rooms["RM_well"].checked_at == EPOCH + 2
        gateway.errors.clear()
        assert (await poller.poll()).rooms["RM_ill"].trouble == ""

    in_virtual_time(scenario())


def test_a_room_that_answers_missing_is_empty() -> None:
    async def scenario() -> None:
        gateway = FakeGateway(["one"])
        gateway.errors[PARTICIPANTS, "one"] = MissingError("requested room does not exist")
        room = (await poller_of(gateway).poll()).rooms["RM_one"]
        assert (room.participants, room.trouble) == ((), "")

    in_virtual_time(scenario())


def test_a_fault_of_our_own_in_a_room_is_that_rooms_trouble() -> None:
    async def scenario() -> None:
        gateway = FakeGateway(["one"])
        gateway.errors[PARTICIPANTS, "one"] = RuntimeError("secret detail")
        snapshot = await poller_of(gateway).poll()
        assert snapshot.failure is None
        assert "RuntimeError" in snapshot.rooms["RM_one"].trouble
        assert "secret detail" not in snapshot.rooms["RM_one"].trouble

    in_virtual_time(scenario())


@pytest.mark.parametrize("who", [(person("ann"), agent("bot")), (person("ann"),)], ids=["agent", "no agent"])
def test_dispatches_that_hang_are_trouble_that_stays_and_are_asked_for_once_more_and_then_left_alone_for_a_minute(
    who: tuple[Participant, ...],
) -> None:
    async def scenario() -> None:
        gateway, screen = FakeGateway(), Screen()
        gateway.add("ghost", *who)
        gateway.delays[DISPATCHES, "ghost"] = 3.0
        gateway.errors[DISPATCHES, "ghost"] = NoResponseError("no response (503)")
        poller = poller_of(gateway, screen)
        poller.watch(["RM_ghost"], "RM_ghost")
        await run_for(poller, 60)
        asked = gateway.asked(DISPATCHES, "ghost")
        assert len(asked) == 2
        since = [s for s in screen.snapshots if s.at > EPOCH + 5]
        assert {s.rooms["RM_ghost"].trouble for s in since} == {"no response (503)"}
        assert since[-1].rooms["RM_ghost"].checked_at == since[-1].at

    in_virtual_time(scenario())


def test_a_failed_listing_keeps_the_last_good_picture_and_reads_no_room() -> None:
    async def scenario() -> None:
        gateway = FakeGateway(["one"])
        poller = poller_of(gateway)
        good = await polls(poller)
        gateway.errors[ROOMS, ""] = REFUSED
        bad = await polls(poller)
        assert bad.failure == REFUSED.failure
        assert bad.rooms is good.rooms
        assert (bad.number, bad.listed_at, bad.at) == (2, EPOCH, EPOCH + 2)
        assert gateway.asked(PARTICIPANTS) == [0.0]
        gateway.errors.clear()
        again = await poller.poll()
        assert again.failure is None
        assert again.listed_at == again.at

    in_virtual_time(scenario())


def test_a_read_that_lands_during_an_outage_waits_for_the_next_good_picture() -> None:
    async def scenario() -> None:
        gateway = FakeGateway(["slow"])
        gateway.participants["slow"] = (person("ann"),)
        gateway.delays[PARTICIPANTS, "slow"] = 2.5
        poller = poller_of(gateway)
        good = await polls(poller)
        gateway.errors[ROOMS, ""] = REFUSED
        bad = await polls(poller)
        assert bad.rooms is good.rooms
        assert bad.rooms["RM_slow"].participants is None
        gateway.errors.clear()
        assert (await poller.poll()).rooms["RM_slow"].people_count == 1
        await poller.close()

    in_virtual_time(scenario())


def test_a_fault_of_our_own_is_a_failure_on_the_picture_and_nothing_more() -> None:
    async def scenario() -> None:
        gateway, screen = FakeGateway(["one"]), Screen()
        gateway.errors[ROOMS, ""] = KeyError("x")
        await run_for(poller_of(gateway, screen), 20)
        assert len(screen.snapshots) > 2
        assert screen.last.failure is not None
        assert screen.last.failure.kind is FailureKind.SERVER
        assert "KeyError" in screen.last.failure.message

    in_virtual_time(scenario())


def test_a_screen_that_fails_does_not_stop_the_polling() -> None:
    async def scenario() -> None:
        gateway = FakeGateway(["one"])

        async def refuse(_: Snapshot) -> None:
            raise ValueError("not now")

        await run_for(Poller(gateway, refuse), 5)
        assert gateway.asked(ROOMS) == [0.0, 2.0, 4.0]

    in_virtual_time(scenario())


def test_cancelling_ends_reads_under_way_at_once() -> None:
    async def scenario() -> None:
        gateway = FakeGateway(f"r{n}" for n in range(20))
        for name in gateway.rooms:
            gateway.delays[PARTICIPANTS, name] = 4.0
        await run_for(poller_of(gateway), 1.5)
        assert seconds() == 1.5

    in_virtual_time(scenario())  # which fails if a task is left over


def test_everything_is_read_once_for_a_one_shot_picture() -> None:
    async def scenario() -> None:
        gateway = FakeGateway(f"r{n}" for n in range(250))
        gateway.add("ill", agent("bot"))
        gateway.errors[DISPATCHES, "ill"] = ServerFailedError("failed (500)")
        snapshot = await poller_of(gateway).poll_everything()
        assert all(room.participants is not None for room in snapshot.rooms.values())
        assert [room.name.raw for room in snapshot.rooms.values() if room.trouble] == ["ill"]
        assert len(gateway.calls) == 1 + 2 * 251
        assert seconds() == 0.0
        assert 1 < gateway.most_under_way <= 8

    in_virtual_time(scenario())


def test_a_one_shot_picture_of_more_than_a_minutes_budget_is_paced() -> None:
    async def scenario() -> None:
        gateway = FakeGateway(f"r{n}" for n in range(300))
        snapshot = await poller_of(gateway, budget=100).poll_everything()
        assert all(room.dispatches is not None for room in snapshot.rooms.values())
        times = [call.at for call in gateway.calls]
        assert max(sum(1 for other in times if at <= other < at + 60) for at in times) <= 100
        assert seconds() < 60 * 601 / 70

    in_virtual_time(scenario())


def test_a_one_shot_picture_without_a_list_of_rooms_is_an_error() -> None:
    async def scenario() -> None:
        gateway = FakeGateway()
        gateway.errors[ROOMS, ""] = RateLimitedError("429", 3.0)
        with pytest.raises(GatewayError):
            await poller_of(gateway).poll_everything()

    in_virtual_time(scenario())
