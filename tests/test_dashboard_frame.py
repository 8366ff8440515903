"""What is round the tables: badges, freshness, empty panes, the small layout, read-only, keys, help and the end."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

import pytest
from textual.command import CommandPalette
from textual.events import Paste
from textual.screen import ModalScreen

from tests.build import NOW, person, room, snapshot
from tests.dashboard import Clock, Dashboard, on_demo, on_pictures, open_room, served, small_world
from tui.garbage import Collector
from tui.model.action import Outcome
from tui.model.collapse import NEWS_S, Collapse
from tui.model.room import Room
from tui.model.snapshot import Failure, FailureKind, Snapshot
from tui.ui.bars import KeyBar
from tui.ui.commands import COMMANDS, Command, Group, On, commands
from tui.ui.dialogs import ConfirmDialog, DetailDialog
from tui.ui.messages import SnapshotArrived

REFUSED = Failure(FailureKind.UNREACHABLE, "acme.example refused the connection: is livekit-server running there?")
LIMITED = Failure(FailureKind.RATE_LIMITED, "acme.example limits our requests (429): lower --budget")
SIZES = [(160, 50), (120, 40), (80, 24), (60, 15)]
PICTURE = snapshot(served("alpha"), served("bravo"))


# Badges


@pytest.mark.parametrize("size", SIZES)
async def test_a_demo_is_labelled_at_every_size_and_behind_every_dialog(size: tuple[int, int]) -> None:
    async with on_pictures(PICTURE, size=size, demo=True) as shown:
        await shown.press("p")
        for key in ("D", "question_mark", "ctrl+p"):
            await shown.press(key)
            await shown.wait_for(lambda: isinstance(shown.screen, ModalScreen))
            await shown.wait_for(lambda: " DEMO " in shown.lines[0] and " PAUSED " in shown.lines[0])
            await shown.press("escape")


async def test_the_project_its_address_and_where_they_came_from_are_always_said() -> None:
    async with on_pictures(PICTURE) as shown:
        assert "acme  https://acme.example  from a test" in shown.lines[0]
        assert " DEMO " not in shown.text
        assert " READ-ONLY " not in shown.text


# Freshness


async def test_a_server_that_is_away_leaves_its_last_picture_marked_stale_with_its_age() -> None:
    clock = Clock()
    async with on_pictures(PICTURE, clock=clock) as shown:
        assert "● live" in shown.lines[0]
        clock.now += 41
        away = replace(PICTURE, number=2, at=clock.now, failure=REFUSED)
        await shown.show(away)
        assert "✗ stale 41s" in shown.lines[0]
        assert f"✗ {REFUSED.message} — showing the picture of 41s ago" in shown.lines[1]
        assert shown.room_names == ["alpha", "bravo"]
        assert shown.main.has_class("-stale")
        await shown.show(snapshot(served("charlie"), number=3, at=clock.now))
        assert "● live" in shown.lines[0]
        assert "refused" not in shown.text
        assert shown.room_names == ["charlie"]
        assert not shown.main.has_class("-stale")


async def test_the_age_of_a_stale_picture_goes_on_by_itself() -> None:
    clock = Clock()
    async with on_pictures(replace(PICTURE, failure=REFUSED), clock=clock) as shown:
        clock.now += 125
        await shown.wait_for("✗ stale 2m")


async def test_a_picture_that_is_overdue_is_called_late() -> None:
    clock = Clock()
    async with on_pictures(PICTURE, clock=clock) as shown:
        clock.now += 12
        await shown.wait_for("◌ late 12s")


async def test_a_picture_that_is_overdue_is_dimmed_and_nothing_is_called_well() -> None:
    clock = Clock()
    async with on_pictures(PICTURE, clock=clock) as shown:
        assert "all is well" in shown.lines[1]
        assert not shown.main.has_class("-stale")
        clock.now += 12
        await shown.wait_for("◌ no answer yet — showing the picture of 12s ago")
        assert shown.main.has_class("-stale")
        await shown.show(snapshot(served("alpha"), number=2, at=clock.now))
        assert "all is well" in shown.lines[1]
        assert not shown.main.has_class("-stale")


async def test_when_it_is_tried_again_is_counted_down() -> None:
    clock = Clock()
    away = replace(PICTURE, failure=REFUSED, interval=7.0)
    async with on_pictures(away, clock=clock, size=(160, 40)) as shown:
        assert "trying again in 7s" in shown.lines[1]
        clock.now += 4
        await shown.wait_for("trying again in 3s")
        clock.now += 4
        await shown.wait_for(lambda: shown.lines[1].rstrip().endswith("trying again"))


@pytest.mark.parametrize(("skew", "words"), [(48.0, "48s behind"), (-130.0, "2m10s ahead of")])
async def test_clocks_that_differ_are_told(skew: float, words: str) -> None:
    async with on_pictures(replace(PICTURE, skew=skew), size=(80, 24)) as shown:
        assert f"⚠ this clock is {words} the server's" in shown.lines[1]
        assert "all is well" not in shown.text


async def test_clocks_that_nearly_agree_are_not_worth_a_word() -> None:
    async with on_pictures(replace(PICTURE, skew=4.0)) as shown:
        assert "this clock" not in shown.text


async def test_no_rooms_are_not_called_well() -> None:
    async with on_pictures(snapshot()) as shown:
        assert "0 rooms" in shown.lines[1]
        assert "all is well" not in shown.text


@pytest.mark.parametrize("size", SIZES)
async def test_a_collapse_is_told_for_some_minutes_at_every_size(size: tuple[int, int]) -> None:
    clock = Clock()
    lost = replace(snapshot(), collapse=Collapse(NOW - 2.0, NOW, 342, 342, 611))
    async with on_pictures(PICTURE, lost, clock=clock, size=size) as shown:
        assert "✗ 342 of 342 rooms gone at once at " in shown.lines[1]
        assert shown.toasts
        clock.now += NEWS_S + 1
        await shown.show(replace(lost, number=3, at=clock.now, listed_at=clock.now))
        assert "gone at once" not in shown.lines[1]


@pytest.mark.parametrize(
    ("kind", "code"),
    [(FailureKind.AUTHENTICATION, 3), (FailureKind.UNREACHABLE, 4), (FailureKind.NOT_LIVEKIT, 4)],
)
async def test_a_first_poll_that_fails_for_good_ends_the_program(kind: FailureKind, code: int) -> None:
    async with on_pictures() as shown:
        shown.app.post_message(SnapshotArrived(replace(snapshot(), listed_at=None, failure=Failure(kind, "no"))))
        await shown.ended()
        assert shown.app.return_code == code


@pytest.mark.parametrize("kind", list(FailureKind))
async def test_no_later_failure_ends_it(kind: FailureKind) -> None:
    async with on_pictures(PICTURE, replace(PICTURE, number=2, failure=Failure(kind, "it failed"))) as shown:
        assert "✗ it failed" in shown.lines[1]
        assert shown.room_names == ["alpha", "bravo"]


# The first picture


class Waiting(Collector):
    """Takes down what was on the screen when it began, and which moments it was told of."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: Callable[[], str] = str
        self.began: list[str] = []
        self.calm: list[bool] = []

    def begin(self) -> None:
        self.began.append(self.seen())

    def collect(self, *, calm: bool, many: bool) -> None:
        assert not many
        self.calm.append(calm)


@pytest.mark.parametrize("first", [PICTURE, replace(snapshot(), listed_at=None, failure=LIMITED)])
async def test_no_garbage_is_collected_before_the_first_picture_or_what_is_wrong_is_on_the_screen(
    first: Snapshot,
) -> None:
    collector = Waiting()
    async with on_pictures(collector=collector) as here:
        collector.seen = lambda: here.text
        assert collector.began == []
        await here.show(first)
        await here.wait_for(lambda: collector.began)
        assert ("bravo" if first is PICTURE else LIMITED.message) in collector.began[0]
        await here.show(replace(PICTURE, number=2))
        await here.wait_for(lambda: collector.calm)
        assert len(collector.began) == 1


async def test_while_somebody_types_no_moment_is_calm_to_collect_garbage_in() -> None:
    collector = Waiting()
    async with on_pictures(PICTURE, collector=collector) as here:
        await here.wait_for(lambda: collector.calm)
        while False not in collector.calm:
            await here.press("j")
        await here.wait_for(lambda: collector.calm[-1])


# Empty panes


async def test_empty_panes_say_what_would_be_there_and_why_it_is_not() -> None:
    async with on_pictures() as shown:
        assert "Asking the server for its rooms …" in shown.text
        assert "connecting" in shown.lines[0]
        assert "Select a room to see who is in it." in shown.text
        assert "The selected room's agent is shown here." in shown.text
        assert "Ends of sessions, and what you do, appear here with time and cause." in shown.text
        await shown.show(snapshot())
        assert "No rooms: they appear here as soon as somebody joins one." in shown.text


@pytest.mark.parametrize(
    ("here", "said"),
    [
        (room("alpha", participants=None, checked_at=None), ("Reading who is in this room …", "not read yet")),
        (room("alpha"), ("Nobody is in this room.", "No agent is in this room.")),
        (room("alpha", person("ann")), ("No agent is in this room. Press a to dispatch one.",)),
    ],
)
async def test_an_empty_room_says_why_it_is(here: Room, said: tuple[str, ...]) -> None:
    async with on_pictures(snapshot(here), size=(180, 40)) as shown:
        for words in said:
            assert words in shown.text


# The small layout


async def test_a_small_screen_shows_the_rooms_and_one_lower_pane_at_a_time() -> None:
    async with on_pictures(PICTURE, size=(80, 24)) as shown:
        heights = []
        for pane in ("participants", "agent", "log"):
            await shown.press("tab")
            assert lower_panes(shown) == [pane]
            assert shown.main.query_one("#rooms-pane").region.height >= 6
            heights.append(shown.main.query_one(f"#{pane}-pane").region.height)
            shown.assert_harmless()
        assert len(set(heights)) == 1
        await shown.press("tab")
        assert shown.focused == "rooms"
        assert lower_panes(shown) == ["log"]


async def test_a_small_screen_loses_nothing_that_matters() -> None:
    trouble = snapshot(room("support-4711-in-the-morning", person("bob", joined=41.0), dispatches=()), served("alpha"))
    async with on_pictures(trouble, size=(80, 24)) as shown:
        assert "1 person waits 41s, no agent" in shown.line("support-4711")
        for title in ("ROOM", "SIGN▾", "PEOPLE", "AGENT", "STATE"):
            assert title in shown.lines[3]
        assert "▲ 1 waiting" in shown.lines[1]
        assert "● live" in shown.lines[0]
        for key in ("c close", "x shut down", "K kick", "D delete", "T tear down", "a dispatch", "? help"):
            assert key in shown.lines[-1]


async def test_a_screen_that_grows_shows_all_panes() -> None:
    async with on_pictures(PICTURE, size=(80, 24)) as shown:
        await shown.pilot.resize_terminal(120, 40)
        await shown.wait_for(lambda: lower_panes(shown) == ["participants", "agent", "log"])
        await shown.pilot.resize_terminal(99, 40)
        await shown.wait_for(lambda: lower_panes(shown) == ["participants"])


def lower_panes(shown: Dashboard) -> list[str]:
    """The lower panes that take up any room."""
    return [pane for pane in ("participants", "agent", "log") if shown.main.query_one(f"#{pane}-pane").region.area]


@pytest.mark.parametrize("size", [(40, 12), (20, 6), (300, 100)])
async def test_no_size_breaks_it(size: tuple[int, int]) -> None:
    async with on_pictures(PICTURE, size=size) as shown:
        for key in ("tab", "tab", "tab", "D"):
            await shown.press(key)
            shown.assert_harmless()


# Read-only


async def test_read_only_knows_no_command_that_acts() -> None:
    acts = [command for command in COMMANDS if command.group is Group.ACT]
    async with on_pictures(PICTURE, read_only=True) as shown:
        assert " READ-ONLY " in shown.lines[0]
        offered = [command.title for command in shown.app.get_system_commands(shown.screen)]
        for pane in range(4):
            assert not {key for one in acts for key in one.keys.split(",")} & set(shown.screen.active_bindings)
            await shown.press("tab" if pane else "escape")
        assert not [title for title in offered for one in acts if title.startswith(one.label.capitalize())]
        assert not [one.label for one in acts if f"{one.first_key} {one.short or one.label}" in shown.lines[-1]]
        assert "/ filter" in shown.lines[-1]


async def test_read_only_keys_do_nothing() -> None:
    async with on_pictures(PICTURE, read_only=True) as shown:
        await shown.press("enter")
        for command in COMMANDS:
            if command.group is Group.ACT:
                await shown.press(command.keys)
                assert shown.screen is shown.main
        assert shown.toasts == []


# The key bar


BAR = [command for command in commands(On.MAIN) if command.bar and command.id not in ("quit", "open")]


async def test_every_key_in_the_bar_can_be_clicked() -> None:
    async with on_pictures(PICTURE, size=(200, 40)) as shown:
        for command in BAR:
            await click(shown, command)
            pressed = await what_happened(shown)
            await shown.press(command.keys.split(",")[0])
            assert pressed == await what_happened(shown), command.id
        await click(shown, next(command for command in COMMANDS if command.id == "open"))
        assert shown.focused == "participants"


async def click(shown: Dashboard, command: Command) -> None:
    words = f"{command.first_key} {command.label}  "
    await shown.pilot.click(KeyBar, offset=(shown.lines[-1].index(words), 0))
    await shown.pilot.pause()


async def what_happened(shown: Dashboard) -> tuple[str, str]:
    """The screen that is open and what has the focus; then all is put back."""
    seen = (type(shown.screen).__name__, shown.focused)
    await shown.press("escape")
    return seen


# Help and palette


async def test_help_tells_every_command_with_its_keys() -> None:
    async with on_pictures(PICTURE, size=(140, 120)) as shown:
        await shown.press("question_mark")
        assert isinstance(shown.screen, DetailDialog)
        for command in COMMANDS:
            words = f"{command.key_words} {command.label} {command.help[:20]}"
            await shown.wait_for_words(words)
        await shown.press("escape")
        await shown.wait_for(lambda: not isinstance(shown.screen, DetailDialog))


@pytest.mark.parametrize("key", ["ctrl+p", "colon"])
async def test_a_command_can_be_found_by_its_name(key: str) -> None:
    async with on_pictures(PICTURE) as shown:
        await shown.press("j", key)
        assert isinstance(shown.screen, CommandPalette)
        await shown.type("delete r")
        await shown.wait_for("Put everyone out and delete the room.")
        await shown.press("enter")
        await shown.wait_for(lambda: isinstance(shown.screen, ConfirmDialog))
        assert shown.dialog.plan.title == "Delete room"
        assert shown.dialog.plan.target.room_sid == "RM_bravo"


async def test_the_palette_has_every_command_but_movements() -> None:
    async with on_pictures(PICTURE) as shown:
        titles = "\n".join(command.title for command in shown.app.get_system_commands(shown.screen))
        has = [command.id for command in commands(On.MAIN) if command.id != "palette"]
        for command in COMMANDS:
            found = f"{command.label.capitalize()}  ({command.key_words})" in titles
            assert found == (command.id in has), command.id


# What is typed and pasted


PASTED = "\x1b]0;owned\x07\x9b31m \u202e[@click=app.quit]x[/] bravo"


@pytest.mark.parametrize("keys", [["slash"], ["ctrl+p"], ["a", "tab"]], ids=["filter", "palette", "agent name"])
async def test_a_pasted_text_is_taken_without_what_a_terminal_would_act_on(keys: Iterable[str]) -> None:
    async with on_pictures(PICTURE) as shown:
        await shown.press(*keys)
        shown.app.post_message(Paste(PASTED))
        await shown.wait_for("x[/] bravo")
        shown.assert_harmless()


# Quitting


async def test_q_leaves() -> None:
    async with on_pictures(PICTURE) as shown:
        await shown.press("q")
        await shown.ended()
        assert shown.app.return_code == 0


async def test_with_an_action_under_way_quitting_is_asked_for_twice_each_time() -> None:
    world = small_world()
    open_room(world, "alpha", "ann")
    async with on_demo(world) as shown:
        await shown.confirm("D")
        await shown.press("q")
        await shown.wait_for("An action is still running")
        # Stopped, it is over; the next one is another reason to be asked.
        await shown.press("S")
        await shown.wait_for(lambda: [record.outcome for record in shown.app.records] == [Outcome.STOPPED])
        open_room(world, "bravo", "bob")
        await shown.select("bravo")
        await shown.confirm("D")
        await shown.press("q")
        assert shown.app.is_running
        await shown.press("q")
        await shown.ended()
        assert shown.app.return_code == 0
