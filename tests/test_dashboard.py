"""The dashboard's keys and habits: what moves, what stays, what is shown."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from textual import events
from textual.widgets._toast import Toast

from tests.build import agent, person, room, snapshot
from tests.dashboard import Clock, Dashboard, on_demo, on_pictures, open_room, served, small_world
from tui.model.action import INSIDE, Action
from tui.model.fleet import SORT_COLUMNS, Order, order_words
from tui.model.room import Room
from tui.model.snapshot import Snapshot
from tui.ui.commands import COMMANDS, Group, On, commands
from tui.ui.dialogs import ChooseAgentDialog, ConfirmDialog, DetailDialog
from tui.ui.session_screen import SessionScreen

PANES = ("rooms", "participants", "agent-pane", "log")


def rooms(*names: str, number: int = 1) -> Snapshot:
    """A picture of these rooms, each with ann and an agent in it."""
    return snapshot(*(served(name) for name in names), number=number)


def waiting(name: str, joined: float = 41.0) -> Room:
    """A room in trouble: bob waits in it for so many seconds, and no agent is there."""
    return room(name, person("bob", sid=f"PA_bob_{name}", joined=joined), dispatches=())


# Moving


async def test_tab_goes_round_the_panes() -> None:
    async with on_pictures(rooms("alpha")) as shown:
        for key, panes in (("tab", (*PANES[1:], PANES[0])), ("shift+tab", PANES[::-1])):
            assert shown.focused == "rooms"
            for pane in panes:
                await shown.press(key)
                assert shown.focused == pane


@pytest.mark.parametrize(("down", "up", "last", "first"), [("down", "up", "end", "home"), ("j", "k", "G", "g")])
async def test_arrows_and_letters_move_through_rooms_and_participants(
    down: str, up: str, last: str, first: str
) -> None:
    async with on_pictures(rooms("alpha", "bravo", "charlie")) as shown:
        for key, name in ((down, "bravo"), (last, "charlie"), (up, "bravo"), (first, "alpha")):
            await shown.press(key)
            assert shown.main.room is not None
            assert shown.main.room.name.raw == name
            assert f"{name} · RM_{name}" in shown.text
        await shown.press("tab")
        for key, sid in ((down, "PA_agent-alpha"), (up, "PA_ann_alpha"), (last, "PA_agent-alpha")):
            await shown.press(key)
            assert shown.main.participants.selected_key == sid


def test_no_two_commands_have_the_same_key() -> None:
    keys = [key for command in COMMANDS for key in command.keys.split(",")]
    assert len(keys) == len(set(keys))


def test_what_changes_a_server_is_an_action_of_its_own_and_says_so() -> None:
    for command in COMMANDS:
        assert (command.changes is not None) == command.run.startswith("act(")
        # What is done inside a session is done where it is seen.
        group = Group.SESSION if command.changes in INSIDE else Group.ACT
        assert command.group is group or command.changes is None
        assert command.on is (On.SESSION if command.changes in INSIDE else command.on)


async def test_in_every_pane_only_an_actions_own_key_is_bound_to_it() -> None:
    acts = {key: command.run for command in commands(On.MAIN) if command.changes for key in command.keys.split(",")}
    async with on_pictures(rooms("alpha")) as shown:
        for pane in PANES:
            assert shown.focused == pane
            bound = {key: active.binding for key, active in shown.screen.active_bindings.items()}
            acting = {key: binding for key, binding in bound.items() if binding.action.startswith("act(")}
            assert {key: binding.action for key, binding in acting.items()} == acts
            # One with priority would act through a dialog, too.
            assert not any(binding.priority for binding in acting.values())
            await shown.press("tab")


async def test_every_other_key_can_be_pressed_without_being_asked_to_confirm_a_change() -> None:
    harmless = [command for command in COMMANDS if command.changes is None and command.id != "quit"]
    async with on_pictures(rooms("alpha", "bravo")) as shown:
        for key in [key for command in harmless for key in command.keys.split(",")]:
            shown.main.participants.focus()
            await shown.press(key)
            assert not isinstance(shown.screen, ConfirmDialog | ChooseAgentDialog), key
            if shown.screen is not shown.main or shown.focused == "filter":
                await shown.press("escape")


async def test_enter_opens_and_escape_goes_back() -> None:
    async with on_pictures(rooms("alpha", "bravo")) as shown:
        await shown.press("j", "enter")
        assert shown.focused == "participants"
        await shown.press("g", "enter")
        await shown.wait_for(lambda: isinstance(shown.screen, DetailDialog))
        for words in ("PA_ann_bravo", "bravo  RM_bravo", "metadata"):
            await shown.wait_for(words)
        await shown.press("escape")
        assert shown.focused == "participants"
        await shown.press("G", "enter")
        await shown.wait_for(lambda: isinstance(shown.screen, SessionScreen))
        for words in ("PA_agent-bravo", "AD_bravo", "frontdesk"):
            await shown.wait_for(words)
        await shown.press("escape")
        assert shown.focused == "participants"
        await shown.press("escape")
        assert shown.focused == "rooms"


async def test_keys_typed_faster_than_the_screen_follows_hit_what_they_were_meant_for() -> None:
    async with on_pictures(rooms("alpha", "bravo", "charlie")) as shown:
        for key in ("j", "enter", "G", "K"):
            # All of them are there before the first one has been answered.
            shown.app.simulate_key(key)
        dialog = await shown.asked()
        assert (dialog.plan.action, dialog.plan.target.participant_sid) == (Action.KICK, "PA_agent-bravo")


async def test_a_click_selects_a_room_and_a_double_click_opens_it() -> None:
    async with on_pictures(rooms("alpha", "bravo", "charlie")) as shown:
        await shown.pilot.click("#rooms", offset=(6, 2))
        await shown.pilot.pause()
        assert shown.main.rooms.selected_key == "RM_bravo"
        await shown.pilot.double_click("#rooms", offset=(6, 3))
        await shown.pilot.pause()
        assert "charlie · RM_charlie" in shown.text
        assert shown.focused == "participants"


# Selection


async def test_a_refresh_moves_rows_and_never_the_selection() -> None:
    async with on_pictures(rooms("alpha", "bravo", "charlie")) as shown:
        await shown.press("j")
        picture = snapshot(waiting("zulu"), waiting("charlie"), served("bravo"), served("alpha"), number=2)
        await shown.show(picture)
        assert shown.room_names == ["charlie", "zulu", "alpha", "bravo"]
        assert shown.main.room is picture.rooms["RM_bravo"]
        await shown.press("s", "R")
        assert shown.room_names == ["zulu", "charlie", "bravo", "alpha"]
        assert shown.main.room is picture.rooms["RM_bravo"]


async def test_a_room_that_is_gone_is_said_to_be_and_no_other_is_selected() -> None:
    async with on_pictures(rooms("alpha", "bravo")) as shown:
        await shown.press("j")
        await shown.show(rooms("alpha", number=2))
        assert shown.main.room is None
        assert "bravo is gone" in shown.text
        await shown.press("D")
        assert not isinstance(shown.screen, ConfirmDialog)
        assert "Select a room" in shown.toasts[-1]


async def test_a_room_recreated_under_the_same_name_is_another_room() -> None:
    async with on_pictures(rooms("alpha", "bravo")) as shown:
        await shown.press("j")
        await shown.show(snapshot(served("alpha"), served("bravo", sid="RM_another"), number=2))
        assert shown.main.room is None
        assert "bravo is gone" in shown.text


async def test_a_participant_who_rejoined_is_another_participant() -> None:
    async with on_pictures(rooms("alpha")) as shown:
        await shown.press("enter")
        assert shown.main.participants.selected_key == "PA_ann_alpha"
        again = room("alpha", person("ann", sid="PA_again"), agent("agent-alpha", name="frontdesk"))
        await shown.show(snapshot(again, number=2))
        assert shown.main.participants.selected is None
        await shown.press("K")
        assert "The selected participant is gone" in shown.text


async def test_participants_of_another_room_do_not_inherit_the_selection() -> None:
    async with on_pictures(rooms("alpha", "bravo")) as shown:
        await shown.press("enter", "G", "escape", "j", "enter")
        assert shown.main.participants.selected_key == "PA_ann_bravo"


# Filter


async def test_the_filter_narrows_as_one_types_and_survives_a_refresh() -> None:
    names = [f"support-{number}" for number in range(328)] + [f"sales-{number}" for number in range(12)]
    async with on_pictures(rooms(*names)) as shown:
        assert " 340 ─" in shown.text
        await shown.press("slash")
        await shown.type("sal")
        assert "12/340" in shown.text
        assert all(name.startswith("sales-") for name in shown.room_names)
        await shown.show(rooms(*names, "sales-12", number=2))
        assert "13/341" in shown.text
        await shown.type("es-1")
        assert "4/341" in shown.text
        await shown.press("enter")
        assert shown.focused == "rooms"
        assert "4/341" in shown.text
        await shown.press("escape")
        assert " 341 ─" in shown.text


async def test_a_filter_that_matches_nothing_says_how_to_get_rid_of_it() -> None:
    async with on_pictures(rooms("alpha")) as shown:
        await shown.press("slash")
        await shown.type("[/foo]")
        assert "No room matches “[/foo]”; Esc clears the filter." in shown.text
        assert "0/1" in shown.text
        await shown.press("escape")
        assert shown.room_names == ["alpha"]


async def test_a_room_hidden_by_the_filter_stays_selected_but_is_no_target() -> None:
    async with on_pictures(rooms("alpha", "bravo")) as shown:
        await shown.press("slash")
        await shown.type("bravo")
        await shown.wait_for("alpha is hidden by the filter")
        await shown.press("tab", "D")
        assert not isinstance(shown.screen, ConfirmDialog)
        await shown.press("escape", "escape")
        assert "alpha · RM_alpha" in shown.text


async def test_enter_keeps_the_filter_and_selects_its_first_match() -> None:
    async with on_pictures(rooms("alpha", "bravo", "bravo-2")) as shown:
        await shown.press("slash")
        await shown.type("bravo")
        await shown.press("enter")
        assert "bravo · RM_bravo" in shown.text
        await shown.press("j", "slash")
        await shown.press("enter")
        assert "bravo-2 · RM_bravo-2" in shown.text


# Order


async def test_rooms_are_sorted_by_one_column_after_the_other_and_the_order_is_shown() -> None:
    many = [person(f"p{number}") for number in range(3)]
    picture = snapshot(served("alpha"), served("bravo", *many, created_at=1.0), waiting("charlie"))
    orders = {
        "sign": ["charlie", "alpha", "bravo"],
        "room": ["alpha", "bravo", "charlie"],
        "people": ["bravo", "alpha", "charlie"],
        "agent": ["alpha", "bravo", "charlie"],
        "state": ["charlie", "alpha", "bravo"],
        "age": ["alpha", "charlie", "bravo"],
        "checked": ["alpha", "bravo", "charlie"],
    }
    assert tuple(orders) == SORT_COLUMNS
    titles = {"sign": "SIGN▾", "room": "ROOM▾", "people": "▾PEOPLE", "agent": "AGENT▾", "state": "STATE▾"}
    async with on_pictures(picture, size=(160, 40)) as shown:
        for column, names in orders.items():
            assert shown.room_names == names, column
            assert f"Rooms ─ {order_words(Order(column))} ─" in shown.text
            header = shown.lines[3]
            assert titles.get(column, "▾" + column.upper()) in header
            assert header.count("▾") == 1
            await shown.press("R")
            assert f"Rooms ─ {order_words(Order(column, reverse=True))} ─" in shown.text
            assert shown.lines[3].count("▴") == 1
            await shown.press("s")
        assert "Rooms ─ trouble first ─" in shown.text


async def test_a_click_on_a_title_sorts_and_a_second_one_turns_the_order_round() -> None:
    async with on_pictures(rooms("alpha", "bravo")) as shown:
        for order in ("by name", "by name, reversed", "by name"):
            await shown.pilot.click("#rooms", offset=(3, 0))
            await shown.pilot.pause()
            assert f"Rooms ─ {order} ─" in shown.text


async def test_titles_of_other_tables_do_not_sort_the_rooms() -> None:
    async with on_pictures(rooms("alpha", "bravo")) as shown:
        for table, title in (("#participants", "STATE"), ("#log", "ROOM")):
            top = shown.main.query_one(table).region.y
            await shown.pilot.click(table, offset=(shown.lines[top].rindex(title) - 2, 0))
            await shown.pilot.pause()
            assert "Rooms ─ trouble first ─" in shown.text


# Pause and refresh


async def test_a_paused_picture_is_held_while_polling_goes_on() -> None:
    clock = Clock()
    async with on_pictures(rooms("alpha", "bravo"), clock=clock) as shown:
        await shown.press("p")
        clock.now += 41
        for number in (2, 3, 4):
            await shown.show(replace(rooms("bravo", "charlie", number=number), listed_at=clock.now))
        assert "PAUSED 41s" in shown.lines[0]
        assert "● live" in shown.lines[0]
        assert shown.room_names == ["alpha", "bravo"]
        assert (shown.main.picture.number, shown.main.newest.number) == (1, 4)
        await shown.press("s", "slash", "b", "escape", "p")
        assert "PAUSED" not in shown.lines[0]
        assert shown.room_names == ["bravo", "charlie"]


async def test_polling_really_goes_on_behind_a_paused_picture() -> None:
    world = small_world()
    open_room(world, "alpha", "ann")
    async with on_demo(world) as shown:
        await shown.press("p")
        held = shown.main.newest.number
        await shown.wait_for(lambda: shown.main.newest.number > held + 1)
        assert "PAUSED" in shown.lines[0]
        assert shown.main.picture.number <= held


async def test_r_asks_at_once_however_long_the_interval() -> None:
    world = small_world()
    open_room(world, "alpha", "ann")
    async with on_demo(world, interval_s=600.0) as shown:
        open_room(world, "bravo", "bob")
        await shown.press("r")
        await shown.wait_for("bravo")


# Copying


async def copied(shown: Dashboard, key: str) -> str:
    await shown.press(key)
    assert shown.toasts[-1].startswith(f"Copied {shown.app.clipboard}")
    return shown.app.clipboard


async def test_y_copies_the_name_and_upper_y_the_sid_of_what_is_selected() -> None:
    async with on_pictures(rooms("alpha", "bravo")) as shown:
        await shown.press("j")
        assert await copied(shown, "y") == "bravo"
        assert await copied(shown, "Y") == "RM_bravo"
        await shown.press("enter", "G")
        assert await copied(shown, "y") == "agent-bravo"
        assert await copied(shown, "Y") == "PA_agent-bravo"


async def test_a_name_that_can_not_be_shown_is_copied_as_its_sid() -> None:
    async with on_pictures(snapshot(room("\x1b]52;c;b3duZWQ=\x07", sid="RM_odd"))) as shown:
        assert await copied(shown, "y") == "RM_odd"


async def test_with_nothing_selected_nothing_is_copied() -> None:
    async with on_pictures(snapshot()) as shown:
        await shown.press("y")
        assert shown.toasts == ["Nothing is selected."]
        assert shown.app.clipboard == ""


async def test_a_toast_whose_time_is_just_over_when_it_is_made_goes_at_once() -> None:
    async with on_pictures(rooms("alpha")) as shown:
        shown.app.notify("said for long enough to be seen", timeout=60.0, markup=False)
        await shown.wait_for("said for long enough to be seen")
        (notice,) = shown.app._notifications
        notice.raised_at -= 60.0
        assert notice.has_expired
        # With a time left below zero, as Textual's own has it now, its timer would never end, and nothing else go on.
        await shown.screen.mount(Toast(notice))
        await shown.wait_for(lambda: len(shown.screen.query(Toast)) == 1)


async def test_a_click_on_a_toast_that_is_just_going_does_no_harm() -> None:
    async with on_pictures(snapshot(room("alpha"))) as shown:
        shown.app.notify("gone in a moment")
        await shown.wait_for(lambda: list(shown.screen.query("Toast")))
        await shown.pilot.pause()
        (toast,) = shown.screen.query("Toast")
        x, y = toast.region.x + 1, toast.region.y + 1
        going = toast.remove()
        while toast.is_attached:
            shown.screen._forward_event(events.MouseDown(None, x, y, 0, 0, 1, False, False, False, x, y))
            await asyncio.sleep(0)
        await going
        shown.assert_harmless()
