"""A table for rows that change while you look at them.

It draws only the lines that are visible, lays out its columns once per width, and repaints only lines that changed. Its
selection belongs to a row's key, never to a line number: replacing, sorting or filtering the rows moves the highlight
along with its row, and when the row is gone nothing is selected until the person moves. Marks belong to keys as well,
and stay with rows that are out of sight.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual.binding import BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from tui.model.phrases import Tone
from tui.ui.commands import TABLE_COMMANDS, bindings

if TYPE_CHECKING:
    from textual import events

Row = TypeVar("Row")
Cell = tuple[str, Tone]

NEAR = 200
"""Lines before and after its own in which the selected row is looked for first, when others have come and gone."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column: `width` in cells, plus a share of what is left in proportion to `grow`.

    When the table is too narrow, columns with the highest `drop` go first; those with 0 always stay.
    """

    key: str
    title: str
    width: int
    grow: int = 0
    drop: int = 0
    right: bool = False


def lay_out(columns: Sequence[Column], width: int) -> tuple[tuple[Column, int], ...]:
    """The columns that fit into `width` cells, each with its own width, one blank between two."""
    kept = list(columns)
    while sum(column.width + 1 for column in kept) - 1 > width and any(column.drop for column in kept):
        kept.remove(max(kept, key=lambda column: column.drop))
    spare = max(0, width - (sum(column.width + 1 for column in kept) - 1))
    shares = sum(column.grow for column in kept)
    widths = []
    for column in kept:
        extra = spare * column.grow // shares if shares else 0
        spare, shares = spare - extra, shares - column.grow
        widths.append(column.width + extra)
    return tuple(zip(kept, widths, strict=True))


def fit(text: str, width: int, *, right: bool = False) -> str:
    """`text` in exactly `width` cells: cut with an ellipsis, or padded."""
    length = cell_len(text)
    if length > width:
        return set_cell_size(text, width - 1) + "…" if width > 0 else ""
    return " " * (width - length) + text if right else text + " " * (width - length)


def changed_cells(before: Strip, after: Strip) -> tuple[int, int]:
    """From which cell to which (exclusive) two lines of the same layout differ; all cells, where it is another."""
    pairs = list(zip(before, after, strict=False))
    if len(before) != len(after) or any(old.cell_length != new.cell_length for old, new in pairs):
        return 0, max(before.cell_length, after.cell_length)
    differs = [index for index, (old, new) in enumerate(pairs) if old != new]
    if not differs:
        return 0, 0
    start = sum(new.cell_length for _, new in pairs[: differs[0]])
    return start, sum(new.cell_length for _, new in pairs[: differs[-1] + 1])


class LiveTable(ScrollView, Generic[Row], can_focus=True):
    """Rows of type `Row`, shown by `cells` (one cell a column), told apart by `key`.

    With `follow`, new rows at the end are scrolled to, as long as the person is at the end. With `markable`, rows can
    be marked, which is shown in a cell of its own before the first column.
    """

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "live-table--header",
        "live-table--cursor",
        "live-table--cursor-blurred",
        *(f"live-table--{tone.value}" for tone in Tone),
    }

    # Columns are laid out before it is known whether the rows need a scroll bar: its place is always kept.
    DEFAULT_CSS = "LiveTable { overflow-x: hidden; scrollbar-gutter: stable; }"

    BINDINGS: ClassVar[list[BindingType]] = bindings(TABLE_COMMANDS)

    class Moved(Message):
        """The selection went to another row, by the person's hand or because the first rows arrived."""

        def __init__(self, table: LiveTable[Any]) -> None:
            super().__init__()
            self.table = table

        @property
        def control(self) -> LiveTable[Any]:
            """The table, by which handlers are selected."""
            return self.table

    class Opened(Moved):
        """A row was asked for, with a double click."""

    class Marked(Moved):
        """Other rows are marked than before."""

    class HeaderClicked(Message):
        """A column's title was clicked."""

        def __init__(self, table: LiveTable[Any], column: Column) -> None:
            super().__init__()
            self.table = table
            self.column = column

        @property
        def control(self) -> LiveTable[Any]:
            """The table, by which handlers are selected."""
            return self.table

    def __init__(
        self,
        columns: Sequence[Column],
        key: Callable[[Row], str],
        cells: Callable[[Row, float], Sequence[Cell]],
        *,
        follow: bool = False,
        markable: bool = False,
        id: str | None = None,  # noqa: A002 - Textual's own name
    ) -> None:
        super().__init__(id=id)
        self._columns = tuple(columns)
        self._key = key
        self._cells = cells
        self._follow = follow
        self._gutter = 1 if markable else 0
        self._marks: dict[str, None] = {}
        self._marked_last = ""
        self._rows: Sequence[Row] = ()
        self._lines_of: dict[str, int] | None = {}
        """by key; None where it is not worked out for these rows"""
        self._now = 0.0
        self._selected = ""
        self._line = 0
        self._empty = ""
        self._sorted = ("", False)
        self._layout: tuple[tuple[Column, int], ...] = ()
        self._styles: dict[tuple[str, str], Style] = {}
        """by what is written and on what: to look a style up in the stylesheet takes longer than to write the cell"""
        self._strips: dict[int, Strip] = {}
        """the lines of the screen as they are now, as far as they have been made"""
        self._painted: dict[int, Strip] = {}
        """those that are on the screen"""
        self._showing = False
        """whether rows are being replaced, after which all lines are looked at anyway"""

    # What it shows

    def show(self, rows: Sequence[Row], now: float, *, empty: str = "") -> None:
        """Replace all rows. `now` is what ages are counted to; `empty` is said where there are none."""
        at_end = self.at_end
        top = self.scroll_offset.y
        self._rows = rows
        self._now = now
        self._empty = empty
        self._lines_of = None
        self._showing = True
        self._resize()
        if self._follow and at_end:
            self._select_line(len(rows) - 1)
            self._scroll(self.max_scroll_y)
        elif not self._selected and rows:
            self._select_line(0)
        elif (line := self._selected_line) is not None:
            if top:
                # Keep the selected row where the eye is; at the very top, stay there: new trouble comes in there.
                self._scroll(top + line - self._line)
            self._line = line
        self._showing = False
        self._repaint()

    def tick(self, now: float) -> None:
        """Let the ages go on; only lines that read differently are repainted."""
        self._now = now
        self._repaint()

    def mark_sort(self, column: str, *, descending: bool) -> None:
        """Show by which column the rows are sorted. The order itself is the caller's."""
        if self._sorted == (column, descending):
            return
        self._sorted = (column, descending)
        self._redraw()

    @property
    def rows(self) -> Sequence[Row]:
        """All rows, in their order."""
        return self._rows

    @property
    def visible_rows(self) -> Sequence[Row]:
        """The rows on screen now."""
        top = self.scroll_offset.y
        return self._rows[top : top + max(0, self.size.height - 1)]

    @property
    def selected(self) -> Row | None:
        """The selected row; None if it is no longer among the rows."""
        line = self._selected_line
        return self._rows[line] if line is not None else None

    @property
    def selected_key(self) -> str:
        """The key of the row last selected, whether or not it is still there; empty if none ever was."""
        return self._selected

    @property
    def at_end(self) -> bool:
        """Whether the last row is in view, and selected if any is: where a log follows."""
        line = self._selected_line
        return (line is None or line == len(self._rows) - 1) and self.scroll_offset.y >= self.max_scroll_y

    def has(self, key: str) -> bool:
        """Whether a row with this key is among the rows."""
        return key in self._lines

    def select(self, key: str) -> bool:
        """Select the row with this key and bring it into view; False if there is none."""
        if key not in self._lines:
            return False
        self._go_to(self._lines[key])
        return True

    @property
    def marks(self) -> Sequence[str]:
        """The keys of the rows that are marked, in the order of marking, whether or not they are still there."""
        return tuple(self._marks)

    def mark(self, keys: Iterable[str], *, marked: bool = True) -> None:
        """Mark these rows, or take their marks away."""
        before = len(self._marks)
        for key in keys:
            if marked:
                self._marks[key] = None
            else:
                self._marks.pop(key, None)
        if len(self._marks) != before:
            self.post_message(self.Marked(self))
            self._repaint()

    def forget(self) -> None:
        """Select and mark nothing, as in the beginning: the rows to come are about something else."""
        self.mark(self.marks, marked=False)
        self._selected = ""
        self._line = 0
        self._scroll(0)

    # Moving

    def action_move(self, by: int) -> None:
        """Select a neighbouring row; from a row that is gone, the one that took its place."""
        line = self._selected_line
        if line is None:
            # What stood below it has moved up into its line.
            line = self._line - (1 if by > 0 else 0)
        self._go_to(line + by)

    def action_move_page(self, by: int) -> None:
        """Move by a screenful."""
        self.action_move(by * max(1, self.size.height - 2))

    def action_move_to_end(self, last: bool) -> None:  # noqa: FBT001 - an action's argument
        """Select the first or the last row."""
        self._go_to(len(self._rows) - 1 if last else 0)

    # Marking

    def action_mark(self) -> None:
        """Mark the selected row, or take its mark away, and go on to the next."""
        if self._gutter and self.selected is not None:
            self._marked_last = self._selected
            self.mark([self._selected], marked=self._selected not in self._marks)
            self.action_move(1)

    def action_mark_range(self) -> None:
        """Mark all rows from the one that was marked last to the selected one."""
        line, last = self._selected_line, self._lines.get(self._marked_last)
        if self._gutter and line is not None:
            if self._marked_last not in self._marks:
                # It was unmarked since: to begin there would mark what nobody means.
                last = None
            first, last = sorted((line, line if last is None else last))
            self.mark(self._key(row) for row in self._rows[first : last + 1])
            self._marked_last = self._selected

    def action_mark_all(self) -> None:
        """Mark all rows that are shown; where all of them are, take their marks away."""
        if self._gutter:
            keys = self._lines.keys()
            self.mark(tuple(keys), marked=not keys <= self._marks.keys())

    def action_unmark_all(self) -> None:
        """Take all marks away, of rows out of sight too."""
        self.mark(self.marks, marked=False)

    @property
    def _lines(self) -> Mapping[str, int]:
        """The line of every row, by key: of 10,000 rows that takes several milliseconds, and is seldom asked for."""
        if self._lines_of is None:
            self._lines_of = dict(zip(map(self._key, self._rows), range(len(self._rows)), strict=True))
        return self._lines_of

    @property
    def _selected_line(self) -> int | None:
        """The line of the selected row, None if it is gone: mostly near the one where it was."""
        if self._lines_of is None and self._selected:
            near = range(max(0, self._line - NEAR), min(len(self._rows), self._line + NEAR))
            for line in chain((self._line,) if self._line in near else (), near):
                if self._key(self._rows[line]) == self._selected:
                    return line
        return self._lines.get(self._selected)

    def _go_to(self, line: int) -> None:
        if not self._rows:
            return
        before = self._selected_line
        self._select_line(line)
        height = max(1, self.size.height - 1)
        if self._line < self.scroll_offset.y:
            self._scroll(self._line)
        elif self._line >= self.scroll_offset.y + height:
            self._scroll(self._line - height + 1)
        # If it scrolled, all lines have been looked at.
        lines = (self._line if before is None else before, self._line)
        self._repaint(line - self.scroll_offset.y + 1 for line in lines)

    def _scroll(self, y: float) -> None:
        # By force: Textual scrolls nothing that has no scroll bar yet, and that comes only with the next layout.
        self.scroll_to(y=y, animate=False, immediate=True, force=True)

    def _select_line(self, line: int) -> None:
        if not self._rows:
            return
        self._line = min(max(line, 0), len(self._rows) - 1)
        key = self._key(self._rows[self._line])
        if key != self._selected:
            self._selected = key
            self.post_message(self.Moved(self))

    async def _on_click(self, event: events.Click) -> None:
        offset = event.get_content_offset(self)
        if offset is None:
            return
        if offset.y == 0:
            x = self._gutter
            for column, width in self._layout:
                if x <= offset.x <= x + width:
                    self.post_message(self.HeaderClicked(self, column))
                x += width + 1
            return
        line = self.scroll_offset.y + offset.y - 1
        if line < len(self._rows):
            self._go_to(line)
            if event.chain > 1:
                self.post_message(self.Opened(self))

    # Drawing

    def _resize(self) -> None:
        self._layout = lay_out(self._columns, self.scrollable_content_region.width - self._gutter)
        size = Size(self.scrollable_content_region.width, len(self._rows) + 1)
        # Not set as the reactive that it is: a layout of the whole screen is due only if the scrollbar comes or goes.
        self.set_reactive(LiveTable.virtual_size, size)
        self._scroll_update(size)

    def on_resize(self) -> None:
        """Lay the columns out anew, and keep the selection in view."""
        self._resize()
        self._redraw()
        if (line := self._selected_line) is not None and not self._follow:
            self.call_after_refresh(self._go_to, line)

    def notify_style_update(self) -> None:
        """Forget what was painted in the old colours."""
        super().notify_style_update()
        self._styles.clear()
        self._strips.clear()
        self._painted.clear()

    def on_focus(self) -> None:
        """The highlight is brighter with the focus."""
        self._repaint()

    def on_blur(self) -> None:
        """The highlight is dimmer without it."""
        self._repaint()

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Every line shows another row now.

        Not as in Textual, which then draws everything: where rows came or went above those on the screen, the lines
        read as before.
        """
        if self.show_vertical_scrollbar:
            self.vertical_scrollbar.position = new_value
        if round(old_value) != round(new_value) and not self._showing:
            self._repaint()

    def _redraw(self) -> None:
        self._strips.clear()
        self._painted.clear()
        self.refresh()

    def _repaint(self, lines: Iterable[int] | None = None) -> None:
        """Have drawn again what reads differently: of a line in which an age went on, only the age.

        `lines` of the screen are looked at; without them, all.
        """
        size = self.size
        for y in range(size.height) if lines is None else lines:
            self._strips.pop(y, None)
            if not 0 <= y < size.height:
                continue
            strip, painted = self._strip(y), self._painted.get(y)
            if painted != strip:
                start, end = changed_cells(painted, strip) if painted is not None else (0, size.width)
                self.refresh(Region(start, y, end - start, 1))

    def render_line(self, y: int) -> Strip:
        """One line of the table: the titles at the top, then the rows."""
        strip = self._painted[y] = self._strip(y)
        return strip

    def _strip(self, y: int) -> Strip:
        strip = self._strips.get(y)
        if strip is None:
            strip = self._strips[y] = self._line_strip(y, self.size.width)
        return strip

    def _line_strip(self, y: int, width: int) -> Strip:
        if not self._layout:
            self._resize()
        if y == 0:
            return self._header_strip(width)
        line = self.scroll_offset.y + y - 1
        if line >= len(self._rows):
            text = self._empty if not self._rows and y == 2 else ""  # one blank line above it
            return Strip([Segment(fit("  " + text, width), self._style(Tone.MUTED))], width)
        row = self._rows[line]
        cells = {column.key: cell for column, cell in zip(self._columns, self._cells(row, self._now), strict=True)}
        cursor = ""
        if self._key(row) == self._selected:
            cursor = "cursor" if self.has_focus else "cursor-blurred"
        base = self._style(Tone.PLAIN, cursor)
        segments = []
        if self._gutter:
            segments.append(Segment("*" if self._key(row) in self._marks else " ", self._style(Tone.OURS, cursor)))
        for index, (column, cell_width) in enumerate(self._layout):
            if index:
                segments.append(Segment(" ", base))
            text, tone = cells[column.key]
            segments.append(Segment(fit(text, cell_width, right=column.right), self._style(tone, cursor)))
        return Strip(segments).extend_cell_length(width, base).crop(0, width)

    def _header_strip(self, width: int) -> Strip:
        style = self.get_component_rich_style("live-table--header")
        segments = [Segment(" " * self._gutter, style)]
        for column, cell_width in self._layout:
            arrow = ("▾" if self._sorted[1] else "▴") if column.key == self._sorted[0] else ""
            title = arrow + column.title if column.right else column.title + arrow
            segments += [Segment(fit(title, cell_width, right=column.right), style), Segment(" ", style)]
        return Strip(segments[:-1]).extend_cell_length(width, style).crop(0, width)

    def _style(self, tone: Tone, cursor: str = "") -> Style:
        style = self._styles.get((tone, cursor))
        if style is None:
            style = self.get_component_rich_style(f"live-table--{tone.value}")
            if cursor:
                style += self.get_component_rich_style(f"live-table--{cursor}", partial=True)
            self._styles[tone, cursor] = style
        return style
