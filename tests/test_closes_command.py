"""`lk-tui closes`: the history as lines, as JSON, and followed while another process writes it."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.build import NOW
from tests.close_events import close, left
from tests.lab.waiting import eventually
from tui.closes import causes_of, seconds_of
from tui.history.codec import close_json
from tui.history.store import History
from tui.model.closes import CloseEvent
from tui.model.evidence import Source

ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "TZ": "UTC", "PYTHONUNBUFFERED": "1"}
KICKED = close(1, left("PARTICIPANT_REMOVED", Source.WEBHOOK))
HOSTILE = close(2, room="a\x1b]0;x\x07b", at=NOW + 1)


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    where = tmp_path / "history.db"
    await write(where, KICKED, HOSTILE)
    return where


async def write(path: Path, *events: CloseEvent) -> None:
    one = History(path, "http://lab", clock=lambda: NOW)
    one.record(events)
    await one.close()


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tui", "closes", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, check=False, timeout=30)


def test_each_close_is_a_line_oldest_first(path: Path) -> None:
    done = run("--history", path)
    assert (done.returncode, done.stderr) == (0, "")
    first, second = done.stdout.splitlines()
    assert first == "2027-01-15 08:00:00  support-1  closer  kicked by someone  after 1m00s"
    assert "a\\x1b]0;x\\x07b" in second
    assert "\x1b" not in done.stdout


def test_json_is_the_documented_array(path: Path) -> None:
    done = run("--history", path, "--json", "--cause", "kicked")
    assert json.loads(done.stdout) == [json.loads(json.dumps(close_json(KICKED)))]


def test_filters_narrow_it_down(path: Path) -> None:
    assert "kicked" in run("--history", path, "--room", "SUPPORT").stdout
    assert run("--history", path, "--cause", "error").stdout == ""
    assert run("--history", path, "--project", "http://other").stdout == ""
    assert len(run("--history", path, "--project", "http://lab/").stdout.splitlines()) == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--since", "yesterday"), "90s, 15m, 1h, 2d or 1w"),
        (("--cause", "bad luck"), "agent_lost"),
    ],
)
def test_a_word_that_is_not_understood_is_answered_with_those_that_are(arguments: tuple[str, ...], said: str) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_no_history_yet_is_said_and_is_no_failure(tmp_path: Path) -> None:
    done = run("--history", tmp_path / "none.db", "--json")
    assert (done.returncode, json.loads(done.stdout)) == (0, [])
    assert "no history yet" in done.stderr


def test_a_file_that_is_no_history_is_an_error_in_one_line(tmp_path: Path) -> None:
    other = tmp_path / "other.db"
    other.write_bytes(b"garbage" * 2000)
    done = run("--history", other)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "damaged" in done.stderr


async def test_following_shows_what_is_written_later_and_what_grows(path: Path, tmp_path: Path) -> None:
    output = tmp_path / "followed"
    command = [sys.executable, "-m", "tui", "closes", "--history", str(path), "--follow", "--json"]
    with output.open("w") as file:
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, env=ENVIRONMENT)  # noqa: ASYNC220

    def sids() -> list[str]:
        return [json.loads(line)["agent"]["sid"] for line in output.read_text().splitlines() if line.endswith("}")]

    try:
        await eventually(lambda: sids() == ["PA_1", "PA_2"])
        await write(path, close(3, at=NOW + 2))
        await eventually(lambda: sids() == ["PA_1", "PA_2", "PA_3"])
        await write(path, close(1, left("", Source.POLLING)))
        await eventually(lambda: sids() == ["PA_1", "PA_2", "PA_3", "PA_1"])
    finally:
        process.send_signal(signal.SIGINT)
    assert await asyncio.to_thread(process.wait, 10) == 0
    assert "Traceback" not in output.read_text()


def test_times_and_causes_are_read_as_people_write_them() -> None:
    assert [seconds_of(text) for text in ("90s", "15m", "1h", "2d", "1.5h")] == [90, 900, 3600, 172_800, 5400]
    assert causes_of("error") == {"error"}
    assert causes_of("kicked by someone") == {"kicked_by_someone"}
    assert causes_of("operator") >= {"closed_by_operator", "torn_down_by_operator"}
