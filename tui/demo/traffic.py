"""Who calls the company, for how long, and how calls end when all goes well."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from random import Random

from tui.demo.agents import BILLING, CLOSER, FRONTDESK, INTAKE, Agents, Staff
from tui.demo.names import Names
from tui.demo.rooms import Agent, Kind, Participant, Room, Rooms
from tui.demo.timeline import Timeline

LONGEST_CALL_S = 720.0
_SHORTEST_CALL_S = 30.0
_BEAT_S = 0.25
_ANSWERED_WITHIN_S = 6.0
"""After a room has closed, the next call comes within this time."""
_ODD_NAME = 0.06
_SECOND_PERSON = 0.15
_REJOINS = 0.85


@dataclass(frozen=True, slots=True)
class Line:
    """A way to reach the company: how its rooms are named, whose agents answer, and whether people call by phone."""

    prefix: str
    staff: Staff
    phone: bool
    share: float


LINES = (
    Line("support", FRONTDESK, phone=True, share=0.4),
    Line("sales", CLOSER, phone=False, share=0.25),
    Line("intake", INTAKE, phone=False, share=0.2),
    Line("billing", BILLING, phone=True, share=0.15),
)


@dataclass(slots=True, eq=False)
class Call:
    """A room in use. It ends at `until` (seconds since 1970), which may be moved; `identities` are its people's."""

    line: Line
    room: Room
    until: float
    identities: list[str] = field(default_factory=list)
    over: bool = False

    @property
    def agent(self) -> Agent | None:
        """Its agent, if one serves it."""
        return next((agent for agent in self.room.agents if agent.is_serving), None)

    @property
    def is_healthy(self) -> bool:
        """Whether somebody is in it and served."""
        return not self.over and self.room.emptied_at is None and self.agent is not None


@dataclass(frozen=True, slots=True)
class Load:
    """How much traffic. `people` in every room, or None for one and sometimes two; `churn` is the share of rooms that
    end and are replaced in a second, or None for calls of 30 s to 12 minutes.
    """

    rooms: int
    people: int | None = None
    churn: float | None = None


class Traffic:
    """Keeps about as many rooms open as the load says, by new calls for those that end."""

    def __init__(self, rooms: Rooms, agents: Agents, timeline: Timeline, names: Names, rng: Random, load: Load) -> None:
        self.calls: dict[str, Call] = {}
        """The calls going on, by room SID."""
        self._rooms = rooms
        self._agents = agents
        self._timeline = timeline
        self._names = names
        self._rng = rng
        self._load = load
        self._expected = 0

    def history_s(self) -> float:
        """How long before the first look the calls of that moment may have begun."""
        return LONGEST_CALL_S if self._load.churn is None else 1.5 / self._load.churn

    def start(self, now: float, rooms: int) -> None:
        """`rooms` calls in progress at `now`, and new ones from then on. To be called `history_s` before."""
        for _ in range(rooms):
            # a call that one looks in on is rather a long one: short ones are seldom there when one looks
            length = max(self._length(), self._length())
            age = self._rng.uniform(0.0, length)
            self._timeline.at(now - age, self.open, length)
        self._timeline.at(now, self._beat)

    def open(self, length: float | None = None, line: Line | None = None, *, answered: bool = True) -> Call:
        """A call comes in, for `length` seconds; its dispatch is `answered` by a worker, or left alone."""
        call = self.open_room(length, line)
        for _ in range(self._load.people or 1):
            self.join(call)
        if self._load.people is None and self._rng.random() < _SECOND_PERSON:
            self._timeline.after(self._rng.uniform(5.0, 40.0), self._join_colleague, call)
        if answered:
            self._agents.answer_all(call.room)
        return call

    def open_room(self, length: float | None = None, line: Line | None = None) -> Call:
        """A call's room, with nobody in it yet."""
        line = line or self._rng.choices(LINES, [line.share for line in LINES])[0]
        name = self._names.odd_room() if self._rng.random() < _ODD_NAME else ""
        if not name or name in self._rooms.by_name:
            name = self._names.room(line.prefix)
        while name in self._rooms.by_name:
            name = self._names.room(line.prefix)
        room = self._rooms.open(name, (line.staff.dispatch_name,), metadata=json.dumps({"line": line.prefix}))
        call = self.calls[room.info.sid] = Call(line, room, 0.0)
        self.end_at(call, self._timeline.now + (length or self._length()))
        return call

    def join(self, call: Call) -> None:
        """Somebody comes into the call, by phone or from the web as its line has it."""
        if call.room.closed:
            return
        if call.line.phone:
            number = self._names.phone_number()
            identity, name = f"sip_{number}", f"Phone {number}"
            attributes = {
                "sip.phoneNumber": number,
                "sip.callID": self._names.sid("SCL"),
                "sip.callStatus": "active",
                "sip.trunkPhoneNumber": "+12025550100",
            }
            self._rooms.join_person(call.room, identity, Kind.SIP, name=name, attributes=attributes)
        else:
            identity, name = self._names.person()
            self._rooms.join_person(call.room, identity, Kind.STANDARD, name=name)
        call.identities.append(identity)

    def end_at(self, call: Call, when: float) -> None:
        """Move the call's end."""
        call.until = when
        self._timeline.at(when, self._end, call)

    def hang_up(self, call: Call) -> None:
        """Its people leave. The room stays until its timeout."""
        call.over = True
        for identity in call.identities:
            person = call.room.participants.get(identity)
            if person is not None:
                self._rooms.leave(person)

    def kicked(self, person: Participant) -> None:
        """A kicked person mostly rejoins at once, with the token it has: LiveKit's kick is not a ban."""
        if self._rng.random() < _REJOINS:
            self._timeline.after(self._rng.uniform(1.0, 3.0), self._rejoin, person)

    def _rejoin(self, person: Participant) -> None:
        call = self.calls.get(person.room.info.sid)
        if call is None or call.over or person.room.closed or person.identity in person.room.participants:
            return
        self._rooms.join_person(
            person.room,
            person.identity,
            person.kind,
            name=person.name,
            muted=person.muted,
            attributes=person.attributes,
        )

    def _join_colleague(self, call: Call) -> None:
        if call.room.closed or call.over:
            return
        identity, name = self._names.person()
        self._rooms.join_person(call.room, identity, Kind.STANDARD, name=name, muted=True)
        call.identities.append(identity)

    def _length(self) -> float:
        if self._load.churn is not None:
            return self._rng.uniform(0.5, 1.5) / self._load.churn
        return _SHORTEST_CALL_S + (LONGEST_CALL_S - _SHORTEST_CALL_S) * self._rng.betavariate(1.2, 4.0)

    def _beat(self) -> None:
        self.calls = {sid: call for sid, call in self.calls.items() if not call.room.closed}
        missing = self._load.rooms - len(self._rooms.by_name) - self._expected
        for _ in range(missing):
            self._expected += 1
            wait = 0.0 if self._load.churn is not None else self._rng.uniform(0.5, _ANSWERED_WITHIN_S)
            self._timeline.after(wait, self._call_comes)
        self._timeline.after(_BEAT_S, self._beat)

    def _call_comes(self) -> None:
        self._expected -= 1
        self.open()

    def _end(self, call: Call) -> None:
        if call.over or call.room.closed or self._timeline.now < call.until:
            return
        call.over = True
        if self._load.churn is not None:
            self._rooms.close(call.room)
        elif call.agent is None:
            self._user_leaves(call)
        else:
            ends = (self._user_leaves, self._task_completes, self._code_shuts_down, self._code_deletes_room)
            self._rng.choices(ends, (0.5, 0.2, 0.1, 0.2))[0](call)

    def _user_leaves(self, call: Call) -> None:
        self.hang_up(call)
        for agent in call.room.agents:
            self._agents.close_session(agent, "participant_disconnected")
            self._timeline.after(self._rng.uniform(0.5, 4.0), self._agents.shut_down, agent, "caller left")

    def _task_completes(self, call: Call) -> None:
        self._timeline.after(self._rng.uniform(1.0, 3.0), self.hang_up, call)
        for agent in call.room.agents:
            self._agents.close_session(agent, "task_completed")
            self._timeline.after(self._rng.uniform(2.0, 4.5), self._agents.shut_down, agent, "task completed")

    def _code_shuts_down(self, call: Call) -> None:
        reason = self._rng.choice(("transferred to a person", "voicemail reached", "goodbye said"))
        for agent in call.room.agents:
            self._agents.shut_down(agent, reason)
        self._timeline.after(self._rng.uniform(2.0, 6.0), self.hang_up, call)

    def _code_deletes_room(self, call: Call) -> None:
        for agent in call.room.agents:
            self._agents.close_session(agent, "task_completed")
        self._timeline.after(self._rng.uniform(1.0, 3.0), self._rooms.close, call.room)
