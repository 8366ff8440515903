"""The history: what was told is there after a restart, whoever else writes, and whatever happens to the file."""

from __future__ import annotations

import asyncio
import os
import resource
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.build import NOW
from tests.close_events import close, left
from tests.lab.waiting import eventually
from tui.history import store
from tui.history.store import History, HistoryError, Wanted, open_to_read, read_closes
from tui.model.action import Action, ActionRecord, Outcome, Step, Target
from tui.model.causes import Cause
from tui.model.closes import CloseEvent
from tui.model.evidence import Source
from tui.model.text import Name

PROJECT = "http://127.0.0.1:7880"
KICK = ActionRecord(
    1, Action.KICK, Target(Name.of("r"), "RM_r"), "mira", NOW, (Step(NOW, "gone"),), Outcome.CONFIRMED, sent=True
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "history.db"


def history(path: Path, project: str = PROJECT) -> History:
    return History(path, project, clock=lambda: NOW)


def kept(path: Path, wanted: Wanted = Wanted()) -> list[CloseEvent]:  # noqa: B008 - immutable
    with closing(open_to_read(path)) as file:
        return [event for _, event in read_closes(file, wanted)]


async def written(path: Path, *events: CloseEvent) -> History:
    """A history into which these were written, and which is closed."""
    one = history(path)
    one.record(events)
    await one.close()
    assert not one.status.trouble, one.status
    return one


async def test_what_was_told_is_there_after_a_restart(path: Path) -> None:
    one = history(path)
    one.record([close(1), close(2, at=NOW + 1)])
    one.record_action(KICK)
    await one.close()
    closes, actions = await history(path).recent(3600.0, 10)
    assert closes == [close(1), close(2, at=NOW + 1)]
    assert [(action.action, action.operator, action.id < 0) for action in actions] == [(Action.KICK, "mira", True)]


async def test_a_close_that_grows_is_one_row_and_says_the_newest(path: Path) -> None:
    one = history(path)
    one.record([close(1)])
    one.record([close(1).grown([left("PARTICIPANT_REMOVED", Source.WEBHOOK)], NOW)])
    await one.close()
    (event,) = kept(path)
    assert event.cause is Cause.KICKED_BY_SOMEONE


async def test_two_that_saw_the_same_close_keep_what_either_saw(path: Path) -> None:
    await written(path, close(1, left("PARTICIPANT_REMOVED", Source.WEBHOOK)))
    await written(path, close(1, left("", Source.POLLING)))
    (event,) = kept(path)
    assert {piece.source for piece in event.evidence} == {Source.WEBHOOK, Source.POLLING}
    assert event.cause is Cause.KICKED_BY_SOMEONE


async def test_one_project_does_not_see_another(path: Path) -> None:
    await written(path, close(1))
    assert await history(path, "https://other").recent(3600.0, 10) == ([], [])
    assert kept(path, Wanted(project=PROJECT)) == [close(1)]
    assert kept(path, Wanted(project="https://other")) == []


async def test_closes_are_found_by_room_cause_and_time(path: Path) -> None:
    kicked = close(2, left("PARTICIPANT_REMOVED", Source.WEBHOOK), room="Sales-2", at=NOW + 50)
    await written(path, close(1), kicked)
    assert kept(path, Wanted(room="sales")) == [kicked]
    assert kept(path, Wanted(causes=frozenset({"kicked_by_someone"}))) == [kicked]
    assert kept(path, Wanted(since=NOW + 10)) == [kicked]


async def test_only_its_owner_can_read_the_file(path: Path) -> None:
    await written(path, close(1))
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)


async def test_what_is_too_old_or_too_many_goes(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "CLOSES_KEPT", 3)
    monkeypatch.setattr(store, "PRUNE_EVERY", 1)
    old = close(0, at=NOW - store.KEPT_S - 10)
    await written(path, old, *(close(number, at=NOW + number) for number in range(1, 6)))
    assert [event.identity.raw for event in kept(path)] == ["agent-3", "agent-4", "agent-5"]


# Files that are not as they should be


async def test_a_damaged_file_is_set_aside_and_said(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"no database " * 1000)
    one = await written(path, close(1))
    assert kept(path) == [close(1)]
    (aside,) = path.parent.glob("history-damaged-*.db")
    assert aside.read_bytes().startswith(b"no database")
    assert "was damaged" in one.status.words
    assert aside.name in one.status.words


async def test_a_file_whose_pages_were_overwritten_is_set_aside(path: Path) -> None:
    await written(path, *(close(number) for number in range(200)))
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(path.stat().st_size - 8192))
    await written(path, close(1))
    assert kept(path) == [close(1)]
    assert len(list(path.parent.glob("history-damaged-*.db"))) == 1


async def test_a_file_of_a_newer_version_is_left_alone(path: Path) -> None:
    await written(path, close(1))
    with closing(sqlite3.connect(path)) as file:
        file.execute("PRAGMA user_version = 99")
        file.commit()
    before = path.read_bytes()
    one = history(path)
    one.record([close(2)])
    await eventually(lambda: one.status.trouble)
    assert "newer lk-tui" in one.status.words
    await one.close()
    assert path.read_bytes() == before
    with pytest.raises(HistoryError, match="newer lk-tui"):
        open_to_read(path)


async def test_another_programs_database_is_left_alone(path: Path) -> None:
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as file:
        file.execute("CREATE TABLE bookmarks (url TEXT)")
        file.commit()
    before = path.read_bytes()
    one = history(path)
    one.record([close(1)])
    await eventually(lambda: one.status.trouble)
    assert "another program's" in one.status.words
    await one.close()
    assert path.read_bytes() == before


async def test_a_file_of_the_first_version_is_read_and_written(path: Path) -> None:
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as file:
        file.executescript(store.MIGRATIONS[0])
        file.execute(f"PRAGMA application_id = {store.APPLICATION_ID}")
        file.execute("PRAGMA user_version = 1")
        file.commit()
    await written(path, close(1))
    assert kept(path) == [close(1)]


async def test_a_folder_that_cannot_be_written_is_said_and_nothing_is_lost(tmp_path: Path) -> None:
    # Even root can make no folder under a file.
    blocker = tmp_path / "blocker"
    blocker.write_text("")
    path = blocker / "state" / "history.db"
    one = history(path)
    one.record([close(1)])
    await eventually(lambda: one.status.trouble)
    assert "can't be used" in one.status.words
    assert "1 waiting" in one.status.words
    blocker.unlink()
    await eventually(lambda: not one.status.trouble)
    await one.close()
    assert kept(path) == [close(1)]


async def test_a_file_taken_away_underneath_is_begun_anew(path: Path) -> None:
    one = history(path)
    one.record([close(1)])
    await eventually(path.exists)
    await eventually(lambda: kept(path) == [close(1)])
    path.unlink()
    one.record([close(2)])
    await one.close()
    assert kept(path) == [close(2)]


async def test_a_lock_held_by_another_is_waited_for(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "BUSY_S", 0.05)
    monkeypatch.setattr(store, "RETRY_S", 0.05)
    await written(path, close(1))
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        one = history(path)
        one.record([close(2)])
        await eventually(lambda: "locked by another" in one.status.words)
        other.execute("ROLLBACK")
    await eventually(lambda: not one.status.trouble)
    await one.close()
    assert len(kept(path)) == 2


# Other processes

WRITER = """
import asyncio, sys
from pathlib import Path
from tests.close_events import close
from tui.history.store import History

async def main(path, first, count):
    one = History(Path(path), "p")
    for number in range(int(first), int(first) + int(count)):
        one.record([close(number)])
        print(number, flush=True)
        await asyncio.sleep(0.001)
    await one.close()
    print(one.status.words, flush=True)

asyncio.run(main(*sys.argv[1:]))
"""


ROOT = Path(__file__).parent.parent


def writer(path: Path, first: int, count: int, **more: object) -> subprocess.Popen[str]:
    arguments = [sys.executable, "-c", WRITER, str(path), str(first), str(count)]
    return subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.PIPE, text=True, **more)  # type: ignore[call-overload,no-any-return]


async def test_two_processes_write_one_file_and_lose_nothing(path: Path) -> None:
    both = [writer(path, first, 150) for first in (0, 100)]
    for process in both:
        _, code = await asyncio.to_thread(process.communicate), process.returncode
        assert code == 0
    assert {event.identity.raw for event in kept(path)} == {f"agent-{number}" for number in range(250)}


async def test_a_writer_that_is_killed_leaves_a_sound_file(path: Path) -> None:
    with writer(path, 0, 100_000) as process:
        assert process.stdout is not None
        while int(process.stdout.readline()) < 300:
            pass
        process.kill()
    with closing(sqlite3.connect(path)) as file:
        assert file.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    before = len(kept(path))
    assert before > 0
    await written(path, close(900_000))
    assert len(kept(path)) == before + 1


async def test_a_full_disk_is_said_and_the_program_goes_on(path: Path) -> None:
    def no_large_files() -> None:
        import signal

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (65_536, 65_536))

    process = writer(path, 0, 400, preexec_fn=no_large_files)
    output, _ = await asyncio.to_thread(process.communicate)
    assert process.returncode == 0
    last = output.splitlines()[-1]
    assert "waiting" in last, last
    with closing(sqlite3.connect(path)) as file:
        assert file.execute("PRAGMA integrity_check").fetchone() == ("ok",)
