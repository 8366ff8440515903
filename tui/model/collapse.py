"""Most rooms gone at once: a server that was restarted, a network that is cut, a script gone wild. Never calm. Pure."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from tui.model.room import Room

LEAST = 3
"""Rooms: fewer may well end together by chance."""
NEWS_S = 600.0
"""How long it is said."""
AT_ONCE_S = 30.0
"""Two pictures that are farther apart don't show that it was all at once."""


@dataclass(frozen=True, slots=True)
class Collapse:
    """`gone` of `rooms` rooms, with the people last seen in them, between two pictures (seconds since 1970)."""

    since: float
    at: float
    gone: int
    rooms: int
    people: int

    def is_news(self, now: float) -> bool:
        """Whether it is still to be said."""
        return now - self.at < NEWS_S


def collapse(
    before: Mapping[str, Room], since: float, after: Mapping[str, Room], at: float, expected: Collection[str] = ()
) -> Collapse | None:
    """Whether most of the rooms, by SID, of one good picture are missing from the next one.

    `since` and `at` are when the two were listed. `expected` are the SIDs of rooms that were ended from here.
    """
    if before is after:
        return None
    gone = before.keys() - after.keys() - set(expected)
    if len(gone) < LEAST or 2 * len(gone) < len(before):
        return None
    return Collapse(since, at, len(gone), len(before), sum(before[sid].people_count for sid in gone))


def collapse_words(what: Collapse) -> str:
    """`342 of 342 rooms gone at once at 12:03, with 611 people`, in local time."""
    until = _minute(what.at)
    when = f"at once at {until}" if what.at - what.since <= AT_ONCE_S else f"between {_minute(what.since)} and {until}"
    people = f", with {what.people:,} {'person' if what.people == 1 else 'people'}" if what.people else ""
    return f"{what.gone:,} of {what.rooms:,} rooms gone {when}{people}"


def _minute(at: float) -> str:
    return time.strftime("%H:%M", time.localtime(at))
