"""Work on thousands of rooms, in slices of a millisecond or two: a key takes several turns of the event loop, and is
answered in between."""

from __future__ import annotations

CHANGED = 8
"""Rooms in a slice that have changed, and have to be worked out anew."""
GLANCES = 64
"""To work one out takes about as long as so many glances at rooms that have not changed."""


class Slices:
    """Counts what was done, and tells where a slice ends."""

    def __init__(self) -> None:
        self._left = CHANGED * GLANCES

    def ends(self, *, changed: bool) -> bool:
        """After each room: whether the slice ends with it."""
        self._left -= GLANCES if changed else 1
        if self._left > 0:
            return False
        self._left = CHANGED * GLANCES
        return True
