"""The main screen: rooms, the selected room's participants and agent, and the log, all at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.screen import Screen
from textual.widgets import Input

from tui.control.plan import Plan, plan
from tui.control.plan_many import ManyPlan, Marked, plan_many
from tui.model.action import Action, ActionRecord, BatchRecord, Outcome
from tui.model.causes import Cause
from tui.model.close_phrases import CAUSE_WORDS
from tui.model.closes import CloseEvent
from tui.model.fleet import SORT_COLUMNS, TROUBLE_FIRST, Fleet, Order, RoomRow, order_words
from tui.model.log import Told
from tui.model.phrases import Tone, age, batch_words, count, outcome_words, session_words
from tui.model.room import Agent, Participant, Room
from tui.model.signs import Thresholds
from tui.model.snapshot import Snapshot
from tui.model.text import Name, safe_text
from tui.ui.bars import KeyBar, Standing, StatusBar
from tui.ui.close_dialogs import ChooseCauseDialog, CloseDialog, close_page, sources_page
from tui.ui.commands import BY_ACTION, BY_ID, Group, bindings
from tui.ui.dialogs import (
    ChooseAgentDialog,
    ConfirmDialog,
    DetailDialog,
    StoryDialog,
    help_page,
    lines_page,
    story_page,
)
from tui.ui.lines import Lines
from tui.ui.live_table import LiveTable
from tui.ui.log_pane import LogPane
from tui.ui.many_dialogs import BatchDialog, ConfirmManyDialog, target_words
from tui.ui.rows import (
    OUTCOME_GLYPHS,
    OUTCOME_TONES,
    PARTICIPANT_COLUMNS,
    ROOM_COLUMNS,
    participant_cells,
    participant_lines,
    room_cells,
    room_lines,
)
from tui.ui.save import save_log
from tui.ui.tones import fields, label, toned

if TYPE_CHECKING:
    from tui.ui.app import Supervisor

COMPACT_WIDTH, COMPACT_HEIGHT = 100, 30
"""Under either, the lower panes share one place and take turns."""
STEP_S = 5
"""Seconds by which an agent's time in its state goes on: by the second it would make the pane restless."""
SETTLE_S = 0.15
"""How long the selection must rest before its room is asked for out of turn."""


class MainScreen(Screen[None]):
    """Shows pictures; takes commands. It never asks the server anything: it tells the app what was decided."""

    app: Supervisor
    AUTO_FOCUS = "#rooms"
    BINDINGS: ClassVar[list[BindingType]] = bindings(Group.ACT, Group.LOOK, Group.PROGRAM)

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
            with VerticalScroll(id="agent-pane", classes="pane", can_focus=True):
                yield Lines(id="agent")
        yield LogPane(self._clock, id="log-pane")
        yield KeyBar()

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
        self.newest = snapshot
        if self._paused_at is None:
            for _ in self.fleet.take(snapshot.rooms, self._clock(), self.app.kicks, snapshot.turn):
                await asyncio.sleep(0)
            self.picture = snapshot
            self._arrange()
            await asyncio.sleep(0)
        for screen in self.app.screen_stack:
            if isinstance(screen, ConfirmDialog | ConfirmManyDialog):
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
            if record.batch is None and record.outcome is not Outcome.RUNNING:
                offers = ", ".join(f"{BY_ACTION[offer].keys} {offer.value}" for offer in record.offers)
                words = f"{record.action.value} {target_words(record.target)}\n{OUTCOME_GLYPHS[record.outcome]} "
                words += outcome_words(record) + (f"\nOffered instead: {offers}" if offers else "")
                self._toast(record.outcome, words)
        for batch_id in dict.fromkeys(record.batch.id for record in records if record.batch is not None):
            if (batch := self.log_pane.batch_record(batch_id)) is not None:
                self._batch_went_on(batch)

    def _batch_went_on(self, batch: BatchRecord) -> None:
        for screen in self.app.screen_stack:
            if isinstance(screen, BatchDialog) and screen.record.batch == batch.batch:
                screen.take_record(batch)
        if batch.outcome is not Outcome.RUNNING:
            self._toast(batch.outcome, f"{OUTCOME_GLYPHS[batch.outcome]} {batch_words(batch)}")

    def _toast(self, outcome: Outcome, words: str) -> None:
        calm = OUTCOME_TONES[outcome] is Tone.WORKING
        self.notify(words, severity="information" if calm else "error", timeout=6 if calm else 20, markup=False)

    def _tick(self) -> None:
        now = self._clock()
        if self._paused_at is None and self.fleet.is_due(now):
            self.app.show_again()
        for table in (self.rooms, self.participants, self.log_pane):
            table.tick(now)
        self._show_agent()
        self._show_status()
        self.log_pane.show_sources(self.app.sources)
        self._watch()

    def _arrange(self) -> None:
        self.fleet.arrange(self._order, self._filter)
        rows = self.fleet.shown
        stale = self.newest.failure is not None
        self.set_class(stale, "-stale")
        if self.picture.listed_at is None:
            empty = "Asking the server for its rooms …"
        elif self._filter and self.fleet:
            empty = f"No room matches “{self._filter}”; Esc clears the filter."
        else:
            empty = "No rooms: they appear here as soon as somebody joins one."
        self.rooms.show(rows, self._clock(), empty=empty)
        self.rooms.mark_sort(self._order.column, descending=not self._order.reverse)
        pane = self.query_one("#rooms-pane")
        shown = f"{len(rows):,}/{len(self.fleet):,}" if self._filter else f"{len(rows):,}"
        label(pane, Content(f"Rooms ─ {order_words(self._order)}{self._marks_words()}"), Content(shown))
        self._show_details()

    def _marks_words(self) -> str:
        marks = self.rooms.marks
        if not marks:
            return ""
        gone = sum(1 for sid in marks if sid not in self.picture.rooms)
        hidden = len(self._hidden_marks())
        parts = [f"{len(marks):,} marked"]
        parts += [f"{hidden:,} hidden by the filter"] if hidden else []
        parts += [f"{gone:,} gone"] if gone else []
        return " ─ " + ", ".join(parts)

    def _hidden_marks(self) -> Sequence[str]:
        """The marked rooms that are there, but not among those the filter shows."""
        return [sid for sid in self.rooms.marks if sid in self.picture.rooms and not self.rooms.has(sid)]

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
        agent = self._agent_shown()
        pane = self.query_one("#agent-pane")
        room = self.room
        if agent is None or room is None:
            label(pane, Content("Agent"))
            words = toned((_no_agent_words(room), Tone.MUTED))
            # Before the first layout there is no width; the pane is written again after it.
            width = pane.scrollable_content_region.width or COMPACT_WIDTH
            self._write_agent(Content("\n").join(words.wrap(width)))
            return
        more = len(room.agents)
        title = f"agent {agent.name}" + (f" · 1 of {more}" if more > 1 else "")
        label(pane, Content(title))
        width = pane.scrollable_content_region.width
        self._write_agent(fields(_agent_lines(agent, self._clock()), label_width=8, width=width))

    def _write_agent(self, content: Content) -> None:
        # Filled up to the pane: only a page that is longer than that changes the layout, which takes 20 ms.
        missing = self.query_one("#agent-pane").size.height - 1 - content.plain.count("\n")
        self.query_one("#agent", Lines).show(content + Content("\n" * max(0, missing)))

    def _agent_shown(self) -> Agent | None:
        room = self.room
        if room is None:
            return None
        chosen = self.participants.selected
        return (room.agent(chosen.sid) if chosen is not None else None) or next(iter(room.agents), None)

    def _show_status(self) -> None:
        self.query_one(StatusBar).show(
            Standing(self.app.where, self.picture, self.newest, self.fleet.totals, self._clock(), self._paused_at)
        )

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
        if room is not None and participant is not None:
            lines = participant_lines(room, participant, self._clock())
            agent = room.agent(participant.sid)
            if agent is not None:
                lines += _agent_lines(agent, self._clock())
            lines += [("", ""), *room_lines(room, self._clock())]
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
        self.app.push_screen(StoryDialog(title, steps, entry.offers), lambda action: self._offered(entry, action))

    def _offered(self, record: ActionRecord, action: Action | None) -> None:
        if action is None:
            return
        target = record.target
        rooms = self.newest.rooms
        room = rooms.get(record.came_back_sid) or rooms.get(target.room_sid)
        if room is None:
            self._say("That room is gone.")
            return
        # Whoever came back is another participant under the same identity.
        sid = (record.came_back_sid or target.participant_sid) if target.participant_sid else None
        self._ask(action, room, sid, by_dispatch=record.by_dispatch)

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
        self.app.wake(room.sid if room is not None else None)

    def action_copy(self, sid: bool) -> None:  # noqa: FBT001 - an action's argument
        """Copy the names or SIDs of what is marked, a line each, or of what is selected.

        A name that can't be shown is copied as its SID.
        """
        things: list[Room | Participant] = []
        for room, participant_sid in self._marked():
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
        action = Action(value)
        if self._marks_table() is not None:
            self._ask_many(action)
            return
        room, participant = self._selected()
        if room is None:
            self._say("Select a room or a participant first: " + BY_ID["next_pane"].key_words + " goes to the panes.")
            return
        self._ask(action, room, participant.sid if participant is not None else None)

    def _ask(self, action: Action, room: Room, participant_sid: str | None, *, by_dispatch: bool = False) -> None:
        """Plan this action on exactly that, and have it confirmed; for a dispatch, have the agent chosen first."""
        if action is Action.DISPATCH_AGENT:
            self._choose_agent(room)
        else:
            self._confirm(plan(action, room, participant_sid, self._clock(), by_dispatch=by_dispatch))

    def _choose_agent(self, room: Room) -> None:
        def chosen(name: str | None) -> None:
            if name is not None:
                self._confirm(plan(Action.DISPATCH_AGENT, room, None, self._clock(), agent_name=name))

        names, likely = self._agent_names([room])
        self.app.push_screen(ChooseAgentDialog(room.name.safe, names, likely), chosen)

    def _marks_table(self) -> LiveTable[Any] | None:
        """The table of this pane, if something is marked in it."""
        tables: dict[str, LiveTable[Any]] = {"rooms": self.rooms, "participants": self.participants}
        table = tables.get(self._focused_pane())
        return table if table is not None and table.marks else None

    def _marked(self) -> Sequence[Marked]:
        """What is marked in this pane and still there."""
        table, room = self._marks_table(), self.room
        if table is None:
            return ()
        if table is self.rooms:
            return [(self.picture.rooms[sid], None) for sid in table.marks if sid in self.picture.rooms]
        return [(room, sid) for sid in table.marks if room is not None and room.participant(sid) is not None]

    def _ask_many(self, action: Action) -> None:
        """Plan this action on all that is marked, and have it confirmed; for a dispatch, choose the agent first."""
        marked = self._marked()
        if not marked:
            self._say("All that was marked is gone.")
            return

        def chosen(name: str | None) -> None:
            if name is not None:
                self._confirm_many(plan_many(action, marked, self._clock(), agent_name=name))

        if action is Action.DISPATCH_AGENT:
            rooms = list({room.sid: room for room, _ in marked}.values())
            names, likely = self._agent_names(rooms)
            self.app.push_screen(ChooseAgentDialog(count(len(rooms), "room"), names, likely), chosen)
        else:
            chosen("")

    def _confirm_many(self, many: ManyPlan) -> None:
        table = self._marks_table()

        def answered(go: bool | None) -> None:  # noqa: FBT001 - a dialog's answer
            if go:
                if table is not None:
                    # What was meant has been ordered: the next key must not mean them again.
                    table.action_unmark_all()
                self.app.carry_out_many(many)

        hidden = len(self._hidden_marks()) if table is self.rooms else 0
        self.app.push_screen(
            ConfirmManyDialog(many, hidden, self.app.where.project, self.newest, self._clock), answered
        )

    def action_stop_actions(self) -> None:
        """Stop what is running, between two steps."""
        stopped = self.app.stop_actions()
        self._say(
            f"Stopping {count(stopped, 'action')} after the current step." if stopped else "No action is running."
        )

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

    def _agent_names(self, rooms: Sequence[Room]) -> tuple[set[str], str]:
        """The raw agent names seen in this project, and the one that these rooms most likely need."""
        seen = {dispatch.agent_name.raw for one in self.picture.rooms.values() for dispatch in one.dispatches or ()}
        dispatches = [dispatch for room in rooms for dispatch in room.dispatches or ()]
        own = [dispatch.agent_name.raw for dispatch in dispatches if not dispatch.jobs]
        own += [dispatch.agent_name.raw for dispatch in dispatches]
        return seen, next(iter(own), "")

    def _confirm(self, planned: Plan) -> None:
        def answered(action: Action | None) -> None:
            if action is None:
                return
            if action is planned.action:
                self.app.carry_out(planned)
                return
            room = self.newest.rooms.get(planned.target.room_sid)
            if room is None:
                self._say("That room is gone.")
                return
            self._ask(action, room, planned.target.participant_sid or None)

        self.app.push_screen(ConfirmDialog(planned, self.app.where.project, self.newest, self._clock), answered)

    def _say(self, words: str, *, calm: bool = False) -> None:
        self.notify(words, severity="information" if calm else "warning", markup=False)


PANES = ("rooms", "participants", "agent", "log")


def _no_agent_words(room: Room | None) -> str:
    if room is None:
        return "The selected room's agent is shown here."
    if room.participants is None:
        return "Reading who is in this room …"
    return "No agent is in this room." + (" Press a to dispatch one." if room.people else "")


def _agent_lines(agent: Agent, now: float) -> list[tuple[str, str]]:
    facts, dispatch, job = agent.facts, agent.dispatch, agent.job
    since = f", for {age((now - facts.state_since) // STEP_S * STEP_S)}" if facts.state_since is not None else ""
    lines = [
        ("session", session_words(agent, now)),
        ("state", (facts.state or "not published") + (since if facts.state else "")),
    ]
    if facts.close is not None and facts.close.error is not None:
        error = facts.close.error
        lines.append(("error", f"{error.source} {error.type}: {error.message}"))
    lines += [
        (
            "dispatch",
            f"{dispatch.id} {dispatch.label}, {count(len(dispatch.jobs), 'job')}" if dispatch else "not known yet",
        ),
        ("job", job.id if job else "not known yet"),
        ("worker", job.worker_id if job else "not known yet"),
        ("joined", f"{age(now - agent.participant.joined_at)} ago"),
        ("helper", f"version {facts.helper}" if facts.helper else "none: its session can't be closed from here"),
        ("sid", agent.participant.sid),
    ]
    return lines
