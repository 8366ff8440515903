"""Carrying plans out against a scripted server in virtual time: as it should go, targets that change, stopping.

What a real server does is in test_control_live.py; here is what can't be had from one at will.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from tests.build import snapshot
from tests.plans import NOW, agent, dispatch, person, room
from tests.scripted_gateway import (
    CASES,
    GHOST,
    HELPED,
    Script,
    ScriptedGateway,
    carry_out,
    carry_out_case,
    every_action,
    planned,
    reads_before_the_first_change,
)
from tests.virtual_time import in_virtual_time, seconds
from tui.control.control import Control
from tui.control.plan import plan
from tui.model.action import Action, ActionRecord, Outcome
from tui.model.close_phrases import close_words
from tui.model.closes import CloseBook

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

        control = Control(gateway, "mira", take, clock=lambda: NOW + seconds())
        here = HELPED
        for action, sid in ((Action.CLOSE_SESSION, None), (Action.KICK, agent_sid), (Action.DELETE_ROOM, None)):
            assert (await control.carry_out(plan(action, here, sid, NOW + seconds()))).outcome is Outcome.CONFIRMED
            here = gateway.here or here
        list(book.absorb(snapshot(at=NOW + seconds())))

    list(book.absorb(snapshot(HELPED, at=NOW)))
    in_virtual_time(main())
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
        control = Control(gateway, "mira", lambda _: None, clock=lambda: NOW + seconds())
        plans = [plan(Action.KICK, HELPED, sid, NOW) for sid in ("PA_alice", "PA_bob")]
        return list(await asyncio.gather(*map(control.carry_out, plans))), control, seconds()

    records, control, took_s = in_virtual_time(main())
    assert [record.outcome for record in records] == [Outcome.CONFIRMED] * 2
    assert [record.id for record in control.records] == [1, 2]
    assert [record.target.participant_sid for record in records] == ["PA_alice", "PA_bob"]
    assert took_s < 4.0


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


def test_another_agent_that_joins_meanwhile_does_not_prove_a_dispatch_either() -> None:
    script = Script(agent_joins=None)
    script.events["create_dispatch", 0] = lambda gateway: gateway.add(agent("somebody-else"))
    carried = carry_out_case("dispatch agent", script)
    assert carried.record.outcome is Outcome.UNKNOWN
    assert carried.record.last == (
        "agent-AJ_somebody-else (PA_somebody-else) joined, and was not seen to be the agent that was ordered"
    )


def test_an_agent_that_does_not_say_its_name_is_known_by_its_job() -> None:
    script = Script(agent_joins=None)

    def start(gateway: ScriptedGateway) -> None:
        gateway.add(agent(""))
        gateway.order(dispatch("", id="AD_new"))

    script.events["create_dispatch", 0] = start
    assert carry_out_case("dispatch agent", script).record.outcome is Outcome.CONFIRMED


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
        record, then, finally_ = in_virtual_time(main(after))
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

    (record,) = in_virtual_time(main())
    assert record.outcome is Outcome.UNKNOWN
    assert record.last == "lk-tui ended after DeleteRoom was sent: not verified"


def test_records_are_bounded_and_the_oldest_ended_ones_go_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tui.control.control.RECORDS_KEPT", 50)

    async def main() -> Control:
        control = Control(ScriptedGateway(None, Script()), "mira", lambda _: None)
        for _ in range(55):
            await control.carry_out(planned("delete room"))
        return control

    assert [record.id for record in in_virtual_time(main()).records] == list(range(6, 56))
