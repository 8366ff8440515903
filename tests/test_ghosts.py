"""Ghost rooms: what tells one from a room that is only hard to reach just now, and how seldom one is asked then.

That this is how a real cluster behaves is proved in test_cluster_live.py.
"""

import asyncio

import pytest

from tests.fake_gateway import (
    DISPATCHES,
    EPOCH,
    PARTICIPANTS,
    PROBE,
    ROOMS,
    FakeGateway,
    Screen,
    agent,
    person,
    poller_of,
    run_for,
    running,
)
from tests.lab.waiting import eventually
from tests.virtual_time import in_virtual_time, seconds
from tui.gateway.errors import NoResponseError, ServerFailedError
from tui.gateway.ghosts import Ghosts
from tui.gateway.poller import Poller
from tui.model.room import Participant
from tui.model.signs import SignCode, Thresholds, signs
from tui.model.snapshot import Snapshot

UNANSWERED = NoResponseError("no response (503)")
AWAY = ServerFailedError("could not get rooms: i/o timeout (500)")


def lose_the_node(gateway: FakeGateway, name: str = "lost") -> None:
    """What needs the room's node fails after 3 s; its lists go on as they were."""
    for asked in [(DISPATCHES, name), *((PROBE, f"{name}/{who.identity.raw}") for who in gateway.participants[name])]:
        gateway.delays[asked] = 3.0
        gateway.errors[asked] = UNANSWERED


def find_the_node(gateway: FakeGateway) -> None:
    gateway.delays.clear()
    gateway.errors.clear()


def ghosts_in(snapshot: Snapshot) -> set[str]:
    rooms = snapshot.rooms.values()
    return {
        room.name.raw for room in rooms if SignCode.GHOST in {s.code for s in signs(room, snapshot.at, Thresholds())}
    }


async def until_ghost(poller: Poller, screen: Screen, most: float) -> float:
    """How long it takes until there is a ghost."""
    began = seconds()
    async with running(poller):
        await eventually(lambda: screen.snapshots and ghosts_in(screen.last), most)
    return seconds() - began


@pytest.mark.parametrize(
    ("who", "most"),
    [((person("ann"), agent("bot")), 30.0), ((person("ann"),), 80.0)],
    ids=["an agent's probe gives the hint", "nobody is probed"],
)
def test_a_room_whose_node_answers_nothing_twice_is_a_ghost(who: tuple[Participant, ...], most: float) -> None:
    async def scenario() -> None:
        gateway, screen = FakeGateway(["well"]), Screen()
        gateway.add("lost", *who)
        poller = poller_of(gateway, screen)
        await run_for(poller, 61)
        assert not ghosts_in(screen.last)
        lost_at = EPOCH + seconds()
        lose_the_node(gateway)
        await until_ghost(poller, screen, most)
        assert ghosts_in(screen.last) == {"lost"}
        room = screen.last.rooms["RM_lost"]
        first, second = gateway.asked(DISPATCHES, "lost")[-2:]
        assert room.ghost_since == EPOCH + first
        assert lost_at <= EPOCH + first < EPOCH + second - 3.0
        assert [sign.code for sign in signs(room, screen.last.at + 600, Thresholds())] == [SignCode.GHOST]

    in_virtual_time(scenario())


def test_a_room_that_is_not_answered_once_is_none() -> None:
    async def scenario() -> None:
        gateway, screen = FakeGateway(), Screen()
        gateway.add("slow", person("ann"))
        lose_the_node(gateway, "slow")
        poller = poller_of(gateway, screen)
        poller.watch(["RM_slow"], "RM_slow")
        await run_for(poller, 4)
        find_the_node(gateway)
        await run_for(poller, 20)
        lose_the_node(gateway, "slow")
        await run_for(poller, 4)
        assert not any(map(ghosts_in, screen.snapshots))

    in_virtual_time(scenario())


def test_a_room_that_ends_is_none() -> None:
    async def scenario() -> None:
        gateway, screen = FakeGateway(), Screen()
        gateway.add("ended", person("ann"))
        lose_the_node(gateway, "ended")
        poller = poller_of(gateway, screen)
        poller.watch(["RM_ended"], "RM_ended")
        await run_for(poller, 4)
        del gateway.rooms["ended"]
        await run_for(poller, 20)
        assert not any(map(ghosts_in, screen.snapshots))

    in_virtual_time(scenario())


def test_while_no_list_is_answered_nothing_is_told_of_a_node() -> None:
    async def scenario() -> None:
        gateway, screen = FakeGateway(), Screen()
        gateway.add("well", person("ann"), agent("bot"))
        poller = poller_of(gateway, screen)
        poller.watch(["RM_well"], "RM_well")
        async with running(poller):
            for _ in range(5):
                await asyncio.sleep(8)
                poller.stir()
                lose_the_node(gateway, "well")
                lost_at = seconds()
                # Long enough for a question to be on its way when the lists go.
                await asyncio.sleep(2.5)
                assert gateway.asked(DISPATCHES, "well")[-1] >= lost_at
                gateway.delays[ROOMS, ""] = gateway.delays[PARTICIPANTS, "well"] = 6.0
                gateway.errors[ROOMS, ""] = gateway.errors[PARTICIPANTS, "well"] = AWAY
                await asyncio.sleep(20)
                assert screen.last.failure is not None
                find_the_node(gateway)
        assert not any(map(ghosts_in, screen.snapshots))

    in_virtual_time(scenario())


def test_a_question_that_an_outage_overtook_proves_nothing() -> None:
    ghosts = Ghosts()
    assert ghosts.unanswered("RM_1", 10.0) is None
    ghosts.outage(12.0)
    assert not ghosts.is_doubted("RM_1")
    assert ghosts.unanswered("RM_1", 11.0) is None
    assert not ghosts.is_doubted("RM_1")
    assert ghosts.unanswered("RM_1", 13.0) is None
    assert ghosts.unanswered("RM_1", 20.0) == 13.0


def test_a_ghost_that_is_taken_over_is_none_any_more() -> None:
    async def scenario() -> None:
        gateway, screen = FakeGateway(), Screen()
        gateway.add("lost", person("ann"))
        lose_the_node(gateway)
        poller = poller_of(gateway, screen)
        await until_ghost(poller, screen, 80)
        find_the_node(gateway)
        gateway.participants["lost"] = (person("ann"), person("bob"))
        await run_for(poller, 10)
        assert not ghosts_in(screen.last)
        assert screen.last.rooms["RM_lost"].trouble == ""

    in_virtual_time(scenario())


def test_ghosts_are_asked_ever_more_seldom() -> None:
    async def scenario() -> None:
        gateway, screen = FakeGateway(), Screen()
        for number in range(100):
            gateway.add(f"lost{number}", person("ann"))
            lose_the_node(gateway, f"lost{number}")
        poller = poller_of(gateway, screen)
        await run_for(poller, 600)
        assert len(ghosts_in(screen.last)) == 100
        before = len(gateway.asked(DISPATCHES))
        await run_for(poller, 600)
        assert len(gateway.asked(DISPATCHES)) - before <= 300

    in_virtual_time(scenario())


def test_one_picture_of_everything_tells_a_ghost_too() -> None:
    async def scenario() -> None:
        gateway = FakeGateway(["well"])
        gateway.add("lost", person("ann"))
        lose_the_node(gateway)
        snapshot = await poller_of(gateway).poll_everything()
        assert ghosts_in(snapshot) == {"lost"}
        assert len(gateway.asked(ROOMS)) == 2
        assert seconds() == 6.0

    in_virtual_time(scenario())
