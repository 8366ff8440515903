"""The main screen: rooms, the selected room's participants and agent, and the log, all at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal
from textual.widgets import Input

from tui.model.action import ROOM_ACTIONS, Action, ActionRecord, BatchRecord, Outcome
from tui.model.causes import Cause
from tui.model.close_phrases import CAUSE_WORDS
from tui.model.closes import CloseEvent
from tui.model.collapse import collapse_words
from tui.model.fleet import Fleet, RoomRow
from tui.model.log import Told
from tui.model.phrases import GHOST_WORDS, count
from tui.model.room import Agent, Participant, Room
from tui.model.signs import Thresholds
from tui.model.snapshot import Snapshot
from tui.model.text import Name, safe_text
from tui.ui.agent_pane import AgentPane
from tui.ui.bars import KeyBar, Standing, StatusBar, is_stale
from tui.ui.commands import BY_ID, On, bindings, commands
from tui.ui.confirmation import Confirmation
from tui.ui.live_table import LiveTable
from tui.ui.log_pane import LogPane
from tui.ui.marks import Marks
from tui.ui.panes_screen import PanesScreen
from tui.ui.participants_pane import ParticipantsPane
from tui.ui.rooms_pane import RoomsPane
from tui.ui.rows import participant_lines, room_lines, target_words
from tui.ui.toasts import tell_batch_ended, tell_ended

SETTLE_S = 0.15
"""How long the selection must rest before its room is asked for out of turn."""


class MainScreen(PanesScreen):
    """Shows pictures; takes commands. It never asks the server anything: it tells the app what was decided."""

    KIND = On.MAIN
    PANES = ("rooms", "participants", "agent", "log")
    TURNS = ("participants", "agent", "log")
    COMPACT = (100, 30)
    AUTO_FOCUS = "#rooms"
    BINDINGS: ClassVar[list[BindingType]] = bindings(commands(On.MAIN))

    def __init__(self, thresholds: Thresholds, clock: Callable[[], float]) -> None:
        super().__init__(clock)
        self.newest = Snapshot()
        self.picture = Snapshot()
        self.fleet = Fleet(thresholds)
        self._selected_name = ""
        self._details_of = ""
        self._paused_at: float | None = None

    @cached_property
    def _marks(self) -> Marks:
        return Marks(self.rooms, self.participants)

    def compose(self) -> ComposeResult:
        """Top to bottom: status, rooms, what is selected, the log, the keys."""
        yield StatusBar(id="status")
        yield RoomsPane(self.fleet, self._clock, id="rooms-pane")
        with Horizontal(id="details"):
            yield ParticipantsPane(id="participants-pane")
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
    def rooms_pane(self) -> RoomsPane:
        """The rooms, in their order and filtered."""
        return self.query_one(RoomsPane)

    @property
    def rooms(self) -> LiveTable[RoomRow]:
        """The table of rooms."""
        return self.rooms_pane.table

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
            if isinstance(screen, Confirmation | PanesScreen):
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
        from tui.ui.many_dialogs import BatchDialog

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
        self.rooms_pane.show(self.picture, self.newest)
        self._label_rooms()
        self._show_details()

    def _label_rooms(self) -> None:
        # On a large screen the border of the log names the sources.
        sources = self.app.sources if self.has_class("-compact") else ()
        self.rooms_pane.show_title(self._marks.words(self.picture), sources)

    def _show_details(self) -> None:
        room = self.room
        if room is None:
            name, about = self._lost_words()
            empty = "Select a room to see who is in it."
            self.participants.show((), self._clock(), empty=empty)
        else:
            if self._details_of != room.sid:
                self._details_of = room.sid
                self.participants.forget()
            self._selected_name = room.name.safe
            name, about = room.name.safe, f" · {room.sid}"
            if room.ghost_since is not None:
                about = f" · {GHOST_WORDS}{about}"
            empty = "Nobody is in this room." if room.participants is not None else "Reading who is in this room …"
            self.participants.show(room.participants or (), self._clock(), empty=empty)
        self.query_one(ParticipantsPane).entitle(name, about)
        self._show_agent()

    def _lost_words(self) -> tuple[str, str]:
        sid = self.rooms.selected_key
        if not sid:
            return "Participants", ""
        return self._selected_name, " is hidden by the filter" if sid in self.picture.rooms else " is gone"

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
            # A quarter of all that we import: not before it is wanted.
            from tui.ui.session_screen import SessionScreen

            self.app.push_screen(SessionScreen(room, agent, self._clock))
            return
        from tui.ui.dialogs import DetailDialog, lines_page

        lines = [*participant_lines(room, participant, self._clock()), ("", ""), *room_lines(room, self._clock())]
        self.app.push_screen(DetailDialog(participant.identity.safe, lines_page(lines)))

    def _open_log_line(self) -> None:
        line = self.log_pane.table.selected
        if line is None:
            return
        from tui.ui.close_dialogs import CloseDialog, close_page
        from tui.ui.dialogs import StoryDialog, story_page
        from tui.ui.many_dialogs import BatchDialog

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
        if self.rooms_pane.sort_by(event.column.key):
            self._arrange()

    def _resized(self) -> None:
        self._label_rooms()
        self._show_agent()

    def _focus_pane(self, pane: str) -> None:
        if (room := self.room) is not None and room.sid != self._details_of:
            # The person is quicker than the message that another room is selected.
            self._show_details()
        super()._focus_pane(pane)

    # Looking

    def action_back(self) -> None:
        """Out of the filter line or a lower pane to the rooms; then clear the filter."""
        if self._focused_pane() == "log" and self.log_pane.clear_filter():
            self._focus_pane("log")
            return
        if self._focused_pane() == "rooms":
            self._clear_filter()
        self._focus_pane("rooms")

    def _clear_filter(self) -> None:
        self.rooms_pane.clear_filter()
        self._arrange()

    def action_filter(self) -> None:
        """Open the filter line of the rooms, or of the log where that has the focus."""
        (self.log_pane if self._focused_pane() == "log" else self.rooms_pane).open_filter()

    @on(Input.Changed, "#filter")
    def _filter_typed(self, event: Input.Changed) -> None:
        self.rooms_pane.filter_by(event.value)
        self._arrange()

    @on(Input.Submitted, "#filter")
    def _filter_kept(self) -> None:
        self.rooms_pane.keep_filter()
        self._focus_pane("rooms")

    def action_sort(self, by: int) -> None:
        """Sort by the next column."""
        self.rooms_pane.sort(by)
        self._arrange()

    def action_reverse(self) -> None:
        """Turn the order round."""
        self.rooms_pane.reverse()
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
        from tui.ui.close_dialogs import ChooseCauseDialog

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
        from tui.ui.save import save_log

        try:
            path = save_log(lines, Path.cwd(), self._clock())
        except OSError as error:
            self._say(f"The log could not be saved here: {error.strerror}.")
            return
        self._say(f"Saved {count(len(lines), 'line')} to {safe_text(str(path), 4096)}", calm=True)

    def action_sources(self) -> None:
        """Where evidence comes from, and what is off."""
        from tui.ui.close_dialogs import sources_page
        from tui.ui.dialogs import DetailDialog

        self.app.push_screen(DetailDialog("Where evidence comes from", sources_page(self.app.sources)))

    # Acting

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
        if pane == "participants" and participant is None and room.participants and action not in ROOM_ACTIONS:
            # Of the others it would be the room's only agent, whose row may be another one's by now.
            self._say("The selected participant is gone: select the one that is meant.")
            return
        self._asking.ask(action, room, participant.sid if participant is not None else None)

    def _ask_many(self, action: Action, pane: str) -> None:
        marked = self._marks.targets(pane, self.picture, self.room)
        if not marked:
            self._say("All that was marked is gone.")
            return
        hidden = self._marks.hidden(pane, self.picture)
        self._asking.ask_many(action, marked, hidden, lambda: self._marks.clear(pane))

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
