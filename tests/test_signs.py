"""What is wrong with a room, and since when."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.build import NOW, agent, person, room
from tui.model.phrases import session_words, sign_words
from tui.model.room import CloseReport, Kind, ParticipantState, Room, SessionState
from tui.model.signs import WORST_FIRST, Kick, Sign, SignCode, Thresholds, next_change, signs

LIMITS = Thresholds()


def codes(seen: Room, now: float = NOW) -> list[SignCode]:
    return [sign.code for sign in signs(seen, now, LIMITS)]


def test_a_room_with_a_person_and_a_listening_agent_is_well() -> None:
    assert codes(room("r", person(), agent(state="listening", state_since=NOW - 900))) == []


def test_people_without_an_agent_are_waiting_from_the_joining_of_the_first() -> None:
    found = signs(room("r", person("ann", joined=41), person("bob", joined=12)), NOW, LIMITS)
    assert found == (Sign(SignCode.WAITING, NOW - 41, count=2),)


def test_people_whose_agent_went_away_are_waiting_from_then() -> None:
    (found,) = signs(room("r", person(joined=500), agent_at=NOW - 11), NOW, LIMITS)
    assert found.since == NOW - 11


@pytest.mark.parametrize(
    "nobody",
    [
        person("new", joined=9),
        person("observer", hidden=True),
        person("half", state=ParticipantState.JOINING),
        person("recorder", kind=Kind.EGRESS),
    ],
)
def test_newcomers_observers_and_recorders_do_not_wait(nobody: object) -> None:
    assert codes(room("r", nobody)) == []  # type: ignore[arg-type]


def test_a_phone_caller_waits_like_a_person() -> None:
    assert codes(room("r", person("sip_1", kind=Kind.SIP))) == [SignCode.WAITING]


def test_an_agent_without_people_is_alone_since_they_left() -> None:
    (found,) = signs(room("r", agent(joined=900), people_at=NOW - 31), NOW, LIMITS)
    assert (found.code, found.since) == (SignCode.ALONE, NOW - 31)
    assert codes(room("r", agent(joined=900), people_at=NOW - 29)) == []


def test_an_observer_is_no_company() -> None:
    assert codes(room("r", agent(joined=900), person("observer", hidden=True))) == [SignCode.ALONE]


@pytest.mark.parametrize(("state", "limit"), [("initializing", LIMITS.initializing_s), ("thinking", LIMITS.thinking_s)])
def test_an_agent_that_initializes_or_thinks_for_too_long_is_stuck(state: str, limit: float) -> None:
    stuck = room("r", person(), agent(state=state, state_since=NOW - limit - 1))
    assert codes(stuck) == [SignCode.STUCK]
    assert codes(stuck, NOW - 2) == []


def test_an_agent_that_answers_no_probe_is_silent_since_the_first_of_them() -> None:
    hung = room("r", person(), agent(name="intake", state="listening", silent_since=NOW - LIMITS.silent_s - 1))
    assert signs(hung, NOW, LIMITS) == (Sign(SignCode.SILENT, NOW - LIMITS.silent_s - 1, "intake"),)
    assert codes(hung, NOW - 2) == []


@pytest.mark.parametrize("facts", [{"state": "thinking"}, {"session": SessionState.CLOSED}], ids=["stuck", "closed"])
def test_what_a_silent_agent_published_last_is_no_sign_any_more(facts: dict[str, Any]) -> None:
    hung = agent(state_since=NOW - 600, silent_since=NOW - 14, **facts)
    well = agent(state_since=NOW - 600, answered_at=NOW - 1, **facts)
    assert codes(room("r", person(), hung)) == [SignCode.SILENT]
    assert codes(room("r", person(), well)) != [SignCode.SILENT]


def test_of_several_agents_the_silent_one_is_named() -> None:
    two = room("r", person(), agent("a", name="intake", silent_since=NOW - 14), agent("b", name="notes"))
    (found,) = signs(two, NOW, LIMITS)
    assert sign_words(found, NOW) == "intake not answering 14s"
    (found,) = signs(room("r", person(), agent(name="intake", silent_since=NOW - 14)), NOW, LIMITS)
    assert sign_words(found, NOW) == "agent not answering 14s"


def test_a_silent_agent_comes_before_everything_else() -> None:
    alone = room("r", agent(joined=900, silent_since=NOW - 14), trouble="503", checked_at=NOW - 90)
    assert codes(alone) == [SignCode.SILENT, SignCode.ALONE, SignCode.FAILED, SignCode.STALE]
    assert WORST_FIRST[SignCode.SILENT] == 0


def test_nothing_else_can_be_told_from_what_is_listed_in_a_ghost_room() -> None:
    ghost = room(
        "r", agent(joined=900, silent_since=NOW - 14), trouble="503", checked_at=NOW - 90, ghost_since=NOW - 41
    )
    (found,) = signs(ghost, NOW, LIMITS)
    assert (found.code, found.since) == (SignCode.GHOST, NOW - 41)
    assert sign_words(found, NOW) == "ghost: node silent 41s"
    assert next_change(ghost, NOW, LIMITS) is None


def test_a_closed_session_whose_agent_stays_is_a_sign_and_hides_its_last_state() -> None:
    closed = agent(
        state="thinking",
        state_since=NOW - 600,
        session=SessionState.CLOSED,
        close=CloseReport("user_initiated", at=NOW - 360),
    )
    (found,) = signs(room("r", person(), closed), NOW, LIMITS)
    assert (found.code, found.since) == (SignCode.CLOSED, NOW - 360)


def test_a_session_whose_silence_tells_that_it_closed_is_closed_whatever_it_published() -> None:
    silent = agent(state="listening", session=SessionState.OPEN, closed_since=NOW - 360)
    here = room("r", person(), silent)
    (found,) = signs(here, NOW, LIMITS)
    assert (found.code, found.since) == (SignCode.CLOSED, NOW - 360)
    assert here.agents[0].state == "closed"
    assert session_words(here.agents[0], NOW) == "closed 6m ago, as its silence tells"


def test_two_agents_of_one_name_are_double() -> None:
    two = room("r", person(), agent("a", name="intake"), agent("b", name="intake"))
    (found,) = signs(two, NOW, LIMITS)
    assert (found.code, found.who, found.count) == (SignCode.DOUBLE, "intake", 2)
    assert codes(room("r", person(), agent("a", name="intake"), agent("b", name="notes"))) == []


def test_a_participant_back_after_a_kick_is_pointed_out_for_a_while() -> None:
    back = room("r", person("ann", sid="PA_new", joined=3), agent())
    kicks = {("RM_r", "ann"): Kick("PA_old", NOW - 5)}
    (found,) = signs(back, NOW, LIMITS, kicks)
    assert (found.code, found.since, found.who) == (SignCode.RETURNED, NOW - 3, "ann")
    assert not signs(
        back,
        NOW + LIMITS.returned_s - 10,
        replace(LIMITS, stale_s=1e9),
        {**kicks, ("RM_r", "ann"): Kick("PA_new", NOW)},
    )
    assert not signs(replace(back, checked_at=NOW + 200), NOW + 200, LIMITS, kicks)


def test_a_room_that_cannot_be_read_and_old_data_are_signs() -> None:
    assert codes(room("r", agent(), person(), trouble="503")) == [SignCode.FAILED]
    assert codes(room("r", agent(), person(), checked_at=NOW - 61)) == [SignCode.STALE]


def test_a_room_that_was_never_read_claims_nothing() -> None:
    assert codes(room("r", participants=None, checked_at=None)) == []


@given(
    st.lists(st.sampled_from([person("p", joined=99), agent("a", joined=99), agent("b", joined=99, state="thinking")])),
    st.floats(0, 1e6),
)
def test_signs_are_worst_first_and_never_in_the_future(members: list[object], later: float) -> None:
    found = signs(room("r", *members), NOW + later, LIMITS)  # type: ignore[arg-type]
    ranks = [WORST_FIRST[sign.code] for sign in found]
    assert ranks == sorted(ranks)
    assert all(sign.since is None or sign.since <= NOW + later for sign in found)


@given(st.floats(0.0, 300.0))
def test_between_two_changes_that_are_foretold_nothing_changes(later: float) -> None:
    here = room("r", person(joined=5), agent("a", name="x", state="thinking", state_since=NOW - 3), people_at=NOW)
    kicks = {(here.sid, "ann"): Kick("PA_earlier", NOW - 100)}
    now = NOW + later
    due = next_change(here, now, Thresholds(), kicks)
    until = due if due is not None else now + 1_000.0
    found = signs(here, now, Thresholds(), kicks)
    assert signs(here, (now + until) / 2, Thresholds(), kicks) == found
    if due is not None:
        assert due > now
        assert signs(here, due, Thresholds(), kicks) != found
