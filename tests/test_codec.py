"""Closes and actions as JSON: what is written is read back, and what a newer lk-tui wrote is read as far as it goes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given

from tests.build import NOW
from tests.close_events import EVENTS, close, left
from tui.history.codec import action_from, action_json, close_from, close_json
from tui.model.action import Action, ActionRecord, Outcome, Step, Target
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


@given(EVENTS)
def test_any_close_is_read_back_as_it_was_written(event: CloseEvent) -> None:
    assert close_from(json.loads(json.dumps(close_json(event)))) == event


def test_an_action_is_read_back_under_another_id() -> None:
    read = action_from(json.loads(json.dumps(action_json(KICK))), -3)
    assert (read.id, read.target, read.steps, read.outcome) == (-3, KICK.target, KICK.steps, KICK.outcome)


def test_what_a_newer_lk_tui_knows_is_left_out_and_the_rest_is_read() -> None:
    said = json.loads(json.dumps(close_json(close(1, left("ROOM_DELETED", Source.WEBHOOK)))))
    said["cause"] = "eaten_by_a_whale"
    said["mood"] = "good"
    said["evidence"].append({"at": said["at"], "source": "telepathy", "fact": "agent_left"})
    said["evidence"].append({"at": said["at"], "source": "polling", "fact": "whale_seen"})
    event = close_from(said)
    assert event.cause is Cause.UNKNOWN
    assert [piece.fact for piece in event.evidence] == [Fact.AGENT_LEFT]


@pytest.mark.parametrize("said", [{}, {"room": None}, {"room": {"name": "r"}}, {"room": 3, "agent": 4}])
def test_what_is_no_close_is_refused_by_name(said: dict[str, object]) -> None:
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
