"""Carrying plans out where something fails: errors at every call, agents that can't or won't, what comes back late."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.plans import NOW, agent, dispatch, person, room
from tests.scripted_gateway import (
    CASES,
    CHANGES,
    HELPED,
    TWO_AGENTS,
    Script,
    ScriptedGateway,
    carry_out,
    carry_out_case,
    every_action,
    reads_before_the_first_change,
)
from tui.control.plan import plan
from tui.control.plan_many import plan_many
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
from tui.model.action import Action, Outcome
from tui.model.room import Kind
from tui.model.signs import Kick
from tui.oneshot.act import exit_code

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


@pytest.mark.parametrize(
    ("method", "outcome", "last"),
    [
        ("list_rooms", Outcome.STOPPED, "lk-tui itself failed (ZeroDivisionError: a bug): nothing was sent"),
        (
            "delete_room",
            Outcome.UNKNOWN,
            "lk-tui itself failed (ZeroDivisionError: a bug) after DeleteRoom was sent: not verified",
        ),
    ],
)
def test_a_fault_of_our_own_ends_the_record_and_is_called_one(method: str, outcome: Outcome, last: str) -> None:
    carried = carry_out_case("delete room", Script(events={(method, 0): lambda _: 1 / 0}))
    assert (carried.record.outcome, carried.record.last) == (outcome, last)
    assert carried.control.stop_all() == 0


# Agents that can't or won't


def test_closing_without_the_helper_is_unsupported_and_offers_to_shut_the_job_down() -> None:
    carried = carry_out_case("close session", Script(errors={("call_helper", 0): MethodUnsupportedError("no helper")}))
    assert carried.record.outcome is Outcome.UNSUPPORTED
    assert carried.record.offers == (Action.SHUT_DOWN_JOB,)
    assert len(carried.gateway.changes) == 1


@pytest.mark.parametrize("case", ["close session", "shut down by helper"])
def test_a_hung_agent_is_said_to_be_hung_and_nothing_stronger_is_done(case: str) -> None:
    carried = carry_out_case(case, Script(errors={("call_helper", 0): AgentNotAnsweringError("no answer")}))
    # Its token is good for a while: when it wakes, it does what it was asked.
    assert carried.record.outcome is Outcome.UNKNOWN
    assert carried.record.last.endswith("is hung: its process does not answer; if it wakes, it may still do it")
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
    assert [step.outcome for step in carried.record.steps if "is hung" in step.text] == [Outcome.UNKNOWN]
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


def test_tearing_down_kicks_nobody_whom_it_could_not_check_once_more_and_goes_on_to_delete_the_room() -> None:
    script = Script(session_closes=None, agent_leaves=None)
    calls = [call[0] for call in carry_out_case("tear down", script).gateway.calls]
    read = calls[: calls.index("remove_participant")].count("list_participants") - 1
    script.errors = {("list_participants", number): UnreachableError("broken") for number in (read - 1, read)}
    carried = carry_out_case("tear down", script)
    assert "remove_participant" not in [change[0] for change in carried.gateway.changes]
    assert carried.said.count("is not kicked: who is there could not be read: broken | ") == 2
    assert "nothing more was sent" not in carried.said
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
