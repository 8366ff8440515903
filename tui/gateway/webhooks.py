"""LiveKit's webhooks: listened to, verified, taken once.

LiveKit sends an event up to a few times until it is answered with 200, may send it twice, late or never, and gives up.
So 200 means that it has been taken in; an event that is known already is answered 200 and dropped.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from types import TracebackType
from typing import Self

from aiohttp import web
from google.protobuf.json_format import ParseError
from livekit.api import TokenVerifier, WebhookReceiver
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
REMEMBERED = 50_000
"""Ids of events by which repeated ones are known: a minute's worth at nearly 1,000 a second."""
CLOSING_S = 0.5

_log = logging.getLogger(__name__)


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
        self._receiver = WebhookReceiver(TokenVerifier(api_key, api_secret.reveal()))
        self._publish = publish
        self._touched = touched
        self._clock = clock
        self._seen: OrderedDict[str, None] = OrderedDict()
        self._runner: web.AppRunner | None = None
        self._taken = 0
        self._refused = 0
        self._last_at: float | None = None

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=BODY_LIMIT)
        app.router.add_get("/{path:.*}", self._say_what_this_is)
        app.router.add_post("/{path:.*}", self._receive)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=CLOSING_S)
        await runner.setup()
        try:
            await web.TCPSite(runner, self._host, self._port).start()
        except OSError as error:
            await runner.cleanup()
            why = error.strerror or "no reason given"
            raise SettingsError(
                f"can't listen for webhooks on {safe_text(self._host)}:{self._port} ({why}): choose another --webhook"
            ) from None
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
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

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
        try:
            async with asyncio.timeout(READ_TIMEOUT_S):
                body = await request.text()
        except TimeoutError:
            return web.Response(status=408)
        except (UnicodeDecodeError, LookupError):
            return web.Response(status=400, text="not UTF-8 text")
        try:
            event = self._receiver.receive(body, request.headers.get("Authorization", ""))
        except ParseError:
            return web.Response(status=400, text="not a webhook event")
        except Exception as error:  # noqa: BLE001 - PyJWT's errors, and whatever a forged token trips over: all mean no
            self._refused += 1
            _log.warning("refused a webhook from %s: %s", request.remote, type(error).__name__)
            return web.Response(status=401, text="the signature is not valid")
        if not event.event:
            return web.Response(status=400, text="not a webhook event")
        if event.id and event.id in self._seen:
            self._seen.move_to_end(event.id)
            return web.Response(text="known")
        try:
            self._take(event)
        except Exception:  # noqa: BLE001 - by a fault of ours it was not taken in: LiveKit is to send it again
            _log.exception("a webhook could not be taken in")
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
