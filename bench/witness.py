"""A demo server that remembers what was changed on it through its API, and a world in which names are used again."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from tui.demo import World
from tui.demo.rooms import Agent, Dispatch, Session
from tui.model.action import Action, ActionRecord, Outcome


@dataclass(frozen=True, slots=True)
class Hit:
    """A change that the server carried out. `participant_sid` is empty where it was the room's, or a dispatch's."""

    method: str
    room_sid: str
    participant_sid: str = ""


class WitnessedWorld(World):
    """A demo world; `hits` are the changes that were asked of it from outside, in their order."""

    def __init__(self, seed: int, rooms: int) -> None:
        super().__init__(seed, rooms)
        self._chance = Random(seed)  # noqa: S311 - it has to be repeatable
        self.hits: list[Hit] = []

    def churn(self) -> None:
        """What makes a name point at something else: a room ends and another one is opened under its name at once, or
        a participant leaves and comes back under the same identity."""
        room = self._chance.choice(self.rooms())
        people = room.people
        if people and self._chance.random() < 0.5:
            super().remove_participant(room.name, self._chance.choice(people).identity)
        else:
            super().delete_room(room.name)
            super().create_room(room.name)

    # Asked for from outside

    def remove_participant(self, room_name: str, identity: str) -> None:
        who = self.participant(room_name, identity)
        self.hits.append(Hit("RemoveParticipant", who.room.info.sid, who.sid))
        super().remove_participant(room_name, identity)

    def delete_room(self, name: str) -> None:
        self.hits += [Hit("DeleteRoom", room.info.sid) for room in self.rooms([name])]
        super().delete_room(name)

    def create_dispatch(self, room_name: str, agent_name: str, metadata: str = "") -> Dispatch:
        self.hits += [Hit("CreateDispatch", room.info.sid) for room in self.rooms([room_name])]
        return super().create_dispatch(room_name, agent_name, metadata)

    def delete_dispatch(self, room_name: str, dispatch_id: str) -> Dispatch:
        self.hits += [Hit("DeleteDispatch", room.info.sid) for room in self.rooms([room_name])]
        return super().delete_dispatch(room_name, dispatch_id)

    def close_session(self, agent: Agent, by: str) -> Session:
        self.hits.append(Hit("close_session", agent.room.info.sid, agent.sid))
        return super().close_session(agent, by)

    def shut_down_job(self, agent: Agent, by: str) -> None:
        self.hits.append(Hit("shut_down_job", agent.room.info.sid, agent.sid))
        super().shut_down_job(agent, by)

    # What is true just now

    def contradicts(self, record: ActionRecord) -> str:
        """What this world has to say against how the action is said to have ended, at that moment; or nothing."""
        target = record.target
        rooms = {room.info.sid: room for room in self.rooms()}
        room = rooms.get(target.room_sid)
        here = room.participants.values() if room is not None else ()
        who = next((who for who in here if who.sid == target.participant_sid), None)
        match record.outcome, record.action:
            case Outcome.REFUSED, _:
                return "a change was sent" if record.sent else ""
            case Outcome.CONFIRMED, Action.DELETE_ROOM | Action.TEAR_DOWN:
                return "the room is there" if room is not None else ""
            case Outcome.CONFIRMED, Action.KICK | Action.SHUT_DOWN_JOB:
                return "the participant is there" if who is not None else ""
            case Outcome.CONFIRMED, Action.CLOSE_SESSION:
                is_open = isinstance(who, Agent) and who.session is not Session.CLOSED
                return "the session is open" if is_open else ""
        return ""
