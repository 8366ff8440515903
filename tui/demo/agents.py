"""The agents' side: the workers that take dispatches, and what the processes they start do in a room.

Timings and ends are those of livekit-agents 1.8.9 on livekit-server 1.13.5, measured on loopback.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from random import Random

from tui.demo.names import Names
from tui.demo.rooms import Agent, Dispatch, Job, Process, Room, Rooms, Session
from tui.demo.timeline import Timeline

CONNECTION_TIMEOUT_S = 21.0
"""For how long LiveKit lists an agent whose process hangs or is dead."""

_CONNECT_S = 0.15
_CLOSE_S = 0.01
_LEAVE_S = 0.04
_LEAVE_HUNG_S = 4.4
_NEXT_LEAVES_S = 1.0
_NEXT_HUNG_LEAVES_S = 3.0

_TURN = {"listening": "thinking", "thinking": "speaking", "speaking": "listening"}
_LASTS_S = {"listening": (2.0, 9.0), "thinking": (0.4, 1.8), "speaking": (2.0, 8.0)}
_ALONE_LOOK_S = 2.0
"""With nobody to listen to, an agent goes on listening, and looks again after this."""


@dataclass(frozen=True, slots=True)
class Staff:
    """The workers of one agent name. `dispatch_name` is what they register as: empty for automatic workers.

    Automatic workers have no name on LiveKit; these give themselves `name` in their attributes.
    """

    name: str
    dispatch_name: str
    helper: bool
    workers: int


FRONTDESK = Staff("frontdesk", "", helper=True, workers=3)
CLOSER = Staff("closer", "closer", helper=True, workers=2)
INTAKE = Staff("intake", "intake", helper=True, workers=1)
BILLING = Staff("billing", "billing", helper=False, workers=1)
STAFF = (FRONTDESK, CLOSER, INTAKE, BILLING)


@dataclass(frozen=True, slots=True)
class Failure:
    """The error that ends a session: the exception's type, where it came from, and its text."""

    type: str
    source: str
    message: str


class Agents:
    """All workers, and all that their agents do."""

    def __init__(self, rooms: Rooms, timeline: Timeline, names: Names, rng: Random) -> None:
        self._rooms = rooms
        self._timeline = timeline
        self._rng = rng
        self._staff = {name: staff for staff in STAFF for name in (staff.name, staff.dispatch_name)}
        self._workers = {staff: [names.sid("AW") for _ in range(staff.workers)] for staff in STAFF}

    def answer(self, room: Room, dispatch: Dispatch, delay: float = 0.3) -> None:
        """A worker takes the dispatch and its agent is in the room in `delay` seconds, if there is a worker for it."""
        staff = self._staff.get(dispatch.agent_name)
        if staff is not None:
            self._timeline.after(max(0.0, delay - _CONNECT_S), self._take, room, dispatch, staff)

    def answer_all(self, room: Room) -> None:
        """Workers take every dispatch of a room that has just opened."""
        for dispatch in room.dispatches.values():
            self.answer(room, dispatch, self._rng.uniform(0.2, 1.0))

    def close_session(
        self, agent: Agent, reason: str, *, by: str | None = None, failure: Failure | None = None
    ) -> None:
        """Its session closes at once, for `reason` (a livekit-agents CloseReason). The agent stays."""
        if agent.gone or agent.session is Session.CLOSED or agent.process is not Process.RUNNING:
            return
        agent.session = Session.CLOSED
        agent.attributes["lk.agent.state"] = "listening"
        if agent.helper:
            error = failure and {"type": failure.type, "source": failure.source, "message": failure.message[:300]}
            report = {"reason": reason, "at": round(self._timeline.now, 3), "by": by, "error": error}
            agent.attributes["lk-tui.session"] = agent.session.value
            agent.attributes["lk-tui.close"] = json.dumps(report)

    def close_session_soon(self, agent: Agent, by: str) -> None:
        """`session.aclose()`, as an operator asks for it: closing now, closed within 10 ms."""
        if agent.session is Session.OPEN:
            agent.session = Session.CLOSING
            agent.attributes["lk-tui.session"] = agent.session.value
            self._timeline.after(_CLOSE_S, lambda: self.close_session(agent, "user_initiated", by=by))

    def shut_down(self, agent: Agent, reason: str, *, by: str | None = None) -> None:
        """`ctx.shutdown(reason)`: its session closes, then it leaves. Its dispatch stays."""
        if agent.gone or agent.process is not Process.RUNNING:
            return
        self.close_session(agent, "user_initiated", by=by)
        if agent.helper:
            report = {"reason": reason, "at": round(self._timeline.now, 3), "by": by}
            agent.attributes["lk-tui.shutdown"] = json.dumps(report)
        self._timeline.after(_LEAVE_S, self._rooms.leave, agent)

    def dismiss(self, room: Room, dispatch: Dispatch) -> None:
        """The dispatch was deleted: its agents leave, one after the other. A dead one stays until its time is out."""
        wait = 0.0
        identities = {job.identity for job in dispatch.jobs}
        for agent in room.agents:
            if agent.identity not in identities or agent.process is Process.DEAD:
                continue
            hung = agent.process is Process.HUNG
            self._timeline.after(wait + (_LEAVE_HUNG_S if hung else _LEAVE_S), self._rooms.leave, agent)
            wait += _NEXT_HUNG_LEAVES_S if hung else _NEXT_LEAVES_S

    def freeze(self, agent: Agent, process: Process) -> None:
        """Its process hangs or dies: it answers nothing, stays listed as it was, and is gone after 21 s."""
        agent.process = process
        self._timeline.after(CONNECTION_TIMEOUT_S, self._rooms.leave, agent)

    def stall(self, agent: Agent, seconds: float) -> None:
        """Its model does not answer: it is `thinking` for so long (longer than any turn lasts), and then goes on."""
        agent.stalled = True
        self._is_now(agent, "thinking")
        self._timeline.after(seconds, self._recover, agent)

    def _take(self, room: Room, dispatch: Dispatch, staff: Staff) -> None:
        if room.closed or dispatch.id not in room.dispatches:
            return
        job = self._rooms.take(dispatch, self._rng.choice(self._workers[staff]))
        self._timeline.after(_CONNECT_S, self._join, room, dispatch, job, staff)

    def _join(self, room: Room, dispatch: Dispatch, job: Job, staff: Staff) -> None:
        if room.closed or dispatch.id not in room.dispatches:
            return
        agent = self._rooms.join_agent(room, dispatch, job, name=staff.name, helper=staff.helper)
        if staff.helper:
            agent.attributes |= {"lk-tui.helper": "1", "lk-tui.session": agent.session.value}
        self._timeline.after(self._rng.uniform(0.1, 1.2), self._turn, agent, "listening")

    def _turn(self, agent: Agent, state: str) -> None:
        if not agent.is_serving:
            return
        if state == "thinking" and agent.room.emptied_at is not None:
            self._timeline.after(_ALONE_LOOK_S, self._turn, agent, state)
            return
        self._is_now(agent, state)
        self._timeline.after(self._rng.uniform(*_LASTS_S[state]), self._turn, agent, _TURN[state])

    def _is_now(self, agent: Agent, state: str) -> None:
        agent.attributes["lk.agent.state"] = state
        agent.turns.append((self._timeline.now, state))

    def _recover(self, agent: Agent) -> None:
        agent.stalled = False
        self._turn(agent, "speaking")
