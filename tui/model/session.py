"""What an agent's session is to the supervisor who looks inside it: its states, its usage, and what was said and done.

The gateway turns what the agent tells on `lk.agent.session` into the events below; `tui.model.session_book` takes them
in, in whatever order and however often they come, and makes a `SessionView` of them. Every string is safe to show and
cut to a length (`tui.model.text`); texts of several lines have plain line breaks. Times are seconds since 1970 by the
agent's clock, but for those of health, which are ours.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class Health(StrEnum):
    """How an inspected session stands. LiveKit's lists show one that is closed or hung as alive and listening."""

    OFF = "not inspected"
    """nothing is inspected: `--no-inspect`, or it was closed"""
    CONNECTING = "connecting"
    """on the way into the room, or the first answer is awaited"""
    ANSWERING = "answering"
    """the session answers"""
    UNSUPPORTED = "doesn't answer"
    """alive, but its session never answered: another SDK, an older version, or one that has not started"""
    CLOSED = "closed"
    """the session answers no longer, though the agent's process does, at once"""
    HUNG = "hung"
    """neither the session nor the agent's process answers"""
    GONE = "gone"
    """the agent has left the room, or the room has ended"""


class EntryKind(StrEnum):
    """What an entry of a conversation is."""

    USER = "user"
    """a message of the user's, as the model gets it"""
    TRANSCRIPT = "transcript"
    """words of the user's as they are heard, until they stand in a message"""
    AGENT = "agent"
    """a message of the agent's"""
    SYSTEM = "system"
    """a message of the agent's developer to the model"""
    TOOL = "tool"
    """a tool's call, with what came of it"""
    HANDOFF = "handoff"
    """another agent took over"""
    CONFIG = "config"
    """the agent's instructions or tools changed"""
    INTERRUPTION = "interruption"
    """the user spoke into the agent's words"""
    ERROR = "error"
    """an error of a model, a speech service or the session"""
    NOTE = "note"
    """something else that the session told"""


class ToolStatus(StrEnum):
    """How a tool's call stands."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A tool's call. `arguments` is JSON as the model wrote it; `result` is what the model was given in return, of a
    failed call too; `error` is what the tool itself raised, where it was told; `progress` what it told on the way.

    `started_at` and `ended_at` are None where they are not known.
    """

    name: str = ""
    arguments: str = ""
    status: ToolStatus = ToolStatus.RUNNING
    result: str = ""
    error: str = ""
    progress: str = ""
    started_at: float | None = None
    ended_at: float | None = None

    def took(self, now: float) -> float | None:
        """Seconds that it ran, or has been running until `now` (the agent's clock); None where nobody knows."""
        end = now if self.status is ToolStatus.RUNNING else self.ended_at
        return None if self.started_at is None or end is None else max(0.0, end - self.started_at)


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing of a conversation. `id` is its own for good: livekit-agents' item ID, or the call's ID of a tool.

    `who` is `user`, `agent`, `system`, a tool's name, or what an error came from. `final` is false for words of the
    user's that may still change. `interrupted` says that the agent was cut off. `metrics` are seconds by
    livekit-agents' names (`e2e_latency`, `llm_node_ttft` …). A handoff has the agents' IDs in `before` and `after`.
    """

    id: str
    at: float
    kind: EntryKind
    who: str = ""
    text: str = ""
    final: bool = True
    interrupted: bool = False
    tool: ToolCall | None = None
    before: str = ""
    after: str = ""
    metrics: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class ModelUsage:
    """What one model was used for since the session began. `kind` is llm, stt, tts, eot or interruption.

    `cached_tokens` are among the `input_tokens`. `audio_s` are seconds of speech heard or made; `session_s` are seconds
    of connection that a realtime model charges for; `requests` are counted for those that count nothing else.
    """

    kind: str = ""
    provider: str = ""
    model: str = ""
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    characters: int = 0
    audio_s: float = 0.0
    session_s: float = 0.0
    requests: int = 0


@dataclass(frozen=True, slots=True)
class Usage:
    """What the session has used, model by model."""

    models: tuple[ModelUsage, ...] = ()

    @property
    def total(self) -> ModelUsage:
        """All models' together."""
        return ModelUsage(
            input_tokens=sum(model.input_tokens for model in self.models),
            cached_tokens=sum(model.cached_tokens for model in self.models),
            output_tokens=sum(model.output_tokens for model in self.models),
            characters=sum(model.characters for model in self.models),
            audio_s=sum(model.audio_s for model in self.models),
            session_s=sum(model.session_s for model in self.models),
            requests=sum(model.requests for model in self.models),
        )


@dataclass(frozen=True, slots=True)
class RtcSample:
    """The agent's connection to LiveKit at one time, as its own statistics have it.

    Seconds for times, a fraction of 1 for losses; None where nothing was sent or received to tell it by. `sent` is of
    the agent's voice on its way out, `received` of what it hears.
    """

    at: float
    round_trip_s: float | None = None
    jitter_s: float | None = None
    sent_loss: float | None = None
    received_loss: float | None = None
    packets_sent: int = 0
    packets_received: int = 0


@dataclass(frozen=True, slots=True)
class CurrentAgent:
    """The livekit-agents `Agent` that has the session now. `since` is when it took over, None where nobody saw it."""

    id: str = ""
    instructions: str = ""
    tools: tuple[str, ...] = ()
    since: float | None = None


@dataclass(frozen=True, slots=True)
class SessionView:
    """An inspected session, as last seen.

    `agent_state` is initializing, idle, listening, thinking or speaking, `user_state` speaking, listening or away;
    both are empty until told, and their `since` is None until they were seen to change. `health_since` is by our clock.
    `trouble` says why nothing can be seen, if so. `started_at` is when the session was started, `options` are its own,
    by name. `hears` and `speaks` are what the agent's audio input and output were last set to from here: None where
    they were not, since an agent can't be asked. `entries` is the conversation in order of time, of which `dropped`
    older entries are not there any more; words that may still change come last.
    """

    room_sid: str = ""
    agent_sid: str = ""
    health: Health = Health.OFF
    health_since: float | None = None
    trouble: str = ""
    agent_state: str = ""
    agent_since: float | None = None
    user_state: str = ""
    user_since: float | None = None
    agent: CurrentAgent = field(default_factory=CurrentAgent)
    started_at: float | None = None
    options: tuple[tuple[str, str], ...] = ()
    sdk: str = ""
    sdk_version: str = ""
    usage: Usage = field(default_factory=Usage)
    rtc: tuple[RtcSample, ...] = ()
    hears: bool | None = None
    speaks: bool | None = None
    entries: tuple[Entry, ...] = ()
    dropped: int = 0


# What is told of a session


@dataclass(frozen=True, slots=True)
class HealthTold:
    """How the session stands, from `at` on."""

    at: float
    health: Health
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class StateTold:
    """The answer to get_session_state, at `at`."""

    at: float
    agent_state: str
    user_state: str
    agent_id: str
    started_at: float | None = None
    options: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class AgentTold:
    """The answer to get_agent_info."""

    id: str
    instructions: str
    tools: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FrameworkTold:
    """The answer to get_framework_info."""

    sdk: str
    version: str


@dataclass(frozen=True, slots=True)
class UsageTold:
    """What had been used at `at`."""

    at: float
    usage: Usage


@dataclass(frozen=True, slots=True)
class AgentStateChanged:
    """The agent's state from `at` on."""

    at: float
    state: str


@dataclass(frozen=True, slots=True)
class UserStateChanged:
    """The user's state from `at` on."""

    at: float
    state: str


@dataclass(frozen=True, slots=True)
class Heard:
    """Words of the user's, which may still change unless `final`. They have no ID: `at` tells them apart."""

    at: float
    text: str
    final: bool


@dataclass(frozen=True, slots=True)
class EntriesTold:
    """Entries, whole or in part: one of the same ID that is known is completed by it."""

    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class RtcTold:
    """The connection's statistics."""

    sample: RtcSample


@dataclass(frozen=True, slots=True)
class AudioSet:
    """The agent's ears or voice were switched from here, and it said so; None for what was left alone."""

    hears: bool | None = None
    speaks: bool | None = None


SessionEvent = (
    HealthTold
    | StateTold
    | AgentTold
    | FrameworkTold
    | UsageTold
    | AgentStateChanged
    | UserStateChanged
    | Heard
    | EntriesTold
    | RtcTold
    | AudioSet
)
