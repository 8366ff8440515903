"""The pane of the rooms: in which order they stand, by which words they are filtered, and which are marked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import ClassVar

from rich.cells import cell_len
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Input

from tui.model.collapse import collapse_words
from tui.model.evidence import SourceStatus
from tui.model.fleet import SORT_COLUMNS, TROUBLE_FIRST, Fleet, Order, RoomRow, order_words
from tui.model.phrases import Tone
from tui.model.snapshot import Snapshot
from tui.ui.live_table import LiveTable
from tui.ui.log_pane import sources_words
from tui.ui.rows import ROOM_COLUMNS, room_cells
from tui.ui.tones import label, toned

TITLE_EDGES = 8
"""Cells of a pane's upper border that can't be written on, and those between two parts of what is."""


class RoomsPane(Vertical):
    """The fleet as a table, and a line to filter it by."""

    DEFAULT_CLASSES: ClassVar[str] = "pane"

    def __init__(self, fleet: Fleet, clock: Callable[[], float], *, id: str) -> None:  # noqa: A002 - Textual's own name
        super().__init__(id=id)
        self._fleet = fleet
        self._clock = clock
        self._order = TROUBLE_FIRST
        self._words = ""

    def compose(self) -> ComposeResult:
        """The table, and the line."""
        yield LiveTable[RoomRow](ROOM_COLUMNS, attrgetter("room.sid"), room_cells, markable=True, id="rooms")
        yield Input(placeholder="words to filter by; Enter keeps, Esc clears", id="filter", compact=True)

    @property
    def table(self) -> LiveTable[RoomRow]:
        """The table itself."""
        return self.query_one("#rooms", LiveTable)

    @property
    def filter_line(self) -> Input:
        """The line that words are typed into."""
        return self.query_one("#filter", Input)

    # What is shown

    def show(self, picture: Snapshot, newest: Snapshot) -> None:
        """Show the fleet, which is that of `picture`, in its order."""
        self._fleet.arrange(self._order, self._words)
        self.table.show(self._fleet.shown, self._clock(), empty=self._empty_words(picture, newest))
        self.table.mark_sort(self._order.column, descending=not self._order.reverse)

    def _empty_words(self, picture: Snapshot, newest: Snapshot) -> str:
        if picture.listed_at is None:
            return "Asking the server for its rooms …"
        if self._words and self._fleet:
            return f"No room matches “{self._words}”; Esc clears the filter."
        if (lost := newest.collapse) is not None and lost.is_news(self._clock()):
            return f"No rooms: {collapse_words(lost)}. They appear here as soon as somebody joins one."
        return "No rooms: they appear here as soon as somebody joins one."

    def show_title(self, marks: str, sources: Sequence[SourceStatus]) -> None:
        """Write on the border: the order, the marks, how many rooms; and the sources, as far as there is place."""
        shown = f"{len(self._fleet.shown):,}"
        if self._words:
            shown += f"/{len(self._fleet):,}"
        title = f"Rooms ─ {order_words(self._order)}{marks}"
        told = sources_words(sources, self.outer_size.width - cell_len(title) - TITLE_EDGES)
        words = [(" ─ ", Tone.PLAIN), *told] if told else []
        label(self, toned((title, Tone.PLAIN), *words), Content(shown))

    # Order and filter: whoever changes one shows the rooms anew

    def sort(self, by: int) -> None:
        """Sort by the next column."""
        index = SORT_COLUMNS.index(self._order.column)
        self._order = Order(SORT_COLUMNS[(index + by) % len(SORT_COLUMNS)])

    def sort_by(self, column: str) -> bool:
        """Sort by this column, or, if that is so already, the other way round; False if rooms can't be sorted by it."""
        if column not in SORT_COLUMNS:
            return False
        if self._order.column == column:
            self.reverse()
        else:
            self._order = Order(column)
        return True

    def reverse(self) -> None:
        """Turn the order round."""
        self._order = Order(self._order.column, not self._order.reverse)

    def filter_by(self, words: str) -> None:
        """Only rooms that hold these words."""
        self._words = words

    def open_filter(self) -> None:
        """Open the line to type words into."""
        self.filter_line.add_class("-open")
        self.screen.set_focus(self.filter_line)

    def keep_filter(self) -> None:
        """The words stay; a line without any is closed."""
        if not self._words:
            self.filter_line.remove_class("-open")
        if self.table.selected is None:
            # Enter is a movement: onto the first match, where the room selected before is not among them.
            self.table.action_move_to_end(last=False)

    def clear_filter(self) -> None:
        """All rooms."""
        self.filter_line.value = ""
        self.filter_line.remove_class("-open")
        self._words = ""
