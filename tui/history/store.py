"""The history's file: SQLite, written by one thread of its own, shared by several lk-tui's.

Nothing here is ever in the dashboard's way: what can't be written is kept and tried again, and said.
"""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from tui.history.codec import action_from, action_json, close_from, close_json
from tui.model.action import ActionRecord, Outcome
from tui.model.closes import CloseEvent
from tui.model.evidence import SourceStatus
from tui.model.text import safe_text

CLOSES_KEPT = 100_000
ACTIONS_KEPT = 20_000
KEPT_S = 90 * 86_400.0
"""How old what is kept may become, seconds."""
UNWRITTEN_KEPT = 20_000
"""Entries that wait for a disk that is full, or a file that is locked, at most."""
BUSY_S = 5.0
"""How long another lk-tui's transaction is waited for. They take milliseconds."""
RETRY_S = 2.0
FLUSH_S = 2.0
"""How long the program's end waits for the last entries."""
PRUNE_EVERY = 500
"""Entries written between two looks for what is too old or too many."""

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
"""Each takes a file from its place in this list to the next version (`PRAGMA user_version`)."""

Entry = CloseEvent | ActionRecord


class HistoryError(Exception):
    """The history can't be used; one line that says why and what to do."""


class DamagedError(HistoryError):
    """The file is not a sound history: it can be set aside."""


def default_path() -> Path:
    """`history.db` in the platform's folder for state."""
    from platformdirs import user_state_path

    return user_state_path("lk-tui") / "history.db"


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which closes are read: seen `since` (seconds since 1970) or later, in rooms whose name holds `room`, of these
    causes (none: all), of this project (empty: all)."""

    since: float = 0.0
    room: str = ""
    causes: frozenset[str] = frozenset()
    project: str = ""


class History:
    """Writes what it is given into `path`, for one project. Nothing is opened before there is something to write.

    `project` tells servers apart in a file that serves for all of them.
    """

    def __init__(self, path: Path, project: str, *, clock: Callable[[], float] = time.time) -> None:
        self.path = path
        self._project = project
        self._clock = clock
        self._run = uuid.uuid4().hex
        self._unwritten: dict[str, Entry] = {}
        self._dropped = 0
        self._written = 0
        self._trouble = ""
        self._note = ""
        self._changed = threading.Condition()
        self._ending = False
        self._thread: threading.Thread | None = None
        self._file: sqlite3.Connection | None = None
        self._inode = 0

    @property
    def status(self) -> SourceStatus:
        """Whether all that was given is kept, and where."""
        with self._changed:
            waiting, trouble, note, dropped = len(self._unwritten), self._trouble, self._note, self._dropped
        if trouble:
            lost = f", {dropped:,} lost" if dropped else ""
            return SourceStatus("history", on=False, words=f"{trouble}; {waiting:,} waiting{lost}", trouble=True)
        return SourceStatus("history", on=True, words=note or safe_text(str(self.path), 4096))

    def record(self, closes: Iterable[CloseEvent]) -> None:
        """Keep these closes, each in its newest form. Returns at once."""
        self._take({f"close {event.participant_sid}": event for event in closes})

    def record_action(self, record: ActionRecord) -> None:
        """Keep this action, in its newest form. Returns at once."""
        self._take({f"action {record.id}": record})

    async def recent(self, seconds: float, limit: int) -> tuple[list[CloseEvent], list[ActionRecord]]:
        """What became known in the last so many seconds, at most `limit` of each, oldest first; nothing where the file
        can't be read: writing will say why."""
        since = self._clock() - seconds

        def read() -> tuple[list[CloseEvent], list[ActionRecord]]:
            try:
                with closing(open_to_read(self.path)) as file:
                    wanted = Wanted(since=since, project=self._project)
                    return [event for _, event in read_closes(file, wanted, limit=limit)], _read_actions(
                        file, self._project, since, limit
                    )
            except (HistoryError, sqlite3.Error, OSError):
                return [], []

        return await asyncio.to_thread(read)

    async def close(self) -> None:
        """Write what is left, within some seconds, and end."""
        with self._changed:
            self._ending = True
            self._changed.notify()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join, FLUSH_S)

    def _take(self, entries: dict[str, Entry]) -> None:
        if not entries:
            return
        with self._changed:
            for key, entry in entries.items():
                self._unwritten.pop(key, None)
                self._unwritten[key] = entry
            while len(self._unwritten) > UNWRITTEN_KEPT:
                del self._unwritten[next(iter(self._unwritten))]
                self._dropped += 1
            self._changed.notify()
            if self._thread is None:
                self._thread = threading.Thread(target=self._write_all, name="history", daemon=True)
                self._thread.start()

    # On its own thread

    def _write_all(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._unwritten or self._ending)
                batch, self._unwritten = self._unwritten, {}
                last = self._ending
            try:
                if batch:
                    self._write(batch)
                trouble = ""
            except (HistoryError, sqlite3.Error, OSError) as error:
                self._shut()
                trouble = _in_words(error, self.path)
            with self._changed:
                self._trouble = trouble
                if trouble:
                    # What came meanwhile is newer.
                    self._unwritten = batch | self._unwritten
                    if not last:
                        self._changed.wait_for(lambda: self._ending, RETRY_S)
                if last and (trouble or not self._unwritten):
                    break
        self._shut()

    def _write(self, batch: dict[str, Entry]) -> None:
        try:
            self._write_into(self._opened(), batch)
        except (DamagedError, sqlite3.DatabaseError) as error:
            if not _is_damage(error):
                raise
            self._set_aside()
            self._write_into(self._opened(), batch)

    def _write_into(self, file: sqlite3.Connection, batch: dict[str, Entry]) -> None:
        file.execute("BEGIN IMMEDIATE")
        with file:
            (version,) = file.execute("SELECT coalesce(max(version), 0) FROM closes").fetchone()
            for key, entry in batch.items():
                if isinstance(entry, CloseEvent):
                    version += 1
                    self._write_close(file, entry, version)
                else:
                    row = (self._project, f"{self._run} {key}", entry.at, json.dumps(action_json(entry)))
                    file.execute("INSERT OR REPLACE INTO actions VALUES (?, ?, ?, ?)", row)
            before, self._written = self._written, self._written + len(batch)
            if before == 0 or before // PRUNE_EVERY != self._written // PRUNE_EVERY:
                _prune(file, self._clock())
        # Outside the transaction; it gives pages of what was pruned back to the disk.
        file.execute("PRAGMA incremental_vacuum(256)")

    def _write_close(self, file: sqlite3.Connection, event: CloseEvent, version: int) -> None:
        """Another lk-tui may have seen more of the same close: both keep what either knows."""
        sid = event.participant_sid
        where = (self._project, sid)
        row = file.execute("SELECT data FROM closes WHERE project = ? AND sid = ?", where).fetchone()
        if row is not None and (known := _close_of(row[0])) is not None:
            event = event.grown(known.evidence, self._clock())
        data = (self._project, sid, event.seen, event.room.safe, event.cause.value, version)
        file.execute(
            "INSERT OR REPLACE INTO closes VALUES (?, ?, ?, ?, ?, ?, ?)", (*data, json.dumps(close_json(event)))
        )

    def _opened(self) -> sqlite3.Connection:
        """The file, made and brought up to date where needed; anew where it was taken away underneath."""
        if self._file is not None and _inode(self.path) == self._inode:
            return self._file
        self._shut()
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
        os.close(descriptor)
        self._file = _open(self.path)
        self._inode = _inode(self.path)
        return self._file

    def _shut(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _set_aside(self) -> None:
        self._shut()
        stamp = time.strftime("%Y%m%d-%H%M%S", time.localtime(self._clock()))
        aside = self.path.with_name(f"{self.path.stem}-damaged-{stamp}{self.path.suffix}")
        self.path.rename(aside)
        journal = self.path.with_name(self.path.name + "-journal")
        if journal.exists():
            journal.rename(aside.with_name(aside.name + "-journal"))
        with self._changed:
            self._note = f"was damaged: kept as {safe_text(aside.name)}, a new one is begun"


# The file


def _open(path: Path) -> sqlite3.Connection:
    file = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
    try:
        if _is_empty(file):
            file.execute("PRAGMA auto_vacuum = INCREMENTAL")
        file.execute("BEGIN IMMEDIATE")
        with file:
            version = _version(file, path)
            for number, script in enumerate(MIGRATIONS[version:], version + 1):
                for statement in filter(str.strip, script.split(";")):
                    file.execute(statement)
                file.execute(f"PRAGMA user_version = {number}")
            file.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        _check(file, path)
    except BaseException:
        file.close()
        raise
    return file


def _check(file: sqlite3.Connection, path: Path) -> None:
    if file.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
        raise DamagedError(f"{path} is damaged")


def _is_empty(file: sqlite3.Connection) -> bool:
    return bool(file.execute("SELECT count(*) FROM sqlite_schema").fetchone() == (0,))


def _version(file: sqlite3.Connection, path: Path) -> int:
    """The file's version. Raises HistoryError for one that isn't ours or is newer than this lk-tui."""
    (ours,) = file.execute("PRAGMA application_id").fetchone()
    (version,) = file.execute("PRAGMA user_version").fetchone()
    if ours != APPLICATION_ID and not _is_empty(file):
        raise HistoryError(f"{path} is another program's database: choose another file with --history")
    if version > len(MIGRATIONS):
        raise HistoryError(f"{path} was written by a newer lk-tui: update this one, or choose another --history")
    return int(version)


def _prune(file: sqlite3.Connection, now: float) -> None:
    for table, column, kept in (("closes", "seen", CLOSES_KEPT), ("actions", "at", ACTIONS_KEPT)):
        file.execute(f"DELETE FROM {table} WHERE {column} < ?", (now - KEPT_S,))  # noqa: S608 - our own names
        newest = f"SELECT {column} FROM {table} ORDER BY {column} DESC LIMIT 1 OFFSET ?"  # noqa: S608
        file.execute(f"DELETE FROM {table} WHERE {column} <= ({newest})", (kept,))  # noqa: S608


def open_to_read(path: Path) -> sqlite3.Connection:
    """The file for reading only. Raises HistoryError where there is none or it can't be used."""
    if not path.exists():
        raise HistoryError(f"there is no history yet: {path}")
    file = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=BUSY_S, isolation_level=None)
    try:
        _version(file, path)
    except sqlite3.DatabaseError as error:
        file.close()
        raise HistoryError(_in_words(error, path)) from None
    except HistoryError:
        file.close()
        raise
    return file


def read_closes(
    file: sqlite3.Connection, wanted: Wanted, *, after_version: int = 0, limit: int = CLOSES_KEPT
) -> Iterator[tuple[int, CloseEvent]]:
    """The newest `limit` closes that are wanted, oldest first, each with the file's version when it was written last.

    With `after_version`, only those written since. Raises sqlite3.Error.
    """
    rows = file.execute(
        "SELECT version, room, cause, data FROM (SELECT * FROM closes WHERE seen >= ? AND version > ?"
        " AND (? = '' OR project = ?) ORDER BY seen DESC LIMIT ?) ORDER BY seen",
        (wanted.since, after_version, wanted.project, wanted.project, limit),
    )
    for version, room, cause, data in rows:
        if wanted.room.casefold() not in room.casefold() or (wanted.causes and cause not in wanted.causes):
            continue
        event = _close_of(data)
        if event is not None:
            yield version, event


def newest_version(file: sqlite3.Connection) -> int:
    """A number that grows with everything that is written."""
    return int(file.execute("SELECT coalesce(max(version), 0) FROM closes").fetchone()[0])


def _read_actions(file: sqlite3.Connection, project: str, since: float, limit: int) -> list[ActionRecord]:
    """Ended ones, under negative ids: those of this run count from 1."""
    rows = file.execute(
        "SELECT rowid, data FROM actions WHERE project = ? AND at >= ? ORDER BY at DESC LIMIT ?",
        (project, since, limit),
    )
    found = []
    for rowid, data in rows:
        try:
            record = action_from(json.loads(data), -rowid)
        except ValueError:
            continue
        if record.outcome is not Outcome.RUNNING:
            found.append(record)
    return found[::-1]


def _close_of(data: str) -> CloseEvent | None:
    try:
        return close_from(json.loads(data))
    except ValueError:
        return None


def _inode(path: Path) -> int:
    try:
        return path.stat().st_ino
    except OSError:
        return 0


def _is_damage(error: Exception) -> bool:
    code = getattr(error, "sqlite_errorcode", None)
    return isinstance(error, DamagedError) or code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def _in_words(error: Exception, path: Path) -> str:
    """One line that says what to do."""
    shown = safe_text(str(path), 4096)
    match getattr(error, "sqlite_errorcode", None):
        case sqlite3.SQLITE_FULL:
            return f"the disk is full: {shown} waits for room"
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_PERM:
            return f"{shown} can't be written: check its folder's rights, or choose another file with --history"
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return f"{shown} is locked by another program for long"
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
            return f"{shown} is damaged"
    if isinstance(error, OSError):
        return f"{shown} can't be used: {error.strerror or 'no reason given'}"
    return safe_text(str(error))
