"""The history's file: an SQLite database that several lk-tui's share. What is in it, and how it is read and written.

It has no write-ahead log: that needs memory shared between its users, which a home directory on a network has not.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tui.history.codec import Json, action_from, action_json, close_from, close_json, close_json_over
from tui.history.errors import DamagedError, HistoryError, code, shown
from tui.history.merge import merged
from tui.model.action import ActionRecord
from tui.model.closes import CloseEvent

CLOSES_KEPT = 100_000
ACTIONS_KEPT = 20_000
KEPT_S = 90 * 86_400.0
"""How old what is kept may become, seconds."""
BYTES_KEPT = 512 * 1024 * 1024
"""Several times what so many closes take; where they take more, the oldest go."""
GIVEN_BACK = 2_000
"""Free pages that are given back to the disk at a time, 4 kB each."""
CLOCKS_S = 2 * 86_400.0
BUSY_S = 5.0
"""How long another's transaction is waited for. They take milliseconds."""
ROWS_AT_ONCE = 1_000
"""Rows that are read in one go: nobody can write meanwhile."""

APPLICATION_ID = 0x6C6B7475
"""`lktu`: SQLite files of others are left alone."""
MIGRATIONS = (
    """
    CREATE TABLE closes (
        project TEXT NOT NULL, sid TEXT NOT NULL, seen REAL NOT NULL, room TEXT NOT NULL, cause TEXT NOT NULL,
        version INTEGER NOT NULL, data TEXT NOT NULL, PRIMARY KEY (project, sid));
    CREATE INDEX closes_seen ON closes (seen);
    CREATE INDEX closes_version ON closes (version);
    CREATE TABLE actions (
        project TEXT NOT NULL, key TEXT NOT NULL, at REAL NOT NULL, data TEXT NOT NULL, PRIMARY KEY (project, key));
    CREATE INDEX actions_at ON actions (at);
    """,
)
"""Each takes a file from its place in this list to the next version (`PRAGMA user_version`).

`project` is the server's URL, `sid` the agent's participant SID, `key` tells the actions of all runs apart. `version`
numbers what is written in a file: a row has the number of its last change. `data` is JSON (docs/closes-json.md).
"""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which closes are read: seen `since` (seconds since 1970) or later, in rooms whose name holds `room`, of these
    causes (none: all), of this project (empty: all)."""

    since: float = 0.0
    room: str = ""
    causes: frozenset[str] = frozenset()
    project: str = ""


@dataclass(frozen=True, slots=True)
class Kept:
    """A close as the file has it, and of which server it is, by its URL."""

    project: str
    event: CloseEvent


def default_path() -> Path:
    """`history.db` in the platform's folder for state."""
    from platformdirs import user_state_path

    return user_state_path("lk-tui") / "history.db"


# Opening


def open_to_write(path: Path) -> sqlite3.Connection:
    """The file, made and brought up to date where needed. Raises HistoryError, sqlite3.Error and OSError.

    A new one can be read by its owner alone.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        # One that is there is not opened: to close it again would undo this process's other locks on it (POSIX).
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    file = _open(path, "rw")
    try:
        if _version(file, path) < len(MIGRATIONS):
            _migrate(file, path)
    except BaseException:
        file.close()
        raise
    return file


def open_to_read(path: Path) -> sqlite3.Connection:
    """The file, for reading. Raises HistoryError and sqlite3.Error."""
    try:
        return _open(path, "ro")
    except sqlite3.Error as error:
        if code(error) != sqlite3.SQLITE_READONLY:
            raise
    # Whoever wrote it was killed, and SQLite must undo the half of its last transaction first.
    return _open(path, "rw")


def _open(path: Path, mode: str) -> sqlite3.Connection:
    file = connect(path, mode)
    try:
        if _version(file, path) == len(MIGRATIONS):
            # Whether the tables are as they were made.
            file.execute("SELECT project, sid, seen, room, cause, version, data FROM closes LIMIT 0")
            file.execute("SELECT project, key, at, data FROM actions LIMIT 0")
    except BaseException as error:
        file.close()
        # A name in which bytes have changed comes as an error of either kind.
        if isinstance(error, UnicodeDecodeError) or code(error) == sqlite3.SQLITE_ERROR:
            raise DamagedError(f"{shown(path)} is damaged") from None
        raise
    return file


def connect(path: Path, mode: str) -> sqlite3.Connection:
    """The file as it is, unseen. `mode` is SQLite's own: `ro`, `rw`. Raises HistoryError and sqlite3.Error."""
    if path.is_dir():
        raise HistoryError(f"{shown(path)} is a folder: name a file with --history")
    where = f"{path.absolute().as_uri()}?mode={mode}"
    file = sqlite3.connect(where, uri=True, timeout=BUSY_S, isolation_level=None)
    # A text in which bytes have changed must cost that text, not the history.
    file.text_factory = lambda raw: raw.decode("utf-8", "replace")
    return file


def _version(file: sqlite3.Connection, path: Path) -> int:
    """The file's version, 0 for an empty one. Raises HistoryError for one that isn't ours, or is newer than this."""
    # Asked first: another lk-tui may be making the file just now, all at once.
    empty = _is_empty(file)
    (whose,) = file.execute("PRAGMA application_id").fetchone()
    (version,) = file.execute("PRAGMA user_version").fetchone()
    if whose != APPLICATION_ID and not empty:
        raise HistoryError(f"{shown(path)} is another program's database: choose another file with --history")
    if version > len(MIGRATIONS):
        raise HistoryError(f"{shown(path)} was written by a newer lk-tui: update this one, or choose another --history")
    return int(version)


def _is_empty(file: sqlite3.Connection) -> bool:
    return bool(file.execute("SELECT count(*) FROM sqlite_schema").fetchone() == (0,))


def _migrate(file: sqlite3.Connection, path: Path) -> None:
    if _is_empty(file):
        file.execute("PRAGMA auto_vacuum = INCREMENTAL")
    file.execute("BEGIN IMMEDIATE")
    with file:
        # Asked again: another lk-tui may have been quicker.
        version = _version(file, path)
        for number, script in enumerate(MIGRATIONS[version:], version + 1):
            for statement in filter(str.strip, script.split(";")):
                file.execute(statement)
            file.execute(f"PRAGMA user_version = {number}")
        file.execute(f"PRAGMA application_id = {APPLICATION_ID}")


def check(file: sqlite3.Connection, path: Path) -> None:
    """Look the whole file through. Raises DamagedError, and sqlite3.DatabaseError."""
    if file.execute("PRAGMA integrity_check(1)").fetchone() != ("ok",):
        raise DamagedError(f"{shown(path)} is damaged")


# Writing


def write(
    file: sqlite3.Connection,
    project: str,
    closes: Mapping[str, CloseEvent],
    actions: Mapping[str, ActionRecord],
    now: float,
) -> None:
    """Keep these closes, by participant SID, and actions, by key: all of them or none. Raises sqlite3.Error.

    Another lk-tui may have seen more of the same close: the file keeps what either knows.
    """
    file.execute("BEGIN IMMEDIATE")
    with file:
        version = newest_version(file)
        for sid, event in closes.items():
            version += _write_close(file, project, sid, event, version + 1, now)
        for key, record in actions.items():
            file.execute(
                "INSERT INTO actions (project, key, at, data) VALUES (?, ?, ?, ?)"
                " ON CONFLICT DO UPDATE SET data = excluded.data",
                (project, key, record.at, json.dumps(action_json(record))),
            )


def _write_close(file: sqlite3.Connection, project: str, sid: str, event: CloseEvent, version: int, now: float) -> bool:
    """Whether it was news."""
    row = file.execute("SELECT data FROM closes WHERE project = ? AND sid = ?", (project, sid)).fetchone()
    told = close_json(event)
    if row is not None and (found := close_of(row[0])) is not None:
        said, kept = found
        # In the form in which it comes from the file: times there have milliseconds.
        event = merged(kept, close_from(told), now)
        if event == kept:
            return False
        told = close_json_over(said, event)
    # An agent's clock may be years off, and what it says must not decide how long this is kept.
    seen = min(now, max(now - CLOCKS_S, event.seen))
    file.execute(
        "INSERT INTO closes (project, sid, seen, room, cause, version, data) VALUES (?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT DO UPDATE SET cause = excluded.cause, version = excluded.version, data = excluded.data",
        (project, sid, seen, event.room.safe, event.cause.value, version, json.dumps(told)),
    )
    return True


def prune(file: sqlite3.Connection, now: float) -> None:
    """Remove what is too old or too much. Raises sqlite3.Error."""
    file.execute("BEGIN IMMEDIATE")
    with file:
        too_many = file.execute("SELECT seen FROM closes ORDER BY seen DESC LIMIT 1 OFFSET ?", (CLOSES_KEPT - 1,))
        oldest = max(now - KEPT_S, *(seen for (seen,) in too_many), 0.0)
        if _bytes(file) > BYTES_KEPT:
            tenth = "SELECT seen FROM closes ORDER BY seen LIMIT 1 OFFSET (SELECT count(*) / 10 FROM closes)"
            oldest = max(oldest, *(seen for (seen,) in file.execute(tenth)), 0.0)
        # The newest number stays, so that none is given out twice.
        file.execute("DELETE FROM closes WHERE seen < ? AND version < (SELECT max(version) FROM closes)", (oldest,))
        too_many = file.execute("SELECT at FROM actions ORDER BY at DESC LIMIT 1 OFFSET ?", (ACTIONS_KEPT - 1,))
        file.execute("DELETE FROM actions WHERE at < ?", (max(now - KEPT_S, *(at for (at,) in too_many), 0.0),))
    # As a script: it has a step for every page, of which `execute` takes only the first.
    file.executescript(f"PRAGMA incremental_vacuum({GIVEN_BACK})")


def _bytes(file: sqlite3.Connection) -> int:
    """How much of the file is in use."""
    found = (file.execute(f"PRAGMA {name}").fetchone() for name in ("page_size", "page_count", "freelist_count"))
    size, pages, free = (number for (number,) in found)
    return int(size * (pages - free))


# Reading


def read_closes(file: sqlite3.Connection, wanted: Wanted) -> Iterator[Kept]:
    """The closes that are wanted, in the order in which they became known. Raises sqlite3.Error."""
    place: tuple[float, int] = (wanted.since, 0)
    while not _is_empty(file):
        rows = file.execute(
            "SELECT seen, rowid, project, room, cause, data FROM closes WHERE (seen, rowid) > (?, ?)"
            " AND (? = '' OR project = ?) ORDER BY seen, rowid LIMIT ?",
            (*place, wanted.project, wanted.project, ROWS_AT_ONCE),
        ).fetchall()
        yield from _wanted((row[2:] for row in rows), wanted)
        if len(rows) < ROWS_AT_ONCE:
            return
        place = rows[-1][:2]


def changed_closes(file: sqlite3.Connection, wanted: Wanted, after: int) -> list[Kept]:
    """Those of the closes that are wanted that were written since `newest_version` was `after`, in that order. Raises
    sqlite3.Error."""
    rows = file.execute(
        "SELECT project, room, cause, data FROM closes WHERE version > ? AND seen >= ?"
        " AND (? = '' OR project = ?) ORDER BY version",
        (after, wanted.since, wanted.project, wanted.project),
    ).fetchall()
    return list(_wanted(rows, wanted))


def _wanted(rows: Iterable[tuple[str, str, str, str]], wanted: Wanted) -> Iterator[Kept]:
    for project, room, cause, data in rows:
        if wanted.room.casefold() not in str(room).casefold() or (wanted.causes and cause not in wanted.causes):
            continue
        if (found := close_of(data)) is not None:
            yield Kept(project, found[1])


def newest_closes(file: sqlite3.Connection, project: str, since: float, limit: int) -> list[CloseEvent]:
    """The newest closes of this project, at most `limit`, in the order in which they became known. Raises
    sqlite3.Error."""
    rows = file.execute(
        "SELECT data FROM closes WHERE project = ? AND seen >= ? ORDER BY seen DESC, rowid DESC LIMIT ?",
        (project, since, limit),
    ).fetchall()
    return [found[1] for (data,) in reversed(rows) if (found := close_of(data)) is not None]


def newest_actions(file: sqlite3.Connection, project: str, since: float, limit: int) -> list[ActionRecord]:
    """The newest actions of this project, at most `limit`, oldest first, under negative ids: those of this run count
    from 1. Raises sqlite3.Error."""
    rows = file.execute(
        "SELECT rowid, data FROM actions WHERE project = ? AND at >= ? ORDER BY at DESC, rowid DESC LIMIT ?",
        (project, since, limit),
    ).fetchall()
    return [found[1] for rowid, data in reversed(rows) if (found := action_of(data, -rowid)) is not None]


def several_projects(file: sqlite3.Connection) -> bool:
    """Whether there are closes of more than one server. Raises sqlite3.Error."""
    (answer,) = file.execute("SELECT (SELECT min(project) FROM closes) < (SELECT max(project) FROM closes)").fetchone()
    return bool(answer)


def newest_version(file: sqlite3.Connection) -> int:
    """A number that grows with every close that is written. Raises sqlite3.Error."""
    return int(file.execute("SELECT coalesce(max(version), 0) FROM closes").fetchone()[0])


def close_of(data: str) -> tuple[Json, CloseEvent] | None:
    """The close that is written there, as JSON and as itself; None where it can't be read: a byte may have changed."""
    try:
        said = json.loads(data)
        return said, close_from(said)
    except (ValueError, TypeError, RecursionError):
        return None


def action_of(data: str, record_id: int) -> tuple[Json, ActionRecord] | None:
    """The action that is written there, as JSON and as itself; None where it can't be read."""
    try:
        said = json.loads(data)
        return said, action_from(said, record_id)
    except (ValueError, TypeError, RecursionError):
        return None
