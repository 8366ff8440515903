"""Sessions to look into without an agent: what a book makes of what is told, and a dashboard that shows it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from tests.build import NOW, snapshot
from tests.dashboard import Dashboard, on_pictures, served
from tui.model.room import Agent, Room
from tui.model.session import (
    AgentStateChanged,
    AgentTold,
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
from tui.model.session_book import SessionBook
from tui.ui.session_screen import SessionScreen

ROOM = served("sales-88")
INSTRUCTIONS = (
    "You answer the phone of a bicycle shop.\nBe kind, be short.\nNever promise a date you have not looked up."
)


def said(number: int, kind: EntryKind, text: str = "", **more: Any) -> Entry:
    """An entry, by its number: a second after the one before."""
    return replace(Entry(f"item_{number}", NOW - 120 + number, kind, kind.value, text), **more)


def call(
    number: int, name: str, arguments: str, status: ToolStatus, result: str = "", lasted: float | None = 0.42
) -> Entry:
    """A tool's call."""
    began = NOW - 120 + number
    ended = began + lasted if lasted is not None and status is not ToolStatus.RUNNING else None
    tool = ToolCall(name, arguments, status, result, started_at=began, ended_at=ended)
    return said(number, EntryKind.TOOL, who=name, tool=tool)


CONVERSATION = (
    said(0, EntryKind.CONFIG, "instructions and 3 tools set"),
    said(1, EntryKind.AGENT, "Velo Nord, good morning! How can I help?"),
    said(9, EntryKind.USER, "Hi, I wanted to ask where my order is, number seven seven one."),
    call(11, "look_up_order", '{"number": 771}', ToolStatus.DONE, "order 771: packed, waits for a courier"),
    said(
        13,
        EntryKind.AGENT,
        "Your order 771 is packed and waits for a courier. It should leave the house today, and be with you the day "
        "after tomorrow at the latest. Shall I send you",
        interrupted=True,
    ),
    said(19, EntryKind.INTERRUPTION),
    said(20, EntryKind.USER, "No, no, stop. I need it tomorrow, can somebody bring it?"),
    call(22, "book_courier", '{"order": 771, "when": "tomorrow"}', ToolStatus.FAILED, "no courier left for tomorrow"),
    said(24, EntryKind.ERROR, "APIStatusError: 429, too many requests", who="openai.LLM"),
    said(30, EntryKind.AGENT, "I can't find a courier for tomorrow. My colleague may have another way."),
    said(31, EntryKind.HANDOFF, "receptionist hands over to dispatcher", before="receptionist", after="dispatcher"),
    call(33, "ask_the_workshop", '{"question": "who drives north tomorrow?"}', ToolStatus.RUNNING),
)

BEFORE: tuple[SessionEvent, ...] = (
    HealthTold(NOW - 121, Health.ANSWERING),
    StateTold(
        NOW - 120,
        "listening",
        "listening",
        "receptionist",
        NOW - 300,
        (("allow_interruptions", "true"), ("max_tool_steps", "3"), ("user_away_timeout", "15.0")),
    ),
    AgentTold("receptionist", INSTRUCTIONS, ("look_up_order", "book_courier", "hand_over")),
    FrameworkTold("python", "1.8.9"),
    EntriesTold(CONVERSATION),
    AgentTold("dispatcher", INSTRUCTIONS, ("ask_the_workshop", "book_courier")),
    UsageTold(
        NOW,
        Usage(
            (
                ModelUsage("llm", "openai", "gpt-4o", 12_204, 2_048, 340),
                ModelUsage("stt", "deepgram", "nova-3", audio_s=61.5),
                ModelUsage("tts", "cartesia", "sonic-2", characters=1_210, audio_s=74.0),
            )
        ),
    ),
    AgentStateChanged(NOW - 12, "thinking"),
    UserStateChanged(NOW - 3, "speaking"),
    Heard(NOW, "are you still", final=False),
)
"""A conversation with everything in it."""


def view(*events: SessionEvent) -> SessionView:
    """The session of `ROOM`'s agent, of which this was told."""
    book = SessionBook(ROOM.sid, ROOM.agents[0].participant.sid)
    for event in events:
        book.absorb(event)
    return book.view


def rtc(number: int) -> Iterable[SessionEvent]:
    """So many samples of a connection that gets worse."""
    for n in range(number):
        yield RtcTold(RtcSample(NOW - number + n, 0.02 + 0.004 * n, 0.003 + 0.001 * (n % 5), 0.0, 0.002 * (n % 3)))


class Inspected:
    """A look into a session that says what a test tells it."""

    def __init__(self) -> None:
        self.on_view: Callable[[SessionView], None] | None = None
        self.agent_sid = ""
        self.closed = 0
        self.asked_for_statistics = 0

    def open(self, room: Room, agent: Agent, on_view: Callable[[SessionView], None]) -> Inspected:
        """In place of the watch's."""
        assert room.agent(agent.participant.sid) is not None
        self.agent_sid, self.on_view = agent.participant.sid, on_view
        return self

    def tell(self, seen: SessionView) -> None:
        """A picture of the session comes."""
        assert self.on_view is not None
        self.on_view(seen)

    def refresh_rtc_stats(self) -> None:
        self.asked_for_statistics += 1

    def close(self) -> None:
        self.closed += 1


@asynccontextmanager
async def session(
    *events: SessionEvent, size: tuple[int, int] = (120, 40), read_only: bool = False, room: Room = ROOM
) -> AsyncIterator[tuple[Dashboard, Inspected]]:
    """A dashboard with the session of the room's agent open, of which this was told."""
    async with on_pictures(snapshot(room), size=size, read_only=read_only) as shown:
        inspected = Inspected()
        shown.app.inspect = inspected.open  # type: ignore[method-assign]
        await shown.press("enter", "G", "enter")
        await shown.wait_for(lambda: isinstance(shown.screen, SessionScreen) and inspected.on_view is not None)
        if events:
            inspected.tell(view(*events))
            await shown.wait_for(lambda: not screen(shown)._is_new)
        await shown.pilot.pause()
        yield shown, inspected


def screen(shown: Dashboard) -> SessionScreen:
    """The session that is open."""
    opened = shown.screen
    assert isinstance(opened, SessionScreen), shown.text
    return opened
