"""The log pane: closes at a glance, filtered, counted, opened as a story, left and returned to, saved."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.build import NOW, person, room, snapshot
from tests.close_events import close, left
from tests.dashboard import Dashboard, on_demo, on_pictures, open_room, small_world
from tui.model.causes import Cause
from tui.model.closes import CloseEvent
from tui.model.evidence import Evidence, Fact, Source
from tui.model.room import SessionError

FAILED = close(
    1,
    Evidence(
        NOW - 9, Source.HELPER, Fact.SESSION_CLOSED, "error", error=SessionError("APIError", "openai.LLM", "no quota")
    ),
    room="sales-1",
)
KICKED = close(2, left("PARTICIPANT_REMOVED", Source.WEBHOOK), room="support-2")
UNKNOWN = close(3, left(), Evidence(NOW, Source.POLLING, Fact.DISPATCH_STAYS), room="support-3")
PICTURE = snapshot(room("sales-1", person("ann")), room("support-2", person("bob")), room("support-9", person("eve")))


async def tell(shown: Dashboard, *events: CloseEvent) -> None:
    """Have these closes become known."""
    shown.app._publish_closes(events)
    await shown.pilot.pause()
    await shown.wait_for(lambda: not shown.app._closes_to_show)


@asynccontextmanager
async def log(*events: CloseEvent, size: tuple[int, int] = (120, 40)) -> AsyncIterator[Dashboard]:
    """A dashboard whose log has these closes, and the focus."""
    async with on_pictures(PICTURE, size=size) as shown:
        await tell(shown, *events)
        await shown.press("shift+tab")
        await shown.wait_for(lambda: shown.focused == "log")
        yield shown


def rows(shown: Dashboard) -> list[str]:
    return [line.key for line in shown.main.log_pane.table.rows]


async def test_a_line_says_when_where_who_why_and_for_how_long() -> None:
    async with log(FAILED, KICKED, UNKNOWN) as shown:
        line = shown.line("openai.LLM")
        assert re.search(r"\d\d:\d\d:\d\d sales-1 +closer +error: openai.LLM APIError, no quota, agent stays", line)
        assert "51s" in line
        assert re.search(r"support-2 +closer +kicked by someone", shown.text)
        assert "unknown: kicked, shut down by its code or lost" in shown.text


async def test_the_title_counts_the_last_hour_and_errors_come_first() -> None:
    async with log(KICKED, FAILED, close(9, left("PARTICIPANT_REMOVED", Source.WEBHOOK), at=NOW - 4000)) as shown:
        assert "last hour 2 ─ 1 error ─ 1 kicked by someone" in shown.line("Closes ─")


async def test_words_filter_the_log_as_they_are_typed_and_escape_clears_them() -> None:
    async with log(FAILED, KICKED, UNKNOWN) as shown:
        await shown.press("slash")
        await shown.type("kick")
        assert rows(shown) == ["close PA_2", "close PA_3"]
        assert "“kick” 2/3" in shown.line("Closes ─")
        await shown.press("enter")
        assert shown.focused == "log"
        await tell(shown, close(4, left("PARTICIPANT_REMOVED", Source.WEBHOOK)), close(5, left("ROOM_DELETED")))
        assert rows(shown) == ["close PA_2", "close PA_3", "close PA_4"]
        await shown.press("escape")
        assert len(rows(shown)) == 5
        assert shown.focused == "log"


async def test_a_cause_is_chosen_from_those_that_there_are() -> None:
    async with log(FAILED, KICKED, UNKNOWN) as shown:
        await shown.press("f")
        await shown.wait_for("Closes by cause")
        assert re.search(r"1 +error", shown.text)
        await shown.press("j", "enter")
        await shown.wait_for(lambda: shown.main.log_pane.filter.cause is Cause.ERROR)
        assert rows(shown) == ["close PA_1"]
        await shown.press("f", "g", "home", "enter")
        await shown.wait_for(lambda: len(rows(shown)) == 3)


async def test_enter_tells_the_story_with_every_piece_of_evidence() -> None:
    async with log(KICKED) as shown:
        await shown.press("enter")
        await shown.wait_for("Go to its room")
        assert "webhook: the agent left, participant removed" in shown.said
        assert "closer joined support-2" in shown.said
        assert "PA_2" in shown.said
        await shown.press("escape")
        await shown.wait_for(lambda: shown.screen is shown.main)


async def test_a_verdict_that_changed_says_what_it_was() -> None:
    deleted = close(2, Evidence(NOW, Source.POLLING, Fact.ROOM_ENDED), Evidence(NOW, Source.POLLING, Fact.ROOM_NOT_DUE))
    async with log(deleted) as shown:
        await tell(shown, deleted.grown([left("SERVER_SHUTDOWN", Source.WEBHOOK)], NOW + 1))
        assert rows(shown) == ["close PA_2"]
        await shown.wait_for("said before")
        await shown.press("enter")
        await shown.wait_for("so not “room deleted by someone”")


async def test_from_a_close_to_its_room_and_back() -> None:
    async with log(FAILED, KICKED) as shown:
        await shown.press("slash", *"kicked", "enter", "o")
        await shown.wait_for(lambda: shown.focused == "rooms")
        assert shown.main.room is not None
        assert shown.main.room.name.raw == "support-2"
        await shown.press("o")
        await shown.wait_for(lambda: shown.focused == "log")
        selected = shown.main.log_pane.table.selected
        assert selected is not None
        assert selected.key == "close PA_2"


async def test_a_room_that_is_gone_is_said_and_nothing_else_is_selected() -> None:
    async with log(UNKNOWN) as shown:
        await shown.press("o")
        await shown.wait_for("is gone")
        assert shown.focused == "log"


async def test_new_lines_never_take_the_place_of_the_one_that_is_read() -> None:
    events = [close(number, at=NOW - 100 + number) for number in range(40)]
    async with log(*events) as shown:
        await shown.press("g")
        top = shown.main.log_pane.table.visible_rows[0].key
        await tell(shown, *(close(number) for number in range(50, 60)))
        assert shown.main.log_pane.table.visible_rows[0].key == top
        assert "held: G follows" in shown.line("Closes ─")
        await shown.press("G")
        await tell(shown, close(70, at=NOW + 1))
        assert shown.main.log_pane.table.visible_rows[-1].key == "close PA_70"


async def test_what_is_shown_is_saved_as_json_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    async with log(FAILED, KICKED) as shown:
        await shown.press("slash", *"openai", "enter", "w")
        await shown.wait_for("Saved 1 line to")
    (path,) = tmp_path.iterdir()
    assert path.stat().st_mode & 0o777 == 0o600
    assert [json.loads(line)["cause"] for line in path.read_text().splitlines()] == ["error"]


async def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    async with log(FAILED) as shown:
        await shown.press("w")
        await shown.wait_for("could not be saved")


async def test_the_sources_are_on_the_screen_and_explained() -> None:
    async with on_pictures(PICTURE) as shown:
        shown.main.log_pane.show_sources(shown.app.sources)
        await shown.wait_for("○ helper")
        await shown.press("i")
        await shown.wait_for("Where evidence comes from")
        assert "polling" in shown.text


async def test_a_small_terminal_shows_the_log_too() -> None:
    async with log(FAILED, KICKED, size=(80, 24)) as shown:
        assert "kicked by someone" in shown.text
        await shown.press("enter")
        await shown.wait_for("Go to its room")
        shown.assert_harmless()


async def test_a_small_screen_says_at_all_times_which_sources_are_on() -> None:
    world = small_world()
    open_room(world, "sales-1", "ann")
    async with on_demo(world, size=(80, 24)) as shown:
        sources = ("● helper", "○ webhooks", "○ observer", "● probe")
        await shown.wait_for(lambda: all(source in shown.line("Rooms ─") for source in sources))
        await shown.press("asterisk")
        # Where other words need the place, fewer letters stand for each.
        await shown.wait_for(lambda: "1 marked ─ ●hel ○web ○obs ○his ●pro" in shown.line("Rooms ─"))
    async with on_demo(world, size=(40, 12)) as shown:
        await shown.wait_for(lambda: "○w" in shown.line("Rooms ─"))
