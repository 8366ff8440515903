"""Inside a session: what is shown of it, how one moves in it, and what can be done from there."""

from __future__ import annotations

import json
import re
import stat
import time
from dataclasses import replace
from pathlib import Path

import pytest
from rich.cells import cell_len

from tests.build import NOW, snapshot
from tests.dashboard import on_pictures
from tests.sessions import BEFORE, CONVERSATION, ROOM, call, rtc, said, screen, session, view
from tui.model.action import Action
from tui.model.session import (
    EntriesTold,
    EntryKind,
    Health,
    HealthTold,
    Heard,
    SessionEvent,
    ToolStatus,
)
from tui.model.session_phrases import HEALTH_GLYPHS
from tui.ui.commands import COMMANDS, On, commands
from tui.ui.conversation import _wrapped
from tui.ui.dialogs import DetailDialog
from tui.ui.session_screen import SessionScreen

LONG = tuple(said(n, EntryKind.USER if n % 2 else EntryKind.AGENT, f"word-{n}, of many") for n in range(200))


async def test_enter_on_an_agent_opens_its_session_and_esc_closes_the_look_into_it() -> None:
    async with session(*BEFORE) as (shown, inspected):
        assert inspected.agent_sid == ROOM.agents[0].participant.sid
        assert "frontdesk in sales-88" in shown.text
        assert inspected.closed == 0
        await shown.press("escape")
        await shown.wait_for(lambda: shown.screen is shown.main)
        assert inspected.closed == 1


async def test_enter_on_a_person_tells_about_the_person() -> None:
    async with on_pictures(snapshot(ROOM)) as shown:
        await shown.press("enter", "g", "enter")
        await shown.wait_for(lambda: isinstance(shown.screen, DetailDialog))
        assert "ann" in shown.text


async def test_enter_on_the_pane_of_the_agent_opens_its_session() -> None:
    async with on_pictures(snapshot(ROOM)) as shown:
        await shown.press("tab", "tab")
        await shown.wait_for(lambda: shown.focused == "agent-pane")
        await shown.press("enter")
        await shown.wait_for(lambda: isinstance(shown.screen, SessionScreen))


async def test_now_says_what_it_does_with_what_and_what_it_used() -> None:
    async with session(*BEFORE) as (shown, _):
        words = " ".join(shown.text.split())
        assert "agent thinking 12s user speaking 3s" in words
        for line in (
            r"agent +thinking 12s",
            r"user +speaking 3s",
            r"current +dispatcher, took over 1m ago",
            r"instructions +You answer the phone",
            r"tools +ask_the_workshop, book_courier",
            r"started +5m ago",
            r"used +llm gpt-4o: 12,204 in \(2,048",
            r"stt nova-3: 61.5 s of speech",
            r"in all +12,204 in",
            r"sdk +livekit-agents 1.8.9 \(python\)",
            r"job +AJ_agent-sales-88",
            r"dispatch +AD_sales-88 \(auto\)",
            r"worker +AW_1",
        ):
            assert re.search(line, shown.text), line
        assert "Never promise" not in shown.text
        await shown.press("tab", "enter")
        await shown.wait_for("Never promise a date you have not looked up.")
        await shown.wait_for("user_away_timeout")


async def test_the_conversation_tells_all_in_order() -> None:
    async with session(*BEFORE) as (shown, _):
        told = [line[48:] for line in shown.lines]
        wanted = (
            r"agent +Velo Nord, good morning!",
            r"user +Hi, I wanted to ask",
            r"tool +look_up_order\(number=771\)",
            r"✓ order 771: packed, waits for a courier",
            r"agent +Your order 771",
            r"‖ cut off here by the user",
            r"cut in +‖",
            r"user +No, no, stop.",
            r"tool +book_courier\(order=771, when=\"tomorrow\"\)",
            r"✗ failed: no courier left for tomorrow +\(420 ms\)",
            r"error +✗ openai.LLM: APIStatusError: 429",
            r"handoff +⇄ receptionist hands over to dispatcher",
            r"tool +ask_the_workshop",
            r"… running +\(1m\)",
            r"user +are you still …",
        )
        found = [next((n for n, line in enumerate(told) if re.search(each, line)), None) for each in wanted]
        assert None not in found, shown.text
        assert found == sorted(n for n in found if n is not None)
        assert re.search(r"\d\d:\d\d:\d\d +agent +Velo", shown.text)


async def test_words_that_change_stay_in_their_line_until_they_stand_in_a_message() -> None:
    async with session(*BEFORE) as (shown, inspected):
        inspected.tell(view(*BEFORE, Heard(NOW + 1, "are you still there", final=False)))
        await shown.wait_for("are you still there …")
        assert "are you still …" not in shown.text
        message = said(125, EntryKind.USER, "Are you still there?")
        inspected.tell(view(*BEFORE, EntriesTold((message,))))
        await shown.wait_for("Are you still there?")
        assert "are you still there …" not in shown.text


async def test_the_time_of_a_running_tool_goes_on_and_ends() -> None:
    async with session(*BEFORE) as (shown, inspected):
        shown.app._clock.now += 65  # type: ignore[attr-defined]
        await shown.wait_for("… running  (2m)")
        ended = call(33, "ask_the_workshop", '{"question": "who?"}', ToolStatus.DONE, "Kim does", lasted=90.0)
        inspected.tell(view(*BEFORE, EntriesTold((ended,))))
        await shown.wait_for("✓ Kim does  (1m)")


async def test_searching_leaves_what_holds_the_words_and_comes_back_to_the_place() -> None:
    async with session(EntriesTold(LONG), HealthTold(NOW, Health.ANSWERING)) as (shown, _):
        await shown.press("slash")
        await shown.type("word-3, of")
        await shown.press("enter")
        await shown.wait_for("“word-3, of” ─ 1/200")
        await shown.press("escape")
        await shown.wait_for("Conversation ─ 200")
        entry = screen(shown).conversation.selected
        assert entry is not None
        assert entry.text == "word-3, of many"
        assert "word-3, of many" in shown.text
        assert shown.screen is not shown.main


async def test_it_follows_only_at_the_end() -> None:
    async with session(EntriesTold(LONG)) as (shown, inspected):
        assert "word-199, of many" in shown.text
        more = EntriesTold((said(300, EntryKind.AGENT, "one more thing"),))
        inspected.tell(view(EntriesTold(LONG), more))
        await shown.wait_for("one more thing")
        await shown.press("k", "k")
        await shown.wait_for("held: G follows")
        before = [line[48:110] for line in shown.lines[5:36]]
        yet_more = EntriesTold((said(301, EntryKind.USER, "and another"),))
        inspected.tell(view(EntriesTold(LONG), more, yet_more))
        await shown.wait_for("Conversation ─ 202")
        assert [line[48:110] for line in shown.lines[5:36]] == before
        await shown.press("G")
        await shown.wait_for("and another")
        await shown.wait_for(lambda: "held" not in shown.text)


async def test_enter_opens_an_entry_whole() -> None:
    async with session(*BEFORE[:-1]) as (shown, _):
        await shown.press("enter")
        await shown.wait_for(lambda: isinstance(shown.screen, DetailDialog))
        await shown.wait_for('"question": "who drives north tomorrow?"')
        await shown.wait_for("running, 1m")


@pytest.mark.parametrize("health", list(Health))
async def test_how_it_stands_is_said_in_words_beside_glyph_and_colour(health: Health) -> None:
    async with session(*BEFORE, HealthTold(NOW - 14, health), size=(80, 24)) as (shown, _):
        assert f"{HEALTH_GLYPHS[health]} {health.value}" in shown.text
        await shown.press("tab", "tab")
        await shown.wait_for("Health")
        assert f"{HEALTH_GLYPHS[health]} {health.value}" in shown.text


async def test_an_agent_that_does_not_answer_gets_what_the_room_service_knows() -> None:
    told = HealthTold(NOW, Health.UNSUPPORTED)
    async with session(told) as (shown, _):
        health = " ".join(" ".join(line[2:46] for line in shown.lines[29:]).split())
        assert "The agent is alive, but its session never answered" in health
        assert "Nothing is known of what is said here." in shown.text
        assert re.search(r"state +listening", shown.text)
        assert re.search(r"job +AJ_agent-sales-88", shown.text)


async def test_a_session_that_is_not_looked_into_says_so() -> None:
    async with on_pictures(snapshot(ROOM)) as shown:
        await shown.press("enter", "G", "enter")
        await shown.wait_for("○ not inspected")
        assert "Its session is not looked into." in " ".join(shown.text.split())
        await shown.press("n", "escape")
        await shown.wait_for(lambda: shown.screen is shown.main)


async def test_the_statistics_of_the_connection_come_when_asked_for() -> None:
    async with session(*BEFORE) as (shown, inspected):
        assert "round trip" not in shown.text
        assert inspected.asked_for_statistics == 0
        await shown.press("n")
        await shown.wait_for("Asking for the statistics")
        inspected.tell(view(*BEFORE, *rtc(30)))
        await shown.wait_for(lambda: re.search(r"round trip +136.0 ms +▁?[▁▂▃▄▅▆▇]{10,}", shown.text))
        assert re.search(r"lost heard +0.4 %", shown.text)
        await shown.wait_for(lambda: inspected.asked_for_statistics > 1)
        await shown.press("n")
        asked = inspected.asked_for_statistics
        await shown.wait_for("n asks for the statistics")
        screen(shown)._tick()
        assert inspected.asked_for_statistics == asked


async def test_when_the_agent_goes_away_what_is_known_stays_and_nothing_can_be_done_to_it() -> None:
    async with session(*BEFORE) as (shown, inspected):
        alone = replace(ROOM, participants=ROOM.participants[:1] if ROOM.participants else None)
        await shown.show(snapshot(alone, turn=2))
        await shown.wait_for("✗ gone")
        assert "Velo Nord, good morning!" in shown.text
        assert "What is shown is from before." in " ".join(shown.text.split())
        await shown.press("c")
        await shown.wait_for("there is nothing to act on")
        assert isinstance(shown.screen, SessionScreen)
        await shown.show(snapshot(turn=3))
        inspected.tell(view(*BEFORE, HealthTold(NOW, Health.GONE)))
        await shown.wait_for(lambda: not screen(shown)._is_new)
        assert "Velo Nord, good morning!" in shown.text


@pytest.mark.parametrize("key", ["c", "x", "K", "D", "T"])
async def test_every_action_is_on_the_agent_shown(key: str) -> None:
    async with session(*BEFORE) as (shown, _):
        dialog = await shown.ask(key)
        assert dialog.plan.target.room_sid == ROOM.sid
        if key in "cxK":
            assert dialog.plan.target.participant_sid == ROOM.agents[0].participant.sid
        await shown.press("escape")
        await shown.wait_for(lambda: isinstance(shown.screen, SessionScreen))


async def test_a_confirmation_on_top_of_the_session_learns_that_its_target_is_gone() -> None:
    async with session(*BEFORE) as (shown, _):
        dialog = await shown.ask("K")
        assert dialog.plan.action is Action.KICK
        await shown.show(snapshot(turn=2))
        await shown.wait_for("This room is gone. Nothing will be sent.")
        assert shown.button("confirm").disabled


async def test_in_every_pane_only_an_actions_own_key_is_bound_to_it() -> None:
    acts = {key: command.run for command in commands(On.SESSION) if command.changes for key in command.keys.split(",")}
    async with session(*BEFORE) as (shown, _):
        for _pane in range(3):
            bound = {key: active.binding for key, active in shown.screen.active_bindings.items()}
            acting = {key: binding for key, binding in bound.items() if binding.action.startswith("act(")}
            assert {key: binding.action for key, binding in acting.items()} == acts
            assert not any(binding.priority for binding in acting.values())
            await shown.press("tab")


async def test_read_only_has_no_action_in_a_session() -> None:
    async with session(*BEFORE, read_only=True) as (shown, _):
        for command in COMMANDS:
            if command.changes is not None:
                await shown.press(command.keys)
                assert isinstance(shown.screen, SessionScreen), command.id
        assert "kick" not in shown.lines[-1]


async def test_the_conversation_is_saved_as_shown_for_its_owner_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    async with session(*BEFORE) as (shown, _):
        await shown.press("w")
        await shown.wait_for("Saved 13 entries")
    (lines,) = tmp_path.glob("*.jsonl")
    (text,) = tmp_path.glob("*.txt")
    for path in (lines, text):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    told = [json.loads(line) for line in lines.read_text("utf-8").splitlines()]
    assert [entry["id"] for entry in told[:-1]] == [entry.id for entry in CONVERSATION]
    assert told[3]["tool"]["arguments"] == '{"number": 771}'
    assert told[4]["interrupted"] is True
    assert told[-1]["interim"] is True
    assert re.search(r"^\d\d:\d\d:\d\d  agent +Velo Nord, good morning!", text.read_text("utf-8"), re.MULTILINE)


async def test_a_folder_that_cannot_be_written_to_is_told_about(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    async with session(*BEFORE) as (shown, _):
        await shown.press("w")
        await shown.wait_for("could not be saved")


async def test_what_people_say_is_never_markup() -> None:
    evil = "[/foo] [@click=app.quit]x[/] [bold"
    entries = (
        said(1, EntryKind.USER, evil),
        said(2, EntryKind.ERROR, evil, who=evil),
        call(3, evil, evil, ToolStatus.FAILED, evil),
        said(4, EntryKind.HANDOFF, evil, before=evil, after=evil),
    )
    events: tuple[SessionEvent, ...] = (EntriesTold(entries), HealthTold(NOW, Health.ANSWERING, evil))
    for size in ((120, 40), (80, 24), (40, 12)):
        async with session(*events, size=size) as (shown, _):
            await shown.press("enter", "escape", "tab", "enter", "escape", "tab", "y")
            assert shown.app.is_running


@pytest.mark.parametrize("size", [(120, 40), (100, 24), (80, 24), (40, 12)])
async def test_every_pane_is_to_be_had_at_every_size(size: tuple[int, int]) -> None:
    async with session(*BEFORE, *rtc(5), size=size) as (shown, _):
        assert "● answering" in shown.text
        for title in ("Now", "Health", "Conversation"):
            await shown.press("tab")
            await shown.wait_for(lambda title=title: shown.line(title))  # type: ignore[misc]
            assert shown.app.is_running


async def test_the_palette_has_the_commands_of_the_session() -> None:
    async with session(*BEFORE) as (shown, _):
        titles = [command.title for command in shown.app.get_system_commands(shown.screen)]
        assert "Network  (n)" in titles
        assert "Kick  (K)" in titles
        assert not any(title.startswith("Sort") for title in titles)


async def test_a_storm_of_events_in_a_long_conversation_is_drawn_ten_times_a_second_at_most() -> None:
    entries = [
        said(n, EntryKind.AGENT, f"the {n}th thing that was said in this long conversation " * 3) for n in range(5_000)
    ]
    async with session(EntriesTold(tuple(entries))) as (shown, inspected):
        conversation = screen(shown).conversation
        drawn = 0
        show = conversation.show

        def counted(seen: object) -> None:
            nonlocal drawn
            drawn += 1
            show(seen)  # type: ignore[arg-type]

        conversation.show = counted  # type: ignore[method-assign, assignment]
        book = view(EntriesTold(tuple(entries)))
        began = time.monotonic()
        for n in range(500):
            inspected.tell(replace(book, entries=(*book.entries[n:], said(5_000 + n, EntryKind.USER, f"news {n}"))))
            if n % 50 == 0:
                await shown.press("k")
        await shown.wait_for("news 499") if screen(shown).conversation.table.at_end else await shown.press("G")
        await shown.wait_for("news 499")
        took = time.monotonic() - began
        # Ten a second, and what the keys and the end of it need.
        assert drawn <= 10 * took + 5


async def test_closing_while_pictures_arrive_is_no_trouble() -> None:
    async with session(*BEFORE) as (shown, inspected):
        await shown.press("escape")
        await shown.wait_for(lambda: shown.screen is shown.main)
        inspected.tell(view(*BEFORE))
        await shown.pilot.pause()
        assert inspected.closed == 1
        shown.assert_harmless()


@pytest.mark.parametrize("width", [7, 20, 61])
@pytest.mark.parametrize(
    "text", ["", "one", "a b " * 40, "x" * 200, "  leading, and   many blanks   ", "早上好，" * 30, "né à 早 " * 25]
)
def test_wrapping_loses_nothing_but_blanks(text: str, width: int) -> None:
    lines = _wrapped(text, width)
    assert "".join("".join(lines).split()) == "".join(text.split())
    assert all(cell_len(line) <= width for line in lines)
