"""The demo: its world with fake time, and its service through the official client."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import timedelta
from itertools import pairwise

import aiohttp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from livekit import api
from livekit.protocol import room as room_pb

from tui.demo import DemoService, World
from tui.demo.names import ODD_ROOM_NAMES
from tui.demo.rooms import Agent, Kind, Participant, Process, Room, Session
from tui.demo.traffic import LINES, Call, Line
from tui.demo.trouble import SHARE

NOW = 1_800_000_000.0
SEEDS = st.integers(0, 2**32)
SUPPORT, SALES, INTAKE, BILLING = LINES


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


def calm(seed: int = 1) -> World:
    """A world without trouble, at NOW."""
    world = World(seed, trouble=False)
    world.advance(NOW)
    return world


def troubled(seed: int = 1) -> World:
    """A world with trouble, at NOW."""
    world = World(seed)
    world.advance(NOW)
    return world


def call_in(world: World, line: Line = SALES) -> tuple[Room, Participant, Agent]:
    """A long call that came in just now, with its caller and the agent that answered it."""
    call: Call = world._traffic.open(600.0, line)
    world.advance(world.now + 3.0)
    agent = call.agent
    assert agent is not None
    return call.room, call.room.people[0], agent


def hung(world: World) -> Agent:
    """The agent that hangs."""
    return next(agent for room in world.rooms() for agent in room.agents if agent.process is Process.HUNG)


def fingerprint(world: World) -> list[tuple[str, str, int, list[tuple[str, dict[str, str]]], list[str]]]:
    """All there is to see in a world."""
    return [
        (
            room.name,
            room.info.sid,
            room.info.num_participants,
            [(p.sid, dict(p.attributes)) for p in room.participants.values()],
            list(room.dispatches),
        )
        for room in world.rooms()
    ]


class Watcher:
    """Looks at a world once a second, as a supervisor does, and remembers when it last saw people and agents."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._agents_at: dict[str, float] = {}
        self._people_at: dict[str, float] = {}

    def look(self) -> dict[str, set[str]]:
        """What is wrong, by the SIDs of the rooms with which something is."""
        found = {room.info.sid: set(self._signs(room)) for room in self._world.rooms()}
        return {sid: signs for sid, signs in found.items() if signs}

    def _signs(self, room: Room) -> Iterator[str]:
        now, sid, people, agents = self._world.now, room.info.sid, room.people, room.agents
        if people:
            self._people_at[sid] = now
        if agents:
            self._agents_at[sid] = now
        since = max(
            min((p.joined_at for p in room.participants.values()), default=now),
            self._agents_at.get(sid, 0.0) if people else self._people_at.get(sid, 0.0),
        )
        if people and not agents and now - since > 10.0:
            yield "waiting"
        if agents and not people and now - since > 30.0:
            yield "alone"
        for agent in agents:
            report = agent.attributes.get("lk-tui.close")
            if report and now - json.loads(report)["at"] > 5.0:
                yield "closed"
            elif agent.process is not Process.RUNNING:
                yield agent.process.value
            elif agent.stalled:
                yield "stuck"
        if len({agent.attributes["lk.agent.name"] for agent in agents}) < len(agents):
            yield "double"


# --- the world ---


@settings(max_examples=25, deadline=None)
@given(seed=SEEDS, steps=st.lists(st.floats(0.0, 20.0), max_size=20))
def test_a_world_depends_on_its_seed_and_the_time_and_not_on_how_often_it_is_looked_at(
    seed: int, steps: list[float]
) -> None:
    often, once = World(seed), World(seed)
    now = NOW
    often.advance(now)
    once.advance(now)
    for step in steps:
        now += step
        often.advance(now)
    once.advance(now)
    assert fingerprint(often) == fingerprint(once)


def test_two_seeds_are_two_worlds() -> None:
    assert fingerprint(calm(1)) != fingerprint(calm(2))


def test_a_clock_that_goes_back_changes_nothing() -> None:
    world = troubled()
    before = fingerprint(world)
    world.advance(NOW - 60.0)
    assert fingerprint(world) == before
    assert world.now == NOW


@settings(max_examples=40, deadline=None)
@given(seed=SEEDS)
def test_the_first_second_shows_every_kind_of_trouble_that_a_viewer_should_meet(seed: int) -> None:
    world = World(seed)
    watcher = Watcher(world)
    for now in (NOW, NOW + 1.0):
        world.advance(now)
        seen = set().union(*watcher.look().values())
        assert seen == {"waiting", "alone", "closed", "stuck", "hung", "double"}


@pytest.mark.parametrize("seed", range(10))
def test_for_five_minutes_the_fleet_keeps_its_size_and_no_more_than_a_fifth_of_it_is_in_trouble(seed: int) -> None:
    world = World(seed)
    watcher = Watcher(world)
    for second in range(300):
        world.advance(NOW + second)
        assert 33 <= len(world.rooms()) <= 47
        assert len(watcher.look()) <= 8


@pytest.mark.parametrize("seed", range(10))
def test_in_any_thirty_seconds_the_trouble_changes(seed: int) -> None:
    world = World(seed)
    watcher = Watcher(world)
    seen = []
    for second in range(300):
        world.advance(NOW + second)
        seen.append(watcher.look())
    changes = [second for second in range(1, 300) if seen[second] != seen[second - 1]]
    assert all(after - before <= 30 for before, after in zip([0, *changes], [*changes, 300], strict=True))


def test_a_small_fleet_has_the_troubles_too_and_a_large_one_has_its_share() -> None:
    small, large = World(1, rooms=8), World(1, rooms=400)
    for world, most in ((small, 6), (large, int(400 * SHARE))):
        world.advance(NOW)
        world.advance(NOW + 120.0)
        assert most // 2 <= len(Watcher(world).look()) <= most


def test_a_calm_world_stays_calm() -> None:
    world = calm()
    watcher = Watcher(world)
    for second in range(300):
        world.advance(NOW + second)
        assert not watcher.look()


def test_calls_in_progress_have_varied_ages_and_agents_that_came_within_a_second() -> None:
    world = calm()
    ages = [NOW - room.info.creation_time for room in world.rooms()]
    assert min(ages) < 60.0
    assert max(ages) > 180.0
    delays = [agent.joined_at - room.info.creation_time_ms / 1000 for room in world.rooms() for agent in room.agents]
    assert all(0.19 <= delay <= 1.01 for delay in delays)


@settings(max_examples=25, deadline=None)
@given(seed=SEEDS)
def test_callers_have_numbers_that_nobody_has(seed: int) -> None:
    world = calm(seed)
    callers = [p for room in world.rooms() for p in room.people if p.kind == Kind.SIP]
    assert callers
    for caller in callers:
        number = caller.attributes["sip.phoneNumber"]
        assert re.fullmatch(r"\+1\d{3}55501\d\d|\+447700900\d{3}", number)
        assert caller.identity == f"sip_{number}"
        assert caller.attributes["sip.callID"].startswith("SCL_")


def test_odd_room_names_come_up_and_keep_to_the_limit() -> None:
    names = {room.name for seed in range(20) for room in calm(seed).rooms()}
    assert names >= set(ODD_ROOM_NAMES)
    assert all(len(name) <= 256 for name in names)


def test_an_agent_takes_turns_in_the_order_a_conversation_has() -> None:
    world = calm()
    _, _, agent = call_in(world)
    seen = [agent.attributes["lk.agent.state"]]
    for _ in range(600):
        world.advance(world.now + 0.1)
        if agent.attributes["lk.agent.state"] != seen[-1]:
            seen.append(agent.attributes["lk.agent.state"])
    assert len(seen) > 6
    turns = {"listening": "thinking", "thinking": "speaking", "speaking": "listening"}
    assert all(turns[before] == after for before, after in pairwise(seen))


@pytest.mark.parametrize("line", LINES)
def test_every_line_but_billing_speaks_the_helper_protocol(line: Line) -> None:
    room, _, agent = call_in(calm(), line)
    assert room.name.startswith(line.prefix) or room.name in ODD_ROOM_NAMES
    assert agent.attributes["lk.agent.name"] == line.staff.name
    helper = {key: value for key, value in agent.attributes.items() if key.startswith("lk-tui.")}
    assert helper == ({} if line is BILLING else {"lk-tui.helper": "1", "lk-tui.session": "open"})


def test_lists_lag_by_up_to_five_seconds_and_leave_agents_out() -> None:
    world = calm()
    room = world._traffic.open(600.0, SALES).room
    (dispatch,) = room.dispatches.values()
    world.advance(world.now + 0.01)
    assert room.info.num_participants == 0
    world.advance(world.now + 6.1)
    people = len(room.people)
    world.advance(world.now + 5.0)
    assert room.info.num_participants in (people, len(room.people))
    (agent,) = room.agents
    (job,) = dispatch.jobs
    assert not dispatch.message(job.started_at + 0.2).state.jobs
    (listed,) = dispatch.message(job.started_at + 5.0).state.jobs
    assert listed.state.participant_identity == agent.identity == f"agent-{job.id}"


def test_a_kicked_agent_never_comes_back_and_its_dispatch_stays() -> None:
    world = calm()
    room, _, agent = call_in(world)
    world.remove_participant(room.name, agent.identity)
    assert agent.gone
    world.advance(world.now + 30.0)
    assert not room.agents
    assert agent.dispatch.id in room.dispatches


def test_a_kicked_person_mostly_rejoins_within_three_seconds_as_somebody_with_a_new_sid() -> None:
    world = calm()
    returned = 0
    for _ in range(20):
        room, person, _ = call_in(world, SUPPORT)
        world.remove_participant(room.name, person.identity)
        assert person.identity not in room.participants
        world.advance(world.now + 3.1)
        again = room.participants.get(person.identity)
        if again is not None:
            returned += 1
            assert again.sid != person.sid
            assert again.attributes == person.attributes
    assert 12 <= returned < 20


def test_a_deleted_dispatch_takes_its_agent_out_within_40_ms() -> None:
    world = calm()
    room, _, agent = call_in(world)
    world.delete_dispatch(room.name, agent.dispatch.id)
    assert not room.dispatches
    world.advance(world.now + 0.05)
    assert agent.gone


def test_a_hung_agent_outlives_its_deleted_dispatch_by_four_seconds() -> None:
    world = troubled()
    agent = hung(world)
    world.delete_dispatch(agent.room.name, agent.dispatch.id)
    world.advance(NOW + 4.3)
    assert not agent.gone
    world.advance(NOW + 4.5)
    assert agent.gone


def test_a_hung_agent_is_gone_after_21_s_and_its_dispatch_stays() -> None:
    world = troubled()
    agent = hung(world)
    world.advance(NOW + 17.0)
    assert not agent.gone
    world.advance(NOW + 21.0)
    assert agent.gone
    assert agent.dispatch.id in agent.room.dispatches


def test_a_dispatch_brings_an_agent_that_initializes_and_then_listens() -> None:
    world = calm()
    room, _, first = call_in(world, INTAKE)
    dispatch = world.create_dispatch(room.name, "closer")
    world.advance(world.now + 0.31)
    (second,) = [agent for agent in room.agents if agent is not first]
    assert second.dispatch is dispatch
    assert second.attributes["lk.agent.state"] == "initializing"
    world.advance(world.now + 1.3)
    assert second.attributes["lk.agent.state"] == "listening"


def test_a_dispatch_to_a_name_without_workers_stays_without_jobs() -> None:
    world = calm()
    dispatch = world.create_dispatch("new-room", "nobody")
    world.advance(NOW + 10.0)
    assert [d.agent_name for d in world.dispatches("new-room")] == ["", "nobody"]
    assert not dispatch.jobs


def test_a_room_deleted_while_its_agent_starts_may_come_back_without_people() -> None:
    world = calm()
    returned = 0
    for number in range(20):
        name = f"lab-{number}"
        sid = world.create_room(name, ["intake"]).info.sid
        world.advance(world.now + 2.0)
        world.delete_room(name)
        assert not world.rooms([name])
        world.advance(world.now + 17.0)
        for room in world.rooms([name]):
            returned += 1
            assert room.info.sid != sid
            assert len(room.agents) == 1
            assert not room.people
    assert 10 <= returned < 20


def test_a_room_deleted_later_stays_away() -> None:
    world = calm()
    room, person, agent = call_in(world)
    world.advance(world.now + 5.0)
    world.delete_room(room.name)
    assert person.gone
    assert agent.gone
    world.advance(world.now + 60.0)
    assert not world.rooms([room.name])


def test_a_room_that_its_people_left_closes_after_20_s_whether_an_agent_is_there_or_not() -> None:
    world = calm()
    room, _, agent = call_in(world)
    world._traffic.hang_up(world._traffic.calls[room.info.sid])
    world.advance(world.now + 19.9)
    assert not room.closed
    assert not agent.gone
    world.advance(world.now + 0.2)
    assert room.closed
    assert agent.gone


def test_a_room_that_nobody_joined_closes_after_its_empty_timeout() -> None:
    world = calm()
    room = world.create_room("lab", empty_timeout=60)
    world.advance(NOW + 59.9)
    assert not room.closed
    world.advance(NOW + 60.1)
    assert room.closed


@settings(max_examples=30, deadline=None)
@given(seed=SEEDS, actions=st.lists(st.tuples(st.sampled_from("kdrcsx"), st.integers(0, 999)), max_size=40))
def test_whatever_is_done_to_it_the_world_stays_consistent(seed: int, actions: list[tuple[str, int]]) -> None:
    world = World(seed, rooms=12)
    world.advance(NOW)
    for action, number in actions:
        rooms = world.rooms()
        room = rooms[number % len(rooms)]
        members = list(room.participants.values())
        if action == "d":
            world.delete_room(room.name)
        elif action == "c":
            world.create_dispatch(room.name, ("", "closer", "nobody")[number % 3])
        elif action == "r" and room.dispatches:
            world.delete_dispatch(room.name, next(iter(room.dispatches)))
        elif members:
            member = members[number % len(members)]
            if action == "k":
                world.remove_participant(room.name, member.identity)
            elif isinstance(member, Agent) and action == "s":
                world.close_session(member, "mira")
            elif isinstance(member, Agent):
                world.shut_down_job(member, "mira")
        world.advance(world.now + number / 200)
        for each in world.rooms():
            assert not each.closed
            assert (each.emptied_at is None) == bool(each.people)
            assert all(p.room is each and not p.gone for p in each.participants.values())


# --- the service ---


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
    assert 2.9 < time.monotonic() - started < 4.0
    for error in errors:
        assert isinstance(error, api.TwirpError)
        assert (error.status, error.code) == (503, "unavailable")
        assert error.message == "twirp error unknown: no response from servers"


async def test_a_hung_agent_acknowledges_no_rpc_for_two_seconds(livekit: api.LiveKitAPI, demo: DemoService) -> None:
    agent = hung(demo.world)
    started = time.monotonic()
    with pytest.raises(api.TwirpError) as caught:
        await call_method(livekit, agent.room.name, agent.identity, "lk-tui.close_session")
    assert 1.9 < time.monotonic() - started < 3.0
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
        await asyncio.wait_for(arrived.wait(), 5.0)


async def test_a_closed_service_is_gone_even_while_it_keeps_somebody_waiting() -> None:
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
        assert time.monotonic() - started < 2.0
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
