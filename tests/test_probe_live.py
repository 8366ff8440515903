"""Probes on the real server: who answers, what that tells, and that an agent which hangs or dies is seen to."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from livekit import rtc

from tests.fake_gateway import Screen, running
from tests.lab.people import join
from tests.lab.server import LabServer
from tests.lab.waiting import eventually
from tests.lab.worker import LabWorker
from tests.test_poller_live import room_on
from tui.gateway.client import PROBE, Gateway
from tui.gateway.errors import AuthenticationError, NoResponseError, ServerFailedError
from tui.gateway.poller import Poller
from tui.model.causes import Cause
from tui.model.closes import CloseBook
from tui.model.evidence import Fact, Source
from tui.model.room import Participant, Room
from tui.model.secret import Secret
from tui.model.signs import Sign, SignCode, Thresholds, signs
from tui.model.snapshot import Snapshot
from tui.model.text import Name

NOBODY = Name.of("nobody")


def reading(server: LabServer, secret: str = "") -> Gateway:
    """A gateway that could change nothing."""
    return Gateway(server.url, server.api_key, Secret(secret or server.api_secret), read_only=True)


async def agent_in(gateway: Gateway, room: Name) -> Participant:
    """The room's agent, once it listens and has published its voice."""

    async def there() -> list[Participant]:
        return [p for p in await gateway.list_participants(room) if p.agent is not None and p.agent.state and p.tracks]

    found: list[Participant] = await eventually(there, 60.0)
    return found[0]


async def answers(gateway: Gateway, room: str, identity: str) -> bool:
    """One probe's outcome, once there is a data channel to ask through."""

    async def outcome() -> list[bool]:
        try:
            return [await gateway.probe(Name.of(room), Name.of(identity))]
        except ServerFailedError:
            return []

    found: list[bool] = await eventually(outcome)
    return found[0]


# One probe


async def test_a_person_answers_though_nobody_has_the_method(lab_server: LabServer, room_name: str) -> None:
    async with reading(lab_server) as gateway, await join(lab_server, room_name, "ann [/b]"):
        assert await answers(gateway, room_name, "ann [/b]")


async def test_whoever_has_the_method_answers_by_whatever_it_says(lab_server: LabServer, room_name: str) -> None:
    async with reading(lab_server) as gateway, await join(lab_server, room_name, "ann") as ann:

        async def answer(_: rtc.RpcInvocationData) -> str:
            return "here"

        async def refuse(_: rtc.RpcInvocationData) -> str:
            raise rtc.RpcError(403, "not for you")

        async def break_down(_: rtc.RpcInvocationData) -> str:
            raise RuntimeError("a bug")

        for says in (answer, refuse, break_down):
            ann.room.local_participant.register_rpc_method(PROBE, says)
            assert await answers(gateway, room_name, "ann"), says


async def test_one_whose_code_takes_the_request_and_never_answers_is_silent(
    lab_server: LabServer, room_name: str
) -> None:
    async with reading(lab_server) as gateway, await join(lab_server, room_name, "ann") as ann:
        enough = asyncio.Event()

        async def ponder(_: rtc.RpcInvocationData) -> str:
            await enough.wait()
            return ""

        ann.room.local_participant.register_rpc_method(PROBE, ponder)
        assert not await answers(gateway, room_name, "ann")
        enough.set()


async def test_nobody_nowhere_and_a_wrong_secret_prove_nothing(lab_server: LabServer, room_name: str) -> None:
    async with reading(lab_server) as gateway, await join(lab_server, room_name, "ann"):
        began = time.monotonic()
        calls = (gateway.probe(Name.of(room_name), NOBODY), gateway.probe(Name.of("no-such-room"), NOBODY))
        for error in await asyncio.gather(*calls, return_exceptions=True):
            assert isinstance(error, NoResponseError)
        assert 2.5 < time.monotonic() - began < 8.0
    async with reading(lab_server, secret="another-secret-another-secret-another") as gateway:
        with pytest.raises(AuthenticationError):
            await gateway.probe(Name.of(room_name), NOBODY)


async def test_a_probe_leaves_an_agent_as_it_was(lab_server: LabServer, lab_worker: LabWorker, room_name: str) -> None:
    room = Name.of(room_name)
    async with reading(lab_server) as gateway, await join(lab_server, room_name, "ann"):
        await lab_worker.wait_for("ready", room=room_name)
        before = await agent_in(gateway, room)
        log = lab_worker.process.log.read_bytes()
        for _ in range(50):
            assert await gateway.probe(room, before.identity)
        assert await agent_in(gateway, room) == before
        assert PROBE.encode() not in lab_worker.process.log.read_bytes().removeprefix(log)


# An agent that hangs, and one that dies


class Ward:
    """One room under watch by a read-only poller, as if it were open on the screen."""

    def __init__(self, gateway: Gateway, room: str) -> None:
        self.book = CloseBook()
        self.screen = Screen()
        self._room = room
        self._poller = Poller(gateway, self._publish, interval_s=0.5)

    async def _publish(self, snapshot: Snapshot) -> None:
        await self.screen.publish(snapshot)
        for _ in self.book.absorb(snapshot):
            pass
        if (room := self.room) is not None:
            self._poller.watch([room.sid], room.sid)

    @property
    def poller(self) -> Poller:
        return self._poller

    @property
    def room(self) -> Room | None:
        return room_on(self.screen, self._room)

    def answered(self) -> float | None:
        """When the agent answered last."""
        room = self.room
        return next((agent.facts.answered_at for agent in room.agents), None) if room is not None else None

    def sign(self, code: SignCode) -> Sign | None:
        """What the screen would say of the room."""
        room = self.room
        found = signs(room, time.time(), Thresholds()) if room is not None else ()
        return next((sign for sign in found if sign.code is code), None)

    async def answers(self) -> None:
        """Wait until the agent has answered once more."""
        since = time.time()
        await eventually(lambda: (self.answered() or 0.0) > since, 60.0)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[LabServer]:
    """A server of this test's own, to which no other agents come."""
    with LabServer(tmp_path) as server:
        yield server


@pytest.fixture
def worker(server: LabServer, tmp_path: Path) -> Iterator[LabWorker]:
    """A worker of this test's own, whose agents don't run the helper."""
    with LabWorker(server, tmp_path, helper=False) as worker:
        yield worker


def jobs_of(worker: LabWorker) -> list[int]:
    """The processes of the worker's jobs: all of its group but itself."""
    leader = worker.process.pid
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(ProcessLookupError):
            if entry.name.isdigit() and os.getpgid(int(entry.name)) == leader:
                found.append(int(entry.name))
    return [pid for pid in found if pid != leader]


def send(number: signal.Signals, pids: list[int]) -> None:
    assert pids
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


async def test_an_agent_that_hangs_shows_within_seconds_and_its_recovery_too(
    server: LabServer, worker: LabWorker, room_name: str
) -> None:
    async with reading(server) as gateway, await join(server, room_name, "ann"):
        await worker.wait_for("ready", room=room_name)
        ward = Ward(gateway, room_name)
        async with running(ward.poller):
            await ward.answers()
            assert ward.sign(SignCode.SILENT) is None
            pids = jobs_of(worker)
            hung_at = time.time()
            send(signal.SIGSTOP, pids)
            try:
                sign = await eventually(lambda: ward.sign(SignCode.SILENT), 20.0)
                # On an idle machine within 8 s: up to 4 s until it is asked, and twice 2 s of silence.
                assert time.time() - hung_at < 15.0
                assert sign is not None
                assert sign.since is not None
                assert sign.since >= (ward.answered() or 0.0)
                assert hung_at <= sign.since < hung_at + 8.0
                assert ward.poller.probe_status.words == "1 agent silent"
                assert ward.room is not None
                (agent,) = ward.room.agents
                # All that LiveKit itself says of it is that it listens.
                assert (agent.state, agent.participant.state.value) == ("listening", "active")
            finally:
                send(signal.SIGCONT, pids)
            await eventually(lambda: ward.sign(SignCode.SILENT) is None, 20.0)
            await ward.answers()
            assert ward.poller.probe_status.words == "0 agents silent"
            assert not ward.book.events


async def test_an_agent_that_dies_shows_long_before_livekit_gives_it_up_and_is_told_from_one_that_left(
    server: LabServer, worker: LabWorker, room_name: str
) -> None:
    async with reading(server) as gateway, await join(server, room_name, "ann"):
        await worker.wait_for("ready", room=room_name)
        ward = Ward(gateway, room_name)
        async with running(ward.poller):
            await ward.answers()
            died_at = time.time()
            send(signal.SIGKILL, jobs_of(worker))
            await eventually(lambda: ward.sign(SignCode.SILENT), 20.0)
            assert time.time() - died_at < 15.0
            await eventually(lambda: ward.book.events, 60.0)
        assert time.time() - died_at > 15.0
        (event,) = ward.book.events
        assert event.cause is Cause.AGENT_LOST
        assert (Source.PROBE, Fact.NOT_ANSWERING) in {(piece.source, piece.fact) for piece in event.evidence}


async def test_an_agent_that_leaves_is_not_taken_for_a_dead_one(
    lab_server: LabServer, lab_worker: LabWorker, room_name: str
) -> None:
    room = Name.of(room_name)
    async with reading(lab_server) as gateway, await join(lab_server, room_name, "ann") as ann:
        ward = Ward(gateway, room_name)
        async with running(ward.poller):
            agent = await agent_in(gateway, room)
            await ward.answers()
            await lab_worker.wait_for("ready", room=room_name)
            await ann.room.local_participant.perform_rpc(
                destination_identity=agent.identity.raw, method="lab.shutdown", payload="done"
            )
            await eventually(lambda: ward.book.events)
            assert ward.sign(SignCode.SILENT) is None
        (event,) = ward.book.events
        assert Cause.AGENT_LOST not in (event.cause, *event.verdict.could_be)
