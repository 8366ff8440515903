"""One action on many targets: what is planned for each, and what is said of all."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from tests.build import NOW, agent, dispatch, person, room
from tests.dashboard import served
from tui.control.plan_many import FEW, plan_many
from tui.model.action import Action
from tui.model.room import OBSERVER_PREFIX, Kind, Room, SessionState


def rooms(number: int) -> list[Room]:
    return [served(f"room-{index}") for index in range(number)]


def said(action: Action, *marked: Room) -> str:
    return " ".join(plan_many(action, [(one, None) for one in marked], NOW).effects)


@given(st.sampled_from(Action), st.sets(st.integers(0, 30), max_size=12))
def test_every_target_is_one_that_is_marked_and_each_is_there_once(action: Action, numbers: set[int]) -> None:
    marked = [served(f"room-{number}") for number in sorted(numbers)]
    many = plan_many(action, [(one, None) for one in marked], NOW)
    targets = [(plan.target.room_sid, plan.target.participant_sid) for plan in (*many.plans, *many.blocked)]
    assert len(targets) == len(set(targets))
    assert [sid for sid, _ in targets] == [one.sid for one in marked]
    assert all(not plan.blocked for plan in many.plans)
    assert all(plan.blocked for plan in many.blocked)


def test_what_is_done_to_an_agent_is_done_to_every_agent_of_a_marked_room() -> None:
    two = room("two", person(), agent("a", helper="1"), agent("b", helper="1"), dispatches=(dispatch("", "a", "b"),))
    many = plan_many(Action.CLOSE_SESSION, [(two, None), (served("one"), None)], NOW)
    assert [plan.target.participant_sid for plan in many.plans] == ["PA_a", "PA_b", "PA_agent-one"]
    assert many.effects == ("3 agents in 2 rooms: the sessions are closed, everybody stays.",)


def test_a_dispatch_that_ends_several_agents_is_deleted_once() -> None:
    two = room("two", person(), agent("a"), agent("b"), dispatches=(dispatch("", "a", "b"),))
    many = plan_many(Action.SHUT_DOWN_JOB, [(two, None)], NOW)
    (plan,) = many.plans
    assert [ended.participant.sid for ended in plan.agents] == ["PA_a", "PA_b"]
    assert many.title == "Shut down job: 2 agents"
    assert many.effects == ("1 dispatch is deleted, which ends 2 jobs.", "The people in 1 room stay.")


def test_a_kick_of_marked_participants_hits_these_and_of_marked_rooms_their_agents() -> None:
    call = served("call", person("bob", sid="PA_bob"))
    picked = plan_many(Action.KICK, [(call, "PA_bob"), (call, "PA_agent-call")], NOW)
    assert [plan.target.participant_sid for plan in picked.plans] == ["PA_bob", "PA_agent-call"]
    assert picked.effects == ("1 person and 1 agent in 1 room will be disconnected. Everybody else stays.",)
    (plan,) = plan_many(Action.KICK, [(call, None)], NOW).plans
    assert plan.target.participant_sid == "PA_agent-call"


def test_what_can_not_be_done_is_left_out_and_says_why() -> None:
    closed = room("closed", person(), agent("a", helper="1", session=SessionState.CLOSED))
    many = plan_many(Action.CLOSE_SESSION, [(closed, None), (room("nobody"), None), (served("one"), None)], NOW)
    assert [plan.target.room.safe for plan in many.plans] == ["one"]
    assert [plan.blocked.split(":")[0] for plan in many.blocked] == [
        "a's session is closed already; the agent stays until its job is shut down.",
        "There is no agent in this room.",
    ]
    assert plan_many(Action.CLOSE_SESSION, [(closed, None)], NOW).effects == ("None of them can be done.",)


def test_many_rooms_are_deleted_only_by_whoever_types_how_many() -> None:
    for action in Action:
        since = NOW - 30 if action is Action.REPAIR_ROOM else None
        few, many = (
            plan_many(action, [(replace(one, ghost_since=since), None) for one in rooms(number)], NOW)
            for number in (FEW, FEW + 1)
        )
        deletes = action in (Action.DELETE_ROOM, Action.TEAR_DOWN, Action.REPAIR_ROOM)
        assert (few.word, many.word) == ("", str(FEW + 1) if deletes else "")


def test_everyone_who_is_hit_is_counted() -> None:
    unread = room("unread", participants=None, checked_at=None)
    assert said(Action.DELETE_ROOM, *rooms(2), unread) == (
        "2 people and 2 agents will be disconnected. 3 rooms are gone after. "
        "Who is in 1 of these rooms is not known yet: more people may be hit."
    )
    assert said(Action.TEAR_DOWN, *rooms(2)).startswith("2 agents: where the helper runs the session is closed first;")
    many = plan_many(Action.DISPATCH_AGENT, [(one, None) for one in rooms(2)], NOW, agent_name="intake")
    assert many.effects == ("A worker named intake is asked for an agent, for each of 2 rooms.",)
    assert [plan.agent_name for plan in many.plans] == ["intake", "intake"]


def test_hidden_participants_are_counted_too_but_for_our_own() -> None:
    recorder = person("rec", sid="PA_rec", kind=Kind.EGRESS, hidden=True)
    ours = person(f"{OBSERVER_PREFIX}1", sid="PA_ours", kind=Kind.AGENT, hidden=True)
    recorded = room("recorded", recorder, ours)
    assert said(Action.DELETE_ROOM, recorded) == (
        "1 hidden participant (egress) will be disconnected. 1 room is gone after."
    )
    assert said(Action.DELETE_ROOM, recorded, served("call")) == (
        "1 person and 1 agent will be disconnected. 1 hidden participant (egress) will be disconnected too. "
        "2 rooms are gone after."
    )
    kicked = plan_many(Action.KICK, [(recorded, "PA_rec")], NOW)
    assert kicked.effects == ("1 hidden participant (egress) in 1 room will be disconnected. Everybody else stays.",)


def test_of_many_rooms_only_the_ghosts_are_repaired() -> None:
    ghost, well = rooms(2)
    many = plan_many(Action.REPAIR_ROOM, [(replace(ghost, ghost_since=NOW - 30), None), (well, None)], NOW)
    assert [plan.target.room_sid for plan in many.plans] == [ghost.sid]
    assert [plan.target.room_sid for plan in many.blocked] == [well.sid]
    assert " ".join(many.effects) == (
        "1 ghost room: taken over by a node that is alive, which starts automatic agents; then deleted, where nobody "
        "joined meanwhile. 1 person and 1 agent are listed there."
    )


def test_what_is_done_to_a_room_is_done_once_however_many_of_its_participants_are_marked() -> None:
    call = served("call", person("bob", sid="PA_bob"))
    marked = [(call, "PA_bob"), (call, "PA_agent-call"), (call, None)]
    for action in (Action.DELETE_ROOM, Action.TEAR_DOWN, Action.DISPATCH_AGENT):
        (plan,) = plan_many(action, marked, NOW).plans
        assert (plan.target.room_sid, plan.target.participant_sid) == ("RM_call", "")
