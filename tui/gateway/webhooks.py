"""LiveKit's webhooks: listened to, verified, taken once.

LiveKit sends an event again, up to four times within some 15 s, where it gets no answer or a 5xx; every other answer
ends the matter (protocol v1.50.5, webhook/resource_url_notifier.go). It sends the events of one room one after the
other, and those of different rooms at the same time, each over a connection of its own. So 200 means that an event has
been taken in; one that is known already is answered 200 and dropped.
"""

from __future__ import annotations

import asyncio
import base64
import errno
import hashlib
import hmac
import logging
import os
import socket
import time
import traceback
from collections import OrderedDict
from collections.abc import Callable
from types import TracebackType
from typing import Self

from aiohttp import web
from google.protobuf.json_format import Parse
from livekit.api import TokenVerifier
from livekit.protocol import webhook as webhook_pb

from tui.gateway import convert
from tui.model.evidence import Sighting, SourceStatus
from tui.model.phrases import age, count
from tui.model.secret import Secret
from tui.model.text import safe_text
from tui.settings import SettingsError

BODY_LIMIT = 1024 * 1024
"""Bytes. An event holds a participant with up to 64 KiB of metadata and as much of attributes; a MiB is plenty."""
READ_TIMEOUT_S = 10.0
"""How long a body may take to arrive."""
LINGERING_S = 5.0
"""How long the rest of a body that was refused is read, and thrown away, so that its sender gets to read the answer."""
IDLE_TIMEOUT_S = 30.0
"""How long a connection may be open without a whole request's headers."""
REMEMBERED = 50_000
"""Ids of events by which repeated ones are known: a minute's worth at nearly 1,000 a second."""
CLOSING_S = 0.5

_WHAT_TO_DO = {
    errno.EADDRINUSE: "end the program that does, or choose another port with --webhook",
    errno.EACCES: "choose a port over 1023 with --webhook",
}

_log = logging.getLogger(__name__)
_aiohttp_log = logging.getLogger(f"{__name__}.aiohttp")
_aiohttp_log.disabled = True
"""It quotes what strangers send."""


class WebhookListener:
    """Listens on `host`:`port` (0: any free one) for the webhooks of one project; an async context manager.

    `publish` gets what is evidence for a session's end, `touched` the SID of every room that something happened in.
    Raises SettingsError on entering if the address can't be listened on.
    """

    def __init__(
        self,
        host: str,
        port: int,
        api_key: str,
        api_secret: Secret,
        publish: Callable[[Sighting], None],
        *,
        touched: Callable[[str], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._host = host
        self._port = port
        self._verifier = TokenVerifier(api_key, api_secret.reveal())
        self._publish = publish
        self._touched = touched
        self._clock = clock
        self._turns = asyncio.Lock()
        self._seen: OrderedDict[str, None] = OrderedDict()
        self._runner: web.AppRunner | None = None
        self._taken = 0
        self._refused = 0
        self._last_at: float | None = None

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=BODY_LIMIT)
        app.router.add_get("/{path:.*}", self._say_what_this_is)
        app.router.add_post("/{path:.*}", self._receive)
        runner = web.AppRunner(
            app,
            access_log=None,
            logger=_aiohttp_log,
            # LiveKit compresses nothing, and a body must not grow once it is here.
            auto_decompress=False,
            keepalive_timeout=IDLE_TIMEOUT_S,
            lingering_time=LINGERING_S,
            shutdown_timeout=CLOSING_S,
        )
        await runner.setup()
        try:
            await web.TCPSite(runner, self._host, self._port).start()
        except (OSError, UnicodeError) as error:
            await runner.cleanup()
            where = _shown(safe_text(self._host), self._port)
            raise SettingsError(f"can't listen for webhooks on {where} {_why(error)}") from None
        self._runner = runner
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    @property
    def address(self) -> str:
        """`host:port` as it is listened on; empty while it isn't."""
        if self._runner is None or not self._runner.addresses:
            return ""
        host, port = self._runner.addresses[0][:2]
        return _shown(host, port)

    @property
    def status(self) -> SourceStatus:
        """Where it listens, what came, and what was refused."""
        words = [self.address, count(self._taken, "event")]
        if self._last_at is not None:
            words.append(f"last {age(self._clock() - self._last_at)} ago")
        if self._refused:
            # A key that is not the one the server signs with looks like this.
            words.append(f"{self._refused:,} refused: is its api_key ours?")
        return SourceStatus(
            "webhooks", on=True, words=", ".join(words), trouble=bool(self._refused and not self._taken)
        )

    async def _say_what_this_is(self, request: web.Request) -> web.Response:  # noqa: ARG002 - aiohttp passes it
        return web.Response(text="lk-tui listens here for LiveKit's webhooks (POST).\n")

    async def _receive(self, request: web.Request) -> web.Response:
        if (request.content_length or 0) > BODY_LIMIT:
            raise web.HTTPRequestEntityTooLarge(BODY_LIMIT, request.content_length or 0)
        await self._turn()
        try:
            # Before any of the body is kept: strangers have no claim on our memory.
            digest = self._signed_digest(request.headers.get("Authorization", ""))
        except Exception as error:  # noqa: BLE001 - PyJWT's errors, and whatever a forged token trips over: all mean no
            return self._refuse(request, type(error).__name__)
        try:
            async with asyncio.timeout(READ_TIMEOUT_S):
                body = await request.read()
        except TimeoutError:
            return web.Response(status=408)
        if not hmac.compare_digest(digest, hashlib.sha256(body).digest()):
            return self._refuse(request, "signed for another body")
        try:
            event = Parse(body, webhook_pb.WebhookEvent(), ignore_unknown_fields=True)
        except Exception:  # noqa: BLE001 - ParseError, and what protobuf lets through: it is no event
            return web.Response(status=400, text="not a webhook event")
        return self._answer(event)

    async def _turn(self) -> None:
        """Wait until the event loop has gone round once for every event that came before.

        Worked on as they come, the events of many rooms that end together would hold the screen up.
        """
        async with self._turns:
            await asyncio.sleep(0)

    def _signed_digest(self, token: str) -> bytes:
        """The SHA-256 of the body that the token was made for. Raises whatever it likes for any other token.

        It does what livekit-api's WebhookReceiver does, which wants the body first, and as text.
        """
        digest = base64.b64decode(self._verifier.verify(token).sha256 or "", validate=True)
        if len(digest) != hashlib.sha256().digest_size:
            # Every participant has a token that is signed with the same secret.
            raise ValueError("not the token of a webhook")
        return digest

    def _refuse(self, request: web.Request, why: str) -> web.Response:
        self._refused += 1
        if self._refused.bit_count() == 1:
            # Each time that they have doubled: strangers must not fill the disk.
            _log.warning("refused %d so far, this one from %s: %s", self._refused, request.remote, why)
        return web.Response(status=401, text="the signature is not valid")

    def _answer(self, event: webhook_pb.WebhookEvent) -> web.Response:
        if not event.event:
            return web.Response(status=400, text="not a webhook event")
        if event.id in self._seen:
            self._seen.move_to_end(event.id)
            return web.Response(text="known")
        try:
            self._take(event)
        except Exception as error:  # noqa: BLE001 - by a fault of ours it was not taken in: LiveKit is to send it again
            trace = "".join(traceback.format_tb(error.__traceback__))
            # Without the error's own words, which may quote the event.
            _log.error("a webhook could not be taken in: %s\n%s", type(error).__name__, trace)
            return web.Response(status=500)
        self._remember(event.id)
        return web.Response(text="taken")

    def _take(self, event: webhook_pb.WebhookEvent) -> None:
        now = self._clock()
        if (sighting := convert.webhook(event, now)) is not None:
            self._publish(sighting)
        if event.room.sid:
            self._touched(safe_text(event.room.sid))
        self._taken += 1
        self._last_at = now

    def _remember(self, event_id: str) -> None:
        if event_id:
            self._seen[event_id] = None
            if len(self._seen) > REMEMBERED:
                self._seen.popitem(last=False)


def _shown(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _why(error: OSError | UnicodeError) -> str:
    """Why an address can't be listened on, and what to do."""
    if not isinstance(error, OSError) or isinstance(error, socket.gaierror) or error.errno is None:
        return "(no such host): choose another address with --webhook"
    # asyncio's own words name the address once more.
    remedy = _WHAT_TO_DO.get(error.errno, "choose another address with --webhook")
    return f"({os.strerror(error.errno).lower()}): {remedy}"
