"""`lk-tui closes`: the history as text or JSON, without the dashboard and without a server.

The JSON is a documented contract (docs/closes-json.md).
"""

from __future__ import annotations

import json
import re
import select
import sqlite3
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from tui.history.codec import close_json
from tui.history.errors import HistoryError, code, in_words
from tui.history.file import (
    Kept,
    Wanted,
    changed_closes,
    newest_version,
    open_to_read,
    read_closes,
    several_projects,
)
from tui.model.causes import Cause
from tui.model.close_phrases import close_words
from tui.model.phrases import span
from tui.model.text import safe_text

FOLLOW_EVERY_S = 0.25


def causes_of(text: str) -> frozenset[str]:
    """The causes that `text` names: one of them, or all with these words in them, as `operator` or `room deleted`.
    Raises ValueError, in words, where there is none."""
    words = "_".join(re.split(r"[\s_-]+", text.strip().lower()))
    exact = [cause.value for cause in Cause if cause.value == words]
    found = exact or [cause.value for cause in Cause if f"_{words}_" in f"_{cause.value}_"]
    if not found:
        listed = ", ".join(cause.value for cause in Cause)
        raise ValueError(f"--cause {safe_text(text)}: none is called that; there are {listed}, and the words in these")
    return frozenset(found)


def is_there(path: Path) -> bool:
    """Whether there is a history at all. Raises HistoryError where that can't be told."""
    try:
        return path.stat().st_size > 0
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise HistoryError(in_words(error, path)) from None


def read(path: Path, wanted: Wanted) -> Iterator[Kept]:
    """The closes that are wanted, oldest first; none where there is no history yet. Raises HistoryError."""
    if not is_there(path):
        return
    try:
        with closing(open_to_read(path)) as file:
            yield from read_closes(file, wanted)
    except sqlite3.Error as error:
        raise HistoryError(in_words(error, path)) from None


def holds_several(path: Path) -> bool:
    """Whether the closes of more than one server are kept there. Raises HistoryError."""
    if not is_there(path):
        return False
    try:
        with closing(open_to_read(path)) as file:
            return several_projects(file)
    except sqlite3.Error as error:
        raise HistoryError(in_words(error, path)) from None


# Following


def wait_while_read(seconds: float) -> bool:
    """Wait so long; False as soon as nobody reads standard output any more."""
    try:
        poll = select.poll()
        poll.register(sys.stdout.fileno(), 0)
    except (AttributeError, OSError):
        # No poll on this platform, or no file behind standard output.
        time.sleep(seconds)
        return True
    return not poll.poll(seconds * 1000)


def follow(path: Path, wanted: Wanted, wait: Callable[[float], bool] = wait_while_read) -> Iterator[Kept]:
    """The closes that are wanted, then every one that is new or of which more became known, until `wait` says no.

    One that was shown is shown again when its cause is no longer among those that are wanted: nobody shall go on
    believing it. A history that is not there yet, or is replaced, is waited for. Raises HistoryError.
    """
    follower = _Follower(path, wanted)
    try:
        yield from follower.news()
        while wait(FOLLOW_EVERY_S):
            yield from follower.news()
    finally:
        follower.shut()


class _Follower:
    def __init__(self, path: Path, wanted: Wanted) -> None:
        self._path = path
        self._of_any_cause = replace(wanted, causes=frozenset())
        self._causes = wanted.causes
        self._shown: dict[tuple[str, str], int] = {}
        self._file: sqlite3.Connection | None = None
        self._inode = 0
        self._commits = 0
        self._version = 0

    def news(self) -> Iterator[Kept]:
        """What is new or has changed since it was called last."""
        try:
            yield from filter(self._is_news, self._changed())
        except FileNotFoundError:
            # Taken away just now.
            self.shut()
        except sqlite3.Error as error:
            self.shut()
            if code(error) not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED) and is_there(self._path):
                raise HistoryError(in_words(error, self._path)) from None

    def shut(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _changed(self) -> Iterator[Kept]:
        if not is_there(self._path):
            return
        file = self._opened()
        (commits,) = file.execute("PRAGMA data_version").fetchone()
        if commits == self._commits:
            return
        # Before the rows: what is written meanwhile comes again next time.
        version = newest_version(file)
        if self._version:
            yield from changed_closes(file, self._of_any_cause, self._version)
        else:
            yield from read_closes(file, self._of_any_cause)
        self._commits, self._version = commits, version

    def _opened(self) -> sqlite3.Connection:
        inode = self._path.stat().st_ino
        if self._file is None or inode != self._inode:
            self.shut()
            if inode != self._inode:
                self._version = 0
            self._file, self._inode, self._commits = open_to_read(self._path), inode, 0
        return self._file

    def _is_news(self, kept: Kept) -> bool:
        key, mark = (kept.project, kept.event.participant_sid), hash(kept.event)
        if self._shown.get(key) == mark:
            return False
        if key not in self._shown and self._causes and kept.event.cause.value not in self._causes:
            return False
        self._shown[key] = mark
        return True


# As text and as JSON


def as_json(closes: Iterable[Kept]) -> Iterator[str]:
    """All of them as one JSON array, line by line."""
    last = ""
    for kept in closes:
        yield f"{last}," if last else "["
        last = json.dumps(_document(kept), indent=2)
    yield f"{last}\n]" if last else "[]"


def as_json_line(kept: Kept) -> str:
    """One of them as one line of JSON."""
    return json.dumps(_document(kept))


def _document(kept: Kept) -> Mapping[str, Any]:
    return {**close_json(kept.event), "project": kept.project}


def as_line(kept: Kept, *, server: bool = False) -> str:
    """One of them as a line of text: when, where, who, why, after how long, by whom, and on which server if asked."""
    event = kept.event
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(event.at))
    words = f"{when}  {event.room.safe:<20}  {event.agent:<12}  {close_words(event)}  after {span(event.duration)}"
    by = f"  by {event.by}" if event.by else ""
    return words + by + (f"  on {safe_text(kept.project)}" if server else "")
