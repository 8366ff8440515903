"""The poller: reads the server again and again, and hands out one complete, numbered picture at a time.

One ListRooms a tick, then as many rooms as the budget affords, the most important first (`tui.gateway.schedule`). A
room that can't be read is that room's trouble; a server that can't be asked leaves the last good picture standing.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial

from google.protobuf.message import DecodeError
from livekit.protocol import models as models_pb

from tui.gateway import convert
from tui.gateway.backoff import BackOff
from tui.gateway.budget import WINDOW_S, Budget, Share
from tui.gateway.errors import (
    AuthenticationError,
    GatewayError,
    MissingError,
    NoResponseError,
    NotLiveKitError,
    RateLimitedError,
)
from tui.gateway.ghosts import Ghosts
from tui.gateway.probing import Probing
from tui.gateway.reader import Reader
from tui.gateway.schedule import LISTS, Kind, Read, Schedule
from tui.model import carry
from tui.model.evidence import SourceStatus
from tui.model.room import Participant, Room
from tui.model.snapshot import Failure, FailureKind, Snapshot

CONCURRENCY = 8
"""Room reads under way at once."""
DISPATCH_CONCURRENCY = 4
"""Of these, dispatch reads: each on a dead node's room hangs for 3 s, and must not keep participants waiting."""
PROBE_CONCURRENCY = 8
"""Probes under way at once, besides the reads: one that is not answered takes 2 s, or 4 s if that is news."""
ROOM_WAIT_S = 1.0
"""How long a cycle waits for its room reads before it publishes without the late ones."""
READ_TIMEOUT_S = 8.0
"""How long a room read may take: LiveKit's slowest honest answer about a room (503 after 3 s), and a very bad link."""
SLICE = 256
"""Rooms of a listing that are taken in in one go: 0.1 ms for those that are as before, 3 ms where all are new."""
LEAST_INTERVAL_S = 0.25
"""Between two cycles, however often somebody asks."""
RESTS_AFTER_S = 120.0
"""When nobody has pressed a key and nothing has changed for so long, polling rests …"""
RESTING_S = 4.0
"""… with so much between two cycles: what nobody looks at all night need not cost the server more."""

_log = logging.getLogger(__name__)


class Poller:
    """Reads a project into snapshots. One at a time per gateway: it assumes that the request budget is its own.

    `publish` takes in one snapshot after the other, in its own time; None where nobody is told.
    `probe` says whether agents are asked for signs of life. `clock` gives seconds since 1970; pacing goes by the
    running loop's clock. Raises ValueError for a budget below `tui.gateway.budget.LEAST_BUDGET`.
    """

    def __init__(
        self,
        gateway: Reader,
        publish: Callable[[Snapshot], Awaitable[None]] | None = None,
        *,
        interval_s: float = 2.0,
        budget: int = 600,
        probe: bool = True,
        clock: Callable[[], float] = time.time,
        chance: random.Random | None = None,
    ) -> None:
        self._gateway = gateway
        self._publish = publish
        self._budget = Budget(budget, lambda: gateway.requests_sent, lambda: gateway.requests_last_minute)
        self._interval = self._budget.interval(interval_s)
        self._clock = clock
        self._back_off = BackOff(chance or random.Random())  # noqa: S311 - spreads retries, guards nothing
        self._schedule = Schedule()
        self._probing = Probing(on=probe)
        self._ghosts = Ghosts()
        self._listed: Mapping[bytes, str] = {}
        """the SIDs of the rooms, by their messages in the latest listing"""
        self._rooms: dict[str, Room] = {}
        self._good: Mapping[str, Room] = {}
        self._listed_at: float | None = None
        self._number = 0
        self._polling = asyncio.Lock()
        self._woken = asyncio.Event()
        self._listing = False
        self._insisted = asyncio.Event()
        self._agenda: deque[Read] = deque()
        self._under_way: dict[tuple[Kind, str, str], asyncio.Task[None]] = {}
        self._probes: dict[str, asyncio.Task[None]] = {}
        self._fresh: set[asyncio.Task[None]] = set()
        self._began = 0.0
        self._stirred_at = -math.inf
        """when a key was pressed, or something changed"""
        self._rests = False

    async def run(self) -> None:
        """Poll and publish for ever. Only cancellation ends it, and ends all reads under way with it."""
        self._stirred_at = _monotonic()
        try:
            while True:
                self._woken.clear()
                await self._tell(await self.poll())
                await self._pause()
        finally:
            await self.close()

    async def _tell(self, snapshot: Snapshot) -> None:
        if self._publish is None:
            return
        try:
            await self._publish(snapshot)
        except Exception:  # noqa: BLE001 - a fault of the screen's must not end the supervision
            _log.exception("snapshot %d could not be shown", snapshot.number)

    async def close(self) -> None:
        """End all reads under way; `run` does so by itself."""
        self._agenda.clear()
        tasks = (*self._under_way.values(), *self._probes.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    @property
    def probe_status(self) -> SourceStatus:
        """Whether agents are probed, and how many of them don't answer."""
        return self._probing.status

    def watch(self, visible: Sequence[str], opened: str | None) -> None:
        """Tell what is looked at: the SIDs of the rooms on screen, and of the one whose details are open."""
        self._schedule.visible = tuple(visible)
        self._schedule.opened = opened

    def touch(self, room_sid: str) -> None:
        """Somebody told that something happened in this room: read it next, and at once if it is on screen."""
        if room_sid in self._rooms:
            self._stirred_at = _monotonic()
            self._schedule.changed(room_sid)
            if room_sid == self._schedule.opened or room_sid in self._schedule.visible:
                self._hurry()

    def take_session(self, room_sid: str, agent_sid: str, closed_since: float | None) -> None:
        """Take in that this agent's session has been closed since then, None if it answers after all."""
        if (room := self._rooms.get(room_sid)) is not None:
            self._rooms[room_sid] = carry.with_session(room, agent_sid, closed_since)
            self.touch(room_sid)

    def stir(self) -> None:
        """Somebody is at the keyboard: no rest for a while, and if there was one, poll now."""
        self._stirred_at = _monotonic()
        if self._rests:
            self._rests = False
            self._hurry()

    def wake(self, room_sid: str | None = None, *, insist: bool = False) -> None:
        """Poll now, this room first if one is given. Many calls make one poll.

        A server that is left alone for a while is asked before that only if the caller insists; and so is one anew that
        should have answered by now.
        """
        self._stirred_at = _monotonic()
        if room_sid is not None:
            self._schedule.wake(room_sid)
        if insist and self._listing and _monotonic() - self._began >= self._interval:
            self._insisted.set()
        else:
            self._hurry(insist=insist)

    def _hurry(self, *, insist: bool = False) -> None:
        if insist or not self._back_off.left(_monotonic()):
            self._woken.set()

    async def poll(self) -> Snapshot:
        """One cycle. Never raises for a failure: the snapshot says it, and keeps the last good rooms.

        A snapshot with the rooms on screen is published on the way, where others take longer; in the very first cycle
        one with everybody who is in the rooms, where dispatches take longer.
        """
        async with self._polling:
            await self._afford(Share.LISTING)
            self._began = _monotonic()
            self._back_off.begin()
            failure: Failure | None = None
            try:
                listed_at = await self._list_rooms()
                await self._read_rooms(listed_at)
                self._keep(listed_at)
            except GatewayError as error:
                failure = error.failure
                self._ghosts.outage(self._clock())
                self._back_off.fail(error, _monotonic())
            except Exception as error:  # noqa: BLE001 - whatever it is, the operator keeps the last good picture
                _log.exception("a poll failed by our own fault")
                failure = _own_fault(error)
                self._back_off.fail(error, _monotonic())
            self._back_off.end()
            self._rests = _monotonic() - self._stirred_at > RESTS_AFTER_S
            return self._snapshot(failure)

    async def poll_everything(self, wanted: Callable[[Room, float], bool] = lambda _, __: True) -> Snapshot:
        """All rooms, those that are `wanted` with their participants and dispatches, once, for a one-shot command.

        `wanted` is given a room as it is listed, and when (seconds since 1970).

        Paced by concurrency alone, unless it takes more requests than the budget of a minute. Nobody is probed: that an
        agent doesn't answer takes several seconds to know. What may be a ghost is asked twice. Raises the
        `GatewayError` if the rooms can't be listed; a room that can't be read has its `trouble`.
        """
        async with self._polling:
            await self._afford(Share.LISTING)
            listed_at = await self._list_rooms()
            meant = [room.sid for room in self._rooms.values() if wanted(room, listed_at)]
            await self._read_all([Read(kind, sid) for sid in meant for kind in LISTS])
            if doubted := [sid for sid in meant if self._ghosts.is_doubted(sid)]:
                await self._afford(Share.LISTING)
                listed_at = await self._list_rooms()
                await self._read_all([Read(Kind.DISPATCHES, sid) for sid in doubted])
            self._keep(listed_at)
            return self._snapshot(None)

    async def _read_all(self, reads: Sequence[Read]) -> None:
        """Read all of this, `CONCURRENCY` at a time."""
        paced = 1 + len(reads) > self._budget.per_minute
        left = iter(reads)

        async def work() -> None:
            for read in left:
                if paced:
                    await self._afford(Share.URGENT)
                await asyncio.sleep(self._back_off.left(_monotonic()))
                await self._read(read)

        async with asyncio.TaskGroup() as group:
            for _ in range(CONCURRENCY):
                group.create_task(work())

    # The listing

    async def _list_rooms(self) -> float:
        """Take in which rooms there are, and return when that was (seconds since 1970).

        In slices, so that a key is answered in between; reads of before go on arriving meanwhile.
        """
        messages = await self._ask_for_rooms()
        at = self._clock()
        listed: dict[bytes, str] = {}
        for number, message in enumerate(messages, 1):
            listed[message] = self._listed.get(message) or self._take_listed(message)
            if number % SLICE == 0:
                await asyncio.sleep(0)
        self._listed = listed
        for sid in self._rooms.keys() - listed.values():
            self._stirred_at = _monotonic()
            del self._rooms[sid]
            self._schedule.forget(sid)
            self._probing.forget(sid)
            self._ghosts.clear(sid)
        return at

    async def _ask_for_rooms(self) -> Sequence[bytes]:
        """The listing, asked for once more if somebody insists: what hangs may hang for its connection alone."""
        self._insisted.clear()
        self._listing = True
        asked = asyncio.create_task(self._gateway.list_room_messages())
        insisted = asyncio.create_task(self._insisted.wait())
        try:
            await asyncio.wait({asked, insisted}, return_when=asyncio.FIRST_COMPLETED)
            if asked.done():
                return asked.result()
        finally:
            self._listing = False
            for task in (asked, insisted):
                task.cancel()
            await asyncio.gather(asked, insisted, return_exceptions=True)
        return await self._gateway.list_room_messages()

    def _take_listed(self, message: bytes) -> str:
        """Take in a room whose message is not as before, and return its SID."""
        self._stirred_at = _monotonic()
        try:
            listed = convert.room(models_pb.Room.FromString(message))
        except DecodeError:
            raise NotLiveKitError("what the server lists is not LiveKit's rooms: check the URL") from None
        room = self._rooms.get(listed.sid)
        if room is None:
            self._rooms[listed.sid] = listed
            self._schedule.add(listed.sid)
            if self._listed:
                self._schedule.changed(listed.sid)
        else:
            if carry.hints_of_change(room, listed):
                self._schedule.changed(listed.sid)
            self._rooms[listed.sid] = carry.relisted(room, listed)
        return listed.sid

    # The rooms

    async def _read_rooms(self, listed_at: float) -> None:
        """Read what is due; return when all of it has arrived, or in time to publish without the late ones."""
        until = _monotonic() + min(self._interval, ROOM_WAIT_S)
        self._fresh.clear()
        probes = self._probing.due(self._schedule.visible, self._schedule.opened, self._began, self._interval)
        self._agenda = self._schedule.plan(self._began, self._interval, self._budget.affordable + CONCURRENCY, probes)
        on_screen: set[str | None] = {self._schedule.opened, *self._schedule.visible}
        if self._listed_at is None and not self._schedule.visible:
            # Nothing is on the screen yet. Who is in the rooms tells how they stand; dispatches, read next, don't.
            on_screen = {read.sid for read in self._agenda}
        awaited = {read.key for read in self._agenda if read.kind is not Kind.PROBE and read.sid in on_screen}
        self._start_reads()
        while self._fresh and (left := until - _monotonic()) > 0:
            await asyncio.wait(self._fresh, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            self._start_reads()
            if awaited and self._fresh and awaited.isdisjoint((*self._under_way, *(read.key for read in self._agenda))):
                awaited.clear()
                self._keep(listed_at)
                await self._tell(self._snapshot(None))
                # All that was under way may have ended meanwhile.
                self._start_reads()
        # What is still to do is planned anew, by what will matter then.
        self._agenda.clear()

    def _start_reads(self) -> None:
        """Send what is next on the agenda, as far as concurrency and budget go."""
        now = _monotonic()
        later: list[Read] = []
        while self._agenda and len(self._under_way) < CONCURRENCY and not self._back_off.left(now):
            read = self._agenda.popleft()
            if not self._is_wanted(read):
                continue
            if self._must_wait(read.kind):
                later.append(read)
            elif self._budget.take(Share.URGENT if read.urgent else Share.BACKGROUND, now, self._interval):
                self._start(read, now)
        self._agenda.extendleft(reversed(later))

    def _is_wanted(self, read: Read) -> bool:
        """Whether what is to be read is still there, and not being read just now."""
        if read.kind is Kind.PROBE:
            return read.agent in self._probing and read.agent not in self._probes
        return read.sid in self._rooms and read.key not in self._under_way

    def _must_wait(self, kind: Kind) -> bool:
        """Whether as many reads of this kind are under way as may be."""
        if kind is Kind.PROBE:
            return len(self._probes) >= PROBE_CONCURRENCY
        if kind is Kind.DISPATCHES:
            return sum(1 for other, *_ in self._under_way if other is kind) >= DISPATCH_CONCURRENCY
        return False

    def _start(self, read: Read, now: float) -> None:
        self._schedule.started(read, now)
        if read.kind is Kind.PROBE:
            self._probing.started(read.agent, now)
            # No cycle waits for it: silence takes long, and an answer may as well be on the next picture.
            probe = self._probes[read.agent] = asyncio.create_task(self._probe(read))
            probe.add_done_callback(lambda _: self._probes.pop(read.agent))
            return
        task = self._under_way[read.key] = asyncio.create_task(self._read(read))
        self._fresh.add(task)
        task.add_done_callback(partial(self._ended, read.key))

    def _ended(self, key: tuple[Kind, str, str], task: asyncio.Task[None]) -> None:
        del self._under_way[key]
        self._fresh.discard(task)

    async def _read(self, read: Read) -> None:
        """Read one thing of one room into the picture. Any failure becomes the room's trouble."""
        room = self._rooms.get(read.sid)
        if room is None:
            return
        trouble = ""
        try:
            async with asyncio.timeout(READ_TIMEOUT_S):
                if read.kind is Kind.PARTICIPANTS:
                    await self._read_participants(room)
                else:
                    await self._read_dispatches(room)
        except TimeoutError:
            trouble = f"the room's {read.kind} did not arrive within {READ_TIMEOUT_S:.0f} s"
        except GatewayError as error:
            trouble = str(error)
            if isinstance(error, RateLimitedError):
                self._back_off.fail(error, _monotonic())
        except Exception as error:  # noqa: BLE001 - a room's failure stays that room's, even where it is ours
            _log.exception("reading a room's %s failed by our own fault", read.kind)
            trouble = _own_fault(error).message
        if (after := self._rooms.get(read.sid)) is None:
            return
        if trouble:
            self._schedule.failed(read, trouble, _monotonic())
            if read.kind is Kind.PARTICIPANTS:
                self._ghosts.clear(read.sid)
        else:
            self._schedule.succeeded(read)
        self._rooms[read.sid] = carry.with_trouble(after, self._schedule.trouble(read.sid))

    async def _read_participants(self, asked: Room) -> None:
        try:
            participants = await self._gateway.list_participants(asked.name)
        except MissingError:
            # LiveKit Cloud says so; the open-source server answers an empty list.
            participants = ()
        # The room as it is now: it may have been listed anew, or be gone, since it was asked for.
        if (before := self._rooms.get(asked.sid)) is None:
            return
        sid = asked.sid
        after = self._rooms[sid] = carry.with_participants(before, participants, self._clock())
        agents = carry.agent_sids(after)
        if after.participants is not before.participants:
            self._stirred_at = _monotonic()
        self._schedule.occupied(sid, anybody=bool(after.participants))
        self._probing.agents_are(sid, carry.probed_agents(after))
        for agent in carry.newly_published(before, after):
            self._probing.published(agent, _monotonic())
        if after.ghost_since is not None and after.participants is not before.participants:
            # Somebody came or went in it: a node holds it again.
            self._schedule.want_dispatches(sid)
        if before.participants is None:
            if agents:
                self._agenda.append(Read(Kind.DISPATCHES, sid))
        elif agents != carry.agent_sids(before):
            # In this very cycle: whether its dispatch is still there tells why an agent went.
            self._schedule.want_dispatches(sid)
            self._schedule.follow_up(sid, _monotonic())
            self._agenda.appendleft(Read(Kind.DISPATCHES, sid, urgent=True))

    async def _read_dispatches(self, asked: Room) -> None:
        asked_at = self._clock()
        try:
            dispatches = await self._gateway.list_dispatches(asked.name)
        except MissingError:
            dispatches = ()
        except NoResponseError:
            self._unanswered(asked.sid, asked_at)
            raise
        self._answered(asked.sid)
        if (before := self._rooms.get(asked.sid)) is None:
            return
        after = self._rooms[asked.sid] = carry.with_dispatches(before, dispatches, self._clock())
        if before.dispatches is None and any(agent.job is None for agent in after.agents):
            self._schedule.follow_up(asked.sid, _monotonic())

    def _unanswered(self, sid: str, asked_at: float) -> None:
        """A room's node did not answer: ask again in a while, and say so if that is the second time."""
        if (room := self._rooms.get(sid)) is None or room.ghost_since is not None:
            return
        since = self._ghosts.unanswered(sid, asked_at)
        if since is None and not self._schedule.has_failed(Kind.DISPATCHES, sid):
            self._schedule.follow_up(sid, _monotonic())
        self._rooms[sid] = carry.with_ghost(room, since)

    def _answered(self, sid: str) -> None:
        """A room's node answered something."""
        self._ghosts.clear(sid)
        if (room := self._rooms.get(sid)) is not None:
            self._rooms[sid] = carry.with_ghost(room, None)

    # The agents

    async def _probe(self, read: Read) -> None:
        """Ask an agent for a sign of life, and take what comes of it into the picture."""
        room = self._rooms.get(read.sid)
        agent = room.participant(read.agent) if room is not None else None
        if room is None or agent is None or agent.agent is None:
            return
        try:
            answered_at, silent_since = await self._signs_of_life(room, agent, agent.agent.silent_since)
        except RateLimitedError as error:
            self._back_off.fail(error, _monotonic())
        except (AuthenticationError, NotLiveKitError) as error:
            # The lists are answered: it is this one method that the server doesn't have, or something before it bars.
            self._probing.refused(str(error), _monotonic())
        except GatewayError as error:
            self._probing.unproven(read.agent, _monotonic())
            doubted = room.ghost_since is not None or self._ghosts.is_doubted(read.sid)
            if isinstance(error, NoResponseError) and not doubted:
                # It has left, or nobody holds its room any more: the room tells which.
                self._schedule.want_dispatches(read.sid)
        except Exception:  # noqa: BLE001 - an agent's probe stays that agent's, even where the fault is ours
            _log.exception("a probe failed by our own fault")
            self._probing.unproven(read.agent, _monotonic())
        else:
            self._probing.told(read.agent, silent=silent_since is not None)
            self._answered(read.sid)
            if (now := self._rooms.get(read.sid)) is not None:
                self._rooms[read.sid] = carry.with_probe(
                    now, read.agent, answered_at=answered_at, silent_since=silent_since
                )

    async def _signs_of_life(
        self, room: Room, agent: Participant, silent_since: float | None
    ) -> tuple[float | None, float | None]:
        """When the agent answered just now, and since when it doesn't; None for either that is not so.

        What contradicts the picture is asked once more before it is believed: livekit-server misses an answer that is
        there before it has begun to wait for it (1.13.5, `ParticipantImpl.PerformRpc`), and an agent that answers now
        and then must not flicker.
        """
        sent_at, answered_at = self._clock(), None
        for again in (False, True):
            if again:
                await self._afford(Share.BACKGROUND)
                await asyncio.sleep(self._back_off.left(_monotonic()))
            answered = await self._gateway.probe(room.name, agent.identity)
            if answered:
                answered_at = self._clock()
            if answered is (silent_since is None):
                return answered_at, silent_since
        return answered_at, sent_at if silent_since is None else None

    # Pace

    async def _afford(self, share: Share) -> None:
        while not self._budget.take(share, _monotonic(), self._interval):  # noqa: ASYNC110 - only time frees it
            await asyncio.sleep(self._budget.wait(share, _monotonic()))

    async def _pause(self) -> None:
        """Wait until the next cycle is due, or until it is asked for."""
        while not self._woken.is_set() and (left := self._next_at() - _monotonic()) > 0:
            # Not asyncio.wait_for: before Python 3.12 it can swallow a cancellation, and we would poll for ever.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._woken.wait()
        await asyncio.sleep(self._began + LEAST_INTERVAL_S - _monotonic())

    def _next_at(self) -> float:
        now = _monotonic()
        return max(self._began + self._pace_s, now + self._back_off.left(now))

    @property
    def _pace_s(self) -> float:
        """Seconds from one cycle to the next, as things are now."""
        return max(self._interval, RESTING_S) if self._rests else self._interval

    def _keep(self, listed_at: float) -> None:
        """What is known now is the last good picture."""
        self._good, self._listed_at = self._rooms.copy(), listed_at

    def _snapshot(self, failure: Failure | None) -> Snapshot:
        self._number += 1
        return Snapshot(
            number=self._number,
            at=self._clock(),
            rooms=self._good,
            listed_at=self._listed_at,
            failure=failure,
            requests=self._gateway.requests_last_minute,
            budget=self._budget.per_minute,
            interval=max(self._pace_s, self._back_off.left(_monotonic())),
            # About half of the requests are for the rooms on screen (`Schedule.plan`).
            turn=len(self._good) * 2 * WINDOW_S / self._budget.per_minute,
            skew=self._gateway.skew_s,
        )


def _monotonic() -> float:
    return asyncio.get_running_loop().time()


def _own_fault(error: Exception) -> Failure:
    words = f"lk-tui itself failed ({type(error).__name__}): a bug; LK_TUI_LOG=FILE keeps what it says"
    return Failure(FailureKind.SERVER, words)
