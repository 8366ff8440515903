"""What a room keeps when part of it is read again: the newest reading laid over everything known before.

Unchanged things stay the *same objects*: everything downstream takes identity for "nothing changed here".
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from tui.model.room import Dispatch, Participant, Room


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


def with_trouble(room: Room, trouble: str) -> Room:
    """`room` with why its newest reading failed, or with none; the same object if that is nothing new."""
    return room if room.trouble == trouble else replace(room, trouble=trouble)


def agent_sids(room: Room) -> frozenset[str]:
    """The participant SIDs of its agents; none where its participants were never read."""
    return frozenset(participant.sid for participant in room.participants or () if participant.is_agent)


def _continued(was: Participant | None, now: Participant, at: float) -> Participant:
    """`now` with the time since when its agent's state is what it is; `was` itself if it says the same."""
    if now.agent is not None:
        same = was is not None and was.agent is not None and was.agent.state == now.agent.state
        since = was.agent.state_since if same and was is not None and was.agent is not None else at
        now = replace(now, agent=replace(now.agent, state_since=since))
    return was if was is not None and was == now else now


def _same_objects(some: tuple[object, ...], others: tuple[object, ...]) -> bool:
    return len(some) == len(others) and all(one is other for one, other in zip(some, others, strict=True))
