"""Webhooks from a real server, of real people and agents: who left, why, and with which last words."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator, Iterator

import pytest
from livekit import api
from livekit.protocol import room as room_pb

from tests.lab.people import join
from tests.lab.server import LabServer, free_port
from tests.lab.waiting import come_true, eventually
from tests.lab.worker import LabWorker
from tui.gateway.webhooks import WebhookListener
from tui.model.evidence import Evidence, Fact, Sighting, Source
from tui.model.room import Agent, SessionState
from tui.model.secret import Secret


class Hook:
    """What a listener published and touched of one room; `faults` is how often it fails before it does."""

    def __init__(self, room: str) -> None:
        self.room = room
        self.faults = 0
        self.sightings: list[Sighting] = []
        self.touched: list[str] = []

    def publish(self, sighting: Sighting) -> None:
        if sighting.room.raw != self.room:
            return
        if self.faults:
            self.faults -= 1
            raise RuntimeError("a fault of ours")
        self.sightings.append(sighting)

    def evidence(self, fact: Fact) -> list[Evidence]:
        return [piece for sighting in self.sightings for piece in sighting.evidence if piece.fact is fact]

    async def agent_left(self) -> tuple[Agent, list[Evidence]]:
        """The agent that left and all that is told about it, once it is."""
        await eventually(lambda: self.evidence(Fact.AGENT_LEFT))
        (found,) = ((sighting.agent, list(sighting.evidence)) for sighting in self.sightings if sighting.agent)
        return found


class Hooked:
    """A server whose webhooks go to one port, and a worker whose agents join its rooms."""

    def __init__(self, server: LabServer, worker: LabWorker, port: int) -> None:
        self.server = server
        self.worker = worker
        self.port = port

    def listener(self, hook: Hook, secret: str = LabServer.api_secret) -> WebhookListener:
        """Listens where this server sends to."""
        key = self.server.api_key
        return WebhookListener("127.0.0.1", self.port, key, Secret(secret), hook.publish, touched=hook.touched.append)

    async def say(self, room: str, method: str, payload: str = "") -> None:
        """Have the agent's own code act, by one of the methods of `tests/lab/agent_main.py`."""
        request = room_pb.PerformRpcRequest(
            room=room,
            destination_identity=await self.agent_in(room),
            method=f"lab.{method}",
            payload=payload,
            response_timeout_ms=30_000,
        )
        async with self.server.client() as livekit:
            header = livekit.room._auth_header(api.VideoGrants(room_admin=True, room=room))
            await livekit.room._client.request("RoomService", "PerformRpc", request, header, room_pb.PerformRpcResponse)

    async def agent_in(self, room: str) -> str:
        """The identity of the agent, once it is ready."""
        ready = await self.worker.wait_for("ready", room=room, timeout=60.0)
        return str(ready["identity"])

    async def sid(self, room: str) -> str:
        async with self.server.client() as livekit:
            (found,) = (await livekit.room.list_rooms(api.ListRoomsRequest(names=[room]))).rooms
        return found.sid


@pytest.fixture(scope="module")
def hooked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hooked]:
    port = free_port()
    folder = tmp_path_factory.mktemp("hooked")
    with (
        LabServer(folder, webhook_urls=[f"http://127.0.0.1:{port}/livekit"]) as server,
        LabWorker(server, folder) as worker,
    ):
        yield Hooked(server, worker, port)


@pytest.fixture
async def hook(hooked: Hooked, room_name: str) -> AsyncIterator[Hook]:
    """What is heard of the test's own room."""
    made = Hook(room_name)
    async with hooked.listener(made):
        yield made
        hooked.server.delete_room(room_name)


async def test_a_person_who_leaves_is_evidence_about_the_room(hooked: Hooked, hook: Hook) -> None:
    async with await join(hooked.server, hook.room, "alice"):
        sid = await hooked.sid(hook.room)
    (left,) = await eventually(lambda: hook.evidence(Fact.PERSON_LEFT))
    assert (left.source, left.who, left.reason) == (Source.WEBHOOK, "alice", "CLIENT_INITIATED")
    assert abs(left.at - time.time()) < 20.0
    (sighting,) = (one for one in hook.sightings if left in one.evidence)
    assert (sighting.room_sid, sighting.agent) == (sid, None)


async def test_a_kicked_agent_is_gone_with_the_reason_and_what_it_published_last(hooked: Hooked, hook: Hook) -> None:
    async with await join(hooked.server, hook.room, "alice"):
        identity = await hooked.agent_in(hook.room)
        who = api.RoomParticipantIdentity(room=hook.room, identity=identity)
        async with hooked.server.client() as livekit:

            async def is_open() -> bool:
                return (await livekit.room.get_participant(who)).attributes.get("lk-tui.session") == "open"

            await come_true(is_open)
            await livekit.room.remove_participant(who)
        gone, told = await hook.agent_left()
        assert hook.evidence(Fact.PERSON_LEFT) == []
    assert [(piece.fact, piece.reason) for piece in told] == [(Fact.AGENT_LEFT, "PARTICIPANT_REMOVED")]
    assert gone.participant.identity.raw == identity
    # A kick leaves no time for a last word: its session reads as it did before.
    assert gone.facts.session is SessionState.OPEN


async def test_an_agent_that_shuts_its_job_down_leaves_with_its_last_words(hooked: Hooked, hook: Hook) -> None:
    async with await join(hooked.server, hook.room, "alice"):

        async def asked_and_gone() -> bool:
            # A busy machine may not get the answer in time, though the agent acts on it.
            with contextlib.suppress(api.TwirpError):
                await hooked.say(hook.room, "shutdown", "goodbye said")
            return bool(hook.evidence(Fact.AGENT_LEFT))

        await come_true(asked_and_gone)
        _, told = await hook.agent_left()
    assert {(piece.source, piece.fact): piece.reason for piece in told} == {
        (Source.WEBHOOK, Fact.AGENT_LEFT): "CLIENT_INITIATED",
        (Source.HELPER, Fact.JOB_SHUT_DOWN): "goodbye said",
        (Source.HELPER, Fact.SESSION_CLOSED): "user_initiated",
    }


async def test_a_deleted_room_ends_for_everybody_with_the_reason(hooked: Hooked, hook: Hook) -> None:
    async with await join(hooked.server, hook.room, "alice"):
        await hooked.agent_in(hook.room)
        hooked.server.delete_room(hook.room)
        await eventually(lambda: all(map(hook.evidence, (Fact.ROOM_ENDED, Fact.AGENT_LEFT, Fact.PERSON_LEFT))))
    assert [piece.reason for piece in hook.evidence(Fact.AGENT_LEFT)] == ["ROOM_DELETED"]
    assert [(piece.who, piece.reason) for piece in hook.evidence(Fact.PERSON_LEFT)] == [("alice", "ROOM_DELETED")]
    (sighting,) = (one for one in hook.sightings if one.evidence[0].fact is Fact.ROOM_ENDED)
    assert sighting.agent is None


async def test_whoever_joins_touches_the_room_and_is_no_evidence(hooked: Hooked, hook: Hook) -> None:
    async with await join(hooked.server, hook.room, "alice"):
        sid = await hooked.sid(hook.room)
        await eventually(lambda: sid in hook.touched)
        assert hook.sightings == []


async def test_an_observer_comes_and_goes_without_a_word(hooked: Hooked, hook: Hook) -> None:
    async with await join(hooked.server, hook.room, "alice"):
        async with await join(hooked.server, hook.room, "lk-tui-observer", hidden=True, agent=True):
            pass
        # LiveKit sends the events of a room in their order: when bob's leaving is known, the observer's was.
        async with await join(hooked.server, hook.room, "bob"):
            pass
        await eventually(lambda: hook.evidence(Fact.PERSON_LEFT))
        assert [piece.who for piece in hook.evidence(Fact.PERSON_LEFT)] == ["bob"]


async def test_livekit_sends_again_what_could_not_be_taken_in(hooked: Hooked, hook: Hook) -> None:
    hook.faults = 1
    async with await join(hooked.server, hook.room, "alice"):
        pass
    (left,) = await eventually(lambda: hook.evidence(Fact.PERSON_LEFT))
    assert hook.faults == 0
    assert left.who == "alice"


async def test_livekit_sends_again_to_a_listener_that_was_away(hooked: Hooked, room_name: str) -> None:
    async with await join(hooked.server, room_name, "alice"):
        pass
    hook = Hook(room_name)
    async with hooked.listener(hook):
        (left,) = await eventually(lambda: hook.evidence(Fact.PERSON_LEFT), 60.0)
    assert left.who == "alice"
    hooked.server.delete_room(room_name)


async def test_a_server_with_another_secret_is_refused_and_said_to_be(hooked: Hooked, room_name: str) -> None:
    hook = Hook(room_name)
    async with hooked.listener(hook, secret="another" * 6) as listener:
        async with await join(hooked.server, room_name, "alice"):
            await eventually(lambda: listener.status.trouble)
        assert "refused: is its api_key ours?" in listener.status.words
    assert (hook.sightings, hook.touched) == ([], [])
    hooked.server.delete_room(room_name)
