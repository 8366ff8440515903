"""A text of some lines of which now and then one reads differently."""

from __future__ import annotations

from collections.abc import Callable

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content
from textual.geometry import Region
from textual.widget import Widget

from tui.ui.tones import reads_the_same


class Lines(Widget):
    """Shows a text; of a new one it draws only the lines that differ. A Static draws all of it, whatever changed."""

    DEFAULT_CSS = "Lines { height: auto; text-wrap: nowrap; text-overflow: ellipsis; }"
    """A line is a row, always: a longer one would move those below it, which are drawn only where they differ."""

    def __init__(self, *, id: str) -> None:  # noqa: A002 - Textual's own name
        super().__init__(id=id)
        self._lines: list[Content] = []

    @property
    def plain(self) -> str:
        """The text, without its styles."""
        return "\n".join(line.plain for line in self._lines)

    def show(self, content: Content) -> None:
        """Show this instead. It must be wrapped to the width already."""
        before, self._lines = self._lines, content.split("\n", allow_blank=True)
        if len(self._lines) != len(before):
            self.refresh(layout=True)
            return
        for y, (was, now) in enumerate(zip(before, self._lines, strict=True)):
            if not reads_the_same(was, now):
                self.refresh(Region(0, y, self.size.width, 1))

    def render(self) -> Content:
        """All lines."""
        return Content("\n").join(self._lines)


Page = Callable[[int], Content]
"""A text that wraps itself to a width in cells, so that what is wrapped can stay under its own column."""


class LinesPane(VerticalScroll, can_focus=True):
    """A pane of lines that scrolls, where there are more than it has place for."""

    def compose(self) -> ComposeResult:
        """The lines."""
        yield Lines(id="lines")

    _page: Page | None = None

    def write(self, page: Page) -> None:
        """Show this instead."""
        self._page = page
        width, height = self.size
        if width <= 0:
            # Before the first layout, or out of sight: it is written when there is a width.
            return
        content = page(width)
        if content.plain.count("\n") >= height:
            # It will scroll. Whether its scroll bar is there already doesn't count: nobody tells when it comes.
            content = page(width - self.styles.scrollbar_size_vertical)
        # Filled up to the pane: only a page that is longer than that changes the layout, which takes 20 ms.
        missing = height - 1 - content.plain.count("\n")
        self.query_one(Lines).show(content + Content("\n" * max(0, missing)))

    def on_resize(self) -> None:
        """Wrap it to the new width."""
        if self._page is not None:
            self.write(self._page)
