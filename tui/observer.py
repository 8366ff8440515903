"""The observers' process: hidden participants in some rooms, told what to do and telling what they see in JSON lines.

    python -m tui.observer

livekit's rtc library is native, large, and prints to standard error when a connection ends; in a process of its own it
can do the dashboard no harm. The process is given join tokens, never an API secret, and leaves all rooms when its
standard input ends, so that it cannot outlive the dashboard. It needs livekit and nothing of `tui`.

Orders, on standard input:

    {"join": ROOM_SID, "url": URL, "token": JWT}
    {"leave": ROOM_SID}

Sightings, on standard output, each with `"room": ROOM_SID` and what it is in `"saw"`:

    joined, failed (why), wrong_room (sid), lost          what became of the order; `lost`: the connection broke
    left, changed                                         a participant, `who` (see `_who`), and why it left, `reason`
    touched                                               something else happened in the room
    ended                                                 the room is gone, with `reason` (a DisconnectReason's number)
    session_failed, session_silent                        an agent's session told of an error (`error`); fell silent
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import uuid
from collections.abc import Coroutine, Mapping
from typing import Any

from livekit import rtc
from livekit.protocol.agent_pb import agent_session as session_pb

SESSION_TOPIC = "lk.agent.session"
"""On it livekit-agents answers about its session as long as that is open (1.8.9, voice/remote_session.py)."""
PING_EVERY_S = 2.0
PING_TIMEOUT_S = 1.5
SILENT_PINGS = 2
"""So many pings in a row a session leaves unanswered that had answered before: it closed, if its process still answers.
That a hidden participant can't ask: the process doesn't see it (RPC times out), though its session answers pings."""


def say(room: str, saw: str, **more: object) -> None:
    """One line on standard output, whole."""
    sys.stdout.write(json.dumps({"room": room, "saw": saw, **more}) + "\n")
    sys.stdout.flush()


def _who(participant: rtc.Participant) -> dict[str, object]:
    """A participant as the dashboard needs it."""
    return {
        "sid": participant.sid,
        "identity": participant.identity,
        "name": participant.name,
        "kind": int(participant.kind),
        "attributes": dict(participant.attributes),
    }


class Observer:
    """One hidden participant, in one room."""

    def __init__(self, sid: str) -> None:
        self.sid = sid
        self._room = rtc.Room()
        self._tasks: set[asyncio.Task[None]] = set()
        self._pongs: dict[str, asyncio.Future[None]] = {}
        self._watched: set[str] = set()
        self._leaving = False

    async def join(self, url: str, token: str) -> None:
        """Connect, unless it is another room that has the name now, and look."""
        self._room.on("participant_connected", self._on_connected)
        self._room.on("participant_disconnected", self._on_left)
        self._room.on("participant_attributes_changed", self._on_changed)
        self._room.on("disconnected", self._on_disconnected)
        self._room.on("reconnecting", self._on_reconnecting)
        try:
            await self._room.connect(url, token, rtc.RoomOptions(auto_subscribe=False, dynacast=False))
            sid = await self._room.sid
        except Exception as error:  # noqa: BLE001 - the library's errors are many: all mean that nothing is observed
            say(self.sid, "failed", why=str(error)[:300])
            return
        if sid != self.sid:
            say(self.sid, "wrong_room", sid=sid)
            await self.leave()
            return
        self._room.register_byte_stream_handler(SESSION_TOPIC, self._on_session)
        say(self.sid, "joined")
        for participant in self._room.remote_participants.values():
            self._watch(participant)

    async def leave(self) -> None:
        """Disconnect for good."""
        self._leaving = True
        for task in self._tasks:
            task.cancel()
        await self._room.disconnect()

    # What happens in the room

    def _on_connected(self, participant: rtc.RemoteParticipant) -> None:
        say(self.sid, "touched")
        self._watch(participant)

    def _on_changed(self, changed: dict[str, str], participant: rtc.Participant) -> None:  # noqa: ARG002 - livekit's
        say(self.sid, "changed", who=_who(participant))

    def _on_left(self, participant: rtc.RemoteParticipant) -> None:
        say(self.sid, "left", who=_who(participant), reason=int(participant.disconnect_reason or 0))

    def _on_disconnected(self, reason: int) -> None:
        if self._leaving:
            return
        people = [_who(participant) for participant in self._room.remote_participants.values()]
        say(self.sid, "ended", reason=int(reason), who=people)

    def _on_reconnecting(self) -> None:
        # To join anew might bring a room back that was deleted meanwhile.
        say(self.sid, "lost")
        self._spawn(self.leave())

    # The session of an agent

    def _watch(self, participant: rtc.RemoteParticipant) -> None:
        if participant.kind == rtc.ParticipantKind.PARTICIPANT_KIND_AGENT and participant.sid not in self._watched:
            self._watched.add(participant.sid)
            self._spawn(self._ping(participant))

    async def _ping(self, agent: rtc.RemoteParticipant) -> None:
        answered, silent = False, 0
        while self._room.remote_participants.get(agent.identity) is agent:
            if await self._session_answers(agent.identity):
                answered, silent = True, 0
            elif answered:
                silent += 1
                if silent >= SILENT_PINGS:
                    # Once: livekit-agents logs every ping that comes after its session has closed.
                    say(self.sid, "session_silent", who=_who(agent))
                    return
            await asyncio.sleep(PING_EVERY_S)

    async def _session_answers(self, identity: str) -> bool:
        request = session_pb.SessionRequest(request_id=uuid.uuid4().hex)
        request.ping.SetInParent()
        pong = self._pongs[request.request_id] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(PING_TIMEOUT_S):
                await self._room.local_participant.send_bytes(
                    session_pb.AgentSessionMessage(request=request).SerializeToString(),
                    name=request.request_id,
                    topic=SESSION_TOPIC,
                    destination_identities=[identity],
                )
                await pong
        except Exception:  # noqa: BLE001 - not sent or not answered: both are no answer
            return False
        finally:
            del self._pongs[request.request_id]
        return True

    def _on_session(self, reader: rtc.ByteStreamReader, identity: str) -> None:
        self._spawn(self._read(reader, identity))

    async def _read(self, reader: rtc.ByteStreamReader, identity: str) -> None:
        message = session_pb.AgentSessionMessage()
        try:
            message.ParseFromString(b"".join([chunk async for chunk in reader]))
        except Exception:  # noqa: BLE001 - protobuf's own error; anybody in the room may send anything on this topic
            return
        pong = self._pongs.get(message.response.request_id)
        if pong is not None and not pong.done():
            pong.set_result(None)
        agent = self._room.remote_participants.get(identity)
        if agent is not None and message.event.HasField("error"):
            say(self.sid, "session_failed", who=_who(agent), error=message.event.error.message[:1000])

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class Observers:
    """All of them, by the SID of their room."""

    def __init__(self) -> None:
        self._observers: dict[str, Observer] = {}
        self._joining: set[asyncio.Task[None]] = set()

    def obey(self, order: Mapping[str, str]) -> None:
        """Start what an order says; nothing is waited for."""
        if (sid := order.get("join")) is not None and sid not in self._observers:
            observer = self._observers[sid] = Observer(sid)
            self._start(observer.join(order["url"], order["token"]))
        elif (leaving := self._observers.pop(order.get("leave", ""), None)) is not None:
            self._start(leaving.leave())

    async def leave_all(self) -> None:
        """Out of every room."""
        for task in self._joining:
            task.cancel()
        await asyncio.gather(*(observer.leave() for observer in self._observers.values()), return_exceptions=True)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._joining.add(task)
        task.add_done_callback(self._joining.discard)


async def main() -> None:
    """Obey until standard input ends."""
    observers = Observers()
    orders = asyncio.StreamReader(limit=1024 * 1024)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    while line := await orders.readline():
        observers.obey(json.loads(line))
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(observers.leave_all(), 3.0)


if __name__ == "__main__":
    asyncio.run(main())
