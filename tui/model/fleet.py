"""The rooms as the screen and the one-shot command list them: with their signs, counted, sorted, filtered.

Everything is kept up to date by difference: what a picture costs depends on how many rooms changed in it, and on whose
signs are due, not on how many there are.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tui.model.phrases import agent_names, agent_state
from tui.model.room import Room
from tui.model.signs import WORST_FIRST, Kicks, Sign, SignCode, Thresholds, next_change, signs
from tui.model.slices import Slices

STALE_TURNS = 2.0
"""How often a room's turn must have been missed before what is known of it counts as stale."""


@dataclass(frozen=True, slots=True)
class RoomRow:
    """A room and what is wrong with it, and what is shown of it, worked out once: however many are sorted.

    `name` and `text`, all that a filter looks at, are casefolded.
    """

    room: Room
    signs: tuple[Sign, ...]
    people: int
    agents: str
    state: str
    name: str = field(repr=False)
    text: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Order:
    """By which column the rooms are sorted, and whether the other way round."""

    column: str
    reverse: bool = False


@dataclass(slots=True)
class Totals:
    """Counts over all rooms: people, agents, how many of these run the helper, and rooms by sign.

    Whoever is in a ghost room may not be there, and is not counted.
    """

    people: int = 0
    agents: int = 0
    helped: int = 0
    signs: Counter[SignCode] = field(default_factory=Counter)

    def count(self, row: RoomRow, by: int) -> None:
        """Add a room (`by` is 1), or take it away (-1)."""
        if row.room.ghost_since is None:
            self.people += by * row.people
            for participant in row.room.participants or ():
                if participant.is_agent:
                    self.agents += by
                    if participant.agent is not None and participant.agent.helper:
                        self.helped += by
        for code in {sign.code for sign in row.signs}:
            self.signs[code] += by


def _trouble(row: RoomRow) -> tuple[int, float]:
    if not row.signs:
        return (len(WORST_FIRST), 0.0)
    return (WORST_FIRST[row.signs[0].code], row.signs[0].since or 0.0)


def _name(row: RoomRow) -> tuple[str, str]:
    return row.name, row.room.sid


_SORT_KEYS: Mapping[str, tuple[str, Callable[[RoomRow], Any]]] = {
    "sign": ("trouble first", _trouble),
    "room": ("by name", _name),
    "people": ("most people first", lambda row: -row.people),
    "agent": ("by agent", lambda row: row.agents.casefold()),
    "state": ("by agent's state", lambda row: row.state),
    "age": ("newest first", lambda row: -row.room.created_at),
    "checked": ("longest unread first", lambda row: row.room.checked_at or 0.0),
}

SORT_COLUMNS: tuple[str, ...] = tuple(_SORT_KEYS)
TROUBLE_FIRST = Order("sign")


def order_words(order: Order) -> str:
    """The order in words, such as `trouble first` or `by name, reversed`."""
    return _SORT_KEYS[order.column][0] + (", reversed" if order.reverse else "")


class Fleet:
    """All rooms of a project, each with its signs; those that match a filter, in an order.

    Equal ones stand by name, then SID, so that nothing jumps about.
    """

    def __init__(self, thresholds: Thresholds) -> None:
        self._thresholds = thresholds
        self._limits = thresholds
        self._rows: dict[str, RoomRow] = {}
        self._due: list[tuple[float, str]] = []
        """a heap of when signs change next; of a room only the entry counts that is in `_due_of`"""
        self._due_of: dict[str, float] = {}
        self._kicks: Kicks = {}
        self._order = TROUBLE_FIRST
        self._words: Sequence[str] = ()
        self._by_name: list[RoomRow] = []
        self._sorted: list[RoomRow] = []
        self._shown: list[RoomRow] | None = None
        """of these, those that match; None: to be worked out"""
        self.totals = Totals()

    def __len__(self) -> int:
        return len(self._rows)

    def is_due(self, now: float) -> bool:
        """Whether time alone has changed a sign by `now`."""
        return bool(self._due) and self._due[0][0] <= now

    @property
    def shown(self) -> Sequence[RoomRow]:
        """The rooms that match the filter, in their order: it stays as it is."""
        if self._shown is None:
            shown = self._sorted[:]
            for word in self._words:
                shown = [row for row in shown if word in row.text]
            if self._order.reverse:
                shown.reverse()
            self._shown = shown
        return self._shown

    # What is there

    def take(self, rooms: Mapping[str, Room], now: float, kicks: Kicks, turn: float = 0.0) -> Iterator[None]:
        """Take in a picture, one slice of rooms for each step of the iterator.

        Where it takes `turn` seconds to read every room once, a room is not stale before its turn has passed it over.
        """
        self._limits = replace(self._thresholds, stale_s=max(self._thresholds.stale_s, STALE_TURNS * turn))
        slices = Slices()
        for sid in self._rows.keys() - rooms.keys():
            self._drop(sid)
            if slices.ends(changed=True):
                yield
        kicked = {sid for (sid, _), _ in kicks.items() ^ self._kicks.items()}
        self._kicks = dict(kicks)
        for sid, room in rooms.items():
            changed = (row := self._rows.get(sid)) is None or row.room is not room or sid in kicked
            if changed:
                self._put(room, now)
            if slices.ends(changed=changed):
                yield
        yield from self.age(now)

    def age(self, now: float) -> Iterator[None]:
        """Let time go on: work out anew what has become, or ceased to be, a sign by `now`, in slices."""
        slices = Slices()
        while self._due and self._due[0][0] <= now:
            at, sid = heapq.heappop(self._due)
            if self._due_of.get(sid) != at:
                continue
            del self._due_of[sid]
            if (row := self._rows.get(sid)) is not None:
                self._put(row.room, now)
                if slices.ends(changed=True):
                    yield

    # What is shown of it

    def arrange(self, order: Order, text: str) -> None:
        """Show the rooms that hold every word of `text`, in any case, anywhere in them, in this order."""
        words = text.casefold().split()
        if (order, words) == (self._order, self._words):
            return
        before, self._order, self._words = self._order, order, words
        self._shown = None
        if order.column != before.column:
            # Equal ones stay as they stand by name: to compare one thing is a lot faster than several.
            self._sorted = sorted(self._by_name, key=_SORT_KEYS[order.column][1])

    def _place(self, row: RoomRow) -> tuple[Any, ...]:
        return _SORT_KEYS[self._order.column][1](row), row.name, row.room.sid

    # One room

    def _put(self, room: Room, now: float) -> None:
        was = self._rows.get(room.sid)
        row = row_of(room, now, self._limits, self._kicks)
        self._note_due(room.sid, next_change(room, now, self._limits, self._kicks))
        if was is not None:
            if was.room is room and was.signs == row.signs:
                return
            self._hide(was)
            self.totals.count(was, -1)
        self._rows[room.sid] = row
        self.totals.count(row, 1)
        for rows, place in ((self._by_name, _name), (self._sorted, self._place)):
            rows.insert(bisect_left(rows, place(row), key=place), row)
        self._shown = None

    def _note_due(self, sid: str, due: float | None) -> None:
        if due is None:
            self._due_of.pop(sid, None)
        elif self._due_of.get(sid) != due:
            self._due_of[sid] = due
            heapq.heappush(self._due, (due, sid))

    def _drop(self, sid: str) -> None:
        row = self._rows.pop(sid)
        self._due_of.pop(sid, None)
        self._hide(row)
        self.totals.count(row, -1)

    def _hide(self, row: RoomRow) -> None:
        for rows, place in ((self._by_name, _name), (self._sorted, self._place)):
            del rows[bisect_left(rows, place(row), key=place)]
        self._shown = None


def arranged(rooms: Mapping[str, Room], now: float, thresholds: Thresholds) -> Sequence[RoomRow]:
    """All rooms of one picture, the ones in trouble first."""
    fleet = Fleet(thresholds)
    for _ in fleet.take(rooms, now, {}):
        pass
    return fleet.shown


def row_of(room: Room, now: float, thresholds: Thresholds, kicks: Kicks) -> RoomRow:
    """A room's row at `now`."""
    found = signs(room, now, thresholds, kicks)
    people, agents, state = room.people_count, agent_names(room), agent_state(room)
    return RoomRow(room, found, people, agents, state, room.name.safe.casefold(), _text(room, found))


def _text(room: Room, found: Sequence[Sign]) -> str:
    """Everything that a person may look for: names, ids, identities, agents, signs, states."""
    parts = [room.name.safe, room.sid]
    if room.name.altered:
        parts.append(room.name.raw)
    parts += [sign.code.value for sign in found]
    for participant in room.participants or ():
        parts += [participant.identity.safe, participant.name, participant.sid]
    for agent in room.agents:
        parts += [agent.name, agent.state]
    return "\n".join(parts).casefold()
