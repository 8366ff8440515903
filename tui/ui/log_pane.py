"""The log pane: closes and actions, one a line, filtered by cause and words, counted by the hour."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Input

from tui.model.action import ActionRecord, BatchRecord
from tui.model.causes import Cause
from tui.model.close_phrases import CAUSE_WORDS, cause_tone
from tui.model.closes import CloseEvent
from tui.model.evidence import SourceStatus
from tui.model.log import Log, LogEntry, LogFilter
from tui.model.phrases import Tone, count
from tui.ui.live_table import LiveTable
from tui.ui.rows import LOG_COLUMNS, log_cells
from tui.ui.tones import label, toned

_COUNTED = 4
"""How many causes the title counts; the rest is in the dialog of causes."""


class LogPane(Vertical):
    """The closes and actions of this run and of the history, newest last. Follows only at the end."""

    DEFAULT_CLASSES: ClassVar[str] = "pane"

    def __init__(self, clock: Callable[[], float], *, id: str) -> None:  # noqa: A002 - Textual's own name
        super().__init__(id=id)
        self._clock = clock
        self._log = Log()
        self.filter = LogFilter()

    def compose(self) -> ComposeResult:
        """The table, and a line to filter it by."""
        yield LiveTable[LogEntry](LOG_COLUMNS, lambda line: line.key, log_cells, follow=True, id="log")
        yield Input(placeholder="words to filter by; Enter keeps, Esc clears", id="log-filter", compact=True)

    def on_mount(self) -> None:
        """Start empty, and say what will be here."""
        self.refresh_lines()

    @property
    def table(self) -> LiveTable[LogEntry]:
        """The table itself."""
        return self.query_one("#log", LiveTable)

    @property
    def shown(self) -> Sequence[LogEntry]:
        """The lines that match the filter, oldest first."""
        return self._log.shown(self.filter)

    @property
    def last_hour(self) -> Sequence[tuple[Cause, int]]:
        """The closes of the last hour by cause: what asks for a look first, then the most frequent."""
        counts = self._log.last_hour(self._clock())
        return sorted(counts.items(), key=lambda item: (cause_tone(item[0]) is not Tone.TROUBLE, -item[1]))

    # What arrives

    def put(self, news: Iterable[CloseEvent | ActionRecord]) -> None:
        """Show what is new or has changed."""
        self._log.put(news)
        self.refresh_lines()

    def batch_record(self, batch_id: str) -> BatchRecord | None:
        """What has become of this batch so far."""
        return self._log.batch(batch_id)

    def tick(self, now: float) -> None:
        """Let the hour go on."""
        self.table.tick(now)
        self._say_counts()

    def show_sources(self, sources: Sequence[SourceStatus]) -> None:
        """Say where evidence comes from, and what is off."""
        parts = sources_words(sources)
        label(self, subtitle=toned((" ", Tone.MUTED), *parts, (" ", Tone.MUTED)) if parts else Content(""))

    def refresh_lines(self) -> None:
        """Filter anew."""
        lines = self.shown
        if self.filter and len(self._log):
            empty = "Nothing in the log matches; Esc clears the filter."
        else:
            empty = "Ends of sessions, and what you do, appear here with time and cause."
        self.table.show(lines, self._clock(), empty=empty)
        self._say_counts()

    def _say_counts(self) -> None:
        hour = self.last_hour
        kept = f"{len(self.table.rows):,}/{len(self._log):,}" if self.filter else f"{len(self._log):,}"
        held = "" if self.table.at_end or not self.table.rows else ", held: G follows"
        parts: list[tuple[str, Tone]] = [(f"Closes ─ {filter_words(self.filter)} {kept}{held}", Tone.PLAIN)]
        if hour:
            parts.append((f" ─ last hour {sum(number for _, number in hour):,}", Tone.PLAIN))
        for cause, number in hour[:_COUNTED]:
            parts.append((f" ─ {count(number, CAUSE_WORDS[cause], CAUSE_WORDS[cause])}", cause_tone(cause)))
        label(self, toned(*parts))

    # Filtering

    def filter_by_cause(self, cause: Cause | None) -> None:
        """Show the closes of one cause, or everything."""
        self.filter = LogFilter(cause, self.filter.words)
        self.refresh_lines()

    def open_filter(self) -> None:
        """Open the line to type words into."""
        line = self.query_one("#log-filter", Input)
        line.add_class("-open")
        self.screen.set_focus(line)

    def clear_filter(self) -> bool:
        """Show everything again; False if that is so already."""
        line = self.query_one("#log-filter", Input)
        was_open = line.has_class("-open") or bool(self.filter)
        line.remove_class("-open")
        line.value = ""
        self.filter = LogFilter()
        self.refresh_lines()
        return was_open

    @on(Input.Changed, "#log-filter")
    def _typed(self, event: Input.Changed) -> None:
        self.filter = LogFilter(self.filter.cause, event.value)
        self.refresh_lines()

    @on(Input.Submitted, "#log-filter")
    def _kept(self, event: Input.Submitted) -> None:
        if not event.value.strip():
            event.input.remove_class("-open")
        self.screen.set_focus(self.table)

    # Going to and fro

    def go_to_close(self, room_sid: str) -> bool:
        """Select the newest close in this room; False if there is none. A filter that hides it is cleared."""
        line = self._log.latest_close(room_sid)
        if line is None:
            return False
        if not self.table.select(line.key):
            self.clear_filter()
            self.table.select(line.key)
        return True


def filter_words(by: LogFilter) -> str:
    """What is shown: `all causes`, `error`, `error “sales”`."""
    cause = CAUSE_WORDS[by.cause] if by.cause is not None else "all causes"
    return f"{cause} “{by.words.strip()}”" if by.words.strip() else cause


_NAME_LENGTHS = (12, 3, 1)


def sources_words(sources: Sequence[SourceStatus], room: int = 1_000) -> list[tuple[str, Tone]]:
    """Every source with the glyph of how it stands, in at most `room` cells; nothing, where not even letters fit."""
    for length in _NAME_LENGTHS:
        parts: list[tuple[str, Tone]] = []
        for source in sources:
            glyph, tone = source_glyph(source)
            name = source.name[:length]
            before = " " if parts and length > 1 else ""
            after = " " if name == source.name else ""
            parts += [(before + glyph + after, tone), (name, Tone.MUTED)]
        if sum(len(text) for text, _ in parts) <= room:
            return parts
    return []


def source_glyph(source: SourceStatus) -> tuple[str, Tone]:
    """A source is on, off, or in trouble."""
    if source.trouble:
        return "✗", Tone.TROUBLE
    return ("●", Tone.WORKING) if source.on else ("○", Tone.MUTED)
