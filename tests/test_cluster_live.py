"""A real cluster, Redis and two nodes: actions through the other node, a dead node's ghost room, Redis away, and a room
that runs where no list shows it."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from livekit import api

from tests.lab.cluster import LabCluster, LabRedis
from tests.lab.people import LabPerson, join
from tests.lab.process import LabProcess
from tests.lab.server import LabServer
from tests.lab.waiting import eventually
from tests.lab.worker import LabWorker
from tests.test_control_live import Lab, only_agent
from tui.config import Sources
from tui.gateway.poller import Poller
from tui.model.action import INSIDE, Action, Outcome
from tui.model.patience import Patience
from tui.model.room import Room
from tui.model.secret import Secret
from tui.model.signs import SignCode, Thresholds, signs
from tui.model.snapshot import Failure, FailureKind, Snapshot
from tui.model.text import Name
from tui.settings import Connection
from tui.watch import Watch

NOBODYS = "nobody-has-this-name"
"""An agent name that no worker has: a room with a dispatch of that name gets no automatic agent."""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabCluster]:
    with LabCluster(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


@pytest.fixture
def mortal(cluster: LabCluster) -> Iterator[LabServer]:
    """The first node, which a test may kill: whatever comes of the test, the others find it there again."""
    yield cluster.one
    cluster.one.stop()
    cluster.one.start()


class LateWorker:
    """An automatic worker on the second node that is started when it is wanted: until then no room gets an agent."""

    def __init__(self, worker: LabWorker) -> None:
        self.worker = worker
        self._lock = threading.Lock()
        self._started = False

    def start(self) -> None:
        with self._lock:
            if not self._started:
                self.worker.start()
                self._started = True


@pytest.fixture(scope="module")
def late_worker(cluster: LabCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LateWorker]:
    worker = LabWorker(cluster.two, tmp_path_factory.mktemp("worker"))
    yield LateWorker(worker)
    worker.stop()


def connection_to(server: LabServer) -> Connection:
    return Connection(server.url, server.api_key, Secret(server.api_secret), "lab", "command line")


@asynccontextmanager
async def lab_at(server: LabServer, **patience: float) -> AsyncIterator[Lab]:
    """Our own control through this node, and livekit-api to ask the same node what came of it."""
    watch = Watch(connection_to(server), Sources(observe=0), on_snapshot=lambda _: None, on_closes=lambda _: None)
    async with AsyncExitStack() as people, watch.gateway, server.client() as livekit:
        yield Lab(server, watch.gateway, livekit, people, Patience(**{"watch_name_s": 2.0, **patience}))


async def open_room(cluster: LabCluster, name: str, on: LabServer, agent_name: str = NOBODYS) -> None:
    """A room that lives on this node, whichever node is asked for it later."""
    request = api.CreateRoomRequest(name=name, node_id=cluster.node_id(on))
    if agent_name:
        request.agents.append(api.RoomAgentDispatch(agent_name=agent_name))
    async with on.client() as livekit:
        await livekit.room.create_room(request)
    assert cluster.node_id(on) in cluster.redis.ask("HGET", "room_node_map", name)


class Ward:
    """What the screen would be told by a watch on one node."""

    def __init__(self) -> None:
        self.snapshots: list[Snapshot] = []

    async def publish(self, snapshot: Snapshot) -> None:
        """Take in the next one."""
        self.snapshots.append(snapshot)

    @property
    def last(self) -> Snapshot:
        return self.snapshots[-1] if self.snapshots else Snapshot()

    def room(self, name: str) -> Room:
        return next(room for room in self.last.rooms.values() if room.name.raw == name)

    def ghosts(self, snapshot: Snapshot | None = None) -> set[str]:
        at = snapshot or self.last
        found = at.rooms.values()
        return {r.name.raw for r in found if SignCode.GHOST in {s.code for s in signs(r, at.at, Thresholds())}}

    def everybody(self) -> Mapping[str, list[str]]:
        rooms = self.last.rooms.values()
        return {r.name.raw: [who.identity.raw for who in r.participants or ()] for r in rooms}


@asynccontextmanager
async def watching(server: LabServer) -> AsyncIterator[tuple[Watch, Ward]]:
    ward = Ward()
    watch = Watch(
        connection_to(server), Sources(observe=1), on_snapshot=ward.snapshots.append, on_closes=lambda _: None
    )
    async with watch:
        task = asyncio.create_task(watch.run())
        try:
            yield watch, ward
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


@asynccontextmanager
async def somebody(
    server: LabServer, room: str, identity: str, kind: api.AccessToken.ParticipantKind = "standard"
) -> AsyncIterator[LabPerson]:
    async with await join(server, room, identity, kind) as person:
        yield person


async def test_a_dead_nodes_room_is_a_ghost_that_delete_cannot_end_and_repair_does(
    cluster: LabCluster, mortal: LabServer, late_worker: LateWorker
) -> None:
    await open_room(cluster, "lost", mortal, agent_name="")
    await open_room(cluster, "well", cluster.two)
    async with (
        somebody(mortal, "lost", "ann"),
        somebody(mortal, "lost", "bot", "agent"),
        somebody(cluster.two, "well", "bob"),
        watching(cluster.two) as (watch, ward),
        lab_at(cluster.two, room_gone_s=1.0) as lab,
    ):
        await eventually(lambda: ward.everybody() == {"lost": ["ann", "bot"], "well": ["bob"]})
        sid = ward.room("lost").sid
        await eventually(lambda: ward.room("lost").agents[0].facts.answered_at is not None)

        mortal.stop()
        # An observer that was sent in would have the room taken over, and everything after look well.
        watch.look_at([sid], sid)
        watch.observe([sid])
        starting = asyncio.create_task(asyncio.to_thread(late_worker.start))
        await eventually(lambda: ward.ghosts() == {"lost"}, 45.0)
        ghost = ward.room("lost")
        assert ghost.sid == sid
        assert ward.everybody()["lost"] == ["ann", "bot"], "the lists go on showing everybody"
        await starting

        deleted = await lab.do(Action.DELETE_ROOM, ghost)
        assert deleted.outcome is Outcome.UNKNOWN
        assert deleted.offers == (Action.REPAIR_ROOM,)
        assert "no response" in deleted.last
        assert [room.sid for room in await lab.rooms("lost")] == [sid]

        repaired = await lab.do(Action.REPAIR_ROOM, ghost)
        said = [step.text for step in repaired.steps]
        assert repaired.outcome is Outcome.CONFIRMED, said
        assert said[-1] == "confirmed: gone from the list, and did not come back"
        assert await lab.rooms("lost") == []
        assert late_worker.worker.events("ready", room="lost"), "a repair starts automatic agents"
        await eventually(lambda: ward.last.failure is None and ward.everybody() == {"well": ["bob"]})
        assert {name for snapshot in ward.snapshots for name in ward.ghosts(snapshot)} == {"lost"}


async def test_every_action_works_through_the_other_node(cluster: LabCluster, late_worker: LateWorker) -> None:
    await asyncio.to_thread(late_worker.start)
    actions = [action for action in Action if action not in (*INSIDE, Action.REPAIR_ROOM)]
    async with lab_at(cluster.two) as lab:

        async def carried_out(action: Action) -> None:
            name = action.name.lower()
            dispatched = action is Action.DISPATCH_AGENT
            await open_room(cluster, name, cluster.one, NOBODYS if dispatched else "")
            alice = await lab.join(name, "alice")
            here = await (lab.picture(name) if dispatched else lab.settled(name))
            chosen = {Action.KICK: here.people[0].sid} if action is Action.KICK else {}
            record = await lab.do(action, here, chosen.get(action))
            assert record.outcome is Outcome.CONFIRMED, [step.text for step in record.steps]
            left, agents = await lab.participants(name), await lab.agents(name)
            match action:
                case Action.CLOSE_SESSION | Action.DISPATCH_AGENT:
                    assert set(left) > {"alice"}
                    assert len(agents) == 1
                case Action.SHUT_DOWN_JOB:
                    assert set(left) == {"alice"}
                case Action.KICK:
                    assert set(left) == {only_agent(here).participant.identity.raw}
                    await eventually(lambda: alice.disconnected == "PARTICIPANT_REMOVED")
                case _:
                    assert await lab.rooms(name) == []
                    await eventually(lambda: alice.disconnected == "ROOM_DELETED")

        async with asyncio.TaskGroup() as group:
            for action in actions:
                group.create_task(carried_out(action))
        for room in await lab.gateway.list_rooms():
            await lab.delete_room(room.name.raw)


class Soonest(random.Random):
    """The shortest back-off each time: what is tested is not chance."""

    def uniform(self, a: float, b: float) -> float:
        return min(a, b)


@contextmanager
def stopped(redis: LabRedis) -> Iterator[None]:
    redis.stop()
    try:
        yield
    finally:
        redis.start()


@contextmanager
def frozen(process: LabProcess) -> Iterator[None]:
    """Who is connected to it could not even leave, so it goes on whatever comes of the test."""
    process.freeze()
    try:
        yield
    finally:
        process.thaw()


AWAY_S = 15.0
"""How long Redis is away at the least; and until two ListRooms have failed, each of which takes 12 s at the most."""


async def test_while_redis_is_away_the_last_good_picture_stays_and_nobody_is_a_ghost(tmp_path: Path) -> None:
    async def scenario(directory: Path, how: str) -> None:
        directory.mkdir()
        with LabCluster(directory) as cluster:
            away = {"stopped": stopped(cluster.redis), "frozen": frozen(cluster.redis.process)}[how]
            await open_room(cluster, "far", cluster.one)
            await open_room(cluster, "near", cluster.two)
            ward = Ward()
            async with (
                somebody(cluster.two, "far", "ann"),
                somebody(cluster.two, "far", "bot", "agent"),
                somebody(cluster.two, "near", "bob"),
                lab_at(cluster.two) as lab,
            ):
                poller = Poller(lab.gateway, ward.publish, chance=Soonest())
                polling = asyncio.create_task(poller.run())
                try:
                    everybody = {"far": ["ann", "bot"], "near": ["bob"]}
                    await eventually(lambda: ward.everybody() == everybody and ward.room("far").dispatches)
                    poller.watch([*ward.last.rooms], ward.room("far").sid)
                    good = ward.last
                    with away:
                        went_at, before = time.time(), len(ward.snapshots)

                        def failed() -> list[Failure]:
                            seen = [s.failure for s in ward.snapshots[before:] if s.failure is not None]
                            return seen if len(seen) >= 2 and time.time() - went_at > AWAY_S else []

                        failures = await eventually(failed, 60.0)
                        assert ward.last.failure is not None
                        # livekit-server's own words where it answers in time, ours where it doesn't.
                        words = {FailureKind.SERVER: "could not get rooms", FailureKind.UNREACHABLE: "did not answer"}
                        assert all(words[failure.kind] in failure.message for failure in failures), failures
                        assert ward.everybody() == everybody
                        assert ward.last.listed_at is not None
                        assert ward.last.at - ward.last.listed_at > (time.time() - went_at) / 2
                        assert good.rooms.keys() == ward.last.rooms.keys()
                    back = len(ward.snapshots)
                    # What is under way when Redis returns may still fail, and take 10 s for that.
                    await eventually(lambda: any(s.failure is None for s in ward.snapshots[back:]), 20.0)
                    for snapshot in ward.snapshots:
                        assert ward.ghosts(snapshot) == set(), how
                finally:
                    polling.cancel()
                    await asyncio.gather(polling, return_exceptions=True)

    async with asyncio.TaskGroup() as group:
        for how in ("stopped", "frozen"):
            group.create_task(scenario(tmp_path / how, how))


async def test_a_room_that_goes_on_where_no_list_shows_it_is_only_said_to_be_gone_from_the_list(
    tmp_path: Path,
) -> None:
    with LabCluster(tmp_path) as cluster:
        await open_room(cluster, "split", cluster.one)
        async with (
            await join(cluster.one, "split", "ann", can_update_own_metadata=True) as ann,
            lab_at(cluster.two) as lab,
        ):
            here = await lab.picture("split")
            # A node that hangs is as dead to the cluster as one that was killed, and its people are still connected.
            with frozen(cluster.one.process):
                for _ in range(2):
                    with pytest.raises(Exception, match="no response"):
                        await lab.gateway.list_dispatches(Name.of("split"))
                repaired = await lab.do(Action.REPAIR_ROOM, replace(here, ghost_since=here.checked_at))
                assert await lab.rooms("split") == []
            said = [step.text for step in repaired.steps]
            assert repaired.outcome is Outcome.CONFIRMED, said
            assert said[-1] == "confirmed: gone from the list, and did not come back"

            async def answered() -> bool:
                # Her own picture of herself is what her node sends her.
                me = ann.room.local_participant
                await me.set_attributes({"still": "here"})
                return me.attributes.get("still") == "here"

            # Nobody has put her out; the node that goes on may even list the room again.
            goes_on: bool = await eventually(answered)
            assert goes_on
            assert ann.disconnected is None
