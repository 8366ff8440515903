"""The list of rooms: trouble first, every order stable, the filter honest."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.build import NOW, agent, person, room
from tui.model.fleet import SORT_COLUMNS, TROUBLE_FIRST, Order, RoomRow, arrange, filter_rows, order_words, with_signs
from tui.model.signs import Thresholds

WAITING = room("zulu", person("carol", joined=41))
LONELY = room("alpha", agent("agent-7", name="intake", joined=90))
WELL = room("mike", person("dave"), agent("agent-8", name="closer", state="speaking"))
ROWS = with_signs([WELL, LONELY, WAITING], NOW, Thresholds(), {})


def names(rows: list[RoomRow]) -> list[str]:
    return [row.room.name.safe for row in rows]


def test_trouble_comes_first_and_the_well_last() -> None:
    assert names(arrange(ROWS, TROUBLE_FIRST, "")) == ["zulu", "alpha", "mike"]


def test_reversed_is_the_other_way_round() -> None:
    assert names(arrange(ROWS, Order("room", reverse=True), "")) == ["zulu", "mike", "alpha"]
    assert order_words(Order("room", reverse=True)) == "by name, reversed"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", ["alpha", "mike", "zulu"]),
        ("MIKE", ["mike"]),
        ("RM_zulu", ["zulu"]),
        ("carol", ["zulu"]),
        ("waiting", ["zulu"]),
        ("alone intake", ["alpha"]),
        ("speaking", ["mike"]),
        ("carol intake", []),
        ("  ", ["alpha", "mike", "zulu"]),
    ],
)
def test_the_filter_finds_every_word_in_names_ids_people_agents_signs_and_states(text: str, found: list[str]) -> None:
    assert sorted(names(filter_rows(ROWS, text))) == found


@given(st.permutations(ROWS), st.sampled_from(SORT_COLUMNS), st.booleans(), st.sampled_from(["", "a", "rm_"]))
def test_an_order_does_not_depend_on_the_order_before(rows: list[RoomRow], by: str, reverse: bool, text: str) -> None:  # noqa: FBT001
    order = Order(by, reverse)
    assert arrange(rows, order, text) == arrange(ROWS, order, text)
