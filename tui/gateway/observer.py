"""Observers: hidden participants of ours in the rooms that the supervisor has open, who hear of everything at once.

They live in a process of their own (`tui/observer.py`), which is started with the first room, or ahead of it. With the
grants `hidden` and `agent` they are seen by nobody, counted nowhere, and hold no room open; but LiveKit waits
`departure_timeout` anew after whoever left last, so that one who came and went again and again would (livekit-server
1.13.5, pkg/rtc/room.go). What they hear comes within milliseconds, but for participants who publish no track: of these
LiveKit tells every 3 s. Through them the sessions of agents are looked into as well (`tui/gateway/inspector.py`).

LiveKit opens a room for whoever joins one that isn't there, and starts automatic agents in it; no grant forbids that
where `room.auto_create` is on, the default. So that no observer brings back a room that has just ended:

- its token asks for a room configuration that nobody has (`OPENS_NO_ROOM`). It is looked up only when a room has to be
  opened, which then fails; a room that is open is joined all the same (1.13.5, pkg/service/roomallocator.go);
- for servers that know no room configurations, a room is asked for by its SID just before it is joined, and so is its
  node: a ghost room (`tui.gateway.ghosts`) that somebody joins is taken over by another node (1.13.5);
- an observer that finds itself in another room than was meant leaves at once. One that was opened by that is left to
  LiveKit, which closes it when its `empty_timeout` is over; `status` tells of it;
- one whose connection breaks leaves for good. It is sent again only while polling still shows that very room.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import logging
import math
import os
import sys
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Self

from livekit.api import AccessToken, VideoGrants

from tui.gateway import convert
from tui.gateway.told import Told
from tui.model.evidence import Evidence, Fact, Sighting, Source, SourceStatus, published
from tui.model.lines import Listener
from tui.model.phrases import count
from tui.model.room import OBSERVER_PREFIX, Agent, Participant, Room
from tui.model.secret import Secret
from tui.model.text import Name

# By its path and without the working directory: whatever lies there, it is our program and the livekit installed here.
PROGRAM = (sys.executable, "-P", str(Path(__file__).parents[1] / "observer.py"))
OPENS_NO_ROOM = "lk-tui-opens-no-room"
"""A room configuration (`room.room_configurations`, the token's `roomPreset`) that no server has."""
TOKEN_TTL = timedelta(seconds=60)
"""For joining only: LiveKit lets a connection live on when its token has expired."""
CLOSING_S = 4.0
"""How long the process may take to leave its rooms; it gives itself 3."""
LINGER_S = 2.0
"""How long a room that is not wanted any more is still observed, if there is room for it."""
SOON_S, SELDOM_S, STEADY_S = 5.0, 600.0, 60.0
"""How long something that failed is left alone: at first, at most, and how long it must go well to count as new."""
NOTE_S = 60.0
"""How long it is told that a room was brought back."""
LINE_LIMIT = 4 * 1024 * 1024
"""Bytes of one line: all agents of a room that ends stand in one, with a few KiB of attributes each."""

_log = logging.getLogger(__name__)


class Line:
    """The way to one agent's session, until it is closed."""

    def __init__(self, observers: Observers, room: Room, agent_sid: str, listener: Listener) -> None:
        self._observers = observers
        self.room = room
        self.agent_sid = agent_sid
        self.listener = listener

    def send(self, message: bytes) -> None:
        """Send the agent this AgentSessionMessage. Nothing tells whether it got there, but that it is answered."""
        order = {
            "send": self.room.sid,
            "agent": self.agent_sid,
            "message": base64.b64encode(message).decode(),
        }
        self._observers.tell(order)

    def close(self) -> None:
        """Hang up. Nothing happens if that was done before."""
        self._observers.hang_up(self)


@dataclass(slots=True)
class _Observed:
    """A room that the process was told to join. Times are of the monotonic clock, but for `answered`."""

    room: Room
    joined_at: float | None = None
    unwanted_since: float | None = None
    answered: dict[str, float] = field(default_factory=dict)
    """when the process of an agent answered, by the agent's SID, though its session didn't"""
    closed: set[str] = field(default_factory=set)


@dataclass(slots=True)
class _Retry:
    """When something that failed is tried again: later each time, unless it had gone well for long."""

    pause: float = 0.0
    at: float = -math.inf

    def failed(self, since: float | None) -> None:
        """It failed, having gone well since then."""
        now = time.monotonic()
        steady = since is not None and now - since >= STEADY_S
        self.pause = SOON_S if steady else min(max(SOON_S, self.pause * 2), SELDOM_S)
        self.at = now + self.pause


class Observers:
    """Observes at most `limit` rooms at a time, and those where a session is looked into; an async context manager.

    `publish` gets what is evidence for a session's end, `touched` the SID of every room that something happened in.
    `is_there` tells whether the very room, by its SID, is there now, held by a node that answers; `answers` whether a
    participant's process does. Where they raise, a room is not joined, and a silence proves nothing.
    """

    def __init__(
        self,
        url: str,
        api_key: str,
        api_secret: Secret,
        publish: Callable[[Sighting], None],
        *,
        limit: int,
        touched: Callable[[str], None],
        is_there: Callable[[Room], Awaitable[bool]],
        answers: Callable[[Room, Name], Awaitable[bool]],
        clock: Callable[[], float] = time.time,
        program: Sequence[str] = PROGRAM,
    ) -> None:
        self._url = "ws" + url.removeprefix("http")
        self._key = api_key
        self._secret = api_secret
        self._publish = publish
        self._limit = limit
        self._touched = touched
        self._is_there = is_there
        self._answers = answers
        self._clock = clock
        self._program = program
        self._watched: dict[str, Room] = {}
        self._wanted: dict[str, Room] = {}
        self._lines: list[Line] = []
        self._warm = False
        self._process: asyncio.subprocess.Process | None = None
        self._observed: dict[str, _Observed] = {}
        self._retries: dict[str, _Retry] = {}
        self._troubles: dict[str, str] = {}
        self._note, self._note_until = "", -math.inf
        self._process_trouble = ""
        self._changed = asyncio.Event()
        self._serving: asyncio.Task[None] | None = None
        self._asking: dict[str, asyncio.Task[None]] = {}

    async def __aenter__(self) -> Self:
        self._serving = asyncio.create_task(self._serve(), name="observers")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._serving is not None:
            self._serving.cancel()
            await asyncio.gather(self._serving, return_exceptions=True)

    @property
    def status(self) -> SourceStatus:
        """How many rooms are observed, and what is wrong."""
        if not self._limit and not self._lines:
            return SourceStatus("observer", on=False)
        joined = sum(observed.joined_at is not None for observed in self._observed.values())
        words = count(joined, "room")
        troubles = [self._process_trouble, self._note if time.monotonic() < self._note_until else ""]
        troubles += [trouble for sid, trouble in self._troubles.items() if sid in self._wanted]
        trouble = next(filter(None, troubles), "")
        if trouble:
            words = f"{words}; {trouble}" if joined else trouble
        return SourceStatus("observer", on=joined > 0, words=words, trouble=bool(trouble))

    def watch(self, rooms: Sequence[Room]) -> None:
        """Observe these rooms, the most important first, and no others. Costs nothing where that is so already."""
        self._watched = {room.sid: room for room in rooms[: self._limit]}
        self.renew()

    def warm_up(self) -> None:
        """Start the process ahead of the first room: that takes it a second or so."""
        self._warm = True
        self._changed.set()

    def renew(self) -> None:
        """Join what is wanted and not observed, where that failed and enough time has passed."""
        self._wanted = {**{line.room.sid: line.room for line in self._lines}, **self._watched}
        if self._wanted.keys() != self._observed.keys():
            self._changed.set()

    # Looking into a session

    def call(self, room: Room, agent_sid: str, listener: Listener) -> Line:
        """Have an observer in the room, the one that is there already or another, and talk to this agent's session."""
        line = Line(self, room, agent_sid, listener)
        self._lines.append(line)
        # The supervisor asks for this very room, whatever kept an observer out of it before.
        self._retries.pop(room.sid, None)
        self.renew()
        observed = self._observed.get(room.sid)
        if observed is not None and observed.joined_at is not None:
            self._relay(room.sid)
            # Not from within this call: who calls has no line yet.
            asyncio.get_running_loop().call_soon(self._joined_before, line)
        return line

    def _joined_before(self, line: Line) -> None:
        if line in self._lines:
            line.listener.on_joined()

    def hang_up(self, line: Line) -> None:
        """As `Line.close`."""
        if line in self._lines:
            self._lines.remove(line)
            self._relay(line.room.sid)
            self.renew()

    def tell(self, order: Mapping[str, object]) -> None:
        """Give the process an order, if it runs."""
        if self._process is not None:
            _send(self._process, order)

    def _relay(self, room_sid: str) -> None:
        self.tell({"relay": room_sid, "agents": [line.agent_sid for line in self._lines_into(room_sid)]})

    def _lines_into(self, room_sid: str, agent_sid: str = "") -> list[Line]:
        """The lines into this room, or to this agent in it."""
        return [line for line in self._lines if line.room.sid == room_sid and agent_sid in ("", line.agent_sid)]

    # The process

    async def _serve(self) -> None:
        """Start the process when it is needed, and again when it has ended by itself."""
        retry = _Retry()
        while True:
            await self._changed.wait()
            if not self._wanted and not self._warm:
                self._changed.clear()
                continue
            started = time.monotonic()
            try:
                await self._run()
            except OSError as error:
                self._process_trouble = f"can't start: {error.strerror}"
                trouble = f"the observer {self._process_trouble}"
            else:
                self._process_trouble = "its process ended: it is started again"
                trouble = f"the observer is away, {self._process_trouble}"
            self._observed.clear()
            for line in tuple(self._lines):
                line.listener.on_away(trouble)
            retry.failed(started)
            await asyncio.sleep(retry.pause)
            self._changed.set()

    async def _run(self) -> None:
        # Nothing of the project's settings goes along, and what the native library prints is nobody's.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("LIVEKIT_")}
        process = await asyncio.create_subprocess_exec(
            *self._program,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env=environment,
            limit=LINE_LIMIT,
            # Ctrl+C and the terminal's end are for us: we tell it when to go.
            start_new_session=True,
        )
        self._process = process
        ordering = asyncio.create_task(self._order(process), name="observers: orders")
        try:
            await self._listen(process)
        finally:
            tasks = (ordering, *self._asking.values())
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._process = None
            await _end(process)

    async def _order(self, process: asyncio.subprocess.Process) -> None:
        """Have rooms joined and left, as they are wanted."""
        while True:
            self._changed.clear()
            lingering = self._leave_unwanted(process)
            for sid, room in tuple(self._wanted.items()):
                if sid not in self._observed and self._retry(sid).at <= time.monotonic():
                    await self._join(process, room)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LINGER_S if lingering else None):
                    await self._changed.wait()

    def _leave_unwanted(self, process: asyncio.subprocess.Process) -> bool:
        """Have rooms left that nobody wants; whether some are still observed for a moment."""
        now, lingering = time.monotonic(), False
        crowded = len(self._observed.keys() | self._wanted.keys()) > max(self._limit, len(self._wanted))
        for sid, observed in tuple(self._observed.items()):
            if sid in self._wanted:
                observed.unwanted_since = None
                continue
            # Polling may have seen a room's end before its observer was told the reason.
            since = observed.unwanted_since = observed.unwanted_since or now
            if crowded or now - since >= LINGER_S:
                _send(process, {"leave": sid})
                del self._observed[sid]
            else:
                lingering = True
        for known in (self._retries, self._troubles):
            for sid in known.keys() - self._wanted.keys():
                del known[sid]
        return lingering

    async def _join(self, process: asyncio.subprocess.Process, room: Room) -> None:
        try:
            there = await self._is_there(room)
        except Exception:  # noqa: BLE001 - whatever keeps us from asking keeps us out; polling says what it is
            there = False
        if not there:
            self._retry(room.sid).failed(None)
        elif room.sid in self._wanted:
            self._observed[room.sid] = _Observed(room)
            _send(process, {"join": room.sid, "url": self._url, "token": self._token(room)})

    def _retry(self, sid: str) -> _Retry:
        return self._retries.setdefault(sid, _Retry())

    def _token(self, room: Room) -> str:
        grants = VideoGrants(
            room_join=True,
            room=room.name.raw,
            hidden=True,
            agent=True,
            can_publish=False,
            can_subscribe=False,
            can_publish_data=True,
            can_update_own_metadata=False,
        )
        token = AccessToken(self._key, self._secret.reveal()).with_identity(OBSERVER_PREFIX + uuid.uuid4().hex[:8])
        return token.with_grants(grants).with_room_preset(OPENS_NO_ROOM).with_ttl(TOKEN_TTL).to_jwt()

    # What it tells

    async def _listen(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None  # noqa: S101 - a pipe was asked for
        while True:
            try:
                line = await process.stdout.readline()
            except ValueError:
                # Longer than a line may be; what comes next is whole again.
                continue
            if not line:
                return
            try:
                told = Told.read(line)
                if told is not None and (observed := self._observed.get(told.room)) is not None:
                    self._hear(observed, told, self._clock())
            except Exception:  # noqa: BLE001 - a fault of ours, or of the screen's, must not end the observing
                _log.exception("what was seen could not be taken in")

    def _hear(self, observed: _Observed, told: Told, at: float) -> None:
        room = observed.room
        match told.saw:
            case "joined":
                observed.joined_at = time.monotonic()
                self._process_trouble = ""
                self._troubles.pop(room.sid, None)
                if lines := self._lines_into(room.sid):
                    self._relay(room.sid)
                for line in lines:
                    line.listener.on_joined()
                return
            case "told":
                for line in self._lines_into(room.sid, told.agent):
                    line.listener.on_message(told.message)
                return
            case "absent":
                for line in self._lines_into(room.sid, told.agent):
                    line.listener.on_gone()
            case "failed":
                self._failed(observed, f"can't join {room.name}: {told.words}")
            case "wrong_room":
                self._failed(observed)
                if told.created:
                    self._note = f"joining brought {room.name} back, empty: it ends by itself in {told.seconds:,.0f} s"
                    self._note_until = time.monotonic() + NOTE_S
            case "lost":
                self._lost(observed, told)
            case "ended":
                self._ended(room, told, at)
            case "session_silent":
                self._silent(observed, told, at)
            case _:
                for sighting in _sightings(room, told, at):
                    self._publish(sighting)
                if told.saw == "left":
                    for line in self._lines_into(room.sid):
                        if any(who.sid == line.agent_sid for who in told.who):
                            line.listener.on_gone()
        self._touched(room.sid)

    def _failed(self, observed: _Observed, trouble: str = "") -> None:
        sid = observed.room.sid
        del self._observed[sid]
        self._retry(sid).failed(observed.joined_at)
        if trouble:
            self._troubles[sid] = trouble
        for line in self._lines_into(sid):
            line.listener.on_away(trouble or f"the observer is out of {observed.room.name}")

    def _lost(self, observed: _Observed, told: Told) -> None:
        put_out = told.reason == "PARTICIPANT_REMOVED"
        self._failed(observed, f"was put out of {observed.room.name}" if put_out else "")
        if put_out:
            # Somebody wanted that: it stays out until the room is chosen anew.
            self._retry(observed.room.sid).at = math.inf

    def _ended(self, room: Room, told: Told, at: float) -> None:
        """Whoever was in the room was put out with it, for the same reason, and ours could not hear of it any more."""
        del self._observed[room.sid]
        for line in self._lines_into(room.sid):
            line.listener.on_gone()
        self._publish(Sighting(room.name, room.sid, (Evidence(at, Source.OBSERVER, Fact.ROOM_ENDED, told.reason),)))
        for agent in told.who:
            if (sighting := convert.left(room.name, room.sid, agent, Source.OBSERVER, told.reason, at)) is not None:
                self._publish(sighting)

    # A session that falls silent

    def _silent(self, observed: _Observed, told: Told, at: float) -> None:
        """A session that goes on being silent though its agent's process answers has closed.

        The process is asked through the server: it can't answer a hidden participant, which it doesn't see.
        """
        for agent in told.who:
            since = at - told.seconds
            if agent.sid in observed.closed:
                continue
            if observed.answered.get(agent.sid, -math.inf) > since:
                observed.closed.add(agent.sid)
                closed = Evidence(since, Source.OBSERVER, Fact.SESSION_CLOSED)
                self._publish(Sighting(observed.room.name, observed.room.sid, (closed,), Agent(agent)))
            elif agent.sid not in self._asking:
                self._asking[agent.sid] = asyncio.create_task(self._ask(observed, agent))

    async def _ask(self, observed: _Observed, agent: Participant) -> None:
        try:
            with contextlib.suppress(Exception):  # whatever keeps us from asking, it proves nothing
                if await self._answers(observed.room, agent.identity):
                    observed.answered[agent.sid] = self._clock()
        finally:
            del self._asking[agent.sid]


def _sightings(room: Room, told: Told, at: float) -> list[Sighting]:
    """What somebody's leaving, attributes or error are evidence for."""
    found: list[Sighting] = []
    for who in told.who:
        evidence: tuple[Evidence, ...] = ()
        match told.saw:
            case "left" if sighting := convert.left(room.name, room.sid, who, Source.OBSERVER, told.reason, at):
                found.append(sighting)
            case "published":
                evidence = tuple(published(who, at))
            case "session_failed" if told.error is not None:
                evidence = (Evidence(at, Source.OBSERVER, Fact.SESSION_FAILED, error=told.error),)
        if evidence:
            found.append(Sighting(room.name, room.sid, evidence, Agent(who)))
    return found


def _send(process: asyncio.subprocess.Process, order: Mapping[str, object]) -> None:
    if process.stdin is not None and not process.stdin.is_closing():
        process.stdin.write(json.dumps(order).encode() + b"\n")


async def _end(process: asyncio.subprocess.Process) -> None:
    """Ask it to leave its rooms, by closing its input; kill it if that takes long."""
    if process.stdin is not None:
        process.stdin.close()
    try:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSING_S):
                await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
