"""The HTTP connections to the server: kept while they work, left behind once one fails, and after a while anyway."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp

BODY_LIMIT = 32 * 1024 * 1024
"""Bytes of an answer that are read. 10,000 rooms without metadata are 2.3 MB."""
RENEWED_AFTER_S = 60.0
"""aiohttp takes turns with its connections, so that of those that a burst of requests opened none is ever idle for long
enough to be closed: without this as many stay open as were ever needed at once."""
_PIECE = 65_536


class BodyTooLargeError(Exception):
    """An answer of more than `BODY_LIMIT` bytes. What was read of it is gone."""


class Connections:
    """Sessions of aiohttp, of which one is in use.

    A connection that dies without a word looks alive until somebody waits for it in vain, and those beside it have died
    of the same. So after a failure the next call opens one of its own, instead of waiting for each of them in turn. The
    calls that are under way keep the session they began with.
    """

    def __init__(self, middleware: aiohttp.ClientMiddlewareType) -> None:
        self._middleware = middleware
        self._current: aiohttp.ClientSession | None = None
        self._opened_at = 0.0
        self._users: Counter[aiohttp.ClientSession] = Counter()

    @asynccontextmanager
    async def use(self) -> AsyncIterator[aiohttp.ClientSession]:
        """A session for one call; an error of the connection, raised in it, leaves that session behind."""
        now = asyncio.get_running_loop().time
        if self._current is None or self._current.closed:
            self._current = aiohttp.ClientSession(middlewares=(self._middleware,), response_class=_BoundedResponse)
            self._opened_at = now()
        session = self._current
        self._users[session] += 1
        try:
            yield session
        except (aiohttp.ClientError, OSError, TimeoutError, asyncio.CancelledError):
            # Cancelled: somebody has given up waiting, which is no better a sign.
            if self._current is session:
                self._current = None
            raise
        finally:
            if self._current is session and now() - self._opened_at > RENEWED_AFTER_S:
                self._current = None
            self._users[session] -= 1
            if not self._users[session]:
                del self._users[session]
                if session is not self._current:
                    await session.close()

    async def close(self) -> None:
        """Close them all; calls under way fail."""
        sessions = {*self._users, *([self._current] if self._current is not None else [])}
        self._current = None
        for session in sessions:
            await session.close()


class _BoundedResponse(aiohttp.ClientResponse):
    """An answer that is refused where it is too long, before it is all here."""

    async def read(self) -> bytes:
        """The body, unpacked. Raises `BodyTooLargeError`."""
        if (self.content_length or 0) > BODY_LIMIT:
            raise BodyTooLargeError
        body = bytearray()
        async for piece in self.content.iter_chunked(_PIECE):
            body += piece
            if len(body) > BODY_LIMIT:
                raise BodyTooLargeError
        return bytes(body)
