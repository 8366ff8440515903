"""What a LiveKit server holds, and the rules it keeps: rooms, participants, dispatches and jobs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from random import Random

from livekit.protocol import agent as agent_pb
from livekit.protocol import agent_dispatch as dispatch_pb
from livekit.protocol import models as pb
from livekit.protocol import room as room_pb

from tui.demo.names import Names
from tui.demo.timeline import Timeline

Kind = pb.ParticipantInfo.Kind

EMPTY_TIMEOUT_S = 300
"""A room that nobody joined closes after this; LiveKit's default, as is the next."""
DEPARTURE_TIMEOUT_S = 20
"""A room that everybody left closes after this. Agents are nobody here."""
LIST_LAG_S = (0.3, 5.0)
"""How late `num_participants` and a dispatch's jobs are, at least and at most."""

_CODECS = [
    pb.Codec(mime=mime)
    for mime in (
        *("audio/PCMU", "audio/PCMA", "audio/opus", "audio/red"),
        *("video/VP8", "video/H264", "video/VP9", "video/AV1", "video/H265", "video/rtx"),
    )
]


class Session(StrEnum):
    """What becomes of an agent's session, in the words of `lk-tui.session`."""

    OPEN = "open"
    CLOSING = "closing"
    CLOSED = "closed"


class Process(Enum):
    """What becomes of the process an agent runs in. LiveKit sees the second and third alike, and late."""

    RUNNING = "running"
    HUNG = "hung"
    DEAD = "dead"


@dataclass(slots=True)
class Job:
    """A dispatch's job: taken by a worker at `started_at`, listed from `listed_at` on, and then `running` for ever."""

    id: str
    worker_id: str
    started_at: float
    listed_at: float

    @property
    def identity(self) -> str:
        """The agent's identity in the room."""
        return f"agent-{self.id}"


@dataclass(slots=True)
class Dispatch:
    """An order for an agent. An empty `agent_name` is the implicit one, for automatic workers."""

    id: str
    agent_name: str
    room: str
    created_at: float
    metadata: str = ""
    jobs: list[Job] = field(default_factory=list)

    def message(self, now: float) -> dispatch_pb.AgentDispatch:
        """As ListDispatch shows it at `now`. Its times are nanoseconds since 1970."""
        jobs = [
            agent_pb.Job(
                id=job.id,
                dispatch_id=self.id,
                agent_name=self.agent_name,
                metadata=self.metadata,
                room=pb.Room(name=self.room),
                state=agent_pb.JobState(
                    status=agent_pb.JobStatus.JS_RUNNING,
                    started_at=int(job.started_at * 1e9),
                    updated_at=int(job.started_at * 1e9),
                    participant_identity=job.identity,
                    worker_id=job.worker_id,
                ),
            )
            for job in self.jobs
            if job.listed_at <= now
        ]
        return dispatch_pb.AgentDispatch(
            id=self.id,
            agent_name=self.agent_name,
            room=self.room,
            metadata=self.metadata,
            state=dispatch_pb.AgentDispatchState(jobs=jobs, created_at=int(self.created_at * 1e9)),
        )


@dataclass(slots=True, eq=False, kw_only=True)
class Participant:
    """One connection to a room. `gone` once it has left; another connection of the same identity is another object."""

    room: Room
    sid: str
    identity: str
    kind: Kind
    joined_at: float
    track_sid: str
    name: str = ""
    muted: bool = False
    attributes: dict[str, str] = field(default_factory=dict)
    gone: bool = False

    @property
    def is_agent(self) -> bool:
        """Whether an agent's job runs behind this participant."""
        return self.kind == Kind.AGENT

    def message(self) -> pb.ParticipantInfo:
        """As ListParticipants shows it."""
        track = pb.TrackInfo(
            sid=self.track_sid,
            type=pb.TrackType.AUDIO,
            source=pb.TrackSource.MICROPHONE,
            name="roomio_audio" if self.is_agent else "mic",
            mime_type="audio/red",
            muted=self.muted,
        )
        return pb.ParticipantInfo(
            sid=self.sid,
            identity=self.identity,
            name=self.name,
            kind=self.kind,
            state=pb.ParticipantInfo.State.ACTIVE,
            joined_at=int(self.joined_at),
            joined_at_ms=int(self.joined_at * 1000),
            attributes=self.attributes,
            tracks=[track],
            is_publisher=True,
            permission=pb.ParticipantPermission(
                can_subscribe=True,
                can_publish=True,
                can_publish_data=True,
                can_update_metadata=self.is_agent,
                agent=self.is_agent,
            ),
        )


@dataclass(slots=True, eq=False, kw_only=True)
class Agent(Participant):
    """An agent in a room. `helper`: whether it speaks docs/helper-protocol.md. `stalled` while it thinks for ever.

    `turns` are the states it went through, and since when; `inputs` is what an operator said to it, and when.
    """

    dispatch: Dispatch
    helper: bool
    session: Session = Session.OPEN
    process: Process = Process.RUNNING
    stalled: bool = False
    turns: list[tuple[float, str]] = field(default_factory=list)
    inputs: list[tuple[float, str]] = field(default_factory=list)

    @property
    def is_serving(self) -> bool:
        """Whether it is here and fit to talk to somebody."""
        return not self.gone and self.session is Session.OPEN and self.process is Process.RUNNING and not self.stalled


@dataclass(slots=True, eq=False)
class Room:
    """An open room; `closed` once it is gone. `emptied_at` is since when it has been without people, None if it isn't.

    `info` is what ListRooms shows. It is changed in place, by `Rooms` only, which then clears `_listed`.
    """

    info: pb.Room
    emptied_at: float | None
    participants: dict[str, Participant] = field(default_factory=dict)
    dispatches: dict[str, Dispatch] = field(default_factory=dict)
    closed: bool = False
    recount_due: bool = False
    _listed: bytes = b""

    @property
    def name(self) -> str:
        """The room's name."""
        return self.info.name

    @property
    def people(self) -> list[Participant]:
        """Everybody who is not an agent."""
        return [p for p in self.participants.values() if not p.is_agent]

    @property
    def agents(self) -> list[Agent]:
        """Its agents."""
        return [p for p in self.participants.values() if isinstance(p, Agent)]

    def listed(self) -> bytes:
        """This room as a serialized ListRoomsResponse of its own.

        Protobuf messages put end to end read as one message with their repeated fields joined, so an answer about
        10,000 rooms is a join of bytes that mostly did not change since the last one.
        """
        if not self._listed:
            self._listed = room_pb.ListRoomsResponse(rooms=[self.info]).SerializeToString()
        return self._listed

    def recount(self) -> None:
        """Bring the counts that ListRooms shows up to date. Agents are not counted, but publish."""
        self.recount_due = False
        self.info.num_participants = len(self.people)
        self.info.num_publishers = len(self.participants)
        self._listed = b""


class Rooms:
    """The open rooms, and what LiveKit does about them by itself."""

    def __init__(self, timeline: Timeline, names: Names, rng: Random) -> None:
        self.by_name: dict[str, Room] = {}
        self._timeline = timeline
        self._names = names
        self._rng = rng

    def open(
        self,
        name: str,
        agent_names: Sequence[str] = ("",),
        *,
        metadata: str = "",
        empty_timeout: int = EMPTY_TIMEOUT_S,
        departure_timeout: int = DEPARTURE_TIMEOUT_S,
    ) -> Room:
        """A new room with a dispatch for each of `agent_names`, by default the implicit one. Timeouts: seconds."""
        now = self._timeline.now
        info = pb.Room(
            sid=self._names.sid("RM"),
            name=name,
            empty_timeout=empty_timeout,
            departure_timeout=departure_timeout,
            creation_time=int(now),
            creation_time_ms=int(now * 1000),
            turn_password=self._names.sid("demo"),
            enabled_codecs=_CODECS,
            metadata=metadata,
        )
        room = self.by_name[name] = Room(info, emptied_at=now)
        for agent_name in agent_names:
            self.dispatch(room, agent_name)
        self._timeline.after(empty_timeout, self._close_empty, room, now)
        return room

    def close(self, room: Room) -> None:
        """The room is gone, and everybody is out of it. Does nothing to a room that is gone already."""
        if room.closed:
            return
        room.closed = True
        del self.by_name[room.name]
        for participant in room.participants.values():
            participant.gone = True
        room.participants.clear()

    def dispatch(self, room: Room, agent_name: str, metadata: str = "") -> Dispatch:
        """A new dispatch for the room; whether a worker takes it is the workers' business."""
        dispatch = Dispatch(self._names.sid("AD"), agent_name, room.name, self._timeline.now, metadata)
        room.dispatches[dispatch.id] = dispatch
        return dispatch

    def take(self, dispatch: Dispatch, worker_id: str) -> Job:
        """A worker takes the dispatch: a new job of it."""
        now = self._timeline.now
        job = Job(self._names.sid("AJ"), worker_id, now, now + self._rng.uniform(*LIST_LAG_S))
        dispatch.jobs.append(job)
        return job

    def join_person(
        self,
        room: Room,
        identity: str,
        kind: Kind,
        *,
        name: str = "",
        muted: bool = False,
        attributes: dict[str, str] | None = None,
    ) -> Participant:
        """A person comes into the room."""
        person = Participant(
            room=room,
            sid=self._names.sid("PA"),
            identity=identity,
            kind=kind,
            joined_at=self._timeline.now,
            track_sid=self._names.sid("TR"),
            name=name,
            muted=muted,
            attributes=attributes or {},
        )
        room.emptied_at = None
        self._enter(person)
        return person

    def join_agent(self, room: Room, dispatch: Dispatch, job: Job, *, name: str, helper: bool) -> Agent:
        """The agent of a job comes into the room, `initializing`."""
        agent = Agent(
            room=room,
            sid=self._names.sid("PA"),
            identity=job.identity,
            kind=Kind.AGENT,
            joined_at=self._timeline.now,
            track_sid=self._names.sid("TR"),
            attributes={"lk.agent.name": name, "lk.agent.state": "initializing"},
            dispatch=dispatch,
            helper=helper,
        )
        self._enter(agent)
        return agent

    def leave(self, participant: Participant) -> None:
        """The participant is out of its room. Does nothing to one who is out already."""
        if participant.gone:
            return
        participant.gone = True
        room = participant.room
        del room.participants[participant.identity]
        self._count_later(room)
        if not participant.is_agent and not room.people:
            room.emptied_at = self._timeline.now
            self._timeline.after(room.info.departure_timeout, self._close_empty, room, room.emptied_at)

    def _enter(self, participant: Participant) -> None:
        room = participant.room
        before = room.participants.get(participant.identity)
        if before is not None:
            before.gone = True
        room.participants[participant.identity] = participant
        self._count_later(room)

    def _count_later(self, room: Room) -> None:
        if not room.recount_due:
            room.recount_due = True
            self._timeline.after(self._rng.uniform(*LIST_LAG_S), room.recount)

    def _close_empty(self, room: Room, emptied_at: float) -> None:
        if room.emptied_at == emptied_at:
            self.close(room)
