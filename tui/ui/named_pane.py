"""A pane that is called by a name that strangers chose, which may be longer than its border."""

from __future__ import annotations

from rich.cells import cell_len
from textual.content import Content
from textual.widget import Widget

from tui.ui.tones import label

_EDGES = 6
"""Cells of a border that a title can't have: at each end the corner, a piece of line and a blank."""
_LEAST = 8
"""Cells that a name keeps however much follows it."""


class NamedPane(Widget):
    """Has a title of a name and what is to be known about it. The name is cut to the border, what follows it is not."""

    _title = "", ""

    def entitle(self, name: str, about: str = "") -> None:
        """Write both on the border, one right behind the other."""
        self._title = name, about
        # Before the first layout, or out of sight, there is no width: the title is cut when there is one.
        if width := self.outer_size.width:
            name = Content(name).truncate(max(_LEAST, width - _EDGES - cell_len(about)), ellipsis=True).plain
        label(self, Content(name + about))

    def on_resize(self) -> None:
        """Cut it anew."""
        self.entitle(*self._title)
