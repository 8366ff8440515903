"""The conversation of a session: one line of the table for every line of what was said or done, wrapped to its width.

Up to 5,000 entries are in it, and more come in all the time: only those that are new or have changed are wrapped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.cells import cell_len
from textual import events, on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Input

from tui.model.phrases import Tone
from tui.model.session import Entry, Health, SessionView, ToolStatus
from tui.model.session_phrases import Said, entry_text, entry_words, who_words
from tui.ui.live_table import Cell, Column, LiveTable, lay_out
from tui.ui.rows import time_of_day
from tui.ui.tones import label

_COLUMNS = (
    Column("time", "TIME", 8, drop=1),
    Column("who", "WHO", 9),
    Column("said", "SAID AND DONE", 20, grow=1),
)


@dataclass(frozen=True, slots=True)
class SaidLine:
    """One line of the screen: the first one of an entry says when and who."""

    key: str
    entry: Entry
    text: str
    tone: Tone
    first: bool


class Conversation(Vertical):
    """Everything said and done, newest last. Follows only at the end; `/` leaves only what holds the words."""

    DEFAULT_CLASSES: ClassVar[str] = "pane"

    def __init__(self, clock: Callable[[], float], *, id: str) -> None:  # noqa: A002 - Textual's own name
        super().__init__(id=id)
        self._clock = clock
        self._view = SessionView()
        self._words: list[str] = []
        self._width = 0
        self._wrapped: dict[str, tuple[Entry, tuple[SaidLine, ...]]] = {}

    def compose(self) -> ComposeResult:
        """The table, and a line to search by."""
        yield LiveTable[SaidLine](_COLUMNS, lambda line: line.key, _cells, follow=True, id="conversation")
        yield Input(placeholder="words to look for; Enter keeps, Esc clears", id="conversation-filter", compact=True)

    @property
    def table(self) -> LiveTable[SaidLine]:
        """The table itself."""
        return self.query_one("#conversation", LiveTable)

    @property
    def shown(self) -> Sequence[Entry]:
        """The entries that hold the words looked for, oldest first."""
        if not self._words:
            return self._view.entries
        return [entry for entry in self._view.entries if self._matches(entry)]

    @property
    def selected(self) -> Entry | None:
        """The entry that the selected line is of."""
        line = self.table.selected
        return line.entry if line is not None else None

    def show(self, view: SessionView) -> None:
        """Show what is known of the session now."""
        self._view = view
        self._arrange()

    def tick(self) -> None:
        """Let the time of running tools go on."""
        if any(_is_running(entry) for entry in self._view.entries[-_RUNNING_AMONG:]):
            self._arrange()
        self._label()

    def on_resize(self, event: events.Resize) -> None:  # noqa: ARG002 - the table's own width counts
        """Wrap everything anew."""
        self.call_after_refresh(self._rewrap)

    def _rewrap(self) -> None:
        width = self.table.scrollable_content_region.width
        if width != self._width:
            self._width = width
            self._wrapped.clear()
            self._arrange()

    def _arrange(self) -> None:
        if not self._width:
            # The first layout is still to come, and `_rewrap` with it.
            return
        now = self._clock()
        entries = self.shown
        lines = [line for entry in entries for line in self._lines(entry, now)]
        if len(self._wrapped) > 2 * len(self._view.entries) + 100:
            known = {entry.id for entry in self._view.entries}
            self._wrapped = {id_: wrapped for id_, wrapped in self._wrapped.items() if id_ in known}
        self.table.show(lines, now, empty=self._empty_words())
        self._label()

    def _label(self) -> None:
        total = len(self._view.entries)
        shown = f"{len(self.shown):,}/{total:,}" if self._words else f"{total:,}"
        dropped = f", {self._view.dropped:,} older ones not kept" if self._view.dropped else ""
        looking = f" “{' '.join(self._words)}”" if self._words else ""
        held = "" if self.table.at_end or not self.table.rows else " ─ held: G follows"
        label(self, Content(f"Conversation{looking} ─ {shown}{dropped}{held}"))

    def _empty_words(self) -> str:
        if self._words and self._view.entries:
            return "Nothing said holds these words; Esc clears them."
        if self._view.health in (Health.ANSWERING, Health.CONNECTING):
            return "What is said and done appears here, with what was before."
        return "Nothing is known of what is said here."

    def _lines(self, entry: Entry, now: float) -> tuple[SaidLine, ...]:
        known = self._wrapped.get(entry.id)
        if known is not None and known[0] is entry and not _is_running(entry):
            return known[1]
        _, width = lay_out(_COLUMNS, self._width)[-1]
        lines = tuple(_wrap(entry, entry_words(entry, now), width))
        self._wrapped[entry.id] = entry, lines
        return lines

    # Searching

    def open_filter(self) -> None:
        """Open the line to type words into."""
        line = self.query_one("#conversation-filter", Input)
        line.add_class("-open")
        self.screen.set_focus(line)

    def clear_filter(self) -> bool:
        """Show everything again, what was found still selected; False if that is so already."""
        line = self.query_one("#conversation-filter", Input)
        was_open = line.has_class("-open") or bool(self._words)
        found = self.table.selected_key if self._words else ""
        line.remove_class("-open")
        line.value = ""
        self._look_for("")
        self.table.select(found)
        return was_open

    def _look_for(self, text: str) -> None:
        self._words = text.casefold().split()
        self._arrange()

    def _matches(self, entry: Entry) -> bool:
        text = f"{who_words(entry)[0]} {entry.who} {entry_text(entry, entry.at)}".casefold()
        return all(word in text for word in self._words)

    @on(LiveTable.Moved)
    def _moved(self) -> None:
        self._label()

    @on(Input.Changed, "#conversation-filter")
    def _typed(self, event: Input.Changed) -> None:
        self._look_for(event.value)

    @on(Input.Submitted, "#conversation-filter")
    def _kept(self, event: Input.Submitted) -> None:
        if not event.value.strip():
            event.input.remove_class("-open")
        self.screen.set_focus(self.table)


_RUNNING_AMONG = 50
"""A tool that still runs is among so many of the newest entries."""


def _is_running(entry: Entry) -> bool:
    return entry.tool is not None and entry.tool.status is ToolStatus.RUNNING


def _wrap(entry: Entry, said: Sequence[Said], width: int) -> Iterator[SaidLine]:
    number = 0
    for text, tone in said:
        for paragraph in text.split("\n"):
            for line in _wrapped(paragraph, width):
                yield SaidLine(f"{entry.id} {number}", entry, line, tone, first=number == 0)
                number += 1
    if not number:
        yield SaidLine(f"{entry.id} 0", entry, "", Tone.MUTED, first=True)


def _wrapped(text: str, width: int) -> Sequence[str]:
    length = cell_len(text)
    if length <= width:
        return (text,)
    if length != len(text):
        # Slower, but it knows characters of two cells.
        return [line.plain.rstrip() for line in Content(text).wrap(width)]
    lines = []
    while len(text) > width:
        # A word that is longer than a line is broken.
        end = text.rfind(" ", 1, width + 1)
        end = end if end > 0 else width
        lines.append(text[:end].rstrip())
        text = text[end:].lstrip()
    return [*lines, text] if text else lines


def _cells(line: SaidLine, now: float) -> Sequence[Cell]:  # noqa: ARG001 - what was said has a time, not an age
    when = time_of_day(line.entry.at) if line.first else ""
    who = who_words(line.entry) if line.first else ("", Tone.PLAIN)
    return (when, Tone.MUTED), who, (line.text, line.tone)
