"""What may happen between lk-tui and a server: each fault for as long as a `with` lasts, on a proxy of its own."""

from __future__ import annotations

import asyncio
import itertools
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from email.utils import format_datetime, parsedate_to_datetime
from typing import Any

import jwt

from tests.lab.proxy import Answer, Exchange, Fault, FaultProxy, no_fault
from tests.lab.server import LabServer

LATENCY_S = 5.0
QUIET_S = 3
"""What the 429 asks for."""
BIG = 50 * 1024 * 1024
_PIECE = 64 * 1024
LAB_NAME = "livekit.lab.test"
"""A name that resolves to loopback, except while its resolution fails."""

During = Callable[[FaultProxy], AbstractAsyncContextManager[None]]


def on_the_wire(fault: Fault) -> During:
    """A fault of requests and answers."""

    @asynccontextmanager
    async def during(proxy: FaultProxy) -> AsyncIterator[None]:
        proxy.fault = fault
        yield
        proxy.fault = no_fault

    return during


# Connections


async def slow(exchange: Exchange) -> None:
    """Everything takes long, and arrives."""
    await asyncio.sleep(LATENCY_S)
    await no_fault(exchange)


async def never_answered(exchange: Exchange) -> None:
    """A half-open connection: taken, and nothing comes."""
    await exchange.hang()


async def dies_silently(exchange: Exchange) -> None:
    """Half of the answer comes, and then nothing, not even an end."""
    answer = await exchange.forward()
    whole = answer.head() + answer.body
    await exchange.write(whole[: len(whole) // 2])
    await exchange.hang()


async def reset_in_body(exchange: Exchange) -> None:
    """Half of the body comes, and then an RST."""
    answer = await exchange.forward()
    await exchange.write(answer.head(length=2 * len(answer.body) + 2) + answer.body)
    exchange.reset()


async def truncated(exchange: Exchange) -> None:
    """Half of the body comes, and then an end."""
    answer = await exchange.forward()
    await exchange.write(answer.head(length=2 * len(answer.body) + 2) + answer.body)
    exchange.writer.close()


async def truncated_unnoticed(exchange: Exchange) -> None:
    """Not all of the body comes, and no header tells how long it should be."""
    answer = await exchange.forward()
    await exchange.write(answer.head(length=-1) + answer.body[:-1])
    exchange.writer.close()


async def byte_by_byte(exchange: Exchange) -> None:
    """One byte a second."""
    answer = await exchange.forward()
    whole = answer.head() + answer.body
    for at in range(len(whole)):
        await exchange.write(whole[at : at + 1])
        await asyncio.sleep(1.0)


# Answers


def answering(answer: Answer) -> Fault:
    """Always this answer; the server is not asked."""

    async def fault(exchange: Exchange) -> None:
        await exchange.reply(answer)

    return fault


def flapping(answer: Answer) -> Fault:
    """Every other listing gets this answer."""
    turns = itertools.count()

    async def fault(exchange: Exchange) -> None:
        bad = exchange.method == "ListRooms" and next(turns) % 2 == 0
        await exchange.reply(answer if bad else await exchange.forward())

    return fault


def huge(*, announced: bool) -> Fault:
    """A body of 50 MB, whose length is told before or isn't."""

    async def fault(exchange: Exchange) -> None:
        answer = await exchange.forward()
        await exchange.write(answer.head(length=BIG if announced else -1))
        for _ in range(BIG // _PIECE):
            await exchange.write(bytes(_PIECE))
        exchange.writer.close()

    return fault


HTML = Answer(200, b"<html><h1>Please log in</h1></html>", {"Content-Type": "text/html"})
TOO_MANY = Answer(429, b"", {"Retry-After": str(QUIET_S)})
BROKEN = Answer(500, b'{"code":"internal","msg":"could not get rooms"}', {"Content-Type": "application/json"})
UNAVAILABLE = Answer(503, b"<html>upstream connect error</html>", {"Content-Type": "text/html"})


# Tokens


def retold(exchange: Exchange, secret: str, **moved: float) -> None:
    """Have the token signed by `secret`, with times that are moved by so many seconds."""
    claims: dict[str, Any] = jwt.decode(
        exchange.headers["authorization"].removeprefix("Bearer "), options={"verify_signature": False}
    )
    claims |= {name: claims[name] + seconds for name, seconds in moved.items()}
    exchange.headers["authorization"] = f"Bearer {jwt.encode(claims, secret, algorithm='HS256')}"


async def refused(exchange: Exchange) -> None:
    """The server's own refusal: our secret is not its secret any more."""
    retold(exchange, "another-secret-another-secret-another")
    await no_fault(exchange)


def clock_ahead(seconds: float) -> Fault:
    """As a server behaves whose clock is so far ahead of ours: it sees our tokens' times so much earlier."""

    async def fault(exchange: Exchange) -> None:
        retold(exchange, LabServer.api_secret, nbf=-seconds, exp=-seconds)
        answer = await exchange.forward()
        date = format_datetime(parsedate_to_datetime(answer.headers["Date"]) + timedelta(seconds=seconds), usegmt=True)
        await exchange.reply(replace(answer, headers={**answer.headers, "Date": date}))

    return fault


# The server, and its name


@asynccontextmanager
async def server_down(proxy: FaultProxy) -> AsyncIterator[None]:
    """Nobody listens."""
    await proxy.stop_listening()
    yield
    await proxy.listen()


class Names:
    """The resolution of `LAB_NAME`, and whether it fails just now. It belongs in the place of `socket.getaddrinfo`."""

    def __init__(self) -> None:
        self.failing = False
        self._real = socket.getaddrinfo

    def getaddrinfo(self, host: Any, *more: Any, **others: Any) -> Any:
        """As the system's, which knows no such name."""
        if host != LAB_NAME:
            return self._real(host, *more, **others)
        if self.failing:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return self._real("127.0.0.1", *more, **others)


NAMES = Names()


@asynccontextmanager
async def name_unknown(proxy: FaultProxy) -> AsyncIterator[None]:
    """The name does not resolve any more, and what it stood for is gone: a connection that lasts needs no name."""
    NAMES.failing = True
    await proxy.stop_listening()
    yield
    await proxy.listen()
    NAMES.failing = False


# Changes


def to_changes(fault: Fault) -> Fault:
    """The fault, for requests that change a server; all others pass."""

    async def only_to_changes(exchange: Exchange) -> None:
        await (fault if exchange.changes else no_fault)(exchange)

    return only_to_changes


def done_then(answer: Fault) -> Fault:
    """The server does what it is asked, and this comes of its answer."""

    async def fault(exchange: Exchange) -> None:
        await exchange.forward()
        await answer(exchange)

    return fault


async def reset(exchange: Exchange) -> None:
    """The connection breaks off."""
    exchange.reset()


CHANGE_FAULTS: Mapping[str, Fault] = {
    name: to_changes(fault)
    for name, fault in {
        "done; the answer takes 5 s": slow,
        "done; the answer is lost": done_then(reset),
        "done; the answer is cut short": truncated,
        "done; no answer ever comes": done_then(never_answered),
        "done; the answer is a 500": done_then(answering(BROKEN)),
        "done; the answer is a 503 of something between": done_then(answering(UNAVAILABLE)),
        "done; the answer is a web page": done_then(answering(HTML)),
        "not done; the request is lost": reset,
        "not done; no answer ever comes": never_answered,
        "not done; 429": answering(TOO_MANY),
        "not done; 401": refused,
    }.items()
}
"""What may become of a request that changes a server, or of its answer."""

FAULTS: Mapping[str, During] = {
    "every answer takes 5 s": on_the_wire(slow),
    "connections are taken and never answered": on_the_wire(never_answered),
    "connections die silently in the middle of an answer": on_the_wire(dies_silently),
    "one byte a second": on_the_wire(byte_by_byte),
    "connections are reset in the middle of an answer": on_the_wire(reset_in_body),
    "answers are cut short": on_the_wire(truncated),
    "answers of unknown length are cut short": on_the_wire(truncated_unnoticed),
    "answers of 50 MB": on_the_wire(huge(announced=True)),
    "answers of 50 MB whose length is not told": on_the_wire(huge(announced=False)),
    "a web page instead of LiveKit": on_the_wire(answering(HTML)),
    "401: the key or its secret is refused": on_the_wire(refused),
    "429 with Retry-After": on_the_wire(answering(TOO_MANY)),
    "500": on_the_wire(answering(BROKEN)),
    "503 every other time": on_the_wire(flapping(UNAVAILABLE)),
    "the server's clock is 10 minutes ahead": on_the_wire(clock_ahead(600)),
    "the server's clock is 10 minutes behind": on_the_wire(clock_ahead(-600)),
    "the server is down": server_down,
    "the server's name does not resolve": name_unknown,
}
"""Each fault that makes the picture old, by what it is called."""
