"""Which rooms, agents and participants a one-shot action is aimed at.

One picture can't tell how long something has lasted: a person who reconnects is away for a second, and the agent then
looks as alone as one that was left an hour ago. So where rooms are chosen by their signs they are watched for as long
as each sign needs to be one, and only those that show it all the time are taken.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from dataclasses import dataclass
from fnmatch import fnmatchcase

from tui.control.plan_many import AGENTS_ACTIONS, Marked
from tui.gateway.errors import GatewayError
from tui.gateway.poller import Poller
from tui.gateway.reader import Reader
from tui.model.action import Action
from tui.model.room import Participant, Room
from tui.model.signs import SignCode, Thresholds, signs
from tui.model.snapshot import Failure, Snapshot

LOOK_EVERY_S = 1.0
PROBED_S = 8.0
"""Until an agent that doesn't answer is known for one: it is asked within 4 s, and twice 2 s of silence are proof."""
READ_IN_TIME_S = 60.0
"""How much longer is waited for rooms that could not be read often enough; they are then left out."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What a target has to fulfil, all of it; what is empty asks for nothing.

    `rooms`: one of these is the room's name, its SID, or a shell pattern that its name matches. `identities`: the same
    for a participant's identity, SID, or agent name. `signs`: the room shows one of them. `older_than_s`: the room is
    older than so many seconds.
    """

    rooms: Sequence[str] = ()
    identities: Sequence[str] = ()
    signs: frozenset[SignCode] = frozenset()
    older_than_s: float = 0.0

    def takes(self, room: Room, now: float) -> bool:
        """Whether the room is meant, as far as its listing tells; `now` is seconds since 1970 by the server's clock."""
        named = not self.rooms or _is_one_of(self.rooms, room.sid, room.name.raw)
        return named and (not self.older_than_s or now - room.created_at >= self.older_than_s)

    def targets(self, action: Action, rooms: Iterable[Room]) -> Iterator[Marked]:
        """What the action is aimed at in these rooms. One on agents passes over rooms that have none; of a room whose
        participants could not be read it is the room, which can't be done."""
        for room in rooms:
            if action not in AGENTS_ACTIONS or room.participants is None:
                yield room, None
            elif action is Action.KICK and self.identities:
                yield from ((room, who.sid) for who in room.participants if self._means(room, who))
            else:
                agents = (agent.participant for agent in room.agents)
                yield from ((room, who.sid) for who in agents if not self.identities or self._means(room, who))

    def _means(self, room: Room, who: Participant) -> bool:
        if who.is_our_observer:
            return False
        agent = room.agent(who.sid)
        names = (agent.name,) if agent is not None else ()
        return _is_one_of(self.identities, who.sid, who.identity.raw, *names)


def _is_one_of(patterns: Iterable[str], sid: str, *names: str) -> bool:
    return any(
        pattern == sid or any(pattern == name or fnmatchcase(name, pattern) for name in names) for pattern in patterns
    )


@dataclass(frozen=True, slots=True)
class Chosen:
    """The rooms that are meant, by name, and the picture that they are from. Of `unproven` it can't be told whether
    they show a wanted sign: they were not read often enough."""

    snapshot: Snapshot
    rooms: tuple[Room, ...]
    unproven: tuple[Room, ...] = ()


async def choose(
    gateway: Reader,
    choice: Choice,
    thresholds: Thresholds,
    budget: int,
    *,
    clock: Callable[[], float] = time.time,
) -> Chosen:
    """The rooms that are meant, as just read. Raises GatewayError.

    With signs it takes as long as they need, some 30 s for `alone`.
    """

    def takes(room: Room, at: float) -> bool:
        return choice.takes(room, at + gateway.skew_s)

    poller = Poller(gateway, interval_s=LOOK_EVERY_S, budget=budget, clock=clock)
    try:
        snapshot = await poller.poll_everything(takes)
        meant = {sid for sid, room in snapshot.rooms.items() if takes(room, snapshot.at)}
        unproven: set[str] = set()
        if choice.signs and meant:
            snapshot, meant, unproven = await _watched(poller, snapshot, meant, choice.signs, thresholds)
    finally:
        await poller.close()
    return Chosen(snapshot, _rooms(snapshot, meant), _rooms(snapshot, unproven))


def _rooms(snapshot: Snapshot, sids: Set[str]) -> tuple[Room, ...]:
    there = (snapshot.rooms[sid] for sid in sids & snapshot.rooms.keys())
    return tuple(sorted(there, key=lambda room: (room.name.raw, room.sid)))


def seconds_to_watch(wanted: frozenset[SignCode], thresholds: Thresholds) -> float:
    """How long rooms are watched for these signs."""
    return max((_settled_s(code, thresholds) + _held_s(code, thresholds) for code in wanted), default=0.0)


async def _watched(
    poller: Poller, first: Snapshot, meant: Set[str], wanted: frozenset[SignCode], thresholds: Thresholds
) -> tuple[Snapshot, set[str], set[str]]:
    """The last picture, the rooms that show a wanted sign for as long as it has to last, and those of which it could
    not be seen."""
    left, newest, seconds = set(meant), first, seconds_to_watch(wanted, thresholds)
    watches = [_SignWatch(code, thresholds, first.at) for code in wanted]
    enough_at, give_up_at = first.at + seconds, first.at + seconds + READ_IN_TIME_S
    while True:
        if newest.failure is not None:
            # Whatever happened meanwhile was not seen: begin again.
            watches = [_SignWatch(code, thresholds, newest.at) for code in wanted]
            enough_at = newest.at + seconds
            if newest.at >= give_up_at:
                raise _as_error(newest.failure)
        else:
            for watch in watches:
                watch.look(newest, left)
            left = {sid for sid in left if any(watch.may_hold(newest, sid) for watch in watches)}
            taken = {sid for sid in left if any(sid in watch.held for watch in watches)}
            if newest.at >= enough_at and (taken == left or newest.at >= give_up_at):
                return newest, taken, left - taken
        poller.watch(sorted(left), None)
        await asyncio.sleep(LOOK_EVERY_S)
        newest = await poller.poll()


class _SignWatch:
    """One sign, and since when each room has shown it at every look."""

    def __init__(self, code: SignCode, thresholds: Thresholds, began: float) -> None:
        self._code = code
        self._thresholds = thresholds
        self._held_s = _held_s(code, thresholds)
        self._settled_at = began + _settled_s(code, thresholds)
        self._shown_since: dict[str, float] = {}
        self.held: set[str] = set()
        """the rooms that have shown it for long enough, by SID"""

    def look(self, snapshot: Snapshot, sids: Iterable[str]) -> None:
        """Take in what these rooms show now."""
        for sid in sids:
            room = snapshot.rooms.get(sid)
            if room is None or not any(sign.code is self._code for sign in signs(room, snapshot.at, self._thresholds)):
                self._shown_since.pop(sid, None)
                self.held.discard(sid)
                continue
            read_at = room.checked_at or 0.0
            since = self._shown_since.setdefault(sid, read_at)
            if read_at - since >= self._held_s:
                self.held.add(sid)

    def may_hold(self, snapshot: Snapshot, sid: str) -> bool:
        """Whether the room shows it, or may still come to, once it has been read."""
        room = snapshot.rooms.get(sid)
        unread = room is not None and room.participants is None
        return unread or sid in self._shown_since or snapshot.at < self._settled_at


def _as_error(failure: Failure) -> GatewayError:
    error = GatewayError(failure.message)
    error.kind = failure.kind
    return error


def _settled_s(code: SignCode, thresholds: Thresholds) -> float:
    """Until the sign shows wherever there is reason for it."""
    match code:
        case SignCode.SILENT:
            return PROBED_S + thresholds.silent_s
        case SignCode.STUCK:
            return max(thresholds.initializing_s, thresholds.thinking_s) + LOOK_EVERY_S
        case _:
            return 0.0


def _held_s(code: SignCode, thresholds: Thresholds) -> float:
    """How long it must then be seen, because what one picture says of its beginning is no more than a guess."""
    return {
        SignCode.WAITING: thresholds.waiting_s,
        SignCode.ALONE: thresholds.alone_s,
        SignCode.CLOSED: thresholds.closed_s,
    }.get(code, 0.0)
