"""Close events: how evidence from pictures, sightings and our own actions comes together, in whatever order."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.build import NOW, agent, dispatch, person, room, snapshot
from tui.model.action import ENDS_ROOM, Action, ActionRecord, Outcome, Step, Target
from tui.model.causes import Cause
from tui.model.close_phrases import close_words, timeline
from tui.model.closes import CloseBook, CloseEvent
from tui.model.evidence import Evidence, Fact, Sighting, Source
from tui.model.room import Agent, CloseReport, Participant, Room, SessionError, SessionState
from tui.model.snapshot import Failure, FailureKind, Snapshot
from tui.model.text import Name

AGENT = agent("agent-1", name="closer")
DISPATCH = dispatch("closer", "agent-1")
CALL = room("r", person(), AGENT, dispatches=(DISPATCH,), people_at=NOW, dispatches_at=NOW)
LATER = NOW + 2


def saying(**facts: object) -> Participant:
    return replace(AGENT, agent=replace(AGENT.agent, **facts))  # type: ignore[type-var]


def closed(reason: str = "user_initiated", **more: object) -> Participant:
    return saying(session=SessionState.CLOSED, close=CloseReport(reason, NOW + 1, **more))  # type: ignore[arg-type]


def read(before: Room, *participants: Participant, at: float = LATER, **more: object) -> Room:
    """The room as it was read again at `at`, its dispatches a moment later."""
    return replace(before, participants=participants, checked_at=at, dispatches_at=at + 0.1, **more)  # type: ignore[arg-type]


def picture(*rooms: Room, at: float = LATER) -> Snapshot:
    return snapshot(*rooms, at=at)


def record(action: Action, **more: object) -> ActionRecord:
    target = Target(Name.of("r"), "RM_r", AGENT.identity, AGENT.sid, "closer")
    made = ActionRecord(
        1, action, target, "mira@ops1", NOW - 1, (Step(NOW, "confirmed"),), Outcome.CONFIRMED, sent=True
    )
    return replace(made, **more)  # type: ignore[arg-type]


def left(reason: str, at: float = NOW + 1, who: Participant = AGENT) -> Sighting:
    evidence = (Evidence(at, Source.WEBHOOK, Fact.AGENT_LEFT, reason),)
    return Sighting(CALL.name, CALL.sid, evidence, Agent(who))


def hung_up(at: float = NOW + 1, reason: str = "CLIENT_INITIATED") -> Sighting:
    return Sighting(CALL.name, CALL.sid, (Evidence(at, Source.WEBHOOK, Fact.PERSON_LEFT, reason, who="ann"),))


def absorbed(book: CloseBook, after: Snapshot) -> tuple[CloseEvent, ...]:
    """What the book makes of the next picture, all slices of it together."""
    return tuple(event for grown in book.absorb(after) for event in grown)


class Story:
    """A book that has seen the call in progress."""

    def __init__(self) -> None:
        self.book = CloseBook()
        assert absorbed(self.book, picture(CALL, at=NOW)) == ()

    def then(self, *rooms: Room, at: float = LATER) -> tuple[CloseEvent, ...]:
        return absorbed(self.book, picture(*rooms, at=at))

    @property
    def event(self) -> CloseEvent:
        (event,) = self.book.events
        return event


@pytest.fixture
def story() -> Story:
    return Story()


def test_an_agent_that_is_gone_has_closed_with_who_it_was(story: Story) -> None:
    (event,) = story.then(read(CALL, person()))
    assert (event.agent, event.identity.raw, event.participant_sid) == ("closer", "agent-1", AGENT.sid)
    assert (event.room.raw, event.room_sid) == ("r", "RM_r")
    assert (event.dispatch, event.job, event.worker) == ("AD_1", "AJ_agent-1", "AW_1")
    assert (event.began, event.at, event.duration) == (AGENT.joined_at, LATER, LATER - AGENT.joined_at)
    assert (event.agent_gone, event.room_gone) == (True, False)


def test_nothing_that_stays_has_closed(story: Story) -> None:
    assert story.then(CALL) == ()
    assert story.then(read(CALL, person(), AGENT)) == ()
    assert story.then(read(CALL, AGENT)) == ()


def test_a_dispatch_that_is_listed_after_the_agent_left_outlived_it(story: Story) -> None:
    (event,) = story.then(read(CALL, person()))
    assert Fact.DISPATCH_STAYS in {piece.fact for piece in event.evidence}


def test_a_dispatch_list_older_than_the_leaving_proves_nothing_and_a_newer_one_does(story: Story) -> None:
    gone = replace(read(CALL, person()), dispatches_at=NOW)
    (event,) = story.then(gone)
    assert event.cause is Cause.UNKNOWN
    (event,) = story.then(replace(gone, dispatches=(), dispatches_at=LATER + 3), at=LATER + 3)
    assert event.cause is Cause.DISPATCH_DELETED


def test_an_agent_whose_job_was_listed_late_still_finds_its_dispatch() -> None:
    story = Story()
    newcomer = agent("agent-2")
    unlisted = read(CALL, person(), AGENT, newcomer)
    story.then(unlisted)
    story.then(read(unlisted, person(), AGENT, at=NOW + 4), at=NOW + 4)
    both = (DISPATCH, dispatch("", "agent-2", id="AD_2"))
    story.then(read(unlisted, person(), AGENT, at=NOW + 6, dispatches=both), at=NOW + 6)
    assert story.event.dispatch == "AD_2"
    assert Fact.DISPATCH_STAYS in {piece.fact for piece in story.event.evidence}


def test_an_agents_word_is_taken_with_its_reason_and_its_time(story: Story) -> None:
    (event,) = story.then(read(CALL, person(), closed("task_completed")))
    assert (event.cause, event.reason, event.at) == (Cause.TASK_COMPLETED, "task_completed", NOW + 1)
    assert (event.agent_gone, close_words(event)) == (False, "task completed, agent stays")


def test_an_error_is_told_in_the_agents_own_words(story: Story) -> None:
    error = SessionError("APIConnectionError", "openai.LLM", "connection reset")
    (event,) = story.then(read(CALL, person(), closed("error", error=error)))
    assert event.error == error
    assert close_words(event) == "error: openai.LLM APIConnectionError, connection reset, agent stays"


def test_the_same_word_read_again_is_no_news_until_the_agent_is_seen_to_stay(story: Story) -> None:
    story.then(read(CALL, person(), closed()))
    (event,) = story.then(read(CALL, person(), closed(), at=LATER + 2), at=LATER + 2)
    assert Fact.AGENT_STAYED in {piece.fact for piece in event.evidence}
    assert story.then(read(CALL, person(), closed(), at=LATER + 4), at=LATER + 4) == ()


def test_what_happens_long_after_a_close_is_added_and_does_not_change_its_cause(story: Story) -> None:
    for at in (LATER, LATER + 2):
        story.then(read(CALL, person(), closed(), at=at), at=at)
    story.book.absorb_sighting(left("PARTICIPANT_REMOVED", at=LATER + 300, who=closed()))
    assert (story.event.cause, story.event.agent_gone) == (Cause.CLOSED_BY_CODE, True)
    assert story.event.revisions == ()


def test_a_webhook_before_the_poll_and_one_after_it_end_in_the_same_event() -> None:
    first, second = Story(), Story()
    first.book.absorb_sighting(left("PARTICIPANT_REMOVED"))
    first.then(read(CALL, person()))
    second.then(read(CALL, person()))
    second.book.absorb_sighting(left("PARTICIPANT_REMOVED"))
    for story in (first, second):
        assert story.event.cause is Cause.KICKED_BY_SOMEONE
        assert story.event.dispatch == "AD_1"
        assert len(story.event.evidence) == 3
    assert first.event.revisions == ()
    assert [revision.before.cause for revision in second.event.revisions] == [Cause.UNKNOWN]


def test_an_agent_that_no_poll_ever_saw_is_known_from_its_webhook() -> None:
    book = CloseBook()
    (event,) = book.absorb_sighting(left("CONNECTION_TIMEOUT"))
    assert (event.cause, event.agent, event.dispatch) == (Cause.AGENT_LOST, "closer", "")


def test_a_line_that_says_something_else_than_before_says_so(story: Story) -> None:
    room_gone = replace(CALL, people_at=NOW)
    story.then(room_gone, at=NOW + 1)
    story.then(at=LATER)
    assert story.event.cause is Cause.ROOM_DELETED_BY_SOMEONE
    (event,) = story.book.absorb_sighting(left("SERVER_SHUTDOWN"))
    assert event.cause is Cause.SERVER_SHUTDOWN
    assert "said before: room deleted by someone" in close_words(event)
    assert any("so not “room deleted by someone”" in sentence for _, sentence in timeline(event))


def test_who_hung_up_is_told_with_the_close_whichever_is_heard_first() -> None:
    before, after = Story(), Story()
    before.book.absorb_sighting(hung_up())
    before.then(read(CALL, closed("participant_disconnected")))
    after.then(read(CALL, closed("participant_disconnected")))
    after.book.absorb_sighting(hung_up())
    for story in (before, after):
        assert close_words(story.event) == "user left: hung up, agent stays"


def test_polling_sees_that_a_person_left_but_not_how(story: Story) -> None:
    story.then(read(CALL, closed("participant_disconnected")))
    assert close_words(story.event) == "user left, agent stays"
    assert [piece.who for piece in story.event.evidence if piece.fact is Fact.PERSON_LEFT] == ["ann"]


# Rooms


def test_a_room_that_vanished_from_under_its_people_was_deleted(story: Story) -> None:
    (event,) = story.then()
    assert (event.cause, event.room_gone, event.agent_gone) == (Cause.ROOM_DELETED_BY_SOMEONE, True, True)


def test_a_room_that_people_had_left_for_long_enough_ended_by_itself(story: Story) -> None:
    story.then(read(CALL, AGENT))
    (event,) = story.then(at=NOW + 21)
    assert (event.cause, event.verdict.could_be) == (Cause.ROOM_ENDED_EMPTY, (Cause.ROOM_DELETED_BY_SOMEONE,))


def test_a_room_that_people_had_left_only_just_was_deleted(story: Story) -> None:
    story.then(read(CALL, AGENT))
    (event,) = story.then(at=NOW + 12)
    assert event.cause is Cause.ROOM_DELETED_BY_SOMEONE


def test_a_room_that_nobody_ever_joined_ends_after_its_empty_timeout() -> None:
    for lived, cause in ((8.0, Cause.ROOM_ENDED_EMPTY), (5.0, Cause.ROOM_DELETED_BY_SOMEONE)):
        book = CloseBook()
        absorbed(book, picture(room("r", AGENT, created_at=NOW, empty_timeout=7.0), at=NOW + 1))
        (event,) = absorbed(book, picture(at=NOW + lived))
        assert event.cause is cause


def test_a_rooms_time_is_counted_in_whole_seconds_as_livekit_does() -> None:
    for gone_at, cause in ((NOW + 7.05, Cause.ROOM_ENDED_EMPTY), (NOW + 6.95, Cause.ROOM_DELETED_BY_SOMEONE)):
        book = CloseBook()
        absorbed(book, picture(room("r", AGENT, created_at=NOW + 0.9, empty_timeout=7.0), at=NOW + 1))
        (event,) = absorbed(book, picture(at=gone_at))
        assert event.cause is cause


def test_rooms_that_went_while_the_server_was_away_are_not_called_deleted(story: Story) -> None:
    away = Failure(FailureKind.UNREACHABLE, "away")
    assert absorbed(story.book, snapshot(CALL, at=NOW + 1, failure=away)) == ()
    (event,) = story.then()
    assert event.cause is Cause.UNKNOWN
    assert Cause.SERVER_SHUTDOWN in event.verdict.could_be


def test_a_picture_that_could_not_be_renewed_closes_nothing(story: Story) -> None:
    assert absorbed(story.book, replace(picture(), failure=Failure(FailureKind.UNREACHABLE, "away"))) == ()


def test_many_ends_at_once_are_taken_in_by_slices() -> None:
    book, calls = CloseBook(), [replace(CALL, sid=f"RM_{number}") for number in range(100)]
    agents = [replace(AGENT, sid=f"PA_{number}") for number in range(100)]
    calls = [read(call, person(), who, at=NOW) for call, who in zip(calls, agents, strict=True)]
    assert absorbed(book, picture(*calls, at=NOW)) == ()
    slices = list(book.absorb(picture()))
    assert {event.participant_sid for grown in slices for event in grown} == {who.sid for who in agents}
    assert max(len(grown) for grown in slices) < 20


# Our own actions


def test_an_action_of_ours_explains_the_end_that_follows_it(story: Story) -> None:
    story.book.absorb_record(record(Action.KICK))
    (event,) = story.then(read(CALL, person()))
    assert (event.cause, event.by) == (Cause.KICKED_BY_OPERATOR, "mira@ops1")


def test_an_end_seen_before_the_actions_last_step_is_explained_by_it(story: Story) -> None:
    story.book.absorb_record(record(Action.KICK, outcome=Outcome.RUNNING))
    story.then(read(CALL, person()))
    (event,) = story.book.absorb_record(record(Action.KICK, steps=(Step(LATER + 3, "confirmed"),)))
    acted = [piece for piece in event.evidence if piece.fact is Fact.OPERATOR_ACTED]
    assert [piece.outcome for piece in acted] == [Outcome.CONFIRMED]


def test_what_is_done_to_thousands_of_other_rooms_puts_no_action_out_of_mind(story: Story) -> None:
    story.book.absorb_record(record(Action.KICK))
    for number in range(5_000):
        other = Target(Name.of(f"other-{number}"), f"RM_{number}")
        story.book.absorb_record(record(Action.DELETE_ROOM, id=number + 2, target=other))
    for number in range(20):
        unsent = record(Action.KICK, id=-number, sent=False, outcome=Outcome.STOPPED, operator="nobody")
        story.book.absorb_record(unsent)
    (event,) = story.then(read(CALL, person()))
    assert (event.cause, event.by) == (Cause.KICKED_BY_OPERATOR, "mira@ops1")


@pytest.mark.parametrize(
    "more",
    [
        {"sent": False, "outcome": Outcome.REFUSED},
        {"target": Target(Name.of("r"), "RM_other", AGENT.identity, AGENT.sid)},
        {"target": Target(Name.of("r"), "RM_r", Name.of("ann"), "PA_ann")},
        {"action": Action.DISPATCH_AGENT},
        {"action": Action.SHUT_DOWN_JOB, "outcome": Outcome.UNKNOWN, "by_dispatch": True},
        {"at": NOW - 400, "steps": (Step(NOW - 390, "confirmed"),)},
    ],
    ids=["nothing sent", "another room", "another participant", "a dispatch", "asked in vain", "long ago"],
)
def test_what_was_not_aimed_at_it_explains_nothing(story: Story, more: dict[str, object]) -> None:
    story.book.absorb_record(replace(record(Action.KICK), **more))  # type: ignore[arg-type]
    (event,) = story.then(read(CALL, person()))
    assert (event.cause, event.by) == (Cause.UNKNOWN, "")


# Several actions of ours


def did(
    number: int, action: Action, begun: float, done: float | None, outcome: Outcome = Outcome.CONFIRMED
) -> ActionRecord:
    """An action that was begun at `begun`, was seen to be done at `done`, and has ended; in seconds after NOW."""
    made = record(action, id=number, at=NOW + begun, done_at=NOW + done if done is not None else None, outcome=outcome)
    made = replace(made, steps=(Step(NOW + (done or begun) + 0.5, outcome.value),))
    return replace(made, target=Target(Name.of("r"), "RM_r")) if action in ENDS_ROOM else made


CLOSE = did(1, Action.CLOSE_SESSION, 0.0, 0.2)
DONE_HERE: dict[str, tuple[tuple[ActionRecord, ...], Cause]] = {
    "closed, kicked, and the room deleted": (
        (CLOSE, did(2, Action.KICK, 0.4, 0.5), did(3, Action.DELETE_ROOM, 0.6, 0.7)),
        Cause.CLOSED_BY_OPERATOR,
    ),
    "closed, then shut down": ((CLOSE, did(2, Action.SHUT_DOWN_JOB, 0.4, 0.5)), Cause.CLOSED_BY_OPERATOR),
    "closed, then torn down": ((CLOSE, did(2, Action.TEAR_DOWN, 0.4, 1.0)), Cause.CLOSED_BY_OPERATOR),
    "closed, and closed again in vain": (
        (CLOSE, did(2, Action.CLOSE_SESSION, 0.4, None, Outcome.FAILED), did(3, Action.KICK, 0.6, 0.7)),
        Cause.CLOSED_BY_OPERATOR,
    ),
    "closed at the second attempt": (
        (did(1, Action.CLOSE_SESSION, 0.0, None, Outcome.UNKNOWN), did(2, Action.CLOSE_SESSION, 0.4, 0.5)),
        Cause.CLOSED_BY_OPERATOR,
    ),
    "not to be closed, so kicked": (
        (did(1, Action.CLOSE_SESSION, 0.0, None, Outcome.FAILED), did(2, Action.KICK, 0.4, 0.5)),
        Cause.KICKED_BY_OPERATOR,
    ),
    "never seen to close, so kicked": (
        (did(1, Action.CLOSE_SESSION, 0.0, None, Outcome.UNKNOWN), did(2, Action.KICK, 0.4, 0.5)),
        Cause.KICKED_BY_OPERATOR,
    ),
    "kicked while it was still closing": (
        (did(1, Action.CLOSE_SESSION, 0.0, 0.6), did(2, Action.KICK, 0.4, 0.5)),
        Cause.KICKED_BY_OPERATOR,
    ),
    "kicked, then the room deleted": (
        (did(1, Action.KICK, 0.0, 0.1), did(2, Action.DELETE_ROOM, 0.4, 0.5)),
        Cause.KICKED_BY_OPERATOR,
    ),
    "shut down, then the room deleted": (
        (did(1, Action.SHUT_DOWN_JOB, 0.0, 0.1), did(2, Action.DELETE_ROOM, 0.4, 0.5)),
        Cause.SHUT_DOWN_BY_OPERATOR,
    ),
    "never seen to leave, so the room deleted": (
        (did(1, Action.KICK, 0.0, None, Outcome.UNKNOWN), did(2, Action.DELETE_ROOM, 0.4, 0.5)),
        Cause.ROOM_DELETED_BY_OPERATOR,
    ),
    "kicked, and the room never seen to go": (
        (did(1, Action.KICK, 0.0, 0.6), did(2, Action.DELETE_ROOM, 0.4, None, Outcome.UNKNOWN)),
        Cause.KICKED_BY_OPERATOR,
    ),
    "shut down, and meanwhile torn down": (
        (did(1, Action.SHUT_DOWN_JOB, 0.0, 0.6), did(2, Action.TEAR_DOWN, 0.4, 1.0)),
        Cause.TORN_DOWN_BY_OPERATOR,
    ),
}


@pytest.mark.parametrize(("records", "cause"), DONE_HERE.values(), ids=DONE_HERE)
def test_of_several_actions_the_first_that_was_done_ended_it_in_whatever_order_they_are_heard_of(
    records: tuple[ActionRecord, ...], cause: Cause
) -> None:
    for order in permutations((*records, None)):
        story = Story()
        for told in order:
            if told is None:
                story.then(read(CALL, person()))
            else:
                story.book.absorb_record(told)
        assert (story.event.cause, story.event.by) == (cause, "mira@ops1"), order


def test_a_line_does_not_change_while_its_agent_is_closed_kicked_and_its_room_deleted(story: Story) -> None:
    closing, kick, delete = DONE_HERE["closed, kicked, and the room deleted"][0]
    story.book.absorb_record(replace(closing, outcome=Outcome.RUNNING, done_at=None))
    story.book.absorb_record(closing)
    story.book.absorb_record(replace(kick, outcome=Outcome.RUNNING))
    story.then(read(CALL, person(), at=NOW + 0.55), at=NOW + 0.55)
    story.book.absorb_record(replace(delete, outcome=Outcome.RUNNING))
    story.then()
    story.book.absorb_record(kick)
    story.book.absorb_record(delete)
    assert close_words(story.event) == "session closed by operator"


def test_what_was_begun_after_the_agent_was_seen_to_be_gone_did_not_end_it(story: Story) -> None:
    story.then(read(CALL, person(), at=NOW + 1), at=NOW + 1)
    story.book.absorb_record(did(1, Action.DELETE_ROOM, 1.5, 1.6))
    story.then()
    assert story.event.cause is not Cause.ROOM_DELETED_BY_OPERATOR


def test_an_agents_word_that_it_was_asked_to_close_outranks_what_was_done_to_it_then(story: Story) -> None:
    """Here by somebody whose own actions are not known: only the agent tells."""
    story.book.absorb_record(did(1, Action.KICK, 0.4, 0.5))
    story.book.absorb_sighting(left("PARTICIPANT_REMOVED", at=NOW + 0.5))
    assert story.event.cause is Cause.KICKED_BY_OPERATOR
    story.then(read(CALL, person(), closed(by="joe@ops2"), at=NOW + 0.3), at=NOW + 0.3)
    assert (story.event.cause, story.event.by) == (Cause.CLOSED_BY_OPERATOR, "joe@ops2")


_SEEN = [
    left("PARTICIPANT_REMOVED"),
    left("ROOM_DELETED"),
    left("CLIENT_INITIATED"),
    *(
        Sighting(CALL.name, CALL.sid, evidence, Agent(AGENT))
        for evidence in (
            (Evidence(NOW + 2, Source.POLLING, Fact.AGENT_LEFT),),
            (Evidence(NOW + 1, Source.HELPER, Fact.SESSION_CLOSED, "user_initiated"),),
            (Evidence(NOW + 1, Source.HELPER, Fact.SESSION_CLOSED, "user_initiated", by="mira@ops1"),),
            (Evidence(NOW + 1.1, Source.HELPER, Fact.JOB_SHUT_DOWN, "bye"),),
            (Evidence(NOW + 3, Source.POLLING, Fact.DISPATCH_GONE),),
        )
    ),
    Sighting(CALL.name, CALL.sid, (Evidence(NOW + 3, Source.POLLING, Fact.ROOM_ENDED),)),
]
_RECORDS = st.builds(
    lambda action, begun, took, outcome: did(0, action, begun, None if took is None else begun + took, outcome),
    st.sampled_from([Action.CLOSE_SESSION, Action.SHUT_DOWN_JOB, Action.KICK, Action.DELETE_ROOM, Action.TEAR_DOWN]),
    st.floats(-1, 4),
    st.none() | st.floats(0.1, 3),
    st.sampled_from(Outcome),
)


@given(
    st.lists(_RECORDS, max_size=4, unique_by=lambda each: (each.action, round(each.at, 3))),
    st.lists(st.sampled_from(_SEEN), max_size=4, unique_by=lambda sighting: sighting.evidence[0].key),
    st.randoms(use_true_random=False),
)
def test_the_cause_does_not_depend_on_the_order_in_which_it_is_heard_of(
    records: list[ActionRecord], sightings: list[Sighting], chance: random.Random
) -> None:
    told: list[ActionRecord | Sighting] = [
        *(replace(each, id=number) for number, each in enumerate(records)),
        *sightings,
    ]
    verdicts = []
    for _ in range(3):
        book = CloseBook()
        for each in told:
            if isinstance(each, ActionRecord):
                book.absorb_record(each)
            else:
                book.absorb_sighting(each)
        verdicts.append([event.verdict for event in book.events])
        chance.shuffle(told)
    assert verdicts[0] == verdicts[1] == verdicts[2]


# The book


def test_the_book_is_bounded_and_forgets_the_oldest() -> None:
    book = CloseBook(kept=3)
    for number in range(5):
        book.absorb_sighting(left("ROOM_DELETED", who=agent(f"agent-{number}")))
    assert [event.identity.raw for event in book.events] == ["agent-2", "agent-3", "agent-4"]


def test_what_an_earlier_run_knew_goes_on_growing(story: Story) -> None:
    (event,) = story.then(read(CALL, person()))
    book = CloseBook()
    book.restore([event])
    (grown,) = book.absorb_sighting(left("PARTICIPANT_REMOVED"))
    assert grown.cause is Cause.KICKED_BY_SOMEONE
    assert len(book.events) == 1
