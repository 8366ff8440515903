"""Closes and actions as JSON: what is written is read back, and what a newer lk-tui wrote is read as far as it goes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.build import NOW
from tests.close_events import EVENTS, RAW, SAFE, TIMES, close, left
from tui.history.codec import action_from, action_json, close_from, close_json, close_json_over, time_text
from tui.model.action import Action, ActionRecord, Batch, Outcome, Step, Target
from tui.model.causes import Cause
from tui.model.closes import CloseEvent
from tui.model.evidence import Fact, Source
from tui.model.text import Name

DOCUMENT = (Path(__file__).parent.parent / "docs" / "closes-json.md").read_text("utf-8")
KICK = ActionRecord(
    7,
    Action.KICK,
    Target(Name.of("r\x1b[2J"), "RM_r", Name.of("ann"), "PA_ann"),
    "mira@ops1",
    NOW,
    (Step(NOW, "requested"), Step(NOW + 1, "gone", Outcome.CONFIRMED)),
    Outcome.CONFIRMED,
    sent=True,
)


# Without offers: they are made once, by the lk-tui that saw the action end.
ACTIONS = st.builds(
    ActionRecord,
    st.just(-3),
    st.sampled_from(Action),
    st.builds(Target, RAW.map(Name.of), SAFE, st.none(), st.just(""), SAFE)
    | st.builds(Target, RAW.map(Name.of), SAFE, RAW.map(Name.of), SAFE, SAFE),
    SAFE,
    TIMES,
    st.lists(st.builds(Step, TIMES, SAFE, st.sampled_from(Outcome)), max_size=3).map(tuple),
    st.sampled_from(Outcome),
    st.booleans(),
    batch=st.none() | st.builds(Batch, SAFE, st.integers(1, 10_000), TIMES),
)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda each: st.lists(each, max_size=3) | st.dictionaries(st.text(), each, max_size=3),
    max_leaves=5,
)


def written(said: object) -> Any:
    """As it comes from a file."""
    return json.loads(json.dumps(said))


def strings(said: object) -> Iterator[str]:
    """Every string in it."""
    if isinstance(said, str):
        yield said
    elif isinstance(said, list | dict):
        for each in said.values() if isinstance(said, dict) else said:
            yield from strings(each)


@given(EVENTS)
def test_any_close_is_read_back_as_it_was_written(event: CloseEvent) -> None:
    assert close_from(written(close_json(event))) == event


@given(ACTIONS)
def test_any_action_is_read_back_as_it_was_written(record: ActionRecord) -> None:
    assert action_from(written(action_json(record)), record.id) == record


def test_an_action_is_read_back_under_another_id() -> None:
    read = action_from(written(action_json(KICK)), -3)
    assert (read.id, read.target, read.steps, read.outcome) == (-3, KICK.target, KICK.steps, KICK.outcome)


@given(EVENTS, st.data())
def test_whatever_has_become_of_a_close_it_is_read_or_refused(event: CloseEvent, data: st.DataObject) -> None:
    said = written(close_json(event))
    where = said
    while isinstance(where, dict | list) and where:
        key = data.draw(st.sampled_from(list(where) if isinstance(where, dict) else range(len(where))))
        if data.draw(st.booleans()) or not isinstance(where[key], dict | list):
            where[key] = data.draw(ANYTHING)
            break
        where = where[key]
    try:
        read = close_from(said)
    except ValueError:
        return
    # What is read can be written, and says the same then.
    assert close_from(written(close_json(read))).cause is read.cause


@given(EVENTS)
def test_what_comes_out_is_safe_to_show_wherever_it_is_not_a_raw_name(event: CloseEvent) -> None:
    said = written(close_json(event))
    raw = [said["room"].pop("name"), said["agent"].pop("identity")]
    assert raw == [event.room.raw, event.identity.raw]
    assert [text for text in strings(said) if not text.isprintable()] == []


def test_a_file_that_somebody_wrote_into_is_made_safe() -> None:
    said = written(close_json(close()))
    said["agent"]["name"] = "evil\x1b[2J"
    said["evidence"][0]["reason"] = "\u202egood"
    event = close_from(said)
    assert event.agent == "evil\\x1b[2J"
    assert event.evidence[0].reason == "\\u202egood"


@given(st.floats())
def test_any_time_that_an_agent_tells_can_be_written(at: float) -> None:
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", time_text(at))


def test_what_a_newer_lk_tui_knows_is_left_out_and_the_rest_is_read() -> None:
    said = written(close_json(close(1, left("ROOM_DELETED", Source.WEBHOOK))))
    said["cause"] = "eaten_by_a_whale"
    said["mood"] = "good"
    said["evidence"].append({"at": said["at"], "source": "telepathy", "fact": "agent_left"})
    said["evidence"].append({"at": said["at"], "source": "polling", "fact": "whale_seen"})
    event = close_from(said)
    assert event.cause is Cause.UNKNOWN
    assert [piece.fact for piece in event.evidence] == [Fact.AGENT_LEFT]


def test_what_a_newer_lk_tui_wrote_stays_when_this_one_writes_over_it() -> None:
    newer = written(close_json(close(1, left("", Source.POLLING))))
    newer["mood"] = "good"
    newer["evidence"].append({"at": newer["at"], "source": "telepathy", "fact": "agent_left"})
    event = close_from(newer).grown([left("PARTICIPANT_REMOVED", Source.WEBHOOK)], NOW)
    over = written(close_json_over(newer, event))
    assert over["mood"] == "good"
    assert over["cause"] == "kicked_by_someone"
    assert [piece["source"] for piece in over["evidence"]] == ["polling", "webhook", "telepathy"]


@pytest.mark.parametrize("said", [[], 3, None, {}, {"room": None}, {"room": {"name": "r"}}, {"room": 3, "agent": 4}])
def test_what_is_no_close_is_refused_by_name(said: Any) -> None:
    with pytest.raises(ValueError, match="not a close event"):
        close_from(said)


def test_every_field_and_every_cause_is_documented() -> None:
    for field in close_json(close()):
        assert f"`{field}`" in DOCUMENT, field
    for cause in Cause:
        assert f"| `{cause.value}` |" in DOCUMENT, cause
    for fact in Fact:
        assert f"`{fact.name.lower()}`" in DOCUMENT, fact


def test_times_are_utc_with_milliseconds() -> None:
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", close_json(close())["at"])
