"""The line under a table that words to filter it by are typed into.

It is made when it is opened for the first time. To read and to apply the styles of two of them takes Textual a tenth of
what it does for the first frame.
"""

from __future__ import annotations

from textual.widget import Widget
from textual.widgets import Input


class FilterLine:
    """The line of this pane, closed at first. It is an `Input` with this `id`, whose messages the pane gets."""

    def __init__(self, pane: Widget, *, id: str, placeholder: str) -> None:  # noqa: A002 - Textual's own name
        self._pane = pane
        self._id = id
        self._placeholder = placeholder
        self._input: Input | None = None

    @property
    def is_open(self) -> bool:
        """Whether it is on the screen."""
        return self._input is not None and self._input.has_class("-open")

    def open(self) -> None:
        """Have words typed into it, from the very next key on."""
        if self._input is None:
            self._input = Input(placeholder=self._placeholder, id=self._id, compact=True)
            self._pane.mount(self._input)
        self._input.add_class("-open")
        self._pane.screen.set_focus(self._input)

    def close(self) -> None:
        """Take it off the screen. What was typed stays in it."""
        if self._input is not None:
            self._input.remove_class("-open")

    def clear(self) -> None:
        """Take it off the screen, and what was typed with it."""
        self.close()
        if self._input is not None:
            self._input.value = ""
