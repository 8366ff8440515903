"""The demo's service, through the official client."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from datetime import timedelta

import aiohttp
import pytest
from livekit import api
from livekit.protocol import room as room_pb

from tests.demo_world import BILLING, NOW, Clock, call_in, hung
from tui.demo import DemoService, World
from tui.demo.names import ODD_ROOM_NAMES
from tui.demo.rooms import Session


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def demo(clock: Clock) -> AsyncIterator[DemoService]:
    async with DemoService(World(1), clock) as service:
        yield service


@pytest.fixture
async def livekit(demo: DemoService) -> AsyncIterator[api.LiveKitAPI]:
    async with api.LiveKitAPI(demo.url, demo.api_key, demo.api_secret) as client:
        yield client


def operator_token(demo: DemoService, room: str, *, ttl: float = 60.0, admin: bool = True) -> str:
    """The token that an operator called mira puts into a request to an agent."""
    allowed = api.VideoGrants(room=room, room_admin=admin)
    token = api.AccessToken(demo.api_key, demo.api_secret).with_identity("mira").with_ttl(timedelta(seconds=ttl))
    return json.dumps({"token": token.with_grants(allowed).to_jwt()})


async def call_method(
    livekit: api.LiveKitAPI, room: str, identity: str, method: str, payload: str = ""
) -> dict[str, str]:
    """PerformRpc, for which livekit-api has no method of its own. Returns the answer's JSON."""
    request = room_pb.PerformRpcRequest(room=room, destination_identity=identity, method=method, payload=payload)
    header = livekit.room._auth_header(api.VideoGrants(room_admin=True, room=room))
    client = livekit.room._client
    answer = await client.request("RoomService", "PerformRpc", request, header, room_pb.PerformRpcResponse)
    said: dict[str, str] = json.loads(answer.payload)
    return said


async def test_the_official_client_lists_what_the_world_holds(livekit: api.LiveKitAPI, demo: DemoService) -> None:
    rooms = (await livekit.room.list_rooms(api.ListRoomsRequest())).rooms
    assert {room.sid for room in rooms} == {room.info.sid for room in demo.world.rooms()}
    for room in rooms:
        listed = await livekit.room.list_participants(api.ListParticipantsRequest(room=room.name))
        assert {p.sid for p in listed.participants} == {p.sid for p in demo.world.participants(room.name)}
        for participant in listed.participants:
            assert participant.state == api.ParticipantInfo.State.ACTIVE
            assert len(participant.tracks) == 1
        dispatches = await livekit.agent_dispatch.list_dispatch(room.name)
        assert {d.id for d in dispatches} == {d.id for d in demo.world.dispatches(room.name)}


async def test_rooms_are_found_by_name(livekit: api.LiveKitAPI, demo: DemoService) -> None:
    for name in ODD_ROOM_NAMES:
        demo.world.create_room(name)
    listed = await livekit.room.list_rooms(api.ListRoomsRequest(names=[*ODD_ROOM_NAMES, "no such room"]))
    assert {room.name for room in listed.rooms} == set(ODD_ROOM_NAMES)


async def test_a_room_and_a_dispatch_come_and_go(livekit: api.LiveKitAPI, clock: Clock) -> None:
    made = await livekit.room.create_room(api.CreateRoomRequest(name="lab", metadata="m", empty_timeout=60))
    assert (made.name, made.metadata, made.empty_timeout, made.departure_timeout) == ("lab", "m", 60, 20)
    again = await livekit.room.create_room(api.CreateRoomRequest(name="lab"))
    assert again.sid == made.sid
    dispatch = await livekit.agent_dispatch.create_dispatch(
        api.CreateAgentDispatchRequest(room="lab", agent_name="closer", metadata="for mira")
    )
    assert (dispatch.room, dispatch.agent_name, dispatch.metadata) == ("lab", "closer", "for mira")
    clock.now += 6.0
    found = await livekit.agent_dispatch.get_dispatch(dispatch.id, "lab")
    assert found is not None
    (job,) = found.state.jobs
    agent = await livekit.room.get_participant(
        api.RoomParticipantIdentity(room="lab", identity=job.state.participant_identity)
    )
    assert agent.kind == api.ParticipantInfo.Kind.AGENT
    deleted = await livekit.agent_dispatch.delete_dispatch(dispatch.id, "lab")
    assert deleted.id == dispatch.id
    assert dispatch.id not in {d.id for d in await livekit.agent_dispatch.list_dispatch("lab")}
    await livekit.room.delete_room(api.DeleteRoomRequest(room="lab"))
    assert not (await livekit.room.list_rooms(api.ListRoomsRequest(names=["lab"]))).rooms


async def test_a_participant_is_removed(livekit: api.LiveKitAPI, demo: DemoService) -> None:
    room, _, agent = call_in(demo.world)
    who = api.RoomParticipantIdentity(room=room.name, identity=agent.identity)
    await livekit.room.remove_participant(who)
    with pytest.raises(api.TwirpError, match="participant does not exist"):
        await livekit.room.remove_participant(who)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda lk: lk.room.get_participant(api.RoomParticipantIdentity(room="x")), "participant does not exist"),
        (lambda lk: lk.room.remove_participant(api.RoomParticipantIdentity(room="x")), "participant does not exist"),
        (lambda lk: lk.room.delete_room(api.DeleteRoomRequest(room="x")), "requested room does not exist"),
    ],
)
async def test_what_is_missing_is_reported_in_livekits_words(
    livekit: api.LiveKitAPI, call: Callable[[api.LiveKitAPI], asyncio.Future[object]], message: str
) -> None:
    with pytest.raises(api.TwirpError) as caught:
        await call(livekit)
    assert (caught.value.status, caught.value.code) == (404, "not_found")
    assert caught.value.message == f"twirp error unknown: {message}"


async def test_a_missing_dispatch_is_not_found_and_a_missing_room_has_no_participants(
    livekit: api.LiveKitAPI, demo: DemoService
) -> None:
    with pytest.raises(api.TwirpError, match="dispatch ID not found"):
        await livekit.agent_dispatch.delete_dispatch("AD_x", demo.world.rooms()[0].name)
    assert not (await livekit.room.list_participants(api.ListParticipantsRequest(room="x"))).participants


async def test_three_seconds_pass_before_no_server_is_said_to_respond(
    livekit: api.LiveKitAPI, demo: DemoService
) -> None:
    room = demo.world.rooms()[0].name
    started = time.monotonic()
    errors = await asyncio.gather(
        livekit.agent_dispatch.list_dispatch("no such room"),
        livekit.agent_dispatch.delete_dispatch("AD_x", "no such room"),
        call_method(livekit, "no such room", "nobody", "m"),
        call_method(livekit, room, "nobody", "m"),
        return_exceptions=True,
    )
    assert 2.9 < time.monotonic() - started < 8.0
    for error in errors:
        assert isinstance(error, api.TwirpError)
        assert (error.status, error.code) == (503, "unavailable")
        assert error.message == "twirp error unknown: no response from servers"


async def test_a_hung_agent_acknowledges_no_rpc_for_two_seconds(livekit: api.LiveKitAPI, demo: DemoService) -> None:
    agent = hung(demo.world)
    started = time.monotonic()
    with pytest.raises(api.TwirpError) as caught:
        await call_method(livekit, agent.room.name, agent.identity, "lk-tui.close_session")
    assert 1.9 < time.monotonic() - started < 8.0
    assert (caught.value.status, caught.value.code) == (408, "canceled")
    assert caught.value.message == "twirp error unknown: RpcError 1501: Connection timeout"


async def test_people_unknown_methods_and_agents_without_the_helper_answer_that_they_do_not_know(
    livekit: api.LiveKitAPI, demo: DemoService
) -> None:
    room, person, agent = call_in(demo.world)
    billing_room, _, billing = call_in(demo.world, BILLING)
    for where, who, method in (
        (room, person, "lk-tui.close_session"),
        (room, agent, "probe"),
        (billing_room, billing, "lk-tui.close_session"),
    ):
        with pytest.raises(api.TwirpError) as caught:
            await call_method(livekit, where.name, who.identity, method, operator_token(demo, where.name))
        assert (caught.value.status, caught.value.code) == (400, "invalid_argument")
        assert caught.value.message == "twirp error unknown: RpcError 1400: Method not supported at destination"


async def test_an_operator_closes_a_session_and_the_agent_stays(
    livekit: api.LiveKitAPI, demo: DemoService, clock: Clock
) -> None:
    clock.now += 3.0
    room, _, agent = call_in(demo.world)
    clock.now = demo.world.now
    payload = operator_token(demo, room.name)
    assert await call_method(livekit, room.name, agent.identity, "lk-tui.close_session", payload) == {
        "session": "closing"
    }
    clock.now += 0.02
    seen = await livekit.room.get_participant(api.RoomParticipantIdentity(room=room.name, identity=agent.identity))
    assert seen.attributes["lk-tui.session"] == "closed"
    assert seen.attributes["lk.agent.state"] == "listening"
    report = json.loads(seen.attributes["lk-tui.close"])
    assert (report["reason"], report["by"], report["error"]) == ("user_initiated", "mira", None)
    assert report["at"] == pytest.approx(clock.now, abs=0.02)
    again = await call_method(livekit, room.name, agent.identity, "lk-tui.close_session", payload)
    assert again == {"session": "closed"}
    clock.now += 10.0
    assert agent.identity in {p.identity for p in demo.world.participants(room.name)}


async def test_an_operator_shuts_a_job_down_and_its_dispatch_stays(
    livekit: api.LiveKitAPI, demo: DemoService, clock: Clock
) -> None:
    room, _, agent = call_in(demo.world)
    clock.now = demo.world.now
    answer = await call_method(
        livekit, room.name, agent.identity, "lk-tui.shut_down_job", operator_token(demo, room.name)
    )
    assert answer == {"job": "shutting_down"}
    assert json.loads(agent.attributes["lk-tui.shutdown"])["by"] == "mira"
    clock.now += 0.1
    with pytest.raises(api.TwirpError, match="participant does not exist"):
        await livekit.room.get_participant(api.RoomParticipantIdentity(room=room.name, identity=agent.identity))
    assert agent.dispatch.id in {d.id for d in await livekit.agent_dispatch.list_dispatch(room.name)}


async def test_an_agent_refuses_a_request_that_proves_nothing(livekit: api.LiveKitAPI, demo: DemoService) -> None:
    room, _, agent = call_in(demo.world)
    stranger = api.AccessToken("devkey", "x" * 40).with_identity("eve")
    stranger.with_grants(api.VideoGrants(room_admin=True, room=room.name)).with_ttl(timedelta(seconds=30))
    nameless = api.AccessToken(demo.api_key, demo.api_secret).with_ttl(timedelta(seconds=30))
    nameless.with_grants(api.VideoGrants(room_admin=True, room=room.name))
    refused = {
        "": "payload",
        "[]": "payload",
        '{"token": 1}': "not a string",
        '{"token": "abc"}': "Not enough segments",
        json.dumps({"token": stranger.to_jwt()}): "Signature verification failed",
        json.dumps({"token": nameless.to_jwt()}): "no operator",
        operator_token(demo, "another room"): "roomAdmin",
        operator_token(demo, room.name, admin=False): "roomAdmin",
        operator_token(demo, room.name, ttl=3600.0): "more than 60 s",
        operator_token(demo, room.name, ttl=-5.0): "expired",
    }
    for payload, why in refused.items():
        with pytest.raises(api.TwirpError, match=why) as caught:
            await call_method(livekit, room.name, agent.identity, "lk-tui.close_session", payload)
        assert (caught.value.status, caught.value.code) == (500, "internal")
        assert caught.value.message.startswith("twirp error unknown: RpcError 403: ")
    assert agent.session is Session.OPEN


async def test_a_bad_token_and_a_missing_grant_are_refused_as_livekit_does(demo: DemoService) -> None:
    def token(key: str, secret: str, grants: api.VideoGrants, ttl: float = 60.0) -> str:
        made = api.AccessToken(key, secret).with_ttl(timedelta(seconds=ttl)).with_grants(grants)
        return f"Bearer {made.to_jwt()}"

    may_list = api.VideoGrants(room_list=True)
    wrong_secret = token(demo.api_key, "x" * 40, may_list)
    expired = token(demo.api_key, demo.api_secret, may_list, ttl=-600.0)
    path = f"{demo.url}/twirp/livekit.RoomService/ListRooms"
    async with aiohttp.ClientSession() as http:
        for authorization, text in (
            ("Basic abc", "invalid authorization header. Must start with Bearer "),
            ("Bearer abc", "invalid authorization token"),
            ("Bearer a.W10.c", "invalid authorization token"),
            (token("other", demo.api_secret, may_list), "invalid API key: other"),
            (wrong_secret, f"invalid token: {wrong_secret.removeprefix('Bearer ')}, error: "),
            (expired, f"invalid token: {expired.removeprefix('Bearer ')}, error: "),
        ):
            headers = {"Content-Type": "application/protobuf", "Authorization": authorization}
            async with http.post(path, headers=headers) as response:
                assert response.status == 401
                assert (await response.text()).startswith(text)
        for headers in ({}, {"Authorization": token(demo.api_key, demo.api_secret, api.VideoGrants(room_create=True))}):
            async with http.post(path, headers={"Content-Type": "application/protobuf"} | headers) as response:
                assert response.status == 401
                assert await response.json() == {"code": "unauthenticated", "msg": "permissions denied"}


async def test_a_room_admin_is_admin_of_one_room_only(livekit: api.LiveKitAPI, demo: DemoService) -> None:
    header = livekit.room._auth_header(api.VideoGrants(room_admin=True, room="mine"))
    request = api.ListParticipantsRequest(room=demo.world.rooms()[0].name)
    with pytest.raises(api.TwirpError, match="permissions denied"):
        await livekit.room._client.request(
            "RoomService", "ListParticipants", request, header, api.ListParticipantsResponse
        )


async def test_bad_requests_are_answered_as_twirp_does(demo: DemoService) -> None:
    token = api.AccessToken(demo.api_key, demo.api_secret).with_grants(api.VideoGrants(room_list=True)).to_jwt()
    protobuf, text = "application/protobuf", "text/plain"
    async with aiohttp.ClientSession(demo.url, headers={"Authorization": f"Bearer {token}"}) as http:
        for verb, method, kind, body, status, code, message in (
            ("POST", "Nope", protobuf, b"", 404, "bad_route", 'no handler for path "/twirp/livekit.RoomService/Nope"'),
            ("GET", "ListRooms", protobuf, b"", 404, "bad_route", 'unsupported method "GET" (only POST is allowed)'),
            ("POST", "ListRooms", text, b"", 404, "bad_route", 'unexpected Content-Type: "text/plain"'),
            ("POST", "ListRooms", protobuf, b"\xff", 400, "malformed", "the protobuf request could not be decoded"),
        ):
            path = f"/twirp/livekit.RoomService/{method}"
            async with http.request(verb, path, data=body, headers={"Content-Type": kind}) as response:
                assert response.status == status
                answer = await response.json()
            assert (answer["code"], answer["msg"]) == (code, message)
        async with http.get("/") as response:
            assert await response.text() == "OK"


async def test_a_name_over_the_limit_is_refused(livekit: api.LiveKitAPI) -> None:
    with pytest.raises(api.TwirpError, match="room name length exceeds limits: max length 256"):
        await livekit.room.create_room(api.CreateRoomRequest(name="x" * 257))


async def test_the_world_moves_on_while_nobody_asks() -> None:
    arrived = asyncio.Event()

    class Announcing(World):
        """Says when it has come to five seconds after its start."""

        def advance(self, now: float) -> None:
            super().advance(now)
            if self.now >= NOW + 5.0:
                arrived.set()

    clock = Clock()
    async with DemoService(Announcing(1), clock):
        clock.now += 5.0
        await asyncio.wait_for(arrived.wait(), 20.0)


async def test_a_closed_service_is_gone_even_while_it_keeps_somebody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tui.demo.service.NO_RESPONSE_S", 600.0)
    demo = DemoService(World(1))
    with pytest.raises(RuntimeError, match="not running"):
        _ = demo.url
    await demo.start()
    url = demo.url
    async with api.LiveKitAPI(url, demo.api_key, demo.api_secret) as livekit:
        waiting = asyncio.create_task(livekit.agent_dispatch.list_dispatch("no such room"))
        await livekit.room.list_rooms(api.ListRoomsRequest())
        started = time.monotonic()
        await demo.close()
        assert time.monotonic() - started < 30.0
        with pytest.raises((aiohttp.ClientError, api.TwirpError)):
            await waiting
        with pytest.raises(aiohttp.ClientError):
            await livekit.room.list_rooms(api.ListRoomsRequest())
    await demo.close()


def test_two_services_share_no_credentials() -> None:
    one, other = DemoService(World(1)), DemoService(World(1))
    assert one.api_key != other.api_key
    assert one.api_secret != other.api_secret


async def test_ten_thousand_rooms_with_a_hundred_thousand_participants_are_listed_in_a_blink() -> None:
    clock = Clock()
    async with DemoService(World(1, 10_000, people=9, churn=0.01, trouble=False), clock) as demo:
        participants = sum(len(room.participants) for room in demo.world.rooms())
        assert participants == pytest.approx(100_000, rel=0.01)
        before = {room.info.sid for room in demo.world.rooms()}
        async with api.LiveKitAPI(demo.url, demo.api_key, demo.api_secret) as livekit:
            times = []
            for _ in range(5):
                clock.now += 1.0
                started = time.process_time()
                listed = await livekit.room.list_rooms(api.ListRoomsRequest())
                times.append(time.process_time() - started)
                assert len(listed.rooms) == 10_000
        # Of the processor, of which others may want their share: asking for each room would take a hundred times that.
        assert sorted(times)[2] < 0.3
        ended = len(before - {room.info.sid for room in demo.world.rooms()})
        assert ended / len(before) == pytest.approx(0.05, rel=0.2)
