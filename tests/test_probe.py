"""Probes: who is asked for a sign of life and when, what is believed, and what that costs everything else."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fake_gateway import (
    DISPATCHES,
    EPOCH,
    PARTICIPANTS,
    PROBE,
    ROOMS,
    FakeGateway,
    Screen,
    agent,
    busiest_minute,
    dispatch_of,
    gaps,
    person,
    poller_of,
    run_for,
    running,
    wall_clock,
)
from tests.lab.waiting import eventually
from tests.virtual_time import in_virtual_time, seconds
from tui.cli import DEMO_BUDGET
from tui.demo import DemoService, World
from tui.gateway.client import Gateway
from tui.gateway.errors import (
    AuthenticationError,
    GatewayError,
    MissingError,
    NoResponseError,
    NotLiveKitError,
    RateLimitedError,
    ServerFailedError,
    UnreachableError,
)
from tui.gateway.poller import Poller
from tui.gateway.probing import Probing
from tui.gateway.schedule import Kind, Read
from tui.model.evidence import SourceStatus
from tui.model.room import AgentFacts, ParticipantState
from tui.model.secret import Secret
from tui.model.signs import SignCode, Thresholds, signs


def with_agents(count: int) -> FakeGateway:
    """Rooms r0, r1 … with one person and one agent each, who are a0, a1 …"""
    gateway = FakeGateway()
    for number in range(count):
        gateway.add(f"r{number}", person(f"p{number}"), agent(f"a{number}"))
        gateway.dispatches[f"r{number}"] = (dispatch_of(f"a{number}"),)
    return gateway


def facts_on(screen: Screen, room: str, identity: str) -> AgentFacts:
    """What is known of an agent on the newest picture."""
    found = screen.last.rooms[f"RM_{room}"].agent(f"PA_{identity}")
    assert found is not None
    return found.facts


def says(gateway: FakeGateway, room: str, identity: str, state: str) -> None:
    """An agent publishes another state."""
    here = gateway.participants[room]
    gateway.participants[room] = tuple(agent(identity, state) if p.identity.raw == identity else p for p in here)


def visible(*numbers: int) -> list[str]:
    return [f"RM_r{number}" for number in numbers]


# What is believed


def test_when_an_agent_answered_last_is_on_the_picture_and_stays_there() -> None:
    async def scenario() -> None:
        gateway, screen = with_agents(1), Screen()
        poller = poller_of(gateway, screen)
        poller.watch([], "RM_r0")
        await run_for(poller, 11)
        asked = gateway.asked(PROBE, "r0/a0")
        assert asked == [2.0, 6.0, 10.0]
        assert facts_on(screen, "r0", "a0") == AgentFacts(
            state="listening", state_since=EPOCH, answered_at=EPOCH + 10.0
        )
        known = [snapshot.rooms["RM_r0"].agents[0].facts.answered_at for snapshot in screen.snapshots[2:]]
        assert known == [EPOCH + 2.0, EPOCH + 6.0, EPOCH + 6.0, EPOCH + 10.0]

    in_virtual_time(scenario())


def test_an_agent_that_leaves_two_probes_unanswered_is_silent_since_the_first() -> None:
    async def scenario() -> None:
        gateway, screen = with_agents(1), Screen()
        poller = poller_of(gateway, screen)
        poller.watch([], "RM_r0")
        async with running(poller):
            await asyncio.sleep(5)
            gateway.silent.add("a0")
            await asyncio.sleep(4.9)
            assert facts_on(screen, "r0", "a0").silent_since is None
            await asyncio.sleep(2.2)
            facts = facts_on(screen, "r0", "a0")
            assert (facts.answered_at, facts.silent_since) == (EPOCH + 2.0, EPOCH + 6.0)
            assert gateway.asked(PROBE)[:3] == [2.0, 6.0, 8.0]
            (sign,) = signs(screen.last.rooms["RM_r0"], wall_clock(), Thresholds())
            assert (sign.code, sign.since) == (SignCode.SILENT, EPOCH + 6.0)
            assert poller.probe_status.words == "1 agent silent"

    in_virtual_time(scenario())


def test_one_unanswered_probe_is_no_silence() -> None:
    async def scenario() -> None:
        gateway, screen = with_agents(1), Screen()
        poller = poller_of(gateway, screen)
        poller.watch([], "RM_r0")
        async with running(poller):
            await asyncio.sleep(5)
            gateway.silent.add("a0")
            await asyncio.sleep(2)
            gateway.silent.clear()
            await asyncio.sleep(4)
            assert gateway.asked(PROBE) == [2.0, 6.0, 8.0, 10.0]
            assert facts_on(screen, "r0", "a0").answered_at == EPOCH + 10.0
            assert all(shown.rooms["RM_r0"].agents[0].facts.silent_since is None for shown in screen.snapshots)

    in_virtual_time(scenario())


def test_a_silent_agent_is_asked_in_every_cycle_and_is_well_again_when_it_answers_twice() -> None:
    async def scenario() -> None:
        gateway, screen = with_agents(1), Screen()
        gateway.silent.add("a0")
        poller = poller_of(gateway, screen)
        async with running(poller):
            await asyncio.sleep(12.5)
            assert gateway.asked(PROBE) == [2.0, 4.0, 6.0, 8.0, 10.0, 12.0]
            assert facts_on(screen, "r0", "a0").silent_since == EPOCH + 2.0
            gateway.silent.clear()
            await asyncio.sleep(4)
            assert gateway.asked(PROBE)[6:] == [14.0, 14.0]
            facts = facts_on(screen, "r0", "a0")
            assert (facts.answered_at, facts.silent_since) == (EPOCH + 14.0, None)
            assert poller.probe_status == SourceStatus("probe", on=True, words="0 agents silent")

    in_virtual_time(scenario())


def test_an_agent_that_answers_now_and_then_does_not_flicker() -> None:
    class Flapping(FakeGateway):
        """Its agent answers every other probe, once it has been silent."""

        async def _answer(self, method: str, room: str, takes: float = 0.0) -> None:
            await super()._answer(method, room, takes)
            if method == PROBE and seconds() > 8:
                self.silent ^= {"a0"}

    async def scenario() -> None:
        gateway, screen = Flapping(), Screen()
        gateway.add("r0", person("p0"), agent("a0"))
        gateway.silent.add("a0")
        await run_for(poller_of(gateway, screen), 60)
        since = [snapshot.rooms["RM_r0"].agents[0].facts.silent_since for snapshot in screen.snapshots]
        assert set(since[4:]) == {EPOCH + 2.0}
        # What it answered it answered, all the same.
        answered = facts_on(screen, "r0", "a0").answered_at
        assert answered is not None
        assert answered > EPOCH + 50

    in_virtual_time(scenario())


def test_a_silence_outlasts_whatever_the_lists_say_next() -> None:
    async def scenario() -> None:
        gateway, screen = with_agents(1), Screen()
        gateway.silent.add("a0")
        async with running(poller_of(gateway, screen)):
            await asyncio.sleep(8.5)
            says(gateway, "r0", "a0", "thinking")
            await asyncio.sleep(4)
            facts = facts_on(screen, "r0", "a0")
            assert (facts.state, facts.state_since, facts.silent_since) == ("thinking", EPOCH + 10.0, EPOCH + 2.0)

    in_virtual_time(scenario())


@pytest.mark.parametrize(
    "error",
    [
        MissingError("participant does not exist"),
        NoResponseError("no response (503)"),
        ServerFailedError("data channel is not available"),
        UnreachableError("the connection broke"),
        RuntimeError("a bug"),
    ],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("silent", [False, True])
def test_a_probe_that_fails_otherwise_proves_nothing_and_is_not_repeated_for_half_a_minute(
    error: Exception, *, silent: bool
) -> None:
    async def scenario() -> None:
        gateway, screen = with_agents(1), Screen()
        if silent:
            gateway.silent.add("a0")
        poller = poller_of(gateway, screen)
        poller.watch([], "RM_r0")
        async with running(poller):
            await asyncio.sleep(8.5)
            before = facts_on(screen, "r0", "a0")
            assert (before.silent_since is not None) is silent
            # While it is asked the last time that it is asked, so that the answer is the error.
            gateway.errors[PROBE, "r0/a0"] = error
            await asyncio.sleep(5)
            failed = gateway.asked(PROBE)[-1]
            assert facts_on(screen, "r0", "a0") == before
            assert screen.last.rooms["RM_r0"].trouble == ""
            gateway.errors.clear()
            await asyncio.sleep(50)
            again = next(at for at in gateway.asked(PROBE) if at > failed)
            assert 30.0 <= again - failed < 34.5

    in_virtual_time(scenario())


@pytest.mark.parametrize("error", [NotLiveKitError("does not know LiveKit's API (404)"), AuthenticationError("no")])
def test_a_server_that_passes_no_probes_on_is_trouble_on_the_screen_and_is_asked_again_after_ten_minutes(
    error: GatewayError,
) -> None:
    async def scenario() -> None:
        gateway, screen = with_agents(20), Screen()
        for number in range(20):
            gateway.errors[PROBE, f"r{number}/a{number}"] = error
        poller = poller_of(gateway, screen)
        async with running(poller):
            await asyncio.sleep(590)
            assert poller.probe_status == SourceStatus("probe", on=False, words=str(error), trouble=True)
            assert len(gateway.asked(PROBE)) <= 20
            assert set(gateway.asked(PROBE)) == {2.0}
            assert not any(room.trouble for room in screen.last.rooms.values())
            gateway.errors.clear()
            await asyncio.sleep(20)
            assert poller.probe_status.on
            assert facts_on(screen, "r0", "a0").answered_at is not None

    in_virtual_time(scenario())


def test_quiet_that_a_probe_is_asked_for_is_kept_by_all() -> None:
    async def scenario() -> None:
        gateway, screen = with_agents(1), Screen()
        gateway.errors[PROBE, "r0/a0"] = RateLimitedError("429", 30.0)
        await run_for(poller_of(gateway, screen), 30)
        assert max(call.at for call in gateway.calls) == 2.0
        assert screen.last.rooms["RM_r0"].trouble == ""

    in_virtual_time(scenario())


def test_an_answer_for_an_agent_or_a_room_that_has_gone_meanwhile_is_dropped() -> None:
    async def scenario() -> None:
        gateway, screen = with_agents(3), Screen()
        gateway.silent |= {"a0", "a1", "a2"}
        poller = poller_of(gateway, screen)
        async with running(poller):
            await asyncio.sleep(3)
            gateway.participants["r0"] = (person("p0"),)
            del gateway.rooms["r1"]
            await asyncio.sleep(9)
            assert screen.last.rooms["RM_r0"].agents == ()
            assert list(screen.last.rooms) == ["RM_r0", "RM_r2"]
            assert poller.probe_status.words == "1 agent silent"
            assert len(gateway.asked(PROBE, "r0/a0")) == len(gateway.asked(PROBE, "r1/a1")) == 2

    in_virtual_time(scenario())


def test_people_and_agents_that_are_still_joining_are_not_probed() -> None:
    async def scenario() -> None:
        gateway = FakeGateway()
        joining = replace(agent("a0"), state=ParticipantState.JOINED)
        gateway.add("r0", person("p0"), joining)
        async with running(poller_of(gateway)):
            await asyncio.sleep(20)
            assert gateway.asked(PROBE) == []
            gateway.participants["r0"] = (person("p0"), agent("a0"))
            await asyncio.sleep(20)
            assert gateway.asked(PROBE, "r0/a0") == gateway.asked(PROBE) != []

    in_virtual_time(scenario())


def test_without_probing_nobody_is_probed_and_the_screen_is_told() -> None:
    async def scenario() -> None:
        gateway = with_agents(3)
        poller = Poller(gateway, Screen().publish, probe=False)
        poller.watch(visible(0, 1), "RM_r0")
        await run_for(poller, 60)
        assert gateway.asked(PROBE) == []
        assert poller.probe_status == SourceStatus("probe", on=False)

    in_virtual_time(scenario())


def test_a_one_shot_picture_probes_nobody() -> None:
    async def scenario() -> None:
        gateway = with_agents(3)
        await poller_of(gateway).poll_everything()
        assert gateway.asked(PROBE) == []

    in_virtual_time(scenario())


# Who is asked, and when


def test_the_open_room_is_probed_every_four_seconds_those_on_screen_every_six_the_rest_every_ten() -> None:
    async def scenario() -> None:
        gateway = with_agents(3)
        poller = poller_of(gateway)
        poller.watch(visible(0, 1), "RM_r0")
        await run_for(poller, 121)
        for number, pace in enumerate([4.0, 6.0, 10.0]):
            assert set(gaps(gateway.asked(PROBE, f"r{number}/a{number}"))) == {pace}

    in_virtual_time(scenario())


def test_an_agent_that_publishes_something_new_is_alive_and_need_not_be_asked() -> None:
    async def scenario() -> None:
        gateway = with_agents(3)
        poller = poller_of(gateway)
        poller.watch(visible(0, 1), "RM_r0")
        async with running(poller):
            for second in range(120):
                for number in range(3):
                    says(gateway, f"r{number}", f"a{number}", "listening" if second % 8 < 4 else "thinking")
                await asyncio.sleep(1)
        # The open room as ever; one on screen so often that its last answer is younger than a dead agent can be.
        assert set(gaps(gateway.asked(PROBE, "r0/a0"))) == {4.0}
        assert max(gaps(gateway.asked(PROBE, "r1/a1"))) <= 16.0
        assert gateway.asked(PROBE, "r2/a2") == [2.0]

    in_virtual_time(scenario())


def test_where_the_budget_is_short_an_agent_that_went_quiet_comes_before_those_that_talk() -> None:
    async def scenario() -> None:
        gateway = with_agents(40)
        async with running(poller_of(gateway, budget=150)):
            for second in range(400):
                for number in range(1, 40):
                    says(gateway, f"r{number}", f"a{number}", f"state {second}")
                await asyncio.sleep(1)
        quiet, *talking = [len([at for at in gateway.asked(PROBE, f"r{n}/a{n}") if at > 100]) for n in range(40)]
        assert quiet > 1.5 * sum(talking) / len(talking)

    in_virtual_time(scenario())


# What it costs everything else


@pytest.mark.parametrize("budget", [10, 60, 600])
def test_probes_are_paid_from_the_budget_and_take_at_most_a_quarter_of_what_lists_have(
    budget: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Both at the same pace: what probes find out ends a rest.
    monkeypatch.setattr("tui.gateway.pace.RESTS_AFTER_S", math.inf)

    async def spent(*, probe: bool) -> Counter[str]:
        gateway = with_agents(500)
        poller = Poller(gateway, Screen().publish, budget=budget, probe=probe)
        poller.watch(visible(*range(30)), None)
        await run_for(poller, 600)
        assert busiest_minute([call.at for call in gateway.calls]) <= budget
        return Counter(call.method for call in gateway.calls)

    without, probing = in_virtual_time(spent(probe=False)), in_virtual_time(spent(probe=True))
    assert probing[ROOMS] == without[ROOMS]
    lists = probing[PARTICIPANTS] + probing[DISPATCHES]
    assert lists >= 0.74 * (without[PARTICIPANTS] + without[DISPATCHES])
    # Less than one to three at first, while no agents are known yet.
    assert lists / 7 < probing[PROBE] <= lists / 3


@pytest.mark.parametrize("budget", [60, 600])
def test_the_open_room_is_watched_as_closely_with_probes_as_without(budget: int) -> None:
    async def reads(*, probe: bool) -> list[float]:
        gateway = with_agents(500)
        poller = Poller(gateway, Screen().publish, budget=budget, probe=probe)
        poller.watch(visible(*range(30)), "RM_r3")
        await run_for(poller, 120)
        return gateway.asked(PARTICIPANTS, "r3")

    assert in_virtual_time(reads(probe=True)) == in_virtual_time(reads(probe=False))


def test_every_agent_has_its_turn_even_where_a_crowd_does_not_answer() -> None:
    async def scenario() -> None:
        gateway, screen = with_agents(100), Screen()
        gateway.silent |= {f"a{number}" for number in range(40)}
        poller = poller_of(gateway, screen)
        poller.watch(visible(*range(30)), "RM_r0")
        await run_for(poller, 600)
        asked = Counter(call.room for call in gateway.calls if call.method == PROBE)
        assert len(asked) == 100
        assert min(asked.values()) >= 2
        assert all(facts_on(screen, f"r{n}", f"a{n}").silent_since is not None for n in range(40))
        assert all(facts_on(screen, f"r{n}", f"a{n}").silent_since is None for n in range(40, 100))

    in_virtual_time(scenario())


def test_silence_holds_up_neither_a_picture_nor_a_read() -> None:
    async def scenario() -> None:
        gateway, screen = with_agents(12), Screen()
        gateway.silent |= {f"a{number}" for number in range(12)}
        poller = poller_of(gateway, screen, budget=3000)
        poller.watch(visible(*range(12)), None)
        await run_for(poller, 61)
        assert list(dict.fromkeys(snapshot.at for snapshot in screen.snapshots)) == [
            EPOCH + 2.0 * tick for tick in range(31)
        ]
        assert all(gaps(gateway.asked(PARTICIPANTS, f"r{n}")) == [2.0] * 30 for n in range(12))
        assert gateway.most_under_way <= 8 + 8

    in_virtual_time(scenario())


def test_cancelling_ends_probes_under_way_at_once() -> None:
    async def scenario() -> None:
        gateway = with_agents(5)
        gateway.silent |= {f"a{number}" for number in range(5)}
        await run_for(poller_of(gateway), 3)
        assert seconds() == 3

    in_virtual_time(scenario())  # which fails if a task is left over


def test_a_picture_in_which_nobody_was_asked_is_made_of_the_same_rooms() -> None:
    async def scenario() -> None:
        gateway = with_agents(1)
        poller = poller_of(gateway)
        await poller.poll()
        await asyncio.sleep(2)
        answered = (await poller.poll()).rooms["RM_r0"]
        assert answered.agents[0].facts.answered_at == EPOCH + 2.0
        await asyncio.sleep(0.3)
        assert (await poller.poll()).rooms["RM_r0"] is answered
        await poller.close()

    in_virtual_time(scenario())


# The bookkeeping alone

room_sids = st.sampled_from(["RM_1", "RM_2", "RM_3"])
agent_sids = st.integers(0, 8).map("PA_{}".format)
happenings = st.lists(
    st.one_of(
        st.tuples(st.just("agents"), room_sids, st.sets(st.integers(0, 2))),
        st.tuples(st.just("forget"), room_sids),
        st.tuples(st.just("published"), agent_sids),
        st.tuples(st.just("told"), agent_sids, st.booleans()),
        st.tuples(st.just("unproven"), agent_sids),
        st.tuples(st.just("cycle"), st.lists(room_sids, max_size=3), st.none() | room_sids, st.integers(0, 4)),
    ),
    max_size=60,
)


@given(happenings)
def test_only_agents_that_are_there_are_probed_never_twice_in_a_cycle_and_each_in_time(
    happenings: list[tuple[object, ...]],
) -> None:
    probing, now, here = Probing(), 0.0, dict[str, str]()
    asked: dict[str, float] = {}
    for happening in happenings:
        match happening:
            case ("agents", str(room), set(numbers)):
                base = 3 * (int(room[-1]) - 1)
                agents = [f"PA_{base + number}" for number in sorted(numbers)]
                here = {sid: of for sid, of in here.items() if of != room} | dict.fromkeys(agents, room)
                probing.agents_are(room, agents)
            case ("forget", str(room)):
                here = {sid: of for sid, of in here.items() if of != room}
                probing.forget(room)
            case ("published", str(sid)):
                probing.published(sid, now)
            case ("told", str(sid), bool(silent)):
                probing.told(sid, silent=silent)
            case ("unproven", str(sid)):
                probing.unproven(sid, now)
            case ("cycle", list(rooms), opened, int(most)):
                now += 2.0
                due = list(dict.fromkeys(probing.due(rooms, opened, now, 2.0)))  # type: ignore[arg-type]
                for read in due:
                    assert read == Read(Kind.PROBE, here[read.agent], agent=read.agent)
                    assert now - asked.get(read.agent, -2.0) >= 1.0
                for read in due[:most]:
                    probing.started(read.agent, now)
                    asked[read.agent] = now
        asked = {sid: at for sid, at in asked.items() if sid in here}
        assert all(sid in probing for sid in here)
    # However it came to this: half a minute later all that are there are due, whoever looks at what.
    assert {read.agent for read in probing.due([], None, now + 31.0, 2.0)} == set(here)


# The demo


async def test_the_demos_hung_agent_is_found_by_reading_alone() -> None:
    screen = Screen()

    def found() -> list[str]:
        rooms = screen.last.rooms.values() if screen.snapshots else ()
        return [r.sid for r in rooms if SignCode.SILENT in {s.code for s in signs(r, screen.last.at, Thresholds())}]

    async with DemoService(World(1)) as demo:
        gateway = Gateway(demo.url, demo.api_key, Secret(demo.api_secret), read_only=True)
        async with gateway, running(Poller(gateway, screen.publish, budget=DEMO_BUDGET)):
            await eventually(found)
