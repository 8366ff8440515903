"""The poller's pace: who is read when, how often, within what budget, and how a server is left alone."""

import asyncio
import time
from bisect import bisect_right
from collections import Counter

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
    busiest_minute,
    dispatch_of,
    gaps,
    person,
    poller_of,
    polls,
    run_for,
    running,
)
from tests.virtual_time import in_virtual_time, seconds
from tui.gateway.backoff import LONGEST_S
from tui.gateway.errors import RateLimitedError
from tui.gateway.pace import RESTING_S, RESTS_AFTER_S
from tui.gateway.poller import Poller
from tui.model.snapshot import Snapshot


def names(count: int) -> list[str]:
    return [f"r{number}" for number in range(count)]


def sids(rooms: list[str]) -> list[str]:
    return [f"RM_{room}" for room in rooms]


@pytest.mark.parametrize("budget", [10, 60, 600])
def test_ten_thousand_rooms_stay_within_the_budget_and_the_listing_comes_every_tick(budget: int) -> None:
    async def scenario() -> None:
        gateway, screen = FakeGateway(names(10_000)), Screen()
        poller = poller_of(gateway, screen, budget)
        poller.watch(sids(names(40)), "RM_r7")
        await run_for(poller, 200)
        assert busiest_minute([call.at for call in gateway.calls]) <= budget
        assert max(gaps(gateway.asked(ROOMS))) <= screen.last.interval + 0.1
        assert screen.last.interval == (2.0 if budget == 600 else pytest.approx(120 / budget / 0.75, rel=0.3))
        assert gateway.asked(PARTICIPANTS)
        assert all(snapshot.requests <= budget == snapshot.budget for snapshot in screen.snapshots)

    in_virtual_time(scenario())


def test_a_screen_that_takes_its_time_keeps_no_room_from_being_read() -> None:
    async def scenario() -> None:
        gateway = FakeGateway(names(30))
        for name in names(30):
            gateway.delays[PARTICIPANTS, name] = 0.01

        async def slowly(_: Snapshot) -> None:
            await asyncio.sleep(0.1)

        poller = Poller(gateway, slowly)
        poller.watch(sids(names(2)), None)
        await poller.poll()
        assert len(gateway.asked(PARTICIPANTS)) == 30
        await poller.close()

    in_virtual_time(scenario())


# At rest


def test_where_nothing_happens_polling_rests_and_says_so() -> None:
    async def scenario() -> None:
        gateway, screen = FakeGateway(["one"]), Screen()
        await run_for(poller_of(gateway, screen), 3 * RESTS_AFTER_S)
        asked = gateway.asked(ROOMS)
        assert max(gaps([at for at in asked if at < RESTS_AFTER_S])) == 2.0
        assert set(gaps([at for at in asked if at > RESTS_AFTER_S + 2.0])) == {RESTING_S}
        assert {snapshot.interval for snapshot in screen.snapshots} == {2.0, RESTING_S}

    in_virtual_time(scenario())


def test_a_budget_that_asks_for_more_time_is_kept_at_rest() -> None:
    async def scenario() -> None:
        gateway, screen = FakeGateway(["one"]), Screen()
        await run_for(poller_of(gateway, screen, budget=10), 3 * RESTS_AFTER_S)
        assert len({snapshot.interval for snapshot in screen.snapshots}) == 1

    in_virtual_time(scenario())


@pytest.mark.parametrize("how", ["a key", "a change", "a word from elsewhere"])
def test_a_rest_ends_with(how: str) -> None:
    async def scenario() -> None:
        gateway = FakeGateway(["one"])
        poller = poller_of(gateway)
        poller.watch(["RM_one"], None)
        async with running(poller):
            await asyncio.sleep(RESTS_AFTER_S + 20.0)
            assert gaps(gateway.asked(ROOMS))[-1] == RESTING_S
            at = seconds()
            if how == "a key":
                poller.stir()
            elif how == "a change":
                gateway.add("two")
            else:
                poller.touch("RM_one")
            await asyncio.sleep(20.0)
            after = [asked for asked in gateway.asked(ROOMS) if asked >= at]
            assert after[0] - at <= (RESTING_S if how == "a change" else 0.3)
            assert set(gaps(after)) == {2.0}

    in_virtual_time(scenario())


def test_an_operators_requests_count_and_slow_the_poller_down() -> None:
    async def scenario() -> None:
        gateway = FakeGateway(names(50))
        async with running(poller_of(gateway)):
            others = 0
            for _ in range(120):
                await asyncio.sleep(1.0)
                # 300 a minute from elsewhere, as through a script of kicks
                for _ in range(5):
                    others += 1
                    await gateway._answer("DeleteRoom", f"other-{others}")
            times = [call.at for call in gateway.calls]
            for place, call in enumerate(gateway.calls):
                assert call.method == "DeleteRoom" or place + 1 - bisect_right(times, call.at - 60.0) <= 600
            assert max(gaps(gateway.asked(ROOMS))) < 2.6

    in_virtual_time(scenario())


def test_the_open_room_is_read_every_tick_participants_and_dispatches() -> None:
    async def scenario() -> None:
        gateway = FakeGateway(names(500))
        poller = poller_of(gateway)
        poller.watch([], "RM_r400")
        await run_for(poller, 61)
        for method in (PARTICIPANTS, DISPATCHES):
            assert len(gateway.asked(method, "r400")) == len(gateway.asked(ROOMS)) == 31

    in_virtual_time(scenario())


def test_rooms_asked_for_come_first_then_those_on_screen_take_every_other_turn() -> None:
    async def scenario() -> None:
        gateway = FakeGateway(names(500))
        poller = poller_of(gateway)
        poller.watch(sids(names(3)), "RM_r9")
        poller.wake("RM_r8")
        await poller.poll()
        asked = [call.room for call in gateway.calls if call.method == PARTICIPANTS]
        assert asked[:2] == ["r9", "r8"]
        assert set(asked[2:7]) >= {"r0", "r1", "r2"}

    in_virtual_time(scenario())


def test_a_crowded_screen_does_not_starve_the_rooms_that_are_off_it() -> None:
    async def scenario() -> None:
        gateway = FakeGateway(names(400))
        poller = poller_of(gateway)
        poller.watch(sids(names(60)), None)
        await run_for(poller, 150)
        read = Counter(call.room for call in gateway.calls if call.method == PARTICIPANTS)
        assert set(read) == set(names(400))
        on_screen = [read[name] for name in names(60)]
        assert min(on_screen) > max(read[f"r{number}"] for number in range(60, 400)) * 2
        assert max(on_screen) - min(on_screen) <= 2

    in_virtual_time(scenario())


def test_a_room_whose_listing_changed_is_read_in_the_same_cycle() -> None:
    async def scenario() -> None:
        gateway = FakeGateway(names(1_000))
        poller = poller_of(gateway)
        await polls(poller)
        gateway.rooms["r900"].num_participants = 1
        gateway.add("new", person("ann"))
        snapshot = await poller.poll()
        assert snapshot.rooms["RM_r900"].checked_at == snapshot.at
        assert snapshot.rooms["RM_new"].people_count == 1

    in_virtual_time(scenario())


def test_the_rest_is_read_in_turn() -> None:
    async def scenario() -> None:
        gateway = FakeGateway(names(100))
        await run_for(poller_of(gateway), 120)
        read = Counter(call.room for call in gateway.calls if call.method == PARTICIPANTS)
        assert max(read.values()) - min(read.values()) <= 1

    in_virtual_time(scenario())


def test_rooms_that_are_gone_take_no_turns() -> None:
    async def scenario() -> None:
        gateway, screen = FakeGateway(names(3_000)), Screen()
        poller = poller_of(gateway, screen)
        async with running(poller):
            await asyncio.sleep(3)
            gateway.rooms.clear()
            for number in range(50):
                gateway.add(f"new{number}")
            await asyncio.sleep(60)
            assert len(screen.last.rooms) == 50
            assert min(room.checked_at or 0.0 for room in screen.last.rooms.values()) > screen.last.at - 10

    in_virtual_time(scenario())


def test_an_agent_that_went_has_its_dispatch_read_in_the_same_picture_and_once_more_later() -> None:
    async def scenario() -> None:
        gateway, screen = FakeGateway(), Screen()
        gateway.add("one", person("ann"), agent("bot"))
        gateway.dispatches["one"] = (dispatch_of("bot"),)
        async with running(poller_of(gateway, screen)):
            await asyncio.sleep(21)
            assert gateway.asked(DISPATCHES) == [0.0]
            gateway.participants["one"] = (person("ann"),)
            gateway.dispatches["one"] = ()
            await asyncio.sleep(2)
            assert (screen.last.rooms["RM_one"].agents, screen.last.rooms["RM_one"].dispatches) == ((), ())
            assert screen.last.rooms["RM_one"].dispatches_at == screen.last.at
            await asyncio.sleep(20)
            assert gateway.asked(DISPATCHES) == [0.0, 22.0, 28.0]

    in_virtual_time(scenario())


def test_the_job_of_a_new_agent_is_looked_for_until_livekit_lists_it() -> None:
    async def scenario() -> None:
        gateway, screen = FakeGateway(), Screen()
        gateway.add("one", agent("bot"))
        async with running(poller_of(gateway, screen)):
            await asyncio.sleep(5)
            gateway.dispatches["one"] = (dispatch_of("bot"),)
            await asyncio.sleep(5)
            assert screen.last.rooms["RM_one"].agents[0].job is not None
            await asyncio.sleep(115)
            assert gateway.asked(DISPATCHES) == [0.0, 6.0, 66.0]

    in_virtual_time(scenario())


def test_a_slow_read_holds_up_a_cycle_for_a_second_and_lands_in_a_later_one() -> None:
    async def scenario() -> None:
        gateway, screen = FakeGateway(["quick", "slow"]), Screen()
        gateway.delays[PARTICIPANTS, "slow"] = 3.0
        await run_for(poller_of(gateway, screen), 8.5)
        assert [snapshot.at - EPOCH for snapshot in screen.snapshots[:3]] == [1.0, 2.0, 5.0]
        assert screen.snapshots[0].rooms["RM_quick"].participants == ()
        assert screen.snapshots[0].rooms["RM_slow"].participants is None
        assert screen.snapshots[2].rooms["RM_slow"].participants == ()

    in_virtual_time(scenario())  # the gateway fails a second read of a room that is being read


def test_rooms_that_hang_leave_the_others_their_turns() -> None:
    async def scenario() -> None:
        gateway, screen = FakeGateway(names(40)), Screen()
        for name in names(12):
            gateway.delays[PARTICIPANTS, name] = 9.0
        poller = poller_of(gateway, screen)
        poller.watch(sids(names(12)), None)
        await run_for(poller, 120)
        assert gateway.most_under_way <= 9  # eight rooms and a listing
        assert max(gaps(gateway.asked(ROOMS))) <= 2.1
        assert all("did not arrive" in screen.last.rooms[sid].trouble for sid in sids(names(12)))
        well = [screen.last.rooms[f"RM_r{number}"].checked_at or 0.0 for number in range(12, 40)]
        assert min(well) > screen.last.at - 20

    in_virtual_time(scenario())


def test_dispatches_that_hang_do_not_keep_participants_waiting() -> None:
    async def scenario() -> None:
        gateway = FakeGateway()
        for name in names(30):
            gateway.add(name, agent("bot"))
        poller = poller_of(gateway)
        await polls(poller)
        for name in names(30):
            gateway.participants[name] = ()
            gateway.delays[DISPATCHES, name] = 3.0
        assert not any(room.agents for room in (await poller.poll()).rooms.values())
        await poller.close()

    in_virtual_time(scenario())


def test_a_failing_server_is_left_alone_longer_and_longer_and_not_in_step_with_others() -> None:
    async def scenario() -> None:
        gateway, screen = FakeGateway(["one"]), Screen()
        gateway.errors[ROOMS, ""] = REFUSED
        async with running(poller_of(gateway, screen)):
            await asyncio.sleep(600)
            pauses = gaps(gateway.asked(ROOMS))
            assert LONGEST_S / 2 < max(pauses) <= LONGEST_S
            assert len(set(pauses)) > 10
            gateway.errors.clear()
            await asyncio.sleep(LONGEST_S)
            assert screen.last.failure is None
            await asyncio.sleep(10)
            assert screen.last.interval == gaps(gateway.asked(ROOMS))[-1] == 2.0
            gateway.errors[ROOMS, ""] = REFUSED
            await asyncio.sleep(2.5)
            assert screen.last.failure is not None
            assert screen.last.interval <= 2.0

    in_virtual_time(scenario())


def test_the_interval_on_the_picture_is_the_pause_that_follows() -> None:
    async def scenario() -> None:
        gateway, screen = FakeGateway(["one"]), Screen()
        gateway.errors[ROOMS, ""] = RateLimitedError("429", 20.0)
        await run_for(poller_of(gateway, screen), 60)
        pauses = gaps(gateway.asked(ROOMS))
        assert pauses == pytest.approx([snapshot.interval for snapshot in screen.snapshots[: len(pauses)]])
        assert all(20.0 <= pause <= 21.0 for pause in pauses)

    in_virtual_time(scenario())


def test_quiet_that_a_room_read_is_asked_for_is_kept_by_all() -> None:
    async def scenario() -> None:
        gateway, screen = FakeGateway(names(300)), Screen()
        poller = poller_of(gateway, screen)
        poller.watch([], "RM_r5")
        gateway.errors[PARTICIPANTS, "r5"] = RateLimitedError("429", 30.0)
        await run_for(poller, 29)
        assert max(call.at for call in gateway.calls) == 0.0
        assert len(gateway.calls) <= 1 + 8
        assert screen.last.rooms["RM_r5"].trouble == "429"
        assert screen.last.interval >= 30.0

    in_virtual_time(scenario())


def test_a_back_off_is_cut_short_only_by_who_insists_and_only_once() -> None:
    async def scenario() -> None:
        gateway, screen = FakeGateway(["one"]), Screen()
        gateway.errors[ROOMS, ""] = RateLimitedError("429", 300.0)
        poller = poller_of(gateway, screen)
        async with running(poller):
            await asyncio.sleep(10)
            gateway.errors.clear()
            poller.wake("RM_one")
            poller.touch("RM_one")
            await asyncio.sleep(1)
            assert gateway.asked(ROOMS) == [0.0]
            for _ in range(5):
                poller.wake(insist=True)
            await asyncio.sleep(1)
            assert gateway.asked(ROOMS) == [0.0, 11.0]
            assert screen.last.failure is None

    in_virtual_time(scenario())


def test_who_insists_on_an_answer_that_is_overdue_has_it_asked_for_anew_but_once() -> None:
    async def scenario() -> None:
        gateway, screen = FakeGateway(["one"]), Screen()
        poller = poller_of(gateway, screen)
        async with running(poller):
            await asyncio.sleep(1)
            gateway.delays[ROOMS, ""] = 10.0
            await asyncio.sleep(2)
            poller.wake(insist=True)
            assert gateway.asked(ROOMS) == [0.0, 2.0]
            await asyncio.sleep(2)
            gateway.delays[ROOMS, ""] = 3.0
            for _ in range(3):
                poller.wake(insist=True)
                await asyncio.sleep(0.5)
            assert gateway.asked(ROOMS) == [0.0, 2.0, 5.0]
            await asyncio.sleep(1.6)
            assert screen.last.listed_at == pytest.approx(EPOCH + 8.0)

    in_virtual_time(scenario())


def test_a_wake_during_a_poll_makes_another_one_and_never_two_at_a_time() -> None:
    async def scenario() -> None:
        gateway = FakeGateway(["one"])
        gateway.delays[ROOMS, ""] = 1.0
        poller = poller_of(gateway)
        async with running(poller):
            await asyncio.sleep(0.5)
            poller.wake("RM_one")
            poller.wake("RM_gone")
            await asyncio.sleep(1.4)
            assert gateway.asked(ROOMS) == [0.0, 1.0]
            assert seconds() == 1.9

    in_virtual_time(scenario())


def test_a_key_held_down_does_not_become_a_flood() -> None:
    async def scenario() -> None:
        gateway = FakeGateway(["one"])
        poller = poller_of(gateway)
        async with running(poller):
            for _ in range(300):
                poller.wake()
                await asyncio.sleep(0.03)
            assert len(gateway.asked(ROOMS)) <= 9 / 0.25 + 1

    in_virtual_time(scenario())


class _Prepared(FakeGateway):
    """Has its answers ready, so that a cycle's time is the poller's own."""

    async def list_room_messages(self) -> tuple[bytes, ...]:
        return self.answers.pop()

    answers: list[tuple[bytes, ...]]


async def test_a_quiet_cycle_over_ten_thousand_rooms_costs_the_loop_little() -> None:
    rooms = FakeGateway(names(10_000))
    gateway = _Prepared()
    gateway.answers = [await rooms.list_room_messages() for _ in range(2)]
    poller = Poller(gateway, Screen().publish)
    await poller.poll()
    began = time.process_time()
    await poller.poll()
    # About 4 ms on a two-core machine; the margin is for one that does other things as well.
    assert time.process_time() - began < 0.1
    await poller.close()
