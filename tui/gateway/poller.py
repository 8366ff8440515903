"""The poller: reads the server again and again, and hands out one complete, numbered picture at a time.

One ListRooms a tick, then as many rooms as the budget affords, the most important first (`tui.gateway.schedule`). A
room that can't be read is that room's trouble; a server that can't be asked leaves the last good picture standing.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial

from tui.gateway.budget import WINDOW_S, Budget, Share
from tui.gateway.errors import (
    AuthenticationError,
    GatewayError,
    MissingError,
    NoResponseError,
    NotLiveKitError,
    RateLimitedError,
)
from tui.gateway.pace import Pace, monotonic
from tui.gateway.picture import Picture
from tui.gateway.reader import Reader
from tui.gateway.schedule import LISTS, Kind, Read
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
        self._pace = Pace(self._budget.interval(interval_s), chance or random.Random())  # noqa: S311 - guards nothing
        self._picture = Picture(self._pace.moved, probe=probe)
        self._clock = clock
        self._good: Mapping[str, Room] = {}
        self._listed_at: float | None = None
        self._number = 0
        self._polling = asyncio.Lock()
        self._listing = False
        self._insisted = asyncio.Event()
        self._agenda: deque[Read] = deque()
        self._under_way: dict[tuple[Kind, str, str], asyncio.Task[None]] = {}
        self._probes: dict[str, asyncio.Task[None]] = {}
        self._fresh: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Poll and publish for ever. Only cancellation ends it, and ends all reads under way with it."""
        self._pace.moved()
        try:
            while True:
                await self._tell(await self.poll())
                await self._pace.pause()
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
        return self._picture.probing.status

    def watch(self, visible: Sequence[str], opened: str | None) -> None:
        """Tell what is looked at: the SIDs of the rooms on screen, and of the one whose details are open."""
        self._picture.schedule.visible = tuple(visible)
        self._picture.schedule.opened = opened

    def touch(self, room_sid: str) -> None:
        """Somebody told that something happened in this room: read it next, and at once if it is on screen."""
        if room_sid in self._picture.rooms:
            schedule = self._picture.schedule
            self._pace.moved()
            schedule.changed(room_sid)
            if room_sid == schedule.opened or room_sid in schedule.visible:
                self._pace.hurry()

    def take_session(self, room_sid: str, agent_sid: str, closed_since: float | None) -> None:
        """Take in that this agent's session has been closed since then, None if it answers after all."""
        self._picture.take_session(room_sid, agent_sid, closed_since)
        self.touch(room_sid)

    def stir(self) -> None:
        """Somebody is at the keyboard: polling does not rest."""
        self._pace.stir()

    def wake(self, room_sid: str | None = None, *, insist: bool = False) -> None:
        """Poll now, this room first if one is given. Many calls make one poll.

        A server that is left alone for a while is asked before that only if the caller insists; and so is one anew that
        should have answered by now.
        """
        self._pace.moved()
        if room_sid is not None:
            self._picture.schedule.wake(room_sid)
        if insist and self._listing and self._pace.is_late:
            self._insisted.set()
        else:
            self._pace.hurry(insist=insist)

    async def poll(self) -> Snapshot:
        """One cycle. Never raises for a failure: the snapshot says it, and keeps the last good rooms.

        A snapshot with the rooms on screen is published on the way, where others take longer; in the very first cycle
        one with everybody who is in the rooms, where dispatches take longer.
        """
        async with self._polling:
            await self._afford(Share.LISTING)
            began = self._pace.begin()
            failure: Failure | None = None
            try:
                listed_at = await self._list_rooms()
                await self._read_rooms(began, listed_at)
                self._keep(listed_at)
            except GatewayError as error:
                failure = error.failure
                self._picture.ghosts.outage(self._clock())
                self._pace.fail(error)
            except Exception as error:  # noqa: BLE001 - whatever it is, the operator keeps the last good picture
                _log.exception("a poll failed by our own fault")
                failure = _own_fault(error)
                self._pace.fail(error)
            self._pace.end()
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
            meant = [room.sid for room in self._picture.rooms.values() if wanted(room, listed_at)]
            await self._read_all([Read(kind, sid) for sid in meant for kind in LISTS])
            if doubted := [sid for sid in meant if self._picture.ghosts.is_doubted(sid)]:
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
                await asyncio.sleep(self._pace.quiet_s)
                await self._read(read)

        async with asyncio.TaskGroup() as group:
            for _ in range(CONCURRENCY):
                group.create_task(work())

    # The listing

    async def _list_rooms(self) -> float:
        """Take in which rooms there are, and return when that was (seconds since 1970)."""
        messages = await self._ask_for_rooms()
        at = self._clock()
        await self._picture.take_listing(messages)
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

    # The rooms

    async def _read_rooms(self, began: float, listed_at: float) -> None:
        """Read what is due; return when all of it has arrived, or in time to publish without the late ones."""
        interval_s, schedule = self._pace.interval_s, self._picture.schedule
        until = monotonic() + min(interval_s, ROOM_WAIT_S)
        self._fresh.clear()
        probes = self._picture.probing.due(schedule.visible, schedule.opened, began, interval_s)
        self._agenda = schedule.plan(began, interval_s, self._budget.affordable + CONCURRENCY, probes)
        on_screen: set[str | None] = {schedule.opened, *schedule.visible}
        if self._listed_at is None and not schedule.visible:
            # Nothing is on the screen yet. Who is in the rooms tells how they stand; dispatches, read next, don't.
            on_screen = {read.sid for read in self._agenda}
        awaited = {read.key for read in self._agenda if read.kind is not Kind.PROBE and read.sid in on_screen}
        self._start_reads()
        while self._fresh and (left := until - monotonic()) > 0:
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
        now = monotonic()
        later: list[Read] = []
        while self._agenda and len(self._under_way) < CONCURRENCY and not self._pace.quiet_s:
            read = self._agenda.popleft()
            if not self._is_wanted(read):
                continue
            if self._must_wait(read.kind):
                later.append(read)
            elif self._budget.take(Share.URGENT if read.urgent else Share.BACKGROUND, now, self._pace.interval_s):
                self._start(read, now)
        self._agenda.extendleft(reversed(later))

    def _is_wanted(self, read: Read) -> bool:
        """Whether what is to be read is still there, and not being read just now."""
        if read.kind is Kind.PROBE:
            return read.agent in self._picture.probing and read.agent not in self._probes
        return read.sid in self._picture.rooms and read.key not in self._under_way

    def _must_wait(self, kind: Kind) -> bool:
        """Whether as many reads of this kind are under way as may be."""
        if kind is Kind.PROBE:
            return len(self._probes) >= PROBE_CONCURRENCY
        if kind is Kind.DISPATCHES:
            return sum(1 for other, *_ in self._under_way if other is kind) >= DISPATCH_CONCURRENCY
        return False

    def _start(self, read: Read, now: float) -> None:
        self._picture.schedule.started(read, now)
        if read.kind is Kind.PROBE:
            self._picture.probing.started(read.agent, now)
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
        room = self._picture.rooms.get(read.sid)
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
                self._pace.fail(error)
        except Exception as error:  # noqa: BLE001 - a room's failure stays that room's, even where it is ours
            _log.exception("reading a room's %s failed by our own fault", read.kind)
            trouble = _own_fault(error).message
        self._picture.ended(read, trouble, monotonic())

    async def _read_participants(self, room: Room) -> None:
        try:
            participants = await self._gateway.list_participants(room.name)
        except MissingError:
            # LiveKit Cloud says so; the open-source server answers an empty list.
            participants = ()
        for read in self._picture.take_participants(room.sid, participants, self._clock(), monotonic()):
            if read.urgent:
                self._agenda.appendleft(read)
            else:
                self._agenda.append(read)

    async def _read_dispatches(self, room: Room) -> None:
        asked_at = self._clock()
        try:
            dispatches = await self._gateway.list_dispatches(room.name)
        except MissingError:
            dispatches = ()
        except NoResponseError:
            self._picture.unanswered(room.sid, asked_at, monotonic())
            raise
        self._picture.take_dispatches(room.sid, dispatches, self._clock(), monotonic())

    # The agents

    async def _probe(self, read: Read) -> None:
        """Ask an agent for a sign of life, and take what comes of it into the picture."""
        room = self._picture.rooms.get(read.sid)
        agent = room.participant(read.agent) if room is not None else None
        if room is None or agent is None or agent.agent is None:
            return
        probing = self._picture.probing
        try:
            answered_at, silent_since = await self._signs_of_life(room, agent, agent.agent.silent_since)
        except RateLimitedError as error:
            self._pace.fail(error)
        except (AuthenticationError, NotLiveKitError) as error:
            # The lists are answered: it is this one method that the server doesn't have, or something before it bars.
            probing.refused(str(error), monotonic())
        except NoResponseError:
            self._picture.probe_unanswered(read, monotonic())
        except GatewayError:
            probing.unproven(read.agent, monotonic())
        except Exception:  # noqa: BLE001 - an agent's probe stays that agent's, even where the fault is ours
            _log.exception("a probe failed by our own fault")
            probing.unproven(read.agent, monotonic())
        else:
            self._picture.take_probe(read, answered_at, silent_since)

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
                await asyncio.sleep(self._pace.quiet_s)
            answered = await self._gateway.probe(room.name, agent.identity)
            if answered:
                answered_at = self._clock()
            if answered is (silent_since is None):
                return answered_at, silent_since
        return answered_at, sent_at if silent_since is None else None

    async def _afford(self, share: Share) -> None:
        # Only time frees it.
        while not self._budget.take(share, monotonic(), self._pace.interval_s):  # noqa: ASYNC110
            await asyncio.sleep(self._budget.wait(share, monotonic()))

    # What is handed out

    def _keep(self, listed_at: float) -> None:
        """What is known now is the last good picture."""
        self._good, self._listed_at = self._picture.rooms.copy(), listed_at

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
            interval=self._pace.current_s,
            # About half of the requests are for the rooms on screen (`Schedule.plan`).
            turn=len(self._good) * 2 * WINDOW_S / self._budget.per_minute,
            skew=self._gateway.skew_s,
        )


def _own_fault(error: Exception) -> Failure:
    words = f"lk-tui itself failed ({type(error).__name__}): a bug; LK_TUI_LOG=FILE keeps what it says"
    return Failure(FailureKind.SERVER, words)
