"""Marks, and one action on all that is marked, on the embedded demo server; what came of it is asked of its world."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest
from textual.widgets import Button, Input

from tests.build import agent, room, snapshot
from tests.dashboard import OPERATOR, Dashboard, on_demo, on_pictures, open_room, served, small_world
from tui.demo import World
from tui.demo.rooms import Session
from tui.model.action import Action, BatchRecord, Outcome
from tui.model.snapshot import Snapshot
from tui.ui.many_dialogs import BatchDialog, ConfirmManyDialog

NAMES = ("alpha", "bravo", "charlie", "delta", "echo")
NOBODY = ["nobody-of-this-name"]
"""A dispatch that no worker takes."""


def picture(*names: str, number: int = 1) -> Snapshot:
    return snapshot(*(served(name) for name in names), number=number)


def marked(shown: Dashboard) -> list[str]:
    """The rooms that are seen to be marked."""
    region = shown.main.rooms.region
    lines = [line[region.x : region.right] for line in shown.lines[region.y + 1 : region.bottom]]
    return [line[1:].split()[1] for line in lines if line.startswith("*")]


async def asked(shown: Dashboard, key: str) -> ConfirmManyDialog:
    """Press an action's key; the dialog that lists all of them."""
    await shown.press(key)
    await shown.wait_for(lambda: isinstance(shown.screen, ConfirmManyDialog))
    dialog = shown.screen
    assert isinstance(dialog, ConfirmManyDialog)
    return dialog


def batch(shown: Dashboard) -> BatchRecord:
    """The newest line of the log."""
    what = shown.main.log_pane.shown[-1].what
    assert isinstance(what, BatchRecord)
    return what


# Marks


async def test_space_marks_and_goes_on_and_unmarks_again() -> None:
    async with on_pictures(picture(*NAMES)) as shown:
        await shown.press("space", "j", "space")
        assert marked(shown) == ["alpha", "charlie"]
        assert "2 marked" in shown.line("Rooms ─")
        await shown.press("g", "space")
        assert marked(shown) == ["charlie"]
        await shown.press("u")
        assert marked(shown) == []
        assert "marked" not in shown.line("Rooms ─")


async def test_a_range_is_marked_from_the_one_marked_last() -> None:
    async with on_pictures(picture(*NAMES)) as shown:
        await shown.press("j", "space", "j", "m")
        assert marked(shown) == ["bravo", "charlie", "delta"]
        await shown.press("u", "G", "k", "space", "g", "m")
        assert marked(shown) == ["alpha", "bravo", "charlie", "delta"], "the way up too"


async def test_a_range_does_not_begin_at_what_was_unmarked_since() -> None:
    async with on_pictures(picture(*NAMES)) as shown:
        await shown.press("space", "u", "G", "m")
        assert marked(shown) == ["echo"]
        await shown.press("g", "space", "g", "space", "G", "u", "m")
        assert marked(shown) == ["echo"]


async def test_all_that_the_filter_shows_is_marked_and_unmarked() -> None:
    async with on_pictures(picture(*NAMES)) as shown:
        await shown.press("slash")
        await shown.type("ta")
        await shown.press("enter", "asterisk")
        await shown.press("escape")
        assert marked(shown) == ["delta"]
        await shown.press("asterisk")
        assert marked(shown) == list(NAMES)
        await shown.press("asterisk")
        assert marked(shown) == []


async def test_marks_stay_through_sort_filter_refresh_and_disappearance() -> None:
    async with on_pictures(picture(*NAMES)) as shown:
        await shown.press("space", "space", "space", "s", "R")
        assert sorted(marked(shown)) == ["alpha", "bravo", "charlie"]
        await shown.press("slash")
        await shown.type("bravo")
        await shown.press("enter")
        assert marked(shown) == ["bravo"]
        assert "3 marked, 2 hidden by the filter" in shown.line("Rooms ─")
        await shown.show(picture("bravo", "charlie", "delta", number=2))
        assert "3 marked, 1 hidden by the filter, 1 gone" in shown.line("Rooms ─")
        await shown.press("escape")
        assert sorted(marked(shown)) == ["bravo", "charlie"]
        await shown.show(picture(*NAMES, number=3))
        assert sorted(marked(shown)) == ["alpha", "bravo", "charlie"], "by its SID, so it is the very same room"


async def test_marks_of_participants_are_those_of_one_room() -> None:
    async with on_pictures(picture("alpha", "bravo")) as shown:
        await shown.press("enter", "space")
        assert shown.main.participants.marks == ("PA_ann_alpha",)
        await shown.press("escape", "j")
        await shown.wait_for("bravo · RM_bravo")
        assert not shown.main.participants.marks


async def test_all_marked_names_are_copied_a_line_each() -> None:
    async with on_pictures(picture(*NAMES)) as shown:
        await shown.press("space", "space", "y")
        assert shown.app.clipboard == "alpha\nbravo"
        await shown.press("Y")
        assert shown.app.clipboard == "RM_alpha\nRM_bravo"


# The plan


async def test_the_dialog_says_how_many_and_lists_each_and_cancelling_sends_nothing() -> None:
    starting = room("starting", agent("young", joined=1.0, state="initializing"))
    async with on_pictures(snapshot(starting, *(served(name) for name in NAMES))) as shown:
        await shown.press("asterisk")
        dialog = await asked(shown, "T")
        assert dialog.many.word == "6"
        await shown.wait_for("5 people and 6 agents will be disconnected. 6 rooms are gone after.")
        await shown.wait_for(lambda: all(name in shown.said for name in (*NAMES, "starting")))
        assert "young joined 1 s ago" in shown.line("▲ starting")
        await shown.press("shift+tab", "enter")
        await shown.wait_for("a starting agent can bring the room back")
        await shown.press("escape")
        await shown.wait_for(lambda: shown.screen is dialog)
        await shown.press("escape")
        assert shown.screen is shown.main
        assert shown.app.records == ()
        assert len(shown.main.rooms.marks) == 6


async def test_hidden_ones_are_hit_too_and_said_to_be_hidden() -> None:
    async with on_pictures(picture(*NAMES)) as shown:
        await shown.press("space", "space", "slash")
        await shown.type("bravo")
        await shown.press("enter")
        dialog = await asked(shown, "D")
        assert [plan.target.room.safe for plan in dialog.many.plans] == ["alpha", "bravo"]
        await shown.wait_for("1 marked room is hidden by the filter.")


async def test_one_that_goes_meanwhile_is_said_to_be_gone() -> None:
    async with on_pictures(picture(*NAMES)) as shown:
        await shown.press("asterisk")
        await asked(shown, "D")
        await shown.show(picture("alpha", "bravo", number=2))
        await shown.wait_for("3 are gone meanwhile: nothing will be sent there.")


async def test_nothing_is_confirmed_before_the_number_is_typed() -> None:
    async with on_pictures(picture(*NAMES)) as shown:
        await shown.press("asterisk")
        dialog = await asked(shown, "D")
        assert isinstance(shown.screen.focused, Input)
        for typed in ("", "4", "45"):
            dialog.query_one("#word", Input).value = typed
            await shown.press("enter")
            assert shown.screen is dialog
            assert dialog.query_one("#confirm", Button).disabled
        dialog.query_one("#word", Input).value = "5"
        await shown.pilot.pause()
        assert not dialog.query_one("#confirm", Button).disabled


async def test_a_few_are_asked_for_with_cancel_focused() -> None:
    async with on_pictures(picture(*NAMES)) as shown:
        await shown.press("space", "space")
        dialog = await asked(shown, "D")
        assert dialog.many.word == ""
        await shown.press("enter")
        assert shown.screen is shown.main
        assert shown.app.records == ()


# Carrying it out


@pytest.fixture
def world() -> World:
    return small_world()


async def test_marked_rooms_are_deleted_and_no_other(world: World) -> None:
    here = {name: open_room(world, name, "ann", agents=NOBODY) for name in NAMES}
    async with on_demo(world) as shown:
        await shown.press("m", "G", "k", "m")
        dialog = await asked(shown, "D")
        targets = [plan.target.room_sid for plan in dialog.many.plans]
        await shown.type(dialog.many.word)
        await shown.press("enter")
        await shown.wait_for(lambda: len(world.rooms()) == 1)
        assert {one.info.sid for one in here.values() if one.closed} == set(targets)
        assert shown.main.rooms.marks == ()
        await shown.wait_for("delete room of 4")
        assert {record.target.room_sid for record in batch(shown).records} == set(targets)


async def test_the_agents_of_marked_rooms_close_their_sessions_each_verified(world: World) -> None:
    here = [open_room(world, name, "ann") for name in NAMES]
    alone = open_room(world, "foxtrot", "ann", agents=NOBODY)
    async with on_demo(world) as shown:
        await shown.press("asterisk")
        dialog = await asked(shown, "c")
        assert [plan.target.room.safe for plan in dialog.many.blocked] == ["foxtrot"]
        await shown.press("right", "enter")
        await shown.wait_for("close session of 5: 5 confirmed")
        assert all(who.session is Session.CLOSED for one in here for who in one.agents)
        assert alone.agents == []
        assert any("close session of 5: 5 confirmed" in toast for toast in shown.toasts)
        assert len([toast for toast in shown.toasts if "confirmed" in toast]) == 1, "one toast for all"

        await shown.press("tab", "tab", "tab")
        line = next(line for line in shown.main.log_pane.shown if isinstance(line.what, BatchRecord))
        shown.main.log_pane.table.select(line.key)
        await shown.press("enter")
        await shown.wait_for(lambda: isinstance(shown.screen, BatchDialog))
        await shown.press("y")
        lines = shown.app.clipboard.splitlines()
        assert lines[0] == f"close session of 5: 5 confirmed, by {OPERATOR}"
        assert len(lines) == 6
        assert all("session is closed" in one for one in lines[1:])
        await shown.press("enter")
        await shown.wait_for("PerformRpc lk-tui.close_session")


async def test_what_was_not_begun_is_not_begun_when_it_is_stopped(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    rooms = [open_room(world, f"room-{number:02}", "ann", agents=NOBODY) for number in range(30)]
    async with on_demo(world) as shown:
        delete_room, calls = world.delete_room, itertools.count(1)

        def stopped_at_the_third(name: str) -> None:
            delete_room(name)
            # What S does. A key might arrive when all are sent already.
            if next(calls) == 3:
                shown.app.stop_actions()

        monkeypatch.setattr(world, "delete_room", stopped_at_the_third)
        await shown.press("asterisk")
        dialog = await asked(shown, "D")
        await shown.type(dialog.many.word)
        await shown.press("enter")
        await shown.wait_for(lambda: shown.main.log_pane.shown and batch(shown).outcome is not Outcome.RUNNING)
        deleted = {one.info.sid for one in rooms if one.closed}
        records = batch(shown).records
        assert {record.target.room_sid for record in records if record.sent} == deleted
        assert len(records) == 30
        assert any(not record.sent for record in records)
        assert all(record.outcome is Outcome.STOPPED for record in records if not record.sent)


async def test_a_room_recreated_after_it_was_marked_is_left_alone(world: World) -> None:
    open_room(world, "alpha", "ann", agents=NOBODY)
    open_room(world, "bravo", "ann", agents=NOBODY)
    async with on_demo(world, interval_s=60.0) as shown:
        await shown.press("asterisk")
        await asked(shown, "D")
        world.delete_room("alpha")
        again = open_room(world, "alpha", "eve", agents=NOBODY)
        await shown.press("right", "enter")
        await shown.wait_for(lambda: [one.info.name for one in world.rooms()] == ["alpha"])
        await shown.wait_for(lambda: Outcome.REFUSED in batch(shown).counts)
        (refused,) = [record for record in batch(shown).records if record.outcome is Outcome.REFUSED]
        assert again.info.sid in refused.last
        assert world.rooms() == [again]


async def test_each_target_is_in_the_saved_log_with_its_batch(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in NAMES[:3]:
        open_room(world, name, "ann")
    async with on_demo(world) as shown:
        await shown.press("asterisk")
        await asked(shown, "c")
        await shown.press("right", "enter")
        await shown.wait_for("close session of 3: 3 confirmed")
        await shown.press("w")
        (saved,) = tmp_path.glob("lk-tui-log-*.jsonl")
        lines = [json.loads(line) for line in saved.read_text().splitlines()]
        actions = [line for line in lines if line.get("action") == Action.CLOSE_SESSION.value]
        assert [line["batch"]["size"] for line in actions] == [3, 3, 3]
        assert len({line["batch"]["id"] for line in actions}) == 1
