"""What polling sees: the difference between two pictures, as sightings. Pure.

A room that was not read again is the same object in both, and costs one comparison.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

from tui.model.evidence import Evidence, Fact, Sighting, Source, probed, published
from tui.model.room import Agent, Participant, Room, SessionState
from tui.model.snapshot import Snapshot


def changes(before: Snapshot, after: Snapshot, *, away: bool = False) -> Iterator[Sequence[Sighting]]:
    """What `after` shows that `before` didn't, of everything that can be evidence for a session's end.

    Room by room, so that whoever has something else to do can do it in between; of most there is nothing to tell.
    `away` says that the server could not be asked between the two, so that it may itself be what ended things.
    """
    for sid, was in before.rooms.items():
        now = after.rooms.get(sid)
        if now is None:
            yield tuple(_gone(was, after.at, away=away))
        else:
            yield tuple(_changed(was, now)) if now is not was else ()
    for sid, now in after.rooms.items():
        yield tuple(_said(now, now.participants or (), now.checked_at or after.at)) if sid not in before.rooms else ()


def _gone(was: Room, at: float, *, away: bool) -> Iterator[Sighting]:
    ended = [Evidence(at, Source.POLLING, Fact.ROOM_ENDED), _why_gone(was, at)]
    if away:
        ended.append(Evidence(at, Source.POLLING, Fact.SERVER_AWAY))
    yield Sighting(was.name, was.sid, tuple(ended))
    for agent in was.agents:
        yield _left(was, agent, at)


def _why_gone(was: Room, at: float) -> Evidence:
    """Whether LiveKit can have closed the room by itself: not while people were in it a moment ago."""
    since, timeout = was.people_at, was.departure_timeout
    if since is None:
        since, timeout = was.created_at, was.empty_timeout
    # It was gone at the latest at `at`, so it had been empty for no longer than this. LiveKit counts in whole seconds
    # of its clock (`CloseIfEmpty`): a room made at 0.9 s that may be empty for 25 s closes at 25.0 s.
    due = math.floor(at) - math.floor(since) >= timeout
    return Evidence(since, Source.POLLING, Fact.ROOM_DUE if due else Fact.ROOM_NOT_DUE)


def _changed(was: Room, now: Room) -> Iterator[Sighting]:
    if was.participants is None or now.participants is None or now.participants is was.participants:
        if now.checked_at != was.checked_at:
            yield from _stayed(was, now)
        return
    at = now.checked_at or 0.0
    here = {participant.sid: participant for participant in now.participants}
    for person in was.people:
        if person.sid not in here:
            left = Evidence(at, Source.POLLING, Fact.PERSON_LEFT, who=person.identity.safe)
            yield Sighting(now.name, now.sid, (left,))
    known = {participant.sid: participant for participant in was.participants}
    yield from _said(now, (p for p in now.participants if known.get(p.sid) is not p), at)
    yield from _stayed(was, now)
    for agent in was.agents:
        if agent.participant.sid not in here:
            yield _left(now, agent, at)


def _said(room: Room, participants: Iterable[Participant], at: float) -> Iterator[Sighting]:
    """What agents newly say in their attributes."""
    for participant in participants:
        if participant.is_agent and (evidence := tuple(published(participant, at))):
            yield Sighting(room.name, room.sid, evidence, room.agent(participant.sid))


def _stayed(was: Room, now: Room) -> Iterator[Sighting]:
    """Agents seen again after their session had closed; leaving takes one some 40 ms (livekit-agents 1.8.9)."""
    for participant in now.participants or ():
        facts = participant.agent
        if facts is None or facts.session is not SessionState.CLOSED or facts.shutdown is not None:
            continue
        earlier = was.participant(participant.sid)
        if earlier is not None and earlier.agent is not None and earlier.agent.session is SessionState.CLOSED:
            stayed = Evidence(now.checked_at or 0.0, Source.POLLING, Fact.AGENT_STAYED)
            yield Sighting(now.name, now.sid, (stayed,), now.agent(participant.sid))


def _left(room: Room, agent: Agent, at: float) -> Sighting:
    evidence = (*published(agent.participant, at), *probed(agent.participant))
    left = Evidence(at, Source.POLLING, Fact.AGENT_LEFT)
    return Sighting(room.name, room.sid, (*evidence, left), agent)
