"""What a room keeps when part of it is read again: the newest reading laid over everything known before.

Unchanged things stay the *same objects*: everything downstream takes identity for "nothing changed here".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from tui.model.room import Dispatch, Participant, ParticipantState, Room


def relisted(room: Room, listed: Room) -> Room:
    """`room` as ListRooms has it now (`listed`), with all that was read of it; the same object if nothing moved."""
    if (
        room.name == listed.name
        and room.created_at == listed.created_at
        and room.metadata == listed.metadata
        and not hints_of_change(room, listed)
    ):
        return room
    return replace(
        room,
        name=listed.name,
        created_at=listed.created_at,
        reported_people=listed.reported_people,
        reported_publishers=listed.reported_publishers,
        metadata=listed.metadata,
    )


def hints_of_change(room: Room, listed: Room) -> bool:
    """Whether the listing suggests that the room's participants are others than those last read."""
    return (
        room.reported_people != listed.reported_people
        or room.reported_publishers != listed.reported_publishers
        or room.metadata != listed.metadata
    )


def with_participants(room: Room, read: Iterable[Participant], at: float) -> Room:
    """`room` with its participants as `read` at `at` (seconds since 1970)."""
    before = {participant.sid: participant for participant in room.participants or ()}
    now = tuple(_continued(before.get(participant.sid), participant, at) for participant in read)
    if room.participants is not None and _same_objects(room.participants, now):
        now = room.participants
    return replace(
        room,
        participants=now,
        checked_at=at,
        people_at=at if any(participant.is_person for participant in now) else room.people_at,
        agent_at=at if any(participant.is_agent for participant in now) else room.agent_at,
    )


def with_dispatches(room: Room, read: Iterable[Dispatch], at: float) -> Room:
    """`room` with its dispatches as `read` at `at` (seconds since 1970)."""
    before = {dispatch.id: dispatch for dispatch in room.dispatches or ()}
    now = tuple(was if (was := before.get(dispatch.id)) == dispatch else dispatch for dispatch in read)
    if room.dispatches is not None and _same_objects(room.dispatches, now):
        now = room.dispatches
    return replace(room, dispatches=now, dispatches_at=at)


def with_probe(room: Room, agent_sid: str, *, answered_at: float | None, silent_since: float | None) -> Room:
    """`room` with what a probe of this agent told; the same object where that is nothing new, or the agent is gone.

    `answered_at` is when it answered, None if it didn't; `silent_since` since when it doesn't, None if it does. Each
    answer makes a new participant: no more of these a minute than the budget has requests.
    """
    was = room.participant(agent_sid)
    if was is None or was.agent is None:
        return room
    facts = replace(was.agent, silent_since=silent_since)
    if answered_at is not None:
        facts = replace(facts, answered_at=answered_at)
    if facts == was.agent:
        return room
    now = replace(was, agent=facts)
    return replace(room, participants=tuple(now if one is was else one for one in room.participants or ()))


def with_session(room: Room, agent_sid: str, closed_since: float | None) -> Room:
    """`room` with what an observer found out of this agent's session: since when it has been closed, None if it
    answers. The same object where that is nothing new, or the agent is gone."""
    was = room.participant(agent_sid)
    if was is None or was.agent is None or was.agent.closed_since == closed_since:
        return room
    now = replace(was, agent=replace(was.agent, closed_since=closed_since))
    return replace(room, participants=tuple(now if one is was else one for one in room.participants or ()))


def with_trouble(room: Room, trouble: str) -> Room:
    """`room` with why its newest reading failed, or with none; the same object if that is nothing new."""
    return room if room.trouble == trouble else replace(room, trouble=trouble)


def with_ghost(room: Room, since: float | None) -> Room:
    """`room` with since when it is a ghost, None for one that isn't; the same object if that is nothing new."""
    return room if room.ghost_since == since else replace(room, ghost_since=since)


def agent_sids(room: Room) -> frozenset[str]:
    """The participant SIDs of its agents; none where its participants were never read."""
    return frozenset(participant.sid for participant in room.participants or () if participant.is_agent)


def probed_agents(room: Room) -> Iterator[str]:
    """The participant SIDs of the agents that can be probed: one that is still joining has no data channel yet."""
    for participant in room.participants or ():
        if participant.is_agent and participant.state is ParticipantState.ACTIVE:
            yield participant.sid


def newly_published(before: Room, after: Room) -> Iterator[str]:
    """The participant SIDs of the agents that say something else of themselves in `after`, or have joined since."""
    if before.participants is None:
        return
    for participant in after.participants or ():
        was = before.participant(participant.sid)
        if participant.is_agent and (was is None or was.agent != participant.agent):
            yield participant.sid


def _continued(was: Participant | None, now: Participant, at: float) -> Participant:
    """`now` with what its lists don't tell of its agent: since when it is in its state, and what its probes told; `was`
    itself if it says the same."""
    if now.agent is not None:
        known = was.agent if was is not None else None
        if known is None:
            facts = replace(now.agent, state_since=at)
        else:
            facts = replace(
                now.agent,
                state_since=known.state_since if known.state == now.agent.state else at,
                answered_at=known.answered_at,
                silent_since=known.silent_since,
                closed_since=known.closed_since,
            )
        now = replace(now, agent=facts)
    return was if was is not None and was == now else now


def _same_objects(some: tuple[object, ...], others: tuple[object, ...]) -> bool:
    return len(some) == len(others) and all(one is other for one, other in zip(some, others, strict=True))
