"""A LiveKit in memory that records every call: for pacing, faults and scale.

Everything that the real server can show is tested against the real server instead.
"""

import asyncio
import random
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import pairwise
from typing import NamedTuple

import pytest
from livekit.protocol import models as models_pb

from tests.virtual_time import seconds
from tui.gateway.errors import UnreachableError
from tui.gateway.poller import Poller
from tui.model.room import AgentFacts, Dispatch, Job, Kind, Participant, ParticipantState
from tui.model.snapshot import Snapshot
from tui.model.text import Name

ROOMS, PARTICIPANTS, DISPATCHES, PROBE = "ListRooms", "ListParticipants", "ListDispatch", "PerformRpc"
SILENCE_S = 2.0
"""How long LiveKit waits for an agent that doesn't answer."""
EPOCH = 1_700_000_000.0
"""What the wall clock reads when the virtual one reads 0."""


def wall_clock() -> float:
    """The virtual clock's time as seconds since 1970."""
    return EPOCH + seconds()


class Call(NamedTuple):
    """One request: what was asked, of which room (by name, empty for ListRooms; a probe's is `room/identity`), when."""

    method: str
    room: str
    at: float


REFUSED = UnreachableError("refused: is livekit-server running there?")


class FakeGateway:
    """Answers at once unless told otherwise; SIDs are `RM_` and the room's name.

    `errors` and `delays` are by (method, room name): what to raise, and how many seconds to take before anything.
    `silent` are identities of agents that answer no probe.
    """

    def __init__(self, rooms: Iterable[str] = ()) -> None:
        self.calls: list[Call] = []
        self.errors: dict[tuple[str, str], Exception] = {}
        self.delays: dict[tuple[str, str], float] = {}
        self.rooms: dict[str, models_pb.Room] = {}
        self.participants: dict[str, tuple[Participant, ...]] = defaultdict(tuple)
        self.dispatches: dict[str, tuple[Dispatch, ...]] = defaultdict(tuple)
        self.silent: set[str] = set()
        self.most_under_way = 0
        self.skew_s = 0.0
        self._under_way: list[tuple[str, str]] = []
        for name in rooms:
            self.add(name)

    @property
    def requests_sent(self) -> int:
        return len(self.calls)

    @property
    def requests_last_minute(self) -> int:
        now = seconds()
        return sum(1 for call in self.calls if call.at > now - 60.0)

    def add(self, name: str, *participants: Participant) -> None:
        self.rooms[name] = models_pb.Room(sid=f"RM_{name}", name=name)
        self.participants[name] = participants

    def asked(self, method: str, room: str | None = None) -> list[float]:
        """When a method was called, for this room or any."""
        return [call.at for call in self.calls if call.method == method and room in (None, call.room)]

    async def list_room_messages(self) -> tuple[bytes, ...]:
        await self._answer(ROOMS, "")
        return tuple(room.SerializeToString() for room in self.rooms.values())

    async def list_participants(self, room: Name) -> tuple[Participant, ...]:
        await self._answer(PARTICIPANTS, room.raw)
        return tuple(replace(participant) for participant in self.participants[room.raw])

    async def list_dispatches(self, room: Name) -> tuple[Dispatch, ...]:
        await self._answer(DISPATCHES, room.raw)
        return self.dispatches[room.raw]

    async def probe(self, room: Name, identity: Name) -> bool:
        answers = identity.raw not in self.silent
        await self._answer(PROBE, f"{room.raw}/{identity.raw}", 0.0 if answers else SILENCE_S)
        return answers

    async def _answer(self, method: str, room: str, takes: float = 0.0) -> None:
        asked = (method, room)
        assert asked not in self._under_way, f"{asked} was asked twice at a time"
        self.calls.append(Call(method, room, seconds()))
        self._under_way.append(asked)
        self.most_under_way = max(self.most_under_way, len(self._under_way))
        try:
            await asyncio.sleep(self.delays.get(asked, takes))
            if (error := self.errors.get(asked)) is not None:
                raise error
        finally:
            self._under_way.remove(asked)


class Screen:
    """Takes what is published, as the user interface does."""

    def __init__(self) -> None:
        self.snapshots: list[Snapshot] = []

    async def publish(self, snapshot: Snapshot) -> None:
        self.snapshots.append(snapshot)

    @property
    def last(self) -> Snapshot:
        return self.snapshots[-1]


@asynccontextmanager
async def running(poller: Poller) -> AsyncIterator[None]:
    """Let it run meanwhile, and cancel it then: that, and only that, must end it."""
    task = asyncio.create_task(poller.run())
    try:
        yield
    finally:
        assert not task.done()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


def person(identity: str) -> Participant:
    """Somebody at a browser."""
    return Participant(f"PA_{identity}", Name.of(identity), Kind.STANDARD, ParticipantState.ACTIVE, EPOCH)


def agent(identity: str, state: str = "listening") -> Participant:
    """An agent in a state."""
    return Participant(
        f"PA_{identity}", Name.of(identity), Kind.AGENT, ParticipantState.ACTIVE, EPOCH, agent=AgentFacts(state=state)
    )


def dispatch_of(identity: str) -> Dispatch:
    """The dispatch that brought this agent."""
    return Dispatch(f"AD_{identity}", Name.of(""), (Job(f"AJ_{identity}", Name.of(identity), "AW_1", "running"),))


def poller_of(gateway: FakeGateway, screen: Screen | None = None, budget: int = 600) -> Poller:
    publish = (screen or Screen()).publish
    return Poller(gateway, publish, budget=budget, clock=wall_clock, chance=random.Random(1))  # noqa: S311 - repeatable


async def run_for(poller: Poller, duration: float) -> None:
    """Let it run for this long, then cancel it."""
    async with running(poller):
        await asyncio.sleep(duration)


async def polls(poller: Poller, every: float = 2.0) -> Snapshot:
    """One cycle, and the pause after it."""
    snapshot = await poller.poll()
    await asyncio.sleep(every)
    return snapshot


def gaps(times: list[float]) -> list[float]:
    return [later - earlier for earlier, later in pairwise(times)]


def busiest_minute(times: list[float]) -> int:
    most = first = 0
    for last, at in enumerate(times):
        while times[first] <= at - 60.0:
            first += 1
        most = max(most, last - first + 1)
    return most
