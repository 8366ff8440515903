"""Messages to and from the sessions that are looked into, on their way through the observers' process and back."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from livekit import rtc
from livekit.protocol.agent_pb import agent_session as pb

from tests.lab.waiting import eventually
from tests.test_observer import HALL, LOBBY, OBEDIENT, Shown, observing
from tui import observer as program
from tui.gateway.told import Told

AGENT = rtc.ParticipantKind.PARTICIPANT_KIND_AGENT
PERSON = rtc.ParticipantKind.PARTICIPANT_KIND_STANDARD


class Reader:
    """A byte stream that ends when it is told to."""

    def __init__(self, *chunks: bytes) -> None:
        self.chunks = chunks
        self.open = asyncio.Event()
        self.closed = False

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._read()

    async def _read(self) -> AsyncIterator[bytes]:
        await self.open.wait()
        for chunk in self.chunks:
            yield chunk

    def close(self) -> None:
        self.closed = True


class Seat:
    """The program's observer in a room with an agent and a person, and all that it said."""

    def __init__(self) -> None:
        self.said: list[tuple[str, Mapping[str, Any]]] = []
        self.sent: list[tuple[bytes, list[str]]] = []
        self.observer = program.Observer(LOBBY.sid, lambda _, saw, **more: self.said.append((saw, more)))
        self.observer._here = True
        people = {
            name: SimpleNamespace(sid=f"PA_{name}", identity=name, kind=kind, attributes={}, joined_at=None)
            for name, kind in (("bot", AGENT), ("other", AGENT), ("ann", PERSON))
        }
        local = SimpleNamespace(send_bytes=self._send)
        self.observer._room = cast(Any, SimpleNamespace(remote_participants=people, local_participant=local))

    async def _send(self, message: bytes, *, name: str, topic: str, destination_identities: list[str]) -> None:
        assert name
        assert topic == program.SESSION_TOPIC
        self.sent.append((message, destination_identities))

    def hear(self, identity: str, *readers: Reader) -> None:
        for reader in readers:
            self.observer._on_session(cast(Any, reader), identity)

    @property
    def told(self) -> list[bytes]:
        """The messages that were passed on."""
        return [base64.b64decode(more["message"]) for saw, more in self.said if saw == "told"]

    async def settled(self) -> None:
        await eventually(lambda: not self.observer._tasks)


def event(number: int, size: int = 10) -> bytes:
    words = pb.AgentSessionEvent.UserInputTranscribed(transcript=f"{number} " + "x" * size)
    return pb.AgentSessionMessage(event=pb.AgentSessionEvent(user_input_transcribed=words)).SerializeToString()


async def test_messages_are_passed_on_in_the_order_in_which_they_were_sent() -> None:
    seat = Seat()
    seat.observer.relay(["PA_bot"])
    messages = [event(number) for number in range(5)]
    readers = [Reader(message) for message in messages]
    seat.hear("bot", *readers)
    for reader in reversed(readers):
        reader.open.set()
        await asyncio.sleep(0)
    await seat.settled()
    assert seat.told == messages
    assert all(reader.closed for reader in readers)
    assert seat.observer._reading == {}


async def test_one_senders_slow_message_holds_up_nobody_elses() -> None:
    seat = Seat()
    seat.observer.relay(["PA_bot"])
    slow, quick = Reader(event(1)), Reader(event(2))
    seat.hear("other", slow)
    seat.hear("bot", quick)
    quick.open.set()
    await eventually(lambda: seat.told == [event(2)])
    slow.open.set()
    await seat.settled()
    assert len(seat.told) == 1


async def test_only_those_who_are_looked_into_are_passed_on_and_only_they_may_say_much() -> None:
    seat = Seat()
    seat.observer.relay(["PA_bot"])
    long = event(1, program.MESSAGE_LIMIT)
    longest = event(1, program.RELAYED_LIMIT)
    for identity, message in (("other", event(1)), ("ann", event(1)), ("nobody", event(1)), ("bot", b"\xff")):
        reader = Reader(message)
        reader.open.set()
        seat.hear(identity, reader)
    for identity, message in (("other", long), ("bot", long), ("bot", longest)):
        reader = Reader(message[: len(message) // 2], message[len(message) // 2 :])
        reader.open.set()
        seat.hear(identity, reader)
    await seat.settled()
    assert seat.told == [long]
    seat.observer.relay([])
    reader = Reader(event(1))
    reader.open.set()
    seat.hear("bot", reader)
    await seat.settled()
    assert seat.told == [long]


async def test_what_is_to_be_sent_goes_to_that_very_agent_or_nowhere() -> None:
    seat = Seat()
    seat.observer.send("PA_bot", b"message")
    seat.observer.send("PA_gone", b"message")
    seat.observer.send("PA_ann", b"message")
    await seat.settled()
    assert seat.sent == [(b"message", ["bot"])]
    seat.observer.leave()
    seat.observer.send("PA_bot", b"message")
    await seat.settled()
    assert len(seat.sent) == 1


async def test_an_agent_that_is_not_there_is_said_to_be_absent() -> None:
    seat = Seat()
    seat.observer.relay(["PA_bot", "PA_gone"])
    assert seat.said == [("absent", {"agent": "PA_gone"})]


async def test_orders_for_rooms_that_nobody_observes_are_nothing() -> None:
    observers = program.Observers(lambda *_, **__: pytest.fail("there is nothing to say"))
    observers.obey({"relay": LOBBY.sid, "agents": ["PA_bot"]})
    observers.obey({"send": LOBBY.sid, "agent": "PA_bot", "message": ""})
    observers.obey({"leave": LOBBY.sid})


@pytest.mark.parametrize("line", [b"", b"{}", b'{"room": "RM_1", "saw": "told", "message": 7}', b"[]", b"null"])
def test_a_line_that_is_not_the_programs_is_nothing(line: bytes) -> None:
    assert Told.read(line) is None


class Heard:
    """A listener, and what it was told."""

    def __init__(self) -> None:
        self.told: list[object] = []

    def on_joined(self) -> None:
        self.told.append("joined")

    def on_message(self, message: bytes) -> None:
        self.told.append(message)

    def on_away(self, trouble: str) -> None:
        self.told.append(("away", trouble))

    def on_gone(self) -> None:
        self.told.append("gone")


def orders(shown: Shown) -> list[dict[str, Any]]:
    return [{key: value for key, value in order.items() if key not in ("url", "token")} for order in shown.orders]


async def test_a_session_is_looked_into_through_an_observer_of_its_own_which_leaves_after(tmp_path: Path) -> None:
    async with observing(tmp_path, (), limit=0) as shown:
        heard = Heard()
        line = shown.observers.call(LOBBY, "PA_bot", heard)
        await eventually(lambda: heard.told == ["joined"])
        line.send(b"question")
        told = base64.b64encode(b"answer").decode()
        shown.say("told", agent="PA_other", message=told)
        shown.say("told", agent="PA_bot", message=told)
        await eventually(lambda: heard.told[1:] == [b"answer"])
        shown.say("left", who={"sid": "PA_bot", "identity": "bot", "kind": 4, "joined_at": 0, "attributes": {}})
        await eventually(lambda: heard.told[2:] == ["gone"])
        line.close()
        line.close()
        await eventually(lambda: {"leave": LOBBY.sid} in orders(shown))
        assert orders(shown)[:4] == [
            {"join": LOBBY.sid},
            {"relay": LOBBY.sid, "agents": ["PA_bot"]},
            {"send": LOBBY.sid, "agent": "PA_bot", "message": base64.b64encode(b"question").decode()},
            {"relay": LOBBY.sid, "agents": []},
        ]


async def test_an_observer_that_is_there_serves_and_stays(tmp_path: Path) -> None:
    async with observing(tmp_path, [LOBBY], limit=1) as shown:
        await eventually(lambda: shown.words == "1 room")
        heard = Heard()
        line = shown.observers.call(LOBBY, "PA_bot", heard)
        assert heard.told == []
        await eventually(lambda: heard.told == ["joined"])
        elsewhere = Heard()
        other = shown.observers.call(HALL, "PA_bell", elsewhere)
        await eventually(lambda: elsewhere.told == ["joined"])
        other.close()
        line.close()
        await eventually(lambda: {"leave": HALL.sid} in orders(shown))
        assert [order for order in orders(shown) if "join" in order] == [{"join": LOBBY.sid}, {"join": HALL.sid}]
        assert shown.words == "1 room"


async def test_whoever_listens_is_told_that_the_observer_is_lost_and_when_another_one_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tui.gateway.observer.SOON_S", 0.2)
    async with observing(tmp_path, (), limit=0) as shown:
        heard = Heard()
        shown.observers.call(LOBBY, "PA_bot", heard)
        await eventually(lambda: heard.told == ["joined"])
        shown.say("lost", reason=0)
        await eventually(lambda: heard.told[1:2] == [("away", "the observer is out of lobby")])

        def again() -> bool:
            shown.observers.renew()
            return heard.told[2:] == ["joined"]

        await eventually(again)
        shown.say("ended", reason=5, who=[])
        await eventually(lambda: heard.told[3:] == ["gone"])


async def test_the_process_is_there_before_the_first_room_where_that_is_wished(tmp_path: Path) -> None:
    code = f'open({str(tmp_path / "started")!r}, "w").close()\n{OBEDIENT}'
    async with observing(tmp_path, (), code=code) as shown:
        shown.observers.warm_up()
        await eventually((tmp_path / "started").exists)
        assert orders(shown) == []
        assert shown.words == "0 rooms"
