"""A damaged file: set aside, never thrown away, and what can still be read of it saved into a new one."""

from __future__ import annotations

import contextlib
import fcntl
import sqlite3
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from tui.history.file import ROWS_AT_ONCE, action_of, close_of, connect, newest_version


def set_aside(path: Path, inode: int, now: float) -> Path | None:
    """Rename the file to NAME-damaged-DATE, and its journal with it; return the new path. Raises OSError.

    None where the file there is not the one with this inode any more: another lk-tui was quicker.
    """
    with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
        with contextlib.suppress(OSError):
            # One after the other, or the second would rename what the first has begun. Not every file system can.
            fcntl.flock(file, fcntl.LOCK_EX)
        if path.stat().st_ino == inode:
            aside = _free_name(path, now)
            path.rename(aside)
            with contextlib.suppress(FileNotFoundError):
                _journal(path).rename(_journal(aside))
            return aside
    return None


def _free_name(path: Path, now: float) -> Path:
    stamp = time.strftime("%Y%m%d-%H%M%S", time.localtime(now))
    stem = f"{path.stem}-damaged-{stamp}"
    aside = path.with_name(f"{stem}{path.suffix}")
    number = 1
    while aside.exists():
        number += 1
        aside = path.with_name(f"{stem}-{number}{path.suffix}")
    return aside


def _journal(path: Path) -> Path:
    """Where SQLite keeps what it needs to undo half a transaction."""
    return path.with_name(f"{path.name}-journal")


_CLOSES = (
    "SELECT project, sid, seen, data FROM closes NOT INDEXED ORDER BY rowid",
    "SELECT project, sid, seen, data FROM closes NOT INDEXED ORDER BY rowid DESC",
)
_ACTIONS = (
    "SELECT project, key, at, data FROM actions NOT INDEXED ORDER BY rowid",
    "SELECT project, key, at, data FROM actions NOT INDEXED ORDER BY rowid DESC",
)
"""From both ends: what is damaged may be in the middle."""


def rescue(aside: Path, file: sqlite3.Connection, now: float) -> int:
    """Save what can be read of the file at `aside` into `file`; how many closes that were. Raises sqlite3.Error where
    `file` can't be written."""
    saved = 0
    for query in _CLOSES:
        rows = _readable(aside, query)
        while some := list(islice(rows, ROWS_AT_ONCE)):
            saved += _save_closes(file, some, now)
    for query in _ACTIONS:
        rows = _readable(aside, query)
        while some := list(islice(rows, ROWS_AT_ONCE)):
            _save_actions(file, some)
    return saved


def _readable(aside: Path, query: str) -> Iterator[Any]:
    """The rows up to the first that can't be read."""
    with (
        contextlib.suppress(sqlite3.Error, UnicodeDecodeError),
        contextlib.closing(connect(aside, "ro&immutable=1")) as file,
    ):
        yield from file.execute(query)


def _save_closes(file: sqlite3.Connection, rows: list[Any], now: float) -> int:
    saved = 0
    file.execute("BEGIN IMMEDIATE")
    with file:
        version = newest_version(file)
        for project, sid, seen, data in rows:
            if (found := close_of(data)) is None:
                continue
            _, event = found
            known_at = seen if isinstance(seen, float) and 0 < seen < now else now
            saved += file.execute(
                "INSERT OR IGNORE INTO closes (project, sid, seen, room, cause, version, data)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                (project, sid, known_at, event.room.safe, event.cause.value, version + saved + 1, data),
            ).rowcount
    return saved


def _save_actions(file: sqlite3.Connection, rows: list[Any]) -> None:
    file.execute("BEGIN IMMEDIATE")
    with file:
        for row in rows:
            if action_of(row[-1], 0) is not None:
                file.execute("INSERT OR IGNORE INTO actions (project, key, at, data) VALUES (?, ?, ?, ?)", row)
