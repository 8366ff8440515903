"""The helper without a room: what it believes, what it writes, and that it never harms the agent."""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial
from types import SimpleNamespace
from typing import Any, cast

import pytest
from livekit import api, rtc
from livekit.agents import AgentSession, CloseEvent, CloseReason, JobContext
from livekit.agents.llm import LLMError

from tests.lab.waiting import eventually
from tui import agent
from tui.agent import RefusedError, close_report, cut, shutdown_report, supervise, verified_operator

KEY, SECRET, ROOM = "devkey", "secretsecretsecretsecretsecretsecret", "hotline"


def request(
    *,
    key: str = KEY,
    secret: str = SECRET,
    identity: str = "kim",
    seconds: int = 60,
    grants: api.VideoGrants | None = None,
) -> str:
    """A request as lk-tui sends it, valid unless an argument makes it otherwise."""
    token = api.AccessToken(key, secret).with_identity(identity).with_ttl(timedelta(seconds=seconds))
    token.with_grants(grants or api.VideoGrants(room_admin=True, room=ROOM))
    return json.dumps({"token": token.to_jwt()})


def operator_of(payload: str) -> str:
    return verified_operator(payload, room=ROOM, api_key=KEY, api_secret=SECRET)


def test_a_valid_token_names_the_operator() -> None:
    assert operator_of(request()) == "kim"


@pytest.mark.parametrize(
    "payload",
    ["", "no json", "[]", "null", '"a"', "1", "{}", '{"token": null}', '{"token": 7}', '{"token": ""}'],
)
def test_a_request_without_a_token_is_refused(payload: str) -> None:
    with pytest.raises(RefusedError, match="there is no token"):
        operator_of(payload)


@pytest.mark.parametrize("token", ["x", "a.b.c", "....", "é", "[/red]"])
def test_what_is_no_token_is_refused(token: str) -> None:
    with pytest.raises(RefusedError, match="not valid"):
        operator_of(json.dumps({"token": token}))


@pytest.mark.parametrize(
    ("signed", "why"),
    [
        (partial(request, secret="another-secret-another-secret-another"), "Signature verification failed"),
        (partial(request, key="otherkey"), "Invalid issuer"),
        (partial(request, seconds=-120), "expired"),
        (partial(request, seconds=3600), "more than 60 s"),
        (partial(request, identity=""), "who asks"),
        (partial(request, identity="  "), "who asks"),
        (partial(request, grants=api.VideoGrants(room_admin=True, room="other")), "another room"),
        (partial(request, grants=api.VideoGrants(room_admin=True)), "another room"),
        (partial(request, grants=api.VideoGrants(room=ROOM)), "roomAdmin"),
        (partial(request, grants=api.VideoGrants(room=ROOM, room_join=True)), "roomAdmin"),
        (partial(request, grants=api.VideoGrants(room=ROOM, room_admin=cast(bool, "yes"))), "roomAdmin"),
    ],
)
def test_a_token_that_proves_too_little_is_refused(signed: Callable[[], str], why: str) -> None:
    with pytest.raises(RefusedError, match=why):
        # Signed now, not when the tests were collected: it lives for a minute.
        operator_of(signed())


@pytest.mark.parametrize(("key", "secret"), [("", ""), (KEY, ""), ("", SECRET)])
def test_an_agent_that_knows_no_secret_refuses_everything(key: str, secret: str) -> None:
    with pytest.raises(RefusedError, match="knows no API secret"):
        verified_operator(request(), room=ROOM, api_key=key, api_secret=secret)


def test_a_refusal_never_repeats_the_token() -> None:
    payload = request(secret="another-secret-another-secret-another")
    with pytest.raises(RefusedError) as refusal:
        operator_of(payload)
    assert json.loads(payload)["token"] not in str(refusal.value)


def test_a_close_report_says_when_why_and_by_whom() -> None:
    event = CloseEvent(reason=CloseReason.USER_INITIATED, created_at=1700000000.5)
    assert json.loads(close_report(event, "kim")) == {
        "reason": "user_initiated",
        "at": 1700000000.5,
        "by": "kim",
        "error": None,
    }


@pytest.mark.parametrize("reason", [CloseReason.ERROR, CloseReason.PARTICIPANT_DISCONNECTED])
def test_a_close_of_its_own_accord_is_not_put_down_to_the_operator_who_asked_meanwhile(reason: CloseReason) -> None:
    assert json.loads(close_report(CloseEvent(reason=reason), "kim"))["by"] is None


def test_an_error_is_told_by_its_exception_and_the_part_that_failed() -> None:
    error = LLMError(timestamp=0.0, label="lab.llm", error=ValueError("y" * 1000), recoverable=False)
    told = json.loads(close_report(CloseEvent(reason=CloseReason.ERROR, error=error), None))["error"]
    assert told == {"type": "ValueError", "source": "lab.llm", "message": "y" * 299 + "…"}


def test_a_shutdown_report_has_no_reason_when_nobody_gave_one() -> None:
    assert json.loads(shutdown_report(None, 12.0, None)) == {"reason": None, "at": 12.0, "by": None}


@pytest.mark.parametrize(("length", "left"), [(0, 0), (300, 300), (301, 300), (100_000, 300)])
def test_text_is_cut_at_300_characters(length: int, left: int) -> None:
    assert len(cut("x" * length)) == left


class FaultyRoom(rtc.EventEmitter[str]):
    """A connected room in which publishing fails, as the real one can't be made to on demand."""

    def __init__(self, set_attributes: Callable[[dict[str, str]], Any]) -> None:
        super().__init__()
        self.left = False
        self.methods: dict[str, Callable[[rtc.RpcInvocationData], Awaitable[str]]] = {}
        self.local_participant = SimpleNamespace(
            set_attributes=set_attributes, register_rpc_method=self.methods.__setitem__
        )

    def isconnected(self) -> bool:
        return not self.left

    async def disconnect(self) -> None:
        self.left = True


class FaultyJob:
    """What the helper uses of a JobContext."""

    def __init__(self, room: FaultyRoom) -> None:
        self.room = room
        self.job = SimpleNamespace(room=SimpleNamespace(name=ROOM))
        self.reasons: list[str] = []

    def shutdown(self, reason: str = "user requested") -> None:
        self.reasons.append(reason)


def attach(room: FaultyRoom) -> tuple[FaultyJob, rtc.EventEmitter[str]]:
    job, session = FaultyJob(room), rtc.EventEmitter[str]()
    supervise(cast(JobContext, job), cast(AgentSession[Any], session))
    return job, session


async def test_an_agent_whose_attributes_cannot_be_published_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    async def fail(_: dict[str, str]) -> None:
        raise ConnectionError("no server")

    room = FaultyRoom(fail)
    job, session = attach(room)
    await eventually(lambda: "could not be published" in caplog.text)
    session.emit("close", CloseEvent(reason=CloseReason.ERROR))
    job.shutdown("done")
    await job.room.disconnect()
    assert (job.reasons, room.left) == (["done"], True)


async def test_a_server_that_never_answers_holds_the_agents_leaving_up_only_briefly(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(agent, "_FLUSH_SECONDS", 0.05)
    forever = asyncio.Event()

    async def hang(_: dict[str, str]) -> None:
        await forever.wait()

    room = FaultyRoom(hang)
    job, _ = attach(room)
    async with asyncio.timeout(10):
        await job.room.disconnect()
    assert room.left
    forever.set()


async def test_a_confirmation_that_never_comes_holds_newer_attributes_up_only_briefly(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(agent, "_CONFIRMATION_SECONDS", 0.05)
    published: list[dict[str, str]] = []
    forever = asyncio.Event()

    async def publish(changed: dict[str, str]) -> None:
        published.append(changed)
        await forever.wait()

    job, _ = attach(FaultyRoom(publish))
    await eventually(lambda: published)
    job.shutdown("done")
    await eventually(lambda: any(agent.SHUTDOWN in changed for changed in published))
    forever.set()


async def test_everything_is_published_again_after_a_reconnection() -> None:
    published: list[dict[str, str]] = []

    async def publish(changed: dict[str, str]) -> None:
        published.append(changed)

    room = FaultyRoom(publish)
    _, session = attach(room)
    session.emit("close", CloseEvent(reason=CloseReason.USER_INITIATED))
    await eventually(lambda: any(agent.CLOSE in changed for changed in published))
    published.clear()
    room.emit("reconnected")
    await eventually(lambda: published)
    assert {agent.HELPER, agent.SESSION, agent.CLOSE} <= published[0].keys()


async def test_a_session_that_was_never_started_is_open_again_after_a_request_to_close_it() -> None:
    states: list[str] = []

    async def publish(changed: dict[str, str]) -> None:
        states.append(changed[agent.SESSION])

    room = FaultyRoom(publish)
    session: AgentSession[None] = AgentSession()
    supervise(cast(JobContext, FaultyJob(room)), session, api_key=KEY, api_secret=SECRET)
    await eventually(lambda: states == ["open"])
    asked = rtc.RpcInvocationData("1", "someone", request(), 10.0, agent.CLOSE_SESSION)
    assert json.loads(await room.methods[agent.CLOSE_SESSION](asked)) == {"session": "closing"}
    await eventually(lambda: states == ["open", "closing", "open"])
    session.emit("close", CloseEvent(reason=CloseReason.USER_INITIATED))
    await eventually(lambda: states[-1] == "closed")


async def test_a_handler_that_fails_is_logged_and_not_felt_by_the_session(caplog: pytest.LogCaptureFixture) -> None:
    async def publish(_: dict[str, str]) -> None: ...

    _, session = attach(FaultyRoom(publish))
    session.emit("close", "this is no CloseEvent")
    assert "helper failed in _Helper._on_close" in caplog.text


async def test_a_shutdown_called_in_any_way_reaches_the_framework(caplog: pytest.LogCaptureFixture) -> None:
    said: dict[str, str] = {}

    async def publish(changed: dict[str, str]) -> None:
        said.update(changed)

    job, _ = attach(FaultyRoom(publish))
    job.shutdown()
    job.shutdown(reason="again")
    assert job.reasons == ["user requested", "again"]
    await eventually(lambda: agent.SHUTDOWN in said)
    assert json.loads(said[agent.SHUTDOWN])["reason"] == "user requested"
    assert said[agent.SESSION] == "closing"
    assert caplog.records == []


def test_supervising_what_is_no_job_is_logged_and_not_raised(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR, logger="lk_tui.agent")
    supervise(cast(JobContext, object()), cast(AgentSession[Any], object()))
    assert "can't supervise" in caplog.text
