"""The main screen: rooms, the selected room's participants and agent, and the log, all at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import cached_property
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from rich.cells import cell_len
from textual import events, on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.screen import Screen
from textual.widgets import Input

from tui.model.action import Action, ActionRecord, BatchRecord, Outcome
from tui.model.causes import Cause
from tui.model.close_phrases import CAUSE_WORDS
from tui.model.closes import CloseEvent
from tui.model.collapse import collapse_words
from tui.model.fleet import SORT_COLUMNS, TROUBLE_FIRST, Fleet, Order, RoomRow, order_words
from tui.model.log import Told
from tui.model.phrases import Tone, count
from tui.model.room import Agent, Participant, Room
from tui.model.signs import Thresholds
from tui.model.snapshot import Snapshot
from tui.model.text import Name, safe_text
from tui.ui.agent_pane import AgentPane
from tui.ui.asking import Asking
from tui.ui.bars import KeyBar, Standing, StatusBar, is_stale
from tui.ui.close_dialogs import ChooseCauseDialog, CloseDialog, close_page, sources_page
from tui.ui.commands import BY_ID, On, bindings, commands
from tui.ui.confirmation import Confirmation
from tui.ui.dialogs import DetailDialog, StoryDialog, help_page, lines_page, story_page
from tui.ui.live_table import LiveTable
from tui.ui.log_pane import LogPane, sources_words
from tui.ui.many_dialogs import BatchDialog, target_words
from tui.ui.marks import Marks
from tui.ui.rows import PARTICIPANT_COLUMNS, ROOM_COLUMNS, participant_cells, participant_lines, room_cells, room_lines
from tui.ui.save import save_log
from tui.ui.session_screen import SessionScreen
from tui.ui.toasts import tell_batch_ended, tell_ended
from tui.ui.tones import label, toned

if TYPE_CHECKING:
    from tui.ui.app import Supervisor

COMPACT_WIDTH, COMPACT_HEIGHT = 100, 30
"""Under either, the lower panes share one place and take turns."""
TITLE_EDGES = 8
"""Cells of a pane's upper border that can't be written on, and those between two parts of what is."""
SETTLE_S = 0.15
"""How long the selection must rest before its room is asked for out of turn."""


class MainScreen(Screen[None]):
    """Shows pictures; takes commands. It never asks the server anything: it tells the app what was decided."""

    app: Supervisor
    AUTO_FOCUS = "#rooms"
    BINDINGS: ClassVar[list[BindingType]] = bindings(commands(On.MAIN))

    def __init__(self, thresholds: Thresholds, clock: Callable[[], float]) -> None:
        super().__init__()
        self._clock = clock
        self.newest = Snapshot()
        self.picture = Snapshot()
        self.fleet = Fleet(thresholds)
        self._order = TROUBLE_FIRST
        self._filter = ""
        self._selected_name = ""
        self._details_of = ""
        self._paused_at: float | None = None
        self._compact_pane = "participants"

    @cached_property
    def _asking(self) -> Asking:
        return Asking(self.app, self._clock)

    @cached_property
    def _marks(self) -> Marks:
        return Marks(self.rooms, self.participants)

    def compose(self) -> ComposeResult:
        """Top to bottom: status, rooms, what is selected, the log, the keys."""
        yield StatusBar(id="status")
        with Vertical(id="rooms-pane", classes="pane"):
            yield LiveTable[RoomRow](ROOM_COLUMNS, attrgetter("room.sid"), room_cells, markable=True, id="rooms")
            yield Input(placeholder="words to filter by; Enter keeps, Esc clears", id="filter", compact=True)
        with Horizontal(id="details"):
            with Vertical(id="participants-pane", classes="pane"):
                yield LiveTable[Participant](
                    PARTICIPANT_COLUMNS, attrgetter("sid"), participant_cells, markable=True, id="participants"
                )
            yield AgentPane(id="agent-pane", classes="pane")
        yield LogPane(self._clock, id="log-pane")
        yield KeyBar(On.MAIN)

    def on_mount(self) -> None:
        """Start with empty panes that say what will be there."""
        self.query_one(KeyBar).read_only = self.app.where.read_only
        self._arrange()
        self._show_status()
        self.set_interval(1.0, self._tick)

    # The parts

    @property
    def rooms(self) -> LiveTable[RoomRow]:
        """The table of rooms."""
        return self.query_one("#rooms", LiveTable)

    @property
    def participants(self) -> LiveTable[Participant]:
        """The table of the selected room's participants."""
        return self.query_one("#participants", LiveTable)

    @property
    def log_pane(self) -> LogPane:
        """Closes and actions."""
        return self.query_one(LogPane)

    @property
    def room(self) -> Room | None:
        """The selected room; None if it is gone or hidden by the filter."""
        row = self.rooms.selected
        return row.room if row is not None else None

    # What arrives

    async def take_snapshot(self, snapshot: Snapshot) -> None:
        """A newer picture, or the same one some time later: shown at once unless the person holds the picture still.

        Keys are answered in between: however many rooms have changed, only a slice of them is worked out at a time.
        """
        lost, self.newest = self.newest.collapse, snapshot
        if snapshot.collapse not in (None, lost):
            self.notify(collapse_words(snapshot.collapse), severity="error", timeout=20, markup=False)
        if self._paused_at is None:
            for _ in self.fleet.take(snapshot.rooms, self._clock(), self.app.kicks, snapshot.turn):
                await asyncio.sleep(0)
            self.picture = snapshot
            self._arrange()
            await asyncio.sleep(0)
        for screen in self.app.screen_stack:
            if isinstance(screen, Confirmation | SessionScreen):
                screen.picture_changed(snapshot)
        self._show_status()

    def take_closes(self, events: Sequence[CloseEvent]) -> None:
        """Ends of sessions that are new, or of which more is known."""
        self.log_pane.put(events)

    def take_remembered(self, records: Sequence[ActionRecord]) -> None:
        """What was done in earlier runs."""
        self.log_pane.put(records)

    def take_records(self, records: Sequence[ActionRecord]) -> None:
        """Actions went on or ended; what has ended is said in a toast, everything in the log."""
        self.log_pane.put(records)
        for record in records:
            # What was done by opening a session is on the screen; the log keeps it.
            told = record.batch is None and record.action is not Action.INSPECT_SESSION
            if told and record.outcome is not Outcome.RUNNING:
                tell_ended(self.app, record)
        for batch_id in dict.fromkeys(record.batch.id for record in records if record.batch is not None):
            if (batch := self.log_pane.batch_record(batch_id)) is not None:
                self._batch_went_on(batch)

    def _batch_went_on(self, batch: BatchRecord) -> None:
        for screen in self.app.screen_stack:
            if isinstance(screen, BatchDialog) and screen.record.batch == batch.batch:
                screen.take_record(batch)
        if batch.outcome is not Outcome.RUNNING:
            tell_batch_ended(self.app, batch)

    def _tick(self) -> None:
        now = self._clock()
        if self._paused_at is None and self.fleet.is_due(now):
            self.app.show_again()
        for table in (self.rooms, self.participants, self.log_pane):
            table.tick(now)
        self._show_agent()
        self._show_status()
        self._label_rooms()
        self.log_pane.show_sources(self.app.sources)
        self._watch()

    def _arrange(self) -> None:
        self.fleet.arrange(self._order, self._filter)
        rows = self.fleet.shown
        if self.picture.listed_at is None:
            empty = "Asking the server for its rooms …"
        elif self._filter and self.fleet:
            empty = f"No room matches “{self._filter}”; Esc clears the filter."
        elif (lost := self.newest.collapse) is not None and lost.is_news(self._clock()):
            empty = f"No rooms: {collapse_words(lost)}. They appear here as soon as somebody joins one."
        else:
            empty = "No rooms: they appear here as soon as somebody joins one."
        self.rooms.show(rows, self._clock(), empty=empty)
        self.rooms.mark_sort(self._order.column, descending=not self._order.reverse)
        self._label_rooms()
        self._show_details()

    def _label_rooms(self) -> None:
        shown = f"{len(self.fleet.shown):,}"
        if self._filter:
            shown += f"/{len(self.fleet):,}"
        title = f"Rooms ─ {order_words(self._order)}{self._marks.words(self.picture)}"
        # The border of the log, which names the sources, is not there on a small screen.
        room = self.size.width - cell_len(title) - TITLE_EDGES if self.has_class("-compact") else 0
        sources = sources_words(self.app.sources, room)
        words = [(" ─ ", Tone.PLAIN), *sources] if sources else []
        label(self.query_one("#rooms-pane"), toned((title, Tone.PLAIN), *words), Content(shown))

    def _show_details(self) -> None:
        room = self.room
        pane = self.query_one("#participants-pane")
        if room is None:
            title = self._lost_words()
            empty = "Select a room to see who is in it."
            self.participants.show((), self._clock(), empty=empty)
        else:
            if self._details_of != room.sid:
                self._details_of = room.sid
                self.participants.forget()
            self._selected_name = room.name.safe
            title = f"{room.name.safe} · {room.sid}"
            empty = "Nobody is in this room." if room.participants is not None else "Reading who is in this room …"
            self.participants.show(room.participants or (), self._clock(), empty=empty)
        label(pane, Content(title))
        self._show_agent()

    def _lost_words(self) -> str:
        sid = self.rooms.selected_key
        if not sid:
            return "Participants"
        if sid in self.picture.rooms:
            return f"{self._selected_name} is hidden by the filter"
        return f"{self._selected_name} is gone"

    def _show_agent(self) -> None:
        self.query_one(AgentPane).show(self.room, self._agent_shown(), self._clock())

    def _agent_shown(self) -> Agent | None:
        room = self.room
        if room is None:
            return None
        chosen = self.participants.selected
        return (room.agent(chosen.sid) if chosen is not None else None) or next(iter(room.agents), None)

    @property
    def standing(self) -> Standing:
        """How things stand, for the status bar of any screen."""
        return Standing(self.app.where, self.picture, self.newest, self.fleet.totals, self._clock(), self._paused_at)

    def _show_status(self) -> None:
        self.set_class(is_stale(self.newest, self._clock()), "-stale")
        self.query_one(StatusBar).show(self.standing)

    def _watch(self) -> None:
        visible = [row.room.sid for row in self.rooms.visible_rows]
        room = self.room
        selected = room.sid if room is not None else None
        is_open = selected is not None and self._focused_pane() in ("participants", "agent")
        self.app.look_at(visible, selected, selected if is_open else None)

    # The person moves

    @on(LiveTable.Moved, "#rooms")
    def _room_selected(self) -> None:
        self._show_details()
        self._watch()
        chosen = self.rooms.selected_key
        self.set_timer(SETTLE_S, lambda: self._settled(chosen))

    def _settled(self, sid: str) -> None:
        if self.rooms.selected_key == sid and self._paused_at is None:
            self.app.wake(sid)

    @on(LiveTable.Moved, "#participants")
    def _participant_selected(self) -> None:
        self._show_agent()

    @on(LiveTable.Marked, "#rooms")
    def _room_marked(self) -> None:
        self._arrange()

    @on(LiveTable.Opened)
    def _double_clicked(self) -> None:
        self.action_open()

    def action_open(self) -> None:
        """Open what is selected in the pane with the focus.

        At once, not by a message of the table's: a key typed right behind must already find what was opened.
        """
        pane = self._focused_pane()
        if pane == "rooms":
            if self.room is not None:
                self._focus_pane("participants")
        elif pane == "log":
            self._open_log_line()
        else:
            self._open_participant()

    def _open_participant(self) -> None:
        room, participant = self._selected()
        if room is None or participant is None:
            return
        agent = room.agent(participant.sid)
        if agent is not None:
            self.app.push_screen(SessionScreen(room, agent, self._clock))
            return
        lines = [*participant_lines(room, participant, self._clock()), ("", ""), *room_lines(room, self._clock())]
        self.app.push_screen(DetailDialog(participant.identity.safe, lines_page(lines)))

    def _open_log_line(self) -> None:
        line = self.log_pane.table.selected
        if line is None:
            return
        entry = line.what
        if isinstance(entry, CloseEvent):
            title = f"{entry.agent} in {entry.room.safe}: {CAUSE_WORDS[entry.cause]}"
            self.app.push_screen(
                CloseDialog(title, close_page(entry)), lambda go: self._go_to_room(entry) if go else None
            )
            return
        if isinstance(entry, BatchRecord):
            self.app.push_screen(BatchDialog(entry, self._clock))
            return
        steps = story_page([(step.at, step.text) for step in entry.steps], entry.at)
        title = f"{entry.action.value} {target_words(entry.target)}: {entry.outcome.value}"
        self.app.push_screen(
            StoryDialog(title, steps, entry.offers), lambda action: self._asking.ask_offered(entry, action)
        )

    @on(LiveTable.HeaderClicked, "#rooms")
    def _header_clicked(self, event: LiveTable.HeaderClicked) -> None:
        if event.column.key not in SORT_COLUMNS:
            return
        if self._order.column == event.column.key:
            self.action_reverse()
        else:
            self._order = Order(event.column.key)
            self._arrange()

    def on_resize(self, event: events.Resize) -> None:
        """A small screen shows one lower pane at a time."""
        compact = event.size.width < COMPACT_WIDTH or event.size.height < COMPACT_HEIGHT
        self.set_class(compact, "-compact")
        self._label_rooms()
        self._mark_pane()
        self.call_after_refresh(self._show_agent)

    def on_descendant_focus(self) -> None:
        """The pane with the focus is the one that a small screen shows."""
        pane = self._focused_pane()
        if pane != "rooms":
            self._compact_pane = pane
        self._mark_pane()

    def _mark_pane(self) -> None:
        for pane in PANES[1:]:
            self.query_one(f"#{pane}-pane").set_class(pane == self._compact_pane, "-shown")

    def _focused_pane(self) -> str:
        focused = self.focused
        for pane in PANES:
            container = self.query_one(f"#{pane}-pane")
            if focused is not None and container in focused.ancestors_with_self:
                return pane
        return "rooms"

    def _focus_pane(self, pane: str) -> None:
        if pane != "rooms":
            self._compact_pane = pane
            self._mark_pane()
        if (room := self.room) is not None and room.sid != self._details_of:
            # The person is quicker than the message that another room is selected.
            self._show_details()
        # Not widget.focus(), which waits its turn: keys typed right behind would still go to the old pane.
        self.set_focus(self.query_one("#agent-pane" if pane == "agent" else f"#{pane}"))

    # Looking

    def action_next_pane(self, by: int) -> None:
        """Go round the panes."""
        index = PANES.index(self._focused_pane())
        self._focus_pane(PANES[(index + by) % len(PANES)])

    def action_back(self) -> None:
        """Out of the filter line or a lower pane to the rooms; then clear the filter."""
        if self._focused_pane() == "log" and self.log_pane.clear_filter():
            self._focus_pane("log")
            return
        line = self.query_one("#filter", Input)
        if self.focused is line or self._focused_pane() == "rooms":
            self._clear_filter()
        self._focus_pane("rooms")

    def _clear_filter(self) -> None:
        line = self.query_one("#filter", Input)
        line.value = ""
        line.remove_class("-open")
        self._filter = ""
        self._arrange()

    def action_filter(self) -> None:
        """Open the filter line of the rooms, or of the log where that has the focus."""
        if self._focused_pane() == "log":
            self.log_pane.open_filter()
            return
        line = self.query_one("#filter", Input)
        line.add_class("-open")
        self.set_focus(line)

    @on(Input.Changed, "#filter")
    def _filter_typed(self, event: Input.Changed) -> None:
        self._filter = event.value
        self._arrange()

    @on(Input.Submitted, "#filter")
    def _filter_kept(self) -> None:
        if not self._filter:
            self.query_one("#filter").remove_class("-open")
        if self.rooms.selected is None:
            # Enter is a movement: onto the first match, where the room selected before is not among them.
            self.rooms.action_move_to_end(last=False)
        self._focus_pane("rooms")

    def action_sort(self, by: int) -> None:
        """Sort by the next column."""
        index = SORT_COLUMNS.index(self._order.column)
        self._order = Order(SORT_COLUMNS[(index + by) % len(SORT_COLUMNS)])
        self._arrange()

    def action_reverse(self) -> None:
        """Turn the order round."""
        self._order = Order(self._order.column, not self._order.reverse)
        self._arrange()

    def action_pause(self) -> None:
        """Hold the picture, or let it go on."""
        self._paused_at = self._clock() if self._paused_at is None else None
        if self._paused_at is None:
            self.app.show_again()
        self._show_status()

    def action_refresh_now(self) -> None:
        """Poll now, the selected room first."""
        room = self.room
        self.app.wake(room.sid if room is not None else None, insist=True)

    def action_copy(self, sid: bool) -> None:  # noqa: FBT001 - an action's argument
        """Copy the names or SIDs of what is marked, a line each, or of what is selected.

        A name that can't be shown is copied as its SID.
        """
        things: list[Room | Participant] = []
        for room, participant_sid in self._marks.targets(self._focused_pane(), self.picture, self.room):
            participant = room.participant(participant_sid) if participant_sid is not None else None
            things.append(participant or room)
        if not things:
            room_, participant = self._selected()
            things += [thing for thing in (participant or room_,) if thing is not None]
        if not things:
            self._say("Nothing is selected.")
            return
        names: list[Name] = [thing.name if isinstance(thing, Room) else thing.identity for thing in things]
        texts = [thing.sid if sid or name.altered else name.raw for thing, name in zip(things, names, strict=True)]
        self.app.copy_to_clipboard("\n".join(texts))
        odd = " (the name holds characters that can't be shown)" if any(name.altered for name in names) else ""
        what = texts[0] if len(texts) == 1 else f"{len(texts):,} lines"
        self._say(f"Copied {what}{odd}", calm=True)

    # The log

    def action_causes(self) -> None:
        """Choose the cause whose closes are shown."""

        def chosen(cause: Cause | None) -> None:
            self.log_pane.filter_by_cause(cause)
            self._focus_pane("log")

        pane = self.log_pane
        dialog = ChooseCauseDialog(pane.last_hour, pane.filter.cause)
        self.app.push_screen(dialog, lambda answer: chosen(answer.cause) if answer is not None else None)

    def action_jump(self) -> None:
        """From a line of the log to its room, and from a room to its newest close."""
        line = self.log_pane.table.selected if self._focused_pane() == "log" else None
        if line is not None:
            self._go_to_room(line.what)
            return
        sid = self.rooms.selected_key
        if not sid or not self.log_pane.go_to_close(sid):
            self._say("No session is known to have closed in this room.")
            return
        self._focus_pane("log")

    def _go_to_room(self, entry: Told) -> None:
        if isinstance(entry, BatchRecord):
            self._say("This is about many rooms: Enter lists them.")
            return
        sid = entry.room_sid if isinstance(entry, CloseEvent) else entry.target.room_sid
        name = entry.room if isinstance(entry, CloseEvent) else entry.target.room
        if sid not in self.picture.rooms:
            self._say(f"{name.safe} ({sid}) is gone.")
            return
        if not self.rooms.select(sid):
            self._clear_filter()
            self.rooms.select(sid)
        self._focus_pane("rooms")

    def action_save(self) -> None:
        """Write the log as it is shown into a file."""
        lines = self.log_pane.shown
        if not lines:
            self._say("The log shows nothing that could be saved.")
            return
        try:
            path = save_log(lines, Path.cwd(), self._clock())
        except OSError as error:
            self._say(f"The log could not be saved here: {error.strerror}.")
            return
        self._say(f"Saved {count(len(lines), 'line')} to {safe_text(str(path), 4096)}", calm=True)

    def action_sources(self) -> None:
        """Where evidence comes from, and what is off."""
        self.app.push_screen(DetailDialog("Where evidence comes from", sources_page(self.app.sources)))

    def action_help(self) -> None:
        """The keys, the actions and the signs."""
        self.app.push_screen(DetailDialog("lk-tui help", help_page))

    # Acting

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002
        """Read-only has no changing commands at all; the gateway refuses them besides."""
        return not (action in ("act", "stop_actions") and self.app.where.read_only)

    def action_act(self, value: str) -> None:
        """Plan this action on all that is marked in this pane, or on what is selected right now, and ask."""
        action, pane = Action(value), self._focused_pane()
        if self._marks.are_in(pane):
            self._ask_many(action, pane)
            return
        room, participant = self._selected()
        if room is None:
            self._say("Select a room or a participant first: " + BY_ID["next_pane"].key_words + " goes to the panes.")
            return
        self._asking.ask(action, room, participant.sid if participant is not None else None)

    def _ask_many(self, action: Action, pane: str) -> None:
        marked = self._marks.targets(pane, self.picture, self.room)
        if not marked:
            self._say("All that was marked is gone.")
            return
        hidden = self._marks.hidden(pane, self.picture)
        self._asking.ask_many(action, marked, hidden, lambda: self._marks.clear(pane))

    def action_stop_actions(self) -> None:
        """Stop what is running, between two steps."""
        self._asking.stop()

    def _selected(self) -> tuple[Room | None, Participant | None]:
        """What a command is aimed at: by the pane with the focus, only what is on the screen."""
        pane = self._focused_pane()
        room = self.room
        if pane == "log" or room is None:
            return None, None
        if pane == "participants":
            return room, self.participants.selected
        if pane == "agent":
            agent = self._agent_shown()
            return room, agent.participant if agent is not None else None
        return room, None

    def _say(self, words: str, *, calm: bool = False) -> None:
        self._asking.say(words, calm=calm)


PANES = ("rooms", "participants", "agent", "log")
