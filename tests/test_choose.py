"""What a one-shot action is aimed at: by name, age, identity, and by signs that last."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

import pytest

from tests import fake_gateway
from tests.build import NOW, room
from tests.build import agent as an_agent
from tests.build import person as a_person
from tests.fake_gateway import EPOCH, PARTICIPANTS, ROOMS, FakeGateway, wall_clock
from tests.virtual_time import in_virtual_time, seconds
from tui.control.plan_many import plan_many
from tui.gateway.errors import ServerFailedError, UnreachableError
from tui.model.action import Action
from tui.model.room import OBSERVER_PREFIX, Participant, Room
from tui.model.signs import SignCode, Thresholds
from tui.oneshot.choose import READ_IN_TIME_S, Choice, choose, seconds_to_watch

LIMITS = Thresholds()
BUDGET = 60_000


def named(*names: str) -> list[Room]:
    return [room(name, sid=f"RM_{number}") for number, name in enumerate(names)]


# By name and age


@pytest.mark.parametrize(
    ("pattern", "taken"),
    [
        ("sales-1", ["sales-1"]),
        ("sales-*", ["sales-1", "sales-22"]),
        ("sales-?", ["sales-1"]),
        ("RM_1", ["sales-22"]),
        ("SALES-1", []),
        ("sales", []),
        ("[brackets]", ["[brackets]"]),
        ("*", ["sales-1", "sales-22", "[brackets]", "a\nb"]),
        ("a\nb", ["a\nb"]),
    ],
)
def test_rooms_are_chosen_by_name_sid_or_pattern(pattern: str, taken: list[str]) -> None:
    rooms = named("sales-1", "sales-22", "[brackets]", "a\nb")
    assert [each.name.raw for each in rooms if Choice(rooms=[pattern]).takes(each, NOW)] == taken


def test_rooms_are_chosen_by_age() -> None:
    choice = Choice(older_than_s=7200)
    assert choice.takes(room("old", created_at=NOW - 7200), NOW)
    assert not choice.takes(room("young", created_at=NOW - 7199), NOW)


def test_a_room_that_is_younger_than_our_clock_thinks_possible_is_taken_where_no_age_is_asked_for() -> None:
    assert Choice().takes(room("from a clock ahead of ours", created_at=NOW + 10), NOW)


def test_ages_go_by_the_servers_clock() -> None:
    gateway = FakeGateway(["r"])
    gateway.rooms["r"].creation_time = int(EPOCH)
    gateway.skew_s = 3600.0

    async def main() -> list[str]:
        found = await choose(gateway, Choice(older_than_s=1800), LIMITS, BUDGET, clock=wall_clock)
        return [each.name.raw for each in found.rooms]

    assert in_virtual_time(main()) == ["r"]


# By whom it hits


def aimed(action: Action, here: Room, *identities: str) -> list[str | None]:
    return [sid for _, sid in Choice(identities=identities).targets(action, [here])]


def test_what_is_done_to_agents_is_aimed_at_each_and_passes_over_rooms_without() -> None:
    here = room("r", a_person("ann"), an_agent("one"), an_agent("two"))
    for action in (Action.CLOSE_SESSION, Action.SHUT_DOWN_JOB, Action.KICK):
        assert aimed(action, here) == ["PA_one", "PA_two"]
        assert aimed(action, here, "two") == ["PA_two"]
        assert aimed(action, room("r", a_person("ann"))) == []
    assert aimed(Action.DELETE_ROOM, here) == [None]


def test_a_kick_is_aimed_at_whoever_is_named_and_at_no_observer_of_ours() -> None:
    ours = a_person(f"{OBSERVER_PREFIX}1", sid="PA_ours", hidden=True)
    here = room("r", a_person("ann"), a_person("annie"), an_agent("one"), ours)
    assert aimed(Action.KICK, here, "*") == ["PA_ann", "PA_annie", "PA_one"]
    assert aimed(Action.KICK, here, "PA_ours") == []
    assert aimed(Action.KICK, here, "ann") == ["PA_ann"]
    assert aimed(Action.KICK, here, "ann*") == ["PA_ann", "PA_annie"]
    assert aimed(Action.KICK, here, "PA_one") == ["PA_one"]
    assert aimed(Action.CLOSE_SESSION, here, "ann") == []


@pytest.mark.parametrize("action", [Action.CLOSE_SESSION, Action.SHUT_DOWN_JOB, Action.KICK])
@pytest.mark.parametrize("identities", [(), ("ann",)])
def test_a_room_that_could_not_be_read_is_no_room_without_targets(action: Action, identities: tuple[str, ...]) -> None:
    unread = room("unread", participants=None, checked_at=None)
    many = plan_many(action, Choice(identities=identities).targets(action, [unread]), NOW)
    assert [plan.blocked for plan in many.blocked] == ["Who is in the room is not known yet: try again in a moment."]


# By signs


def person(identity: str) -> Participant:
    """Somebody who has been there for an hour."""
    return replace(fake_gateway.person(identity), joined_at=EPOCH - 3600)


def agent(identity: str) -> Participant:
    """An agent that has been there for an hour."""
    return replace(fake_gateway.agent(identity), joined_at=EPOCH - 3600)


def chosen(
    gateway: FakeGateway, *signs: SignCode, then: Coroutine[Any, Any, None] | None = None
) -> tuple[list[str], float]:
    """The names of the rooms that show one of these signs, while `then` happens, and how long it took."""

    async def main() -> tuple[list[str], float]:
        happening = asyncio.create_task(then) if then is not None else None
        rooms = (await choose(gateway, Choice(signs=frozenset(signs)), LIMITS, BUDGET, clock=wall_clock)).rooms
        took = seconds()
        if happening is not None:
            await happening
        return [each.name.raw for each in rooms], took

    return in_virtual_time(main())


async def at(moment: float, change: Callable[[], None]) -> None:
    await asyncio.sleep(moment)
    change()


def lonely(*others: tuple[str, tuple[Participant, ...]]) -> FakeGateway:
    gateway = FakeGateway()
    gateway.add("alone", agent("one"))
    for name, participants in others:
        gateway.add(name, *participants)
    return gateway


def test_an_agent_is_alone_once_it_was_seen_alone_for_long_enough() -> None:
    names, took = chosen(lonely(("busy", (agent("two"), person("ann")))), SignCode.ALONE)
    assert names == ["alone"]
    assert LIMITS.alone_s <= took < LIMITS.alone_s + 3.0


def test_a_person_who_was_only_reconnecting_spares_the_room() -> None:
    gateway = lonely(("reconnecting", (agent("two"),)))

    def back() -> None:
        gateway.participants["reconnecting"] = (agent("two"), person("ann"))

    assert chosen(gateway, SignCode.ALONE, then=at(LIMITS.alone_s - 2.5, back))[0] == ["alone"]


def test_a_person_who_came_and_went_meanwhile_spares_it_too() -> None:
    gateway = lonely(("visited", (agent("two"),)))

    async def visit() -> None:
        await asyncio.sleep(10.0)
        gateway.participants["visited"] = (agent("two"), person("ann"))
        await asyncio.sleep(2.5)
        gateway.participants["visited"] = (agent("two"),)

    assert chosen(gateway, SignCode.ALONE, then=visit())[0] == ["alone"]


def test_an_agent_that_answers_no_probe_is_silent() -> None:
    gateway = lonely(("hung", (agent("two"), person("ann"))))
    gateway.silent = {"two"}
    names, took = chosen(gateway, SignCode.SILENT)
    assert names == ["hung"]
    assert took < seconds_to_watch(frozenset({SignCode.SILENT}), LIMITS) + 5.0


def test_one_of_several_signs_is_enough() -> None:
    gateway = lonely(("waiting", (person("ann"),)), ("well", (agent("two"), person("bob"))))
    assert chosen(gateway, SignCode.ALONE, SignCode.WAITING)[0] == ["alone", "waiting"]


def test_nothing_is_watched_where_nothing_can_be_meant() -> None:
    assert chosen(FakeGateway(), SignCode.ALONE) == ([], 0.0)


def test_what_happened_while_the_server_was_away_was_not_seen_and_the_watch_begins_again() -> None:
    gateway = lonely()

    async def away() -> None:
        await asyncio.sleep(20.0)
        gateway.errors[ROOMS, ""] = UnreachableError("away")
        await asyncio.sleep(3.0)
        del gateway.errors[ROOMS, ""]

    names, took = chosen(gateway, SignCode.ALONE, then=away())
    assert names == ["alone"]
    assert took >= 22.0 + LIMITS.alone_s


def test_a_room_that_is_read_late_is_waited_for() -> None:
    gateway = lonely(("late", (agent("two"),)))
    gateway.errors[PARTICIPANTS, "late"] = ServerFailedError("503")

    async def answered() -> None:
        await asyncio.sleep(5.0)
        del gateway.errors[PARTICIPANTS, "late"]

    assert chosen(gateway, SignCode.ALONE, then=answered())[0] == ["alone", "late"]


def test_a_room_that_is_never_read_is_named_as_one_that_may_show_the_sign() -> None:
    gateway = lonely(("dark", (agent("two"),)))
    gateway.errors[PARTICIPANTS, "dark"] = ServerFailedError("503")

    async def main() -> tuple[list[str], list[str], float]:
        found = await choose(gateway, Choice(signs=frozenset({SignCode.ALONE})), LIMITS, BUDGET, clock=wall_clock)
        return [each.name.raw for each in found.rooms], [each.name.raw for each in found.unproven], seconds()

    names, unproven, took = in_virtual_time(main())
    assert (names, unproven) == (["alone"], ["dark"])
    assert took >= LIMITS.alone_s + READ_IN_TIME_S


def test_a_server_that_stays_away_ends_it_with_the_reason() -> None:
    gateway = lonely()

    async def away() -> None:
        await asyncio.sleep(5.0)
        gateway.errors[ROOMS, ""] = UnreachableError("gone fishing")

    with pytest.raises(Exception, match="gone fishing"):
        chosen(gateway, SignCode.ALONE, then=away())
