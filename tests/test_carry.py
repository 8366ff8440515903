"""What a room keeps from one reading to the next."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from tests.fake_gateway import agent, dispatch_of, person
from tui.model import carry
from tui.model.room import Participant, Room
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
    return participant if facts is None else replace(participant, agent=replace(facts, state_since=None))


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
