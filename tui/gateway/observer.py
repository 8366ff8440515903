"""Observers: hidden participants of ours in the rooms that the supervisor has open, who hear of everything at once.

They live in a process of their own (`tui.observer`), which is started with the first room. With the grants `hidden` and
`agent` they are seen by nobody, counted nowhere, and hold no room open (livekit-server 1.13.5).

LiveKit opens a room for whoever joins one that is not there, and no grant forbids that where the server has
`room.auto_create`, the default. So that no observer brings a deleted room back, a room is asked for by name and SID
just before it is joined, an observer that finds itself in another room leaves at once, and one whose connection breaks
does not join again by itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import sys
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from types import TracebackType
from typing import Any, Self

from livekit.api import AccessToken, VideoGrants
from livekit.protocol import models as models_pb

from tui.gateway import convert
from tui.model.evidence import Evidence, Fact, Sighting, Source, SourceStatus, published
from tui.model.phrases import count
from tui.model.room import OBSERVER_PREFIX, Agent, Participant, Room, SessionError
from tui.model.secret import Secret
from tui.model.text import Name, safe_text

TOKEN_TTL = timedelta(seconds=60)
"""For joining only: LiveKit lets a connection live on when its token has expired."""
CLOSING_S = 3.0
"""How long the process may take to leave its rooms."""
LINGER_S = 2.0
"""How long a room that is not wanted any more is still observed, if there is room for it."""
AGAIN_S = 10.0
"""How long a room is left alone that could not be joined."""
RESTART_S = 5.0
"""How long the process is left alone after it ended by itself."""
LINE_LIMIT = 4 * 1024 * 1024
"""Bytes of one line: a participant's attributes may hold 64 KiB, and everyone in a room that ends stands in one."""


class Observers:
    """Observes at most `limit` rooms at a time; an async context manager.

    `publish` gets what is evidence for a session's end, `touched` the SID of every room that something happened in.
    `is_there` tells whether the very room, by its SID, is there now, `answers` whether a participant's process does.
    Where they raise, a room is not joined, and a silence proves nothing.
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
        self._wanted: dict[str, Room] = {}
        self._asked: dict[str, Room] = {}
        self._unwanted: dict[str, float] = {}
        self._joined: set[str] = set()
        self._silent: dict[str, asyncio.Task[None]] = {}
        self._not_before: dict[str, float] = {}
        self._trouble = ""
        self._changed = asyncio.Event()
        self._process: asyncio.subprocess.Process | None = None
        self._tasks: tuple[asyncio.Task[None], ...] = ()

    async def __aenter__(self) -> Self:
        self._tasks = (asyncio.create_task(self._serve(), name="observers"),)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        tasks = (*self._tasks, *self._silent.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    @property
    def status(self) -> SourceStatus:
        """How many rooms are observed, or why none is."""
        if self._trouble:
            return SourceStatus("observer", on=False, words=self._trouble, trouble=True)
        return SourceStatus("observer", on=bool(self._joined), words=f"{count(len(self._joined), 'room')}")

    def watch(self, rooms: Sequence[Room]) -> None:
        """Observe these rooms, the most important first, and no others. Costs nothing where that is so already."""
        wanted = {room.sid: room for room in rooms[: self._limit]}
        if wanted.keys() != self._asked.keys():
            self._changed.set()
        self._wanted = wanted

    # The process

    async def _serve(self) -> None:
        """Start the process when it is needed, and again when it has ended by itself."""
        while True:
            await self._changed.wait()
            if not self._wanted:
                self._changed.clear()
                continue
            try:
                await self._run()
            except OSError as error:
                self._trouble = f"can't start: {error.strerror}"
            self._forget_all()
            await asyncio.sleep(RESTART_S)
            self._changed.set()

    async def _run(self) -> None:
        # Nothing of the project's settings goes along, and what the native library prints is nobody's.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("LIVEKIT_")}
        process = self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tui.observer",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env=environment,
            limit=LINE_LIMIT,
            start_new_session=True,
        )
        ordering = asyncio.create_task(self._order(process), name="observers: orders")
        try:
            await self._listen(process)
            self._trouble = "its process ended: it is started again"
        finally:
            ordering.cancel()
            await asyncio.gather(ordering, return_exceptions=True)
            await _end(process)

    async def _order(self, process: asyncio.subprocess.Process) -> None:
        """Have rooms joined and left, as they are wanted."""
        while True:
            self._changed.clear()
            for sid in self._asked.keys() - self._wanted.keys():
                # Polling may have seen a room's end before its observer was told the reason.
                since = self._unwanted.setdefault(sid, time.monotonic())
                if time.monotonic() - since >= LINGER_S or len(self._asked) > self._limit:
                    self._send(process, {"leave": sid})
                    self._forget(sid)
            for sid, room in tuple(self._wanted.items()):
                if sid not in self._asked and self._not_before.get(sid, 0.0) <= time.monotonic():
                    await self._join(process, room)
            await self._changed.wait()

    async def _join(self, process: asyncio.subprocess.Process, room: Room) -> None:
        self._not_before[room.sid] = time.monotonic() + AGAIN_S
        try:
            there = await self._is_there(room)
        except Exception:  # noqa: BLE001 - whatever keeps us from asking keeps us out; polling says what it is
            there = False
        if there and room.sid in self._wanted:
            self._asked[room.sid] = room
            self._send(process, {"join": room.sid, "url": self._url, "token": self._token(room)})

    def _token(self, room: Room) -> str:
        grants = VideoGrants(
            room_join=True,
            room=room.name.raw,
            hidden=True,
            agent=True,
            can_publish=False,
            can_update_own_metadata=False,
        )
        token = AccessToken(self._key, self._secret.reveal()).with_identity(OBSERVER_PREFIX + uuid.uuid4().hex[:8])
        return token.with_grants(grants).with_ttl(TOKEN_TTL).to_jwt()

    def _send(self, process: asyncio.subprocess.Process, order: Mapping[str, str]) -> None:
        if process.stdin is not None and not process.stdin.is_closing():
            process.stdin.write(json.dumps(order).encode() + b"\n")

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
            with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError):
                # Not what the process says: cut off as it ended, or written by the native library.
                self._hear(json.loads(line))

    def _forget(self, sid: str) -> None:
        self._asked.pop(sid, None)
        self._unwanted.pop(sid, None)
        self._joined.discard(sid)

    def _forget_all(self) -> None:
        self._asked.clear()
        self._unwanted.clear()
        self._joined.clear()
        self._not_before.clear()

    # What it tells

    def _hear(self, said: Mapping[str, Any]) -> None:
        sid, at = str(said["room"]), self._clock()
        room = self._asked.get(sid)
        if room is None:
            return
        match said["saw"]:
            case "joined":
                self._joined.add(sid)
                self._trouble = ""
            case "failed":
                self._forget(sid)
                self._trouble = f"can't join {room.name.safe}: {safe_text(str(said['why']), 80)}"
            case "wrong_room" | "lost":
                self._forget(sid)
                self._touched(sid)
            case "touched":
                self._touched(sid)
            case "ended":
                self._ended(room, said, at)
            case saw:
                self._about_participant(room, saw, said, at)

    def _ended(self, room: Room, said: Mapping[str, Any], at: float) -> None:
        """The room, or our own connection: everyone in it was told the same reason."""
        self._forget(room.sid)
        self._touched(room.sid)
        reason = convert.disconnect_reason(int(said["reason"]))
        if reason not in ("ROOM_DELETED", "ROOM_CLOSED"):
            return
        self._publish(Sighting(room.name, room.sid, (Evidence(at, Source.OBSERVER, Fact.ROOM_ENDED, reason),)))
        for told in said["who"]:
            who = _participant(told)
            if who.is_agent:
                self._tell(convert.left(room.name, room.sid, who, Source.OBSERVER, reason, at))

    def _about_participant(self, room: Room, saw: str, said: Mapping[str, Any], at: float) -> None:
        who = _participant(said["who"])
        self._touched(room.sid)
        evidence: tuple[Evidence, ...] = ()
        match saw:
            case "left":
                self._silent.pop(who.sid, None)
                reason = convert.disconnect_reason(int(said["reason"]))
                self._tell(convert.left(room.name, room.sid, who, Source.OBSERVER, reason, at))
            case "changed":
                evidence = tuple(published(who, at))
            case "session_failed":
                error = session_error(str(said["error"]))
                evidence = (Evidence(at, Source.OBSERVER, Fact.SESSION_FAILED, error=error),)
            case "session_silent" if who.sid not in self._silent:
                self._silent[who.sid] = asyncio.create_task(self._judge_silence(room, who, at))
        if evidence and who.is_agent:
            self._publish(Sighting(room.name, room.sid, evidence, Agent(who)))

    async def _judge_silence(self, room: Room, who: Participant, at: float) -> None:
        """A session that no longer answers, though its agent's process does, has closed."""
        with contextlib.suppress(Exception):  # whatever keeps us from asking, it proves nothing
            if await self._answers(room, who.identity):
                closed = Evidence(at, Source.OBSERVER, Fact.SESSION_CLOSED)
                self._publish(Sighting(room.name, room.sid, (closed,), Agent(who)))

    def _tell(self, sighting: Sighting | None) -> None:
        if sighting is not None:
            self._publish(sighting)


_ERROR = re.compile(
    r"label='(?P<source>[^']*)'.*?error=(?P<type>\w+)\((?P<quote>['\"])(?P<message>.*?)(?P=quote)", re.DOTALL
)


def session_error(text: str) -> SessionError:
    """The error in a session's error event, whose text is the `repr` of a livekit-agents `LLMError` or the like
    (1.8.9); any other text is taken for the message."""
    found = _ERROR.search(text)
    parts = (found["type"], found["source"], found["message"]) if found is not None else ("", "session", text)
    return SessionError(*(safe_text(part, 300) for part in parts))


def _participant(told: Mapping[str, Any]) -> Participant:
    """A participant as the rtc library has it; when it joined, and its permissions, it doesn't tell."""
    message = models_pb.ParticipantInfo(
        sid=str(told["sid"]),
        identity=_encodable(told["identity"]),
        name=_encodable(told["name"]),
        kind=models_pb.ParticipantInfo.Kind.Name(int(told["kind"])),
        state=models_pb.ParticipantInfo.ACTIVE,
        attributes={_encodable(key): _encodable(value) for key, value in dict(told["attributes"]).items()},
    )
    return convert.participant(message)


def _encodable(text: object) -> str:
    return str(text).encode("utf-8", "replace").decode()


async def _end(process: asyncio.subprocess.Process) -> None:
    """Ask it to leave its rooms, by closing its input; kill it if that takes long."""
    if process.stdin is not None:
        process.stdin.close()
    try:
        async with asyncio.timeout(CLOSING_S):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
