"""The log: ends of sessions and what operators did, in the order in which they became known, newest last."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import filterfalse, islice

from tui.model.action import ActionRecord, Batch, BatchRecord, Outcome
from tui.model.causes import Cause
from tui.model.close_phrases import CAUSE_WORDS, close_words
from tui.model.closes import KEPT, CloseEvent
from tui.model.phrases import batch_words, outcome_words

HOUR_S = 3600.0

Told = CloseEvent | ActionRecord | BatchRecord
"""What a line of the log can be about."""


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One line of the log: a close, an action, or one on many. `at` is when it became known, seconds since 1970."""

    key: str
    at: float
    what: Told

    @property
    def place(self) -> tuple[float, str]:
        """What the log is sorted by."""
        return self.at, self.key


def entry(what: Told) -> LogEntry:
    """Its line: the same key and place however much it grows."""
    if isinstance(what, CloseEvent):
        return LogEntry(f"close {what.participant_sid}", what.seen, what)
    if isinstance(what, BatchRecord):
        return LogEntry(f"batch {what.batch.id}", what.batch.at, what)
    return LogEntry(f"action {what.id}", what.at, what)


@dataclass(frozen=True, slots=True)
class LogFilter:
    """What of the log is shown: closes of one cause (None: everything), and lines that hold every one of the words."""

    cause: Cause | None = None
    words: str = ""

    def __bool__(self) -> bool:
        return self.cause is not None or bool(self.words.strip())


class Log:
    """All lines, by key; putting one again replaces it where it stands. Bounded: the oldest go."""

    def __init__(self, kept: int = KEPT) -> None:
        self._kept = kept
        self._entries: dict[str, LogEntry] = {}
        self._order: list[LogEntry] = []
        self._texts: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self._order)

    def put(self, news: Iterable[CloseEvent | ActionRecord]) -> None:
        """Take in what is new or has changed. Actions of one batch share a line."""
        for what in self._by_batch(news):
            now = entry(what)
            self._texts.pop(now.key, None)
            was = self._entries.get(now.key)
            self._entries[now.key] = now
            if was is not None and was.place == now.place:
                self._order[bisect_left(self._order, now.place, key=_place)] = now
                continue
            if was is not None:
                del self._order[bisect_left(self._order, was.place, key=_place)]
            insort(self._order, now, key=_place)
        if (many := len(self._order) - self._kept) > 0:
            goes = {line.key for line in islice(filterfalse(_is_running_batch, self._order), many)}
            self._order = [line for line in self._order if line.key not in goes]
            for key in goes:
                del self._entries[key]
                self._texts.pop(key, None)

    def _by_batch(self, news: Iterable[CloseEvent | ActionRecord]) -> Iterator[Told]:
        """The news, those of one batch together."""
        batches: dict[Batch, dict[int, ActionRecord]] = {}
        for what in news:
            if isinstance(what, ActionRecord) and what.batch is not None:
                batches.setdefault(what.batch, {})[what.id] = what
            else:
                yield what
        for batch, records in batches.items():
            known = self.batch(batch.id) or BatchRecord(batch, ())
            yield known.with_records(records)

    def batch(self, batch_id: str) -> BatchRecord | None:
        """What has become of this batch so far."""
        found = self._entries.get(f"batch {batch_id}")
        return found.what if found is not None and isinstance(found.what, BatchRecord) else None

    def shown(self, by: LogFilter) -> Sequence[LogEntry]:
        """The lines that match, oldest first."""
        if not by:
            return tuple(self._order)
        words = by.words.casefold().split()
        return [line for line in self._order if _has_cause(line, by.cause) and self._holds(line, words)]

    def latest_close(self, room_sid: str) -> LogEntry | None:
        """The newest close in this room."""
        return next(
            (
                line
                for line in reversed(self._order)
                if isinstance(line.what, CloseEvent) and line.what.room_sid == room_sid
            ),
            None,
        )

    def last_hour(self, now: float) -> Counter[Cause]:
        """How many closes of each cause became known in the last hour."""
        first = bisect_left(self._order, (now - HOUR_S, ""), key=_place)
        return Counter(line.what.cause for line in self._order[first:] if isinstance(line.what, CloseEvent))

    def _holds(self, line: LogEntry, words: Sequence[str]) -> bool:
        if not words:
            return True
        text = self._texts.get(line.key)
        if text is None:
            text = self._texts[line.key] = _text(line).casefold()
        return all(word in text for word in words)


def _place(line: LogEntry) -> tuple[float, str]:
    return line.place


def _is_running_batch(line: LogEntry) -> bool:
    return isinstance(line.what, BatchRecord) and line.what.outcome is Outcome.RUNNING


def _has_cause(line: LogEntry, cause: Cause | None) -> bool:
    return cause is None or (isinstance(line.what, CloseEvent) and line.what.cause is cause)


def _text(line: LogEntry) -> str:
    """Everything that a person may look for in a line."""
    what = line.what
    if isinstance(what, CloseEvent):
        parts = [what.room.safe, what.room.raw, what.room_sid, what.agent, what.identity.safe, what.participant_sid]
        parts += [close_words(what), what.cause.value, CAUSE_WORDS[what.cause], what.reason, what.by]
    elif isinstance(what, BatchRecord):
        parts = [what.action.value, batch_words(what), what.operator]
        parts += [f"{record.target.room.safe}\n{record.target.room_sid}" for record in what.records]
    else:
        target = what.target
        parts = [target.room.safe, target.room.raw, target.room_sid, target.agent_name, what.action.value]
        parts += [target.identity.safe if target.identity is not None else "", outcome_words(what), what.operator]
    return "\n".join(parts)
