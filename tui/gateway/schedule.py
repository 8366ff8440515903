"""Which rooms are read next: what is on screen or has changed first, the rest in turn, oldest first.

Pure bookkeeping: times are seconds of the poller's monotonic clock, passed in. Nothing here sorts or walks all rooms:
picking the next few of 10,000 costs no more than of 10.
"""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import chain, islice
from typing import NamedTuple, TypeVar

One = TypeVar("One")


class Kind(StrEnum):
    """What of a room is read: each is one request."""

    PARTICIPANTS = "participants"
    DISPATCHES = "dispatches"
    PROBE = "probe"
    """whether one agent in it answers (`tui.gateway.probing`)"""


LISTS = (Kind.PARTICIPANTS, Kind.DISPATCHES)
"""What is listed of a room."""


class Read(NamedTuple):
    """One read that is due; an urgent one may use what the budget keeps from the others.

    `sid` is the room's; `agent` is, for a probe, the agent's participant SID.
    """

    kind: Kind
    sid: str
    urgent: bool = False
    agent: str = ""

    @property
    def key(self) -> tuple[Kind, str, str]:
        """What makes two reads the same one."""
        return (self.kind, self.sid, self.agent)


DISPATCHES_EVERY_S = 60.0
"""How often a room's dispatches are read when nothing happens in it."""
FOLLOW_UP_S = 6.0
"""When dispatches are read again after an agent came or went: LiveKit lists jobs up to 5 s late."""
_RETRY_S = {Kind.PARTICIPANTS: 2.0, Kind.DISPATCHES: 30.0}
"""How long a room is left alone after its first failure. A failing ListDispatch costs 3 s (livekit-server 1.13.5)."""
_RETRY_AT_MOST_S = {Kind.PARTICIPANTS: 60.0, Kind.DISPATCHES: 300.0}
"""A dead node leaves many rooms that fail for ever: they must not keep the others waiting."""
_LISTS_A_PROBE = 3
"""Where the budget is short, so many lists are read before one agent is probed."""


class Rota:
    """Rooms, or agents, by SID in the order in which their turn comes: those never read first, then by when they were
    last read."""

    def __init__(self) -> None:
        self._never: OrderedDict[str, None] = OrderedDict()
        self._read_at: OrderedDict[str, float] = OrderedDict()

    def __contains__(self, sid: str) -> bool:
        return sid in self._never or sid in self._read_at

    def add(self, sid: str) -> None:
        """Take in a room that was never read; known ones keep their place."""
        if sid not in self._read_at:
            self._never[sid] = None

    def drop(self, sid: str) -> None:
        """Forget a room."""
        self._never.pop(sid, None)
        self._read_at.pop(sid, None)

    def start(self, sid: str, now: float) -> None:
        """A read of this room starts: it goes to the end."""
        self._never.pop(sid, None)
        self._read_at[sid] = now
        self._read_at.move_to_end(sid)

    def last(self, sid: str) -> float:
        """When a read last started; minus infinity if none ever did."""
        return self._read_at.get(sid, -math.inf)

    def due(self, before: float) -> Iterator[str]:
        """Rooms whose last read started at `before` or earlier, in turn."""
        yield from self._never
        for sid, at in self._read_at.items():
            if at > before:
                return
            yield sid


@dataclass(slots=True)
class _Setback:
    """Why a room's reads of one kind fail, how often they did in a row, and when to try again."""

    trouble: str = ""
    failures: int = 0
    retry_at: float = -math.inf


@dataclass
class Schedule:
    """Who is on screen, who changed, who was read when, who fails; and so: who is next."""

    visible: Sequence[str] = ()
    opened: str | None = None
    _rotas: dict[Kind, Rota] = field(default_factory=lambda: {kind: Rota() for kind in LISTS})
    _woken: dict[str, None] = field(default_factory=dict)
    _changed: OrderedDict[str, None] = field(default_factory=OrderedDict)
    _wanted: dict[str, None] = field(default_factory=dict)
    _follow_ups: deque[tuple[float, str]] = field(default_factory=deque)
    _setbacks: dict[tuple[Kind, str], _Setback] = field(default_factory=dict)
    _lists_since_probe: int = 0

    # What is known

    def add(self, sid: str) -> None:
        """A room appeared in the listing."""
        self._rotas[Kind.PARTICIPANTS].add(sid)

    def forget(self, sid: str) -> None:
        """A room is gone."""
        for kind, rota in self._rotas.items():
            rota.drop(sid)
            self._setbacks.pop((kind, sid), None)
        for those in (self._woken, self._changed, self._wanted):
            those.pop(sid, None)

    def changed(self, sid: str) -> None:
        """A room's listing hints at a change."""
        self._changed[sid] = None

    def wake(self, sid: str) -> None:
        """A room was asked for by name."""
        self._woken[sid] = None

    def occupied(self, sid: str, *, anybody: bool) -> None:
        """A room's participants were read: only where somebody is do dispatches have a turn of their own.

        Also where no agent is: that they are answered tells a room from a ghost (`tui.gateway.ghosts`).
        """
        if anybody:
            self._rotas[Kind.DISPATCHES].add(sid)
        elif sid != self.opened:
            self._rotas[Kind.DISPATCHES].drop(sid)
            self._setbacks.pop((Kind.DISPATCHES, sid), None)

    def want_dispatches(self, sid: str) -> None:
        """A room's agents changed: its dispatches are evidence, now."""
        self._wanted[sid] = None

    def follow_up(self, sid: str, now: float) -> None:
        """A room's dispatches are to be read again once LiveKit's list of jobs has caught up."""
        self._follow_ups.append((now + FOLLOW_UP_S, sid))

    def started(self, read: Read, now: float) -> None:
        """A read was sent."""
        if read.kind is Kind.PROBE:
            self._lists_since_probe = 0
            return
        if not read.urgent:
            self._lists_since_probe += 1
        self._rotas[read.kind].start(read.sid, now)
        if read.kind is Kind.PARTICIPANTS:
            self._woken.pop(read.sid, None)
            self._changed.pop(read.sid, None)
        else:
            self._wanted.pop(read.sid, None)

    def succeeded(self, read: Read) -> None:
        """A read was answered."""
        self._setbacks.pop((read.kind, read.sid), None)

    def failed(self, read: Read, trouble: str, now: float) -> None:
        """A read failed: the room is left alone for a while, longer each time."""
        setback = self._setbacks.setdefault((read.kind, read.sid), _Setback())
        setback.trouble = trouble
        setback.retry_at = now + min(_RETRY_S[read.kind] * 2.0**setback.failures, _RETRY_AT_MOST_S[read.kind])
        # More doublings change nothing, and one day would overflow.
        setback.failures = min(setback.failures + 1, 10)

    def has_failed(self, kind: Kind, sid: str) -> bool:
        """Whether the latest read of this kind failed."""
        return (kind, sid) in self._setbacks

    def trouble(self, sid: str) -> str:
        """Why a room can't be read, in one line; empty if it can."""
        return next((s.trouble for kind in LISTS if (s := self._setbacks.get((kind, sid))) is not None), "")

    # Who is next

    def plan(self, now: float, interval_s: float, most: int, probes: Iterable[Read] = ()) -> deque[Read]:
        """The reads that are due, the most important first, about `most` of them.

        First what somebody waits for. Then by turns, so that nothing starves when the budget is short: every other one
        is a room on screen; between them what changed, all others in turn, and dispatches. After every three of these,
        over all cycles, comes one of `probes`. A room read less than half an interval ago is not due again unless it
        was asked for.
        """
        recently = now - interval_s / 2
        participants, dispatches = self._rotas[Kind.PARTICIPANTS], self._rotas[Kind.DISPATCHES]
        on_screen = self._ready(Kind.PARTICIPANTS, self._on_screen(recently), now)
        off_screen = by_turns(
            self._ready(Kind.PARTICIPANTS, self._changed, now),
            self._ready(Kind.PARTICIPANTS, participants.due(recently), now),
            self._ready(Kind.DISPATCHES, dispatches.due(now - DISPATCHES_EVERY_S), now),
        )
        lists = by_turns(on_screen, off_screen)
        planned = {read.key: read for read in chain(self._asked_for(now, recently), self._urgent_dispatches(now))}
        before_a_probe = islice(lists, max(0, _LISTS_A_PROBE - self._lists_since_probe))
        for read in chain(before_a_probe, by_turns(iter(probes), *[lists] * _LISTS_A_PROBE)):
            if len(planned) >= most:
                break
            planned.setdefault(read.key, read)
        return deque(planned.values())

    def _asked_for(self, now: float, recently: float) -> Iterator[Read]:
        # The end of an action asks for its room, which may be gone by then.
        self._woken = {sid: None for sid in self._woken if sid in self._rotas[Kind.PARTICIPANTS]}
        for sid in dict.fromkeys((self.opened, *self._woken)):
            if sid is not None and sid in self._rotas[Kind.PARTICIPANTS]:
                yield Read(Kind.PARTICIPANTS, sid, urgent=True)
                if (
                    sid == self.opened
                    and self._rotas[Kind.DISPATCHES].last(sid) < recently
                    and self._may_retry(Kind.DISPATCHES, sid, now)
                ):
                    yield Read(Kind.DISPATCHES, sid, urgent=True)

    def _urgent_dispatches(self, now: float) -> Iterator[Read]:
        while self._follow_ups and self._follow_ups[0][0] <= now:
            sid = self._follow_ups.popleft()[1]
            if sid in self._rotas[Kind.PARTICIPANTS]:
                self._wanted[sid] = None
        for sid in self._wanted:
            yield Read(Kind.DISPATCHES, sid, urgent=True)

    def _on_screen(self, recently: float) -> list[str]:
        rota = self._rotas[Kind.PARTICIPANTS]
        seen = [sid for sid in self.visible if sid in rota and rota.last(sid) < recently]
        seen.sort(key=rota.last)
        return seen

    def _ready(self, kind: Kind, sids: Iterable[str], now: float) -> Iterator[Read]:
        return (Read(kind, sid) for sid in sids if self._may_retry(kind, sid, now))

    def _may_retry(self, kind: Kind, sid: str, now: float) -> bool:
        setback = self._setbacks.get((kind, sid))
        return setback is None or setback.retry_at <= now


def by_turns(*queues: Iterator[One]) -> Iterator[One]:
    """One from each queue in turn; what one doesn't use, the others get."""
    left = deque(queues)
    while left:
        queue = left.popleft()
        for one in queue:
            yield one
            left.append(queue)
            break
