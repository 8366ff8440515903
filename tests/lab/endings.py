"""Every way a session can end, done for real, and what lk-tui makes of it with each set of sources.

For each ending two rooms are opened on a real livekit-server, one whose agent has the helper and one whose agent
hasn't; several watches look at the same rooms at the same time, each with sources of its own. `run` returns what each
watch came to. `python -m tests.record_endings` keeps it for the tests that need no server.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
import uuid
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

from livekit import api
from livekit.protocol import room as room_pb

from tests.lab.people import LabPerson, join
from tests.lab.server import LabServer, free_port
from tests.lab.waiting import eventually
from tests.lab.worker import LabWorker
from tui.config import Sources
from tui.control.control import Control
from tui.control.plan import plan
from tui.gateway.client import Gateway
from tui.model.action import Action, ActionRecord
from tui.model.closes import CloseEvent
from tui.model.patience import Patience
from tui.model.room import Agent, Room
from tui.model.secret import Secret
from tui.model.snapshot import Snapshot
from tui.settings import Connection
from tui.watch import Watch

OPERATOR = "mira@ops1"
INTERVAL_S = 1.0
BUDGET = 60_000
EMPTY_S = 35
"""The rooms' empty_timeout: a room that nobody joins closes after this."""
AT_ONCE = 6
"""Rooms whose agents start at the same time: each is a process, and the machine may have two cores."""
QUIET_S = 12.0
"""After nothing more was learned for so long, nothing will be: a silent session is noticed within 9 s."""
LOST_S = 45.0
"""LiveKit lists a dead agent for 21 s."""

POLLING, WEBHOOKS, OBSERVER = "polling", "polling, webhooks", "polling, observer"
WATCHES = (POLLING, WEBHOOKS, OBSERVER)
"""The sets of sources; the probe belongs to polling, and the helper to the agent."""


class Scene:
    """One room with its agent and its person, and what can be done to them."""

    def __init__(self, stage: Stage, worker: LabWorker, name: str) -> None:
        self.stage = stage
        self.worker = worker
        self.name = name
        self.person: LabPerson | None = None
        self.sid = ""
        self.agent_sid = ""

    async def say(self, method: str, payload: str = "") -> None:
        """Have the agent's own code act, by one of the methods of `tests/lab/agent_main.py`."""
        request = room_pb.PerformRpcRequest(
            room=self.name,
            destination_identity=self.agent().participant.identity.raw,
            method=f"lab.{method}",
            payload=payload,
            response_timeout_ms=30_000,
        )
        service = self.stage.livekit.room
        header = service._auth_header(api.VideoGrants(room_admin=True, room=self.name))

        async def deliver() -> str:
            try:
                await service._client.request("RoomService", "PerformRpc", request, header, room_pb.PerformRpcResponse)
            except api.TwirpError as error:
                # On a busy machine an agent is listed before the server can deliver anything to it.
                if error.status == 500:
                    return ""
                # One that leaves upon what it is told may be gone before its answer is.
                if error.status != 404:
                    raise
            return method

        done: str = await eventually(deliver)
        assert done == method

    async def act(self, action: Action) -> None:
        """Have the operator act, as the dashboard would."""
        aimed_at_agent = action not in (Action.DELETE_ROOM, Action.TEAR_DOWN)
        made = plan(action, self.room(), self.agent_sid if aimed_at_agent else None, time.time())
        assert not made.blocked, made.blocked
        await self.stage.control.carry_out(made)

    def room(self) -> Room:
        """The room as the first watch has it."""
        return self.stage.pictures[POLLING].rooms[self.sid]

    def agent(self) -> Agent:
        agent = self.room().agent(self.agent_sid)
        assert agent is not None
        return agent

    async def leave(self) -> None:
        assert self.person is not None
        await self.person.leave()


@dataclass(frozen=True)
class Ending:
    """One way to end: `end` does it. `alone`: nobody but the agent is there. `doomed`: it takes a whole worker."""

    name: str
    end: Callable[[Scene], Awaitable[object]]
    metadata: Mapping[str, str] = field(default_factory=dict)
    alone: bool = False
    doomed: bool = False
    helper_only: bool = False


async def _room_deleted(scene: Scene) -> None:
    await scene.stage.livekit.room.delete_room(api.DeleteRoomRequest(room=scene.name))


async def _kicked(scene: Scene) -> None:
    who = api.RoomParticipantIdentity(room=scene.name, identity=scene.agent().participant.identity.raw)
    await scene.stage.livekit.room.remove_participant(who)


async def _dispatch_deleted(scene: Scene) -> None:
    dispatch = scene.agent().dispatch
    assert dispatch is not None
    await scene.stage.livekit.agent_dispatch.delete_dispatch(dispatch.id, scene.name)


async def _room_left_empty(scene: Scene) -> None:
    """Nothing is done: nobody ever joins, and LiveKit closes the room."""


async def _worker_killed(scene: Scene) -> None:
    scene.worker.stop()


async def _worker_drained(scene: Scene) -> None:
    os.kill(scene.worker.process.pid, signal.SIGTERM)
    await eventually(lambda: b"draining worker" in scene.worker.process.log.read_bytes())
    # Its agents stay until their sessions end, and this one's ends with its caller.
    await scene.leave()


def _by_operator(action: Action) -> Callable[[Scene], Awaitable[object]]:
    return lambda scene: scene.act(action)


ENDINGS = (
    Ending("the operator closes the session", _by_operator(Action.CLOSE_SESSION), helper_only=True),
    Ending("the operator shuts the job down", _by_operator(Action.SHUT_DOWN_JOB)),
    Ending("the operator kicks the agent", _by_operator(Action.KICK)),
    Ending("the operator deletes the room", _by_operator(Action.DELETE_ROOM)),
    Ending("the operator tears the room down", _by_operator(Action.TEAR_DOWN)),
    Ending("the agent's code closes the session", lambda scene: scene.say("aclose")),
    Ending("the agent's code shuts the job down", lambda scene: scene.say("shutdown", "goodbye said")),
    Ending("somebody deletes the dispatch", _dispatch_deleted),
    Ending("somebody kicks the agent", _kicked),
    Ending("somebody deletes the room", _room_deleted),
    Ending("the user leaves", Scene.leave),
    Ending("the model fails four times", lambda scene: scene.say("reply", "4"), {"llm": "broken"}),
    Ending("nobody joins, and the room closes", _room_left_empty, alone=True),
    Ending("the worker is killed", _worker_killed, doomed=True),
    Ending("the worker drains, and the user leaves", _worker_drained, doomed=True),
)

Key = tuple[str, bool, str]
"""An ending's name, whether the agent has the helper, and the set of sources."""


class Stage:
    """A server with workers, the watches that look at it, and an operator whose deeds every watch knows."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.pictures: dict[str, Snapshot] = {name: Snapshot() for name in WATCHES}
        self.watches: dict[str, Watch] = {}
        self._open = AsyncExitStack()
        self._starting = asyncio.Semaphore(AT_ONCE)
        self._learned_at: dict[tuple[str, str], float] = {}

    async def __aenter__(self) -> Stage:
        port = free_port()
        server = LabServer(self.directory, webhook_urls=[f"http://127.0.0.1:{port}/"])
        self.server = self._open.enter_context(server)
        self.livekit = await self._open.enter_async_context(server.client())
        sources = {
            POLLING: Sources(INTERVAL_S, BUDGET, observe=0, inspect=False),
            WEBHOOKS: Sources(INTERVAL_S, BUDGET, observe=0, inspect=False, webhook=("127.0.0.1", port)),
            OBSERVER: Sources(INTERVAL_S, BUDGET, observe=100, inspect=False),
        }
        secret = Secret(server.api_secret)
        connection = Connection(server.url, server.api_key, secret, "lab", "the lab")
        for name in WATCHES:
            self.watches[name] = await self._open.enter_async_context(self._watch(name, connection, sources[name]))
        gateway = await self._open.enter_async_context(Gateway(server.url, server.api_key, secret))
        self.control = Control(gateway, OPERATOR, self._take_record, patience=Patience(watch_name_s=2.0))
        polling = await self._open.enter_async_context(asyncio.TaskGroup())
        tasks = [polling.create_task(watch.run()) for watch in self.watches.values()]
        self._open.callback(lambda: [task.cancel() for task in tasks])
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._open.aclose()

    def _watch(self, name: str, connection: Connection, sources: Sources) -> Watch:
        def on_snapshot(snapshot: Snapshot) -> None:
            self.pictures[name] = snapshot
            self.watches[name].look_at(tuple(snapshot.rooms), None)
            self.watches[name].observe(tuple(snapshot.rooms))

        def on_closes(events: Sequence[CloseEvent]) -> None:
            for event in events:
                self._learned_at[name, event.participant_sid] = time.monotonic()

        return Watch(connection, sources, on_snapshot=on_snapshot, on_closes=on_closes)

    def _take_record(self, record: ActionRecord) -> None:
        for watch in self.watches.values():
            watch.take_record(record)

    # The workers

    def worker(self, name: str, *, helper: bool) -> LabWorker:
        """A worker of this agent name, until the stage is left."""
        return LabWorker(self.server, self.directory, agent_name=name, helper=helper)

    async def start(self, workers: Iterable[LabWorker]) -> None:
        """Start them all at once: warming up takes each some 8 s."""
        await asyncio.gather(*(asyncio.to_thread(worker.start) for worker in workers))
        for worker in workers:
            self._open.callback(worker.stop)

    # One ending

    async def play(self, ending: Ending, worker: LabWorker) -> dict[Key, CloseEvent | None]:
        """Open a room with this worker's agent, end it, and wait until nobody learns any more."""
        scene = Scene(self, worker, f"{ending.name.replace(' ', '-')}-{uuid.uuid4().hex[:6]}")
        async with self._starting:
            await self._open_scene(scene, ending)
        await ending.end(scene)
        await self._learn(ending, scene)
        if scene.person is not None:
            await scene.person.leave()
        return {
            (ending.name, worker.helper, name): watch.close_of(scene.agent_sid) for name, watch in self.watches.items()
        }

    async def _open_scene(self, scene: Scene, ending: Ending) -> None:
        dispatch = api.RoomAgentDispatch(agent_name=scene.worker.agent_name)
        metadata = json.dumps(dict(ending.metadata))
        request = api.CreateRoomRequest(name=scene.name, metadata=metadata, agents=[dispatch], empty_timeout=EMPTY_S)
        scene.sid = (await self.livekit.room.create_room(request)).sid
        if not ending.alone:
            scene.person = await join(self.server, scene.name, "alice")
        await scene.worker.wait_for("ready", room=scene.name, timeout=60.0)
        if not ending.alone:
            # Until then its session has no user who could leave; livekit-agents finds one some time after it is ready.
            await eventually(lambda: scene.worker.has_logged("RoomIO linked to participant", scene.name), 60.0)

        def seen_by_all() -> bool:
            for picture in self.pictures.values():
                room = picture.rooms.get(scene.sid)
                if room is None or not any(who.is_our_observer for who in room.participants or ()):
                    return False
                agents = room.agents
                # A job is listed up to 5 s late, and a probe has to come round.
                if [(a.job is not None, a.facts.answered_at is not None) for a in agents] != [(True, True)]:
                    return False
                scene.agent_sid = agents[0].participant.sid
            return True

        await eventually(seen_by_all, 60.0)

    async def _learn(self, ending: Ending, scene: Scene) -> None:
        ended_at = time.monotonic()
        patience = LOST_S if ending.doomed else QUIET_S

        def quiet() -> bool:
            learned = [self._learned_at.get((name, scene.agent_sid)) for name in WATCHES]
            now = time.monotonic()
            known = [at for at in learned if at is not None]
            waited = now - ended_at >= (EMPTY_S + QUIET_S if ending.alone else patience)
            # Without the helper some ends can't be seen by everybody, however long one waits.
            return (waited or len(known) == len(learned)) and now - max(known, default=ended_at) >= QUIET_S

        await eventually(quiet, 120.0)


async def run(directory: Path) -> dict[Key, CloseEvent | None]:
    """Play all endings; what each watch knows of each agent's end, None where it saw none."""
    async with Stage(directory) as stage:
        workers = {
            (name, helper): stage.worker(f"{name}-{'helped' if helper else 'plain'}", helper=helper)
            for name in ("lab", "killed")
            for helper in (True, False)
        }
        await stage.start(workers.values())
        result: dict[Key, CloseEvent | None] = {}

        async def play(endings: Iterable[Ending], worker: str) -> None:
            async with asyncio.TaskGroup() as group:
                plays = [
                    group.create_task(stage.play(ending, workers[worker, helper]))
                    for ending in endings
                    for helper in (True, False)
                    if helper or not ending.helper_only
                ]
            for played in plays:
                result.update(played.result())

        killed, drained = (ending for ending in ENDINGS if ending.doomed)
        usual = [ending for ending in ENDINGS if not ending.doomed]
        await asyncio.gather(play(usual, "lab"), play([killed], "killed"))
        # A worker that drains takes no more jobs.
        await play([drained], "lab")
        return result
