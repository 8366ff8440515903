"""What a room keeps from one reading to the next."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from tests.fake_gateway import agent, dispatch_of, person
from tui.model import carry
from tui.model.room import AgentFacts, Participant, ParticipantState, Room
from tui.model.text import Name

ROOM = Room("RM_1", Name.of("one"), 1.0)

who = st.sampled_from(["ann", "bob", "cid"])
states = st.sampled_from(["", "listening", "thinking"])
people = st.builds(person, who)
agents = st.builds(agent, who.map("agent-{}".format), states)
lists = st.lists(people | agents, max_size=5, unique_by=lambda participant: participant.sid).map(tuple)


def _state_times(room: Room) -> dict[str, tuple[str, float | None]]:
    return {p.sid: (p.agent.state, p.agent.state_since) for p in room.participants or () if p.agent is not None}


def _as_read(participant: Participant) -> Participant:
    facts = participant.agent
    return participant if facts is None else replace(participant, agent=AgentFacts(state=facts.state))


@given(lists, lists)
def test_a_room_has_exactly_the_participants_that_were_read_last(
    first: tuple[Participant, ...], second: tuple[Participant, ...]
) -> None:
    room = carry.with_participants(carry.with_participants(ROOM, first, 10.0), second, 20.0)
    assert tuple(_as_read(participant) for participant in room.participants or ()) == second
    assert room.checked_at == 20.0


@given(lists, lists)
def test_a_state_dates_from_when_it_was_first_seen(
    first: tuple[Participant, ...], second: tuple[Participant, ...]
) -> None:
    earlier = carry.with_participants(ROOM, first, 10.0)
    before, after = _state_times(earlier), _state_times(carry.with_participants(earlier, second, 20.0))
    assert all(since == 10.0 for _, since in before.values())
    for sid, (state, since) in after.items():
        assert since == (10.0 if before.get(sid, ("-", None))[0] == state else 20.0)


@given(lists, lists)
def test_equal_participants_stay_the_same_objects(
    first: tuple[Participant, ...], second: tuple[Participant, ...]
) -> None:
    before = carry.with_participants(ROOM, first, 10.0)
    after = carry.with_participants(before, [replace(participant) for participant in second], 20.0)
    for participant in after.participants or ():
        was = before.participant(participant.sid)
        assert was is None or (was is participant) == (was == participant)
    if before.participants == after.participants:
        assert before.participants is after.participants


@given(lists, lists)
def test_a_room_remembers_when_people_and_agents_were_last_there(
    first: tuple[Participant, ...], second: tuple[Participant, ...]
) -> None:
    room = carry.with_participants(carry.with_participants(ROOM, first, 10.0), second, 20.0)

    def last(is_one: list[bool], was_one: list[bool]) -> float | None:
        return 20.0 if any(is_one) else 10.0 if any(was_one) else None

    assert room.people_at == last([p.is_person for p in second], [p.is_person for p in first])
    assert room.agent_at == last([p.is_agent for p in second], [p.is_agent for p in first])


@given(lists, st.integers(0, 3), st.text(max_size=3))
def test_a_new_listing_changes_nothing_that_was_read(
    read: tuple[Participant, ...], reported: int, metadata: str
) -> None:
    room = carry.with_trouble(carry.with_participants(ROOM, read, 10.0), "no answer")
    listed = replace(ROOM, reported_people=reported, metadata=metadata)
    after = carry.relisted(room, listed)
    assert after == replace(room, reported_people=reported, metadata=metadata)
    assert (after is room) == (listed == ROOM)
    assert carry.relisted(after, listed) is after


times = st.none() | st.floats(1.0, 1e9)


@given(lists, lists, times, times)
def test_what_probes_told_of_an_agent_outlasts_whatever_is_read_next(
    first: tuple[Participant, ...],
    second: tuple[Participant, ...],
    answered_at: float | None,
    silent_since: float | None,
) -> None:
    room = carry.with_participants(ROOM, first, 10.0)
    for sid in carry.agent_sids(room):
        room = carry.with_probe(room, sid, answered_at=answered_at, silent_since=silent_since)
    after = carry.with_participants(room, second, 20.0)
    for found in after.agents:
        was_told = found.participant.sid in carry.agent_sids(room)
        told = (found.facts.answered_at, found.facts.silent_since)
        assert told == ((answered_at, silent_since) if was_told else (None, None))


@given(lists, times, times)
def test_a_probe_changes_its_agent_alone_and_nothing_where_it_tells_nothing_new(
    read: tuple[Participant, ...], answered_at: float | None, silent_since: float | None
) -> None:
    room = carry.with_participants(ROOM, read, 10.0)
    for asked in read:
        after = carry.with_probe(room, asked.sid, answered_at=answered_at, silent_since=silent_since)
        if asked.agent is None or (answered_at, silent_since) == (None, None):
            assert after is room
            continue
        changed = [
            now.sid
            for was, now in zip(room.participants or (), after.participants or (), strict=True)
            if was is not now
        ]
        assert changed == [asked.sid]
        assert after.checked_at == room.checked_at
        assert carry.with_probe(after, asked.sid, answered_at=answered_at, silent_since=silent_since) is after
    assert carry.with_probe(room, "PA_gone", answered_at=1.0, silent_since=1.0) is room


def test_a_silence_leaves_the_last_answer_and_an_answer_ends_a_silence() -> None:
    room = carry.with_participants(ROOM, [agent("bot")], 10.0)
    room = carry.with_probe(room, "PA_bot", answered_at=20.0, silent_since=None)
    room = carry.with_probe(room, "PA_bot", answered_at=None, silent_since=30.0)
    assert (room.agents[0].facts.answered_at, room.agents[0].facts.silent_since) == (20.0, 30.0)
    room = carry.with_probe(room, "PA_bot", answered_at=40.0, silent_since=None)
    assert (room.agents[0].facts.answered_at, room.agents[0].facts.silent_since) == (40.0, None)


def test_an_agent_that_joins_anew_has_answered_nothing_yet() -> None:
    room = carry.with_participants(ROOM, [agent("bot")], 10.0)
    room = carry.with_probe(room, "PA_bot", answered_at=20.0, silent_since=30.0)
    room = carry.with_participants(room, [replace(agent("bot"), sid="PA_another")], 40.0)
    assert (room.agents[0].facts.answered_at, room.agents[0].facts.silent_since) == (None, None)


def test_agents_that_publish_something_new_or_have_joined_are_named_and_no_others() -> None:
    before = carry.with_participants(ROOM, [person("ann"), agent("bot"), agent("ant")], 10.0)
    before = carry.with_probe(before, "PA_ant", answered_at=15.0, silent_since=None)
    read = [person("bob"), agent("bot", "thinking"), agent("ant"), agent("new")]
    after = carry.with_participants(before, read, 20.0)
    assert list(carry.newly_published(before, after)) == ["PA_bot", "PA_new"]
    assert list(carry.newly_published(ROOM, before)) == [], "who was there before the first reading is not known"


def test_only_agents_that_have_joined_can_be_probed() -> None:
    joining = replace(agent("ant"), state=ParticipantState.JOINED)
    room = carry.with_participants(ROOM, [person("ann"), agent("bot"), joining], 10.0)
    assert list(carry.probed_agents(room)) == ["PA_bot"]


def test_equal_dispatches_stay_the_same_objects() -> None:
    before = carry.with_dispatches(ROOM, [dispatch_of("ann"), dispatch_of("bob")], 10.0)
    after = carry.with_dispatches(before, [dispatch_of("ann"), dispatch_of("bob")], 20.0)
    assert after.dispatches is before.dispatches
    assert after.dispatches_at == 20.0
    fewer = carry.with_dispatches(after, [dispatch_of("bob")], 30.0)
    assert fewer.dispatches is not None
    assert before.dispatches is not None
    assert fewer.dispatches[0] is before.dispatches[1]


def test_the_same_trouble_again_is_nothing_new() -> None:
    room = carry.with_trouble(ROOM, "no answer")
    assert carry.with_trouble(room, "no answer") is room
    assert carry.with_trouble(room, "") == ROOM


def test_that_a_session_has_closed_outlasts_a_reading_and_ends_when_it_answers() -> None:
    room = carry.with_participants(ROOM, [agent("bot"), person("ann")], 10.0)
    closed = carry.with_session(room, "PA_bot", 15.0)
    assert carry.with_session(closed, "PA_bot", 15.0) is closed
    assert closed.participant("PA_ann") is room.participant("PA_ann")
    again = carry.with_participants(closed, [agent("bot", "thinking"), person("ann")], 20.0)
    assert again.agents[0].facts.closed_since == 15.0
    assert carry.with_session(again, "PA_bot", None).agents[0].facts.closed_since is None
    assert carry.with_session(room, "PA_gone", 15.0) is room
    assert carry.with_session(room, "PA_ann", 15.0) is room
