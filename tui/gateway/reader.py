"""What the poller needs of a gateway: no more than reading, so that it could not change a server if it tried."""

from __future__ import annotations

from typing import Protocol

from tui.model.room import Dispatch, Participant
from tui.model.text import Name


class Reader(Protocol):
    """The reading half of `tui.gateway.client.Gateway`, with the same errors, and its counts of all requests."""

    @property
    def skew_s(self) -> float:
        """By how many seconds the server's clock is ahead of ours, as far as that is certain."""

    @property
    def requests_sent(self) -> int:
        """Requests of all kinds sent so far."""

    @property
    def requests_last_minute(self) -> int:
        """Requests of all kinds sent within the last 60 s."""

    async def list_room_messages(self) -> tuple[bytes, ...]:
        """All rooms, each as the message that came."""

    async def list_participants(self, room: Name) -> tuple[Participant, ...]:
        """Everyone in the room."""

    async def list_dispatches(self, room: Name) -> tuple[Dispatch, ...]:
        """The room's dispatches."""

    async def probe(self, room: Name, identity: Name) -> bool:
        """Whether the process behind a participant answers."""
