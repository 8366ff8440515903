"""One close as two have seen it: both keep what either knows, in whatever order and however often they write."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.build import NOW
from tests.close_events import EVENTS, EVIDENCE, close, left
from tui.history.merge import merged
from tui.model.action import Action, Outcome
from tui.model.causes import Cause
from tui.model.closes import CloseEvent
from tui.model.evidence import Evidence, Fact, Source

PIECES = st.lists(EVIDENCE, max_size=5)


def seen_as(pieces: list[Evidence]) -> CloseEvent:
    """The close that one lk-tui makes of these, piece by piece."""
    event = close(1)
    for number, piece in enumerate(pieces):
        event = event.grown([piece], NOW + number)
    return event


def acted(outcome: Outcome) -> Evidence:
    """That an operator kicked the agent."""
    return Evidence(NOW, Source.OPERATOR, Fact.OPERATOR_ACTED, by="mira", action=Action.KICK, outcome=outcome)


@given(EVENTS, st.data())
def test_nothing_that_either_knows_is_lost(event: CloseEvent, data: st.DataObject) -> None:
    other = event.grown(data.draw(PIECES), NOW)
    keys = {piece.key for piece in merged(event, other, NOW).evidence}
    assert keys == {piece.key for piece in (*event.evidence, *other.evidence)}


@given(PIECES, PIECES)
def test_two_that_write_in_turn_come_to_rest(mine: list[Evidence], theirs: list[Evidence]) -> None:
    row = seen_as(mine)
    for turn in range(8):
        before, row = row, merged(row, seen_as(mine if turn % 2 else theirs), NOW + 10 + turn)
        assert turn < 2 or row == before


def test_a_close_that_has_grown_is_kept_as_it_has_grown() -> None:
    first = close(1, left("", Source.POLLING))
    then = first.grown([left("PARTICIPANT_REMOVED", Source.WEBHOOK)], NOW + 1)
    assert merged(first, then, NOW + 2) == then


def test_an_action_that_has_ended_never_runs_again() -> None:
    running, ended = close(1, left(), acted(Outcome.RUNNING)), close(1, left(), acted(Outcome.CONFIRMED))
    for kept, told in ((running, ended), (ended, running)):
        assert merged(kept, told, NOW).evidence[-1].outcome is Outcome.CONFIRMED


def test_a_kick_that_was_undone_stays_undone() -> None:
    ended, undone = close(1, left(), acted(Outcome.CONFIRMED)), close(1, left(), acted(Outcome.CAME_BACK))
    for kept, told in ((ended, undone), (undone, ended)):
        assert merged(kept, told, NOW).evidence[-1].outcome is Outcome.CAME_BACK


def test_ids_that_only_one_of_them_knew_are_kept() -> None:
    knows = close(1)
    knows_not = CloseEvent(
        knows.room, knows.room_sid, knows.agent, knows.identity, knows.participant_sid, knows.began + 9, knows.seen + 9
    ).grown(knows.evidence, NOW)
    for kept, told in ((knows, knows_not), (knows_not, knows)):
        event = merged(kept, told, NOW)
        assert (event.dispatch, event.job) == ("AD_1", "AJ_1")
        assert (event.began, event.seen) == (knows.began, knows.seen)


def test_what_the_row_said_before_stays_among_its_revisions() -> None:
    theirs = close(1, left("CONNECTION_TIMEOUT", Source.WEBHOOK))
    told = Evidence(NOW, Source.HELPER, Fact.SESSION_CLOSED, "error")
    event = merged(theirs, close(1, told), NOW + 5)
    assert event.cause is Cause.ERROR
    assert [(revision.at, revision.before.cause) for revision in event.revisions] == [(NOW + 5, Cause.AGENT_LOST)]
    assert merged(event, close(1, told), NOW + 9) == event
