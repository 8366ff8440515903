"""Words for a screen: short, stable in width, true."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.build import NOW, agent, dispatch, person, room
from tui.model import phrases
from tui.model.action import Action, ActionRecord, Batch, BatchRecord, Outcome, Target
from tui.model.room import Dispatch, Kind
from tui.model.signs import Sign, SignCode
from tui.model.text import Name


@pytest.mark.parametrize(
    ("seconds", "short", "long"),
    [
        (-3, "0s", "0s"),
        (59.9, "59s", "59s"),
        (60, "1m", "1m00s"),
        (3599, "59m", "59m59s"),
        (7500, "2h", "2h05m"),
        (90000, "25h", "1d01h"),
        (1e6, "11d", "11d13h"),
    ],
)
def test_ages_and_spans(seconds: float, short: str, long: str) -> None:
    assert (phrases.age(seconds), phrases.span(seconds)) == (short, long)


@given(st.floats(-1e9, 1e9))
def test_an_age_never_takes_more_than_four_characters(seconds: float) -> None:
    assert len(phrases.age(seconds)) <= 4


def test_every_sign_has_a_glyph_a_tone_a_name_a_meaning_and_words() -> None:
    for code in SignCode:
        assert len(phrases.SIGN_GLYPHS[code]) == 1
        assert phrases.SIGN_TONES[code]
        assert phrases.SIGN_NAMES[code]
        assert phrases.SIGN_MEANINGS[code]
        assert phrases.sign_words(Sign(code, NOW - 41, "intake", 2), NOW)
    assert len(set(phrases.SIGN_GLYPHS.values())) == len(SignCode), "told apart without colour"


@pytest.mark.parametrize(
    ("agents", "orders", "words"),
    [
        (["intake"], [dispatch("", "intake")], "auto agent"),
        (["intake", "sales"], [dispatch("", "intake", "sales")], "auto agent +1"),
        (["intake"], [dispatch("frontdesk", "intake")], "agent frontdesk"),
        (["intake", "sales"], [dispatch("frontdesk", "intake")], "agent frontdesk +1"),
        (["intake"], [], "agent intake"),
        ([], [], "agent —"),
    ],
)
def test_an_agent_is_called_one_once(agents: list[str], orders: list[Dispatch], words: str) -> None:
    served = room("support-1", *map(agent, agents), dispatches=tuple(orders))
    assert phrases.as_agent(phrases.agent_names(served)) == words


def test_people_are_counted_by_kind() -> None:
    everyone = [
        person("a"),
        person("b"),
        person("c", kind=Kind.SIP),
        agent("d"),
        person("e", hidden=True),
        person("f", kind=Kind.EGRESS),
    ]
    assert phrases.who_counts(everyone) == "2 people, 1 phone caller, 1 agent and 1 egress participant"
    assert phrases.who_counts([]) == "nobody"


def test_a_room_without_an_agent_says_so_and_an_unread_one_does_not_know() -> None:
    assert phrases.agent_names(room("r", person())) == "—"
    assert phrases.agent_names(room("r", participants=None)) == "?"
    assert phrases.agent_names(room("r", agent("a", name="intake"), agent("b", name="notes"))) == "intake +1"


@given(st.text(max_size=60), st.integers(3, 30))
def test_an_id_is_shortened_in_the_middle(text: str, width: int) -> None:
    short = phrases.shorten(text, width)
    assert len(short) <= width
    if len(text) > width:
        assert text.startswith(short.split("…")[0])
        assert text.endswith(short.split("…")[-1]) or "…" in text


def test_of_many_targets_those_that_were_begun_are_told_from_those_that_are_to_go() -> None:
    batch = Batch("one", 12, NOW)
    outcomes = [Outcome.CONFIRMED] * 8 + [Outcome.REFUSED, Outcome.RUNNING]
    records = tuple(
        ActionRecord(id_, Action.TEAR_DOWN, Target(Name.of("alpha"), "RM_1"), "mira", NOW, outcome=outcome, batch=batch)
        for id_, outcome in enumerate(outcomes, 1)
    )
    words = phrases.batch_words(BatchRecord(batch, records))
    assert words == "tear down of 12: 8 confirmed, 1 refused, 1 under way, 2 to go"
