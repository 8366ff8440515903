"""Which rooms are ghosts: listed with everybody in them, and held by a node that answers nothing.

A cluster's lists come from Redis, and go on showing a dead node's rooms for ever; ListDispatch needs the node, and is
answered for every room that has one. Unanswered it is a 503, which alone proves nothing: a room that has just ended
looks the same, and so does Redis when it hangs. So it takes two in a row, with the room listed and read meanwhile;
while Redis is away no list is answered either (both seen on livekit-server 1.13.5).

Pure bookkeeping, as in `tui.gateway.schedule`. Times are seconds since 1970; rooms go by their SIDs.
"""

from __future__ import annotations

import math


class Ghosts:
    """Rooms that went unanswered once, and since when."""

    def __init__(self) -> None:
        self._doubts: dict[str, float] = {}
        self._outage_at = -math.inf

    def unanswered(self, sid: str, asked_at: float) -> float | None:
        """The room's node did not answer what it was asked at `asked_at`: since when it is a ghost, None if it isn't
        one yet."""
        if asked_at <= self._outage_at:
            return None
        since = self._doubts.setdefault(sid, asked_at)
        return since if since < asked_at else None

    def clear(self, sid: str) -> None:
        """The room's node answered, or the room is gone, or its lists can't be read either."""
        self._doubts.pop(sid, None)

    def outage(self, at: float) -> None:
        """The rooms could not be listed: what goes unanswered about now says nothing of a node."""
        self._doubts.clear()
        self._outage_at = at

    def is_doubted(self, sid: str) -> bool:
        """Whether the room went unanswered the last time."""
        return sid in self._doubts
