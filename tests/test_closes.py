"""Close events: what two pictures and our own actions say about the end of a session."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.build import NOW, agent, dispatch, person, room, snapshot
from tui.model.action import Action, ActionRecord, Outcome, Target
from tui.model.closes import Cause, CloseBook, CloseEvent
from tui.model.phrases import close_words
from tui.model.room import CloseReport, Room, SessionError, SessionState
from tui.model.snapshot import Failure, FailureKind, Snapshot
from tui.model.text import Name

AGENT = agent("agent-1", name="closer")
BEFORE = room("r", person(), AGENT, dispatches=(dispatch("closer", "agent-1"),))
EMPTY = replace(BEFORE, participants=(person(),), dispatches=(dispatch("closer", "agent-1"),))


def record(action: Action, **more: object) -> ActionRecord:
    target = Target(Name.of("r"), "RM_r", AGENT.identity, AGENT.sid, "closer")
    return replace(ActionRecord(1, action, target, "mira@ops1", NOW - 1, outcome=Outcome.CONFIRMED), **more)  # type: ignore[arg-type]


def closes(before: Room, after: Room | None, *actions: ActionRecord) -> tuple[CloseEvent, ...]:
    book = CloseBook()
    first = snapshot(before)
    assert book.absorb(Snapshot(), first, ()) == ()
    return book.absorb(first, snapshot(*([after] if after is not None else []), number=2, at=NOW + 2), actions)


def with_facts(**facts: object) -> Room:
    said = replace(AGENT, agent=replace(AGENT.agent, **facts))  # type: ignore[type-var]
    return replace(BEFORE, participants=(person(), said))


@pytest.mark.parametrize(
    ("action", "cause"),
    [
        (Action.KICK, Cause.KICKED_BY_OPERATOR),
        (Action.SHUT_DOWN_JOB, Cause.SHUT_DOWN_BY_OPERATOR),
        (Action.CLOSE_SESSION, Cause.CLOSED_BY_OPERATOR),
    ],
)
def test_an_agent_gone_after_our_action_was_ended_by_the_operator(action: Action, cause: Cause) -> None:
    (event,) = closes(BEFORE, EMPTY, record(action))
    assert (event.cause, event.by, event.agent_gone, event.room_gone) == (cause, "mira@ops1", True, False)


def test_a_room_gone_after_our_delete_was_deleted_by_the_operator() -> None:
    target = Target(Name.of("r"), "RM_r")
    (event,) = closes(BEFORE, None, record(Action.DELETE_ROOM, target=target))
    assert (event.cause, event.room_gone) == (Cause.ROOM_DELETED_BY_OPERATOR, True)


def test_a_refused_action_and_one_on_another_room_explain_nothing() -> None:
    elsewhere = record(Action.KICK, target=Target(Name.of("r"), "RM_other", AGENT.identity, AGENT.sid))
    (event,) = closes(BEFORE, EMPTY, record(Action.KICK, outcome=Outcome.REFUSED), elsewhere)
    assert (event.cause, event.by) == (Cause.AGENT_LEFT, "")


def test_an_agent_gone_with_its_dispatch_was_shut_down() -> None:
    (event,) = closes(BEFORE, replace(EMPTY, dispatches=()))
    assert event.cause is Cause.SHUT_DOWN


def test_an_agent_gone_with_its_dispatch_still_there_is_not_explained() -> None:
    (event,) = closes(BEFORE, EMPTY)
    assert event.cause is Cause.AGENT_LEFT


def test_a_room_that_is_gone_without_us_has_ended() -> None:
    (event,) = closes(BEFORE, None)
    assert event.cause is Cause.ROOM_ENDED


@pytest.mark.parametrize(
    ("reason", "cause"),
    [
        ("participant_disconnected", Cause.USER_LEFT),
        ("task_completed", Cause.TASK_COMPLETED),
        ("user_initiated", Cause.CLOSED_BY_CODE),
        ("error", Cause.ERROR),
    ],
)
def test_the_agents_own_word_says_why_its_session_closed(reason: str, cause: Cause) -> None:
    report = CloseReport(reason, at=NOW + 1)
    (event,) = closes(BEFORE, with_facts(session=SessionState.CLOSED, close=report))
    assert (event.cause, event.agent_gone, event.duration) == (cause, False, 61.0)


def test_an_error_is_told_with_its_source_and_message() -> None:
    error = SessionError("APIConnectionError", "LLM", "no route")
    (event,) = closes(BEFORE, with_facts(session=SessionState.CLOSED, close=CloseReport("error", error=error)))
    assert close_words(event) == "error: LLM APIConnectionError, no route"


def test_the_operator_that_the_agent_names_closed_it() -> None:
    report = CloseReport("user_initiated", at=NOW, by="joe@ops2")
    (event,) = closes(BEFORE, with_facts(session=SessionState.CLOSED, close=report))
    assert (event.cause, event.by) == (Cause.CLOSED_BY_OPERATOR, "joe@ops2")


def test_an_event_grows_when_the_agent_leaves_later_and_is_told_once() -> None:
    book = CloseBook()
    closed = with_facts(session=SessionState.CLOSED, close=CloseReport("task_completed", at=NOW))
    pictures = [snapshot(BEFORE), snapshot(closed, number=2), snapshot(closed, number=3), snapshot(EMPTY, number=4)]
    told = [book.absorb(before, after, ()) for before, after in zip([Snapshot(), *pictures], pictures, strict=False)]
    assert [len(events) for events in told] == [0, 1, 0, 1]
    assert told[3][0].cause is Cause.TASK_COMPLETED
    assert told[3][0].agent_gone
    assert len(list(book.events)) == 1


def test_a_session_that_was_closed_before_we_looked_is_an_event_too() -> None:
    closed = with_facts(session=SessionState.CLOSED, close=CloseReport("task_completed", at=NOW))
    assert len(CloseBook().absorb(Snapshot(), snapshot(closed), ())) == 1


def test_a_picture_that_could_not_be_renewed_proves_nothing() -> None:
    failed = replace(snapshot(number=2), failure=Failure(FailureKind.UNREACHABLE, "refused"))
    assert CloseBook().absorb(snapshot(BEFORE), failed, ()) == ()
