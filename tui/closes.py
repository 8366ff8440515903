"""`lk-tui closes`: the history as text or JSON, without the dashboard and without a server.

The JSON is a documented contract (docs/closes-json.md).
"""

from __future__ import annotations

import json
import re
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

from tui.history.codec import close_json
from tui.history.store import HistoryError, Wanted, newest_version, open_to_read, read_closes
from tui.model.causes import Cause
from tui.model.close_phrases import close_words
from tui.model.closes import CloseEvent
from tui.model.phrases import span

FOLLOW_EVERY_S = 0.25
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}


def seconds_of(text: str) -> float:
    """`90s`, `15m`, `1h`, `2d` or `1w` in seconds. Raises ValueError, in words, for anything else."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhdw])", text.strip().lower())
    if found is None:
        raise ValueError("a number and a unit are wanted: 90s, 15m, 1h, 2d or 1w")
    return float(found[1]) * _UNITS[found[2]]


def causes_of(text: str) -> frozenset[str]:
    """The causes that `text` names: one of them, or a word in them, as `operator` or `room`. Raises ValueError."""
    word = text.strip().lower().replace("-", "_").replace(" ", "_")
    exact = [cause.value for cause in Cause if cause.value == word]
    found = exact or [cause.value for cause in Cause if word and word in cause.value]
    if not found:
        raise ValueError(f"no cause is called that; there are: {', '.join(cause.value for cause in Cause)}")
    return frozenset(found)


def read(path: Path, wanted: Wanted) -> list[CloseEvent]:
    """The closes that are wanted, oldest first; none where there is no history yet. Raises HistoryError."""
    if not path.exists():
        return []
    try:
        with closing(open_to_read(path)) as file:
            return [event for _, event in read_closes(file, wanted)]
    except sqlite3.Error as error:
        raise HistoryError(f"{path} can't be read: {error}") from None


def follow(path: Path, wanted: Wanted, wait: Callable[[float], object] = time.sleep) -> Iterator[CloseEvent]:
    """The closes that are wanted, then for ever every one that is new or of which more became known.

    A history that is not there yet, or is replaced, is waited for. Raises HistoryError for one that can't be used.
    """
    version, inode = 0, 0
    while True:
        if path.exists():
            if path.stat().st_ino != inode:
                version, inode = 0, path.stat().st_ino
            try:
                with closing(open_to_read(path)) as file:
                    # One transaction, so that nothing is written between the two.
                    file.execute("BEGIN")
                    newest = newest_version(file)
                    news = [event for _, event in read_closes(file, wanted, after_version=version)]
            except sqlite3.OperationalError:
                # Locked, or not made whole yet.
                news = []
            else:
                version = newest
            yield from news
        wait(FOLLOW_EVERY_S)


def as_json(events: Sequence[CloseEvent]) -> str:
    """All of them as one JSON array."""
    return json.dumps([close_json(event) for event in events], indent=2)


def as_json_line(event: CloseEvent) -> str:
    """One of them as one line of JSON."""
    return json.dumps(close_json(event))


def as_line(event: CloseEvent) -> str:
    """One of them as a line of text: when, where, who, why, by whom, after how long."""
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(event.at))
    by = f"  by {event.by}" if event.by else ""
    return f"{when}  {event.room.safe}  {event.agent}  {close_words(event)}{by}  after {span(event.duration)}"
