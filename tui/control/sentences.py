"""What a dialog says about who is ended, who stays, and what may go wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable

from tui.model.phrases import count, who_counts
from tui.model.room import Agent, Job, Kind, Participant, Room

JUST_JOINED_S = 5.0
"""An agent that joined less than this many seconds ago may still be starting, and then undoes a delete."""

_ROOM_GONE = "The room is gone after."


def all_disconnected(room: Room) -> str:
    """Who loses the connection with the room's end, hidden participants too."""
    if room.participants is None:
        counted = count(room.reported_people, "person", "people")
        unknown = f"Who that is is not known yet: LiveKit counts {counted}, and leaves agents out."
        return f"Everyone in it will be disconnected. {unknown} {_ROOM_GONE}"
    if all(who.is_our_observer for who in room.participants):
        return f"Nobody is in it. {_ROOM_GONE}"
    return f"{disconnected(room.participants)} {_ROOM_GONE}"


def disconnected(those: Iterable[Participant], where: str = "") -> str:
    """Which of those lose the connection, and `where`: all but our own observers, hidden participants too."""
    here = [who for who in those if not who.is_our_observer]
    hidden = Counter(who.kind.value for who in here if who.hidden)
    said = []
    if not here or hidden.total() < len(here):
        said.append(f"{capital(who_counts(here))}{where} will be disconnected.")
    if hidden:
        number = count(hidden.total(), "hidden participant")
        too = " will be disconnected too." if said else f"{where} will be disconnected."
        said.append(f"{number} ({listed(sorted(hidden))}){too}")
    return " ".join(said)


def who_stays(room: Room, ended: Iterable[Participant]) -> list[str]:
    """Who is left in the room; nothing if nobody is."""
    gone = {who.sid for who in ended}
    others = [who for who in room.participants or () if who.sid not in gone and not who.hidden]
    if not others:
        return []
    return [f"{capital(who_counts(others))} {'stays' if len(others) == 1 else 'stay'} in the room."]


def left_without_agent(room: Room, ended: Collection[Agent]) -> list[str]:
    """A warning, if people stay and these were the last agents."""
    if not room.people or len(ended) < len(room.agents):
        return []
    return [f"{capital(who_counts(room.people))} will be without an agent: none comes by itself, dispatch one."]


def may_come_back(room: Room, now: float) -> list[str]:
    """A warning for each starting agent: in mid-join it brings a deleted room back (seen 6 times of 6, 1.13.5)."""
    said = []
    for agent in room.agents:
        since = now - agent.participant.joined_at
        if since < JUST_JOINED_S:
            said.append(f"{agent.name} joined {max(0, int(since))} s ago: a starting agent can bring the room back.")
        elif agent.facts.state == "initializing":
            said.append(f"{agent.name} is still initializing: a starting agent can bring the room back.")
    return said


def what_ends_with(who: Participant) -> str:
    """What else ends when this participant is disconnected, to follow `will be disconnected`."""
    match who.kind:
        case Kind.SIP:
            return ": the phone call ends"
        case Kind.EGRESS:
            return ": its recording or stream ends"
        case Kind.INGRESS:
            return ": its incoming stream ends"
        case _:
            return ""


def job_words(job: Job, agents: Iterable[Agent]) -> str:
    """Whose job it is. A job stays listed after its agent has gone."""
    agent = next((a for a in agents if a.participant.identity.raw == job.identity.raw), None)
    return f"{agent.name} ({job.id})" if agent is not None else f"{job.id}, whose agent is not here"


def listed(words: Iterable[str]) -> str:
    """`a`, `a and b`, `a, b and c`; there must be one."""
    *head, tail = words
    return f"{', '.join(head)} and {tail}" if head else tail


def capital(words: str) -> str:
    """The words as they begin a sentence."""
    return words[:1].upper() + words[1:]
