"""The list of rooms: trouble first, every order stable, the filter honest, kept up to date by difference."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.build import NOW, agent, person, room
from tui.model.fleet import SORT_COLUMNS, TROUBLE_FIRST, Fleet, Order, arranged, order_words
from tui.model.room import Room
from tui.model.signs import Kick, Kicks, SignCode, Thresholds

WAITING = room("zulu", person("carol", joined=41))
LONELY = room("alpha", agent("agent-7", name="intake", joined=90))
WELL = room("mike", person("dave"), agent("agent-8", name="closer", state="speaking"))
ROOMS = (WELL, LONELY, WAITING)


def by_sid(rooms: Iterable[Room]) -> Mapping[str, Room]:
    return {one.sid: one for one in rooms}


def take(fleet: Fleet, rooms: Iterable[Room], now: float = NOW, kicks: Kicks | None = None) -> None:
    for _ in fleet.take(by_sid(rooms), now, kicks or {}):
        pass


def fleet_of(*rooms: Room, order: Order = TROUBLE_FIRST, text: str = "") -> Fleet:
    fleet = Fleet(Thresholds())
    take(fleet, rooms)
    fleet.arrange(order, text)
    return fleet


def names(fleet: Fleet) -> list[str]:
    return [row.room.name.safe for row in fleet.shown]


def test_trouble_comes_first_and_the_well_last() -> None:
    assert names(fleet_of(*ROOMS)) == ["zulu", "alpha", "mike"]
    assert [row.room for row in arranged(by_sid(ROOMS), NOW, Thresholds())] == [WAITING, LONELY, WELL]


def test_reversed_is_the_other_way_round() -> None:
    assert names(fleet_of(*ROOMS, order=Order("room", reverse=True))) == ["zulu", "mike", "alpha"]
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
    assert sorted(names(fleet_of(*ROOMS, text=text))) == found


def test_a_sign_appears_and_goes_by_time_alone() -> None:
    fleet = fleet_of(room("r", person(joined=0)), WELL)
    assert names(fleet) == ["mike", "r"]
    assert not fleet.is_due(NOW + 9)
    assert fleet.is_due(NOW + 10)
    for _ in fleet.age(NOW + 10):
        pass
    assert names(fleet) == ["r", "mike"]
    assert fleet.totals.signs[SignCode.WAITING] == 1
    assert not fleet.is_due(NOW + 11)


def test_in_a_fleet_that_takes_long_to_read_a_room_is_stale_only_after_its_turn() -> None:
    for turn, stale in ((0.0, 1), (100.0, 0)):
        fleet = Fleet(Thresholds())
        for _ in fleet.take(by_sid([replace(WELL, checked_at=NOW - 61)]), NOW, {}, turn):
            pass
        assert fleet.totals.signs[SignCode.STALE] == stale


def test_totals_follow_what_changes() -> None:
    fleet = fleet_of(*ROOMS)
    assert (fleet.totals.people, fleet.totals.agents, fleet.totals.helped) == (2, 2, 0)
    take(fleet, [replace(WELL, participants=(*(WELL.participants or ()), person("eve")))])
    assert (fleet.totals.people, fleet.totals.agents, len(fleet)) == (2, 1, 1)
    take(fleet, [])
    assert (fleet.totals.people, fleet.totals.agents, +fleet.totals.signs) == (0, 0, {})


def test_who_is_in_a_ghost_room_is_not_counted_until_its_node_answers_again() -> None:
    ghost = replace(WELL, ghost_since=NOW - 60)
    fleet = fleet_of(*ROOMS)
    before = replace(fleet.totals, signs=+fleet.totals.signs)
    alive = len([who for who in WELL.participants or () if who.is_person])
    take(fleet, [ghost, *(each for each in ROOMS if each.sid != WELL.sid)])
    assert alive
    assert fleet.totals.people == before.people - alive
    assert fleet.totals.agents == before.agents - len(WELL.agents)
    take(fleet, ROOMS)
    assert fleet.totals.people == before.people


def test_a_kick_is_looked_for_in_rooms_that_did_not_change() -> None:
    fleet = fleet_of(WELL)
    take(fleet, [WELL], kicks={(WELL.sid, "dave"): Kick("PA_earlier", NOW)})
    assert fleet.totals.signs[SignCode.RETURNED] == 1


@st.composite
def pictures(draw: st.DrawFn) -> list[list[Room]]:
    """Some pictures of some rooms, which come, change and go."""
    found = []
    for _ in range(draw(st.integers(1, 4))):
        rooms = []
        for name in draw(st.sets(st.sampled_from("abcdef"))):
            people = [
                person(f"p{number}", joined=draw(st.integers(0, 60))) for number in range(draw(st.integers(0, 2)))
            ]
            agents = [
                agent(
                    f"agent-{number}", name="closer", joined=50, state=draw(st.sampled_from(["speaking", "thinking"]))
                )
                for number in range(draw(st.integers(0, 2)))
            ]
            rooms.append(room(name, *people, *agents))
        found.append(rooms)
    return found


@given(
    pictures(),
    st.sampled_from(SORT_COLUMNS),
    st.booleans(),
    st.sampled_from(["", "a", "closer", "waiting"]),
    st.integers(0, 200),
)
def test_by_difference_is_the_same_as_from_scratch(
    seen: list[list[Room]],
    by: str,
    reverse: bool,  # noqa: FBT001
    text: str,
    later: int,
) -> None:
    fleet = Fleet(Thresholds())
    fleet.arrange(Order(by, reverse), text)
    for number, rooms in enumerate(seen):
        take(fleet, rooms, NOW + number)
    now = NOW + len(seen) + later
    take(fleet, seen[-1], now)
    fresh = Fleet(Thresholds())
    take(fresh, seen[-1], now)
    fresh.arrange(Order(by, reverse), text)
    assert fleet.shown == fresh.shown
    assert (fleet.totals.people, +fleet.totals.signs) == (fresh.totals.people, +fresh.totals.signs)


@given(st.permutations(ROOMS), st.sampled_from(SORT_COLUMNS), st.booleans())
def test_an_order_does_not_depend_on_the_order_before(rooms: list[Room], by: str, reverse: bool) -> None:  # noqa: FBT001
    order = Order(by, reverse)
    assert fleet_of(*rooms, order=order).shown == fleet_of(*ROOMS, order=order).shown


def test_a_room_that_is_read_again_and_again_is_due_once() -> None:
    limits = Thresholds()
    fleet = Fleet(limits)
    for seconds in range(0, 3600, 2):
        now = NOW + seconds
        for _ in fleet.take({"RM_r": room("r", person(), agent(), checked_at=now)}, now, {}):
            pass
    kept = limits.stale_s / 2 + 2
    assert len(fleet._due) <= kept, "what it was due for before is not looked at, and gone when that time has come"
