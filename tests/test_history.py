"""The history: what was told is there after a restart, for as long as it is worth keeping, whoever else writes it."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from tests.build import NOW
from tests.close_events import close, left
from tests.histories import FIRST_VERSION, PROJECT, history, kept, process, written
from tests.lab.waiting import eventually
from tui.history import file as history_file
from tui.history import store
from tui.history.codec import close_json
from tui.history.file import Wanted, default_path
from tui.model.action import Action, ActionRecord, Outcome, Step, Target
from tui.model.causes import Cause
from tui.model.evidence import Evidence, Fact, Source
from tui.model.text import Name

KICK = ActionRecord(
    1, Action.KICK, Target(Name.of("r"), "RM_r"), "mira", NOW, (Step(NOW, "gone"),), Outcome.CONFIRMED, sent=True
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "history.db"


# After a restart


async def test_what_was_told_is_there_after_a_restart(path: Path) -> None:
    one = history(path)
    one.record([close(1), close(2, at=NOW + 1)])
    one.record_action(KICK)
    await one.close()
    closes, actions = await history(path, at=NOW + 60).recent(3600.0, 10)
    assert closes == [close(1), close(2, at=NOW + 1)]
    assert [(action.action, action.operator, action.id < 0) for action in actions] == [(Action.KICK, "mira", True)]


async def test_only_the_newest_are_brought_back_oldest_first(path: Path) -> None:
    for number in range(5):
        await written(path, close(number, at=NOW + number), at=NOW + number)
    closes, _ = await history(path, at=NOW + 10).recent(3600.0, 3)
    assert [event.identity.raw for event in closes] == ["agent-2", "agent-3", "agent-4"]
    closes, _ = await history(path, at=NOW + 10).recent(7.0, 10)
    assert [event.identity.raw for event in closes] == ["agent-3", "agent-4"]


async def test_an_action_that_goes_on_is_kept_once_in_its_newest_form(path: Path) -> None:
    one = history(path)
    one.record_action(replace(KICK, outcome=Outcome.RUNNING, steps=()))
    one.record_action(KICK)
    await one.close()
    _, (action,) = await history(path).recent(3600.0, 10)
    assert (action.outcome, action.steps) == (Outcome.CONFIRMED, KICK.steps)


async def test_an_action_that_a_killed_lk_tui_left_running_has_an_unknown_outcome(path: Path) -> None:
    one = history(path)
    one.record_action(replace(KICK, outcome=Outcome.RUNNING))
    await one.close()
    assert await history(path, at=NOW + 5).recent(3600.0, 10) == ([], [])
    _, (action,) = await history(path, at=NOW + store.ENDED_S + 1).recent(3600.0, 10)
    assert action.outcome is Outcome.UNKNOWN


async def test_actions_of_two_runs_are_told_apart(path: Path) -> None:
    for _ in range(2):
        one = history(path)
        one.record_action(KICK)
        await one.close()
    _, actions = await history(path).recent(3600.0, 10)
    assert len({action.id for action in actions}) == 2


async def test_nothing_yet_is_nothing(path: Path) -> None:
    one = history(path)
    assert await one.recent(3600.0, 10) == ([], [])
    await one.close()
    assert (one.status.on, one.status.trouble, one.status.words) == (True, False, str(path))


async def test_a_history_that_was_never_used_leaves_no_file(path: Path) -> None:
    await history(path).close()
    assert not path.parent.exists()


def test_it_is_in_the_platforms_folder_for_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_path().is_relative_to(tmp_path)
    assert default_path().parts[-2:] == ("lk-tui", "history.db")


async def test_only_its_owner_can_read_the_file(path: Path) -> None:
    await written(path, close(1))
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)


# Closes that grow


async def test_a_close_that_grows_is_one_row_and_says_the_newest(path: Path) -> None:
    one = history(path)
    one.record([close(1)])
    await eventually(lambda: path.exists() and kept(path) == [close(1)])
    grown = close(1).grown([left("PARTICIPANT_REMOVED", Source.WEBHOOK)], NOW)
    one.record([grown])
    await one.close()
    assert kept(path) == [grown]
    assert grown.cause is Cause.KICKED_BY_SOMEONE


async def test_two_that_saw_the_same_close_keep_what_either_saw(path: Path) -> None:
    await written(path, close(1, left("PARTICIPANT_REMOVED", Source.WEBHOOK)))
    await written(path, close(1, left("", Source.POLLING)))
    (event,) = kept(path)
    assert {piece.source for piece in event.evidence} == {Source.WEBHOOK, Source.POLLING}
    assert event.cause is Cause.KICKED_BY_SOMEONE


async def test_what_a_newer_lk_tui_knows_of_a_close_outlives_an_older_ones_writing(path: Path) -> None:
    await written(path, close(1, left("", Source.POLLING)))
    with closing(sqlite3.connect(path)) as file:
        said = json.loads(file.execute("SELECT data FROM closes").fetchone()[0])
        said["evidence"].append({"at": said["at"], "source": "telepathy", "fact": "whale_seen"})
        file.execute("UPDATE closes SET data = ?", (json.dumps(said),))
        file.commit()
    await written(path, close(1, left("PARTICIPANT_REMOVED", Source.WEBHOOK)))
    with closing(sqlite3.connect(path)) as file:
        (data,) = file.execute("SELECT data FROM closes").fetchone()
    assert [piece["source"] for piece in json.loads(data)["evidence"]] == ["polling", "webhook", "telepathy"]


async def test_an_agents_clock_does_not_decide_how_long_its_close_is_kept(path: Path) -> None:
    far = [close(number, at=at) for number, at in enumerate((1.0, NOW - 3e8, NOW + 3e8, 9e10))]
    await written(path, *far)
    await written(path, close(9))
    assert len(kept(path)) == 5
    later = NOW + history_file.KEPT_S + history_file.CLOCKS_S
    await written(path, close(10, at=later), at=later)
    assert kept(path) == [close(10, at=later)]


# Which closes


async def test_one_project_does_not_see_another(path: Path) -> None:
    await written(path, close(1))
    assert await history(path, "https://other").recent(3600.0, 10) == ([], [])
    assert kept(path, Wanted(project=PROJECT)) == [close(1)]
    assert kept(path, Wanted(project="https://other")) == []


async def test_closes_are_found_by_room_cause_and_time(path: Path) -> None:
    kicked = close(2, left("PARTICIPANT_REMOVED", Source.WEBHOOK), room="Sales-2", at=NOW + 50)
    await written(path, close(1))
    await written(path, kicked, at=NOW + 60)
    assert kept(path, Wanted(room="sales")) == [kicked]
    assert kept(path, Wanted(causes=frozenset({"kicked_by_someone"}))) == [kicked]
    assert kept(path, Wanted(since=NOW + 10)) == [kicked]


async def test_all_are_read_however_many(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history_file, "ROWS_AT_ONCE", 7)
    events = [close(number, at=NOW + number // 10) for number in range(50)]
    await written(path, *events, at=NOW + 60)
    assert kept(path) == events


# For how long


async def test_what_is_too_old_goes(path: Path) -> None:
    old = NOW - history_file.KEPT_S - 10
    await written(path, close(0, at=old), at=old)
    await written(path, close(1))
    assert kept(path) == [close(1)]


async def test_what_is_too_many_goes_the_oldest_first(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history_file, "CLOSES_KEPT", 3)
    monkeypatch.setattr(history_file, "ACTIONS_KEPT", 2)
    monkeypatch.setattr(store, "PRUNE_EVERY", 1)
    one = history(path, at=NOW + 60)
    one.record([close(number, at=NOW + number) for number in range(6)])
    for number in range(6):
        one.record_action(replace(KICK, id=number, at=NOW + number))
    await one.close()
    closes, actions = await history(path, at=NOW + 60).recent(3600.0, 10)
    assert [event.identity.raw for event in closes] == ["agent-3", "agent-4", "agent-5"]
    assert [action.at for action in actions] == [NOW + 4, NOW + 5]


async def test_a_file_that_is_too_large_loses_the_oldest_and_gives_the_room_back(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await written(path, *(close(number, at=NOW + number) for number in range(1000)), at=NOW + 1000)
    before = path.stat().st_size
    monkeypatch.setattr(history_file, "BYTES_KEPT", before // 2)
    await written(path, close(1000, at=NOW + 1000), at=NOW + 1000)
    events = kept(path)
    assert [event.identity.raw for event in events] == [f"agent-{number}" for number in range(100, 1001)]
    assert path.stat().st_size < before * 0.95


async def test_what_is_too_old_is_looked_for_now_and_then(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "PRUNE_EVERY", 5)
    now = NOW
    one = store.History(path, PROJECT, clock=lambda: now)
    one.record([close(0)])
    await eventually(lambda: path.exists() and len(kept(path)) == 1)
    now += history_file.KEPT_S + 10
    one.record([close(number, at=now) for number in range(1, 7)])
    await eventually(lambda: [event.identity.raw for event in kept(path)] == [f"agent-{n}" for n in range(1, 7)])
    await one.close()


async def test_a_number_is_never_given_out_twice(path: Path) -> None:
    def newest() -> int:
        with closing(history_file.open_to_read(path)) as file:
            return history_file.newest_version(file)

    await written(path, *(close(number) for number in range(3)))
    before = newest()
    # The one with the newest number is the oldest, and goes first.
    late = NOW + history_file.KEPT_S + 10
    one = history(path, at=late)
    one.record_action(replace(KICK, at=late))
    await one.close()
    assert newest() == before
    await written(path, close(9, at=late), at=late)
    assert newest() > before


# Versions


async def test_a_file_of_the_first_version_is_read_and_written(path: Path) -> None:
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as file:
        file.executescript(FIRST_VERSION)
        file.execute(
            "INSERT INTO closes VALUES (?, 'PA_1', ?, 'support-1', 'unknown', 1, ?)",
            (PROJECT, NOW, json.dumps(close_json(close(1)))),
        )
        file.commit()
    await written(path, close(2))
    assert kept(path) == [close(1), close(2)]


@pytest.fixture
def second_version(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Makes these statements the step to the next version."""

    def make(script: str) -> None:
        monkeypatch.setattr(history_file, "MIGRATIONS", (*history_file.MIGRATIONS, script))

    return make


async def test_a_file_is_brought_to_the_next_version_with_all_that_is_in_it(
    path: Path, second_version: Callable[[str], None]
) -> None:
    await written(path, close(1))
    second_version("ALTER TABLE closes ADD COLUMN mood TEXT; UPDATE closes SET mood = 'good';")
    await written(path, close(2))
    assert kept(path) == [close(1), close(2)]
    with closing(sqlite3.connect(path)) as file:
        assert file.execute("PRAGMA user_version").fetchone() == (len(history_file.MIGRATIONS),)
        assert file.execute("SELECT sid, mood FROM closes ORDER BY sid").fetchall() == [
            ("PA_1", "good"),
            ("PA_2", None),
        ]


async def test_a_step_that_fails_half_way_changes_nothing(path: Path, second_version: Callable[[str], None]) -> None:
    await written(path, close(1))
    before = path.read_bytes()
    second_version("ALTER TABLE closes ADD COLUMN mood TEXT; DROP TABLE whales;")
    one = history(path)
    one.record([close(2)])
    await eventually(lambda: one.status.trouble)
    await one.close()
    assert path.read_bytes() == before


# Several at once

WRITER = """
import asyncio, sys
from pathlib import Path
from tests.build import NOW
from tests.close_events import close, left
from tests.histories import PROJECT, at_rest
from tui.history.store import History
from tui.model.evidence import Source

async def main(path, source, first, last):
    one = History(Path(path), PROJECT, clock=lambda: NOW)
    print("ready", flush=True)
    sys.stdin.readline()
    for number in range(int(first), int(last)):
        one.record([close(number, left("PARTICIPANT_REMOVED" if source == "webhook" else "", Source(source)))])
        await asyncio.sleep(0)
        if number % 10 == 0:
            while not at_rest(one):
                await asyncio.sleep(0.001)
    while not at_rest(one):
        await asyncio.sleep(0.001)
    await one.close()
    assert not one.status.trouble, one.status

asyncio.run(main(*sys.argv[1:]))
"""


async def test_two_processes_write_one_file_at_once_and_what_either_saw_is_kept(path: Path) -> None:
    with process(WRITER, path, "polling", 0, 150) as one, process(WRITER, path, "webhook", 75, 225) as other:
        for each in (one, other):
            assert each.stdout is not None
            await asyncio.to_thread(each.stdout.readline)
        await asyncio.gather(*(asyncio.to_thread(each.communicate, "go\n", 60) for each in (one, other)))
    assert (one.returncode, other.returncode) == (0, 0)
    events = {int(event.identity.raw.removeprefix("agent-")): event for event in kept(path)}
    assert set(events) == set(range(225))
    for number, event in events.items():
        sources = {piece.source for piece in event.evidence}
        assert sources == ({Source.POLLING} if number < 150 else set()) | ({Source.WEBHOOK} if number >= 75 else set())
        assert event.cause is (Cause.KICKED_BY_SOMEONE if number >= 75 else Cause.UNKNOWN)


async def test_two_that_begin_the_file_at_once_both_write_it(path: Path) -> None:
    several = [history(path) for _ in range(8)]
    for number, one in enumerate(several):
        one.record([close(number)])
    for one in several:
        await one.close()
    await eventually(lambda: len(kept(path)) == 8)
    assert [one.status.trouble for one in several] == [False] * 8


async def test_a_close_that_is_told_again_as_it_is_known_is_no_news(path: Path) -> None:
    await written(path, close(1))
    before = path.read_bytes()
    await written(path, close(1))
    assert path.read_bytes() == before


async def test_what_has_ended_is_not_told_to_be_under_way_by_one_that_knows_less(path: Path) -> None:
    def acted(outcome: Outcome) -> Evidence:
        return Evidence(NOW, Source.OPERATOR, Fact.OPERATOR_ACTED, by="mira", action=Action.KICK, outcome=outcome)

    for outcome in (Outcome.RUNNING, Outcome.CONFIRMED, Outcome.RUNNING):
        await written(path, close(1, left(), acted(outcome)))
    (event,) = kept(path)
    assert event.evidence[-1].outcome is Outcome.CONFIRMED
