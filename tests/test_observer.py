"""The observers' process as its parent sees it, played by small programs, and the parts of it that need no server.

What LiveKit does with observers is in test_observer_live.py.
"""

from __future__ import annotations

import asyncio
import errno
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest
from livekit import rtc
from livekit.api import TokenVerifier

from tests.lab.server import free_port
from tests.lab.waiting import eventually
from tui import observer as program
from tui.gateway import observer as gateway
from tui.gateway.observer import OPENS_NO_ROOM, PROGRAM, Observers
from tui.gateway.told import session_error
from tui.model.evidence import Evidence, Fact, Sighting, Source
from tui.model.room import OBSERVER_PREFIX, Room, SessionError
from tui.model.secret import Secret
from tui.model.text import Name

KEY, SECRET = "devkey", "secretsecretsecretsecretsecretsecret"
NOW = 1_700_000_000.0
LOBBY, HALL, YARD = (Room(f"RM_{name}", Name.of(name), NOW) for name in ("lobby", "hall", "yard"))

OBEDIENT = """
import json, sys, threading

def echo():
    for line in open(sys.argv[1], "rb"):
        sys.stdout.buffer.write(line)
        sys.stdout.buffer.flush()

threading.Thread(target=echo, daemon=True).start()
for line in sys.stdin:
    order = json.loads(line)
    with open(sys.argv[1] + ".orders", "a") as orders:
        orders.write(line)
    if "join" in order:
        sys.stdout.write(json.dumps({"room": order["join"], "saw": "joined"}) + "\\n")
        sys.stdout.flush()
"""
"""Joins every room at once, keeps its orders, and says what the test has it say."""


class Shown:
    """Observers whose process is this Python code, and all that they told. `now` is what their clock reads."""

    def __init__(self, directory: Path, code: str, *, limit: int) -> None:
        self.sightings: list[Sighting] = []
        self.touched: list[str] = []
        self.asked: list[str] = []
        self.missing: set[str] = set()
        self.answers = True
        self.now = NOW
        self._pipe = directory / "pipe"
        os.mkfifo(self._pipe)
        self._mouth = os.open(self._pipe, os.O_RDWR)
        script = directory / "program.py"
        script.write_text(code)
        self.observers = Observers(
            "https://live.example",
            KEY,
            Secret(SECRET),
            self._take,
            limit=limit,
            touched=self.touched.append,
            is_there=self._is_there,
            answers=self._answers,
            clock=lambda: self.now,
            program=(sys.executable, str(script), str(self._pipe)),
        )

    def close(self) -> None:
        os.close(self._mouth)

    def _take(self, sighting: Sighting) -> None:
        self.sightings.append(sighting)

    async def _is_there(self, room: Room) -> bool:
        if room is YARD:
            raise ConnectionError("the server is away")
        return room.sid not in self.missing

    async def _answers(self, _: Room, identity: Name) -> bool:
        self.asked.append(identity.raw)
        return self.answers

    def print(self, text: bytes) -> None:
        """Have the process print this."""
        os.write(self._mouth, text)

    def say(self, saw: str, room: Room = LOBBY, **more: object) -> None:
        """Have the process say so."""
        self.print(json.dumps({"room": room.sid, "saw": saw, **more}).encode() + b"\n")

    @property
    def orders(self) -> list[dict[str, str]]:
        """What the process was told so far."""
        kept = Path(f"{self._pipe}.orders")
        return [json.loads(line) for line in kept.read_text().splitlines()] if kept.exists() else []

    @property
    def words(self) -> str:
        return self.observers.status.words

    @property
    def evidence(self) -> list[Evidence]:
        return [piece for sighting in self.sightings for piece in sighting.evidence]

    async def silent_for(self, seconds: float) -> None:
        """Have the process say that the agent's session has been silent for so long, and let that be taken in."""
        before = len(self.touched)
        self.say("session_silent", who=who(), since=seconds)
        await eventually(lambda: len(self.touched) > before and not self.observers._asking)


def who(sid: str = "PA_agent", identity: str = "agent-1", kind: object = 4, **attributes: str) -> dict[str, object]:
    """A participant as the process tells of it; kind 4 is an agent, 0 a person."""
    return {"sid": sid, "identity": identity, "kind": kind, "joined_at": 5.5, "attributes": attributes}


@asynccontextmanager
async def observing(
    directory: Path, rooms: Sequence[Room] = (LOBBY,), *, code: str = OBEDIENT, limit: int = 3
) -> AsyncIterator[Shown]:
    """Observers that watch these rooms."""
    shown = Shown(directory, code, limit=limit)
    try:
        async with shown.observers:
            shown.observers.watch(rooms)
            yield shown
    finally:
        shown.close()


@asynccontextmanager
async def in_the_lobby(directory: Path) -> AsyncIterator[Shown]:
    """One observer, which has joined."""
    async with observing(directory) as shown:
        await eventually(lambda: shown.words == "1 room")
        yield shown


# What the process is given


async def test_the_process_gets_a_short_lived_token_for_one_room_and_never_the_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIVEKIT_API_SECRET", SECRET)
    monkeypatch.setenv("LIVEKIT_URL", "wss://elsewhere.example")
    code = f"""
import json, os, sys
given = {{"argv": sys.argv, "environ": dict(os.environ), "session": os.getsid(0)}}
open({str(tmp_path / "given")!r}, "w").write(json.dumps(given))
{OBEDIENT}"""
    async with observing(tmp_path, code=code) as shown:
        await eventually(lambda: shown.words == "1 room")
    told = (tmp_path / "given").read_text()
    given: dict[str, Any] = json.loads(told)
    (order,) = shown.orders
    assert SECRET not in told
    assert SECRET not in json.dumps(order)
    assert not [name for name in given["environ"] if name.startswith("LIVEKIT_")]
    assert order["token"] not in told
    # Ctrl+C, and the end of the terminal, are told to the processes of the terminal's session.
    assert given["session"] != os.getsid(0)
    assert (order["join"], order["url"]) == ("RM_lobby", "wss://live.example")
    claims = TokenVerifier(KEY, SECRET).verify(order["token"])
    assert claims.identity.startswith(OBSERVER_PREFIX)
    assert claims.room_preset == OPENS_NO_ROOM
    video = claims.video
    assert video is not None
    assert (video.room, video.room_join, video.hidden, video.agent) == ("lobby", True, True, True)
    assert not any((video.can_publish, video.can_subscribe, video.room_create, video.room_admin, video.room_list))


async def test_a_room_is_not_joined_that_is_not_there_or_can_not_be_asked_for(tmp_path: Path) -> None:
    async with observing(tmp_path, ()) as shown:
        shown.missing.add(LOBBY.sid)
        shown.observers.watch([LOBBY, YARD, HALL])
        await eventually(lambda: shown.words == "1 room")
    assert [order["join"] for order in shown.orders] == [HALL.sid]


async def test_no_more_rooms_are_joined_than_allowed_the_first_ones_first(tmp_path: Path) -> None:
    async with observing(tmp_path, (LOBBY, HALL), limit=1) as shown:
        await eventually(lambda: len(shown.orders) == 1)
        shown.observers.watch((HALL, LOBBY))
        await eventually(lambda: len(shown.orders) == 3)
    assert [order.get("join", order.get("leave")) for order in shown.orders] == [LOBBY.sid, LOBBY.sid, HALL.sid]
    assert ["leave" in order for order in shown.orders] == [False, True, False]


async def test_a_room_that_is_not_shown_any_more_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway, "LINGER_S", 0.2)
    async with in_the_lobby(tmp_path) as shown:
        shown.observers.watch(())
        await eventually(lambda: {"leave": LOBBY.sid} in shown.orders)
        assert shown.words == "0 rooms"


async def test_why_a_room_ended_is_heard_though_polling_has_seen_it_end_already(tmp_path: Path) -> None:
    async with in_the_lobby(tmp_path) as shown:
        shown.observers.watch(())
        await eventually(lambda: not shown.observers._changed.is_set())
        shown.say("ended", reason=5, who=[])
        await eventually(lambda: [piece.reason for piece in shown.evidence] == ["ROOM_DELETED"])


# What it tells


async def test_why_somebody_left_is_heard_of_a_person_and_of_an_agent_with_its_last_words(tmp_path: Path) -> None:
    async with in_the_lobby(tmp_path) as shown:
        shown.say("left", who=who("PA_bob", "bob\x1b[2J", 0), reason=4)
        said = {"lk.agent.name": "desk", "lk-tui.session": "closed", "lk-tui.close": '{"reason": "error", "at": 7}'}
        shown.say("left", who=who(**said), reason=1)
        await eventually(lambda: len(shown.touched) == 2)
    bob, agent = shown.sightings
    assert bob.agent is None
    assert bob.evidence == (Evidence(NOW, Source.OBSERVER, Fact.PERSON_LEFT, "PARTICIPANT_REMOVED", who="bob\\x1b[2J"),)
    assert agent.agent is not None
    assert (agent.agent.name, agent.agent.participant.joined_at) == ("desk", 5.5)
    assert agent.evidence == (
        Evidence(7.0, Source.HELPER, Fact.SESSION_CLOSED, "error"),
        Evidence(NOW, Source.OBSERVER, Fact.AGENT_LEFT, "CLIENT_INITIATED"),
    )
    assert shown.touched == [LOBBY.sid, LOBBY.sid]


async def test_a_rooms_end_is_the_end_of_every_agent_in_it(tmp_path: Path) -> None:
    async with in_the_lobby(tmp_path) as shown:
        shown.say("ended", reason=5, who=[who(), who("PA_second", "agent-2")])
        await eventually(lambda: shown.words == "0 rooms" and shown.touched)
    assert [(s.agent and s.agent.participant.sid, e.fact, e.reason) for s in shown.sightings for e in s.evidence] == [
        (None, Fact.ROOM_ENDED, "ROOM_DELETED"),
        ("PA_agent", Fact.AGENT_LEFT, "ROOM_DELETED"),
        ("PA_second", Fact.AGENT_LEFT, "ROOM_DELETED"),
    ]


async def test_garbage_is_no_evidence_and_what_comes_after_it_is_heard(tmp_path: Path) -> None:
    async with in_the_lobby(tmp_path) as shown:
        for line in (b"panicked at 'core dumped'", b"1", b"[]", b"{}", b"null", b"\x00\xff", b"", b"[" * 60_000):
            shown.print(line + b"\n")
        shown.say("left", who="nobody")
        shown.say("left", who=who(kind="person"))
        shown.say("left", who={"sid": "PA_x"})
        shown.say("left", who={**who(), "attributes": [1]})
        shown.say("session_silent", who=who(), since="long")
        shown.say("left", HALL, who=who(), reason=4)
        shown.say("left", who=who("PA_odd", "of a kind to come", 99), reason=4)
        shown.say("left", who=who("PA_bob", "\ud800 lone", 0), reason=987)
        await eventually(lambda: shown.sightings)
        assert shown.words == "1 room"
    (left,) = shown.evidence
    assert (left.who, left.reason) == ("? lone", "REASON_987")


async def test_a_line_without_end_costs_no_more_than_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway, "LINE_LIMIT", 1_000)
    async with in_the_lobby(tmp_path) as shown:
        shown.print(b"x" * 50_000 + b"\n")
        shown.say("left", who=who("PA_bob", "bob", 0), reason=4)
        await eventually(lambda: shown.sightings)


async def test_a_fault_in_what_takes_the_sightings_does_not_end_the_observing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[Sighting] = []

    def take(_: Shown, sighting: Sighting) -> None:
        taken.append(sighting)
        raise ValueError("a fault of ours")

    monkeypatch.setattr(Shown, "_take", take)
    async with in_the_lobby(tmp_path) as shown:
        for name in ("bob", "eve"):
            shown.say("left", who=who(name, name, 0), reason=4)
        await eventually(lambda: len(taken) == 2)
        assert shown.words == "1 room"


# A session that falls silent


async def test_a_session_has_closed_that_goes_on_being_silent_though_its_process_answers(tmp_path: Path) -> None:
    async with in_the_lobby(tmp_path) as shown:
        shown.now = NOW + 4
        await shown.silent_for(4)
        assert (shown.asked, shown.sightings) == (["agent-1"], [])
        shown.now = NOW + 6
        await shown.silent_for(6)
        (closed,) = shown.evidence
        # No later than the first question that it left unanswered.
        assert closed == Evidence(NOW, Source.OBSERVER, Fact.SESSION_CLOSED)
        shown.now = NOW + 10
        await shown.silent_for(10)
    assert len(shown.sightings) == len(shown.asked) == 1


async def test_a_silence_proves_nothing_while_the_process_does_not_answer(tmp_path: Path) -> None:
    async with in_the_lobby(tmp_path) as shown:
        shown.answers = False
        for seconds in (4, 6, 10):
            shown.now = NOW + seconds
            await shown.silent_for(seconds)
    assert (len(shown.asked), shown.sightings) == (3, [])


async def test_an_answer_from_before_the_silence_proves_nothing(tmp_path: Path) -> None:
    async with in_the_lobby(tmp_path) as shown:
        shown.now = NOW + 4
        await shown.silent_for(4)
        # It spoke again, and fell silent anew.
        shown.now = NOW + 60
        await shown.silent_for(4)
    assert (len(shown.asked), shown.sightings) == (2, [])


def test_a_session_is_asked_again_and_again_and_called_silent_after_two_unanswered_questions() -> None:
    session = program.Session()
    session.spoke()
    for now in (0.0, 1.5, 3.0):
        assert session.due(now)
        session.asked(now)
        assert not session.due(now + 1.4)
        session.spoke()
        assert session.silent_since is None
    session.asked(4.5)
    assert session.silent_since is None
    session.asked(6.0)
    assert session.silent_since == 4.5


def test_a_silent_session_is_asked_more_and_more_seldom_and_at_last_no_more_until_it_speaks() -> None:
    session = program.Session()
    session.spoke()
    asked = []
    for now in (tick / 2 for tick in range(1_000)):
        if session.due(now):
            session.asked(now)
            asked.append(now)
    assert asked == [0.0, 1.5, 3.0, 4.5, 7.5, 13.5]
    assert session.silent_since == 0.0
    session.spoke()
    assert session.silent_since is None
    assert session.due(1_000.0)


def test_a_session_that_never_spoke_is_not_silent() -> None:
    session = program.Session()
    for now in (0.0, 2.0, 4.0, 6.0):
        session.asked(now)
    assert session.silent_since is None


def test_a_question_that_did_not_get_out_was_not_left_unanswered() -> None:
    session = program.Session()
    session.spoke()
    for now in (0.0, 2.0, 4.0):
        session.asked(now)
        session.not_asked()
    assert session.silent_since is None


# An error in a session's own words


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (
            "type='llm_error' timestamp=1.5 label='o.LLM' error=APIError(\"it's away\", body=None) recoverable=False",
            SessionError("APIError", "o.LLM", "it's away"),
        ),
        (
            r"""type='tts_error' label='x.TTS' error=ValueError('a "b" it\'s\nc error=D(1)') recoverable=False""",
            SessionError("ValueError", "x.TTS", 'a "b" it\'s\\x0ac error=D(1)'),
        ),
        ("label='x.STT' error=TimeoutError() recoverable=False", SessionError("TimeoutError", "x.STT", "")),
        (r"label='a' error=E('C:\x') recoverable=False", SessionError("E", "a", r"'C:\x'")),
        ("label='a' error=E('two\nlines') recoverable=False", SessionError("E", "a", r"'two\x0alines'")),
        ("label='x.STT' error=KeyError('cut of", SessionError("KeyError", "x.STT", "'cut of")),
        ("label='x.LLM' error=ValueError('over') recoverable=True", None),
        ("something else", SessionError("", "session", "something else")),
        ("\x1b[2J", SessionError("", "session", "\\x1b[2J")),
        ("", None),
    ],
)
def test_the_error_in_a_sessions_event_is_read_as_far_as_it_goes(text: str, error: SessionError | None) -> None:
    assert session_error(text) == error


async def test_an_error_that_a_session_got_over_is_no_failure(tmp_path: Path) -> None:
    async with in_the_lobby(tmp_path) as shown:
        for word in ("True", "False"):
            error = f"label='x.LLM' error=ValueError('over') recoverable={word}"
            shown.say("session_failed", who=who(), error=error)
        await eventually(lambda: len(shown.touched) == 2)
    (failed,) = shown.evidence
    error_told = SessionError("ValueError", "x.LLM", "over")
    assert failed == Evidence(NOW, Source.OBSERVER, Fact.SESSION_FAILED, error=error_told)


# What goes wrong with a room


@pytest.mark.parametrize("saw", ["lost", "failed", "wrong_room"])
async def test_a_room_that_was_not_joined_or_was_lost_is_tried_again(
    saw: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateway, "SOON_S", 0.0)
    async with in_the_lobby(tmp_path) as shown:
        shown.say(saw, why="no way")
        await eventually(lambda: shown.touched == [LOBBY.sid])

        def again() -> bool:
            shown.observers.watch([LOBBY])
            return len(shown.orders) == 2

        await eventually(again)
        await eventually(lambda: shown.words == "1 room")
        assert not shown.observers.status.trouble


async def test_why_a_room_could_not_be_joined_is_said_until_nobody_wants_it(tmp_path: Path) -> None:
    async with in_the_lobby(tmp_path) as shown:
        shown.say("failed", why="handshake\x07 error")
        await eventually(lambda: shown.touched)
        status = shown.observers.status
        assert (status.on, status.trouble, status.words) == (False, True, "can't join lobby: handshake\\x07 error")
        shown.observers.watch([LOBBY, HALL])
        await eventually(lambda: shown.words == "1 room; can't join lobby: handshake\\x07 error")
        shown.observers.watch([HALL])
        assert shown.words == "1 room"


async def test_an_observer_that_was_put_out_stays_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway, "SOON_S", 0.0)
    async with in_the_lobby(tmp_path) as shown:
        shown.say("lost", reason=4)
        await eventually(lambda: shown.words == "was put out of lobby")
        shown.observers.watch([LOBBY, HALL])
        await eventually(lambda: shown.words == "1 room; was put out of lobby")
        assert [order["join"] for order in shown.orders] == [LOBBY.sid, HALL.sid]
        # The supervisor closed the room, and opened it again.
        shown.observers.watch([])
        await eventually(lambda: not shown.observers._changed.is_set())
        shown.observers.watch([LOBBY])
        await eventually(lambda: shown.words == "1 room" and len(shown.orders) >= 3)


async def test_that_joining_brought_a_room_back_is_said(tmp_path: Path) -> None:
    async with in_the_lobby(tmp_path) as shown:
        shown.say("wrong_room", created=True, empty_timeout=300)
        await eventually(lambda: shown.touched)
        assert shown.words == "joining brought lobby back, empty: it ends by itself in 300 s"
        shown.observers.watch([])
        assert shown.observers.status.trouble


def test_what_fails_again_and_again_is_tried_more_and_more_seldom_until_it_went_well_for_long() -> None:
    retry = gateway._Retry()
    pauses = []
    for _ in range(9):
        retry.failed(None)
        pauses.append(retry.pause)
    assert pauses == [5, 10, 20, 40, 80, 160, 320, 600, 600]
    now = time.monotonic()
    retry.failed(now - 59)
    assert retry.pause == 600
    retry.failed(now - 61)
    assert retry.pause == 5


# What goes wrong with the process


async def test_a_process_that_ends_by_itself_is_started_again_and_joins_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateway, "SOON_S", 0.5)
    code = f"""
import pathlib, sys
ran = pathlib.Path({str(tmp_path / "ran")!r})
if not ran.exists():
    ran.touch()
    sys.exit(3)
{OBEDIENT}"""
    async with observing(tmp_path, code=code) as shown:
        await eventually(lambda: shown.observers.status.trouble)
        assert (shown.observers.status.on, shown.words) == (False, "its process ended: it is started again")
        await eventually(lambda: shown.observers.status.on)
        assert (shown.observers.status.trouble, shown.words) == (False, "1 room")


async def test_a_process_that_can_not_be_started_is_a_trouble_and_nothing_else(tmp_path: Path) -> None:
    async with observing(tmp_path, ()) as shown:
        shown.observers._program = (str(tmp_path / "missing"),)
        shown.observers.watch([LOBBY])
        await eventually(lambda: shown.observers.status.trouble)
        assert shown.words == f"can't start: {os.strerror(errno.ENOENT)}"


async def test_no_process_is_started_before_there_is_a_room(tmp_path: Path) -> None:
    async with observing(tmp_path, ()) as shown:
        shown.observers.watch([])
        await eventually(lambda: not shown.observers._changed.is_set())
        assert shown.words == "0 rooms"
    assert shown.orders == []


@pytest.mark.parametrize(
    ("stay", "patience_s"), [("", 30.0), ("import time; time.sleep(600)", 0.5)], ids=["obedient", "deaf"]
)
async def test_the_process_is_gone_when_the_observers_are_closed_whether_it_obeys_or_not(
    stay: str, patience_s: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateway, "CLOSING_S", patience_s)
    code = f"import os; open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))\n{OBEDIENT}\n{stay}"
    async with observing(tmp_path, code=code) as shown:
        await eventually(lambda: shown.words == "1 room")
    with pytest.raises(ProcessLookupError):  # neither running nor a zombie
        os.kill(int((tmp_path / "pid").read_text()), 0)


# The process itself


class FakeRoom:
    """A room whose connection is made when the test says so: for what can't be timed on a server."""

    def __init__(self) -> None:
        self.connecting = asyncio.Event()
        self.connected = asyncio.Event()
        self.did: list[str] = []
        self.remote_participants: dict[str, rtc.RemoteParticipant] = {}

    def on(self, event: str, handler: object) -> None: ...

    def register_byte_stream_handler(self, topic: str, handler: object) -> None: ...

    async def connect(self, *_: object) -> None:
        self.connecting.set()
        await self.connected.wait()
        self.did.append("connected")

    async def disconnect(self) -> None:
        self.did.append("disconnected")

    @property
    async def sid(self) -> str:
        return LOBBY.sid


async def test_a_room_that_is_to_be_left_while_it_is_being_joined_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    room = FakeRoom()
    monkeypatch.setattr(rtc, "Room", lambda: room)
    said: list[tuple[object, ...]] = []
    observers = program.Observers(lambda *words, **_: said.append(words))
    observers.obey({"join": LOBBY.sid, "url": "ws://live.example", "token": ""})
    await room.connecting.wait()
    observers.obey({"leave": LOBBY.sid})
    room.connected.set()
    await eventually(lambda: "disconnected" in room.did)
    assert (room.did, said) == (["connected", "disconnected"], [])


async def test_a_room_can_be_joined_again_after_it_could_not_be(monkeypatch: pytest.MonkeyPatch) -> None:
    rooms: list[FakeRoom] = []

    def room() -> FakeRoom:
        rooms.append(FakeRoom())
        return rooms[-1]

    monkeypatch.setattr(rtc, "Room", room)
    said: list[tuple[object, ...]] = []
    observers = program.Observers(lambda *words, **_: said.append(words))
    join = {"join": LOBBY.sid, "url": "ws://live.example", "token": ""}
    observers.obey(join)
    monkeypatch.setattr(rooms[0], "connect", cast(Any, None))
    await eventually(lambda: said == [(LOBBY.sid, "failed")])
    observers.obey(join)
    rooms[1].connected.set()
    await eventually(lambda: said[1:] == [(LOBBY.sid, "joined")])
    await observers.leave_all()
    assert rooms[1].did == ["connected", "disconnected"]


async def test_many_changes_in_a_room_are_told_as_few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rtc, "Room", FakeRoom)
    said: list[str] = []
    observer = program.Observer(LOBBY.sid, lambda _, saw: said.append(saw))
    observer._here = True
    for _ in range(1_000):
        observer._touch()
    assert said == ["touched"]
    # The last ones are not lost.
    await eventually(lambda: said == ["touched", "touched"])
    await eventually(lambda: observer._quiet is None)
    observer._touch()
    assert said == ["touched"] * 3


@pytest.fixture
def silent_server() -> Iterator[socket.socket]:
    """A server that lets others connect and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(30.0)
        yield server


def run_program(
    *orders: dict[str, str], until: Callable[[], object] = lambda: None
) -> tuple[int, list[dict[str, Any]], bytes, float]:
    """Run the real program with these orders, its input open `until` that returns; what it returned, said and printed
    as errors, and how long it took to end after its input had."""
    process = subprocess.Popen(PROGRAM, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdin is not None
    process.stdin.write(b"".join(json.dumps(order).encode() + b"\n" for order in orders))
    process.stdin.flush()
    until()
    process.stdin.close()
    process.stdin = None
    began = time.monotonic()
    said, errors = process.communicate(timeout=30)
    took = time.monotonic() - began
    return process.returncode, [json.loads(line) for line in said.splitlines()], errors, took


def test_the_program_ends_with_its_input_and_has_nothing_to_say() -> None:
    assert run_program()[:3] == (0, [], b"")


def test_the_program_imports_nothing_of_tui_nor_of_the_working_directory(tmp_path: Path) -> None:
    for name in ("livekit", "tui", "json", "asyncio"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('imported')")
    ended = subprocess.run(PROGRAM, input=b"", capture_output=True, cwd=tmp_path, check=False, timeout=30)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, b"", b"")
    script = "import runpy, sys; sys.modules['tui'] = None; runpy.run_path(sys.argv[1])"
    command = [sys.executable, "-P", "-c", script, PROGRAM[-1]]
    subprocess.run(command, stdin=subprocess.DEVNULL, check=True, timeout=30)


def test_the_program_ends_though_a_connection_hangs(silent_server: socket.socket) -> None:
    connections = []
    returned, said, _, took = run_program(
        {"join": LOBBY.sid, "url": f"ws://127.0.0.1:{silent_server.getsockname()[1]}", "token": "x"},
        until=lambda: connections.append(silent_server.accept()),
    )
    connections[0][0].close()
    assert (returned, said) == (0, [])
    # It would hang for ever; a busy machine takes its time to start it.
    assert took < 10 * program.END_TIMEOUT_S


def test_the_program_ends_though_everything_in_it_hangs() -> None:
    script = """
import asyncio, runpy, sys, time
program = runpy.run_path(sys.argv[1])
program["Observers"].leave_all = lambda _: time.sleep(600)
asyncio.run(program["main"]())
"""
    command = [sys.executable, "-P", "-c", script, PROGRAM[-1]]
    ended = subprocess.run(command, input=b"", capture_output=True, check=False, timeout=30)
    assert (ended.stdout, ended.stderr) == (b"", b"")


async def test_the_program_says_that_it_can_not_join(tmp_path: Path) -> None:
    async with observing(tmp_path, ()) as shown:
        shown.observers._program = PROGRAM
        shown.observers._url = f"ws://127.0.0.1:{free_port()}"
        shown.observers.watch([LOBBY])
        await eventually(lambda: shown.words.startswith("can't join lobby: engine: "))
