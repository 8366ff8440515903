"""The demo's world, with fake time."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.demo_world import BILLING, INTAKE, NOW, SALES, SUPPORT, call_in, calm, hung, troubled
from tui.demo import World
from tui.demo.names import ODD_ROOM_NAMES
from tui.demo.rooms import Agent, Kind, Process, Room
from tui.demo.traffic import LINES, Line
from tui.demo.trouble import SHARE

SEEDS = st.integers(0, 2**32)


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
