"""Inside one agent's session: what it does now, what was said, how it is, and every action on that agent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, Protocol

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.timer import Timer

from tui.model.action import Action
from tui.model.phrases import count
from tui.model.room import Agent, Room
from tui.model.session import Health, SessionView
from tui.model.session_phrases import entry_lines, entry_text, who_words
from tui.model.snapshot import Snapshot
from tui.model.text import safe_text
from tui.ui.bars import KeyBar, StatusBar
from tui.ui.commands import On, bindings, commands
from tui.ui.conversation import Conversation
from tui.ui.dialogs import DetailDialog, lines_page
from tui.ui.live_table import LiveTable
from tui.ui.panes_screen import PanesScreen
from tui.ui.rows import time_of_day
from tui.ui.save import save_conversation
from tui.ui.session_panes import HealthPane, NowPane, SessionHead, session_page

DRAW_EVERY_S = 0.1
"""Between two drawings, when hundreds of events a second come in."""


class Inspection(Protocol):
    """A look into one agent's session, as the watch gives it."""

    def refresh_rtc_stats(self) -> None:
        """Ask for one more sample of the agent's connection; it comes with a picture."""

    def close(self) -> None:
        """Look no longer."""


class SessionScreen(PanesScreen):
    """Looks into the session of one agent, which is frozen when it is opened; closing it ends the inspection."""

    KIND = On.SESSION
    PANES = TURNS = ("conversation", "now", "health")
    COMPACT = (100, 24)
    AUTO_FOCUS = "#conversation"
    BINDINGS: ClassVar[list[BindingType]] = [
        *bindings(commands(On.SESSION)),
        Binding("q", "leave", "Back", show=False),
    ]

    def __init__(self, room: Room, agent: Agent, clock: Callable[[], float]) -> None:
        super().__init__(clock)
        self._room = room
        self._agent = agent
        self._inside = self._view = SessionView(room.sid, agent.participant.sid)
        self._gone_at: float | None = None
        self._inspection: Inspection | None = None
        self._is_new = False
        self._pause: Timer | None = None
        self._asks_rtc = False

    def compose(self) -> ComposeResult:
        """Top to bottom: status, the line that sums it up, the panes, the keys."""
        yield StatusBar(id="status")
        yield SessionHead()
        with Horizontal(id="session"):
            with Vertical(id="session-facts"):
                yield NowPane(id="now-pane", classes="pane")
                yield HealthPane(id="health-pane", classes="pane")
            yield Conversation(self._clock, id="conversation-pane")
        yield KeyBar(On.SESSION)

    def on_mount(self) -> None:
        """Look into it."""
        self.query_one(KeyBar).read_only = self.app.where.read_only
        self._inspection = self.app.inspect(self._room, self._agent, self.take_view)
        self._draw()
        self.set_interval(1.0, self._tick)

    def on_unmount(self) -> None:
        """Look into it no longer."""
        if self._inspection is not None:
            self._inspection.close()

    @property
    def conversation(self) -> Conversation:
        """What was said and done."""
        return self.query_one(Conversation)

    @property
    def view(self) -> SessionView:
        """The session as it is shown."""
        return self._view

    # What arrives

    def take_view(self, view: SessionView) -> None:
        """More is known of the session: shown at once, unless more comes than an eye can follow."""
        self._inside = view
        self._is_new = True
        if self._pause is None and self.is_running:
            self._pause = self.set_timer(DRAW_EVERY_S, self._draw_again)
            self.call_later(self._draw)

    def _draw_again(self) -> None:
        self._pause = None
        if self._is_new:
            self.take_view(self._inside)

    def _draw(self) -> None:
        self._is_new = False
        self._view = self._seen()
        self.conversation.show(self._view)
        self._draw_facts()

    def _seen(self) -> SessionView:
        """The session as it was seen from inside; that the agent is gone is seen from outside, too."""
        if self._gone_at is None or self._inside.health is Health.GONE:
            return self._inside
        return replace(self._inside, health=Health.GONE, health_since=self._gone_at, trouble="")

    def picture_changed(self, snapshot: Snapshot) -> None:
        """A newer picture of the rooms: the agent and its room are shown as they are in it, for as long as they are."""
        if snapshot.failure is not None:
            return
        room = snapshot.rooms.get(self._room.sid)
        agent = room.agent(self._agent.participant.sid) if room is not None else None
        self._room, self._agent = room or self._room, agent or self._agent
        is_gone = agent is None and (room is None or room.participants is not None)
        if not is_gone:
            self._gone_at = None
        elif self._gone_at is None:
            self._gone_at = self._clock()
            self._draw()

    def _draw_facts(self) -> None:
        now = self._clock()
        self.set_class(self._view.health is Health.GONE, "-over")
        self.query_one(StatusBar).show(self.app.main.standing)
        self.query_one(SessionHead).show(self._room, self._agent, self._view, now)
        self.query_one(NowPane).show(self._room, self._agent, self._view, now)
        self.query_one(HealthPane).show(self._view, now, asked=self._asks_rtc)

    def _tick(self) -> None:
        self._ask_for_statistics()
        self.conversation.tick()
        self._draw_facts()

    # The person moves

    def _resized(self) -> None:
        self._draw_facts()

    def _mark_pane(self) -> None:
        super()._mark_pane()
        self.query_one("#session-facts").set_class(self._turn != "conversation", "-shown")

    def action_back(self) -> None:
        """Clear the words looked for, go back to the conversation, or leave the session."""
        if self._focused_pane() != "conversation" or self.conversation.clear_filter():
            self._focus_pane("conversation")
        else:
            self.action_leave()

    def action_leave(self) -> None:
        """Back to the rooms."""
        self.dismiss()

    def action_filter(self) -> None:
        """Open the line of words to look for."""
        self._focus_pane("conversation")
        self.conversation.open_filter()

    @on(LiveTable.Opened)
    def _double_clicked(self) -> None:
        self.action_open()

    def action_open(self) -> None:
        """Everything about what is selected: an entry of the conversation, or the session and its agent."""
        now = self._clock()
        if self._focused_pane() != "conversation":
            lines = session_page(self._room, self._agent, self._view, now)
            self.app.push_screen(DetailDialog(self._agent.name, lines_page(lines)))
            return
        entry = self.conversation.selected
        if entry is not None:
            title = f"{time_of_day(entry.at)} {who_words(entry)[0]}"
            self.app.push_screen(DetailDialog(title, lines_page(entry_lines(entry, now))))

    def action_statistics(self) -> None:
        """Ask for the statistics of the agent's connection, or stop asking."""
        self._asks_rtc = not self._asks_rtc
        self._ask_for_statistics()
        self._draw_facts()

    def _ask_for_statistics(self) -> None:
        if self._asks_rtc and self._inspection is not None:
            self._inspection.refresh_rtc_stats()

    def action_refresh_now(self) -> None:
        """Poll now, this room first."""
        self.app.wake(self._room.sid, insist=True)

    def action_copy(self, sid: bool) -> None:  # noqa: FBT001 - an action's argument
        """Copy the entry that is selected, or the agent's SID."""
        entry = self.conversation.selected
        text = self._agent.participant.sid if sid else entry_text(entry, self._clock()) if entry is not None else ""
        if not text:
            self._say("Nothing is selected.")
            return
        self.app.copy_to_clipboard(text)
        self._say("Copied what was said." if not sid else f"Copied {text}", calm=True)

    def action_save(self) -> None:
        """Write the conversation as it is shown into two files."""
        entries = self.conversation.shown
        if not entries:
            self._say("The conversation shows nothing that could be saved.")
            return
        try:
            lines, text = save_conversation(entries, Path.cwd(), self._clock())
        except OSError as error:
            self._say(f"The conversation could not be saved here: {error.strerror}.")
            return
        what = count(len(entries), "entry", "entries")
        self._say(f"Saved {what} to {safe_text(str(lines), 4096)}, and as text to {text.name}", calm=True)

    # Acting

    def action_act(self, value: str) -> None:
        """Plan this action on the agent shown, or on its room, and ask."""
        if self._gone_at is not None:
            self._say("The agent is gone: there is nothing to act on.")
            return
        self._asking.ask(Action(value), self._room, self._agent.participant.sid)
