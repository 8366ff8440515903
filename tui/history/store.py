"""What writes the history: one thread of its own, fed by a queue, and never in the dashboard's way.

What can't be written is kept and tried again, and said.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from pathlib import Path

from tui.history.damage import rescue, set_aside
from tui.history.errors import HistoryError, in_words, is_damage, shown
from tui.history.file import check, newest_actions, newest_closes, open_to_write, prune, write
from tui.model.action import ActionRecord, Outcome
from tui.model.closes import CloseEvent
from tui.model.evidence import SourceStatus
from tui.model.phrases import count
from tui.model.text import safe_text

_log = logging.getLogger(__name__)

UNWRITTEN_KEPT = 20_000
"""Entries that wait for a disk that is full, or a file that is locked, at most."""
RETRY_S = 2.0
ANSWER_S = 2.0
"""How long the program's start waits for what was kept before."""
FLUSH_S = 2.0
"""How long the program's end waits for the last entries."""
ENDED_S = 120.0
"""No action takes so long: one that is kept as still running was left by an lk-tui that was killed."""
PRUNE_EVERY = 500
"""Entries written between two looks for what is too old or too many."""

Entry = CloseEvent | ActionRecord
Remembered = tuple[list[CloseEvent], list[ActionRecord]]


@dataclass(frozen=True, slots=True)
class _Question:
    since: float
    limit: int
    answer: Future[Remembered] = field(default_factory=Future)


class History:
    """Keeps what it is told in the file at `path`, for the server `project`, by its URL.

    Nothing is opened before there is something to read or to write, and then on a thread of its own.
    """

    def __init__(self, path: Path, project: str, *, clock: Callable[[], float] = time.time) -> None:
        self.path = path
        self._project = safe_text(project, 4096)
        self._clock = clock
        self._run = uuid.uuid4().hex
        self._changed = threading.Condition()
        """guards all that both threads touch, down to `_ending`"""
        self._unwritten: dict[str, Entry] = {}
        self._in_hand: Mapping[str, Entry] = {}
        self._question: _Question | None = None
        self._lost = 0
        self._trouble = ""
        self._note = ""
        self._ending = False
        self._thread: threading.Thread | None = None
        self._file: sqlite3.Connection | None = None
        self._inode = 0
        self._checked = False
        self._written = 0

    @property
    def status(self) -> SourceStatus:
        """Whether all that was told is kept, and where."""
        with self._changed:
            trouble, note = self._trouble, self._note or shown(self.path)
            waiting = len(self._in_hand.keys() | self._unwritten.keys())
            lost = f", {self._lost:,} lost" if self._lost else ""
        if trouble:
            return SourceStatus("history", on=False, words=f"{trouble}; {waiting:,} waiting{lost}", trouble=True)
        return SourceStatus("history", on=True, words=note + lost)

    def record(self, closes: Iterable[CloseEvent]) -> None:
        """Keep these closes, each in its newest form. Returns at once."""
        self._take({f"close {event.participant_sid}": event for event in closes})

    def record_action(self, record: ActionRecord) -> None:
        """Keep this action, in its newest form. Returns at once."""
        self._take({f"action {record.id}": record})

    async def recent(self, seconds: float, limit: int) -> Remembered:
        """What became known in the last so many seconds, at most `limit` closes and `limit` actions that have ended,
        oldest first.

        Nothing where the file can't be read, which `status` says, or not within a moment: nobody waits for it longer.
        """
        question = _Question(self._clock() - seconds, limit)
        with self._changed:
            self._question = question
            self._wake()
        try:
            async with asyncio.timeout(ANSWER_S):
                return await asyncio.wrap_future(question.answer)
        except TimeoutError:
            return [], []

    async def close(self) -> None:
        """Write what is left, and end; not all of it where the file is out of reach for long, which `status` says."""
        await asyncio.to_thread(self.end, FLUSH_S)

    def end(self, seconds: float) -> None:
        """As `close`, from any thread, which waits for so long at the most."""
        with self._changed:
            self._ending = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join(seconds)

    def _take(self, entries: Mapping[str, Entry]) -> None:
        if not entries:
            return
        with self._changed:
            for key, entry in entries.items():
                self._unwritten.pop(key, None)
                self._unwritten[key] = entry
            self._drop_oldest()
            self._wake()

    def _drop_oldest(self) -> None:
        while len(self._unwritten) > UNWRITTEN_KEPT:
            del self._unwritten[next(iter(self._unwritten))]
            self._lost += 1

    def _wake(self) -> None:
        self._changed.notify()
        if self._thread is None:
            # A daemon: the program ends even where a network's file system hangs.
            self._thread = threading.Thread(target=self._work, name="history", daemon=True)
            self._thread.start()

    # On its own thread

    def _work(self) -> None:
        try:
            while self._turn():
                pass
        except Exception as error:  # noqa: BLE001 - said, and nobody else would hear of it
            _log.exception("the history has stopped")
            with self._changed:
                self._trouble = f"stopped by a bug ({type(error).__name__}); LK_TUI_LOG=FILE keeps what it says"
        self._shut()

    def _turn(self) -> bool:
        """Wait for something to do, and do it; False when it was the last."""
        with self._changed:
            if self._trouble:
                self._changed.wait_for(lambda: self._ending, RETRY_S)
            else:
                self._changed.wait_for(lambda: self._unwritten or self._question or self._ending)
            batch, self._unwritten = self._unwritten, {}
            self._in_hand = batch
            question, self._question = self._question, None
            last = self._ending
        trouble = self._try(batch, question)
        with self._changed:
            self._trouble = trouble
            self._in_hand = {}
            if trouble:
                # What came meanwhile is newer.
                self._unwritten = batch | self._unwritten
                self._drop_oldest()
            return not last or (not trouble and bool(self._unwritten))

    def _try(self, batch: Mapping[str, Entry], question: _Question | None) -> str:
        """What is wrong, in words, or nothing."""
        try:
            try:
                self._do(batch, question)
            except (HistoryError, sqlite3.Error) as error:
                if not is_damage(error):
                    raise
                self._begin_anew()
                self._do(batch, question)
        except (HistoryError, sqlite3.Error, OSError) as error:
            self._shut()
            return in_words(error, self.path)
        finally:
            if question is not None:
                _answer(question, ([], []))
        return ""

    def _do(self, batch: Mapping[str, Entry], question: _Question | None) -> None:
        file = self._opened()
        if question is not None:
            _answer(question, self._remembered(file, question))
        if not self._checked:
            check(file, self.path)
            self._checked = True
        if not batch:
            return
        closes = {entry.participant_sid: entry for entry in batch.values() if isinstance(entry, CloseEvent)}
        actions = {f"{self._run} {key}": entry for key, entry in batch.items() if isinstance(entry, ActionRecord)}
        write(file, self._project, closes, actions, self._clock())
        if _inode(self.path) != self._inode:
            # It was taken away meanwhile: what was written is where nobody finds it.
            write(self._opened(), self._project, closes, actions, self._clock())
        self._prune_now_and_then(len(batch))

    def _remembered(self, file: sqlite3.Connection, question: _Question) -> Remembered:
        closes = newest_closes(file, self._project, question.since, question.limit)
        actions = newest_actions(file, self._project, question.since, question.limit)
        return closes, [ended for record in actions if (ended := self._ended(record)) is not None]

    def _ended(self, record: ActionRecord) -> ActionRecord | None:
        if record.outcome is not Outcome.RUNNING:
            return record
        over = self._clock() - record.at > ENDED_S
        return replace(record, outcome=Outcome.UNKNOWN) if over else None

    def _prune_now_and_then(self, written: int) -> None:
        before, self._written = self._written, self._written + written
        if before == 0 or before // PRUNE_EVERY != self._written // PRUNE_EVERY:
            prune(self._opened(), self._clock())

    def _opened(self) -> sqlite3.Connection:
        """The file, made and brought up to date where needed; anew where it was taken away underneath."""
        if self._file is not None and _inode(self.path) == self._inode:
            return self._file
        self._shut()
        self._inode = _inode(self.path)
        self._checked = False
        self._file = open_to_write(self.path)
        self._inode = self._inode or _inode(self.path)
        return self._file

    def _shut(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _begin_anew(self) -> None:
        """Set the damaged file aside, and save what can be read of it into a new one."""
        self._shut()
        aside = set_aside(self.path, self._inode, self._clock())
        if aside is None:
            return
        self._say(f"{shown(self.path)} was damaged: kept as {safe_text(aside.name)}, a new one is begun")
        saved = rescue(aside, self._opened(), self._clock())
        if saved:
            closes = count(saved, "close")
            self._say(f"{shown(self.path)} was damaged: kept as {safe_text(aside.name)}, {closes} saved into a new one")

    def _say(self, note: str) -> None:
        with self._changed:
            self._note = note


def _answer(question: _Question, found: Remembered) -> None:
    """Unless it is answered already, or nobody waits any more."""
    if not question.answer.done() and question.answer.set_running_or_notify_cancel():
        question.answer.set_result(found)


def _inode(path: Path) -> int:
    try:
        return path.stat().st_ino
    except OSError:
        return 0
