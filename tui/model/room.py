"""What LiveKit's things are: rooms, participants, agents, dispatches and jobs, at one moment.

All are immutable. Times are seconds since 1970; an absent one is None. Every string here is safe to show
(`tui.model.text`) except `Name.raw`, which is for calls and comparisons.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from tui.model.text import Name


class Kind(StrEnum):
    """A participant's kind, LiveKit's `ParticipantInfo.Kind` in lower case."""

    STANDARD = "standard"
    INGRESS = "ingress"
    EGRESS = "egress"
    SIP = "sip"
    AGENT = "agent"
    CONNECTOR = "connector"
    BRIDGE = "bridge"
    OTHER = "other"


PEOPLE = frozenset({Kind.STANDARD, Kind.SIP, Kind.CONNECTOR, Kind.BRIDGE})
"""The kinds behind which a person sits: at a browser, on a phone, or reached through a connector or a bridge."""


OBSERVER_PREFIX = "lk-tui-observer-"
"""What the identities of lk-tui's own hidden participants begin with."""

AUTO_AGENT = "auto agent"
"""What an agent is called that has no name, as an automatic dispatch brings it."""


class ParticipantState(StrEnum):
    """LiveKit's `ParticipantInfo.State` in lower case."""

    JOINING = "joining"
    JOINED = "joined"
    ACTIVE = "active"
    DISCONNECTED = "disconnected"


class SessionState(StrEnum):
    """What is known of an agent's `AgentSession`. Only the helper tells; without it the session is `UNKNOWN`."""

    OPEN = "open"
    CLOSING = "closing"
    CLOSED = "closed"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class SessionError:
    """The error that closed a session, in the agent's own words."""

    type: str
    source: str
    message: str


@dataclass(frozen=True, slots=True)
class CloseReport:
    """What the agent said of its session's close (`lk-tui.close`), or of its job's shutdown (`lk-tui.shutdown`)."""

    reason: str
    at: float | None = None
    by: str = ""
    error: SessionError | None = None


@dataclass(frozen=True, slots=True)
class AgentFacts:
    """What an agent publishes of itself in its attributes.

    `state` is livekit-agents' `lk.agent.state` (initializing, idle, listening, thinking, speaking) or empty. It is not
    cleared when the session closes, so `session` outranks it. `state_since` is when the poller first saw that state.

    `answered_at` is when the agent's process last answered a probe, `silent_since` when the first of those was sent
    that it has left unanswered since; None where it never was, or answers.

    `closed_since` is since when its session answers no more though its process does, as an observer in the room found
    out: it has closed, whatever was published. None where it answers, or nobody in the room asks it.
    """

    name: str = ""
    state: str = ""
    state_since: float | None = None
    helper: str = ""
    session: SessionState = SessionState.UNKNOWN
    close: CloseReport | None = None
    shutdown: CloseReport | None = None
    answered_at: float | None = None
    silent_since: float | None = None
    closed_since: float | None = None

    @property
    def closed(self) -> bool:
        """Whether its session has closed, by its own word or by its silence."""
        return self.session is SessionState.CLOSED or self.closed_since is not None


@dataclass(frozen=True, slots=True)
class Track:
    """A published track: `source` is microphone, camera, screen_share … or the track's type where it has none."""

    sid: str
    source: str
    muted: bool


@dataclass(frozen=True, slots=True)
class Participant:
    """One connection to a room. `sid` is new with every join; `identity` is not."""

    sid: str
    identity: Name
    kind: Kind
    state: ParticipantState
    joined_at: float
    name: str = ""
    tracks: tuple[Track, ...] = ()
    hidden: bool = False
    attributes: Mapping[str, str] = field(default_factory=dict)
    metadata: str = ""
    agent: AgentFacts | None = None

    @property
    def is_agent(self) -> bool:
        """Whether an agent's job runs behind this participant."""
        return self.kind is Kind.AGENT

    @property
    def is_our_observer(self) -> bool:
        """Whether an lk-tui watches the room through it: nobody who counts, for anything."""
        return self.hidden and self.identity.raw.startswith(OBSERVER_PREFIX)

    @property
    def is_person(self) -> bool:
        """Whether a person is on this connection; hidden participants (observers, recorders) are nobody."""
        return self.kind in PEOPLE and not self.hidden


@dataclass(frozen=True, slots=True)
class Job:
    """One run of an agent, as its dispatch lists it: up to 5 s late, and `running` for ever after."""

    id: str
    identity: Name
    worker_id: str
    status: str
    started_at: float | None = None
    error: str = ""


@dataclass(frozen=True, slots=True)
class Dispatch:
    """A room's order for an agent. An empty `agent_name` is the implicit dispatch to automatic workers."""

    id: str
    agent_name: Name
    jobs: tuple[Job, ...] = ()
    created_at: float | None = None
    metadata: str = ""

    @property
    def label(self) -> str:
        """The agent name, or `(auto)` for the implicit dispatch."""
        return self.agent_name.safe if self.agent_name.raw else "(auto)"


@dataclass(frozen=True, slots=True)
class Agent:
    """An agent in a room: its participant, and the dispatch and job that brought it, where those are known."""

    participant: Participant
    dispatch: Dispatch | None = None
    job: Job | None = None

    @property
    def facts(self) -> AgentFacts:
        """What the agent publishes; empty facts where it publishes nothing."""
        return self.participant.agent or AgentFacts()

    @property
    def name(self) -> str:
        """What a person calls this agent: its own word, its dispatch's, `AUTO_AGENT` without one, or its identity."""
        if self.facts.name:
            return self.facts.name
        if self.dispatch is None:
            return self.participant.identity.safe
        return self.dispatch.agent_name.safe if self.dispatch.agent_name.raw else AUTO_AGENT

    @property
    def state(self) -> str:
        """One word for a screen: the session's end outranks the last published state; empty if nothing is known."""
        if self.facts.closed:
            return SessionState.CLOSED.value
        if self.facts.session is SessionState.CLOSING:
            return SessionState.CLOSING.value
        return self.facts.state


@dataclass(frozen=True, slots=True)
class Room:
    """A room as last seen.

    `participants` and `dispatches` are None until they were first read; `checked_at` and `dispatches_at` say when they
    were last read. `people_at` and `agent_at` are when a person and an agent were last seen in it. `trouble` is why the
    newest attempt to read this room failed, or empty. `ghost_since` is since when the node that should hold it answers
    nothing although it is listed, None if it answers: who is listed then need not be there. `reported_people` is
    LiveKit's `num_participants`, which lags by up to 5 s and leaves agents out: a hint of change, never a count to show
    where `participants` is known.

    LiveKit closes a room that nobody joined after `empty_timeout` seconds, and one that all people left after
    `departure_timeout`; agents don't hold it.
    """

    sid: str
    name: Name
    created_at: float
    reported_people: int = 0
    reported_publishers: int = 0
    empty_timeout: float = 300.0
    departure_timeout: float = 20.0
    metadata: str = ""
    participants: tuple[Participant, ...] | None = None
    checked_at: float | None = None
    dispatches: tuple[Dispatch, ...] | None = None
    dispatches_at: float | None = None
    people_at: float | None = None
    agent_at: float | None = None
    trouble: str = ""
    ghost_since: float | None = None

    @property
    def people(self) -> tuple[Participant, ...]:
        """The people in it, none where the participants are not known yet."""
        return tuple(p for p in self.participants or () if p.is_person)

    @property
    def people_count(self) -> int:
        """How many people are in it: counted where the list is known, LiveKit's lagging number before that."""
        return len(self.people) if self.participants is not None else self.reported_people

    @property
    def agents(self) -> tuple[Agent, ...]:
        """The agents in it, each with its dispatch and job."""
        return tuple(self._agent(p) for p in self.participants or () if p.is_agent)

    def participant(self, sid: str) -> Participant | None:
        """The participant with this SID, if it is here."""
        return next((p for p in self.participants or () if p.sid == sid), None)

    def agent(self, sid: str) -> Agent | None:
        """The agent with this participant SID, if it is here."""
        participant = self.participant(sid)
        return self._agent(participant) if participant is not None and participant.is_agent else None

    def _agent(self, participant: Participant) -> Agent:
        for dispatch, job in self._jobs():
            if job.identity.raw == participant.identity.raw:
                return Agent(participant, dispatch, job)
        return Agent(participant)

    def _jobs(self) -> Iterator[tuple[Dispatch, Job]]:
        for dispatch in self.dispatches or ():
            for job in dispatch.jobs:
                yield dispatch, job
