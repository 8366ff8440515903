"""The helper in a real agent, on a real worker and server: what others see of it, and whom it obeys."""

import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from livekit import api, rtc
from livekit.api.twirp_client import TwirpError
from livekit.protocol import models as models_pb
from livekit.protocol import room as room_pb

from tests.lab.people import LabPerson, SawAttributes, SawLeave, join
from tests.lab.server import LabServer
from tests.lab.waiting import eventually
from tests.lab.worker import LabWorker
from tui import agent

OPERATOR = "kim"


@dataclass(frozen=True)
class Call:
    """A room with a person in it, their agent, and a hidden observer who heard all of it from the start."""

    server: LabServer
    worker: LabWorker
    room: str
    agent: str
    alice: LabPerson
    observer: LabPerson

    async def attributes(self) -> dict[str, str]:
        """The agent's attributes as the room service lists them; fails while the agent isn't listed."""
        async with self.server.client() as livekit:
            listed = await livekit.room.list_participants(api.ListParticipantsRequest(room=self.room))
        agents = [who for who in listed.participants if who.identity == self.agent]
        assert agents, "the agent is not listed"
        assert agents[0].state == models_pb.ParticipantInfo.ACTIVE
        return dict(agents[0].attributes)

    async def attribute(self, name: str, value: str | None = None) -> str:
        """Wait until the agent has this attribute (with this value), as the room service lists it."""

        async def listed() -> str:
            has = (await self.attributes()).get(name, "")
            assert has if value is None else has == value, f"{name} is {has!r}"
            return has

        return await eventually(listed)

    async def report(self, name: str) -> dict[str, Any]:
        """Wait for a JSON attribute, and read it."""
        report: dict[str, Any] = json.loads(await self.attribute(name))
        return report

    def token(self, **changed: Any) -> str:
        """A valid token, but for what is `changed`: secret, identity, room, room_admin, ttl (seconds)."""
        given: dict[str, Any] = {
            "secret": self.server.api_secret,
            "identity": OPERATOR,
            "room": self.room,
            "room_admin": True,
            "ttl": 60,
        }
        given |= changed
        return (
            api.AccessToken(self.server.api_key, given["secret"])
            .with_identity(given["identity"])
            .with_grants(api.VideoGrants(room=given["room"], room_admin=given["room_admin"]))
            .with_ttl(timedelta(seconds=given["ttl"]))
            .to_jwt()
        )

    async def rpc(self, method: str, payload: str) -> str:
        """PerformRpc through the server, as lk-tui does it. Raises TwirpError."""
        request = room_pb.PerformRpcRequest(
            room=self.room, destination_identity=self.agent, method=method, payload=payload, response_timeout_ms=10_000
        )
        async with self.server.client() as livekit:
            service = livekit.room
            header = service._auth_header(api.VideoGrants(room_admin=True, room=self.room))
            answer = await service._client.request(
                "RoomService", "PerformRpc", request, header, room_pb.PerformRpcResponse
            )
        return answer.payload

    async def ask(self, method: str, **changed: Any) -> Any:
        """The answer to a request with `token(**changed)`."""
        return json.loads(await self.rpc(method, json.dumps({"token": self.token(**changed)})))

    async def code(self, method: str, payload: str = "") -> None:
        """Make the agent's own code do something (tests/lab/agent_main.py)."""
        await self.alice.room.local_participant.perform_rpc(
            destination_identity=self.agent, method=method, payload=payload
        )

    async def last_words(self) -> dict[str, str]:
        """Wait until the observer saw the agent leave; all attributes that changed before, the last value of each."""

        def left() -> int:
            return sum(isinstance(seen, SawLeave) and seen.identity == self.agent for seen in self.observer.saw)

        await eventually(left, timeout=40)
        words: dict[str, str] = {}
        for seen in self.observer.saw:
            if seen.identity == self.agent:
                if isinstance(seen, SawLeave):
                    break
                words |= seen.changed
        return words


@pytest.fixture
async def call(lab_server: LabServer, lab_worker: LabWorker, room_name: str) -> AsyncIterator[Call]:
    """alice and her agent, who attached the helper before everything else."""
    async with (
        await join(lab_server, room_name, "observer", hidden=True, agent=True) as observer,
        await join(lab_server, room_name, "alice") as alice,
    ):
        ready = await lab_worker.wait_for("ready", room=room_name)
        call = Call(lab_server, lab_worker, room_name, str(ready["identity"]), alice, observer)
        await call.attribute(agent.SESSION, "open")
        yield call


@pytest.mark.parametrize("when", ["first", "connected", "last"])
async def test_the_helper_works_wherever_in_the_entrypoint_it_is_called(
    when: str, lab_server: LabServer, lab_worker: LabWorker, room_name: str
) -> None:
    async with lab_server.client() as livekit:
        await livekit.room.create_room(api.CreateRoomRequest(name=room_name, metadata=json.dumps({"supervise": when})))
    async with await join(lab_server, room_name, "alice") as alice:
        ready = await lab_worker.wait_for("ready", room=room_name)
        call = Call(lab_server, lab_worker, room_name, str(ready["identity"]), alice, alice)
        await call.attribute(agent.HELPER, "1")
        await call.attribute(agent.SESSION, "open")
        assert await call.ask(agent.CLOSE_SESSION) == {"session": "closing"}
        await call.attribute(agent.SESSION, "closed")
        await lab_worker.wait_for("close", room=room_name)


async def test_a_valid_request_closes_the_session_and_the_agent_stays(call: Call) -> None:
    assert await call.ask(agent.CLOSE_SESSION) == {"session": "closing"}
    closed = await call.worker.wait_for("close", room=call.room)
    assert closed["reason"] == "user_initiated"
    report = await call.report(agent.CLOSE)
    assert report | {"at": 0} == {"reason": "user_initiated", "at": 0, "by": OPERATOR, "error": None}
    assert abs(report["at"] - time.time()) < 60
    await call.attribute(agent.SESSION, "closed")
    assert agent.SHUTDOWN not in await call.attributes()


async def test_others_see_closing_before_closed(call: Call) -> None:
    await call.ask(agent.CLOSE_SESSION)
    await call.attribute(agent.SESSION, "closed")

    def states() -> list[str]:
        changes = [seen.changed for seen in call.observer.saw if isinstance(seen, SawAttributes)]
        return [changed[agent.SESSION] for changed in changes if agent.SESSION in changed]

    def all_states() -> bool:
        assert states()[-2:] == ["closing", "closed"]
        return True

    await eventually(all_states)


async def test_a_session_that_is_closed_says_so_when_asked_again(call: Call) -> None:
    await call.ask(agent.CLOSE_SESSION)
    await call.attribute(agent.SESSION, "closed")
    assert await call.ask(agent.CLOSE_SESSION, identity="robin") == {"session": "closed"}
    assert (await call.report(agent.CLOSE))["by"] == OPERATOR


async def test_a_session_that_hangs_in_closing_stays_closing(call: Call) -> None:
    await call.code("lab.jam")
    assert await call.ask(agent.CLOSE_SESSION) == {"session": "closing"}
    await call.attribute(agent.SESSION, "closing")
    assert await call.ask(agent.CLOSE_SESSION) == {"session": "closing"}
    assert agent.CLOSE not in await call.attributes()


async def assert_still_open(call: Call) -> None:
    """Nothing that was asked before has closed the session nor ended the job: the operator is the first who does."""
    assert await call.ask(agent.CLOSE_SESSION) == {"session": "closing"}
    assert (await call.report(agent.CLOSE))["by"] == OPERATOR
    await call.attribute(agent.SESSION, "closed")
    await call.worker.wait_for("close", room=call.room)
    assert len(call.worker.events("close", room=call.room)) == 1
    assert agent.SHUTDOWN not in await call.attributes()


@pytest.mark.parametrize("method", [agent.CLOSE_SESSION, agent.SHUT_DOWN_JOB])
@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"ttl": -120}, "Signature has expired"),
        ({"ttl": 600}, "valid for more than 60 s"),
        ({"secret": "another-secret-another-secret-another"}, "Signature verification failed"),
        ({"room": "another-room"}, "for another room"),
        ({"room_admin": False}, "does not grant roomAdmin"),
        ({"identity": ""}, "does not say who asks"),
    ],
    ids=["expired", "too-long", "wrong-secret", "other-room", "not-admin", "nobody"],
)
async def test_a_request_without_the_right_token_is_refused(
    method: str, changed: dict[str, Any], why: str, call: Call
) -> None:
    with pytest.raises(TwirpError, match=f"RpcError 403: .*{why}") as refusal:
        await call.ask(method, **changed)
    # What docs/helper-protocol.md says the room service makes of it.
    assert (refusal.value.status, refusal.value.code) == (500, "internal")
    await assert_still_open(call)


async def test_a_request_without_a_token_is_refused(call: Call) -> None:
    with pytest.raises(TwirpError, match="RpcError 403: there is no token in the request"):
        await call.rpc(agent.CLOSE_SESSION, "{}")
    await assert_still_open(call)


async def test_a_participant_of_the_room_is_refused_and_the_refusal_is_logged_with_its_identity(call: Call) -> None:
    own_token = call.server.token("alice", api.VideoGrants(room_join=True, room=call.room))
    for payload in ("", json.dumps({"token": own_token})):
        with pytest.raises(rtc.RpcError) as refusal:
            await call.alice.room.local_participant.perform_rpc(
                destination_identity=call.agent, method=agent.CLOSE_SESSION, payload=payload
            )
        assert refusal.value.code == agent.REFUSED
    await assert_still_open(call)
    await eventually(lambda: f"refused {agent.CLOSE_SESSION} to caller 'alice'" in call.worker.process.log.read_text())


async def test_a_valid_request_shuts_the_job_down_and_says_who_asked_before_the_agent_leaves(call: Call) -> None:
    assert await call.ask(agent.SHUT_DOWN_JOB) == {"job": "shutting_down"}
    words = await call.last_words()
    assert json.loads(words[agent.SHUTDOWN])["by"] == OPERATOR
    assert json.loads(words[agent.CLOSE])["by"] == OPERATOR
    assert words[agent.SESSION] == "closed"
    done = await call.worker.wait_for("shutdown", room=call.room)
    assert json.loads(words[agent.SHUTDOWN])["reason"] == done["reason"]
    assert call.alice.disconnected is None


async def test_a_shutdown_by_the_agents_code_is_told_before_it_leaves(call: Call) -> None:
    await call.code("lab.shutdown", "the caller hung up")
    words = await call.last_words()
    assert json.loads(words[agent.SHUTDOWN]) | {"at": 0} == {"reason": "the caller hung up", "at": 0, "by": None}
    assert json.loads(words[agent.CLOSE])["by"] is None
    assert words[agent.SESSION] == "closed"


@pytest.mark.parametrize("session", ["open", "closed"])
async def test_a_deleted_dispatch_is_told_before_the_agent_leaves(session: str, call: Call) -> None:
    if session == "closed":
        await call.ask(agent.CLOSE_SESSION)
        await call.attribute(agent.SESSION, "closed")
    async with call.server.client() as livekit:
        (dispatch,) = await livekit.agent_dispatch.list_dispatch(call.room)
        await livekit.agent_dispatch.delete_dispatch(dispatch.id, call.room)
    words = await call.last_words()
    assert json.loads(words[agent.SHUTDOWN]) | {"at": 0} == {"reason": None, "at": 0, "by": None}
    assert words[agent.SESSION] == "closed"
    assert json.loads(words[agent.CLOSE])["by"] == (OPERATOR if session == "closed" else None)


async def test_a_session_closed_by_errors_says_which(call: Call) -> None:
    await call.code("lab.fail", "401 Unauthorized: " + "x" * 400)
    report = await call.report(agent.CLOSE)
    assert report["reason"] == "error"
    assert report["by"] is None
    assert (report["error"]["type"], report["error"]["source"]) == ("RuntimeError", "lab.llm")
    assert report["error"]["message"].startswith("401 Unauthorized: x")
    assert len(report["error"]["message"]) == agent.MAX_TEXT


async def test_a_session_closed_because_the_person_left_says_so(call: Call) -> None:
    await call.alice.leave()
    report = await call.report(agent.CLOSE)
    assert (report["reason"], report["by"]) == ("participant_disconnected", None)
