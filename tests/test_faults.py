"""The dashboard while a network and a server misbehave: a real server behind a proxy that does it for real."""

from __future__ import annotations

import asyncio
import logging
import re
import resource
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from livekit import api
from livekit.protocol import room as room_pb

from tests.dashboard import Dashboard, dashboard, on_server
from tests.faults_table import DOCUMENT, RESTARTED, SAID, SKEWED, as_document, as_pattern
from tests.lab.faults import BIG, FAULTS, LAB_NAME, NAMES, answering, clock_ahead, huge, never_answered
from tests.lab.proxy import Answer, Exchange, FaultProxy, no_fault
from tests.lab.server import LabServer
from tests.lab.waiting import eventually
from tui.config import Sources
from tui.gateway.backoff import LONGEST_S
from tui.gateway.client import TIMEOUT_S, Gateway
from tui.gateway.connections import BODY_LIMIT
from tui.gateway.errors import NotLiveKitError, UnreachableError
from tui.gateway.poller import CONCURRENCY, PROBE_CONCURRENCY
from tui.model.secret import Secret
from tui.settings import Connection
from tui.ui.bars import STALE_AFTER_INTERVALS, StatusBar, Where
from tui.ui.dialogs import DetailDialog

INTERVAL_S = 2.0
TICK_S = 1.0
BUSY_S = 12.0
"""How long something may take that takes no time: several faults run at once, on a machine with other work."""
PATIENCE_S = 60.0
AT_ONCE = 5
ROOMS = ("alpha", "bravo", "charlie")
HANGS = {name for name, said in SAID.items() if any("did not answer in time" in words for words in said)}
AGE = re.compile(r"(?:stale|late) (\d+)s")


@dataclass
class Seen:
    """What was seen of one fault."""

    said: Sequence[str] = ()
    """of the words expected, those that were seen"""
    aged_after_s: float = 0.0
    dimmed: bool = False
    rooms: Sequence[str] = ()
    help_after_s: float = 0.0
    moved_after_s: float = 0.0
    recovered_after_s: float = 0.0
    most_open: int = 0
    screens: set[str] = field(default_factory=set)
    failed: str = ""
    """what did not come true, where playing it ended with that"""


@asynccontextmanager
async def dashboard_behind(proxy: FaultProxy, host: str, history: Path) -> AsyncIterator[Dashboard]:
    """A dashboard that reaches the server through the proxy."""

    @asynccontextmanager
    async def connect() -> AsyncIterator[Connection]:
        url = f"http://{host}:{proxy.port}"
        yield Connection(url, LabServer.api_key, Secret(LabServer.api_secret), "lab", "a test")

    where = Where("lab", proxy.url, "a test")
    sources = Sources(INTERVAL_S, 60_000, observe=0, inspect=False)
    async with dashboard(connect, where, size=(160, 40), sources=sources, history=history) as shown:
        await eventually(lambda: "● live" in status(shown) and set(ROOMS) <= set(shown.room_names), PATIENCE_S)
        yield shown


def status(shown: Dashboard) -> str:
    """The status bar's two lines as it has them: looked at often, and the whole screen takes long to put together."""
    return shown.main.query_one(StatusBar).render().plain


async def play(name: str, server: LabServer, directory: Path) -> Seen:
    """Have one fault, and take down what is seen of it."""
    seen = Seen()
    host = LAB_NAME if "name" in name else "127.0.0.1"
    async with FaultProxy(server.url) as proxy:
        async with dashboard_behind(proxy, host, directory / "closes.db") as shown:
            began = time.monotonic()
            async with FAULTS[name](proxy):
                await eventually(lambda: AGE.search(status(shown)), PATIENCE_S)
                seen.aged_after_s = time.monotonic() - began
                await _see_words(shown, seen, name)
                seen.help_after_s = await _timed(shown, "question_mark", lambda: isinstance(shown.screen, DetailDialog))
                await shown.press("escape")
                await eventually(lambda: shown.screen is shown.main, PATIENCE_S)
                before = shown.main.rooms.selected_key
                seen.moved_after_s = await _timed(shown, "j", lambda: shown.main.rooms.selected_key != before)
                seen.screens.add(shown.text)
            ended, wall = time.monotonic(), time.time()
            await eventually(
                lambda: "● live" in status(shown) and (shown.main.newest.listed_at or 0.0) > wall, PATIENCE_S
            )
            seen.recovered_after_s = time.monotonic() - ended
            seen.most_open = proxy.most_open
        # No connection is left.
        await eventually(lambda: proxy.open == 0, PATIENCE_S)
    return seen


async def _see_words(shown: Dashboard, seen: Seen, name: str) -> None:
    for words in SAID[name]:
        pattern = as_pattern(words)

        def said(pattern: re.Pattern[str] = pattern) -> bool:
            if not pattern.search(status(shown)) or not pattern.search(shown.lines[1]):
                return False
            seen.dimmed = shown.main.rooms.styles.opacity < 1.0
            seen.rooms = shown.room_names
            seen.screens.add(shown.text)
            return True

        await eventually(said, PATIENCE_S)
        seen.said = (*seen.said, words)


async def _timed(shown: Dashboard, key: str, done: Callable[[], object]) -> float:
    began = time.monotonic()
    shown.app.simulate_key(key)
    await eventually(done, PATIENCE_S)
    return time.monotonic() - began


async def play_all(directory: Path) -> dict[str, Seen]:
    with LabServer(directory) as server:
        async with server.client() as livekit:
            for room in ROOMS:
                await livekit.room.create_room(api.CreateRoomRequest(name=room))

        slots = asyncio.Semaphore(AT_ONCE)

        async def one(name: str) -> tuple[str, Seen]:
            folder = directory / re.sub(r"\W+", "-", name)
            folder.mkdir()
            async with slots:
                try:
                    return name, await play(name, server, folder)
                except pytest.fail.Exception as failure:
                    # That is the trouble of this fault's tests alone.
                    return name, Seen(failed=str(failure))

        # Those first that take longest.
        return dict(await asyncio.gather(*map(one, sorted(FAULTS, key=lambda name: name not in HANGS))))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where everything is kept that is written while the faults are played."""
    return tmp_path_factory.mktemp("faults")


@pytest.fixture(scope="module")
def seen(folder: Path) -> dict[str, Seen]:
    """All faults played at once, for all tests."""
    log = logging.FileHandler(folder / "everything.log")
    root, level = logging.getLogger(), logging.getLogger().level
    root.addHandler(log)
    root.setLevel(logging.DEBUG)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("socket.getaddrinfo", NAMES.getaddrinfo)
            return asyncio.run(play_all(folder))
    finally:
        root.removeHandler(log)
        root.setLevel(level)
        log.close()


@pytest.fixture
def played(seen: dict[str, Seen], name: str) -> Seen:
    """What was seen of this fault, which was played to its end."""
    assert not seen[name].failed
    return seen[name]


each_fault = pytest.mark.parametrize("name", FAULTS)


def test_every_fault_has_its_words() -> None:
    assert set(SAID) == set(FAULTS)


def test_the_document_says_what_is_expected() -> None:
    assert DOCUMENT.read_text() == as_document()


@each_fault
def test_what_is_wrong_is_said(played: Seen, name: str) -> None:
    assert played.said == SAID[name]


@each_fault
def test_the_age_of_the_picture_is_shown_within_two_intervals(played: Seen) -> None:
    assert played.aged_after_s < STALE_AFTER_INTERVALS * INTERVAL_S + TICK_S + BUSY_S


@each_fault
def test_the_last_good_picture_is_kept_and_dimmed(played: Seen) -> None:
    assert played.dimmed
    # In whatever order: a room whose reading the fault cut off is in trouble, and first.
    assert sorted(played.rooms) == sorted(ROOMS)


@each_fault
def test_keys_answer(played: Seen) -> None:
    assert max(played.help_after_s, played.moved_after_s) < BUSY_S


@each_fault
def test_the_end_of_the_fault_is_noticed_with_the_next_try(played: Seen, name: str) -> None:
    given_up_s = TIMEOUT_S if name in HANGS else 0.0
    assert played.recovered_after_s < INTERVAL_S + LONGEST_S + given_up_s + BUSY_S


@each_fault
def test_connections_are_few_and_none_is_left(played: Seen) -> None:
    assert played.most_open <= 1 + CONCURRENCY + PROBE_CONCURRENCY


@each_fault
def test_no_secret_is_on_the_screen(played: Seen) -> None:
    assert played.screens
    for screen in played.screens:
        assert_keeps_secrets(screen)


@pytest.mark.usefixtures("seen")
def test_no_secret_is_in_what_was_written(folder: Path) -> None:
    theirs = ("livekit.yaml", "livekit-server.log")
    written = [path for path in folder.rglob("*") if path.is_file() and path.name not in theirs]
    assert {path.suffix for path in written} >= {".db", ".log"}
    for path in written:
        assert_keeps_secrets(path.read_bytes().decode("latin-1"))


def assert_keeps_secrets(text: str) -> None:
    assert LabServer.api_secret not in text
    assert LabServer.api_key not in text
    assert "eyJ" not in text


# Answers that are large


@asynccontextmanager
async def gateway_to(proxy: FaultProxy) -> AsyncIterator[Gateway]:
    async with Gateway(proxy.url, LabServer.api_key, Secret(LabServer.api_secret)) as gateway:
        yield gateway


@pytest.mark.parametrize("announced", [True, False])
async def test_what_is_too_long_is_not_read_to_its_end_nor_kept(lab_server: LabServer, *, announced: bool) -> None:
    async with FaultProxy(lab_server.url) as proxy, gateway_to(proxy) as gateway:
        proxy.fault = huge(announced=announced)
        peaks = []
        for _ in range(4):
            with pytest.raises(NotLiveKitError, match="more than 32 MB"):
                await gateway.list_rooms()
            peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
        # Here and in the proxy together; the first one may well raise it.
        assert peaks[-1] - peaks[0] < BODY_LIMIT
        assert proxy.bytes_sent < 4 * BIG * (0.5 if announced else 0.9)
        proxy.fault = no_fault
        await gateway.list_rooms()
        await eventually(lambda: proxy.open == 1)


async def test_a_long_list_of_rooms_is_read(lab_server: LabServer) -> None:
    answer = room_pb.ListRoomsResponse()
    for number in range(1_000):
        answer.rooms.add(sid=f"RM_{number}", name=f"room-{number}", metadata="m" * 20_000)
    async with FaultProxy(lab_server.url) as proxy, gateway_to(proxy) as gateway:
        proxy.fault = answering(Answer(200, answer.SerializeToString(), {"Content-Type": "application/protobuf"}))
        assert len(await gateway.list_rooms()) == 1_000


async def test_one_dead_connection_does_not_leave_others_to_be_waited_for(
    lab_server: LabServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with FaultProxy(lab_server.url) as proxy, gateway_to(proxy) as gateway:
        await asyncio.gather(*(gateway.list_rooms() for _ in range(6)))
        assert proxy.open > 1
        old, dead = proxy.most_open, asyncio.Event()
        known = set(proxy.connections)

        async def dead_ones(exchange: Exchange) -> None:
            if exchange.writer in known:
                dead.set()
                await exchange.hang()
            await no_fault(exchange)

        proxy.fault = dead_ones
        monkeypatch.setattr("tui.gateway.client.TIMEOUT_S", 0.5)
        with pytest.raises(UnreachableError, match="did not answer in time"):
            await gateway.list_rooms()
        await gateway.list_rooms()
        assert dead.is_set()
        await eventually(lambda: proxy.open == 1)
        assert proxy.most_open <= old + 1


@pytest.fixture
async def rooms(lab_server: LabServer) -> AsyncIterator[None]:
    """The rooms that a dashboard behind a proxy waits for, on the server that all tests share; no agent joins them."""
    nobody = api.RoomAgentDispatch(agent_name="nobody-of-this-name")
    try:
        async with lab_server.client() as livekit:
            for room in ROOMS:
                await livekit.room.create_room(api.CreateRoomRequest(name=room, agents=[nobody]))
        yield
    finally:
        for room in ROOMS:
            lab_server.delete_room(room)


@pytest.mark.usefixtures("rooms")
async def test_r_gives_up_a_request_that_hangs(
    lab_server: LabServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # So that nothing else does.
    monkeypatch.setattr("tui.gateway.client.TIMEOUT_S", 10 * PATIENCE_S)
    async with (
        FaultProxy(lab_server.url) as proxy,
        dashboard_behind(proxy, "127.0.0.1", tmp_path / "closes.db") as shown,
    ):
        proxy.fault = never_answered
        await shown.wait_for("no answer yet")
        proxy.fault = no_fault
        await shown.press("r")
        await shown.wait_for("● live")


# A server that is there again, and empty


@pytest.mark.parametrize("size", [(120, 40), (80, 24)])
async def test_a_collapse_is_shown_as_one(tmp_path: Path, size: tuple[int, int]) -> None:
    with LabServer(tmp_path) as server:
        async with server.client() as livekit, on_server(server, size=size) as shown:
            for number in range(4):
                await livekit.room.create_room(api.CreateRoomRequest(name=f"room-{number}"))
            await shown.wait_for(lambda: len(shown.room_names) == 4)
            await shown.wait_for("all is well")
            server.stop()
            await shown.wait_for("✗ stale")
            assert len(shown.room_names) == 4
            await asyncio.to_thread(server.start)
            await shown.press("r")
            await shown.wait_for(lambda: as_pattern(RESTARTED).search(shown.lines[1]))
            assert "all is well" not in shown.text
            assert as_pattern("No rooms: " + RESTARTED.removeprefix("✗ ")).search(" ".join(shown.text.split()))
            assert shown.toasts
            await livekit.room.create_room(api.CreateRoomRequest(name="new"))
            await shown.wait_for(lambda: shown.room_names == ["new"])
            assert as_pattern(RESTARTED).search(shown.lines[1])
            assert "all is well" not in shown.text


async def test_rooms_that_were_deleted_from_here_are_no_collapse(tmp_path: Path) -> None:
    with LabServer(tmp_path) as server:
        async with server.client() as livekit, on_server(server) as shown:
            for number in range(4):
                await livekit.room.create_room(api.CreateRoomRequest(name=f"room-{number}"))
            await shown.wait_for(lambda: len(shown.room_names) == 4)
            await shown.press("asterisk", "D")
            await shown.wait_for(lambda: shown.focused == "word")
            await shown.type("4")
            await shown.press("enter")
            await shown.wait_for(lambda: shown.room_names == [])
            assert "gone at once" not in shown.text


# Clocks that differ by less than a token's life


@pytest.mark.usefixtures("rooms")
async def test_clocks_that_differ_are_told_before_they_matter(lab_server: LabServer, tmp_path: Path) -> None:
    async with FaultProxy(lab_server.url) as proxy:
        proxy.fault = clock_ahead(20)
        async with dashboard_behind(proxy, "127.0.0.1", tmp_path / "closes.db") as shown:
            await shown.wait_for(lambda: as_pattern(SKEWED).search(shown.lines[1]))
            assert "all is well" not in shown.text
