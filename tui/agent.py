"""The helper that an agent imports, so that lk-tui can see its session close and ask it to.

    from tui.agent import supervise

    async def entrypoint(ctx: JobContext) -> None:
        session = AgentSession(...)
        supervise(ctx, session)
        await session.start(agent=..., room=ctx.room)

It speaks docs/helper-protocol.md, needs livekit and nothing else, and never raises into the agent: what fails here is
logged (logger `lk_tui.agent`), and the agent goes on as if there were no helper.
"""

from __future__ import annotations

import asyncio
import base64
import functools
import inspect
import json
import logging
import os
import time
from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ParamSpec

from livekit import rtc
from livekit.api import TokenVerifier

if TYPE_CHECKING:
    from livekit.agents import AgentSession, CloseEvent, JobContext

log = logging.getLogger("lk_tui.agent")

VERSION = "1"

HELPER = "lk-tui.helper"
SESSION = "lk-tui.session"
CLOSE = "lk-tui.close"
SHUTDOWN = "lk-tui.shutdown"

CLOSE_SESSION = "lk-tui.close_session"
SHUT_DOWN_JOB = "lk-tui.shut_down_job"

REFUSED = 403

MAX_TOKEN_SECONDS = 60
CLOCK_LEEWAY_SECONDS = 30
MAX_TEXT = 300

# How long an action, or the end of the room connection, waits for attributes on their way out. They take 3 to 40 ms.
_FLUSH_SECONDS = 2.0

# How long newer attributes wait for older ones to be confirmed. About one confirmation in 500 is lost: set_attributes
# then returns after 5 s, though the value was out at once (livekit 1.1.21, seen in 2,000 calls on loopback).
_CONFIRMATION_SECONDS = 0.5

# A session that closed for another reason than these didn't close because an operator asked.
_ASKED_FOR = frozenset({"user_initiated", "job_shutdown"})

P = ParamSpec("P")


def supervise(
    ctx: JobContext,
    session: AgentSession[Any],
    *,
    api_key: str | None = None,
    api_secret: str | None = None,
) -> None:
    """Publish what becomes of `session` and of the job, and answer lk-tui's requests to end them.

    Call it once a job, from the entrypoint: before or after `ctx.connect()`, before or after `session.start()`.

    Requests are verified with `api_key` and `api_secret`; without them, with LIVEKIT_API_KEY and LIVEKIT_API_SECRET,
    where livekit-agents puts what the worker was started with (worker.py). If there is no secret, all are refused.

    `ctx.shutdown` and `ctx.room.disconnect` are wrapped: livekit-agents runs shutdown callbacks only after it has left
    the room (ipc/job_proc_lazy_main.py, `_shutdown_job`), when nothing can be published any more.

    Never raises.
    """
    try:
        _Helper(
            ctx,
            session,
            api_key or os.environ.get("LIVEKIT_API_KEY", ""),
            api_secret or os.environ.get("LIVEKIT_API_SECRET", ""),
        ).attach()
    except Exception:
        # Whatever is wrong here, the phone call matters more than its supervision.
        log.exception("lk-tui can't supervise this job")


class RefusedError(Exception):
    """A request that proves no right to what it asks for. `str()` is the reason, for the caller and for the log."""


def verified_operator(payload: str, *, room: str, api_key: str, api_secret: str) -> str:
    """The operator's name in a request `{"token": "<JWT>"}` that may end things in `room`.

    Raises RefusedError unless the token is signed (HS256) by `api_secret` for `api_key`, valid now and for no more than
    60 s (give or take 30 s for clocks that differ), roomAdmin of this very room, and with a subject.
    """
    if not api_key or not api_secret:
        raise RefusedError("this agent knows no API secret to verify a token with: see supervise(api_secret=...)")
    try:
        request = json.loads(payload)
    except ValueError:
        request = None
    token = request.get("token") if isinstance(request, dict) else None
    if not isinstance(token, str) or not token:
        raise RefusedError("there is no token in the request")
    try:
        claims = TokenVerifier(api_key, api_secret, leeway=timedelta(seconds=CLOCK_LEEWAY_SECONDS)).verify(token)
        expires = float(_claims_of(token)["exp"])
    except Exception as error:
        # PyJWT's errors, and whatever a token of unforeseen shape makes the verifier stumble over: all mean no.
        raise RefusedError(f"the token is not valid: {error}") from error
    if expires - time.time() > MAX_TOKEN_SECONDS + CLOCK_LEEWAY_SECONDS:
        raise RefusedError(f"the token is valid for more than {MAX_TOKEN_SECONDS} s")
    video = claims.video
    if video is None or video.room_admin is not True:
        raise RefusedError("the token does not grant roomAdmin")
    if video.room != room:
        raise RefusedError("the token is for another room")
    if not isinstance(claims.identity, str) or not claims.identity.strip():
        raise RefusedError("the token does not say who asks (sub)")
    return claims.identity


def _claims_of(token: str) -> dict[str, Any]:
    """The claims of a JWT that has been verified: TokenVerifier checks `exp`, and doesn't hand it out."""
    body = token.split(".")[1]
    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    return claims


def cut(text: str) -> str:
    """`text`, or its first 299 characters and an ellipsis."""
    return text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 1] + "…"


def close_report(event: CloseEvent, by: str | None) -> str:
    """The value of `lk-tui.close`: JSON `{"reason", "at", "by", "error"}`."""
    reason = event.reason.value
    return json.dumps(
        {
            "reason": reason,
            "at": event.created_at,
            "by": cut(by) if by and reason in _ASKED_FOR else None,
            "error": _error_report(event.error),
        }
    )


def _error_report(error: Any) -> dict[str, str] | None:
    """`{"type", "source", "message"}` of a livekit-agents LLMError, STTError, TTSError, …, which wrap an exception."""
    if error is None:
        return None
    cause = getattr(error, "error", None) or error
    source = getattr(error, "label", None) or getattr(error, "type", None) or ""
    return {"type": cut(type(cause).__name__), "source": cut(str(source)), "message": cut(str(cause))}


def shutdown_report(reason: str | None, at: float, by: str | None) -> str:
    """The value of `lk-tui.shutdown`: JSON `{"reason", "at", "by"}`; `at` is seconds since 1970."""
    return json.dumps(
        {"reason": None if reason is None else cut(reason), "at": at, "by": None if by is None else cut(by)}
    )


def _guarded(handler: Callable[P, object]) -> Callable[P, None]:
    """`handler`, which logs what it raises: livekit's emitter lets a TypeError through to whoever emitted."""

    @functools.wraps(handler)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            handler(*args, **kwargs)
        except Exception:
            # The agent is in the middle of something else: it mustn't fail because its supervision does.
            log.exception("lk-tui's helper failed in %s", handler.__qualname__)

    return run


class _Helper:
    """What one job tells and does. Lives on the job's event loop."""

    def __init__(self, ctx: JobContext, session: AgentSession[Any], api_key: str, api_secret: str) -> None:
        self._ctx = ctx
        self._room = ctx.room
        self._session = session
        self._api_key = api_key
        self._api_secret = api_secret
        self._attributes = {HELPER: VERSION, SESSION: "open"}
        self._unsent = dict(self._attributes)
        self._sender: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._close_asked_by: str | None = None
        self._shutdown_asked_by: str | None = None

    def attach(self) -> None:
        """Listen to the session, the job and the room; publish at once if the room is connected."""
        self._session.on("close", _guarded(self._on_close))
        self._room.on("connection_state_changed", _guarded(self._on_connection_state))
        self._room.on("reconnected", _guarded(self._on_reconnected))
        self._wrap_shutdown()
        self._wrap_disconnect()
        if self._room.isconnected():
            self._on_connected()

    # What it tells

    def _publish(self, changed: dict[str, str]) -> None:
        self._attributes.update(changed)
        self._unsent.update(changed)
        self._send()

    def _send(self) -> None:
        if self._unsent and self._room.isconnected() and (self._sender is None or self._sender.done()):
            self._sender = self._spawn(self._send_unsent())

    async def _send_unsent(self) -> None:
        # One after the other, so that an older value doesn't overtake a newer one.
        while self._unsent and self._room.isconnected():
            batch, self._unsent = self._unsent, {}
            await asyncio.wait({self._spawn(self._set_attributes(batch))}, timeout=_CONFIRMATION_SECONDS)

    async def _set_attributes(self, batch: dict[str, str]) -> None:
        try:
            await self._room.local_participant.set_attributes(batch)
        except Exception:
            # Nobody looks at this task's result: without the log the failure would go unseen.
            log.exception("lk-tui's attributes could not be published")

    async def _flush(self) -> None:
        """Wait until what was published is out, but not for long."""
        if self._sender is not None:
            await asyncio.wait({self._sender}, timeout=_FLUSH_SECONDS)

    def _on_connection_state(self, state: rtc.ConnectionState.ValueType) -> None:
        if state == rtc.ConnectionState.CONN_CONNECTED:
            self._on_connected()

    def _on_connected(self) -> None:
        participant = self._room.local_participant
        participant.register_rpc_method(CLOSE_SESSION, self._close_session_asked)
        participant.register_rpc_method(SHUT_DOWN_JOB, self._shut_down_job_asked)
        self._send()

    def _on_reconnected(self) -> None:
        # After a full reconnect the server has a new participant, who may have none of our attributes.
        self._unsent = dict(self._attributes)
        self._on_connected()

    def _on_close(self, event: CloseEvent) -> None:
        by = self._close_asked_by or self._shutdown_asked_by
        self._publish({SESSION: "closed", CLOSE: close_report(event, by)})

    def _on_shutdown(self, reason: str | None) -> None:
        """The job is going: the first to say so is right, as in livekit-agents itself."""
        if SHUTDOWN not in self._attributes:
            self._publish({SHUTDOWN: shutdown_report(reason, time.time(), self._shutdown_asked_by)})

    def _on_shutdown_called(self, reason: str) -> None:
        if self._attributes[SESSION] == "open":
            # livekit-agents closes the session first of all, and waits up to 60 s for that.
            self._publish({SESSION: "closing"})
        self._on_shutdown(reason)

    def _wrap_shutdown(self) -> None:
        original = self._ctx.shutdown
        signature = inspect.signature(original)

        @_guarded
        def tell(*args: Any, **kwargs: Any) -> None:
            call = signature.bind(*args, **kwargs)
            call.apply_defaults()
            self._on_shutdown_called(str(call.arguments["reason"]))

        @functools.wraps(original)
        def shutdown(*args: Any, **kwargs: Any) -> None:
            tell(*args, **kwargs)
            original(*args, **kwargs)

        self._ctx.shutdown = shutdown  # type: ignore[method-assign]

    def _wrap_disconnect(self) -> None:
        original = self._room.disconnect
        tell = _guarded(self._on_shutdown)

        @functools.wraps(original)
        async def disconnect(*args: Any, **kwargs: Any) -> None:
            # Here DeleteDispatch is first heard of, and nobody has said why: the framework tells that only afterwards.
            tell(None)
            await self._flush()
            await original(*args, **kwargs)

        self._room.disconnect = disconnect  # type: ignore[method-assign]

    # What it is asked

    async def _close_session_asked(self, call: rtc.RpcInvocationData) -> str:
        operator = self._admit(call)
        if self._attributes[SESSION] == "open":
            self._close_asked_by = operator
            self._publish({SESSION: "closing"})
            self._spawn(self._close_session())
        return json.dumps({"session": self._attributes[SESSION]})

    async def _shut_down_job_asked(self, call: rtc.RpcInvocationData) -> str:
        operator = self._admit(call)
        if SHUTDOWN not in self._attributes:
            self._shutdown_asked_by = operator
            reason = f"{operator} asked for it in lk-tui"
            self._on_shutdown_called(reason)
            self._spawn(self._shut_down_job(reason))
        return json.dumps({"job": "shutting_down"})

    def _admit(self, call: rtc.RpcInvocationData) -> str:
        try:
            operator = verified_operator(
                call.payload,
                room=self._ctx.job.room.name,
                api_key=self._api_key,
                api_secret=self._api_secret,
            )
        except RefusedError as refusal:
            log.warning("lk-tui: refused %s to caller %r: %s", call.method, call.caller_identity, refusal)
            raise rtc.RpcError(REFUSED, str(refusal)) from refusal
        log.info("lk-tui: %r asked for %s", operator, call.method)
        return operator

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work, name="lk-tui")
        # The event loop holds tasks weakly.
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _close_session(self) -> None:
        try:
            # The round trip of the attribute lets the answer go out before the session's teardown can hold things up.
            await self._flush()
            await self._session.aclose()
        except Exception:
            # The attribute stays `closing`, and that is what we know.
            log.exception("lk-tui was asked to close the session, and closing failed")
            return
        if self._attributes[SESSION] == "closing" and SHUTDOWN not in self._attributes:
            log.warning("lk-tui was asked to close a session that isn't running: nothing happened")
            self._close_asked_by = None
            self._publish({SESSION: "open"})

    async def _shut_down_job(self, reason: str) -> None:
        try:
            await self._flush()
            self._ctx.shutdown(reason)
        except Exception:
            # As above: nobody awaits this task.
            log.exception("lk-tui was asked to shut down the job, and that failed")
