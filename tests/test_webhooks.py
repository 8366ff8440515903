"""Webhooks: only signed ones, each once, whatever comes in whatever order; nothing that was accepted is lost."""

from __future__ import annotations

import asyncio
import base64
import gzip
import hashlib
import json
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from google.protobuf.json_format import MessageToDict
from hypothesis import given, settings
from hypothesis import strategies as st
from livekit.api import AccessToken
from livekit.protocol import models as models_pb
from livekit.protocol import webhook as webhook_pb

from tests.lab.server import free_port
from tui.config import listen_address
from tui.gateway import convert, webhooks
from tui.gateway.webhooks import BODY_LIMIT, WebhookListener
from tui.model.closes import CloseBook
from tui.model.evidence import Fact, Sighting, Source
from tui.model.secret import Secret
from tui.settings import SettingsError

KEY, SECRET = "devkey", "secretsecretsecretsecretsecretsecret"
AGENT = models_pb.ParticipantInfo.Kind.AGENT


def event(
    kind: str = "participant_left", *, number: int = 1, reason: int = 4, agent: bool = True, **more: Any
) -> webhook_pb.WebhookEvent:
    """A webhook's event about the participant `agent-{number}` of one room."""
    who = models_pb.ParticipantInfo(
        sid=f"PA_{number}",
        identity=f"agent-{number}",
        kind=AGENT if agent else models_pb.ParticipantInfo.Kind.STANDARD,
        disconnect_reason=reason,  # type: ignore[arg-type]
        joined_at=int(time.time()) - 60,
    )
    room = models_pb.Room(sid="RM_1", name=more.pop("room", "support-1"))
    fields: dict[str, Any] = {"id": f"EV_{kind}_{number}", "created_at": int(time.time()), **more}
    return webhook_pb.WebhookEvent(event=kind, room=room, participant=who, **fields)


def text_of(what: webhook_pb.WebhookEvent) -> str:
    """The body that LiveKit sends for it."""
    return json.dumps(MessageToDict(what))


def signed(
    body: str | bytes, *, key: str = KEY, secret: str = SECRET, of: str | None = None, ttl: float = 300.0
) -> str:
    """The `Authorization` that LiveKit sends with this body (or with the body `of`)."""
    raw = body if of is None else of
    digest = base64.b64encode(hashlib.sha256(raw.encode() if isinstance(raw, str) else raw).digest()).decode()
    return AccessToken(key, secret).with_sha256(digest).with_ttl(timedelta(seconds=ttl)).to_jwt()


class Listening:
    """A listener, what it published, and a way to send to it."""

    def __init__(self, http: aiohttp.ClientSession) -> None:
        self.http = http
        self.now = time.time()
        self.sightings: list[Sighting] = []
        self.touched: list[str] = []
        self.fault: Exception | None = None
        self.listener = WebhookListener(
            "127.0.0.1", 0, KEY, Secret(SECRET), self.publish, touched=self.touched.append, clock=lambda: self.now
        )

    def publish(self, sighting: Sighting) -> None:
        if self.fault is not None:
            raise self.fault
        self.sightings.append(sighting)

    async def post(self, body: str | bytes, authorization: str | None, **headers: str) -> int:
        """What a POST of this body is answered with."""
        if authorization is not None:
            headers["Authorization"] = authorization
        async with self.http.post(f"http://{self.listener.address}/hook", data=body, headers=headers) as answer:
            return answer.status

    async def send(self, what: webhook_pb.WebhookEvent) -> int:
        body = text_of(what)
        return await self.post(body, signed(body))

    async def raw(self, *pieces: bytes) -> bytes:
        """What comes back when these bytes are sent and the sender then waits, until the listener ends it."""
        host, _, port = self.listener.address.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        try:
            async with asyncio.timeout(20.0):
                return await reader.read()
        finally:
            writer.close()

    def gone(self) -> list[tuple[str, str]]:
        """The identity and the disconnect reason of every agent that was told to have left."""
        return [
            (sighting.agent.participant.identity.raw, piece.reason)
            for sighting in self.sightings
            for piece in sighting.evidence
            if sighting.agent is not None and piece.fact is Fact.AGENT_LEFT
        ]


@asynccontextmanager
async def listening() -> AsyncIterator[Listening]:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
        made = Listening(http)
        async with made.listener:
            yield made


@pytest.fixture
async def hook() -> AsyncIterator[Listening]:
    async with listening() as made:
        yield made


async def test_an_agents_leaving_is_evidence_with_its_reason_and_its_room_is_touched(hook: Listening) -> None:
    assert await hook.send(event()) == 200
    assert hook.gone() == [("agent-1", "PARTICIPANT_REMOVED")]
    assert hook.touched == ["RM_1"]


async def test_a_persons_leaving_is_evidence_about_the_room(hook: Listening) -> None:
    await hook.send(event(agent=False, reason=1))
    (sighting,) = hook.sightings
    assert sighting.agent is None
    assert [(piece.fact, piece.reason, piece.who) for piece in sighting.evidence] == [
        (Fact.PERSON_LEFT, "CLIENT_INITIATED", "agent-1")
    ]


async def test_the_last_attributes_of_an_agent_come_with_its_leaving(hook: Listening) -> None:
    left = event(reason=1)
    left.participant.attributes.update(
        {"lk-tui.session": "closed", "lk-tui.close": json.dumps({"reason": "task_completed", "at": 1_800_000_000.0})}
    )
    await hook.send(left)
    (sighting,) = hook.sightings
    assert [(piece.source, piece.fact) for piece in sighting.evidence] == [
        (Source.HELPER, Fact.SESSION_CLOSED),
        (Source.WEBHOOK, Fact.AGENT_LEFT),
    ]


@pytest.mark.parametrize("kind", ["participant_joined", "room_started", "track_published", "something_new_in_2030"])
async def test_events_that_end_nothing_are_accepted_and_only_touch_the_room(hook: Listening, kind: str) -> None:
    assert await hook.send(event(kind)) == 200
    assert (hook.sightings, hook.touched) == ([], ["RM_1"])


@pytest.mark.parametrize("kind", ["participant_left", "participant_connection_aborted"])
async def test_hidden_participants_leave_without_a_word(hook: Listening, kind: str) -> None:
    left = event(kind, agent=False)
    left.participant.permission.hidden = True
    assert await hook.send(left) == 200
    assert (hook.sightings, hook.touched) == ([], ["RM_1"])


async def test_an_agent_that_never_got_in_is_gone_as_well(hook: Listening) -> None:
    await hook.send(event("participant_connection_aborted", reason=7))
    assert hook.gone() == [("agent-1", "JOIN_FAILURE")]


async def test_a_rooms_end_is_evidence_about_the_room(hook: Listening) -> None:
    await hook.send(event("room_finished"))
    (sighting,) = hook.sightings
    assert (sighting.room.raw, sighting.room_sid, sighting.agent) == ("support-1", "RM_1", None)
    assert [(piece.source, piece.fact) for piece in sighting.evidence] == [(Source.WEBHOOK, Fact.ROOM_ENDED)]


async def test_a_reason_that_livekit_does_not_know_is_no_reason(hook: Listening) -> None:
    await hook.send(event(reason=0))
    assert hook.gone() == [("agent-1", "")]


@pytest.mark.parametrize("kind", ["participant_left", "room_finished", "egress_ended"])
async def test_an_event_without_a_room_is_accepted_and_says_nothing(hook: Listening, kind: str) -> None:
    about_nothing = event(kind)
    about_nothing.ClearField("room")
    assert await hook.send(about_nothing) == 200
    assert (hook.sightings, hook.touched) == ([], [])


async def test_that_nobody_left_says_nothing(hook: Listening) -> None:
    about_nobody = event()
    about_nobody.ClearField("participant")
    assert await hook.send(about_nobody) == 200
    assert hook.sightings == []


async def test_an_event_without_an_id_is_taken_each_time(hook: Listening) -> None:
    assert [await hook.send(event(id="")) for _ in range(2)] == [200, 200]
    assert len(hook.sightings) == 2


async def test_fields_and_reasons_of_a_newer_livekit_are_tolerated(hook: Listening) -> None:
    said = MessageToDict(event(reason=77))
    body = json.dumps(said | {"weather": {"sun": True}})
    assert await hook.post(body, signed(body)) == 200
    assert hook.gone() == [("agent-1", "REASON_77")]


@pytest.mark.parametrize(
    "sign",
    [
        lambda _: None,
        lambda _: "nonsense",
        lambda body: signed(body, secret="another" * 6),
        lambda body: signed(body, key="anotherkey"),
        lambda body: signed(body, of="another body"),
        lambda body: signed(body, ttl=-600.0),
        lambda _: AccessToken(KEY, SECRET).to_jwt(),
        lambda _: AccessToken(KEY, SECRET).with_sha256("not base64!").to_jwt(),
        lambda body: "Bearer " + signed(body),
        lambda body: signed(body).rpartition(".")[0] + ".",
    ],
    ids=[
        "none",
        "no token",
        "wrong secret",
        "wrong key",
        "another body's",
        "expired",
        "a participant's token",
        "an odd digest",
        "another scheme",
        "signature cut off",
    ],
)
async def test_what_is_not_signed_for_us_is_refused_and_leaves_no_trace(
    hook: Listening, sign: Callable[[str], str | None]
) -> None:
    body = text_of(event())
    assert await hook.post(body, sign(body)) == 401
    assert (hook.sightings, hook.touched) == ([], [])
    assert "1 refused" in hook.listener.status.words
    assert hook.listener.status.trouble


async def test_an_event_sent_twice_is_answered_twice_and_taken_once(hook: Listening) -> None:
    assert [await hook.send(event()) for _ in range(3)] == [200, 200, 200]
    assert len(hook.sightings) == 1
    assert "1 event" in hook.listener.status.words


async def test_an_event_that_could_not_be_taken_in_is_asked_for_again(hook: Listening) -> None:
    hook.fault = RuntimeError("a fault of ours")
    assert await hook.send(event()) == 500
    hook.fault = None
    assert await hook.send(event()) == 200
    assert len(hook.sightings) == 1


async def test_a_replayed_request_is_dropped_while_it_is_known_and_refused_once_its_token_is_old(
    hook: Listening,
) -> None:
    body = text_of(event())
    fresh, old = signed(body), signed(body, ttl=-600.0)
    assert [await hook.post(body, fresh) for _ in range(2)] == [200, 200]
    assert await hook.post(body, old) == 401
    assert len(hook.sightings) == 1


async def test_only_so_many_ids_are_remembered_those_that_came_last(
    hook: Listening, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhooks, "REMEMBERED", 2)
    for number in (1, 2, 1, 3, 1, 2):
        assert await hook.send(event(number=number)) == 200
    assert [identity for identity, _ in hook.gone()] == ["agent-1", "agent-2", "agent-3", "agent-2"]


async def test_a_body_of_ten_megabytes_is_refused_whoever_sends_it(hook: Listening) -> None:
    body = "x" * (10 * 1024 * 1024)
    assert len(body) > BODY_LIMIT
    assert [await hook.post(body, signed(body)), await hook.post(body, None)] == [413, 413]
    assert await hook.send(event()) == 200


@pytest.mark.parametrize(
    ("authorize", "status"),
    [
        (lambda: signed("x"), b"413"),
        (lambda: "nobody", b"401"),
        (lambda: AccessToken(KEY, SECRET).to_jwt(), b"401"),
    ],
    ids=["signed", "a stranger", "a participant"],
)
async def test_a_body_without_a_length_is_read_up_to_the_limit_and_for_others_not_at_all(
    hook: Listening, authorize: Callable[[], str], status: bytes
) -> None:
    # Signed now: a token of the time of collection expires on a slow machine.
    head = f"POST / HTTP/1.1\r\nHost: x\r\nAuthorization: {authorize()}\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunk = b"10000\r\n" + b"x" * 65_536 + b"\r\n"
    host, _, port = hook.listener.address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(head.encode())
    for _ in range(BODY_LIMIT // 65_536 + 1):
        writer.write(chunk)
        await writer.drain()
    async with asyncio.timeout(20.0):
        line = await reader.readline()
    writer.close()
    assert line.split()[1] == status


GARBAGE = (
    b"",
    b"\xff\xfe\x00",
    b"null",
    b"3",
    b"[]",
    b"{}",
    b'{"event": 3}',
    b'{"event": "\\ud800"}',
    b'{"event": "a", "createdAt": 1e999}',
    b"{" * 5_000,
    b"[" * 200_000,
)


@pytest.mark.parametrize("body", GARBAGE, ids=[repr(body[:20]) for body in GARBAGE])
async def test_garbage_is_a_bad_request_if_it_is_signed_and_refused_if_it_is_not(hook: Listening, body: bytes) -> None:
    assert await hook.post(body, signed(body)) == 400
    assert await hook.post(body, signed(b"another body")) == 401
    assert (hook.sightings, hook.touched) == ([], [])


async def test_a_compressed_body_is_not_unpacked(hook: Listening) -> None:
    body = text_of(event()).encode()
    packed = gzip.compress(body)
    headers = {"Content-Encoding": "gzip"}
    assert await hook.post(packed, signed(body), **headers) == 401
    assert await hook.post(packed, signed(packed), **headers) == 400


async def test_the_bytes_count_whatever_their_charset_is_said_to_be(hook: Listening) -> None:
    body = text_of(event(room="日本")).encode()
    headers = {"Content-Type": "application/webhook+json; charset=utf-16"}
    assert await hook.post(body, signed(body), **headers) == 200
    assert hook.sightings[0].room.raw == "日本"


async def test_a_body_that_does_not_arrive_is_not_waited_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhooks, "READ_TIMEOUT_S", 0.1)
    monkeypatch.setattr(webhooks, "LINGERING_S", 0.1)
    body = text_of(event())
    head = f"POST / HTTP/1.1\r\nHost: x\r\nAuthorization: {signed(body)}\r\nContent-Length: {len(body)}\r\n\r\n"
    async with listening() as hook:
        assert (await hook.raw(head.encode(), body[:10].encode())).startswith(b"HTTP/1.1 408 ")
        assert hook.sightings == []


@pytest.mark.parametrize("said", [b"", b"POST / HT", b"POST / HTTP/1.1\r\nHost: x\r\nX-A"])
async def test_a_connection_that_asks_for_nothing_is_ended(monkeypatch: pytest.MonkeyPatch, said: bytes) -> None:
    monkeypatch.setattr(webhooks, "IDLE_TIMEOUT_S", 0.1)
    async with listening() as hook:
        assert await hook.raw(said) == b""
        assert await hook.send(event()) == 200


@pytest.mark.parametrize(
    "broken",
    [
        b"\x16\x03\x01\x02\x00\x01",
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: many\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 100_000 + b"\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n",
    ],
    ids=["TLS", "no version", "no length", "long header", "bad chunk"],
)
async def test_what_is_not_http_is_answered_as_a_bad_request(hook: Listening, broken: bytes) -> None:
    assert (await hook.raw(broken + b"\r\n\r\n")).split()[1] == b"400"
    assert await hook.send(event()) == 200


async def test_a_sender_that_goes_away_in_mid_body_does_no_harm(hook: Listening) -> None:
    host, _, port = hook.listener.address.rpartition(":")
    _, writer = await asyncio.open_connection(host, int(port))
    head = f"POST / HTTP/1.1\r\nHost: x\r\nAuthorization: {signed('x' * 9)}\r\nContent-Length: 9\r\n\r\nx"
    writer.write(head.encode())
    await writer.drain()
    assert await hook.send(event()) == 200
    writer.transport.abort()
    assert await hook.send(event(number=2)) == 200
    assert len(hook.sightings) == 2


async def test_only_posts_are_events(hook: Listening) -> None:
    async with hook.http.get(f"http://{hook.listener.address}/") as answer:
        assert answer.status == 200
        assert "webhooks" in await answer.text()
    for method in ("PUT", "DELETE", "PATCH", "OPTIONS"):
        async with hook.http.request(method, f"http://{hook.listener.address}/") as answer:
            assert answer.status == 405


async def test_logs_hold_neither_the_secret_nor_a_token_nor_what_was_sent(
    hook: Listening, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    told = event(room="a-private-room")
    body = text_of(told)
    hook.fault = RuntimeError(f"a fault that quotes {body} and {SECRET}")
    assert await hook.send(told) == 500
    assert await hook.post(body, signed(body, secret="another" * 6)) == 401
    assert await hook.post(body, signed("another body")) == 401
    await hook.raw(f"POST / HTTP/1.1\r\nAuthorization: {signed(body)}\r\na-private-room\x00\r\n\r\n".encode())
    mine = "\n".join(record.getMessage() for record in caplog.records if record.name.startswith(webhooks.__name__))
    assert "RuntimeError" in mine
    assert "refused 1 so far" in mine
    for private in ("a-private-room", SECRET, "eyJ"):
        assert private not in caplog.text


async def test_strangers_can_not_fill_the_log(hook: Listening, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(100):
        await hook.post("", None)
    # The rtc library, used by other tests of this process, logs whenever it likes.
    told = [record.args for record in caplog.records if record.name == "tui.gateway.webhooks"]
    assert [args and args[0] for args in told] == [1, 2, 4, 8, 16, 32, 64]  # type: ignore[index]


async def test_its_status_says_where_it_listens_what_came_and_how_long_ago(hook: Listening) -> None:
    assert hook.listener.status.words == f"{hook.listener.address}, 0 events"
    for number in range(3):
        await hook.send(event(number=number))
    hook.now += 180.0
    await hook.post("", None)
    status = hook.listener.status
    assert status.words == f"{hook.listener.address}, 3 events, last 3m ago, 1 refused: is its api_key ours?"
    assert (status.on, status.trouble) == (True, False)


async def test_a_burst_is_taken_whole_and_each_event_once(hook: Listening) -> None:
    events = [event(number=number) for number in range(2_400)]
    gate = asyncio.Semaphore(50)

    async def send(one: webhook_pb.WebhookEvent) -> int:
        async with gate:
            return await hook.send(one)

    assert set(await asyncio.gather(*map(send, events + events[::3]))) == {200}
    assert sorted(identity for identity, _ in hook.gone()) == sorted(f"agent-{number}" for number in range(2_400))


async def test_the_event_loop_goes_round_between_any_two_events_however_many_come_at_once(hook: Listening) -> None:
    rounds, taken_in = 0, []
    publish = hook.publish

    def note_the_round(sighting: Sighting) -> None:
        taken_in.append(rounds)
        publish(sighting)

    hook.listener._publish = note_the_round

    async def go_round() -> None:
        nonlocal rounds
        while True:
            rounds += 1
            await asyncio.sleep(0)

    going = asyncio.create_task(go_round())
    await asyncio.gather(*(hook.send(event(number=number)) for number in range(200)))
    going.cancel()
    assert len(taken_in) == len(set(taken_in)) == 200


def named(host: str, port: int) -> WebhookListener:
    return WebhookListener(host, port, KEY, Secret(SECRET), print, touched=print)


async def test_a_port_that_is_taken_is_said_with_what_to_do(hook: Listening) -> None:
    host, _, port = hook.listener.address.rpartition(":")
    with pytest.raises(SettingsError) as refused:
        await named(host, int(port)).__aenter__()
    assert str(refused.value) == (
        f"can't listen for webhooks on {host}:{port} (address already in use): "
        "end the program that does, or choose another port with --webhook"
    )


@pytest.mark.parametrize(
    ("host", "said"),
    [
        ("no-such-host.invalid", "no-such-host.invalid:9000 (no such host)"),
        ("x" * 70, "x" * 70 + ":9000 (no such host)"),
        ("192.0.2.1", "192.0.2.1:9000 (cannot assign requested address)"),
        ("2001:db8::1", "[2001:db8::1]:9000 (cannot assign requested address)"),
        ("a\x1b[2J", "a\\x1b[2J:9000 (no such host)"),
    ],
)
async def test_an_address_that_is_not_this_machines_is_said_with_what_to_do(host: str, said: str) -> None:
    with pytest.raises(SettingsError) as refused:
        await named(host, 9000).__aenter__()
    assert str(refused.value) == f"can't listen for webhooks on {said}: choose another address with --webhook"


async def test_a_port_is_listened_on_only_inside_and_can_be_had_again() -> None:
    port = free_port()
    listener = named("127.0.0.1", port)
    for _ in range(2):
        assert listener.address == ""
        async with listener:
            assert listener.address == f"127.0.0.1:{port}"
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)


def listened_on(port: int) -> set[str]:
    """The addresses, as the kernel writes them, on which somebody listens on this port."""
    lines = [line.split() for table in ("tcp", "tcp6") for line in Path(f"/proc/net/{table}").read_text().splitlines()]
    local = [line[1].split(":") for line in lines if line[3] == "0A"]
    return {address for address, hexadecimal in local if int(hexadecimal, 16) == port}


@pytest.mark.parametrize(("named_by", "addresses"), [("{port}", {"0100007F"}), ("0.0.0.0:{port}", {"00000000"})])
async def test_only_this_machine_is_listened_to_unless_another_address_is_named(
    named_by: str, addresses: set[str]
) -> None:
    host, port = listen_address(named_by.format(port=free_port()))
    async with named(host, port):
        assert listened_on(port) == addresses


@pytest.mark.parametrize("rest", ["", "Content-Length: 1\r\n\r\n"], ids=["in the headers", "in the body"])
async def test_a_request_that_is_not_whole_does_not_hold_the_end_up(hook: Listening, rest: str) -> None:
    begun = f"POST / HTTP/1.1\r\nHost: x\r\nAuthorization: {signed('x')}\r\n{rest}"
    waiting = asyncio.create_task(hook.raw(begun.encode()))
    assert await hook.send(event()) == 200
    async with asyncio.timeout(5.0):
        await hook.listener.__aexit__(None, None, None)
    assert await waiting == b""


def test_an_event_that_was_held_up_is_dated_by_the_server_and_a_fresh_one_by_our_finer_clock() -> None:
    for created, at, dated in ((1_000, 1_000.9, 1_000.9), (1_000, 1_060.0, 1_000.0)):
        sighting = convert.webhook(event(created_at=created), at)
        assert sighting is not None
        assert sighting.evidence[-1].at == dated


def test_an_event_from_a_clock_that_is_ahead_is_dated_when_it_came() -> None:
    sighting = convert.webhook(event(created_at=1_100), 1_000.5)
    assert sighting is not None
    assert sighting.evidence[-1].at == 1_000.5


STRANGE = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
"""What a stranger may call anything; protobuf itself lets no lone surrogates in."""


@given(STRANGE, STRANGE, STRANGE, st.booleans())
def test_whatever_strangers_call_things_is_safe_to_show(room: str, identity: str, said: str, agent: bool) -> None:  # noqa: FBT001 - hypothesis gives it
    left = event(room=room, agent=agent)
    left.participant.identity = left.participant.name = left.participant.metadata = identity
    left.participant.attributes.update({"lk-tui.session": "closed", "lk.agent.name": said, said: said})
    left.participant.attributes["lk-tui.close"] = json.dumps({"reason": said, "by": said, "error": {"message": said}})
    sighting = convert.webhook(left, time.time())
    assert sighting is not None
    shown = [sighting.room.safe, sighting.room_sid]
    for piece in sighting.evidence:
        shown += [piece.reason, piece.by, piece.who, piece.error.message if piece.error is not None else ""]
    if sighting.agent is not None:
        who = sighting.agent.participant
        shown += [sighting.agent.name, who.identity.safe, who.name, who.metadata, *who.attributes]
        shown += who.attributes.values()
    assert "".join(shown).isprintable()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
FIELDS = [field.json_name for field in webhook_pb.WebhookEvent.DESCRIPTOR.fields]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=5) | JSON, max_size=5))
def test_no_signed_body_of_any_shape_is_a_fault_of_ours(bodies: list[Any]) -> None:
    async def answers() -> set[int]:
        async with listening() as hook:
            texts = [json.dumps(body) for body in bodies]
            return {await hook.post(text, signed(text)) for text in texts}

    assert asyncio.run(answers()) <= {200, 400}


KINDS = ("participant_left", "participant_connection_aborted", "participant_joined", "room_finished", "of_2030")
EVENTS = st.builds(
    lambda kind, number, reason, agent: event(kind, number=number, reason=reason, agent=agent, created_at=1_000),
    st.sampled_from(KINDS),
    st.integers(1, 3),
    st.sampled_from([0, 1, 4, 5, 14, 77]),
    st.booleans(),
)
SETS_OF_EVENTS = st.lists(EVENTS, min_size=1, max_size=8, unique_by=lambda one: one.id)


@settings(max_examples=40, deadline=None)
@given(SETS_OF_EVENTS, st.data())
def test_any_order_and_repetition_of_events_is_taken_in_as_the_same_set(
    events: list[webhook_pb.WebhookEvent], data: st.DataObject
) -> None:
    repeated = events + data.draw(st.lists(st.sampled_from(events), max_size=6))
    shuffled = data.draw(st.permutations(repeated))

    async def taken_in(order: list[webhook_pb.WebhookEvent]) -> tuple[list[str], list[str]]:
        async with listening() as hook:
            assert {await hook.send(one) for one in order} == {200}
            return sorted(map(repr, hook.sightings)), sorted(hook.touched)

    assert asyncio.run(taken_in(shuffled)) == asyncio.run(taken_in(events))


@given(st.permutations(range(4)), st.lists(st.integers(0, 3), max_size=4))
def test_the_order_and_the_repetition_of_events_change_no_verdict(order: list[int], again: list[int]) -> None:
    now = float(int(time.time()))
    told = [
        convert.webhook(event(number=1, reason=5, created_at=int(now)), now),
        convert.webhook(event(number=2, reason=4, created_at=int(now)), now),
        convert.webhook(event(number=3, reason=1, agent=False, created_at=int(now)), now),
        convert.webhook(event("room_finished", created_at=int(now)), now),
    ]
    verdicts = []
    for numbers in (range(4), [*order, *again]):
        book = CloseBook()
        for number in numbers:
            sighting = told[number]
            assert sighting is not None
            book.absorb_sighting(sighting)
        verdicts.append({each.participant_sid: each.verdict for each in book.events})
    assert verdicts[0] == verdicts[1]
