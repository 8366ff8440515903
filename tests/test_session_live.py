"""Looking into real agents' sessions, on a real server: what is said and done there, and whether they still answer."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from livekit import api
from livekit.protocol import room as room_pb

from tests.lab.people import LabPerson, join
from tests.lab.server import LabServer
from tests.lab.waiting import eventually
from tests.lab.worker import LabWorker
from tui.config import Sources
from tui.model.room import OBSERVER_PREFIX, Room
from tui.model.secret import Secret
from tui.model.session import Entry, EntryKind, Health, SessionView, ToolStatus
from tui.model.snapshot import Snapshot
from tui.settings import Connection
from tui.watch import Inspection, Watch

WORDS = (EntryKind.USER, EntryKind.AGENT, EntryKind.TOOL, EntryKind.HANDOFF)


class Call:
    """A room with alice and a scripted agent, watched, whose agent's session is looked into."""

    def __init__(self, watch: Watch, server: LabServer, name: str, alice: LabPerson, pid: int) -> None:
        self.watch = watch
        self.server = server
        self.name = name
        self.alice = alice
        self.pid = pid
        self.pictures: list[tuple[float, SessionView]] = []
        self.snapshot = Snapshot()
        self.inspection: Inspection | None = None

    @property
    def view(self) -> SessionView:
        return self.pictures[-1][1] if self.pictures else SessionView()

    @property
    def room(self) -> Room:
        return next(room for room in self.snapshot.rooms.values() if room.name.raw == self.name)

    @property
    def said(self) -> list[Entry]:
        """What was said and done, without what only livekit-agents tells itself."""
        return [entry for entry in self.view.entries if entry.kind in WORDS]

    def look(self, view: SessionView) -> None:
        self.pictures.append((time.monotonic(), view))

    def open(self) -> Inspection:
        (agent,) = self.room.agents
        inspection = self.watch.inspect(self.room, agent.participant.sid, self.look)
        assert inspection is not None
        self.inspection = inspection
        return inspection

    async def stands(self, health: Health, seconds: float = 20.0) -> float:
        """When the session was first seen to stand so, by the monotonic clock."""
        await eventually(lambda: self.view.health is health, seconds)
        since = next(at for at, view in reversed(self.pictures) if view.health is not health)
        return next(at for at, view in self.pictures if at > since)

    async def code(self, method: str, payload: str = "") -> None:
        """Have the agent's own code act (`tests/lab/agent_main.py`)."""
        (agent,) = self.room.agents
        request = room_pb.PerformRpcRequest(
            room=self.name,
            destination_identity=agent.participant.identity.raw,
            method=f"lab.{method}",
            payload=payload,
            response_timeout_ms=10_000,
        )
        async with self.server.client() as livekit:
            header = livekit.room._auth_header(api.VideoGrants(room_admin=True, room=self.name))
            await livekit.room._client.request("RoomService", "PerformRpc", request, header, room_pb.PerformRpcResponse)

    async def hidden(self) -> list[str]:
        """The identities of our observers in the room."""
        here = await self.watch.gateway.list_participants(self.room.name)
        return [who.identity.raw for who in here if who.is_our_observer]


@asynccontextmanager
async def calling(
    server: LabServer, worker: LabWorker, name: str, *, read_only: bool = False, metadata: str = '{"llm": "scripted"}'
) -> AsyncIterator[Call]:
    async with server.client() as livekit:
        await livekit.room.create_room(api.CreateRoomRequest(name=name, metadata=metadata))
    connection = Connection(server.url, server.api_key, Secret(server.api_secret), "lab", "the lab")
    calls: list[Call] = []

    def on_snapshot(snapshot: Snapshot) -> None:
        for call in calls:
            call.snapshot = snapshot

    sources = Sources(0.3, 60_000, observe=0)
    watch = Watch(connection, sources, on_snapshot=on_snapshot, on_closes=lambda _: None, read_only=read_only)
    async with await join(server, name, "alice") as alice, watch:
        ready = await worker.wait_for("ready", room=name)
        call = Call(watch, server, name, alice, int(str(ready["pid"])))
        calls.append(call)
        running = asyncio.create_task(watch.run())
        try:
            await eventually(lambda: call.snapshot.rooms and call.room.agents)
            yield call
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


def texts(entries: list[Entry]) -> list[tuple[str, str]]:
    return [(entry.kind.value, entry.text or (entry.tool.name if entry.tool is not None else "")) for entry in entries]


async def test_a_conversation_appears_live_and_complete_with_what_was_said_before(
    lab_server: LabServer, lab_worker: LabWorker, room_name: str
) -> None:
    async with calling(lab_server, lab_worker, room_name) as call:
        first = call.open()
        await call.stands(Health.ANSWERING)
        await first.say("good morning")
        await eventually(lambda: len(call.said) >= 3)
        first.close()
        await call.open().say("order 7")
        await call.stands(Health.ANSWERING)
        await eventually(lambda: len(call.said) == 6)
        assert call.inspection is not None
        await call.inspection.say("book")
        await eventually(lambda: len(call.said) == 9)
        await call.inspection.say("colleague")
        await eventually(lambda: call.view.agent.id == "colleague" and call.view.agent.instructions)
        print(*call.view.entries, sep="\n")
        print(call.view)
