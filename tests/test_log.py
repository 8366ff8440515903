"""The log: one place a line, whatever it grows into; filtered by cause, room and text; counted by the hour."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from tests.build import NOW
from tui.model.action import Action, ActionRecord, Outcome, Step, Target
from tui.model.causes import Cause, Verdict
from tui.model.closes import CloseEvent
from tui.model.log import Log, LogFilter
from tui.model.text import Name


def close(number: int, cause: Cause = Cause.ERROR, *, seen: float = 0.0, room: str = "") -> CloseEvent:
    name = room or f"support-{number}"
    return CloseEvent(
        Name.of(name),
        f"RM_{name}",
        "closer",
        Name.of(f"agent-{number}"),
        f"PA_{number}",
        NOW - 60,
        NOW + (seen or number),
        verdict=Verdict(cause),
    )


KICK = ActionRecord(1, Action.KICK, Target(Name.of("sales-1"), "RM_sales"), "mira@ops1", NOW, (Step(NOW, "requested"),))


def filled(*what: CloseEvent | ActionRecord) -> Log:
    log = Log()
    log.put(what)
    return log


def keys(log: Log, by: LogFilter = LogFilter()) -> list[str]:  # noqa: B008 - immutable
    return [line.key for line in log.shown(by)]


def test_lines_stand_in_the_order_in_which_they_became_known() -> None:
    assert keys(filled(close(3), KICK, close(1))) == ["action 1", "close PA_1", "close PA_3"]


def test_a_line_that_grows_keeps_its_place() -> None:
    log = filled(close(1), close(2), close(3))
    log.put([replace(close(2), verdict=Verdict(Cause.USER_LEFT))])
    assert keys(log) == ["close PA_1", "close PA_2", "close PA_3"]
    assert keys(log, LogFilter(Cause.USER_LEFT)) == ["close PA_2"]


def test_words_are_looked_for_in_everything_that_a_line_says() -> None:
    log = filled(close(1), close(2, Cause.KICKED_BY_SOMEONE), KICK)
    assert keys(log, LogFilter(words="support-2")) == ["close PA_2"]
    assert keys(log, LogFilter(words="KICKED closer")) == ["close PA_2"]
    assert keys(log, LogFilter(words="kick")) == ["action 1", "close PA_2"]
    assert keys(log, LogFilter(words="mira")) == ["action 1"]
    assert keys(log, LogFilter(words="nothing such")) == []


def test_a_filter_sees_what_a_line_says_now() -> None:
    log = filled(KICK)
    assert keys(log, LogFilter(words="came back")) == []
    log.put([replace(KICK, outcome=Outcome.CAME_BACK, steps=(Step(NOW + 1, "came back as PA_2"),))])
    assert keys(log, LogFilter(words="came back")) == ["action 1"]


def test_a_cause_filter_shows_no_actions() -> None:
    assert keys(filled(close(1), KICK), LogFilter(Cause.ERROR)) == ["close PA_1"]


def test_the_last_hour_is_counted_by_cause() -> None:
    log = filled(close(1), close(2), close(3, Cause.USER_LEFT), close(4, seen=-4000.0), KICK)
    assert log.last_hour(NOW + 10) == {Cause.ERROR: 2, Cause.USER_LEFT: 1}


def test_the_newest_close_of_a_room_is_found() -> None:
    log = filled(close(1, room="r"), close(2, room="r"), close(3))
    found = log.latest_close("RM_r")
    assert found is not None
    assert found.key == "close PA_2"
    assert log.latest_close("RM_other") is None


def test_the_oldest_lines_go_first() -> None:
    log = Log(kept=2)
    log.put([close(1), close(2), close(3)])
    assert keys(log) == ["close PA_2", "close PA_3"]
    assert len(log) == 2


@given(st.lists(st.tuples(st.integers(1, 8), st.integers(1, 50)), max_size=40))
def test_the_log_is_sorted_and_has_each_line_once_whatever_is_put(puts: list[tuple[int, int]]) -> None:
    log = Log(kept=5)
    for number, seen in puts:
        log.put([close(number, seen=float(seen))])
    shown = log.shown(LogFilter())
    assert [line.place for line in shown] == sorted(line.place for line in shown)
    assert len({line.key for line in shown}) == len(shown) <= 5
