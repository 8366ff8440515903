"""Carrying plans out against a scripted server in virtual time: faults at every call, and things that come back late.

What a real server does is in test_control_live.py; here is what can't be had from one at will.
"""

from __future__ import annotations

import asyncio
import selectors
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.build import snapshot
from tests.test_plan import NOW, agent, dispatch, person, room
from tui.control.control import RECORDS_KEPT, Control
from tui.control.plan import Plan, plan
from tui.control.plan_many import plan_many
from tui.gateway.client import Gateway
from tui.gateway.errors import (
    AgentNotAnsweringError,
    AgentRefusedError,
    AuthenticationError,
    GatewayError,
    MethodUnsupportedError,
    MissingError,
    NoResponseError,
    NotLiveKitError,
    RateLimitedError,
    ReadOnlyError,
    ServerFailedError,
    UnreachableError,
)
from tui.model.action import Action, ActionRecord, Outcome
from tui.model.close_phrases import close_words
from tui.model.closes import CloseBook
from tui.model.patience import Patience
from tui.model.room import CloseReport, Dispatch, Kind, Participant, Room, SessionState
from tui.model.secret import Secret
from tui.model.signs import Kick
from tui.model.text import Name
from tui.oneshot.act import exit_code

T = TypeVar("T")


# Virtual time


class _SkippingSelector(selectors.SelectSelector):
    """Never waits: where it would, the clock is put forward instead."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise RuntimeError("nothing is scheduled: this would wait for ever")
        self.now += max(0.0, timeout)
        return super().select(0)


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop on which an hour takes no time."""

    def __init__(self) -> None:
        self._skipping = _SkippingSelector()
        super().__init__(self._skipping)

    def time(self) -> float:
        return self._skipping.now


def run(main: Coroutine[Any, Any, T]) -> T:
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(main)


def elapsed() -> float:
    return asyncio.get_running_loop().time()


# The scripted server


@dataclass
class Script:
    """How the server, its agents and its people behave. Times are virtual seconds after the call; None is never."""

    room_goes: bool = True
    room_returns: float | None = None
    person_goes: bool = True
    person_returns: float | None = None
    session_closes: float | None = 0.05
    agent_leaves: float | None = 0.05
    agent_joins: float | None = 0.3
    taken_over: bool = True
    latency: float = 0.004
    errors: dict[tuple[str, int], GatewayError] = field(default_factory=dict)
    """by method and number of the call, from 0: raised instead of doing anything"""
    lost_answers: dict[str, GatewayError] = field(default_factory=dict)
    """by method: raised after having done it"""
    events: dict[tuple[str, int], Callable[[ScriptedGateway], object]] = field(default_factory=dict)
    """by method and number of the call: what happens on the server just before it is answered"""


CHANGES = frozenset(
    {"call_helper", "remove_participant", "delete_room", "create_room", "create_dispatch", "delete_dispatch"}
)


class ScriptedGateway(Gateway):
    """One room on a server that does what the script says."""

    def __init__(self, here: Room | None, script: Script) -> None:
        super().__init__("http://scripted.test", "key", Secret("secret"))
        self.here = here
        self.is_ghost = here is not None and here.ghost_since is not None
        self.script = script
        self.calls: list[tuple[str, ...]] = []
        self.made: Counter[str] = Counter()

    @property
    def changes(self) -> list[tuple[str, ...]]:
        return [call for call in self.calls if call[0] in CHANGES]

    async def list_rooms(self, names: Iterable[str] = ()) -> tuple[Room, ...]:
        await self._answer("list_rooms", *names)
        return (self.here,) if self.here is not None and self.here.name.raw in set(names) else ()

    async def list_participants(self, room: Name) -> tuple[Participant, ...]:
        await self._answer("list_participants", room.raw)
        return (self.here.participants or ()) if self.here is not None else ()

    async def list_dispatches(self, room: Name) -> tuple[Dispatch, ...]:
        await self._answer("list_dispatches", room.raw)
        if self.here is None or self.is_ghost:
            raise NoResponseError("no response (503)")
        return self.here.dispatches or ()

    async def call_helper(self, room: Name, identity: Name, method: str, operator: str) -> str:
        await self._answer("call_helper", room.raw, identity.raw, method, operator)
        if method == "lk-tui.close_session":
            self._set_session(identity, SessionState.CLOSING)
            self._later(self.script.session_closes, lambda: self._set_session(identity, SessionState.CLOSED))
        else:
            self._later(self.script.agent_leaves, lambda: self.remove(identity.raw))
        self._lose("call_helper")
        return "closing"

    async def remove_participant(self, room: Name, identity: Name) -> None:
        await self._answer("remove_participant", room.raw, identity.raw)
        if self.script.person_goes:
            leaver = self.remove(identity.raw)
            if leaver is None:
                raise MissingError("participant does not exist")
            self._later(self.script.person_returns, lambda: self.add(replace(leaver, sid=leaver.sid + "_again")))
        self._lose("remove_participant")

    async def delete_room(self, room: Name) -> None:
        await self._answer("delete_room", room.raw)
        if self.here is None:
            raise MissingError("requested room does not exist")
        if self.is_ghost:
            raise NoResponseError("no response (503)")
        if self.script.room_goes:
            back = replace(self.here, sid=self.here.sid + "_again", participants=(agent("starting"),))
            self.here = None
            self._later(self.script.room_returns, lambda: self._set(back))
        self._lose("delete_room")

    async def create_room(self, room: Name) -> Room:
        await self._answer("create_room", room.raw)
        if self.here is None:
            self.here = Room("RM_new", room, NOW, participants=())
        self.is_ghost = self.is_ghost and not self.script.taken_over
        self._later(self.script.agent_joins, lambda: self.add(agent("started")))
        self._lose("create_room")
        return self.here

    async def create_dispatch(self, room: Name, agent_name: str) -> Dispatch:
        await self._answer("create_dispatch", room.raw, agent_name)
        self._later(self.script.agent_joins, lambda: self.add(agent("dispatched")))
        self._lose("create_dispatch")
        return Dispatch("AD_new", Name.of(agent_name))

    async def delete_dispatch(self, room: Name, dispatch_id: str) -> None:
        await self._answer("delete_dispatch", room.raw, dispatch_id)
        if self.here is None:
            raise NoResponseError("no response (503)")
        order = next((one for one in self.here.dispatches or () if one.id == dispatch_id), None)
        if order is None:
            raise MissingError("dispatch ID not found")
        for job in order.jobs:
            identity = job.identity.raw
            self._later(self.script.agent_leaves, lambda identity=identity: self.remove(identity))  # type: ignore[misc]
        self._lose("delete_dispatch")

    # What happens by itself

    def recreate(self) -> None:
        if self.here is not None:
            self.here = replace(self.here, sid="RM_other", participants=(agent("other"),), dispatches=())

    def vanish(self) -> None:
        self.here = None

    def rejoin(self) -> None:
        if self.here is not None:
            again = tuple(replace(who, sid=who.sid + "_again") for who in self.here.participants or ())
            self.here = replace(self.here, participants=again)

    def everybody_leaves(self) -> None:
        if self.here is not None:
            self.here = replace(self.here, participants=())

    def add(self, who: Participant) -> None:
        if self.here is not None:
            self.here = replace(self.here, participants=(*(self.here.participants or ()), who))

    def remove(self, identity: str) -> Participant | None:
        if self.here is None:
            return None
        everyone = self.here.participants or ()
        self.here = replace(self.here, participants=tuple(p for p in everyone if p.identity.raw != identity))
        return next((p for p in everyone if p.identity.raw == identity), None)

    def order(self, *dispatches: Dispatch) -> None:
        if self.here is not None:
            self.here = replace(self.here, dispatches=dispatches)

    def _set_session(self, identity: Name, state: SessionState) -> None:
        if self.here is None:
            return
        changed = []
        for who in self.here.participants or ():
            if who.identity.raw == identity.raw and who.agent is not None:
                close = CloseReport("user_initiated") if state is SessionState.CLOSED else None
                changed.append(replace(who, agent=replace(who.agent, session=state, close=close)))
            else:
                changed.append(who)
        self.here = replace(self.here, participants=tuple(changed))

    def _set(self, back: Room) -> None:
        self.here = back

    def _later(self, seconds: float | None, what: Callable[[], object]) -> None:
        if seconds is not None:
            asyncio.get_running_loop().call_later(seconds, what)

    async def _answer(self, method: str, *arguments: str) -> None:
        number = self.made[method]
        self.made[method] += 1
        self.calls.append((method, *arguments))
        await asyncio.sleep(self.script.latency)
        if (event := self.script.events.get((method, number))) is not None:
            event(self)
        if (error := self.script.errors.get((method, number))) is not None:
            raise error

    def _lose(self, method: str) -> None:
        if (error := self.script.lost_answers.get(method)) is not None:
            raise error


# Carrying out


HELPED = room(person("alice"), person("bob"), agent("frontdesk"), dispatches=(dispatch("frontdesk"),))
PLAIN = room(person("alice"), agent("frontdesk", helper=False), dispatches=(dispatch("frontdesk"),))
TWO_AGENTS = room(
    person("alice"),
    agent("frontdesk"),
    agent("billing", helper=False),
    dispatches=(dispatch("frontdesk"), dispatch("billing", id="AD_2")),
)
WAITING = room(person("alice"))
GHOST = replace(room(person("alice"), agent("frontdesk")), ghost_since=NOW - 30)

CASES: dict[str, tuple[Room, Action, str | None]] = {
    "close session": (HELPED, Action.CLOSE_SESSION, None),
    "shut down by helper": (HELPED, Action.SHUT_DOWN_JOB, None),
    "shut down by dispatch": (PLAIN, Action.SHUT_DOWN_JOB, None),
    "kick": (HELPED, Action.KICK, "PA_alice"),
    "delete room": (HELPED, Action.DELETE_ROOM, None),
    "tear down": (TWO_AGENTS, Action.TEAR_DOWN, None),
    "dispatch agent": (WAITING, Action.DISPATCH_AGENT, None),
    "repair room": (GHOST, Action.REPAIR_ROOM, None),
}
every_action = pytest.mark.parametrize("case", CASES)


def planned(case: str) -> Plan:
    here, action, selected = CASES[case]
    return plan(action, here, selected, NOW, agent_name="plain" if action is Action.DISPATCH_AGENT else "")


@dataclass
class Carried:
    """What came of a plan."""

    record: ActionRecord
    published: list[ActionRecord]
    gateway: ScriptedGateway
    control: Control
    seconds: float

    @property
    def said(self) -> str:
        return " | ".join(step.text for step in self.record.steps)


def carry_out(made: Plan, here: Room | None, script: Script | None = None, patience: Patience | None = None) -> Carried:
    async def main() -> Carried:
        gateway = ScriptedGateway(here, script or Script())
        published: list[ActionRecord] = []
        control = Control(
            gateway, "mira", published.append, patience=patience or Patience(), clock=lambda: NOW + elapsed()
        )
        record = await control.carry_out(made)
        return Carried(record, published, gateway, control, elapsed())

    return run(main())


def carry_out_case(case: str, script: Script | None = None) -> Carried:
    return carry_out(planned(case), CASES[case][0], script)


def reads_before_the_first_change(case: str) -> list[tuple[str, int]]:
    """Each read as (method, number of the call), in an undisturbed run."""
    numbers: Counter[str] = Counter()
    found = []
    for method, *_ in carry_out_case(case).gateway.calls:
        if method in CHANGES:
            break
        found.append((method, numbers[method]))
        numbers[method] += 1
    return found


# As it should go


@every_action
def test_an_action_that_works_is_confirmed_from_the_lists(case: str) -> None:
    carried = carry_out_case(case)
    assert carried.record.outcome is Outcome.CONFIRMED
    assert carried.record.last.startswith("confirmed")
    assert carried.record.steps[0].text == "requested"


@every_action
def test_every_step_is_published_with_its_time_and_only_the_last_is_final(case: str) -> None:
    carried = carry_out_case(case)
    # That a change is being sent is published too, and is no step.
    lengths = dict.fromkeys(len(record.steps) for record in carried.published)
    assert list(lengths) == list(range(1, len(carried.record.steps) + 1))
    assert {record.outcome for record in carried.published[:-1]} == {Outcome.RUNNING}
    assert carried.published[-1] == carried.record
    assert carried.control.records == (carried.record,)
    times = [step.at for step in carried.record.steps]
    assert times == sorted(times)
    assert times[0] == NOW


def test_a_delete_reads_as_it_happened() -> None:
    carried = carry_out_case("delete room")
    assert [step.text for step in carried.record.steps] == [
        "requested",
        "re-checked: RM_1 is still support-4711",
        "DeleteRoom answered OK in 4 ms",
        "gone from the list; watching the name for 20 s",
        "confirmed: gone from the list, and did not come back",
    ]
    assert carried.seconds >= 20.0


def test_an_effect_is_noted_when_it_is_seen_however_long_a_return_is_watched_for() -> None:
    for case in ("close session", "shut down by helper", "kick", "delete room", "tear down"):
        record = carry_out_case(case).record
        assert record.done_at is not None, case
        assert record.at < record.done_at <= record.steps[-1].at, case
    for case in ("kick", "delete room"):
        watching = carry_out_case(case).published[-2]
        assert watching.done_at == watching.steps[-1].at < NOW + 1, case


def test_an_effect_that_was_not_seen_is_not_noted() -> None:
    for case, script in (
        ("close session", Script(session_closes=None)),
        ("kick", Script(person_goes=False)),
        ("delete room", Script(room_goes=False)),
    ):
        assert carry_out_case(case, script).record.done_at is None, case


def test_a_session_that_was_closed_from_here_before_any_poll_saw_it_was_not_ended_by_what_was_done_next() -> None:
    book = CloseBook()
    agent_sid = HELPED.agents[0].participant.sid

    async def main() -> None:
        gateway = ScriptedGateway(HELPED, Script())

        def take(record: ActionRecord) -> None:
            book.absorb_record(record)

        control = Control(gateway, "mira", take, clock=lambda: NOW + elapsed())
        here = HELPED
        for action, sid in ((Action.CLOSE_SESSION, None), (Action.KICK, agent_sid), (Action.DELETE_ROOM, None)):
            assert (await control.carry_out(plan(action, here, sid, NOW + elapsed()))).outcome is Outcome.CONFIRMED
            assert gateway.here is None or (here := gateway.here)
        list(book.absorb(snapshot(at=NOW + elapsed())))

    list(book.absorb(snapshot(HELPED, at=NOW)))
    run(main())
    (event,) = book.events
    assert close_words(event) == "session closed by operator"


def test_the_helper_is_asked_in_the_operators_name() -> None:
    carried = carry_out_case("close session")
    (change,) = carried.gateway.changes
    assert change == ("call_helper", "support-4711", "agent-AJ_frontdesk", "lk-tui.close_session", "mira")


def test_an_agent_that_leaves_instead_of_closing_has_no_session_either() -> None:
    script = Script(session_closes=None)
    script.events["list_participants", 2] = ScriptedGateway.everybody_leaves
    carried = carry_out_case("close session", script)
    assert carried.record.outcome is Outcome.CONFIRMED
    assert carried.record.last == "confirmed: frontdesk left the list"


def test_people_left_without_an_agent_are_offered_one() -> None:
    assert carry_out_case("shut down by helper").record.offers == (Action.DISPATCH_AGENT,)


def test_tearing_down_ends_each_agent_its_own_way_and_then_the_room() -> None:
    carried = carry_out_case("tear down")
    assert [
        (change[0], change[-2] if change[0] == "call_helper" else change[-1]) for change in carried.gateway.changes
    ] == [
        ("call_helper", "lk-tui.close_session"),
        ("call_helper", "lk-tui.shut_down_job"),
        ("delete_dispatch", "AD_2"),
        ("delete_room", "support-4711"),
    ]
    assert "billing: no helper, so its session is not closed first" in carried.said
    assert "confirmed: frontdesk's session is closed" in carried.said
    assert "confirmed: frontdesk, billing left the list" in carried.said


def test_tearing_down_deletes_a_dispatch_of_two_agents_once() -> None:
    both = room(agent("one", helper=False), agent("two", helper=False), dispatches=(dispatch("one", "two"),))
    carried = carry_out(plan(Action.TEAR_DOWN, both, None, NOW), both)
    assert [change[0] for change in carried.gateway.changes] == ["delete_dispatch", "delete_room"]
    assert carried.record.outcome is Outcome.CONFIRMED


def test_repairing_a_room_has_it_taken_over_lets_agents_start_and_deletes_it() -> None:
    carried = carry_out_case("repair room")
    assert [step.text for step in carried.record.steps] == [
        "requested",
        "re-checked: the node that should hold it does not answer (503)",
        "re-checked: RM_1 is still support-4711",
        "CreateRoom answered OK in 4 ms",
        "a node answers for it again; 3 s for agents that this starts to join, or they undo it",
        "re-checked: RM_1 is still support-4711",
        "DeleteRoom answered OK in 4 ms",
        "gone from the list; watching the name for 20 s",
        "confirmed: gone from the list, and did not come back",
    ]
    assert [change[0] for change in carried.gateway.changes] == ["create_room", "delete_room"]


def test_a_room_whose_node_answers_after_all_is_not_repaired() -> None:
    carried = carry_out(planned("repair room"), replace(GHOST, ghost_since=None))
    assert carried.record.outcome is Outcome.REFUSED
    assert carried.record.last == "the room's node answers: it is no ghost: nothing was sent"
    assert carried.gateway.changes == []
    assert carried.record.offers == (Action.DELETE_ROOM,)


def test_a_room_that_no_node_takes_over_is_not_deleted() -> None:
    carried = carry_out_case("repair room", Script(taken_over=False))
    assert carried.record.outcome is Outcome.UNKNOWN
    assert "no node was seen to take the room over within 5 s, so it was not deleted" in carried.record.last
    assert [change[0] for change in carried.gateway.changes] == ["create_room"]
    assert carried.record.offers == (Action.REPAIR_ROOM,)


def test_a_ghost_into_which_people_come_back_is_not_deleted() -> None:
    script = Script()
    script.events["create_room", 0] = lambda gateway: gateway.add(person("bob"))
    carried = carry_out_case("repair room", script)
    assert carried.record.outcome is Outcome.CAME_BACK
    assert carried.record.last == "1 person joined meanwhile: the room is in use again, so it was not deleted"
    assert [change[0] for change in carried.gateway.changes] == ["create_room"]
    assert (carried.record.came_back_sid, carried.record.offers) == ("RM_1", (Action.DELETE_ROOM,))


def test_a_ghost_that_goes_while_it_is_repaired_leaves_a_room_of_ours_and_that_is_said() -> None:
    script = Script()
    script.events["create_room", 0] = ScriptedGateway.vanish
    carried = carry_out_case("repair room", script)
    assert carried.record.outcome is Outcome.UNKNOWN
    assert carried.record.last == "RM_1 was gone: CreateRoom made RM_new, which is left to close by itself"
    assert carried.record.came_back_sid == "RM_new"
    assert [change[0] for change in carried.gateway.changes] == ["create_room"]


def test_a_ghost_that_delete_does_not_end_is_offered_the_repair() -> None:
    carried = carry_out(plan(Action.DELETE_ROOM, GHOST, None, NOW), GHOST)
    assert carried.record.outcome is Outcome.UNKNOWN
    assert carried.record.offers == (Action.REPAIR_ROOM,)


def test_many_actions_run_at_once_and_keep_their_records_apart() -> None:
    async def main() -> tuple[list[ActionRecord], Control, float]:
        gateway = ScriptedGateway(HELPED, Script())
        control = Control(gateway, "mira", lambda _: None, clock=lambda: NOW + elapsed())
        plans = [plan(Action.KICK, HELPED, sid, NOW) for sid in ("PA_alice", "PA_bob")]
        return list(await asyncio.gather(*map(control.carry_out, plans))), control, elapsed()

    records, control, seconds = run(main())
    assert [record.outcome for record in records] == [Outcome.CONFIRMED] * 2
    assert [record.id for record in control.records] == [1, 2]
    assert [record.target.participant_sid for record in records] == ["PA_alice", "PA_bob"]
    assert seconds < 4.0


# The target changed


@pytest.mark.parametrize("change", ["recreate", "vanish"])
@every_action
def test_a_room_that_changed_at_any_point_before_sending_gets_nothing(case: str, change: str) -> None:
    for read in reads_before_the_first_change(case):
        script = Script(events={read: getattr(ScriptedGateway, change)})
        carried = carry_out_case(case, script)
        assert carried.gateway.changes == [], read
        assert carried.record.outcome in (Outcome.REFUSED, Outcome.CONFIRMED, Outcome.FAILED), read
        assert "nothing was sent" in carried.said, read


@every_action
def test_a_recreated_room_is_refused_with_its_new_sid(case: str) -> None:
    read = next(read for read in reads_before_the_first_change(case) if read[0] == "list_rooms")
    carried = carry_out_case(case, Script(events={read: ScriptedGateway.recreate}))
    assert carried.record.outcome is Outcome.REFUSED
    assert carried.record.last == "support-4711 was recreated as RM_other since you looked: nothing was sent"


@pytest.mark.parametrize("case", ["close session", "shut down by helper", "shut down by dispatch", "kick"])
def test_a_participant_who_rejoined_is_refused_with_the_new_sid(case: str) -> None:
    carried = carry_out_case(case, Script(events={("list_participants", 0): ScriptedGateway.rejoin}))
    assert carried.gateway.changes == []
    assert carried.record.outcome is Outcome.REFUSED
    assert "_again since you looked: nothing was sent" in carried.record.last


@pytest.mark.parametrize(
    ("case", "outcome"),
    [
        ("kick", Outcome.CONFIRMED),
        ("shut down by helper", Outcome.CONFIRMED),
        ("shut down by dispatch", Outcome.CONFIRMED),
        ("close session", Outcome.REFUSED),
    ],
)
def test_a_participant_already_gone_is_done_or_refused(case: str, outcome: Outcome) -> None:
    carried = carry_out_case(case, Script(events={("list_participants", 0): ScriptedGateway.everybody_leaves}))
    assert carried.gateway.changes == []
    assert carried.record.outcome is outcome
    assert "was already gone: nothing was sent" in carried.record.last


@pytest.mark.parametrize(
    ("case", "outcome"),
    [
        ("kick", Outcome.CONFIRMED),
        ("delete room", Outcome.CONFIRMED),
        ("tear down", Outcome.CONFIRMED),
        ("shut down by dispatch", Outcome.CONFIRMED),
        ("close session", Outcome.REFUSED),
        ("dispatch agent", Outcome.REFUSED),
    ],
)
def test_a_room_already_gone_is_done_or_refused(case: str, outcome: Outcome) -> None:
    carried = carry_out(planned(case), None)
    assert carried.gateway.changes == []
    assert carried.record.outcome is outcome
    assert "was already gone: nothing was sent" in carried.record.last


def test_a_dispatch_with_another_job_than_the_dialog_named_is_refused() -> None:
    grown = dispatch("frontdesk", "latecomer")
    carried = carry_out_case("shut down by dispatch", Script(events={("list_rooms", 0): lambda g: g.order(grown)}))
    assert carried.gateway.changes == []
    assert carried.record.outcome is Outcome.REFUSED
    assert "AJ_latecomer is new" in carried.record.last


def test_a_dispatch_somebody_else_deleted_is_watched_and_not_deleted_again() -> None:
    carried = carry_out_case("shut down by dispatch", Script(events={("list_rooms", 0): lambda g: g.order()}))
    assert carried.gateway.changes == []
    assert carried.record.outcome is Outcome.REFUSED
    assert carried.record.offers == (Action.KICK,)

    def leaving(gateway: ScriptedGateway) -> None:
        gateway.order()
        asyncio.get_running_loop().call_later(1.0, gateway.remove, "agent-AJ_frontdesk")

    carried = carry_out_case("shut down by dispatch", Script(events={("list_rooms", 0): leaving}))
    assert carried.gateway.changes == []
    assert carried.record.outcome is Outcome.CONFIRMED


def test_tearing_down_a_room_recreated_meanwhile_does_not_delete_the_new_one() -> None:
    carried = carry_out_case("tear down", Script(events={("list_rooms", 1): ScriptedGateway.recreate}))
    assert "delete_room" not in [change[0] for change in carried.gateway.changes]
    assert carried.record.outcome is Outcome.CAME_BACK, "refused would say that nothing was sent"
    assert carried.record.last == "came back as RM_other: nothing more was sent"
    assert carried.record.came_back_sid == "RM_other"
    assert carried.record.offers == (Action.DELETE_ROOM,)


def test_tearing_down_mentions_an_agent_that_joined_since_and_does_not_close_it() -> None:
    script = Script(events={("list_rooms", 0): lambda g: g.add(agent("newcomer"))})
    carried = carry_out_case("tear down", script)
    assert "the agent agent-AJ_newcomer (PA_newcomer) joined since you looked" in carried.said
    assert all("agent-AJ_newcomer" not in change for change in carried.gateway.changes)
    assert carried.record.outcome is Outcome.CONFIRMED


def test_a_blocked_plan_is_refused() -> None:
    carried = carry_out(plan(Action.KICK, HELPED, None, NOW), HELPED)
    assert carried.gateway.calls == []
    assert carried.record.outcome is Outcome.REFUSED


# Errors


SAID_NO = [AuthenticationError("wrong key"), RateLimitedError("slow down")]
PROVES_NOTHING = [
    UnreachableError("broken"),
    NoResponseError("503"),
    ServerFailedError("500"),
    NotLiveKitError("a web page"),
]
CHANGE_OF = {
    "close session": "call_helper",
    "shut down by helper": "call_helper",
    "shut down by dispatch": "delete_dispatch",
    "kick": "remove_participant",
    "delete room": "delete_room",
    "dispatch agent": "create_dispatch",
}
single_action = pytest.mark.parametrize("case", CHANGE_OF)


@pytest.mark.parametrize("error", [*SAID_NO, *PROVES_NOTHING], ids=lambda e: type(e).__name__)
@every_action
def test_a_target_that_cannot_be_rechecked_gets_nothing(case: str, error: GatewayError) -> None:
    for read in reads_before_the_first_change(case):
        if case == "repair room" and read[0] == "list_dispatches" and isinstance(error, NoResponseError):
            # This is how a ghost room is known.
            continue
        carried = carry_out_case(case, Script(errors={read: error}))
        assert carried.gateway.changes == [], read
        assert carried.record.outcome is Outcome.FAILED
        assert str(error) in carried.record.last
        assert "nothing was sent" in carried.record.last


@pytest.mark.parametrize("error", SAID_NO, ids=lambda e: type(e).__name__)
@single_action
def test_a_server_that_says_no_makes_the_action_fail(case: str, error: GatewayError) -> None:
    carried = carry_out_case(case, Script(errors={(CHANGE_OF[case], 0): error}))
    assert carried.record.outcome is Outcome.FAILED
    assert len(carried.gateway.changes) == 1


@single_action
def test_read_only_is_refused(case: str) -> None:
    error = ReadOnlyError("lk-tui is read-only: nothing was sent")
    carried = carry_out_case(case, Script(errors={(CHANGE_OF[case], 0): error}))
    assert carried.record.outcome is Outcome.REFUSED
    assert carried.record.last == str(error)


@pytest.mark.parametrize("error", [*SAID_NO, *PROVES_NOTHING], ids=lambda e: type(e).__name__)
@pytest.mark.parametrize(("case", "changed"), [("tear down", "DeleteDispatch AD_2"), ("repair room", "CreateRoom")])
def test_a_recheck_that_fails_after_something_was_done_leaves_the_outcome_unknown(
    case: str, changed: str, error: GatewayError
) -> None:
    undisturbed = [call[0] for call in carry_out_case(case).gateway.calls]
    number = undisturbed[: undisturbed.index("delete_room")].count("list_rooms") - 1
    carried = carry_out_case(case, Script(errors={("list_rooms", number): error}))
    assert "delete_room" not in {change[0] for change in carried.gateway.changes}
    assert carried.record.outcome is Outcome.UNKNOWN, "failed would say that nothing changed"
    words = f"after {changed}: the target could not be re-checked: {error}; nothing more was sent"
    assert carried.record.last == words
    assert carried.record.offers == (CASES[case][1],)


@pytest.mark.parametrize("error", SAID_NO, ids=lambda e: type(e).__name__)
def test_a_tear_down_whose_last_change_is_declined_is_unknown_because_of_those_before(error: GatewayError) -> None:
    carried = carry_out_case("tear down", Script(errors={("delete_room", 0): error}))
    assert carried.record.outcome is Outcome.UNKNOWN
    assert carried.record.last == f"after DeleteDispatch AD_2: DeleteRoom failed: {error}"


@pytest.mark.parametrize("error", SAID_NO, ids=lambda e: type(e).__name__)
def test_a_tear_down_of_which_everything_is_declined_has_failed(error: GatewayError) -> None:
    everything = {(method, number): error for method in CHANGES for number in range(4)}
    carried = carry_out_case("tear down", Script(errors=everything))
    assert carried.record.outcome is Outcome.FAILED
    assert carried.record.last == f"DeleteRoom failed: {error}"
    assert carried.record.sent


def test_a_command_whose_tear_down_was_cut_short_ends_with_1() -> None:
    many = plan_many(Action.TEAR_DOWN, [(TWO_AGENTS, None)], NOW)
    for method, number in (("list_rooms", 1), ("delete_room", 0)):
        carried = carry_out_case("tear down", Script(errors={(method, number): AuthenticationError("wrong key")}))
        assert exit_code(many, [carried.record]) == 1, method


def test_read_only_ends_a_tear_down_at_once() -> None:
    carried = carry_out_case("tear down", Script(errors={("call_helper", 0): ReadOnlyError("read-only")}))
    assert carried.record.outcome is Outcome.REFUSED
    assert len(carried.gateway.changes) == 1


@pytest.mark.parametrize("error", PROVES_NOTHING, ids=lambda e: type(e).__name__)
@single_action
def test_a_change_whose_answer_was_lost_is_confirmed_by_the_lists(case: str, error: GatewayError) -> None:
    carried = carry_out_case(case, Script(lost_answers={CHANGE_OF[case]: error}))
    assert carried.record.outcome is Outcome.CONFIRMED
    assert str(error) in carried.said
    assert len(carried.gateway.changes) == 1


@pytest.mark.parametrize("error", PROVES_NOTHING, ids=lambda e: type(e).__name__)
@single_action
def test_a_change_that_neither_answer_nor_lists_prove_is_unknown(case: str, error: GatewayError) -> None:
    carried = carry_out_case(case, Script(errors={(CHANGE_OF[case], 0): error}))
    assert carried.record.outcome is Outcome.UNKNOWN
    assert str(error) in carried.record.last
    assert len(carried.gateway.changes) == 1


@pytest.mark.parametrize(
    ("case", "script"),
    [
        ("close session", Script(session_closes=None)),
        ("shut down by helper", Script(agent_leaves=None)),
        ("shut down by dispatch", Script(agent_leaves=None)),
        ("kick", Script(person_goes=False)),
        ("delete room", Script(room_goes=False)),
    ],
)
def test_an_ok_that_the_lists_do_not_bear_out_is_unknown(case: str, script: Script) -> None:
    assert carry_out_case(case, script).record.outcome is Outcome.UNKNOWN


def test_a_session_that_goes_on_closing_is_unknown_and_says_so() -> None:
    carried = carry_out_case("close session", Script(session_closes=None))
    assert carried.record.last == "frontdesk's session is still closing after 10 s"
    assert carried.record.offers == (Action.SHUT_DOWN_JOB,)


@pytest.mark.parametrize(
    ("case", "event"),
    [
        ("kick", lambda g: g.remove("alice")),
        ("delete room", ScriptedGateway.vanish),
    ],
)
def test_a_404_is_success(case: str, event: Callable[[ScriptedGateway], None]) -> None:
    carried = carry_out_case(case, Script(events={(CHANGE_OF[case], 0): event}))
    assert "there was nothing any more (404)" in carried.said
    assert carried.record.outcome is Outcome.CONFIRMED


@single_action
def test_reads_that_fail_while_verifying_are_tolerated(case: str) -> None:
    undisturbed = carry_out_case(case).gateway.calls
    sent = next(index for index, call in enumerate(undisturbed) if call[0] in CHANGES)
    verifying = undisturbed[sent + 1][0]
    first = sum(call[0] == verifying for call in undisturbed[:sent])
    errors: dict[tuple[str, int], GatewayError] = {
        (verifying, first): UnreachableError("broken"),
        (verifying, first + 1): RateLimitedError("slow down", 1.0),
        (verifying, first + 2): NoResponseError("503"),
    }
    assert carry_out_case(case, Script(errors=errors)).record.outcome is Outcome.CONFIRMED


@single_action
def test_lists_that_cannot_be_read_at_all_leave_the_outcome_unknown(case: str) -> None:
    sent = carry_out_case(case).gateway
    reads = Counter(call[0] for call in sent.calls[: sent.calls.index(sent.changes[0])])
    errors: dict[tuple[str, int], GatewayError] = {
        (method, number): UnreachableError("all is dark")
        for method in ("list_rooms", "list_participants")
        for number in range(reads[method], 500)
    }
    carried = carry_out_case(case, Script(errors=errors))
    assert carried.record.outcome is Outcome.UNKNOWN
    assert "all is dark" in carried.record.last


def test_a_return_that_could_not_be_watched_for_is_unknown() -> None:
    errors: dict[tuple[str, int], GatewayError] = {
        ("list_rooms", number): UnreachableError("dark") for number in range(2, 100)
    }
    carried = carry_out_case("delete room", Script(errors=errors))
    assert "gone from the list" in carried.said
    assert carried.record.outcome is Outcome.UNKNOWN
    assert carried.record.last == "gone, but whether it came back could not be read: dark"


# Agents that can't or won't


def test_closing_without_the_helper_is_unsupported_and_offers_to_shut_the_job_down() -> None:
    carried = carry_out_case("close session", Script(errors={("call_helper", 0): MethodUnsupportedError("no helper")}))
    assert carried.record.outcome is Outcome.UNSUPPORTED
    assert carried.record.offers == (Action.SHUT_DOWN_JOB,)
    assert len(carried.gateway.changes) == 1


@pytest.mark.parametrize("case", ["close session", "shut down by helper"])
def test_a_hung_agent_is_said_to_be_hung_and_nothing_stronger_is_done(case: str) -> None:
    carried = carry_out_case(case, Script(errors={("call_helper", 0): AgentNotAnsweringError("no answer")}))
    assert carried.record.outcome is Outcome.FAILED
    assert "hung" in carried.record.last
    assert carried.record.offers == (Action.SHUT_DOWN_JOB, Action.KICK)
    assert len(carried.gateway.changes) == 1


def test_the_shut_down_offered_for_a_hung_agent_goes_by_its_dispatch() -> None:
    record = carry_out_case("close session", Script(errors={("call_helper", 0): AgentNotAnsweringError("")})).record
    assert record.by_dispatch
    offered = plan(Action.SHUT_DOWN_JOB, HELPED, record.target.participant_sid, NOW, by_dispatch=record.by_dispatch)
    assert carry_out(offered, HELPED).gateway.changes == [("delete_dispatch", "support-4711", "AD_1")]


@pytest.mark.parametrize("case", ["close session", "shut down by helper"])
def test_an_agent_that_refuses_is_quoted(case: str) -> None:
    error = AgentRefusedError("the agent refused: the token is for another room (403)")
    carried = carry_out_case(case, Script(errors={("call_helper", 0): error}))
    assert carried.record.outcome is Outcome.FAILED
    assert "the token is for another room" in carried.record.last


def test_tearing_down_with_a_hung_agent_deletes_its_dispatch_instead_and_says_so() -> None:
    carried = carry_out_case("tear down", Script(errors={("call_helper", 0): AgentNotAnsweringError("no answer")}))
    assert [change[-1] for change in carried.gateway.changes if change[0] == "delete_dispatch"] == ["AD_1", "AD_2"]
    assert "frontdesk is hung" in carried.said
    assert [step.outcome for step in carried.record.steps if "is hung" in step.text] == [Outcome.FAILED]
    assert carried.record.outcome is Outcome.CONFIRMED


def test_tearing_down_kicks_the_agents_that_do_not_end_and_says_at_which_step() -> None:
    script = Script(session_closes=None, agent_leaves=None)
    carried = carry_out_case("tear down", script)
    assert "frontdesk's session is still closing after 10 s" in carried.said
    assert "not seen to leave within 5 s" in carried.said
    assert "frontdesk is still there, so it is kicked" in carried.said
    kicked = sorted(change[-1] for change in carried.gateway.changes if change[0] == "remove_participant")
    assert kicked == ["agent-AJ_billing", "agent-AJ_frontdesk"]
    assert carried.gateway.changes[-1][0] == "delete_room"
    assert carried.record.outcome is Outcome.CONFIRMED


def test_tearing_down_never_kicks_who_has_rejoined_under_an_agents_identity() -> None:
    script = Script(session_closes=None, agent_leaves=None)
    undisturbed = carry_out_case("tear down", script).gateway.calls
    looks = [number for number, call in enumerate(undisturbed) if call[0] == "list_participants"]
    assert "remove_participant" in {call[0] for call in undisturbed}
    for number in range(len(looks)):
        rejoining = replace(script, events={("list_participants", number): ScriptedGateway.rejoin})
        calls = carry_out_case("tear down", rejoining).gateway.calls
        position = [place for place, call in enumerate(calls) if call[0] == "list_participants"][number]
        # Two agents are kicked side by side, each after a look of its own: one may have been on its way.
        after = [call for call in calls[position + 2 :] if call[0] == "remove_participant"]
        assert not after, number


def test_tearing_down_goes_on_when_an_agent_can_not_even_be_kicked() -> None:
    script = Script(session_closes=None, agent_leaves=None, person_goes=False)
    carried = carry_out_case("tear down", script)
    assert carried.gateway.changes[-1][0] == "delete_room"
    assert carried.record.outcome is Outcome.CONFIRMED


# What comes back


@pytest.mark.parametrize("after", [0.0, 0.1, 15.0, 19.5])
def test_a_room_that_comes_back_is_shouted_and_a_second_delete_offered(after: float) -> None:
    carried = carry_out_case("delete room", Script(room_returns=after))
    assert carried.record.outcome is Outcome.CAME_BACK
    assert carried.record.came_back_sid == "RM_1_again"
    assert carried.record.offers == (Action.TEAR_DOWN, Action.DELETE_ROOM)
    assert carried.record.last.startswith("came back as RM_1_again after ")
    assert carried.record.last.endswith(
        "with 1 agent and no people: a starting agent did that; tear down shuts its job down first"
    )
    assert len(carried.gateway.changes) == 1


def test_a_room_that_comes_back_under_the_same_sid_came_back_too() -> None:
    script = Script(events={("list_rooms", 3): lambda g: g._set(HELPED)})
    record = carry_out_case("delete room", script).record
    assert record.outcome is Outcome.CAME_BACK
    assert record.last.startswith("came back under its own SID after ")
    assert "unless the server has room.auto_create: false" in record.last


def test_while_the_name_is_watched_the_record_runs_and_says_that_the_room_is_gone() -> None:
    watching = carry_out_case("delete room").published[-2]
    assert watching.outcome is Outcome.RUNNING
    assert watching.last == "gone from the list; watching the name for 20 s"


def test_tearing_down_watches_the_name_too() -> None:
    assert carry_out_case("tear down", Script(room_returns=15.0)).record.outcome is Outcome.CAME_BACK


@pytest.mark.parametrize("after", [0.0, 0.2, 2.5])
def test_a_kicked_person_who_rejoins_came_back(after: float) -> None:
    carried = carry_out_case("kick", Script(person_returns=after))
    assert carried.record.outcome is Outcome.CAME_BACK
    assert carried.record.came_back_sid == "PA_alice_again"
    assert "a kick is not a ban: only a token that has expired, or another API key" in carried.record.last
    assert carried.control.kicks["RM_1", "alice"].participant_sid == "PA_alice"


def test_what_would_have_kept_an_agent_or_a_caller_out_is_said_too() -> None:
    caller = person("+4915")
    here = room(replace(caller, kind=Kind.SIP), agent("frontdesk"), dispatches=(dispatch("frontdesk"),))
    for sid, words, offers in (
        ("PA_frontdesk", "shut its job down", (Action.SHUT_DOWN_JOB, Action.KICK)),
        ("PA_+4915", "only the SIP trunk or its dispatch rule keeps a caller out", (Action.KICK,)),
    ):
        record = carry_out(plan(Action.KICK, here, sid, NOW), here, Script(person_returns=0.2)).record
        assert record.outcome is Outcome.CAME_BACK
        assert words in record.last
        assert record.offers == offers


def test_a_kick_is_remembered_from_when_it_was_proven() -> None:
    kicks = carry_out_case("kick").control.kicks
    assert list(kicks) == [("RM_1", "alice")]
    assert kicks["RM_1", "alice"] == Kick("PA_alice", pytest.approx(NOW, abs=1.0))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "script",
    [
        Script(person_goes=False),
        Script(errors={("remove_participant", 0): UnreachableError("broken")}),
        Script(errors={("remove_participant", 0): AuthenticationError("no")}),
        Script(events={("list_participants", 0): ScriptedGateway.everybody_leaves}),
        Script(events={("remove_participant", 0): lambda g: g.remove("alice")}),
    ],
    ids=["not gone", "not sent", "refused", "gone before", "404"],
)
def test_only_a_proven_kick_of_ours_is_remembered(script: Script) -> None:
    assert carry_out_case("kick", script).control.kicks == {}


# Dispatch


def test_a_dispatch_that_finds_no_worker_fails_and_says_that_it_stays() -> None:
    carried = carry_out_case("dispatch agent", Script(agent_joins=None))
    assert carried.record.outcome is Outcome.FAILED
    assert carried.record.last == (
        "no agent joined within 10 s; the dispatch AD_new stays: is a worker of the name plain running?"
    )


def test_an_agent_that_was_there_before_does_not_prove_a_dispatch() -> None:
    made = plan(Action.DISPATCH_AGENT, HELPED, None, NOW)
    assert carry_out(made, HELPED, Script(agent_joins=None)).record.outcome is Outcome.FAILED


# Stopping


@every_action
def test_an_action_stopped_between_any_two_steps_sends_nothing_more(case: str) -> None:
    steps = len(carry_out_case(case).record.steps)

    async def main(after: int) -> tuple[ActionRecord, int, int]:
        gateway = ScriptedGateway(CASES[case][0], Script())
        changes_then = 0

        def publish(record: ActionRecord) -> None:
            nonlocal changes_then
            if len(record.steps) == after:
                changes_then = len(gateway.changes)
                control.stop_all()

        control = Control(gateway, "mira", publish)
        record = await control.carry_out(planned(case))
        return record, changes_then, len(gateway.changes)

    for after in range(1, steps):
        record, then, finally_ = run(main(after))
        if record.outcome is not Outcome.STOPPED:
            # Between the last look and the verdict there is nothing left to stop.
            assert (record.outcome, after) == (Outcome.CONFIRMED, steps - 1)
        assert finally_ == then, after


def test_stopping_an_action_that_has_ended_does_nothing() -> None:
    carried = carry_out_case("kick")
    assert carried.control.stop_all() == 0
    assert carried.control.records == (carried.record,)


def test_an_action_cancelled_after_sending_is_recorded_as_unknown() -> None:
    async def main() -> tuple[ActionRecord, ...]:
        control = Control(ScriptedGateway(HELPED, Script()), "mira", lambda _: None)
        task = asyncio.create_task(control.carry_out(planned("delete room")))
        await asyncio.sleep(5.0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return control.records

    (record,) = run(main())
    assert record.outcome is Outcome.UNKNOWN
    assert record.last == "lk-tui ended after DeleteRoom was sent: not verified"


def test_records_are_bounded_and_the_oldest_ended_ones_go_first() -> None:
    async def main() -> Control:
        control = Control(ScriptedGateway(None, Script()), "mira", lambda _: None)
        for _ in range(RECORDS_KEPT + 5):
            await control.carry_out(planned("delete room"))
        return control

    records = run(main()).records
    assert len(records) == RECORDS_KEPT
    assert records[-1].id == RECORDS_KEPT + 5


# Always

_errors = st.sampled_from(
    [
        *SAID_NO,
        *PROVES_NOTHING,
        MissingError("404"),
        MethodUnsupportedError("no helper"),
        AgentNotAnsweringError("hung"),
        AgentRefusedError("no"),
        ReadOnlyError("read-only"),
    ]
)
_methods = st.sampled_from(sorted({*CHANGES, "list_rooms", "list_participants", "list_dispatches"}))
_times = st.one_of(st.none(), st.floats(0.0, 30.0))
_events = st.sampled_from(
    [
        ScriptedGateway.recreate,
        ScriptedGateway.vanish,
        ScriptedGateway.rejoin,
        ScriptedGateway.everybody_leaves,
    ]
)
_scripts = st.builds(
    Script,
    room_goes=st.booleans(),
    room_returns=_times,
    person_goes=st.booleans(),
    person_returns=_times,
    session_closes=_times,
    agent_leaves=_times,
    agent_joins=_times,
    latency=st.floats(0.0, 3.0),
    errors=st.dictionaries(st.tuples(_methods, st.integers(0, 6)), _errors, max_size=6),
    lost_answers=st.dictionaries(_methods, st.sampled_from(PROVES_NOTHING), max_size=3),
    events=st.dictionaries(st.tuples(_methods, st.integers(0, 4)), _events, max_size=2),
)


@settings(deadline=None, max_examples=300)
@given(st.sampled_from(list(CASES)), _scripts)
def test_whatever_happens_nothing_is_sent_twice_and_the_record_ends(case: str, script: Script) -> None:
    carried = carry_out_case(case, script)
    assert max(Counter(carried.gateway.changes).values(), default=0) <= 1
    assert carried.record.outcome is not Outcome.RUNNING
    assert carried.record.sent or not carried.gateway.changes or script.errors
    assert carried.control.records == (carried.record,)
    if carried.record.outcome is Outcome.CAME_BACK:
        assert carried.record.came_back_sid
    if carried.record.outcome is Outcome.REFUSED and not script.errors:
        assert carried.gateway.changes == []
