"""The observers' process: hidden participants in some rooms, told what to do and telling what they see in JSON lines.

livekit's rtc library is native, large, and prints when a connection ends; in a process of its own it can do the
dashboard no harm. The process is given join tokens, never an API secret. When its standard input ends it leaves all
rooms and ends, whatever hangs, so that it can't outlive the dashboard. It needs livekit and nothing of `tui`.

Orders, on standard input, one a line:

    {"join": ROOM_SID, "url": URL, "token": JWT}
    {"leave": ROOM_SID}
    {"relay": ROOM_SID, "agents": [SID, …]}                    whose sessions are looked into, in a room joined before
    {"send": ROOM_SID, "agent": SID, "message": BASE64}        an AgentSessionMessage, to one of them

Sightings, on standard output, one a line, each with `"room": ROOM_SID` and what it is in `"saw"`:

    joined           the order to join was carried out
    failed           it could not be: `why`
    wrong_room       the name leads to another room now, which was left at once; `created` says that it was our joining
                     that made this room, and `empty_timeout` after how many seconds it ends by itself
    lost             our connection broke, or somebody ended it, `reason`; nobody joins again without an order
    ended            the room has ended, `reason`; `who`, a list, are the agents that were in it
    left             `who` left, `reason`
    published        the agent `who` says something else of itself in its attributes
    touched          something else happened in the room
    session_failed   the session of the agent `who` told of an error, `error`, in its own words
    session_silent   the session of the agent `who` doesn't answer any more; `since` is how many seconds ago the first
                     question was asked that it left unanswered; said again as long as it lasts, more and more seldom
    told             the `agent`, one whose session is looked into, sent this `message`, an AgentSessionMessage as above
    absent           the `agent`, whose session is to be looked into, is not in the room

`reason` is the number of a DisconnectReason; `who` is what `_who` makes of a participant.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import math
import os
import sys
import threading
import time
import uuid
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from typing import Any, TextIO

from livekit import rtc
from livekit.protocol.agent_pb import agent_session as session_pb

SESSION_TOPIC = "lk.agent.session"
"""On it livekit-agents tells of its session and answers about it for as long as that is open (1.8.9,
voice/remote_session.py). It speaks to everybody in the room: who asked it can't see, if that is a hidden one."""
PING_EVERY_S = 1.5
SILENT_PINGS = 2
"""So many in a row a session leaves unanswered until it is called silent."""
LAST_PING = 6
"""After so many it is left alone until it speaks of itself: livekit-agents logs each one that finds no session."""
TOUCHED_EVERY_S = 0.1
"""How often at most a room is called touched: hundreds may be in it, and some with ill will."""
MESSAGE_LIMIT = 64 * 1024
"""Bytes of a message on the topic: anybody in the room may send anything there."""
RELAYED_LIMIT = 2 * 1024 * 1024
"""Bytes of a message from an agent whose session is looked into: the history of a long conversation comes in one."""
READ_TIMEOUT_S = 10.0
"""How long a message may take to come in whole; those after it wait for it."""
ERROR_LIMIT = 2_000
"""Characters passed on of an error's text."""
ATTRIBUTE_LIMIT = 4_000
"""Characters passed on of an attribute; those that matter are shorter (docs/helper-protocol.md)."""
JOINING_AT_ONCE = 4
SID_TIMEOUT_S = 5.0
SEND_TIMEOUT_S = 1.0
LEAVE_TIMEOUT_S = 2.0
END_TIMEOUT_S = 3.0
"""How long after its standard input the process ends at the latest."""

Say = Callable[..., None]
"""Called with a room's SID, what was seen there, and more about it."""

_OURS = "lk-tui."
_SHOWN = (_OURS, "lk.agent")


class Session:
    """What is heard of one agent's session, and when to ask it next. Times are seconds of one monotonic clock.

    The silence of one that has never spoken means nothing: it has not started yet, or it isn't livekit-agents.
    """

    def __init__(self) -> None:
        self._spoke = False
        self._unanswered = 0
        self._first_unanswered = -math.inf
        self._asked = -math.inf
        self._next = -math.inf

    def spoke(self) -> None:
        """It told something, or answered, perhaps late."""
        self._spoke = True
        self._unanswered = 0
        self._next = self._asked + PING_EVERY_S

    def due(self, now: float) -> bool:
        """Whether it is time to ask."""
        return now >= self._next

    def asked(self, now: float) -> None:
        """It was asked. The more often in vain, the longer it is left alone."""
        if not self._unanswered:
            self._first_unanswered = now
        self._unanswered += 1
        self._asked = now
        in_vain = max(0, self._unanswered - 1 - SILENT_PINGS)
        self._next = now + PING_EVERY_S * 2**in_vain if self._unanswered < LAST_PING else math.inf

    def not_asked(self) -> None:
        """The last question did not get out."""
        self._unanswered = max(0, self._unanswered - 1)

    @property
    def silent_since(self) -> float | None:
        """When the first question was asked that it leaves unanswered, once it has fallen silent."""
        return self._first_unanswered if self._spoke and self._unanswered >= SILENT_PINGS else None


class Observer:
    """One hidden participant, in one room. It tells nothing before it is in the room that was meant, nor after."""

    def __init__(self, sid: str, say: Say) -> None:
        self._sid = sid
        self._say_aloud = say
        self._room = rtc.Room()
        self._here = False
        self._leaving = asyncio.Event()
        self._sessions: dict[str, Session] = {}
        self._relayed: frozenset[str] = frozenset()
        self._tasks: set[asyncio.Task[None]] = set()
        self._reading: dict[str, asyncio.Task[None]] = {}
        """the newest message of each sender that is still coming in"""
        self._touched = False
        self._quiet: asyncio.TimerHandle | None = None

    async def attend(self, url: str, token: str, door: asyncio.Semaphore) -> None:
        """Join, look until told to leave, and leave. A connection can't be called off while it is made: it is made, and
        left."""
        try:
            async with door:
                if not self._leaving.is_set():
                    await self._join(url, token)
            if self._here:
                await self._look()
        except Exception as error:  # noqa: BLE001 - the library's errors are many: all mean that nothing is observed
            if not self._leaving.is_set():
                self._say_aloud(self._sid, "failed", why=str(error)[:ERROR_LIMIT])
        finally:
            self.leave()
            with contextlib.suppress(Exception):  # what can't be left any more is left
                async with asyncio.timeout(LEAVE_TIMEOUT_S):
                    await self._room.disconnect()

    def leave(self) -> None:
        """Be silent at once, and leave soon."""
        self._here = False
        self._leaving.set()

    def relay(self, agents: Iterable[str]) -> None:
        """From now on say all that these agents, by their SIDs, tell of their sessions."""
        self._relayed = frozenset(agents)
        here = {agent.sid for agent in self._agents()}
        for sid in self._relayed - here:
            self._say("absent", agent=sid)

    def send(self, agent_sid: str, message: bytes) -> None:
        """Send an agent this message. What can't be sent is not answered."""
        agent = next((agent for agent in self._agents() if agent.sid == agent_sid), None)
        if agent is not None and self._here:
            self._keep(asyncio.create_task(self._send_quietly(agent.identity, message)))

    async def _join(self, url: str, token: str) -> None:
        for event in (
            "participant_connected",
            "participant_metadata_changed",
            "participant_name_changed",
            "track_published",
            "track_unpublished",
            "track_muted",
            "track_unmuted",
            "room_metadata_changed",
        ):
            self._room.on(event, self._touch)
        self._room.on("participant_disconnected", self._on_left)
        self._room.on("participant_attributes_changed", self._on_attributes)
        self._room.on("disconnected", self._on_disconnected)
        # To connect anew might lead into another room, and may bring back one that has ended.
        self._room.on("reconnecting", self._on_lost)
        self._room.on("moved", self._on_lost)
        self._room.register_byte_stream_handler(SESSION_TOPIC, self._on_session)
        began = time.time()
        options = rtc.RoomOptions(
            auto_subscribe=False, data_stream=rtc.DataStreamOptions(max_payload_byte_length=RELAYED_LIMIT)
        )
        await self._room.connect(url, token, options)
        async with asyncio.timeout(SID_TIMEOUT_S):
            sid = await self._room.sid
        if self._leaving.is_set():
            return
        self._here = sid == self._sid
        if self._here:
            self._say("joined")
        else:
            created = not self._room.remote_participants and self._room.creation_time.timestamp() > began - 1.0
            timeout = self._room.empty_timeout
            self._say_aloud(self._sid, "wrong_room", created=created, empty_timeout=timeout)

    def _say(self, saw: str, **more: object) -> None:
        if self._here:
            self._say_aloud(self._sid, saw, **more)

    # What happens in the room

    def _touch(self, *_: object) -> None:
        self._touched = True
        if self._quiet is None:
            self._say_touched()

    def _say_touched(self) -> None:
        self._quiet = None
        if self._touched:
            self._touched = False
            self._say("touched")
            self._quiet = asyncio.get_running_loop().call_later(TOUCHED_EVERY_S, self._say_touched)

    def _on_left(self, participant: rtc.RemoteParticipant) -> None:
        self._say("left", who=_who(participant), reason=int(participant.disconnect_reason or 0))

    def _on_attributes(self, changed: Mapping[str, str], participant: rtc.Participant) -> None:
        if _is_agent(participant) and any(key.startswith(_OURS) for key in changed):
            self._say("published", who=_who(participant))
        else:
            self._touch()

    def _on_disconnected(self, reason: int) -> None:
        if reason in (rtc.DisconnectReason.ROOM_DELETED, rtc.DisconnectReason.ROOM_CLOSED):
            self._say("ended", reason=int(reason), who=[_who(agent) for agent in self._agents()])
            self.leave()
        else:
            self._on_lost(reason)

    def _on_lost(self, reason: int = 0) -> None:
        self._say("lost", reason=int(reason))
        self.leave()

    # The sessions of the agents in it

    async def _look(self) -> None:
        while not self._leaving.is_set():
            await self._ask_sessions()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PING_EVERY_S):
                    await self._leaving.wait()

    async def _ask_sessions(self) -> None:
        agents = tuple(self._agents())
        self._sessions = {agent.sid: self._session(agent) for agent in agents}
        for agent in agents:
            session, now = self._session(agent), time.monotonic()
            if not session.due(now):
                continue
            if (since := session.silent_since) is not None:
                self._say("session_silent", who=_who(agent), since=now - since)
            session.asked(now)
            try:
                async with asyncio.timeout(SEND_TIMEOUT_S):
                    await self._ping(agent.identity)
            except Exception:  # noqa: BLE001 - whatever kept it from getting out
                session.not_asked()

    async def _ping(self, identity: str) -> None:
        request = session_pb.SessionRequest(request_id=uuid.uuid4().hex)
        request.ping.SetInParent()
        await self._send(identity, session_pb.AgentSessionMessage(request=request).SerializeToString())

    async def _send_quietly(self, identity: str, message: bytes) -> None:
        with contextlib.suppress(Exception):  # whatever kept it from getting out
            async with asyncio.timeout(SEND_TIMEOUT_S):
                await self._send(identity, message)

    async def _send(self, identity: str, message: bytes) -> None:
        await self._room.local_participant.send_bytes(
            message, name=uuid.uuid4().hex, topic=SESSION_TOPIC, destination_identities=[identity]
        )

    def _on_session(self, reader: rtc.ByteStreamReader, identity: str) -> None:
        before = self._reading.get(identity)
        task = self._reading[identity] = asyncio.create_task(self._read(reader, identity, before))
        self._keep(task)
        task.add_done_callback(lambda _: self._read_by(identity, task))

    def _keep(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _read_by(self, identity: str, task: asyncio.Task[None]) -> None:
        if self._reading.get(identity) is task:
            del self._reading[identity]

    async def _read(self, reader: rtc.ByteStreamReader, identity: str, before: asyncio.Task[None] | None) -> None:
        """Read a message, and take it in after those that were sent before: small ones would overtake large ones."""
        data, message = bytearray(), session_pb.AgentSessionMessage()
        try:
            async with asyncio.timeout(READ_TIMEOUT_S):
                async for chunk in reader:
                    data += chunk
                    if len(data) > self._limit(identity):
                        return
            message.ParseFromString(bytes(data))
        except Exception:  # noqa: BLE001 - too long, cut off, or no such message: anybody may send anything
            return
        finally:
            reader.close()
        if before is not None:
            await asyncio.wait((before,))
        sender = self._room.remote_participants.get(identity)
        if sender is None or not _is_agent(sender):
            return
        self._session(sender).spoke()
        if sender.sid in self._relayed:
            self._say("told", agent=sender.sid, message=base64.b64encode(data).decode())
        if message.event.HasField("error"):
            self._say("session_failed", who=_who(sender), error=_shortened(message.event.error.message))

    def _limit(self, identity: str) -> int:
        sender = self._room.remote_participants.get(identity)
        return RELAYED_LIMIT if sender is not None and sender.sid in self._relayed else MESSAGE_LIMIT

    def _session(self, agent: rtc.RemoteParticipant) -> Session:
        return self._sessions.setdefault(agent.sid, Session())

    def _agents(self) -> Iterator[rtc.RemoteParticipant]:
        return filter(_is_agent, tuple(self._room.remote_participants.values()))


def _shortened(error: str) -> str:
    """Without its middle where it is long: its end tells whether the session got over it."""
    half = ERROR_LIMIT // 2
    return error if len(error) <= ERROR_LIMIT else f"{error[:half]} … {error[-half:]}"


def _is_agent(participant: rtc.Participant) -> bool:
    return participant.kind == rtc.ParticipantKind.PARTICIPANT_KIND_AGENT


def _who(participant: rtc.Participant) -> dict[str, object]:
    """A participant as the dashboard needs it; of its attributes only those that an agent tells of itself."""
    joined = participant.joined_at
    shown = participant.attributes.items() if _is_agent(participant) else ()
    return {
        "sid": participant.sid,
        "identity": participant.identity,
        "kind": int(participant.kind),
        "joined_at": joined.timestamp() if joined is not None else 0.0,
        "attributes": {key: value[:ATTRIBUTE_LIMIT] for key, value in shown if key.startswith(_SHOWN)},
    }


class Observers:
    """All of them, by the SID of their room."""

    def __init__(self, say: Say) -> None:
        self._say = say
        self._observers: dict[str, Observer] = {}
        self._attending: set[asyncio.Task[None]] = set()
        self._door = asyncio.Semaphore(JOINING_AT_ONCE)

    def obey(self, order: Mapping[str, Any]) -> None:
        """Start what an order says; nothing is waited for. The last order for a room counts."""
        match order:
            case {"join": sid, "url": url, "token": token}:
                self._leave(sid)
                observer = self._observers[sid] = Observer(sid, self._say)
                self._start(observer.attend(url, token, self._door))
            case {"leave": sid}:
                self._leave(sid)
            case {"relay": sid, "agents": agents} if sid in self._observers:
                self._observers[sid].relay(agents)
            case {"send": sid, "agent": agent, "message": message} if sid in self._observers:
                self._observers[sid].send(agent, base64.b64decode(message))

    def _leave(self, sid: str) -> None:
        if (before := self._observers.pop(sid, None)) is not None:
            before.leave()

    async def leave_all(self) -> None:
        """Out of every room; what takes too long ends with the process."""
        for observer in self._observers.values():
            observer.leave()
        if self._attending:
            await asyncio.wait(self._attending, timeout=LEAVE_TIMEOUT_S)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._attending.add(task)
        task.add_done_callback(self._attending.discard)


def _listen(obey: Callable[[bytes], None], end: Callable[[], None]) -> None:
    """Pass on the orders until there are no more; then the process has not long to live, whatever its loop does."""
    for line in sys.stdin.buffer:
        obey(line)
    end()
    time.sleep(END_TIMEOUT_S)
    os._exit(1)


def _take_output() -> TextIO:
    """Standard output for ourselves alone: what the native library prints there goes where its errors go."""
    output = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(2, 1)
    return output


async def main() -> None:
    """Obey until standard input ends."""
    output, loop, ended = _take_output(), asyncio.get_running_loop(), asyncio.Event()

    def say(room: str, saw: str, **more: object) -> None:
        with contextlib.suppress(OSError):  # nobody listens any more: standard input ends as well
            output.write(json.dumps({"room": room, "saw": saw, **more}) + "\n")
            output.flush()

    observers = Observers(say)
    threading.Thread(
        target=_listen,
        args=(
            lambda line: loop.call_soon_threadsafe(observers.obey, json.loads(line)),
            lambda: loop.call_soon_threadsafe(ended.set),
        ),
        daemon=True,
    ).start()
    await ended.wait()
    await observers.leave_all()
    # The native library's threads are not waited for, and don't get to complain.
    os._exit(0)


if __name__ == "__main__":
    asyncio.run(main())
