"""What was told of a session becomes one picture, in whatever order and however often it was told."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui.model.session import (
    AgentStateChanged,
    AgentTold,
    AudioSet,
    EntriesTold,
    Entry,
    EntryKind,
    FrameworkTold,
    Health,
    HealthTold,
    Heard,
    ModelUsage,
    RtcSample,
    RtcTold,
    SessionEvent,
    SessionView,
    StateTold,
    ToolCall,
    ToolStatus,
    Usage,
    UsageTold,
    UserStateChanged,
)
from tui.model.session_book import ENTRIES_KEPT, RTC_KEPT, SessionBook

NOW = 1_700_000_000.0


def told(*events: SessionEvent, kept: int = ENTRIES_KEPT) -> SessionView:
    """What these make of a session, in this order."""
    book = SessionBook("RM_1", "PA_1", kept=kept)
    for event in events:
        book.absorb(event)
    return book.view


def said(id_: str, at: float, text: str = "", kind: EntryKind = EntryKind.USER) -> Entry:
    return Entry(id_, NOW + at, kind, kind.value, text or id_)


def history(*entries: Entry) -> EntriesTold:
    return EntriesTold(entries)


def shown(view: SessionView) -> list[str]:
    return [entry.text for entry in view.entries]


# The conversation


def test_history_and_live_items_make_one_conversation_without_doubles() -> None:
    first, second, third = (said(f"item_{number}", number) for number in range(3))
    view = told(history(third), history(first, second, third), history(second))
    assert view.entries == (first, second, third)


def test_a_tool_call_is_one_entry_that_grows() -> None:
    began = Entry("call", NOW, EntryKind.TOOL, "look_up", tool=ToolCall("look_up", "{}", started_at=NOW))
    ended = Entry("call", NOW + 2, EntryKind.TOOL, tool=ToolCall(status=ToolStatus.DONE, ended_at=NOW + 2))
    output = Entry("call", NOW + 3, EntryKind.TOOL, "look_up", tool=ToolCall("look_up", result="42"))
    running = told(history(began)).entries[0]
    assert running.tool is not None
    assert running.tool.took(NOW + 1) == 1.0
    for order in ((began, ended, output), (output, ended, began), (ended, began, ended, output)):
        (entry,) = told(history(*order)).entries
        assert (entry.at, entry.who) == (NOW, "look_up")
        assert entry.tool == ToolCall("look_up", "{}", ToolStatus.DONE, "42", started_at=NOW, ended_at=NOW + 2)
        assert entry.tool.took(NOW + 9) == 2.0


def test_a_tool_that_failed_stays_failed_whatever_is_told_late() -> None:
    failed = Entry("call", NOW + 1, EntryKind.TOOL, tool=ToolCall(status=ToolStatus.FAILED, error="no table"))
    began = Entry("call", NOW, EntryKind.TOOL, tool=ToolCall("book", "{}"))
    done = Entry("call", NOW + 1, EntryKind.TOOL, tool=ToolCall("book", status=ToolStatus.DONE))
    for order in ((failed, began, done), (done, failed, began), (began, done, failed)):
        tool = told(history(*order)).entries[0].tool
        assert tool is not None
        assert (tool.status, tool.error) == (ToolStatus.FAILED, "no table")


def test_nobody_knows_how_long_a_call_took_whose_start_was_not_told() -> None:
    assert ToolCall(status=ToolStatus.DONE, ended_at=NOW).took(NOW) is None
    assert ToolCall(started_at=NOW, status=ToolStatus.DONE).took(NOW) is None


def test_words_that_may_still_change_come_last_and_are_replaced() -> None:
    view = told(history(said("item", 9.0)), Heard(NOW, "I", final=False), Heard(NOW + 1, "I want", final=False))
    assert shown(view) == ["item", "I want"]
    assert [entry.final for entry in view.entries] == [True, False]
    late = Heard(NOW, "I", final=False)
    assert shown(told(Heard(NOW + 1, "I want", final=False), late)) == ["I want"]


def test_words_that_were_heard_go_where_the_users_message_has_them() -> None:
    heard = [Heard(NOW, "I want", final=True), Heard(NOW + 1, "a  pony", final=True)]
    message = said("item", 2.0, "I want a pony")
    assert shown(told(*heard)) == ["I want", "a  pony"]
    assert shown(told(*heard, history(message))) == ["I want a pony"]
    assert shown(told(history(message), *heard)) == ["I want a pony"]
    other = said("other", 2.0, "something else")
    assert shown(told(*heard, history(other))) == ["I want", "a  pony", "something else"]
    much_later = said("later", 600.0, "I want a pony")
    assert shown(told(*heard, history(much_later))) == ["I want", "a  pony", "I want a pony"]


def test_a_users_message_ends_the_words_that_might_have_changed() -> None:
    assert shown(told(Heard(NOW, "I wan", final=False), history(said("item", 1.0, "I want")))) == ["I want"]
    assert shown(told(Heard(NOW, "I wan", final=False), Heard(NOW + 1, "I want", final=True))) == ["I want"]


def test_only_the_newest_are_kept_and_those_that_were_dropped_do_not_come_back() -> None:
    entries = [said(f"item_{number}", number) for number in range(10)]
    view = told(history(*entries), history(*entries), kept=4)
    assert view.entries == tuple(entries[-4:])
    assert view.dropped == 6


def test_a_handoff_names_the_agent_that_has_the_session_now() -> None:
    handoff = Entry("h", NOW + 5, EntryKind.HANDOFF, "agent", before="first", after="second")
    earlier = Entry("g", NOW, EntryKind.HANDOFF, "agent", after="first")
    info = AgentTold("first", "Be kind.", ("look_up",))
    view = told(StateTold(NOW, "listening", "listening", "first"), info, history(earlier))
    assert (view.agent.id, view.agent.since, view.agent.tools) == ("first", NOW, ("look_up",))
    view = told(info, history(handoff), history(earlier, handoff))
    assert (view.agent.id, view.agent.since, view.agent.instructions) == ("second", NOW + 5, "")


_ids = st.sampled_from([f"item_{number}" for number in range(12)])


@st.composite
def _conversations(draw: st.DrawFn) -> tuple[list[Entry], list[EntriesTold]]:
    """Entries, and their telling: in parts, in any order, some of them twice."""
    ids = draw(st.lists(_ids, unique=True, min_size=1))
    entries = [
        said(
            id_,
            draw(st.integers(0, 5)),
            kind=draw(st.sampled_from([EntryKind.AGENT, EntryKind.USER, EntryKind.CONFIG])),
        )
        for id_ in ids
    ]
    pieces = draw(st.lists(st.lists(st.sampled_from(entries))))
    tellings = [EntriesTold(tuple(piece)) for piece in (*pieces, entries)]
    return entries, draw(st.permutations(tellings))


@given(_conversations())
def test_each_item_is_there_once_and_in_its_place_in_whatever_order_it_was_told(
    drawn: tuple[list[Entry], list[EntriesTold]],
) -> None:
    entries, tellings = drawn
    assert told(*tellings).entries == tuple(sorted(entries, key=lambda entry: (entry.at, entry.id)))


@given(_conversations(), st.integers(1, 6))
def test_the_newest_are_kept_in_whatever_order_they_were_told(
    drawn: tuple[list[Entry], list[EntriesTold]], kept: int
) -> None:
    entries, tellings = drawn
    newest = sorted(entries, key=lambda entry: (entry.at, entry.id))[-kept:]
    assert told(*tellings, kept=kept).entries == tuple(newest)


@st.composite
def _calls(draw: st.DrawFn) -> list[EntriesTold]:
    """What is told of tool calls while they run and after, piece by piece."""
    pieces: list[EntriesTold] = []
    for number in range(draw(st.integers(1, 3))):
        ended = draw(st.sampled_from([ToolStatus.DONE, ToolStatus.FAILED]))
        start, end = NOW + number, NOW + number + 2
        tools = (
            ToolCall("tool", "{}", started_at=start),
            ToolCall(status=ended, error="it broke" if ended is ToolStatus.FAILED else "", ended_at=end),
            ToolCall("tool", status=ended, result="a result", ended_at=end + 1),
        )
        pieces += (EntriesTold((Entry(f"call_{number}", start, EntryKind.TOOL, t.name, tool=t),)) for t in tools)
    return pieces


@given(st.data(), _calls())
def test_a_call_is_the_same_in_whatever_order_its_pieces_were_told(
    data: st.DataObject, pieces: list[EntriesTold]
) -> None:
    doubled = [*pieces, *data.draw(st.lists(st.sampled_from(pieces)))]
    assert told(*data.draw(st.permutations(doubled))) == told(*pieces)


@given(st.lists(st.tuples(st.integers(0, 9), st.sampled_from(["I", "I want", "a pony"]), st.booleans())))
def test_words_that_were_heard_are_in_order_and_twice_told_are_one(words: list[tuple[int, str, bool]]) -> None:
    heard = [Heard(NOW + at, text, final) for at, text, final in {word[0]: word for word in words}.values()]
    once, twice = told(*heard), told(*heard, *[each for each in heard if each.final])
    final = [entry for entry in once.entries if entry.final]
    assert [entry.at for entry in final] == sorted(each.at for each in heard if each.final)
    assert [entry for entry in twice.entries if entry.final] == final


# What else is told


def test_states_are_told_with_since_when_they_last() -> None:
    asked = StateTold(NOW, "listening", "away", "agent", NOW - 60, (("max_tool_steps", "3"),))
    view = told(asked)
    assert (view.agent_state, view.agent_since, view.user_state, view.user_since) == ("listening", None, "away", None)
    assert (view.started_at, view.options) == (NOW - 60, (("max_tool_steps", "3"),))
    view = told(asked, AgentStateChanged(NOW + 1, "thinking"), UserStateChanged(NOW + 2, "speaking"))
    assert (view.agent_state, view.agent_since, view.user_state, view.user_since) == (
        "thinking",
        NOW + 1,
        "speaking",
        NOW + 2,
    )
    late = AgentStateChanged(NOW + 0.5, "idle")
    assert told(AgentStateChanged(NOW + 1, "thinking"), late).agent_state == "thinking"
    again = StateTold(NOW + 9, "thinking", "listening", "agent")
    assert told(AgentStateChanged(NOW + 1, "thinking"), again).agent_since == NOW + 1


def test_health_lasts_from_when_it_began() -> None:
    view = told(
        HealthTold(NOW, Health.CONNECTING),
        HealthTold(NOW + 1, Health.CONNECTING, "can't join"),
        HealthTold(NOW + 2, Health.ANSWERING),
        HealthTold(NOW + 3, Health.ANSWERING),
    )
    assert (view.health, view.health_since, view.trouble) == (Health.ANSWERING, NOW + 2, "")


def test_usage_is_the_latest_and_adds_up() -> None:
    llm = ModelUsage("llm", "lab", "script-1", input_tokens=20, cached_tokens=4, output_tokens=5)
    speech = ModelUsage("tts", "lab", "voice-1", characters=120, audio_s=9.5)
    view = told(UsageTold(NOW + 1, Usage((llm, speech))), UsageTold(NOW, Usage((llm,))))
    assert view.usage.models == (llm, speech)
    total = replace(llm, kind="", provider="", model="", characters=120, audio_s=9.5)
    assert view.usage.total == total


def test_the_rest_is_as_it_was_told() -> None:
    view = told(FrameworkTold("python", "1.8.9"), AudioSet(hears=False), AudioSet(speaks=True))
    assert (view.sdk, view.sdk_version, view.hears, view.speaks) == ("python", "1.8.9", False, True)
    samples = [RtcSample(NOW + number, 0.02) for number in range(RTC_KEPT + 5)]
    assert told(*map(RtcTold, samples)).rtc == tuple(samples[5:])


# Pace


def _spent(book: SessionBook, events: Sequence[SessionEvent], pictures_every: int) -> float:
    began = time.process_time()
    for number, event in enumerate(events):
        book.absorb(event)
        if number % pictures_every == 0:
            assert book.view.health is Health.OFF
    return time.process_time() - began


@pytest.mark.parametrize("kind", ["items", "interim"])
def test_500_events_a_second_in_a_long_conversation_leave_the_screen_its_time(kind: str) -> None:
    book = SessionBook("RM_1", "PA_1")
    book.absorb(EntriesTold(tuple(said(f"old_{number}", number) for number in range(ENTRIES_KEPT))))
    events: list[SessionEvent] = [
        EntriesTold((said(f"new_{number}", ENTRIES_KEPT + number),))
        if kind == "items"
        else Heard(NOW + number, f"word {number}", final=False)
        for number in range(500)
    ]
    # One second's events, with the ten pictures of it: a tenth of that second would be much, even where others work.
    assert _spent(book, events, 50) < 0.3
