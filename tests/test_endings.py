"""Every way to end a session: the verdict on what a real server and real agents were recorded to show, and live."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest

from tests.endings_table import DOCUMENT, EXPECTED, as_document, recorded
from tests.lab.endings import ENDINGS, POLLING, Ending, Key, Stage, run
from tests.lab.server import server_binary
from tests.lab.worker import LabWorker
from tui.history.codec import close_from
from tui.model.causes import Cause, Verdict, judge
from tui.model.closes import CloseEvent

RECORDS = {(each["ending"], each["helper"], each["sources"]): each["close"] for each in recorded()["endings"]}
KEYS = [(name, helper, sources) for name, row in EXPECTED.items() for helper, sources in row]


def test_every_ending_has_an_expectation_and_a_record() -> None:
    assert {ending.name for ending in ENDINGS} == set(EXPECTED)
    assert set(KEYS) == set(RECORDS)


@pytest.mark.parametrize("key", KEYS, ids=lambda key: f"{key[0]} [{'helper, ' if key[1] else ''}{key[2]}]")
def test_the_recorded_evidence_adds_up_to_the_cause(key: Key) -> None:
    name, helper, sources = key
    said = RECORDS[key]
    assert (judge(close_from(said).evidence) if said is not None else None) == EXPECTED[name][helper, sources]


def test_the_document_says_what_is_expected() -> None:
    assert DOCUMENT.read_text() == as_document(recorded())


@dataclass
class Live:
    """What was seen of all endings, and by name and helper what did not come true of those that came to no end."""

    seen: dict[Key, CloseEvent | None] = field(default_factory=dict)
    failed: dict[tuple[str, bool], str] = field(default_factory=dict)


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Live:
    """All endings played live, once for all tests."""
    server_binary()
    live, play = Live(), Stage.play

    async def played(stage: Stage, ending: Ending, worker: LabWorker) -> dict[Key, CloseEvent | None]:
        try:
            return await play(stage, ending, worker)
        except pytest.fail.Exception as failure:
            # That is the trouble of this ending's tests alone.
            live.failed[ending.name, worker.helper] = str(failure)
            return {}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Stage, "play", played)
        live.seen = asyncio.run(run(tmp_path_factory.mktemp("endings")))
    return live


def as_much_as_can_be_told(key: Key) -> list[Verdict | None]:
    """What may be told live: what is expected, or more, where polling happened to look at the right moment, or where
    the room's own end is seen as well, because the machine is slow."""
    name, helper, _ = key
    told = [verdict for (helped, _), verdict in EXPECTED[name].items() if helped is helper]
    if None in told:
        told += [Verdict(Cause.ROOM_ENDED_EMPTY), Verdict(Cause.ROOM_ENDED_EMPTY, could_be=OR_DELETED)]
    return told


OR_DELETED = (Cause.ROOM_DELETED_BY_SOMEONE,)


@pytest.mark.parametrize("key", KEYS, ids=lambda key: f"{key[0]} [{'helper, ' if key[1] else ''}{key[2]}]")
def test_the_cause_is_told_live(live: Live, key: Key) -> None:
    name, helper, sources = key
    assert not live.failed.get((name, helper))
    event = live.seen[key]
    told: Verdict | None = event.verdict if event is not None else None
    if told != EXPECTED[name][helper, sources]:
        assert sources == POLLING or EXPECTED[name][helper, sources] is None, event
        assert told in as_much_as_can_be_told(key), event
