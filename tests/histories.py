"""Histories for tests: written, read, and written by other processes."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from tests.build import NOW
from tui.history.errors import HistoryError
from tui.history.file import Wanted, open_to_read, read_closes
from tui.history.store import History
from tui.model.closes import CloseEvent

PROJECT = "http://127.0.0.1:7880"
ROOT = Path(__file__).parent.parent

FIRST_VERSION = """
CREATE TABLE closes (
    project TEXT NOT NULL, sid TEXT NOT NULL, seen REAL NOT NULL, room TEXT NOT NULL, cause TEXT NOT NULL,
    version INTEGER NOT NULL, data TEXT NOT NULL, PRIMARY KEY (project, sid));
CREATE INDEX closes_seen ON closes (seen);
CREATE INDEX closes_version ON closes (version);
CREATE TABLE actions (
    project TEXT NOT NULL, key TEXT NOT NULL, at REAL NOT NULL, data TEXT NOT NULL, PRIMARY KEY (project, key));
CREATE INDEX actions_at ON actions (at);
PRAGMA application_id = 1818981493;
PRAGMA user_version = 1;
"""
"""What the first lk-tui wrote. It is in people's folders: it never changes."""


def history(path: Path, project: str = PROJECT, *, at: float = NOW) -> History:
    """A history whose clock stands still."""
    return History(path, project, clock=lambda: at)


async def written(path: Path, *events: CloseEvent, project: str = PROJECT, at: float = NOW) -> History:
    """A history into which these were written, one after the other, and which is closed."""
    one = history(path, project, at=at)
    one.record(events)
    await one.close()
    assert not one.status.trouble, one.status
    return one


def at_rest(one: History) -> bool:
    """Whether it has nothing to write, and writes nothing."""
    with one._changed:
        return not one._unwritten and not one._in_hand


def kept(path: Path, wanted: Wanted = Wanted()) -> list[CloseEvent]:  # noqa: B008 - immutable
    """The closes in the file, as anybody reads them."""
    with closing(open_to_read(path)) as file:
        return [each.event for each in read_closes(file, wanted)]


def is_kept(path: Path, *events: CloseEvent) -> bool:
    """Whether these are in the file, which may still be damaged, or not there yet."""
    try:
        return set(events) <= set(kept(path))
    except (HistoryError, sqlite3.Error):
        return False


@contextmanager
def process(code: str, *words: object) -> Iterator[subprocess.Popen[str]]:
    """Another Python that runs `code` with these words, and talks to the test line by line; it ends with the block."""
    with subprocess.Popen(
        [sys.executable, "-c", code, *map(str, words)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as started:
        try:
            yield started
        finally:
            started.kill()
