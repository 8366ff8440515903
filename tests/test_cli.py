"""The command line: what each trouble says, where, and with what the program ends."""

from __future__ import annotations

import re
import socket
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from aiohttp import web

from tests.command import completed
from tests.lab.server import LabServer
from tests.terminal import INTO_ALTERNATE_SCREEN, LK_TUI, OUT_OF_ALTERNATE_SCREEN, Terminal, clean_environment
from tui import __version__


@dataclass(frozen=True)
class Ended:
    """A command that ended: with what, and what it wrote."""

    code: int
    out: str
    err: str


async def run(home: Path, *words: str, program: str = LK_TUI, **variables: str) -> Ended:
    """Run `lk-tui` with these words, and these variables in an otherwise clean environment; there is no terminal."""
    done = await completed([program, *words], clean_environment(home, **variables), home)
    return Ended(done.returncode, done.stdout.decode(), done.stderr.decode())


@asynccontextmanager
async def a_web_page() -> AsyncIterator[str]:
    """A web server that answers everything with a page; its URL."""

    async def answer(_: web.Request) -> web.Response:
        return web.Response(text="<html>Welcome!</html>", content_type="text/html")

    application = web.Application()
    application.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    with bound() as listener:
        await web.SockSite(runner, listener).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        await runner.cleanup()


@contextmanager
def bound() -> Iterator[socket.socket]:
    """A socket that has a port, and does not listen yet."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken


TROUBLES = {
    "wrong key": (3, "refuses the API key or its secret: check LIVEKIT_API_KEY and LIVEKIT_API_SECRET"),
    "wrong secret": (3, "refuses the API key or its secret: check LIVEKIT_API_KEY and LIVEKIT_API_SECRET"),
    "short secret": (3, "refuses the API key or its secret: check LIVEKIT_API_KEY and LIVEKIT_API_SECRET"),
    "no such host": (4, "no such host: nowhere.invalid: check the URL"),
    "nothing there": (4, "refused the connection: is livekit-server running there?"),
    "no TLS there": (4, "TLS failed with 127.0.0.1:"),
    "a web page": (4, "answers with text/html, not as LiveKit does: check the URL"),
}


@asynccontextmanager
async def in_trouble(trouble: str, server: LabServer) -> AsyncIterator[Mapping[str, str]]:
    """The three variables that lead into this trouble."""
    good = server.variables
    match trouble:
        case "wrong key":
            yield {**good, "LIVEKIT_API_KEY": "APInobody"}
        case "wrong secret":
            yield {**good, "LIVEKIT_API_SECRET": "guessed" * 6}
        case "short secret":
            yield {**good, "LIVEKIT_API_SECRET": "guessed"}
        case "no such host":
            yield {**good, "LIVEKIT_URL": "wss://nowhere.invalid"}
        case "nothing there":
            with bound() as taken:
                # Bound but not listening: nobody else takes the port meanwhile, and connections are refused.
                yield {**good, "LIVEKIT_URL": f"ws://127.0.0.1:{taken.getsockname()[1]}"}
        case "no TLS there":
            yield {**good, "LIVEKIT_URL": server.ws_url.replace("ws:", "wss:")}
        case "a web page":
            async with a_web_page() as url:
                yield {**good, "LIVEKIT_URL": url}


@pytest.mark.parametrize("trouble", TROUBLES)
async def test_rooms_says_what_is_wrong_in_one_line(lab_server: LabServer, tmp_path: Path, trouble: str) -> None:
    code, said = TROUBLES[trouble]
    async with in_trouble(trouble, lab_server) as variables:
        ended = await run(tmp_path, "rooms", **variables)
    assert ended.code == code
    assert ended.out == ""
    assert re.fullmatch(r"lk-tui: [^\n]+\n", ended.err)
    assert said in ended.err


@pytest.mark.parametrize("trouble", TROUBLES)
async def test_the_dashboard_ends_with_the_same_words_when_its_first_poll_fails(
    lab_server: LabServer, tmp_path: Path, trouble: str
) -> None:
    code, said = TROUBLES[trouble]
    async with (
        in_trouble(trouble, lab_server) as variables,
        Terminal([LK_TUI], environment=clean_environment(tmp_path, **variables), cwd=tmp_path) as terminal,
    ):
        assert await terminal.exit_code() == code
        assert INTO_ALTERNATE_SCREEN in terminal.raw
        after = Terminal.plain(terminal.raw.rpartition(OUT_OF_ALTERNATE_SCREEN)[2]).decode()
        assert re.fullmatch(r"lk-tui: [^\r\n]+\r\n", after)
        assert said in after
        assert terminal.strays.decode() == after


@pytest.mark.parametrize("command", [(), ("rooms",)], ids=["dashboard", "rooms"])
@pytest.mark.parametrize(
    ("variables", "said"),
    [
        (
            {"LIVEKIT_URL": "ws://127.0.0.1:1"},
            "the environment has LIVEKIT_URL but no LIVEKIT_API_KEY and LIVEKIT_API_SECRET",
        ),
        (
            {"LIVEKIT_URL": "ws://127.0.0.1:1", "LIVEKIT_API_KEY": "devkey", "LIVEKIT_API_SECRET": ""},
            "the environment has LIVEKIT_URL and LIVEKIT_API_KEY but no LIVEKIT_API_SECRET",
        ),
        ({}, "no LiveKit server is named"),
    ],
    ids=["url alone", "empty secret", "nothing"],
)
async def test_settings_that_lack_something_say_what(
    tmp_path: Path, command: tuple[str, ...], variables: Mapping[str, str], said: str
) -> None:
    ended = await run(tmp_path, *command, **variables)
    assert ended.code == 2
    assert ended.out == ""
    assert re.fullmatch(r"lk-tui: [^\n]+\n", ended.err)
    assert said in ended.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--bogus",), "No such option '--bogus'"),
        (("roms",), "No such command 'roms'"),
        (("--url", "ws://127.0.0.1:1", "rooms"), "--url goes after the command: lk-tui rooms --url …"),
        (("--interval", "0"), "--interval"),
        (("rooms", "--budget", "1"), "--budget"),
        (("--config", "absent.toml", "--dev"), "--config absent.toml: there is no such file"),
        (("rooms", "--dev", "--project", "prod"), "each choose a server: give only one of them"),
    ],
)
async def test_wrong_usage_ends_with_2(tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    ended = await run(tmp_path, *words)
    assert ended.code == 2
    assert ended.out == ""
    assert said in ended.err
    assert "Traceback" not in ended.err


async def test_a_misspelt_read_only_is_an_error(tmp_path: Path) -> None:
    ended = await run(tmp_path, "--dev", LK_TUI_READ_ONLY="ture")
    assert ended.code == 2
    assert ended.err == (
        "lk-tui: LK_TUI_READ_ONLY=ture is neither yes (1, true, yes, on) nor no (0, false, no, off, empty)\n"
    )


@pytest.mark.parametrize("command", [("--dev",), ("demo",)], ids=["dashboard", "demo"])
async def test_without_a_terminal_the_dashboard_does_not_start(tmp_path: Path, command: tuple[str, ...]) -> None:
    ended = await run(tmp_path, *command)
    assert ended.code == 2
    assert ended.out == ""
    assert ended.err == "lk-tui: the dashboard needs a terminal, and not a dumb one: without one, use `lk-tui rooms`\n"


async def test_a_secret_on_the_command_line_is_warned_of(lab_server: LabServer, tmp_path: Path) -> None:
    words = ("--url", lab_server.ws_url, "--api-key", lab_server.api_key, "--api-secret", lab_server.api_secret)
    ended = await run(tmp_path, "rooms", *words)
    assert ended.code == 0
    assert re.fullmatch(r"lk-tui: --api-secret can be read by everyone on this machine [^\n]+\n", ended.err)
    assert lab_server.api_secret not in ended.err + ended.out
    async with Terminal([LK_TUI, *words], environment=clean_environment(tmp_path), cwd=tmp_path) as terminal:
        await terminal.wait_for("--api-secret can be read by")
        terminal.send("q")
        assert await terminal.exit_code() == 0
        assert lab_server.api_secret.encode() not in terminal.raw


async def test_the_secret_may_come_from_the_environment_beside_the_flags(lab_server: LabServer, tmp_path: Path) -> None:
    ended = await run(
        tmp_path,
        "rooms",
        "--url",
        lab_server.ws_url,
        "--api-key",
        lab_server.api_key,
        LIVEKIT_API_SECRET=lab_server.api_secret,
    )
    assert (ended.code, ended.err) == (0, "")


async def test_help_and_version_need_no_server(tmp_path: Path) -> None:
    help_ = await run(tmp_path, "--help")
    assert (help_.code, help_.err) == (0, "")
    for word in ("rooms", "demo", "--read-only", "--api-secret", "LIVEKIT_URL"):
        assert word in help_.out
    assert (await run(tmp_path, "--version")).out == f"lk-tui, version {__version__}\n"


async def test_the_module_is_the_same_command(lab_server: LabServer, tmp_path: Path) -> None:
    version = await run(tmp_path, "-m", "tui", "--version", program=sys.executable)
    assert (version.code, version.out) == (0, f"lk-tui, version {__version__}\n")
    ended = await run(tmp_path, "-m", "tui", "rooms", program=sys.executable, **lab_server.variables)
    assert (ended.code, ended.err) == (0, "")
    assert re.match(r"\d+ rooms?, ", ended.out)
