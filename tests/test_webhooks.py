"""Webhooks: only signed ones, each once, whatever comes in whatever order; nothing that was accepted is lost."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import time
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any

import aiohttp
import pytest
from google.protobuf.json_format import MessageToDict
from hypothesis import given
from hypothesis import strategies as st
from livekit.api import AccessToken
from livekit.protocol import models as models_pb
from livekit.protocol import webhook as webhook_pb

from tests.lab.server import free_port
from tui.gateway import convert
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


def signed(body: str, *, key: str = KEY, secret: str = SECRET, of: str | None = None, ttl: float = 300.0) -> str:
    """The `Authorization` that LiveKit sends with this body (or with the body `of`)."""
    digest = base64.b64encode(hashlib.sha256((body if of is None else of).encode()).digest()).decode()
    return AccessToken(key, secret).with_sha256(digest).with_ttl(timedelta(seconds=ttl)).to_jwt()


class Listening:
    """A listener, what it published, and a way to send to it."""

    def __init__(self, listener: WebhookListener, http: aiohttp.ClientSession) -> None:
        self.listener = listener
        self.http = http
        self.sightings: list[Sighting] = []
        self.touched: list[str] = []
        self.fault: Exception | None = None

    def publish(self, sighting: Sighting) -> None:
        if self.fault is not None:
            raise self.fault
        self.sightings.append(sighting)

    async def post(self, body: str | bytes, authorization: str | None) -> int:
        headers = {"Authorization": authorization} if authorization is not None else {}
        async with self.http.post(f"http://{self.listener.address}/hook", data=body, headers=headers) as answer:
            return answer.status

    async def send(self, what: webhook_pb.WebhookEvent) -> int:
        body = json.dumps(MessageToDict(what))
        return await self.post(body, signed(body))

    def gone(self) -> list[tuple[str, str]]:
        """The identity and the disconnect reason of every agent that was told to have left."""
        return [
            (sighting.agent.participant.identity.raw, piece.reason)
            for sighting in self.sightings
            for piece in sighting.evidence
            if sighting.agent is not None and piece.fact is Fact.AGENT_LEFT
        ]


@pytest.fixture
async def hook() -> AsyncIterator[Listening]:
    async with aiohttp.ClientSession() as http:
        listener = WebhookListener(
            "127.0.0.1",
            0,
            KEY,
            Secret(SECRET),
            lambda sighting: listening.publish(sighting),
            touched=lambda sid: listening.touched.append(sid),
        )
        listening = Listening(listener, http)
        async with listener:
            yield listening


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
    ],
    ids=["none", "no token", "wrong secret", "wrong key", "another body's", "expired", "without a hash"],
)
async def test_what_is_not_signed_for_us_is_refused_and_leaves_no_trace(
    hook: Listening, sign: Callable[[str], str | None]
) -> None:
    body = json.dumps(MessageToDict(event()))
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


async def test_a_body_of_ten_megabytes_is_refused_unread(hook: Listening) -> None:
    body = "x" * (10 * 1024 * 1024)
    assert await hook.post(body, signed("x")) == 413
    assert len(body) > BODY_LIMIT
    assert await hook.send(event()) == 200


@pytest.mark.parametrize("body", [b"", b"\xff\xfe\x00", b"[]", b'{"event": 3}', b"{" * 5000])
async def test_garbage_is_refused_even_if_it_is_signed(hook: Listening, body: bytes) -> None:
    text = body.decode("latin-1")
    status = await hook.post(body, signed(text))
    assert 400 <= status < 500
    assert hook.sightings == []


async def test_only_posts_are_events(hook: Listening) -> None:
    async with hook.http.get(f"http://{hook.listener.address}/") as answer:
        assert answer.status == 200
        assert "webhooks" in await answer.text()
    async with hook.http.put(f"http://{hook.listener.address}/") as answer:
        assert answer.status == 405


async def test_a_burst_is_taken_whole_and_each_event_once(hook: Listening) -> None:
    events = [event(number=number) for number in range(1_500)]
    gate = asyncio.Semaphore(20)

    async def send(one: webhook_pb.WebhookEvent) -> int:
        async with gate:
            return await hook.send(one)

    assert set(await asyncio.gather(*map(send, events + events[::3]))) == {200}
    assert sorted(identity for identity, _ in hook.gone()) == sorted(f"agent-{number}" for number in range(1_500))


async def test_a_port_that_is_taken_is_said_with_what_to_do(hook: Listening) -> None:
    host, _, port = hook.listener.address.rpartition(":")
    other = WebhookListener(host, int(port), KEY, Secret(SECRET), print, touched=print)
    with pytest.raises(SettingsError, match=r"can't listen for webhooks on .*: choose another --webhook"):
        async with other:
            pass
    free = WebhookListener(host, free_port(), KEY, Secret(SECRET), print, touched=print)
    async with free:
        assert free.status.on


def test_an_event_that_was_held_up_is_dated_by_the_server_and_a_fresh_one_by_our_finer_clock() -> None:
    for created, at, dated in ((1_000, 1_000.9, 1_000.9), (1_000, 1_060.0, 1_000.0)):
        sighting = convert.webhook(event(created_at=created), at)
        assert sighting is not None
        assert sighting.evidence[-1].at == dated


def test_hostile_names_are_made_safe() -> None:
    sighting = convert.webhook(event(room="a\x1b]0;x\x07"), time.time())
    assert sighting is not None
    assert sighting.room.safe == "a\\x1b]0;x\\x07"


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
