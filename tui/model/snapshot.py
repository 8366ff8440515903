"""The picture: everything known of a project at one moment, numbered, immutable, one superseding the other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from tui.model.collapse import Collapse
from tui.model.room import Room


class FailureKind(StrEnum):
    """Why the server could not be asked, in the terms a person acts on."""

    AUTHENTICATION = "authentication"
    UNREACHABLE = "unreachable"
    NOT_LIVEKIT = "not LiveKit"
    RATE_LIMITED = "rate limited"
    SERVER = "server error"


@dataclass(frozen=True, slots=True)
class Failure:
    """A failed poll: its kind, and one line that says what to do."""

    kind: FailureKind
    message: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One complete picture.

    `rooms` is by SID, and is the last good picture: while the server can't be asked it stays, `failure` says why, and
    `listed_at` says how old it is (None: there never was one). `requests` is the number of requests of the last 60 s,
    of `budget` allowed ones; `interval` the seconds between two polls just now, and `turn` about how many seconds it
    takes until every room has been read once. `skew` is by how many seconds the server's clock is ahead of ours, as far
    as that is certain; `collapse` the last time that most rooms went at once, if there was one.
    """

    number: int = 0
    at: float = 0.0
    rooms: Mapping[str, Room] = field(default_factory=dict)
    listed_at: float | None = None
    failure: Failure | None = None
    requests: int = 0
    budget: int = 0
    interval: float = 0.0
    turn: float = 0.0
    skew: float = 0.0
    collapse: Collapse | None = None
