"""The rooms as the screen and the one-shot command list them: with their signs, sorted, filtered. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tui.model.phrases import agent_names, agent_state
from tui.model.room import Room
from tui.model.signs import WORST_FIRST, Kicks, Sign, Thresholds, signs


@dataclass(frozen=True, slots=True)
class RoomRow:
    """A room and what is wrong with it."""

    room: Room
    signs: tuple[Sign, ...]


@dataclass(frozen=True, slots=True)
class Order:
    """By which column the rooms are sorted, and whether the other way round."""

    column: str
    reverse: bool = False


def _trouble(row: RoomRow) -> tuple[int, float]:
    if not row.signs:
        return (len(WORST_FIRST), 0.0)
    return (WORST_FIRST[row.signs[0].code], row.signs[0].since or 0.0)


_SORT_KEYS: Mapping[str, tuple[str, Callable[[RoomRow], Any]]] = {
    "sign": ("trouble first", _trouble),
    "room": ("by name", lambda row: row.room.name.safe.casefold()),
    "people": ("most people first", lambda row: -row.room.people_count),
    "agent": ("by agent", lambda row: agent_names(row.room).casefold()),
    "state": ("by agent's state", lambda row: agent_state(row.room)),
    "age": ("newest first", lambda row: -row.room.created_at),
    "checked": ("longest unread first", lambda row: row.room.checked_at or 0.0),
}

SORT_COLUMNS: tuple[str, ...] = tuple(_SORT_KEYS)
TROUBLE_FIRST = Order("sign")


def order_words(order: Order) -> str:
    """The order in words, such as `trouble first` or `by name, reversed`."""
    return _SORT_KEYS[order.column][0] + (", reversed" if order.reverse else "")


def with_signs(rooms: Iterable[Room], now: float, thresholds: Thresholds, kicks: Kicks) -> list[RoomRow]:
    """Each room with its signs at `now`."""
    return [RoomRow(room, signs(room, now, thresholds, kicks)) for room in rooms]


def arrange(rows: Iterable[RoomRow], order: Order, text: str) -> list[RoomRow]:
    """The rows that match the filter, in this order; equal ones by name, then SID, so that nothing jumps about."""
    kept = filter_rows(rows, text)
    kept.sort(key=lambda row: (row.room.name.safe.casefold(), row.room.sid))
    kept.sort(key=_SORT_KEYS[order.column][1], reverse=order.reverse)
    return kept


def filter_rows(rows: Iterable[RoomRow], text: str) -> list[RoomRow]:
    """The rows that hold every word of `text`, in any case, anywhere: names, ids, identities, agents, signs, states."""
    words = text.casefold().split()
    return [row for row in rows if _matches(row, words)] if words else list(rows)


def _matches(row: RoomRow, words: Sequence[str]) -> bool:
    haystack = _haystack(row)
    return all(word in haystack for word in words)


def _haystack(row: RoomRow) -> str:
    room = row.room
    parts = [room.name.safe, room.name.raw, room.sid]
    parts += [sign.code.value for sign in row.signs]
    for participant in room.participants or ():
        parts += [participant.identity.safe, participant.name, participant.sid]
    for agent in room.agents:
        parts += [agent.name, agent.state]
    return "\n".join(parts).casefold()
