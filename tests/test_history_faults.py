"""The history in trouble: disks that are full, folders that can't be written, files that are damaged, locked or gone.

The dashboard runs on, says what is wrong, and loses nothing that it can still keep.
"""

from __future__ import annotations

import asyncio
import errno
import os
import random
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.build import NOW
from tests.close_events import close
from tests.histories import PROJECT, at_rest, history, is_kept, kept, process, written
from tests.lab.missing import missing
from tests.lab.waiting import eventually
from tui.history import file as history_file
from tui.history import store
from tui.history.errors import HistoryError
from tui.history.file import open_to_read
from tui.history.store import History
from tui.model.action import Action, ActionRecord, Outcome, Target
from tui.model.text import Name


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "history.db"


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """What failed is tried again soon."""
    monkeypatch.setattr(store, "RETRY_S", 0.05)


def is_sound(path: Path) -> bool:
    """Whether SQLite finds nothing wrong in it."""
    with closing(sqlite3.connect(path)) as file:
        return bool(file.execute("PRAGMA integrity_check").fetchone() == ("ok",))


def damaged(path: Path) -> list[Path]:
    """The files that were set aside."""
    return sorted(path.parent.glob("history-damaged-*.db"))


# Killed

WRITE_FOR_EVER = """
import asyncio, itertools, sys
from pathlib import Path
from tests.build import NOW
from tests.close_events import close
from tests.histories import PROJECT, at_rest
from tui.history.store import History

async def main(path):
    one = History(Path(path), PROJECT, clock=lambda: NOW)
    for number in itertools.count():
        one.record([close(number)])
        while not at_rest(one):
            await asyncio.sleep(0.001)
        print(number, flush=True)

asyncio.run(main(*sys.argv[1:]))
"""


async def test_a_writer_that_is_killed_leaves_all_that_was_written(path: Path) -> None:
    with process(WRITE_FOR_EVER, path) as writer:
        assert writer.stdout is not None
        last = 0
        while last < 50:
            last = int(await asyncio.to_thread(writer.stdout.readline))
        writer.kill()
        last = max([last, *(int(line) for line in writer.stdout.read().split())])
    assert len(kept(path)) > last
    assert is_sound(path)
    await written(path, close(900_000))
    assert kept(path)[-1] == close(900_000)
    assert damaged(path) == []


KILLED_HALF_WAY = """
import os, signal, sqlite3, sys

file = sqlite3.connect(sys.argv[1], isolation_level=None)
file.execute("PRAGMA cache_size = 2")
file.execute("BEGIN IMMEDIATE")
file.execute("UPDATE closes SET data = '{}', room = 'half'")
os.kill(os.getpid(), signal.SIGKILL)
"""


async def test_half_a_transaction_is_undone_by_whoever_reads_next(path: Path) -> None:
    events = [close(number) for number in range(200)]
    await written(path, *events)
    with process(KILLED_HALF_WAY, path) as writer:
        assert await asyncio.to_thread(writer.wait, 30) == -9
    assert path.with_name("history.db-journal").stat().st_size > 0
    # Of the half transaction, something is in the file itself.
    assert b"half" in path.read_bytes()
    assert kept(path) == events


# Full

WRITE_ON_A_FULL_DISK = """
import asyncio, resource, signal, sys
from pathlib import Path
from tests.build import NOW
from tests.close_events import close
from tests.histories import PROJECT
from tui.history import store
from tui.history.store import History

async def main(path):
    store.RETRY_S = 0.05
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (65_536, hard))
    one = History(Path(path), PROJECT, clock=lambda: NOW)
    one.record(close(number) for number in range(400))
    while not one.status.trouble:
        await asyncio.sleep(0.01)
    print(one.status.words, flush=True)
    one.record(close(number) for number in range(300, 500))
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    while one.status.trouble:
        await asyncio.sleep(0.01)
    await one.close()
    print(one.status.words, flush=True)

asyncio.run(main(*sys.argv[1:]))
"""


async def test_a_disk_that_takes_no_more_is_said_and_nothing_is_lost(path: Path) -> None:
    with process(WRITE_ON_A_FULL_DISK, path) as writer:
        output, _ = await asyncio.to_thread(writer.communicate, None, 60)
    assert writer.returncode == 0
    full, after = output.splitlines()
    assert full == f"the disk fails or is full: {path} can't be read or written; 400 waiting"
    assert after == str(path)
    assert {event.identity.raw for event in kept(path)} == {f"agent-{number}" for number in range(500)}
    assert is_sound(path)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of its own with room for half a megabyte."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", disk], capture_output=True).returncode:
        missing("Only root can mount a small disk.")
    yield disk
    subprocess.run(["umount", "--lazy", disk], check=True)


async def test_a_full_disk_is_said_and_nothing_is_lost_when_there_is_room_again(small_disk: Path) -> None:
    path = small_disk / "history.db"
    one = history(path)
    one.record([close(0)])
    await eventually(lambda: path.exists() and kept(path) == [close(0)])
    filler = small_disk / "filler"
    with pytest.raises(OSError, match="No space left"):
        filler.write_bytes(bytes(1024 * 1024))
    one.record(close(number) for number in range(1, 100))
    await eventually(lambda: one.status.trouble)
    assert one.status.words == f"the disk is full: {path} waits for room; 99 waiting"
    assert kept(path) == [close(0)]
    filler.unlink()
    await eventually(lambda: not one.status.trouble)
    await one.close()
    assert kept(path) == [close(number) for number in range(100)]


async def test_what_waits_is_bounded_and_what_is_lost_is_said(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "UNWRITTEN_KEPT", 10)
    blocker = path.parent
    blocker.write_text("")
    one = history(path)
    one.record(close(number) for number in range(5))
    await eventually(lambda: one.status.trouble)
    one.record(close(number) for number in range(5, 25))
    await eventually(lambda: one.status.words.endswith("; 10 waiting, 15 lost"))
    blocker.unlink()
    await eventually(lambda: not one.status.trouble)
    assert one.status.words == f"{path}, 15 lost"
    await one.close()
    assert [event.identity.raw for event in kept(path)] == [f"agent-{number}" for number in range(15, 25)]


# Not to be written


async def test_a_folder_that_cannot_be_made_is_said_and_nothing_is_lost(tmp_path: Path) -> None:
    # Even root can make no folder under a file.
    blocker = tmp_path / "blocker"
    blocker.write_text("")
    path = blocker / "state" / "history.db"
    one = history(path)
    assert await one.recent(3600.0, 10) == ([], [])
    await eventually(lambda: one.status.trouble)
    assert one.status.words == f"{path} can't be used: Not a directory; 0 waiting"
    one.record([close(1)])
    assert one.status.words.endswith("; 1 waiting")
    blocker.unlink()
    await eventually(lambda: not one.status.trouble)
    await one.close()
    assert kept(path) == [close(1)]


@pytest.fixture
def read_only(path: Path) -> Iterator[Path]:
    """The history's folder, which can be read and not written, by nobody."""
    path.parent.mkdir(exist_ok=True)
    if os.geteuid():
        path.parent.chmod(0o500)
        yield path.parent
        path.parent.chmod(0o700)
        return
    for options in (["--bind", path.parent], ["-o", "remount,bind,ro"]):
        if subprocess.run(["mount", *options, path.parent], capture_output=True).returncode:
            missing("Root may write everywhere, and may not mount here.")
    yield path.parent
    subprocess.run(["umount", "--lazy", path.parent], check=True)


async def test_a_folder_that_cannot_be_written_is_said_and_the_program_goes_on(path: Path, read_only: Path) -> None:
    one = history(path)
    one.record([close(1)])
    await eventually(lambda: one.status.trouble)
    assert one.status.words.startswith(f"{read_only}/history.db can't be ")
    assert one.status.words.endswith("; 1 waiting")
    await one.close()
    assert one.status.trouble


# Locked


async def test_a_lock_held_by_another_is_waited_for(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history_file, "BUSY_S", 0.05)
    await written(path, close(1))
    one = history(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        one.record([close(2)])
        await eventually(lambda: one.status.words == f"{path} is locked by another program for long; 1 waiting")
        other.execute("ROLLBACK")
    await eventually(lambda: not one.status.trouble)
    await one.close()
    assert kept(path) == [close(1), close(2)]


async def test_what_came_while_writing_failed_is_the_newest(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = history(path)
    target = Target(Name.of("r"), "RM_r")
    running = ActionRecord(1, Action.DELETE_ROOM, target, "mira", NOW)
    ended = replace(running, outcome=Outcome.CONFIRMED)

    def fails(*_: object) -> None:
        monkeypatch.setattr(store, "write", history_file.write)
        one.record_action(ended)
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(store, "write", fails)
    one.record_action(running)
    await eventually(lambda: path.exists() and one.status.on)
    await one.close()
    assert await history(path).recent(3600.0, 10) == ([], [replace(ended, id=-1)])


async def test_nobody_waits_for_a_file_that_is_locked(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history_file, "BUSY_S", 600.0)
    monkeypatch.setattr(store, "ANSWER_S", 0.2)
    monkeypatch.setattr(store, "FLUSH_S", 0.2)
    await written(path, close(1))
    one = history(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        began = time.monotonic()
        assert await one.recent(3600.0, 10) == ([], [])
        one.record(close(number) for number in range(1000))
        await one.close()
        assert time.monotonic() - began < 60.0
        other.execute("ROLLBACK")


# Gone


async def test_a_file_taken_away_underneath_is_begun_anew(path: Path) -> None:
    one = history(path)
    one.record([close(1)])
    await eventually(lambda: at_rest(one))
    assert kept(path) == [close(1)]
    path.unlink()
    one.record([close(2)])
    await one.close()
    assert kept(path) == [close(2)]


async def test_a_folder_taken_away_underneath_is_made_anew(path: Path) -> None:
    one = history(path)
    one.record([close(1)])
    await eventually(lambda: at_rest(one))
    assert kept(path) == [close(1)]
    shutil.rmtree(path.parent)
    one.record([close(2)])
    await one.close()
    assert kept(path) == [close(2)]


async def test_what_was_written_into_a_file_just_taken_away_is_written_again(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def taken_away(*words: Any) -> None:
        monkeypatch.setattr(store, "write", history_file.write)
        history_file.write(*words)
        path.unlink()

    monkeypatch.setattr(store, "write", taken_away)
    await written(path, close(1))
    assert kept(path) == [close(1)]


# Damaged


async def test_a_file_of_garbage_is_set_aside_and_said(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"no database " * 1000)
    one = await written(path, close(1))
    assert kept(path) == [close(1)]
    (aside,) = damaged(path)
    assert aside.read_bytes() == b"no database " * 1000
    assert one.status.words == f"{path} was damaged: kept as {aside.name}, a new one is begun"
    assert one.status.on


async def test_damage_is_found_at_the_start_before_there_is_anything_to_write(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"no database " * 1000)
    one = history(path)
    assert await one.recent(3600.0, 10) == ([], [])
    await eventually(lambda: "was damaged" in one.status.words)
    await one.close()
    assert len(damaged(path)) == 1


async def test_what_can_be_read_of_a_damaged_file_is_saved(path: Path) -> None:
    await written(path, *(close(number) for number in range(500)))
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(size // 2 // 4096 * 4096)
        file.write(os.urandom(5 * 4096))
    one = history(path)
    one.record([close(9000)])
    await eventually(lambda: len(damaged(path)) == 1 and "saved into a new one" in one.status.words)
    await one.close()
    names = {event.identity.raw for event in kept(path)}
    # From before what was overwritten, and from behind it.
    assert {"agent-0", "agent-499", "agent-9000"} <= names
    assert 400 < len(names) < 501
    assert f"{len(names) - 1} closes saved into a new one" in one.status.words


async def test_a_file_that_was_cut_off_is_set_aside(path: Path) -> None:
    await written(path, *(close(number) for number in range(500)))
    os.truncate(path, path.stat().st_size // 2)
    await written(path, close(9000))
    assert len(damaged(path)) == 1
    assert close(9000) in kept(path)


@pytest.mark.parametrize("seed", range(12))
async def test_wherever_bytes_are_flipped_what_is_told_is_kept(path: Path, seed: int) -> None:
    await written(path, *(close(number) for number in range(60)))
    chance = random.Random(seed)  # noqa: S311
    flipped = bytearray(path.read_bytes())
    # The first bytes say whose file it is, and of which version: those have tests of their own.
    for _ in range(40):
        flipped[chance.randrange(100, len(flipped))] ^= 1 << chance.randrange(8)
    path.write_bytes(flipped)
    one = history(path)
    await one.recent(3600.0, 1000)
    one.record([close(9000)])
    await eventually(lambda: is_kept(path, close(9000)))
    await one.close()
    assert not one.status.trouble, one.status
    for aside in damaged(path):
        assert aside.read_bytes() == bytes(flipped)


async def test_a_close_whose_bytes_were_changed_costs_that_close_alone(path: Path) -> None:
    await written(path, close(1), close(2))
    with closing(sqlite3.connect(path)) as file:
        file.execute("UPDATE closes SET data = CAST(X'7BFF22' AS TEXT) WHERE sid = 'PA_1'")
        file.commit()
    assert kept(path) == [close(2)]
    await written(path, close(1))
    assert kept(path) == [close(1), close(2)]


@pytest.mark.parametrize("again", range(5))
async def test_several_that_find_the_damage_at_once_set_it_aside_once(path: Path, again: int) -> None:  # noqa: ARG001
    path.parent.mkdir()
    path.write_bytes(b"no database " * 1000)
    several = [history(path) for _ in range(6)]
    for number, one in enumerate(several):
        one.record([close(number)])
    await eventually(lambda: is_kept(path, *(close(number) for number in range(6))))
    for one in several:
        await one.close()
    assert len(damaged(path)) == 1


async def test_what_was_set_aside_is_never_overwritten(path: Path) -> None:
    for garbage in (b"first", b"second"):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(garbage * 1000)
        await written(path, close(1))
    assert {aside.read_bytes() for aside in damaged(path)} == {b"first" * 1000, b"second" * 1000}


# Of others


async def test_a_file_of_a_newer_version_is_left_alone(path: Path) -> None:
    await written(path, close(1))
    with closing(sqlite3.connect(path)) as file:
        file.execute("PRAGMA user_version = 99")
        file.commit()
    before = path.read_bytes()
    one = history(path)
    assert await one.recent(3600.0, 10) == ([], [])
    await eventually(lambda: one.status.trouble)
    assert not one.status.on
    assert "was written by a newer lk-tui: update this one, or choose another --history" in one.status.words
    one.record([close(2)])
    await one.close()
    assert path.read_bytes() == before
    with pytest.raises(HistoryError, match="newer lk-tui"):
        open_to_read(path)


def test_a_file_that_is_made_just_now_is_nobody_elses(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.parent.mkdir()
    path.touch()
    is_empty = history_file._is_empty

    def made_meanwhile(file: sqlite3.Connection) -> bool:
        monkeypatch.setattr(history_file, "_is_empty", is_empty)
        history_file.open_to_write(path).close()
        return is_empty(file)

    monkeypatch.setattr(history_file, "_is_empty", made_meanwhile)
    open_to_read(path).close()


async def test_another_programs_database_is_left_alone(path: Path) -> None:
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as file:
        file.execute("CREATE TABLE bookmarks (url TEXT)")
        file.commit()
    before = path.read_bytes()
    one = history(path)
    one.record([close(1)])
    await eventually(lambda: one.status.trouble)
    assert "another program's database" in one.status.words
    await one.close()
    assert path.read_bytes() == before


async def test_a_bug_that_ends_the_writing_is_said(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def bug(*_: object) -> None:
        raise LookupError

    monkeypatch.setattr(store, "write", bug)
    one = history(path)
    one.record([close(1)])
    await eventually(lambda: one.status.trouble)
    assert one.status.words == "stopped by a bug (LookupError); LK_TUI_LOG=FILE keeps what it says; 1 waiting"
    await one.close()


async def test_a_time_that_no_calendar_has_does_not_stop_the_rest(path: Path) -> None:
    one = History(path, PROJECT, clock=lambda: NOW)
    one.record([close(1, at=float("inf")), close(2, at=float("nan")), close(3, at=-1e300), close(4)])
    await eventually(lambda: path.exists() and len(kept(path)) == 4)
    await one.close()
    assert not one.status.trouble
