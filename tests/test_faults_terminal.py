"""Faults in a real terminal of 80×24, and where the secrets are not: on the screen, in files, with other processes."""

from __future__ import annotations

import contextlib
import re
import stat
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.command import completed
from tests.lab.faults import BROKEN, HTML, answering, clock_ahead, never_answered, refused, reset_in_body
from tests.lab.people import join
from tests.lab.proxy import Answer, Exchange, Fault, FaultProxy, no_fault
from tests.lab.server import LabServer
from tests.lab.waiting import eventually
from tests.terminal import ENTER, ESCAPE, LK_TUI, RIGHT, Terminal, clean_environment

LOG = "lk-tui.log"


async def quotes_the_token(exchange: Exchange) -> None:
    """A server that says back in its error what it was sent."""
    token = exchange.headers["authorization"].removeprefix("Bearer ")
    body = f'{{"code":"unauthenticated","msg":"invalid token: {token}, key {LabServer.api_key}"}}'
    await exchange.reply(Answer(401, body.encode(), {"Content-Type": "application/json"}))


SAID: dict[str, tuple[Fault, str]] = {
    "refused": (refused, "refuses the API key or its secret: check"),
    "quoted": (quotes_the_token, "(invalid token: (token)"),
    "broken": (answering(BROKEN), "failed (500): could not get rooms"),
    "web page": (answering(HTML), "answers with text/html"),
    "reset": (reset_in_body, "broke in the middle of an answer"),
    # Told in whole seconds, and the header has no more.
    "clock": (clock_ahead(605), "this machine's clock is 10m0"),
}


@asynccontextmanager
async def behind(proxy: FaultProxy, home: Path) -> AsyncIterator[Terminal]:
    """The installed program, as a person starts it who wants a log, with its first picture drawn."""
    environment = clean_environment(
        home,
        LIVEKIT_URL=proxy.url,
        LIVEKIT_API_KEY=LabServer.api_key,
        LIVEKIT_API_SECRET=LabServer.api_secret,
        LK_TUI_LOG=str(home / LOG),
    )
    argv = [LK_TUI, "--interval", "0.5", "--operator", "mira"]
    async with Terminal(argv, environment=environment, cwd=home, columns=80, rows=24) as terminal:
        await terminal.wait_for("● live")
        yield terminal


async def test_every_fault_is_said_on_a_small_screen_and_gives_no_secret_away(
    lab_server: LabServer, room_name: str, tmp_path: Path
) -> None:
    async with (
        FaultProxy(lab_server.url) as proxy,
        await join(lab_server, room_name, "ann"),
        behind(proxy, tmp_path) as terminal,
    ):
        await terminal.wait_for(room_name[:10])
        # The open room is observed by a process of its own.
        terminal.send(ENTER)
        await eventually(lambda: children_of(terminal.pid))
        for fault, words in SAID.values():
            proxy.fault = fault
            await terminal.wait_for(lambda: re.search(r"(stale|late) \d+s", terminal.lines[0]))
            await terminal.wait_for(lambda words=words: words in terminal.lines[1])  # type: ignore[misc]
            terminal.send("?")
            await terminal.wait_for("lk-tui help")
            terminal.send(ESCAPE)
            await terminal.wait_for(lambda: "lk-tui help" not in terminal.text)
            await terminal.wait_for(room_name[:10])
            proxy.fault = no_fault
            terminal.send("r")
            await terminal.wait_for("● live")
        # What an action was told is kept, and saved.
        proxy.fault = quotes_the_token
        await terminal.wait_for("✗ stale")
        terminal.send("K")
        await terminal.wait_for("As seen")
        await terminal.press(RIGHT, "Cancel")
        terminal.send(ENTER)
        await terminal.wait_for("could not be re-checked")
        proxy.fault = no_fault
        terminal.send("r")
        await terminal.wait_for("● live")
        terminal.send("w")
        await eventually(lambda: list(tmp_path.glob("*.jsonl")))
        children = children_of(terminal.pid)
        for process in children:
            assert_keeps_secrets(Path(f"/proc/{process}/environ").read_bytes())
        for process in (terminal.pid, *children):
            assert_keeps_secrets(Path(f"/proc/{process}/cmdline").read_bytes())
        terminal.send("q")
        assert await terminal.exit_code() == 0
        # What is wrapped at the edge of the screen is one again.
        assert_keeps_secrets(re.sub(rb"[^\x21-\x7e]+", b"", terminal.raw))
        assert b"Traceback" not in terminal.raw
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {path.suffix for path in written} >= {".jsonl", ".log"}
    assert any("closes" in path.name or path.suffix in (".db", ".sqlite") for path in written), written
    for path in written:
        assert_keeps_secrets(path.read_bytes())
        if path.name != LOG:
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


async def test_a_hung_server_holds_nobody_up_who_leaves(lab_server: LabServer, tmp_path: Path) -> None:
    async with FaultProxy(lab_server.url) as proxy, behind(proxy, tmp_path) as terminal:
        proxy.fault = never_answered
        await terminal.wait_for("no answer yet")
        began = time.monotonic()
        terminal.send("q")
        assert await terminal.exit_code() == 0
        # A second is what it may take; the rest is for the machine, which may be busy. An answer is waited for 10 s.
        assert time.monotonic() - began < 8.0


@pytest.mark.parametrize(
    ("name", "code"), [("refused", 3), ("quoted", 3), ("clock", 3), ("web page", 4), ("reset", 4)], ids=str
)
async def test_a_first_poll_that_fails_ends_with_words_and_a_code(
    lab_server: LabServer, tmp_path: Path, name: str, code: int
) -> None:
    fault, words = SAID[name]
    async with FaultProxy(lab_server.url) as proxy:
        proxy.fault = fault
        environment = clean_environment(tmp_path, **{**lab_server.variables, "LIVEKIT_URL": proxy.url})
        done = await completed([LK_TUI, "rooms"], environment, tmp_path)
    assert done.returncode == code
    assert words in done.stderr.decode()
    assert done.stderr.count(b"\n") == 1
    assert_keeps_secrets(done.stdout + done.stderr)


def assert_keeps_secrets(data: bytes) -> None:
    for secret in (LabServer.api_secret, LabServer.api_key, "eyJ"):
        assert secret.encode() not in data


def children_of(parent: int) -> list[int]:
    """The processes that this one has started."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if int(process.joinpath("stat").read_text().rpartition(")")[2].split()[1]) == parent:
                found.append(int(process.name))
    return found
