"""When rooms that go are a collapse, and what is said of it. On a real server: tests/test_faults.py."""

from __future__ import annotations

import re

import pytest

from tests.build import NOW, person, room
from tui.model.collapse import AT_ONCE_S, NEWS_S, Collapse, collapse, collapse_words
from tui.model.room import Room


def rooms(*numbers: int) -> dict[str, Room]:
    return {f"RM_{n}": room(f"r{n}", person("ann"), person("bob"), sid=f"RM_{n}") for n in numbers}


def seen(before: dict[str, Room], after: dict[str, Room], *expected: str) -> Collapse | None:
    return collapse(before, NOW - 2.0, after, NOW, expected)


def test_all_rooms_gone_are_a_collapse_of_so_many_rooms_and_people() -> None:
    assert seen(rooms(1, 2, 3, 4), {}) == Collapse(NOW - 2.0, NOW, gone=4, rooms=4, people=8)


def test_rooms_that_are_there_again_under_other_sids_are_gone_all_the_same() -> None:
    assert seen(rooms(1, 2, 3), rooms(11, 12, 13)) is not None


def test_half_of_them_are_enough_and_less_is_none() -> None:
    assert seen(rooms(*range(6)), rooms(*range(3))) is not None
    assert seen(rooms(*range(7)), rooms(*range(4))) is None


def test_a_few_rooms_may_end_together() -> None:
    assert seen(rooms(1, 2), {}) is None


def test_rooms_that_were_deleted_from_here_do_not_count() -> None:
    assert seen(rooms(1, 2, 3, 4), {}, "RM_1", "RM_2") is None
    assert seen(rooms(1, 2, 3, 4), {}, "RM_1") == Collapse(NOW - 2.0, NOW, gone=3, rooms=4, people=6)


def test_the_same_picture_again_is_none() -> None:
    same = rooms(1, 2, 3)
    assert seen(same, same) is None
    assert seen({}, same) is None


@pytest.mark.parametrize(
    ("since", "people", "words"),
    [
        (2.0, 611, r"342 of 1,342 rooms gone at once at \d\d:\d\d, with 611 people"),
        (2.0, 1, r"342 of 1,342 rooms gone at once at \d\d:\d\d, with 1 person"),
        (2.0, 0, r"342 of 1,342 rooms gone at once at \d\d:\d\d"),
        (AT_ONCE_S + 1.0, 0, r"342 of 1,342 rooms gone between \d\d:\d\d and \d\d:\d\d"),
    ],
)
def test_it_is_said_with_when_and_who(since: float, people: int, words: str) -> None:
    assert re.fullmatch(words, collapse_words(Collapse(NOW - since, NOW, 342, 1342, people)))


def test_it_is_news_for_some_minutes() -> None:
    lost = Collapse(NOW - 2.0, NOW, 3, 3, 0)
    assert lost.is_news(NOW + NEWS_S - 1)
    assert not lost.is_news(NOW + NEWS_S)
