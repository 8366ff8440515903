"""What goes wrong: a bounded mix of troubles that come, are seen for a while, and mostly get resolved."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from random import Random

from tui.demo.agents import CONNECTION_TIMEOUT_S, Agents, Failure
from tui.demo.rooms import DEPARTURE_TIMEOUT_S, Agent, Process, Room, Rooms
from tui.demo.timeline import Timeline
from tui.demo.traffic import LINES, Call, Traffic

SHARE = 0.18
"""At most this share of the rooms is in trouble, or as many rooms as `ALWAYS` has kinds, if that is more."""

_PACE_S = (1.5, 4.0)
_USUAL_ROOMS = 40
_LEAD_S = 15.0
"""How long a call that the first scene needs had been going on before its trouble began."""
_BEGAN_S = (35.0, 60.0)
"""How long before the first scene its troubles began."""
HISTORY_S = _BEGAN_S[1] + _LEAD_S
"""How long before the first scene the director must be started."""
_MISSED = 0.6
"""How often a kind in `ALWAYS` that is missing comes next; otherwise any kind may."""
_RESOLVED = 0.5
"""The share of troubles that end well."""

_FAILURES = (
    Failure("APIStatusError", "LLM", "429 Too Many Requests: tokens per minute exceeded (attempts=4)"),
    Failure("APIConnectionError", "LLM", "Connection error. (body=None, retryable=True)"),
    Failure("APITimeoutError", "TTS", "Request timed out after 10.0 s"),
    Failure("APIStatusError", "STT", "401 Unauthorized: the API key has expired"),
)


class Trouble(StrEnum):
    """The kinds of trouble."""

    WAITING = "waiting"
    """people, and no agent came"""
    ALONE = "alone"
    """an agent, and nobody came"""
    ERROR = "error"
    """the session closed on an error, and the agent stays"""
    STUCK = "stuck"
    """the agent thinks for ever"""
    HUNG = "hung"
    """the agent's process hangs: it answers nothing, and is gone after 21 s"""
    DOUBLE = "double"
    """two agents of one name"""
    LATE = "late"
    """the agent comes after 25 to 40 s"""
    CRASH = "crash"
    """the agent's process died: it stays listed for 21 s"""
    LEFT = "left"
    """the caller left, and the agent stays with its session closed until the room's timeout"""
    EXIT = "exit"
    """the agent shut itself down, with somebody still there"""


_NEW = (Trouble.WAITING, Trouble.ALONE, Trouble.LATE)
"""Troubles that a call is born with."""

ALWAYS = (Trouble.WAITING, Trouble.ALONE, Trouble.ERROR, Trouble.STUCK, Trouble.HUNG, Trouble.DOUBLE)
"""There from the first second, and staged again before others when they are missing."""


_LASTS_S = {
    Trouble.WAITING: (25.0, 60.0),
    Trouble.ALONE: (45.0, 75.0),
    Trouble.ERROR: (20.0, 50.0),
    Trouble.STUCK: (40.0, 70.0),
    Trouble.HUNG: (CONNECTION_TIMEOUT_S, CONNECTION_TIMEOUT_S),
    Trouble.DOUBLE: (20.0, 45.0),
    Trouble.LATE: (25.0, 40.0),
    Trouble.CRASH: (CONNECTION_TIMEOUT_S, CONNECTION_TIMEOUT_S),
    Trouble.LEFT: (DEPARTURE_TIMEOUT_S, DEPARTURE_TIMEOUT_S),
    Trouble.EXIT: (20.0, 50.0),
}


@dataclass(frozen=True, slots=True)
class Running:
    """A trouble going on in a room, over at `until` (seconds since 1970) or with the room."""

    trouble: Trouble
    room: Room
    until: float


class Director:
    """Stages the troubles."""

    def __init__(
        self, rooms: Rooms, agents: Agents, traffic: Traffic, timeline: Timeline, rng: Random, room_count: int
    ) -> None:
        self.limit = max(len(ALWAYS), int(room_count * SHARE))
        """How many rooms may be in trouble at one time."""
        self._rooms = rooms
        self._agents = agents
        self._traffic = traffic
        self._timeline = timeline
        self._rng = rng
        self._pace = min(1.0, _USUAL_ROOMS / max(room_count, 1))
        self._running: dict[str, Running] = {}
        self._with_agent: dict[Trouble, Callable[[Call, Agent, float], None]] = {
            Trouble.ERROR: self._error,
            Trouble.STUCK: self._stuck,
            Trouble.HUNG: self._hung,
            Trouble.DOUBLE: self._double,
            Trouble.CRASH: self._crash,
            Trouble.LEFT: self._left,
            Trouble.EXIT: self._exit,
        }

    def start(self, now: float) -> None:
        """One trouble of each kind in `ALWAYS` at `now`, and new ones later. To be called `HISTORY_S` before."""
        for trouble in ALWAYS:
            hung = trouble is Trouble.HUNG
            ago = 3.0 if hung else self._rng.uniform(*_BEGAN_S)
            lasts = CONNECTION_TIMEOUT_S if hung else ago + self._rng.uniform(45.0, 90.0)
            lead = 0.0 if trouble in _NEW else _LEAD_S
            self._timeline.at(now - ago - lead, self._stage_on_new_call, trouble, lasts, lead)
        self._timeline.at(now + self._rng.uniform(*_PACE_S), self._step)

    def running(self) -> list[Running]:
        """The troubles going on, one a room."""
        now = self._timeline.now
        self._running = {sid: one for sid, one in self._running.items() if not one.room.closed and now < one.until}
        return list(self._running.values())

    def _step(self) -> None:
        on = Counter(one.trouble for one in self.running())
        if on.total() < self.limit:
            missing = [kind for kind in ALWAYS if not on[kind]]
            trouble = self._rng.choice(missing if missing and self._rng.random() < _MISSED else list(Trouble))
            lasts = self._rng.uniform(*_LASTS_S[trouble])
            if trouble in _NEW:
                self._stage_on_new_call(trouble, lasts, 0.0)
            else:
                self._stage_on_some_call(trouble, lasts)
        self._timeline.after(self._rng.uniform(*_PACE_S) * self._pace, self._step)

    def _stage_on_new_call(self, trouble: Trouble, lasts: float, lead: float) -> None:
        length = lead + lasts + self._more()
        line = self._rng.choice([line for line in LINES if line.staff.helper])
        if trouble is Trouble.ALONE:
            self._alone(self._traffic.open_room(length, line), lasts)
        elif trouble is Trouble.WAITING:
            self._waiting(self._traffic.open(length, line, answered=False), lasts)
        elif trouble is Trouble.LATE:
            self._late(self._traffic.open(length, line, answered=False), lasts)
        else:
            self._timeline.after(lead, self._stage, trouble, self._traffic.open(length, line), lasts)

    def _stage_on_some_call(self, trouble: Trouble, lasts: float) -> None:
        calls = [
            call
            for sid, call in self._traffic.calls.items()
            # an agent without the helper can't say that its session closed: that trouble would not be seen
            if sid not in self._running and call.is_healthy and (call.line.staff.helper or trouble is not Trouble.ERROR)
        ]
        if calls:
            self._stage(trouble, self._rng.choice(calls), lasts)

    def _stage(self, trouble: Trouble, call: Call, lasts: float) -> None:
        agent = call.agent
        if agent is not None:
            self._mark(trouble, call, lasts)
            self._with_agent[trouble](call, agent, lasts)

    def _mark(self, trouble: Trouble, call: Call, lasts: float) -> None:
        self._running[call.room.info.sid] = Running(trouble, call.room, self._timeline.now + lasts)

    def _more(self) -> float:
        return self._rng.uniform(40.0, 200.0)

    def _waiting(self, call: Call, lasts: float) -> None:
        """Somebody waits; then a supervisor dispatches another agent, or they give up."""
        self._mark(Trouble.WAITING, call, lasts)
        resolved = self._rng.random() < _RESOLVED
        self._traffic.end_at(call, self._timeline.now + lasts + (self._more() if resolved else 0.0))
        if resolved:
            self._timeline.after(lasts, self._send_agent, call)

    def _send_agent(self, call: Call) -> None:
        if not call.room.closed and call.agent is None:
            self._agents.answer(call.room, self._rooms.dispatch(call.room, call.line.staff.dispatch_name))

    def _late(self, call: Call, lasts: float) -> None:
        self._mark(Trouble.LATE, call, lasts)
        for dispatch in call.room.dispatches.values():
            self._agents.answer(call.room, dispatch, lasts)

    def _alone(self, call: Call, lasts: float) -> None:
        """The agent waits; then somebody comes after all, or its code gives up and deletes the room."""
        self._mark(Trouble.ALONE, call, lasts)
        self._agents.answer_all(call.room)
        if self._rng.random() < _RESOLVED:
            self._timeline.after(lasts, self._traffic.join, call)
        else:
            self._timeline.after(lasts, self._rooms.close, call.room)

    def _error(self, call: Call, agent: Agent, lasts: float) -> None:
        self._agents.close_session(agent, "error", failure=self._rng.choice(_FAILURES))
        self._traffic.end_at(call, self._timeline.now + lasts)

    def _stuck(self, call: Call, agent: Agent, lasts: float) -> None:
        """The agent's model answers after all; the call goes on."""
        self._agents.stall(agent, lasts)
        self._traffic.end_at(call, self._timeline.now + lasts + self._more())

    def _hung(self, call: Call, agent: Agent, lasts: float) -> None:
        self._freeze(call, agent, lasts, Process.HUNG)

    def _crash(self, call: Call, agent: Agent, lasts: float) -> None:
        self._freeze(call, agent, lasts, Process.DEAD)

    def _freeze(self, call: Call, agent: Agent, lasts: float, process: Process) -> None:
        self._agents.freeze(agent, process)
        wait = self._rng.uniform(*_LASTS_S[Trouble.EXIT])
        self._traffic.end_at(call, self._timeline.now + lasts + wait)
        self._timeline.after(lasts, self._waiting, call, wait)

    def _double(self, call: Call, agent: Agent, lasts: float) -> None:
        """A second agent comes; then the first one's code sees that, and shuts down."""
        dispatch = self._rooms.dispatch(call.room, call.line.staff.dispatch_name)
        self._agents.answer(call.room, dispatch)
        self._traffic.end_at(call, self._timeline.now + lasts + self._more())
        self._timeline.after(lasts, self._agents.shut_down, agent, "another agent is here")

    def _left(self, call: Call, agent: Agent, lasts: float) -> None:
        del lasts  # the room's timeout says how long
        self._traffic.hang_up(call)
        self._agents.close_session(agent, "participant_disconnected")

    def _exit(self, call: Call, agent: Agent, lasts: float) -> None:
        self._agents.shut_down(agent, "unhandled tool error")
        self._waiting(call, lasts)
