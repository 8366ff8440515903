"""Verdicts: what evidence adds up to, piece by piece. The whole table is in test_endings.py, from the real server."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.build import NOW
from tui.model.action import Action, Outcome
from tui.model.causes import Cause, Verdict, judge
from tui.model.evidence import Evidence, Fact, Source
from tui.model.room import SessionError

CLOSED = Evidence(NOW, Source.HELPER, Fact.SESSION_CLOSED, "user_initiated")
GONE = Evidence(NOW + 1, Source.POLLING, Fact.AGENT_LEFT)
ROOM_GONE = Evidence(NOW + 1, Source.POLLING, Fact.ROOM_ENDED)
STAYS = Evidence(NOW + 1, Source.POLLING, Fact.DISPATCH_STAYS)
DELETED = Evidence(NOW + 1, Source.POLLING, Fact.DISPATCH_GONE)
STAYED = Evidence(NOW + 1, Source.POLLING, Fact.AGENT_STAYED)
SHUT_DOWN = Evidence(NOW, Source.HELPER, Fact.JOB_SHUT_DOWN, "goodbye said")


def left(reason: str, source: Source = Source.WEBHOOK) -> Evidence:
    return Evidence(NOW + 1, source, Fact.AGENT_LEFT, reason)


def acted(action: Action, outcome: Outcome = Outcome.CONFIRMED) -> Evidence:
    return Evidence(NOW - 1, Source.OPERATOR, Fact.OPERATOR_ACTED, by="mira", action=action, outcome=outcome)


def said(reason: str, **more: object) -> Evidence:
    return Evidence(NOW, Source.HELPER, Fact.SESSION_CLOSED, reason, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("reason", "cause"),
    [
        ("error", Cause.ERROR),
        ("participant_disconnected", Cause.USER_LEFT),
        ("task_completed", Cause.TASK_COMPLETED),
    ],
)
@pytest.mark.parametrize(
    "later",
    [(), (left("CLIENT_INITIATED"), STAYS), (ROOM_GONE,), (left("PARTICIPANT_REMOVED"), acted(Action.KICK))],
)
def test_a_close_reason_that_means_one_thing_is_the_cause_whatever_happens_to_the_agent_later(
    reason: str, cause: Cause, later: tuple[Evidence, ...]
) -> None:
    assert judge((said(reason), *later)).cause is cause


def test_a_session_that_has_only_just_closed_may_yet_turn_out_to_be_its_jobs_end() -> None:
    ends = (Cause.SHUT_DOWN_BY_CODE, Cause.DISPATCH_DELETED)
    assert judge((CLOSED,)) == Verdict(Cause.CLOSED_BY_CODE, could_be=ends)


@pytest.mark.parametrize("later", [(STAYED,), (STAYED, left("PARTICIPANT_REMOVED")), (STAYED, ROOM_GONE)])
def test_a_session_that_closed_alone_was_closed_by_code_even_if_the_agent_goes_later(
    later: tuple[Evidence, ...],
) -> None:
    assert judge((CLOSED, *later)) == Verdict(Cause.CLOSED_BY_CODE)


def test_a_session_that_closed_for_an_operator_names_it() -> None:
    assert judge((said("user_initiated", by="joe"), STAYED)) == Verdict(Cause.CLOSED_BY_OPERATOR, "joe")
    assert judge((CLOSED, STAYED, acted(Action.CLOSE_SESSION))) == Verdict(Cause.CLOSED_BY_OPERATOR, "mira")


@pytest.mark.parametrize(
    ("action", "end", "cause"),
    [
        (Action.KICK, left("PARTICIPANT_REMOVED"), Cause.KICKED_BY_OPERATOR),
        (Action.KICK, GONE, Cause.KICKED_BY_OPERATOR),
        (Action.DELETE_ROOM, left("ROOM_DELETED"), Cause.ROOM_DELETED_BY_OPERATOR),
        (Action.DELETE_ROOM, ROOM_GONE, Cause.ROOM_DELETED_BY_OPERATOR),
        (Action.SHUT_DOWN_JOB, left("CLIENT_INITIATED"), Cause.SHUT_DOWN_BY_OPERATOR),
        (Action.SHUT_DOWN_JOB, left("PARTICIPANT_REMOVED"), Cause.SHUT_DOWN_BY_OPERATOR),
        (Action.TEAR_DOWN, left("ROOM_DELETED"), Cause.TORN_DOWN_BY_OPERATOR),
    ],
)
def test_an_action_of_ours_explains_an_end_that_looks_like_it(action: Action, end: Evidence, cause: Cause) -> None:
    assert judge((end, acted(action))) == Verdict(cause, "mira")


@pytest.mark.parametrize(
    ("action", "end", "cause"),
    [
        (Action.KICK, left("ROOM_DELETED"), Cause.ROOM_DELETED_BY_SOMEONE),
        (Action.DELETE_ROOM, left("PARTICIPANT_REMOVED"), Cause.KICKED_BY_SOMEONE),
        (Action.SHUT_DOWN_JOB, left("CONNECTION_TIMEOUT"), Cause.AGENT_LOST),
    ],
)
def test_an_action_of_ours_does_not_explain_an_end_that_the_server_calls_another(
    action: Action, end: Evidence, cause: Cause
) -> None:
    assert judge((end, acted(action))) == Verdict(cause)


@pytest.mark.parametrize("end", [left("PARTICIPANT_REMOVED"), left("ROOM_DELETED"), left("CONNECTION_TIMEOUT")])
def test_an_agent_that_said_that_its_session_closed_was_not_cut_off_before(end: Evidence) -> None:
    # Its attributes don't get out any more once it is.
    assert judge((CLOSED, end, acted(Action.KICK), acted(Action.DELETE_ROOM))) == Verdict(Cause.CLOSED_BY_CODE)
    assert judge((CLOSED, GONE, acted(Action.KICK))) == Verdict(Cause.CLOSED_BY_CODE)


def test_a_session_whose_job_was_shut_down_after_it_was_asked_to_close_was_closed() -> None:
    asked = said("user_initiated", by="joe")
    then = Evidence(NOW + 0.5, Source.HELPER, Fact.JOB_SHUT_DOWN, "joe asked for it in lk-tui", by="joe")
    before = Evidence(NOW - 0.1, Source.HELPER, Fact.JOB_SHUT_DOWN, "joe asked for it in lk-tui", by="joe")
    assert judge((asked, then, GONE)) == Verdict(Cause.CLOSED_BY_OPERATOR, "joe")
    assert judge((asked, before, GONE)) == Verdict(Cause.SHUT_DOWN_BY_OPERATOR, "joe")


def test_a_tear_down_did_not_end_what_another_operator_had_asked_to_close() -> None:
    torn_down = (left("ROOM_DELETED"), acted(Action.TEAR_DOWN))
    assert judge((said("user_initiated", by="joe"), *torn_down)) == Verdict(Cause.CLOSED_BY_OPERATOR, "joe")
    assert judge((said("user_initiated", by="mira"), *torn_down)) == Verdict(Cause.TORN_DOWN_BY_OPERATOR, "mira")


@pytest.mark.parametrize("outcome", [Outcome.REFUSED, Outcome.UNSUPPORTED, Outcome.FAILED])
def test_an_action_that_changed_nothing_explains_nothing(outcome: Outcome) -> None:
    assert judge((left("PARTICIPANT_REMOVED"), acted(Action.KICK, outcome))) == Verdict(Cause.KICKED_BY_SOMEONE)


@pytest.mark.parametrize(
    ("reason", "cause"),
    [
        ("PARTICIPANT_REMOVED", Cause.KICKED_BY_SOMEONE),
        ("ROOM_DELETED", Cause.ROOM_DELETED_BY_SOMEONE),
        ("ROOM_CLOSED", Cause.ROOM_ENDED_EMPTY),
        ("CONNECTION_TIMEOUT", Cause.AGENT_LOST),
        ("DUPLICATE_IDENTITY", Cause.DUPLICATE_IDENTITY),
        ("SERVER_SHUTDOWN", Cause.SERVER_SHUTDOWN),
    ],
)
def test_the_servers_word_names_what_the_agent_could_not_say(reason: str, cause: Cause) -> None:
    assert judge((left(reason), GONE)).cause is cause


def test_a_disconnect_reason_of_a_newer_server_is_unknown_not_wrong() -> None:
    assert judge((left("REASON_99"), GONE, STAYS)) == Verdict(Cause.UNKNOWN)


def test_leaving_by_itself_is_told_apart_by_the_dispatch() -> None:
    by_itself = left("CLIENT_INITIATED")
    assert judge((by_itself, DELETED)).cause is Cause.DISPATCH_DELETED
    assert judge((by_itself, STAYS)).cause is Cause.SHUT_DOWN_BY_CODE
    open_question = judge((by_itself,))
    assert open_question.cause is Cause.UNKNOWN
    assert {Cause.SHUT_DOWN_BY_CODE, Cause.DISPATCH_DELETED} <= set(open_question.could_be)


def test_a_hung_agent_whose_dispatch_was_deleted_was_not_kicked() -> None:
    assert judge((left("PARTICIPANT_REMOVED"), DELETED)).cause is Cause.DISPATCH_DELETED


def test_the_text_given_to_shutdown_means_that_code_did_it() -> None:
    assert judge((CLOSED, SHUT_DOWN, GONE, STAYS)) == Verdict(Cause.SHUT_DOWN_BY_CODE)


def test_the_name_in_a_shutdown_is_the_operators() -> None:
    by_joe = Evidence(NOW, Source.HELPER, Fact.JOB_SHUT_DOWN, "joe asked for it in lk-tui", by="joe")
    assert judge((CLOSED, by_joe, GONE, STAYS)) == Verdict(Cause.SHUT_DOWN_BY_OPERATOR, "joe")


def test_polling_alone_says_what_it_cannot_tell_apart() -> None:
    verdict = judge((GONE, STAYS))
    assert verdict.cause is Cause.UNKNOWN
    assert set(verdict.could_be) == {Cause.KICKED_BY_SOMEONE, Cause.SHUT_DOWN_BY_CODE, Cause.AGENT_LOST}


def test_an_agent_that_answered_a_probe_just_before_it_went_was_not_lost() -> None:
    answered = Evidence(NOW - 5, Source.PROBE, Fact.ANSWERED)
    assert Cause.AGENT_LOST not in judge((answered, GONE, STAYS)).could_be
    long_ago = Evidence(NOW - 60, Source.PROBE, Fact.ANSWERED)
    assert Cause.AGENT_LOST in judge((long_ago, GONE, STAYS)).could_be


def test_an_agent_that_left_a_probe_unanswered_was_lost() -> None:
    silent = Evidence(NOW - 15, Source.PROBE, Fact.NOT_ANSWERING)
    answered = Evidence(NOW - 20, Source.PROBE, Fact.ANSWERED)
    assert judge((answered, silent, GONE, STAYS)).cause is Cause.AGENT_LOST


def test_a_room_that_went_while_people_were_in_it_was_deleted() -> None:
    not_due = Evidence(NOW - 1, Source.POLLING, Fact.ROOM_NOT_DUE)
    assert judge((GONE, ROOM_GONE, not_due)).cause is Cause.ROOM_DELETED_BY_SOMEONE


def test_a_room_that_was_empty_for_long_may_have_ended_by_itself_or_been_deleted() -> None:
    due = Evidence(NOW - 30, Source.POLLING, Fact.ROOM_DUE)
    assert judge((GONE, ROOM_GONE, due)) == Verdict(Cause.ROOM_ENDED_EMPTY, "", (Cause.ROOM_DELETED_BY_SOMEONE,))


def test_a_room_that_went_while_the_server_was_away_may_have_gone_with_it() -> None:
    not_due = Evidence(NOW - 1, Source.POLLING, Fact.ROOM_NOT_DUE)
    away = Evidence(NOW, Source.POLLING, Fact.SERVER_AWAY)
    verdict = judge((GONE, ROOM_GONE, not_due, away))
    assert verdict.cause is Cause.UNKNOWN
    assert Cause.SERVER_SHUTDOWN in verdict.could_be


def test_a_session_that_only_fell_silent_says_so() -> None:
    silent = Evidence(NOW, Source.OBSERVER, Fact.SESSION_CLOSED)
    verdict = judge((silent,))
    assert verdict.cause is Cause.UNKNOWN
    assert Cause.CLOSED_BY_CODE in verdict.could_be
    hung_up = Evidence(NOW - 6, Source.WEBHOOK, Fact.PERSON_LEFT, "CLIENT_INITIATED", who="ann")
    assert judge((hung_up, silent)).cause is Cause.USER_LEFT
    failed = Evidence(NOW - 1, Source.OBSERVER, Fact.SESSION_FAILED, error=SessionError("E", "llm", "x"))
    assert judge((failed, silent)).cause is Cause.ERROR


PIECES = st.builds(
    Evidence,
    at=st.floats(NOW - 60, NOW + 60),
    source=st.sampled_from(Source),
    fact=st.sampled_from(Fact),
    reason=st.sampled_from(
        ["", "error", "user_initiated", "CLIENT_INITIATED", "PARTICIPANT_REMOVED", "ROOM_DELETED", "x"]
    ),
    by=st.sampled_from(["", "mira"]),
    action=st.sampled_from([None, *Action]),
    outcome=st.sampled_from([None, *Outcome]),
)


@given(st.lists(PIECES, max_size=8, unique_by=lambda piece: piece.key), st.randoms(use_true_random=False))
def test_the_order_of_arrival_changes_no_verdict(pieces: list[Evidence], chance: random.Random) -> None:
    shuffled = list(pieces)
    chance.shuffle(shuffled)
    assert judge(pieces) == judge(shuffled)


@given(st.lists(PIECES, max_size=8))
def test_any_evidence_has_a_verdict_which_is_not_among_its_own_alternatives(pieces: list[Evidence]) -> None:
    verdict = judge(pieces)
    assert verdict.cause not in verdict.could_be
    assert len(set(verdict.could_be)) == len(verdict.could_be)
