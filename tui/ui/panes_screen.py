"""What the screens have in common: panes that one goes round, taking turns on a small terminal, and actions."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

from textual import events
from textual.screen import Screen
from textual.widgets._toast import ToastHolder

from tui.ui.commands import On

if TYPE_CHECKING:
    from tui.model.snapshot import Snapshot
    from tui.ui.app import Supervisor
    from tui.ui.asking import Asking


class PanesScreen(Screen[None]):
    """A screen of `PANES`, each in `#NAME-pane`; what takes the focus in it is that itself, or `#NAME`.

    On a terminal under `COMPACT` (columns, rows) the panes of `TURNS` share one place: the one that had the focus last
    has the class `-shown`, and the screen the class `-compact`.
    """

    app: Supervisor
    KIND: ClassVar[On]
    PANES: ClassVar[tuple[str, ...]]
    TURNS: ClassVar[tuple[str, ...]]
    COMPACT: ClassVar[tuple[int, int]]

    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__()
        self._clock = clock
        self._turn = self.TURNS[0]

    @cached_property
    def _asking(self) -> Asking:
        # As all dialogs: not before one is wanted.
        from tui.ui.asking import Asking

        return Asking(self.app, self._clock)

    def _say(self, words: str, *, calm: bool = False) -> None:
        self._asking.say(words, calm=calm)

    def on_screen_suspend(self) -> None:
        """A dialog is opened: let go what toasts have left that went while the last one lay over them.

        Textual takes such a toast away, but not what holds it (8.2.8, `ToastRack.show`).
        """
        for holder in self.query(ToastHolder):
            if not holder.children:
                holder.remove()

    def picture_changed(self, snapshot: Snapshot) -> None:
        """A newer picture arrived."""

    # Panes

    def on_resize(self, event: events.Resize) -> None:
        """A small screen shows one pane of some at a time."""
        columns, rows = self.COMPACT
        self.set_class(event.size.width < columns or event.size.height < rows, "-compact")
        self._mark_pane()
        self.call_after_refresh(self._resized)

    def _resized(self) -> None:
        """Write anew what depends on the size."""

    def on_descendant_focus(self) -> None:
        """The pane with the focus is the one that a small screen shows."""
        self._take_turn(self._focused_pane())

    def _take_turn(self, pane: str) -> None:
        if pane in self.TURNS:
            self._turn = pane
        self._mark_pane()

    def _mark_pane(self) -> None:
        for pane in self.TURNS:
            self.query_one(f"#{pane}-pane").set_class(pane == self._turn, "-shown")

    def _focused_pane(self) -> str:
        focused = self.focused
        for pane in self.PANES:
            if focused is not None and self.query_one(f"#{pane}-pane") in focused.ancestors_with_self:
                return pane
        return self.PANES[0]

    def _focus_pane(self, pane: str) -> None:
        self._take_turn(pane)
        container = self.query_one(f"#{pane}-pane")
        # Not widget.focus(), which waits its turn: keys typed right behind would still go to the old pane.
        self.set_focus(container if container.can_focus else self.query_one(f"#{pane}"))

    def action_next_pane(self, by: int) -> None:
        """Go round the panes."""
        index = self.PANES.index(self._focused_pane())
        self._focus_pane(self.PANES[(index + by) % len(self.PANES)])

    # Commands

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002
        """Read-only has no changing commands at all; the gateway refuses them besides."""
        return not (action in ("act", "stop_actions") and self.app.where.read_only)

    def action_stop_actions(self) -> None:
        """Stop what is running, between two steps."""
        self._asking.stop()

    def action_help(self) -> None:
        """The keys, the actions and the signs."""
        from tui.ui.dialogs import DetailDialog, help_page

        self.app.push_screen(DetailDialog("lk-tui help", help_page))
