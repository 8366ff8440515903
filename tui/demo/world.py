"""The simulated LiveKit project: a voice-agent company's traffic, and what the room service's calls do to it."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from tui.demo.agents import Agents
from tui.demo.names import Names
from tui.demo.rooms import DEPARTURE_TIMEOUT_S, EMPTY_TIMEOUT_S, Agent, Dispatch, Participant, Room, Rooms, Session
from tui.demo.timeline import Timeline
from tui.demo.traffic import Load, Traffic
from tui.demo.trouble import ALWAYS, HISTORY_S, Director

_STARTING_S = 5.0
"""An agent that joined less than this before its room is deleted may bring the room back."""
_RETURNS = 0.75
_RETURNS_AFTER_S = (0.1, 15.0)


class NotFoundError(LookupError):
    """There is no such thing, and LiveKit says so at once (404). The text is LiveKit's own."""


class NoResponseError(LookupError):
    """There is no such room or participant, and LiveKit finds out by waiting for it in vain (503 after 3.0 s)."""


class World:
    """Rooms, people and agents, the same ones for the same `seed` and the same calls at the same times.

    It has no clock: `advance` says what time it is, in seconds since 1970, and the first `advance` makes the fleet,
    with calls in progress. About `rooms` rooms are open at a time. Up to 18 % of them are in trouble, from the first
    moment on one of each kind in `tui.demo.trouble.ALWAYS`; with `trouble=False` none ever is.

    For a server under load: `people` is how many are in every room, instead of one or two, and `churn` the share of the
    rooms that end and are replaced in a second, instead of calls of 30 s to 12 minutes.
    """

    def __init__(
        self,
        seed: int,
        rooms: int = 40,
        *,
        people: int | None = None,
        churn: float | None = None,
        trouble: bool = True,
    ) -> None:
        # a simulation has to be repeatable, not hard to guess
        self._rng = Random(seed)  # noqa: S311
        self._count = rooms
        self._timeline = Timeline()
        names = Names(self._rng)
        self._rooms = Rooms(self._timeline, names, self._rng)
        self._agents = Agents(self._rooms, self._timeline, names, self._rng)
        self._traffic = Traffic(
            self._rooms, self._agents, self._timeline, names, self._rng, Load(rooms, people=people, churn=churn)
        )
        self._director = (
            Director(self._rooms, self._agents, self._traffic, self._timeline, self._rng, rooms) if trouble else None
        )
        self._started = False

    @property
    def now(self) -> float:
        """The time of the last `advance`, seconds since 1970."""
        return self._timeline.now

    def advance(self, now: float) -> None:
        """Let everything happen that happens until `now`. A `now` before the last one changes nothing."""
        if not self._started:
            self._started = True
            self._timeline.now = now - max(self._traffic.history_s(), HISTORY_S)
            if self._director is not None:
                self._director.start(now)
            self._traffic.start(now, self._count - (len(ALWAYS) if self._director else 0))
        self._timeline.run(now)

    def rooms(self, names: Sequence[str] = ()) -> list[Room]:
        """The open rooms, or those of them that `names` names."""
        by_name = self._rooms.by_name
        return [by_name[name] for name in names if name in by_name] if names else list(by_name.values())

    def participants(self, room_name: str) -> list[Participant]:
        """Who is in the room; nobody, if there is no such room."""
        room = self._rooms.by_name.get(room_name)
        return list(room.participants.values()) if room else []

    def participant(self, room_name: str, identity: str) -> Participant:
        """One participant. Raises NotFoundError."""
        room = self._rooms.by_name.get(room_name)
        participant = room and room.participants.get(identity)
        if not participant:
            raise NotFoundError("participant does not exist")
        return participant

    def agent(self, room_sid: str, sid: str) -> Agent | None:
        """The agent of this SID in the room of that SID, if it is there."""
        rooms = (room for room in self._rooms.by_name.values() if room.info.sid == room_sid)
        return next((agent for room in rooms for agent in room.agents if agent.sid == sid), None)

    def reach(self, room_name: str, identity: str) -> Participant:
        """One participant, to call one of its methods. Raises NoResponseError."""
        participant = self._open_room(room_name).participants.get(identity)
        if participant is None:
            raise NoResponseError
        return participant

    def remove_participant(self, room_name: str, identity: str) -> None:
        """RemoveParticipant: out at once. People mostly come back, agents never do. Raises NotFoundError."""
        participant = self.participant(room_name, identity)
        self._rooms.leave(participant)
        if not participant.is_agent:
            self._traffic.kicked(participant)

    def create_room(
        self,
        name: str,
        agent_names: Sequence[str] = (),
        *,
        metadata: str = "",
        empty_timeout: int = 0,
        departure_timeout: int = 0,
    ) -> Room:
        """CreateRoom: the open room of that name, or a new one and its agents. Timeouts: seconds, 0 for the default."""
        room = self._rooms.by_name.get(name)
        if room is None:
            room = self._rooms.open(
                name,
                agent_names or ("",),
                metadata=metadata,
                empty_timeout=empty_timeout or EMPTY_TIMEOUT_S,
                departure_timeout=departure_timeout or DEPARTURE_TIMEOUT_S,
            )
            self._agents.answer_all(room)
        return room

    def delete_room(self, name: str) -> None:
        """DeleteRoom: all are out, but an agent that is just starting may bring the room back. Raises NotFoundError."""
        room = self._rooms.by_name.get(name)
        if room is None:
            raise NotFoundError("requested room does not exist")
        starting = [
            dispatch.agent_name
            for dispatch in room.dispatches.values()
            if any(self.now - job.started_at < _STARTING_S for job in dispatch.jobs)
        ]
        self._rooms.close(room)
        if starting and self._rng.random() < _RETURNS:
            self._timeline.after(self._rng.choice(_RETURNS_AFTER_S), self.create_room, name, starting)

    def dispatches(self, room_name: str) -> list[Dispatch]:
        """The room's dispatches. Raises NoResponseError."""
        return list(self._open_room(room_name).dispatches.values())

    def create_dispatch(self, room_name: str, agent_name: str, metadata: str = "") -> Dispatch:
        """CreateDispatch: an agent within 0.3 s, if there are workers of that name. Opens the room if it must."""
        room = self.create_room(room_name)
        dispatch = self._rooms.dispatch(room, agent_name, metadata)
        self._agents.answer(room, dispatch)
        return dispatch

    def delete_dispatch(self, room_name: str, dispatch_id: str) -> Dispatch:
        """DeleteDispatch: its agents leave. Raises NoResponseError for a missing room, NotFoundError for a dispatch."""
        room = self._open_room(room_name)
        dispatch = room.dispatches.pop(dispatch_id, None)
        if dispatch is None:
            raise NotFoundError("dispatch ID not found")
        self._agents.dismiss(room, dispatch)
        return dispatch

    def close_session(self, agent: Agent, by: str) -> Session:
        """What the agent does when the operator `by` asks it to close its session; returns what it answers."""
        self._agents.close_session_soon(agent, by)
        return agent.session

    def shut_down_job(self, agent: Agent, by: str) -> None:
        """What the agent does when the operator `by` asks it to shut its job down."""
        self._agents.shut_down(agent, f"shut down by {by}", by=by)

    def _open_room(self, name: str) -> Room:
        room = self._rooms.by_name.get(name)
        if room is None:
            raise NoResponseError
        return room
