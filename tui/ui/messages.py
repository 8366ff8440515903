"""What happened, told to the screen. Past tense: a message is a fact, a command is an order."""

from __future__ import annotations

from textual.message import Message

from tui.model.snapshot import Snapshot


class SnapshotArrived(Message):
    """The poller has a new picture. A newer one replaces one that is still waiting."""

    def __init__(self, snapshot: Snapshot) -> None:
        super().__init__()
        self.snapshot = snapshot

    def can_replace(self, message: Message) -> bool:
        """Only the newest picture counts."""
        return isinstance(message, SnapshotArrived)


class LogChanged(Message):
    """Actions went on, ends of sessions are new, or more is known of them; the app has them. One stands for all."""

    def can_replace(self, message: Message) -> bool:
        """They are picked up together."""
        return isinstance(message, LogChanged)
