"""What a plan says before anything is done: whom it names, what it warns of, and why it is blocked."""

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.plans import NOW, agent, dispatch, person, room
from tui.control.plan import Plan, plan
from tui.model.action import Action
from tui.model.room import (
    OBSERVER_PREFIX,
    AgentFacts,
    Dispatch,
    Job,
    Kind,
    Participant,
    Room,
    SessionState,
)
from tui.model.text import Name


def said(made: Plan) -> str:
    return " ".join((*made.effects, *made.warnings))


ROOM_ACTIONS = (Action.DELETE_ROOM, Action.TEAR_DOWN, Action.DISPATCH_AGENT)
AGENT_ACTIONS = (Action.CLOSE_SESSION, Action.SHUT_DOWN_JOB)


# A ghost room


GHOST = replace(room(person("alice"), agent("frontdesk")), ghost_since=NOW - 30)


def test_a_repair_says_what_it_does_and_what_was_not_seen() -> None:
    made = plan(Action.REPAIR_ROOM, GHOST, None, NOW)
    assert not made.blocked
    told = said(made)
    for words in (
        "CreateRoom has a node that is alive take the room over",
        "starts automatic agents",
        "DeleteRoom ends the room",
        "Who is listed in it goes from the list: 1 person and 1 agent.",
        "If people join meanwhile, it is not deleted.",
        "Seen is only that its node doesn't answer.",
    ):
        assert words in told, words


def test_only_a_ghost_is_repaired() -> None:
    made = plan(Action.REPAIR_ROOM, room(person("alice")), None, NOW)
    assert made.blocked.startswith("Only a ghost room is repaired")
    assert made.offers == (Action.DELETE_ROOM,)


def test_what_ends_a_room_offers_the_repair_for_a_ghost_and_for_no_other() -> None:
    for action in (Action.DELETE_ROOM, Action.TEAR_DOWN):
        assert plan(action, GHOST, None, NOW).offers == (Action.REPAIR_ROOM,)
        assert plan(action, room(person("alice"), agent("frontdesk")), None, NOW).offers == ()


def test_every_other_action_on_a_ghost_warns_that_its_node_does_not_answer() -> None:
    for action in (*ROOM_ACTIONS, *AGENT_ACTIONS, Action.KICK):
        made = plan(action, replace(GHOST, dispatches=(dispatch("frontdesk"),)), "PA_frontdesk", NOW)
        assert "This is a ghost room, whose node doesn't answer" in " ".join(made.warnings), made


# Whom it names


def test_deleting_a_room_says_who_will_be_disconnected_by_kind() -> None:
    here = room(person("alice"), person("+49", Kind.SIP), agent("frontdesk"))
    made = plan(Action.DELETE_ROOM, here, None, NOW)
    assert made.effects == ("1 person, 1 phone caller and 1 agent will be disconnected. The room is gone after.",)
    assert (made.title, made.button) == ("Delete room", "Delete room")
    assert made.checked_at == NOW - 1.0


def test_deleting_an_empty_room_disconnects_nobody() -> None:
    assert plan(Action.DELETE_ROOM, room(), None, NOW).effects == ("Nobody is in it. The room is gone after.",)


def test_deleting_a_room_mentions_the_hidden_participants_it_disconnects() -> None:
    here = room(person("alice"), person("EG_1", Kind.EGRESS, hidden=True), person("watcher", hidden=True))
    (effect,) = plan(Action.DELETE_ROOM, here, None, NOW).effects
    assert effect.startswith("1 person will be disconnected. 2 hidden participants (egress and standard) will be ")


def test_a_room_that_was_never_read_can_be_deleted_but_not_torn_down() -> None:
    unread = replace(room(), participants=None, reported_people=3)
    deleted = plan(Action.DELETE_ROOM, unread, None, NOW)
    assert not deleted.blocked
    assert "LiveKit counts 3 people, and leaves agents out" in deleted.effects[0]
    torn_down = plan(Action.TEAR_DOWN, unread, None, NOW)
    assert "not known yet" in torn_down.blocked
    assert torn_down.offers == (Action.DELETE_ROOM,)


def test_a_room_action_is_aimed_at_the_room_even_where_a_participant_is_selected() -> None:
    made = plan(Action.DELETE_ROOM, room(person("alice")), "PA_alice", NOW)
    assert made.target.identity is None
    assert made.target.participant_sid == ""


@pytest.mark.parametrize("action", AGENT_ACTIONS)
def test_the_only_agent_is_meant_when_none_is_selected(action: Action) -> None:
    made = plan(action, room(person("alice"), agent("frontdesk")), None, NOW)
    assert not made.blocked
    assert made.target.participant_sid == "PA_frontdesk"
    assert made.target.agent_name == "frontdesk"
    assert [one.participant.sid for one in made.agents] == ["PA_frontdesk"]


@pytest.mark.parametrize("action", AGENT_ACTIONS)
def test_with_several_agents_one_has_to_be_selected(action: Action) -> None:
    here = room(agent("frontdesk"), agent("billing"))
    assert plan(action, here, None, NOW).blocked == "There are 2 agents in this room: select the one that is meant."
    assert plan(action, here, "PA_billing", NOW).target.participant_sid == "PA_billing"


@pytest.mark.parametrize("action", AGENT_ACTIONS)
def test_without_an_agent_there_is_nothing_to_end_and_one_to_dispatch(action: Action) -> None:
    made = plan(action, room(person("alice")), None, NOW)
    assert made.blocked == "There is no agent in this room."
    assert made.offers == (Action.DISPATCH_AGENT,)


@pytest.mark.parametrize("action", AGENT_ACTIONS)
def test_a_selected_person_is_never_taken_for_the_agent(action: Action) -> None:
    made = plan(action, room(person("alice"), agent("frontdesk")), "PA_alice", NOW)
    assert made.blocked == "alice is not an agent: select the agent."


@pytest.mark.parametrize("action", [*AGENT_ACTIONS, Action.KICK])
def test_a_selected_participant_who_has_left_blocks(action: Action) -> None:
    assert plan(action, room(agent("frontdesk")), "PA_gone", NOW).blocked == "PA_gone is not in this room any more."


# Close session


def test_closing_a_session_leaves_the_agent_and_the_people() -> None:
    made = plan(Action.CLOSE_SESSION, room(person("alice"), agent("frontdesk")), None, NOW)
    assert made.effects == (
        "frontdesk closes its session: it stops listening and talking. The agent and its job stay.",
        "1 person stays in the room.",
    )
    assert made.warnings == ()


def test_closing_a_closed_session_is_blocked_and_offers_to_shut_the_job_down() -> None:
    made = plan(Action.CLOSE_SESSION, room(agent("frontdesk", session=SessionState.CLOSED)), None, NOW)
    assert "closed already" in made.blocked
    assert made.offers == (Action.SHUT_DOWN_JOB,)


def test_closing_a_session_without_the_helper_is_tried_and_the_alternative_offered() -> None:
    made = plan(Action.CLOSE_SESSION, room(agent("frontdesk", helper=False)), None, NOW)
    assert not made.blocked
    assert "helper" in made.warnings[0]
    assert made.offers == (Action.SHUT_DOWN_JOB,)


# Shut down job


def test_with_the_helper_only_this_job_is_shut_down() -> None:
    both = (agent("frontdesk"), agent("billing"))
    made = plan(Action.SHUT_DOWN_JOB, room(*both, dispatches=(dispatch("frontdesk", "billing"),)), "PA_billing", NOW)
    assert made.dispatch is None
    assert [one.name for one in made.agents] == ["billing"]
    assert "The dispatch AD_1 and its 1 other job go on." in made.effects


def test_without_the_helper_all_jobs_of_the_dispatch_end_and_are_named() -> None:
    both = (agent("frontdesk", helper=False), agent("billing", helper=False))
    order = dispatch("frontdesk", "billing", "ghost")
    made = plan(Action.SHUT_DOWN_JOB, room(person("alice"), *both, dispatches=(order,)), "PA_frontdesk", NOW)
    assert made.dispatch == order
    assert {one.name for one in made.agents} == {"frontdesk", "billing"}
    assert made.effects[0] == (
        "The dispatch AD_1 is deleted, which ends all its 3 jobs: "
        "frontdesk (AJ_frontdesk), billing (AJ_billing) and AJ_ghost, whose agent is not here."
    )
    assert "Not only frontdesk's job: 2 other jobs of this dispatch will end too." in made.warnings
    assert any("will be without an agent" in warning for warning in made.warnings)


def test_agents_of_another_dispatch_are_not_ended() -> None:
    orders = (dispatch("frontdesk"), dispatch("billing", id="AD_2"))
    here = room(agent("frontdesk", helper=False), agent("billing", helper=False), dispatches=orders)
    made = plan(Action.SHUT_DOWN_JOB, here, "PA_frontdesk", NOW)
    assert [one.name for one in made.agents] == ["frontdesk"]
    assert "1 agent stays in the room." in made.effects


@pytest.mark.parametrize("known", [None, (), (dispatch("somebody else"),)])
def test_without_the_helper_an_unknown_dispatch_blocks_for_a_moment(known: tuple[Dispatch, ...] | None) -> None:
    made = plan(Action.SHUT_DOWN_JOB, room(agent("frontdesk", helper=False), dispatches=known), None, NOW)
    assert "frontdesk's dispatch is not known yet" in made.blocked
    assert "try again in a moment" in made.blocked
    assert made.offers == (Action.KICK,)


def test_a_helper_that_was_asked_in_vain_can_be_gone_round_by_the_dispatch() -> None:
    order = dispatch("frontdesk")
    made = plan(Action.SHUT_DOWN_JOB, room(agent("frontdesk"), dispatches=(order,)), None, NOW, by_dispatch=True)
    assert made.dispatch == order


# Kick


def test_a_kick_needs_a_participant() -> None:
    assert plan(Action.KICK, room(person("alice")), None, NOW).blocked == "Select the participant to kick."


def test_kicking_a_person_warns_that_it_is_no_ban() -> None:
    made = plan(Action.KICK, room(person("alice"), agent("frontdesk")), "PA_alice", NOW)
    assert made.effects == ("alice will be disconnected.", "1 agent stays in the room.")
    assert made.warnings == ("A kick is not a ban: whoever has a valid token can rejoin at once.",)


def test_kicking_a_phone_caller_says_that_the_call_ends() -> None:
    made = plan(Action.KICK, room(person("+49", Kind.SIP)), "PA_+49", NOW)
    assert made.effects[0] == "+49 will be disconnected: the phone call ends."


def test_kicking_the_last_agent_warns_of_people_left_without_one() -> None:
    made = plan(Action.KICK, room(person("alice"), agent("frontdesk")), "PA_frontdesk", NOW)
    assert made.warnings == ("1 person will be without an agent: none comes by itself, dispatch one.",)


def test_kicking_a_hidden_observer_says_what_it_is() -> None:
    made = plan(Action.KICK, room(person("watcher", hidden=True)), "PA_watcher", NOW)
    assert not made.blocked
    assert "hidden" in made.warnings[0]


# What may go wrong


@pytest.mark.parametrize("action", [Action.DELETE_ROOM, Action.TEAR_DOWN])
def test_an_agent_that_has_just_joined_may_bring_the_room_back(action: Action) -> None:
    made = plan(action, room(agent("frontdesk", joined_at=NOW - 3.2)), None, NOW)
    assert "frontdesk joined 3 s ago: a starting agent can bring the room back." in made.warnings


@pytest.mark.parametrize("action", [Action.DELETE_ROOM, Action.TEAR_DOWN])
def test_an_agent_that_is_long_there_is_not_warned_about(action: Action) -> None:
    assert "bring the room back" not in said(plan(action, room(agent("frontdesk")), None, NOW))


def test_deleting_with_an_open_session_points_to_tearing_down() -> None:
    made = plan(Action.DELETE_ROOM, room(agent("frontdesk")), None, NOW)
    assert made.warnings == ("frontdesk's session is open and ends without a goodbye: tear down closes it first.",)


def test_a_room_that_could_not_be_read_lately_is_pointed_out() -> None:
    troubled = replace(room(person("alice")), trouble="503")
    assert "The last attempt to read this room failed: 503." in plan(Action.DELETE_ROOM, troubled, None, NOW).warnings


# Tear down and dispatch


def test_tearing_down_says_how_each_agent_ends_first() -> None:
    here = room(
        agent("frontdesk"),
        agent("closed", session=SessionState.CLOSED),
        agent("plain", helper=False),
        agent("known", helper=False),
        dispatches=(dispatch("known"),),
    )
    made = plan(Action.TEAR_DOWN, here, None, NOW)
    assert made.effects == (
        "frontdesk's session is closed; its job is shut down.",
        "closed's session is closed already; its job is shut down.",
        "plain has no helper to close its session; it is kicked.",
        "known has no helper to close its session; its job is shut down.",
        "An agent that doesn't leave in time is kicked.",
        "4 agents will be disconnected. The room is gone after.",
    )


def test_dispatching_names_the_worker_and_who_waits() -> None:
    made = plan(Action.DISPATCH_AGENT, room(person("alice"), person("bob")), None, NOW, agent_name="plain")
    assert made.effects == (
        "A worker named plain is asked to send an agent into the room.",
        "2 people wait there.",
    )
    assert (made.agent_name, made.target.agent_name) == ("plain", "plain")


def test_dispatching_without_a_name_asks_an_automatic_worker() -> None:
    made = plan(Action.DISPATCH_AGENT, room(agent("frontdesk")), None, NOW)
    assert made.effects == ("An automatic worker (one without an agent name) is asked to send an agent into the room.",)
    assert made.warnings == (
        "Nobody is waiting in this room.",
        "frontdesk is here already: there will be one agent more.",
    )


def test_an_earlier_dispatch_that_found_no_worker_is_pointed_out() -> None:
    idle = replace(dispatch(), agent_name=Name.of("plain"))
    made = plan(Action.DISPATCH_AGENT, room(person("alice"), dispatches=(idle,)), None, NOW, agent_name="plain")
    assert any("AD_1" in warning for warning in made.warnings)


def test_the_raw_name_is_dispatched_and_the_safe_one_shown() -> None:
    made = plan(Action.DISPATCH_AGENT, room(), None, NOW, agent_name="a\x1b[2Jb")
    assert made.agent_name == "a\x1b[2Jb"
    assert made.target.agent_name == "a\\x1b[2Jb"
    assert "\x1b" not in said(made)


# Always

_names = st.text(alphabet="abc[/]\x1b\u202e ", min_size=1, max_size=6)


@st.composite
def _participants(draw: st.DrawFn) -> tuple[Participant, ...]:
    found = []
    for number in range(draw(st.integers(0, 6))):
        kind = draw(st.sampled_from(list(Kind)))
        name = f"{draw(_names)}{number}"
        if kind is Kind.AGENT:
            made = agent(
                name,
                helper=draw(st.booleans()),
                joined_at=NOW - draw(st.floats(0, 60)),
                session=draw(st.sampled_from(list(SessionState))),
            )
            # A name that an agent publishes of itself is made safe by the gateway.
            facts = replace(made.agent or AgentFacts(), name="")
            made = replace(made, sid=f"PA_{number}", agent=facts)
        else:
            made = replace(person(name, kind, hidden=draw(st.booleans())), sid=f"PA_{number}")
        found.append(made)
    return tuple(found)


@st.composite
def _rooms(draw: st.DrawFn) -> Room:
    participants = draw(_participants())
    agents = [who for who in participants if who.is_agent]
    owned = draw(st.lists(st.sampled_from(["AD_1", "AD_2", ""]), min_size=len(agents), max_size=len(agents)))
    jobs: dict[str, list[Job]] = {}
    for number, (who, order) in enumerate(zip(agents, owned, strict=True)):
        if order:
            jobs.setdefault(order, []).append(Job(f"AJ_{number}", who.identity, "AW_1", "running"))
    dispatches = tuple(Dispatch(id_, Name.of(""), tuple(theirs)) for id_, theirs in jobs.items())
    made = room(*participants, dispatches=dispatches)
    return replace(made, name=Name.of(draw(_names)), trouble=draw(st.sampled_from(["", "503"])))


@st.composite
def _plans(draw: st.DrawFn) -> tuple[Room, Plan]:
    here = draw(_rooms())
    sids = [None, "PA_gone", *(who.sid for who in here.participants or ())]
    action = draw(st.sampled_from(list(Action)))
    made = plan(
        action,
        here,
        draw(st.sampled_from(sids)),
        NOW,
        agent_name=draw(st.one_of(st.just(""), _names)),
        by_dispatch=draw(st.booleans()),
    )
    return here, made


@given(_plans())
def test_a_plan_always_holds_the_sid_that_it_will_be_rechecked_by(drawn: tuple[Room, Plan]) -> None:
    here, made = drawn
    assert made.target.room_sid == here.sid
    assert made.target.room == here.name
    if not made.blocked and made.action in (*AGENT_ACTIONS, Action.KICK):
        who = here.participant(made.target.participant_sid)
        assert who is not None
        assert who.identity == made.target.identity


@given(_plans())
def test_a_plan_never_names_more_than_there_are(drawn: tuple[Room, Plan]) -> None:
    here, made = drawn
    present = here.participants or ()
    limits = {
        "person": sum(p.is_person and p.kind is not Kind.SIP for p in present),
        "phone": sum(p.kind is Kind.SIP for p in present),
        "agent": len(here.agents),
        "hidden": sum(p.hidden for p in present),
    }
    for sentence in made.effects:
        for number, word in re.findall(r"\b(\d+) (person|people|phone|agent|hidden)\b", sentence):
            assert int(number) <= limits["person" if word == "people" else word], sentence


@given(_plans())
def test_a_plan_either_says_what_it_does_or_why_it_cannot(drawn: tuple[Room, Plan]) -> None:
    _, made = drawn
    assert bool(made.effects) != bool(made.blocked)
    assert bool(made.button) != bool(made.blocked)


@given(_plans())
def test_nothing_a_plan_says_can_reach_the_terminal_raw(drawn: tuple[Room, Plan]) -> None:
    _, made = drawn
    for text in (made.title, made.button, made.blocked, made.target.agent_name, *made.effects, *made.warnings):
        assert text.isprintable()


@given(_plans())
def test_the_agents_a_plan_ends_are_in_the_room_and_the_target_is_one_of_them(drawn: tuple[Room, Plan]) -> None:
    here, made = drawn
    sids = {one.participant.sid for one in made.agents}
    assert sids <= {one.participant.sid for one in here.agents}
    if not made.blocked and made.action in AGENT_ACTIONS:
        assert made.target.participant_sid in sids
    if made.dispatch is not None:
        assert made.dispatch in (here.dispatches or ())


@given(_plans())
def test_an_alternative_is_never_the_blocked_action_itself(drawn: tuple[Room, Plan]) -> None:
    _, made = drawn
    assert made.action not in made.offers


def test_our_own_observer_is_not_somebody_who_will_be_disconnected() -> None:
    watching = person(f"{OBSERVER_PREFIX}1234", hidden=True)
    (said,) = plan(Action.DELETE_ROOM, room(watching), None, NOW).effects
    assert said == "Nobody is in it. The room is gone after."
    (said,) = plan(Action.DELETE_ROOM, room(person("ann"), watching), None, NOW).effects
    assert said == "1 person will be disconnected. The room is gone after."
