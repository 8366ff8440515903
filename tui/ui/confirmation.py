"""What every confirmation has in common: a frozen plan, over a picture that goes on changing."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import TypeVar

from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from tui.model.snapshot import Snapshot

Answer = TypeVar("Answer")


class Confirmation(ModalScreen[Answer]):
    """Says what will happen to what, and in `#checked` how old that knowledge is and what has changed since.

    What happens to the picture meanwhile can only take the confirmation away, never change its target.
    """

    def __init__(self, project: str, snapshot: Snapshot, clock: Callable[[], float]) -> None:
        super().__init__()
        self._project = project
        self._snapshot = snapshot
        self._clock = clock

    def on_mount(self) -> None:
        """The age of the data goes on counting."""
        self._say_age()
        self.set_interval(1.0, self._say_age)

    def picture_changed(self, snapshot: Snapshot) -> None:
        """A newer picture: what is gone in it can't be confirmed any more."""
        self._snapshot = snapshot
        # It may come while the dialog is on its way: then it is looked at as soon as there is something to write on.
        if snapshot.failure is None and self.is_mounted:
            self._say_age()

    def _say_age(self) -> None:
        self.query_one("#checked", Static).update(self._checked())

    @abstractmethod
    def _checked(self) -> Content:
        """How old the data behind the plan is, or that its target is gone."""
