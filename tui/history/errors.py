"""What can be wrong with the history's file, in words for a person."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from tui.model.text import safe_text


class HistoryError(Exception):
    """The history can't be used; one line that says why and what to do."""


class DamagedError(HistoryError):
    """The file is not sound: it can be set aside."""


def is_damage(error: Exception) -> bool:
    """Whether the file itself is at fault, and stays so."""
    return isinstance(error, DamagedError) or code(error) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def in_words(error: Exception, path: Path) -> str:
    """One line that says what to do."""
    file = shown(path)
    match code(error):
        case sqlite3.SQLITE_FULL:
            return f"the disk is full: {file} waits for room"
        case sqlite3.SQLITE_IOERR:
            return f"the disk fails or is full: {file} can't be read or written"
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM:
            return (
                f"{file} can't be written: check the rights to it and to its folder, or choose another with --history"
            )
        case sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_AUTH:
            return f"{file} can't be opened: check the rights to it and its folder, or choose another with --history"
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return f"{file} is locked by another program for long"
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
            return f"{file} is damaged"
    if isinstance(error, OSError):
        return f"{file} can't be used: {error.strerror or 'no reason given'}"
    return safe_text(str(error), 4096)


def code(error: BaseException) -> int | None:
    """SQLite's code for it, without what extends it; None where it isn't SQLite's."""
    extended: int | None = getattr(error, "sqlite_errorcode", None)
    return extended & 0xFF if extended is not None else None


def shown(path: Path) -> str:
    """The path, safe to show."""
    return safe_text(str(path), 4096)
