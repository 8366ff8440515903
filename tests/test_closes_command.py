"""`lk-tui closes`: the history as lines, as JSON, and followed while another process writes it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from tests.build import NOW
from tests.close_events import close, left
from tests.histories import PROJECT, written
from tests.lab.waiting import eventually
from tests.terminal import LK_TUI, clean_environment
from tests.test_imports import modules_after, packages
from tui.cli.options import seconds_from
from tui.history.codec import close_json
from tui.history.file import Wanted
from tui.model.causes import Cause
from tui.model.closes import CloseEvent
from tui.model.evidence import Evidence, Fact, Source
from tui.oneshot.closes import causes_of, follow

KICKED = close(1, left("PARTICIPANT_REMOVED", Source.WEBHOOK))
HOSTILE = replace(close(2, room="a\x1b]0;x\x07b", at=NOW + 1), room_sid="RM_2")
FAILED = Evidence(NOW, Source.HELPER, Fact.SESSION_CLOSED, "error")


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    where = tmp_path / "history.db"
    await written(where, KICKED, HOSTILE, at=NOW + 1)
    return where


def run(*arguments: str | Path, home: Path | None = None, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run it in an otherwise clean environment."""
    environment = clean_environment(home or Path("/nonexistent"), TZ="UTC", **variables)
    command = [LK_TUI, "closes", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=60)


# What it prints


def test_each_close_is_a_line_oldest_first(path: Path) -> None:
    done = run("--history", path)
    assert (done.returncode, done.stderr) == (0, "")
    first, second = done.stdout.splitlines()
    assert first == "2027-01-15 08:00:00  support-1             closer        kicked by someone  after 1m00s"
    assert "a\\x1b]0;x\\x07b" in second
    assert "\x1b" not in done.stdout


async def test_a_line_says_by_whom(tmp_path: Path) -> None:
    told = Evidence(NOW, Source.HELPER, Fact.JOB_SHUT_DOWN, "user request", by="mira@ops1")
    await written(tmp_path / "history.db", close(1, told))
    assert run("--history", tmp_path / "history.db").stdout.endswith("  by mira@ops1\n")


async def test_lines_say_on_which_server_where_there_are_several(path: Path) -> None:
    assert "on http" not in run("--history", path).stdout
    await written(path, close(3, at=NOW + 2), project="https://other", at=NOW + 2)
    lines = run("--history", path).stdout.splitlines()
    assert [line.rpartition("  on ")[2] for line in lines] == [PROJECT, PROJECT, "https://other"]
    assert run("--history", path, "--project", "https://other/").stdout.count("\n") == 1


def test_json_is_the_documented_array(path: Path) -> None:
    done = run("--history", path, "--json")
    documents = [{**close_json(event), "project": PROJECT} for event in (KICKED, HOSTILE)]
    assert json.loads(done.stdout) == json.loads(json.dumps(documents))
    assert HOSTILE.room.raw == json.loads(done.stdout)[1]["room"]["name"]
    assert done.stdout.isascii()


def test_json_of_nothing_is_an_empty_array(path: Path) -> None:
    assert run("--history", path, "--json", "--room", "nowhere").stdout == "[]\n"


def test_filters_narrow_it_down(path: Path) -> None:
    assert "kicked" in run("--history", path, "--room", "SUPPORT").stdout
    assert run("--history", path, "--cause", "kicked").stdout.count("\n") == 1
    assert run("--history", path, "--cause", "error").stdout == ""
    assert run("--history", path, "--project", "http://other").stdout == ""


async def test_since_looks_back_from_now(tmp_path: Path) -> None:
    path, now = tmp_path / "history.db", time.time()
    for number, ago in enumerate((7000, 3000, 50)):
        await written(path, close(number, at=now - ago), at=now - ago)
    for since, found in (("2h", 3), ("1h", 2), ("90s", 1), ("1s", 0)):
        assert run("--history", path, "--since", since).stdout.count("\n") == found


async def test_the_usual_history_needs_no_option_and_no_server(tmp_path: Path) -> None:
    await written(tmp_path / "lk-tui" / "history.db", KICKED)
    done = run(home=tmp_path, XDG_STATE_HOME=str(tmp_path))
    assert (done.returncode, done.stdout.count("\n"), done.stderr) == (0, 1, "")


def test_it_runs_without_textual_and_livekit(path: Path, tmp_path: Path) -> None:
    code = """
from tui.cli import cli
cli(prog_name="lk-tui", standalone_mode=False)
"""
    modules = modules_after(code, tmp_path, "closes", "--history", str(path))
    assert "tui.oneshot.closes" in modules
    assert not packages(modules) & {"textual", "rich", "livekit", "aiohttp", "google"}


# What is wrong


@pytest.mark.parametrize("since", ["yesterday", "", "1", "-1h", "1h30m", "1 fortnight", "٣h", "9" * 400 + "h"])
def test_a_time_that_is_not_understood_is_answered_with_those_that_are(since: str) -> None:
    done = run("--since", since)
    assert (done.returncode, done.stdout) == (2, "")
    assert "a number and a unit are wanted: 90s, 15m, 1h, 2d or 1w" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("cause", ["bad luck", "", "e", "clos"])
def test_a_cause_that_there_is_not_is_answered_with_those_that_there_are(cause: str) -> None:
    done = run("--cause", cause)
    assert (done.returncode, done.stdout) == (2, "")
    said = re.sub(r"\s+", " ", done.stderr)
    for each in Cause:
        assert each.value in said


@pytest.mark.parametrize("words", [(), ("--json",)], ids=["text", "json"])
def test_no_history_yet_is_said_and_is_no_failure(tmp_path: Path, words: tuple[str, ...]) -> None:
    done = run("--history", tmp_path / "none.db", *words)
    assert (done.returncode, done.stdout) == (0, "[]\n" if words else "")
    assert done.stderr == f"lk-tui: there is no history yet: {tmp_path}/none.db\n"
    assert not (tmp_path / "none.db").exists()


def garbage(path: Path) -> None:
    path.write_bytes(b"garbage" * 2000)


def another_programs(path: Path) -> None:
    with closing(sqlite3.connect(path)) as file:
        file.execute("CREATE TABLE bookmarks (url TEXT)")
        file.commit()


def of_a_newer_version(path: Path) -> None:
    with closing(sqlite3.connect(path)) as file:
        file.execute("PRAGMA application_id = 1818981493")
        file.execute("PRAGMA user_version = 99")
        file.execute("CREATE TABLE closes (mood TEXT)")
        file.commit()


def a_folder(path: Path) -> None:
    path.mkdir()


@pytest.mark.parametrize("follows", [(), ("--follow",)], ids=["once", "follow"])
@pytest.mark.parametrize(
    ("make", "said"),
    [
        (garbage, "is damaged"),
        (another_programs, "is another program's database"),
        (of_a_newer_version, "was written by a newer lk-tui"),
        (a_folder, "is a folder: name a file with --history"),
    ],
)
def test_a_file_that_cannot_be_used_is_an_error_in_one_line(
    tmp_path: Path, make: Callable[[Path], None], said: str, follows: tuple[str, ...]
) -> None:
    make(tmp_path / "other.db")
    before = (tmp_path / "other.db").read_bytes() if (tmp_path / "other.db").is_file() else b""
    done = run("--history", tmp_path / "other.db", *follows)
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(r"lk-tui: [^\n]+\n", done.stderr)
    assert said in done.stderr
    assert not before or (tmp_path / "other.db").read_bytes() == before


def test_a_name_that_no_file_can_have_is_an_error_in_one_line(tmp_path: Path) -> None:
    done = run("--history", tmp_path / ("x" * 300))
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(r"lk-tui: [^\n]+ can't be used: File name too long\n", done.stderr)


# Following


class Follower:
    """`lk-tui closes --follow`, and the lines that it has written so far."""

    def __init__(self, path: Path, *words: str) -> None:
        self._output = path.parent / "followed"
        command = [LK_TUI, "closes", "--history", str(path), "--follow", *words]
        with self._output.open("w") as file:
            self.process = subprocess.Popen(
                command, stdout=file, stderr=subprocess.STDOUT, env=clean_environment(path.parent, TZ="UTC")
            )

    @property
    def output(self) -> str:
        """All that it has written."""
        return self._output.read_text()

    @property
    def sids(self) -> list[str]:
        """The participant SIDs of the documents so far; the last line may be half written."""
        return [json.loads(line)["agent"]["sid"] for line in self.output.splitlines(keepends=True) if line[-1] == "\n"]


@contextlib.contextmanager
def following(path: Path, *words: str) -> Iterator[Follower]:
    """Follow until the end of the block, then end it as a person does."""
    follower = Follower(path, *words)
    try:
        yield follower
        follower.process.send_signal(signal.SIGINT)
        assert follower.process.wait(30) == 0
        assert "Traceback" not in follower.output
        assert "Aborted" not in follower.output
    finally:
        follower.process.kill()
        follower.process.wait()


async def test_following_shows_what_is_written_later_and_what_grows(path: Path) -> None:
    with following(path, "--json") as follower:
        await eventually(lambda: follower.sids == ["PA_1", "PA_2"])
        await written(path, close(3, at=NOW + 2))
        await eventually(lambda: follower.sids == ["PA_1", "PA_2", "PA_3"])
        await written(path, close(1, left("", Source.POLLING)))
        await eventually(lambda: follower.sids == ["PA_1", "PA_2", "PA_3", "PA_1"])
        # Told again, nothing new: nobody is bothered.
        await written(path, KICKED, HOSTILE)
        await written(path, close(4, at=NOW + 2))
        await eventually(lambda: follower.sids == ["PA_1", "PA_2", "PA_3", "PA_1", "PA_4"])


async def test_following_as_text_writes_lines(path: Path) -> None:
    with following(path, "--room", "support") as follower:
        await eventually(lambda: follower.output.count("\n") == 1)
        await written(path, close(3, at=NOW + 2))
        await eventually(lambda: follower.output.count("\n") == 2)
        await eventually(lambda: "support-1  " in follower.output.splitlines()[1])


async def test_following_waits_for_a_history_that_is_not_there_yet(tmp_path: Path) -> None:
    path = tmp_path / "state" / "history.db"
    path.parent.mkdir()
    with following(path) as follower:
        await eventually(lambda: "there is no history yet" in follower.output)
        await written(path, KICKED)
        await eventually(lambda: "kicked by someone" in follower.output)


async def test_following_goes_on_where_the_history_is_begun_anew(path: Path) -> None:
    with following(path, "--json") as follower:
        await eventually(lambda: follower.sids == ["PA_1", "PA_2"])
        path.unlink()
        # One that was shown is in the new one as it was: saved from a damaged file, for instance.
        await written(path, KICKED, close(3, at=NOW + 2))
        await eventually(lambda: follower.sids == ["PA_1", "PA_2", "PA_3"])


def test_following_ends_when_nobody_reads_any_more(path: Path) -> None:
    reader, writer = os.pipe()
    command = [LK_TUI, "closes", "--history", str(path), "--follow"]
    with subprocess.Popen(
        command, stdout=writer, stderr=subprocess.PIPE, env=clean_environment(path.parent, TZ="UTC")
    ) as process:
        os.close(writer)
        with os.fdopen(reader) as lines:
            assert "kicked" in lines.readline() + lines.readline()
        # Nothing is written any more, and still it notices.
        try:
            _, errors = process.communicate(timeout=30)
        finally:
            process.kill()
    assert (process.returncode, errors) == (0, b"")


def test_a_reader_that_has_seen_enough_is_no_failure(tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    put(path, *(close(number) for number in range(2000)))()
    command = f"'{LK_TUI}' closes --history '{path}' | head -n 1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", command],
        capture_output=True,
        text=True,
        env=clean_environment(tmp_path),
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout.count("\n"), done.stderr) == (0, 1, "")


class Looks:
    """Counts the looks of a follower, writes between them, and ends it."""

    def __init__(self, *between: Callable[[], object]) -> None:
        self._between = list(between)

    def __call__(self, _: float) -> bool:
        if not self._between:
            return False
        self._between.pop(0)()
        return True


def put(path: Path, *events: CloseEvent) -> Callable[[], None]:
    """Writes these, as another process would."""
    return lambda: asyncio.run(_put(path, *events))


async def _put(path: Path, *events: CloseEvent) -> None:
    await written(path, *events, at=NOW + 9)


def test_one_that_no_longer_has_the_cause_that_is_followed_is_shown_once_more(tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    lost = close(1, left("CONNECTION_TIMEOUT", Source.WEBHOOK))
    put(path, lost, close(2))()
    wanted = Wanted(causes=frozenset({"agent_lost"}))
    shown = [kept.event for kept in follow(path, wanted, Looks(put(path, lost.grown([FAILED], NOW))))]
    assert [(event.participant_sid, event.cause) for event in shown] == [
        ("PA_1", Cause.AGENT_LOST),
        ("PA_1", Cause.ERROR),
    ]


def test_a_history_that_is_locked_for_a_moment_is_looked_at_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tui.history.file.BUSY_S", 0.01)
    path = tmp_path / "history.db"
    put(path, close(1))()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        looks = Looks(lambda: other.execute("BEGIN EXCLUSIVE"), lambda: None, lambda: other.execute("ROLLBACK"))
        shown = [kept.event for kept in follow(path, Wanted(), looks)]
    assert shown == [close(1)]


def test_what_was_written_while_it_was_locked_is_shown_after(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tui.history.file.BUSY_S", 0.01)
    path = tmp_path / "history.db"
    put(path, close(1))()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:

        def change_and_hold() -> None:
            other.execute("BEGIN EXCLUSIVE")
            other.execute("UPDATE closes SET version = version + 1, data = replace(data, 'closer', 'opener')")

        looks = Looks(change_and_hold, lambda: None, lambda: other.execute("COMMIT"))
        shown = [kept.event.agent for kept in follow(path, Wanted(), looks)]
    assert shown == ["closer", "opener"]


# Words


def test_times_are_read_as_people_write_them() -> None:
    assert [seconds_from("--since", text) for text in ("90s", "15m", "1h", "2d", "1w", "1.5h", " 1H ")] == [
        90,
        900,
        3600,
        172_800,
        604_800,
        5400,
        3600,
    ]


def test_causes_are_read_as_people_write_them() -> None:
    assert causes_of("error") == {"error"}
    assert causes_of("kicked by someone") == {"kicked_by_someone"}
    assert causes_of("Room-Deleted") == {"room_deleted_by_operator", "room_deleted_by_someone"}
    assert causes_of("operator") == {cause.value for cause in Cause if cause.value.endswith("_by_operator")}
    for cause in Cause:
        assert causes_of(cause.value) == {cause.value}
