"""A text of some lines of which now and then one reads differently."""

from __future__ import annotations

from textual.content import Content
from textual.geometry import Region
from textual.widget import Widget

from tui.ui.tones import reads_the_same


class Lines(Widget):
    """Shows a text; of a new one it draws only the lines that differ. A Static draws all of it, whatever changed."""

    DEFAULT_CSS = "Lines { height: auto; }"

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
