"""Observers on a real server: they hear reasons at once, are nobody, hold nothing open, and leave nothing behind."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from livekit import api, rtc

from tests.lab.people import LabPerson, join
from tests.lab.server import LabServer
from tests.lab.waiting import come_true, eventually
from tests.lab.worker import LabWorker
from tui.gateway.client import Gateway
from tui.gateway.observer import OPENS_NO_ROOM, Observers
from tui.model.evidence import Evidence, Fact, Sighting, Source
from tui.model.room import OBSERVER_PREFIX, Room
from tui.model.secret import Secret
from tui.model.text import Name
from tui.observer import SESSION_TOPIC


class Observing:
    """Observers, and what they told."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.sightings: list[Sighting] = []
        self.touched: list[str] = []
        self.asked: list[str] = []
        self.believed = False
        self.observers: Observers

    async def room(self, name: str) -> Room:
        (found,) = await self.gateway.list_rooms([name])
        return found

    async def watch(self, *rooms: Room) -> None:
        """Watch these until all are joined."""
        words = f"{len(rooms)} room{'' if len(rooms) == 1 else 's'}"

        def joined() -> bool:
            self.observers.watch(rooms)
            return self.observers.status.words == words

        await eventually(joined)

    async def hidden(self, name: str) -> list[str]:
        """The identities of our observers in a room."""
        here = await self.gateway.list_participants(Name.of(name))
        return [who.identity.raw for who in here if who.identity.raw.startswith(OBSERVER_PREFIX) and who.hidden]

    async def is_there(self, room: Room) -> bool:
        """What the server says, unless that a room is there is to be believed."""
        return self.believed or any(now.sid == room.sid for now in await self.gateway.list_rooms([room.name.raw]))

    async def answers(self, room: Room, identity: Name) -> bool:
        self.asked.append(identity.raw)
        return await self.gateway.probe(room.name, identity)

    def evidence(self, fact: Fact) -> list[Evidence]:
        return [piece for sighting in self.sightings for piece in sighting.evidence if piece.fact is fact]


@asynccontextmanager
async def observing(server: LabServer, limit: int = 3) -> AsyncIterator[Observing]:
    async with Gateway(server.url, server.api_key, Secret(server.api_secret)) as gateway:
        shown = Observing(gateway)
        shown.observers = Observers(
            server.url,
            server.api_key,
            Secret(server.api_secret),
            shown.sightings.append,
            limit=limit,
            touched=shown.touched.append,
            is_there=shown.is_there,
            answers=shown.answers,
        )
        async with shown.observers:
            yield shown


@asynccontextmanager
async def passed_over(server: LabServer, shown: Observing, room: Room) -> AsyncIterator[None]:
    """Another room has been joined after the turn of this one, which by then was not."""
    name = f"{room.name.raw}-other"
    async with await join(server, name, "bob"):
        other = await shown.room(name)

        def other_is_joined() -> bool:
            shown.observers.watch([room, other])
            return shown.observers.status.on

        await eventually(other_is_joined, 60.0)
        yield


async def open_room(server: LabServer, name: str) -> None:
    """Open a room that no agent is sent to: one that is just starting would bring it back when it is deleted."""
    nobody = api.RoomAgentDispatch(agent_name="nobody")
    async with server.client() as livekit:
        await livekit.room.create_room(api.CreateRoomRequest(name=name, agents=[nobody]))


async def test_the_reason_for_which_somebody_left_is_heard(lab_server: LabServer, room_name: str) -> None:
    async with (
        observing(lab_server) as shown,
        await join(lab_server, room_name, "alice"),
        await join(lab_server, room_name, "bob"),
    ):
        await shown.watch(await shown.room(room_name))
        await shown.gateway.remove_participant(Name.of(room_name), Name.of("bob"))
        left = await eventually(lambda: shown.evidence(Fact.PERSON_LEFT))
    assert [(piece.source, piece.who, piece.reason) for piece in left] == [
        (Source.OBSERVER, "bob", "PARTICIPANT_REMOVED")
    ]


async def test_a_rooms_end_is_heard_with_its_reason_for_the_room_and_its_agent(
    lab_server: LabServer, lab_worker: LabWorker, room_name: str
) -> None:
    async with observing(lab_server) as shown, await join(lab_server, room_name, "alice"):
        await lab_worker.wait_for("ready", room=room_name)
        await shown.watch(await shown.room(room_name))
        lab_server.delete_room(room_name)
        await eventually(lambda: shown.evidence(Fact.ROOM_ENDED) and shown.evidence(Fact.AGENT_LEFT))
    assert {piece.reason for piece in shown.evidence(Fact.AGENT_LEFT)} == {"ROOM_DELETED"}
    assert {piece.reason for piece in shown.evidence(Fact.ROOM_ENDED)} == {"ROOM_DELETED"}


async def test_an_observer_is_nobody_and_holds_no_room_open(tmp_path: Path) -> None:
    with LabServer(tmp_path, departure_timeout=1) as server:
        async with observing(server) as shown:
            async with await join(server, "r", "alice"):
                room = await shown.room("r")
                await shown.watch(room)
                assert len(await shown.hidden("r")) == 1
                here = await shown.gateway.list_participants(Name.of("r"))
                assert [who.identity.raw for who in here if who.is_person] == ["alice"]

            async def gone() -> bool:
                return not await shown.gateway.list_rooms(["r"])

            await come_true(gone)
            (ended,) = await eventually(lambda: shown.evidence(Fact.ROOM_ENDED))
            assert ended.reason == "ROOM_CLOSED"


async def test_an_observer_is_not_counted(lab_server: LabServer, room_name: str) -> None:
    async with observing(lab_server) as shown, lab_server.client() as livekit:
        await livekit.room.create_room(api.CreateRoomRequest(name=room_name))
        await shown.watch(await shown.room(room_name))

        async def counted(people: int) -> bool:
            return (await shown.room(room_name)).reported_people == people

        async with await join(lab_server, room_name, "alice"):
            await come_true(lambda: counted(1))
        # The number lags by some seconds: one that counts the observer would stay at 1.
        await come_true(lambda: counted(0))
        assert len(await shown.hidden(room_name)) == 1


async def test_no_more_rooms_are_observed_than_allowed_and_others_are_left(
    lab_server: LabServer, room_name: str
) -> None:
    one, two = room_name, f"{room_name}-2"
    try:
        for name in (one, two):
            await open_room(lab_server, name)
        async with observing(lab_server, limit=1) as shown:
            first, second = await shown.room(one), await shown.room(two)
            await shown.watch(first)

            async def moved() -> bool:
                shown.observers.watch([second, first])
                return not await shown.hidden(one) and len(await shown.hidden(two)) == 1

            await come_true(moved)
    finally:
        lab_server.delete_room(two)


async def test_a_room_that_is_gone_is_not_brought_back(lab_server: LabServer, room_name: str) -> None:
    await open_room(lab_server, room_name)
    async with observing(lab_server) as shown:
        await shown.watch(room := await shown.room(room_name))
        lab_server.delete_room(room_name)
        await eventually(lambda: shown.evidence(Fact.ROOM_ENDED))
        shown.observers.watch([room])
        async with passed_over(lab_server, shown, room):
            assert not await shown.gateway.list_rooms([room_name])


async def test_a_room_that_ends_just_before_it_is_joined_is_not_brought_back(
    lab_server: LabServer, room_name: str
) -> None:
    await open_room(lab_server, room_name)
    async with observing(lab_server) as shown:
        room = await shown.room(room_name)
        lab_server.delete_room(room_name)
        shown.believed = True
        shown.observers.watch([room])
        await eventually(lambda: shown.observers.status.trouble)
        assert shown.observers.status.words.startswith(f"can't join {room_name}")
        assert not await shown.gateway.list_rooms([room_name])


async def test_a_room_that_was_brought_back_is_left_at_once_and_told_of(tmp_path: Path) -> None:
    server = LabServer(tmp_path)
    # So this server opens it after all, as one would that has no room configurations.
    server._room["room_configurations"] = {OPENS_NO_ROOM: {"empty_timeout": 77}}  # type: ignore[assignment]
    with server:
        async with observing(server) as shown:
            await open_room(server, "r")
            room = await shown.room("r")
            server.delete_room("r")
            shown.believed = True
            shown.observers.watch([room])
            await eventually(lambda: shown.observers.status.trouble)
            assert shown.observers.status.words == "joining brought r back, empty: it ends by itself in 77 s"
            assert shown.touched == [room.sid]
            assert shown.sightings == []

            async def left() -> bool:
                return not await shown.hidden("r")

            await come_true(left)


async def test_an_observer_in_another_room_of_the_same_name_leaves_at_once(
    lab_server: LabServer, room_name: str
) -> None:
    await open_room(lab_server, room_name)
    async with observing(lab_server) as shown:
        room = await shown.room(room_name)
        lab_server.delete_room(room_name)
        async with await join(lab_server, room_name, "bob"):
            shown.believed = True
            shown.observers.watch([room])
            await eventually(lambda: shown.touched == [room.sid])
            assert not shown.observers.status.on
            assert not shown.observers.status.trouble

            async def left() -> bool:
                return not await shown.hidden(room_name)

            await come_true(left)
        assert shown.sightings == []


async def test_an_observer_that_was_kicked_stays_out(
    lab_server: LabServer, room_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # So that it isn't only waiting for its next try.
    monkeypatch.setattr("tui.gateway.observer.SOON_S", 0.0)
    async with observing(lab_server) as shown, await join(lab_server, room_name, "alice"):
        await shown.watch(room := await shown.room(room_name))
        (identity,) = await shown.hidden(room_name)
        await shown.gateway.remove_participant(Name.of(room_name), Name.of(identity))
        await eventually(lambda: shown.observers.status.trouble)
        assert shown.observers.status.words == f"was put out of {room_name}"
        async with passed_over(lab_server, shown, room):
            assert shown.observers.status.words == f"1 room; was put out of {room_name}"
            assert not await shown.hidden(room_name)
        assert shown.sightings == []


async def test_when_the_server_dies_nobody_is_said_to_have_left(tmp_path: Path) -> None:
    with LabServer(tmp_path) as server:
        async with observing(server) as shown, await join(server, "r", "alice"):
            await shown.watch(await shown.room("r"))
            server.stop()
            await eventually(lambda: shown.touched, 60.0)
            assert not shown.observers.status.on
    assert shown.sightings == []


# An agent without the helper


class Call:
    """A room with alice and her agent, who is ready. `spoken` counts what the agent's session said to everybody."""

    def __init__(self, alice: LabPerson, agent: str) -> None:
        self.alice = alice
        self.agent = agent
        self.spoken = 0
        alice.room.register_byte_stream_handler(SESSION_TOPIC, self._on_session)

    def _on_session(self, _: rtc.ByteStreamReader, identity: str) -> None:
        self.spoken += identity == self.agent

    async def answered(self) -> None:
        """Wait until the session has answered the observer; from then on its silence means something."""
        before = self.spoken
        await eventually(lambda: self.spoken > before)

    async def code(self, method: str, payload: str = "") -> None:
        """Make the agent's own code do something (tests/lab/agent_main.py)."""
        perform = self.alice.room.local_participant.perform_rpc
        await perform(destination_identity=self.agent, method=f"lab.{method}", payload=payload)


@asynccontextmanager
async def call(
    server: LabServer, worker: LabWorker, name: str, metadata: dict[str, str] | None = None
) -> AsyncIterator[Call]:
    """One call, with this worker's agent, in a room with this metadata."""
    agents = [api.RoomAgentDispatch(agent_name=worker.agent_name)]
    async with server.client() as livekit:
        await livekit.room.create_room(
            api.CreateRoomRequest(name=name, metadata=json.dumps(metadata or {}), agents=agents)
        )
    async with await join(server, name, "alice") as alice:
        ready = await worker.wait_for("ready", room=name, timeout=60.0)
        yield Call(alice, str(ready["identity"]))


async def closed(shown: Observing) -> tuple[Evidence, Sighting]:
    """Wait until a session's close was seen."""
    (evidence,) = await eventually(lambda: shown.evidence(Fact.SESSION_CLOSED), 60.0)
    (sighting,) = (seen for seen in shown.sightings if evidence in seen.evidence)
    return evidence, sighting


async def test_a_session_that_its_code_closes_is_seen_to_close_by_its_silence(
    lab_server: LabServer, plain_worker: LabWorker, room_name: str
) -> None:
    async with observing(lab_server) as shown, call(lab_server, plain_worker, room_name) as talk:
        await shown.watch(await shown.room(room_name))
        await talk.answered()
        before = time.time()
        await talk.code("aclose")
        evidence, sighting = await closed(shown)
        seen = time.time()
        assert (evidence.source, evidence.reason) == (Source.OBSERVER, "")
        # Its last answer may have been on its way as it closed.
        assert before - 1.0 <= evidence.at <= seen
        assert sighting.agent is not None
        assert sighting.agent.participant.identity.raw == talk.agent
        assert before - 120 < sighting.agent.participant.joined_at < before
        assert shown.asked == [talk.agent]


async def test_a_session_whose_user_left_is_seen_to_close(
    lab_server: LabServer, plain_worker: LabWorker, room_name: str
) -> None:
    async with observing(lab_server) as shown, call(lab_server, plain_worker, room_name) as talk:
        await shown.watch(await shown.room(room_name))
        await talk.answered()
        await talk.alice.leave()
        await closed(shown)
        (left,) = shown.evidence(Fact.PERSON_LEFT)
        assert (left.who, left.reason) == ("alice", "CLIENT_INITIATED")


async def test_the_errors_that_end_a_session_are_heard_and_its_close_is_seen(
    lab_server: LabServer, plain_worker: LabWorker, room_name: str
) -> None:
    async with (
        observing(lab_server) as shown,
        call(lab_server, plain_worker, room_name, {"llm": "broken"}) as talk,
    ):
        await shown.watch(await shown.room(room_name))
        await talk.code("reply", "4")
        await closed(shown)
        errors = {failed.error for failed in shown.evidence(Fact.SESSION_FAILED)}
    (error,) = errors
    assert error is not None
    assert (error.type, error.message) == ("APIConnectionError", "the model's provider is away")
    assert error.source.endswith("BrokenLLM")


async def test_an_agent_whose_code_blocks_for_some_seconds_has_not_closed_its_session(
    lab_server: LabServer, plain_worker: LabWorker, room_name: str
) -> None:
    async with observing(lab_server) as shown, call(lab_server, plain_worker, room_name) as talk:
        await shown.watch(await shown.room(room_name))
        await talk.answered()
        await talk.code("block", "5.2")
        # It was silent for long, while its process answered.
        await eventually(lambda: shown.asked, 60.0)
        await talk.answered()
        await talk.answered()
        assert shown.sightings == []
        before = time.time()
        await talk.code("aclose")
        evidence, _ = await closed(shown)
        assert evidence.at >= before - 1.0


async def test_what_an_agents_helper_publishes_is_heard_at_once(
    lab_server: LabServer, lab_worker: LabWorker, room_name: str
) -> None:
    async with observing(lab_server) as shown, call(lab_server, lab_worker, room_name) as talk:
        await shown.watch(await shown.room(room_name))
        await talk.code("aclose")
        evidence, sighting = await closed(shown)
        assert (evidence.source, evidence.reason) == (Source.HELPER, "user_initiated")
        assert sighting.agent is not None
        await talk.code("shutdown", "goodbye")
        await eventually(lambda: shown.evidence(Fact.AGENT_LEFT))
        assert {piece.reason for piece in shown.evidence(Fact.JOB_SHUT_DOWN)} == {"goodbye"}
        assert {piece.reason for piece in shown.evidence(Fact.AGENT_LEFT)} == {"CLIENT_INITIATED"}


async def test_the_reason_for_which_an_agent_was_kicked_is_heard(
    lab_server: LabServer, plain_worker: LabWorker, room_name: str
) -> None:
    async with observing(lab_server) as shown, call(lab_server, plain_worker, room_name) as talk:
        await shown.watch(await shown.room(room_name))
        await shown.gateway.remove_participant(Name.of(room_name), Name.of(talk.agent))
        (left,) = await eventually(lambda: shown.evidence(Fact.AGENT_LEFT))
        assert (left.source, left.reason) == (Source.OBSERVER, "PARTICIPANT_REMOVED")


# The end


async def test_the_observers_leave_when_they_are_closed(lab_server: LabServer, room_name: str) -> None:
    async with await join(lab_server, room_name, "alice"):
        async with observing(lab_server) as shown:
            await shown.watch(await shown.room(room_name))
            assert await shown.hidden(room_name)
        async with observing(lab_server) as shown:

            async def left() -> bool:
                return not await shown.hidden(room_name)

            await come_true(left)


PARENT = """
import asyncio, sys
from tui.gateway.client import Gateway
from tui.gateway.observer import Observers
from tui.model.secret import Secret

async def main(url, key, secret, *names):
    async with Gateway(url, key, Secret(secret)) as gateway:
        rooms = await gateway.list_rooms(names)
        async def there(_): return True
        async def answers(*_): return True
        watching = Observers(url, key, Secret(secret), id, limit=2, touched=id, is_there=there, answers=answers)
        async with watching:
            watching.watch(rooms)
            await asyncio.Event().wait()

asyncio.run(main(*sys.argv[1:]))
"""


async def test_a_killed_dashboard_leaves_no_observer_behind_and_prints_nothing(
    lab_server: LabServer, room_name: str
) -> None:
    names = [room_name, f"{room_name}-2"]
    for name in names:
        await open_room(lab_server, name)
    async with observing(lab_server) as shown:
        arguments = [lab_server.url, lab_server.api_key, lab_server.api_secret, *names]
        parent = subprocess.Popen(  # noqa: ASYNC220 - it returns at once
            [sys.executable, "-c", PARENT, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        try:

            async def there() -> bool:
                return all([await shown.hidden(name) for name in names])

            await come_true(there)
            # The native library prints when a connection is ended by the server.
            lab_server.delete_room(names[1])

            async def ended() -> bool:
                return not await shown.hidden(names[1])

            await come_true(ended)
        finally:
            os.kill(parent.pid, signal.SIGKILL)
        # Until the observers' process has ended as well, had it the same output.
        output, _ = await asyncio.to_thread(parent.communicate)

        async def left() -> bool:
            return not await shown.hidden(room_name)

        await come_true(left)
        assert output == b""
