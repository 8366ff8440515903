"""What an agent's session is to the supervisor who looks inside it: its states, its usage, and what was said and done.

The gateway turns what the agent tells on `lk.agent.session` into the events below; a `SessionBook` takes them in, in
whatever order and however often they come, and makes a `SessionView` of them. Every string is safe to show and cut to a
length (`tui.model.text`); texts of several lines have plain line breaks. Times are seconds since 1970 by the agent's
clock, but for those of health, which are ours.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

ENTRIES_KEPT = 5_000
"""Entries of a conversation that are kept, the newest."""
RTC_KEPT = 120
"""Samples of a connection that are kept, the newest."""
SUPERSEDED_S = 60.0
"""Within so many seconds a user's message is made of the transcripts whose words are in it."""


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

_INTERIM_ID = "heard"
_SETTLED = (ToolStatus.CANCELLED, ToolStatus.DONE, ToolStatus.FAILED)
"""The ends of a tool's call, the one that counts most last."""


class SessionBook:
    """All that was told of one session. What was told twice or late changes nothing that it should not."""

    def __init__(self, room_sid: str, agent_sid: str, *, kept: int = ENTRIES_KEPT) -> None:
        self._view = SessionView(room_sid, agent_sid)
        self._conversation = _Conversation(kept)
        self._usage_at = 0.0

    @property
    def view(self) -> SessionView:
        """The session as it is known now."""
        return replace(self._view, entries=self._conversation.entries, dropped=self._conversation.dropped)

    def absorb(self, event: SessionEvent) -> None:
        """Take in what was told."""
        match event:
            case HealthTold():
                self._absorb_health(event)
            case StateTold():
                self._absorb_agent_state(event.at, event.agent_state, seen=False)
                self._absorb_user_state(event.at, event.user_state, seen=False)
                self._absorb_agent(event.agent_id)
                self._view = replace(self._view, started_at=event.started_at, options=event.options)
            case AgentTold():
                self._absorb_agent(event.id)
                agent = replace(self._view.agent, instructions=event.instructions, tools=event.tools)
                self._view = replace(self._view, agent=agent)
            case FrameworkTold():
                self._view = replace(self._view, sdk=event.sdk, sdk_version=event.version)
            case UsageTold():
                if event.at >= self._usage_at:
                    self._usage_at = event.at
                    self._view = replace(self._view, usage=event.usage)
            case AgentStateChanged():
                self._absorb_agent_state(event.at, event.state, seen=True)
            case UserStateChanged():
                self._absorb_user_state(event.at, event.state, seen=True)
            case Heard():
                self._conversation.hear(event)
            case EntriesTold():
                self._absorb_entries(event.entries)
            case RtcTold():
                self._view = replace(self._view, rtc=(*self._view.rtc, event.sample)[-RTC_KEPT:])
            case AudioSet():
                hears = self._view.hears if event.hears is None else event.hears
                speaks = self._view.speaks if event.speaks is None else event.speaks
                self._view = replace(self._view, hears=hears, speaks=speaks)

    def _absorb_health(self, told: HealthTold) -> None:
        since = self._view.health_since if told.health is self._view.health else told.at
        self._view = replace(self._view, health=told.health, health_since=since, trouble=told.trouble)

    def _absorb_agent_state(self, at: float, state: str, *, seen: bool) -> None:
        if _is_news(self._view.agent_state, self._view.agent_since, state, at, seen=seen):
            self._view = replace(self._view, agent_state=state, agent_since=at if seen else None)

    def _absorb_user_state(self, at: float, state: str, *, seen: bool) -> None:
        if _is_news(self._view.user_state, self._view.user_since, state, at, seen=seen):
            self._view = replace(self._view, user_state=state, user_since=at if seen else None)

    def _absorb_agent(self, id_: str, since: float | None = None) -> None:
        if id_ != self._view.agent.id:
            self._view = replace(self._view, agent=CurrentAgent(id_, since=since))
        elif since is not None:
            self._view = replace(self._view, agent=replace(self._view.agent, since=since))

    def _absorb_entries(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            self._conversation.add(entry)
        handoff = self._conversation.last_handoff
        if handoff is not None and any(entry.kind is EntryKind.HANDOFF for entry in entries):
            self._absorb_agent(handoff.after, handoff.at)


def _is_news(known: str, since: float | None, state: str, at: float, *, seen: bool) -> bool:
    """Whether this state outranks the known one: one that was seen to begin, over one that was merely asked for."""
    if state == known and not seen:
        return False
    return since is None or at > since


class _Conversation:
    """Entries by ID, in order of time."""

    def __init__(self, kept: int) -> None:
        self._kept = kept
        self._entries: dict[str, Entry] = {}
        self._order: list[tuple[float, str]] = []
        self._floor = (float("-inf"), "")
        self._heard: dict[str, Entry] = {}
        self._said: list[Entry] = []
        self._interim: Entry | None = None
        self._heard_at = float("-inf")
        self._picture: tuple[Entry, ...] | None = None
        self.last_handoff: Entry | None = None
        self.dropped = 0

    @property
    def entries(self) -> tuple[Entry, ...]:
        """All of them, with the words that may still change last."""
        if self._picture is None:
            words = (self._interim,) if self._interim is not None else ()
            self._picture = (*(self._entries[id_] for _, id_ in self._order), *words)
        return self._picture

    def add(self, entry: Entry) -> None:
        """Add it, or complete what is known of it."""
        known = self._entries.get(entry.id)
        merged = entry if known is None else _merged(known, entry)
        key = (merged.at, merged.id)
        if merged == known or (known is None and key <= self._floor):
            return
        if known is None:
            insort(self._order, key)
        elif known.at != merged.at:
            del self._order[bisect_left(self._order, (known.at, known.id))]
            insort(self._order, key)
        self._entries[entry.id] = merged
        self._picture = None
        if merged.kind is EntryKind.USER:
            self._supersede(merged)
        if merged.kind is EntryKind.HANDOFF and (self.last_handoff is None or self.last_handoff.at <= merged.at):
            self.last_handoff = merged
        while len(self._order) > self._kept:
            self._floor = self._order.pop(0)
            del self._entries[self._floor[1]]
            self._heard.pop(self._floor[1], None)
            self.dropped += 1

    def hear(self, heard: Heard) -> None:
        """Take in words of the user's: what may still change is replaced by what comes next."""
        if heard.final:
            entry = Entry(f"{_INTERIM_ID}-{heard.at!r}", heard.at, EntryKind.TRANSCRIPT, "user", heard.text)
            if not any(_stands_in(entry, message) for message in self._said):
                self._heard[entry.id] = entry
                self.add(entry)
        elif heard.at > self._heard_at:
            self._set_interim(Entry(_INTERIM_ID, heard.at, EntryKind.TRANSCRIPT, "user", heard.text, final=False))
        if heard.final and heard.at >= self._heard_at:
            self._set_interim(None)
        self._heard_at = max(self._heard_at, heard.at)

    def _set_interim(self, entry: Entry | None) -> None:
        self._interim = entry
        self._picture = None

    def _supersede(self, message: Entry) -> None:
        """The words that were heard stand in the user's message now."""
        insort(self._said, message, key=lambda said: said.at)
        self._said = [said for said in self._said if said.at > self._said[-1].at - 2 * SUPERSEDED_S]
        for heard in [heard for heard in self._heard.values() if _stands_in(heard, message)]:
            del self._heard[heard.id], self._entries[heard.id]
            del self._order[bisect_left(self._order, (heard.at, heard.id))]
        if self._interim is not None and self._interim.at <= message.at:
            self._set_interim(None)


def _stands_in(heard: Entry, message: Entry) -> bool:
    near = abs(heard.at - message.at) <= SUPERSEDED_S
    return near and " ".join(heard.text.split()) in " ".join(message.text.split())


def _merged(known: Entry, told: Entry) -> Entry:
    """What both tell of one entry: what one leaves out, the other has."""
    return Entry(
        id=known.id,
        at=min(known.at, told.at),
        kind=known.kind,
        who=known.who or told.who,
        text=known.text or told.text,
        final=known.final or told.final,
        interrupted=known.interrupted or told.interrupted,
        tool=_merged_calls(known.tool, told.tool),
        before=known.before or told.before,
        after=known.after or told.after,
        metrics=known.metrics or told.metrics,
    )


def _merged_calls(known: ToolCall | None, told: ToolCall | None) -> ToolCall | None:
    if known is None or told is None:
        return known or told
    settled = [status for status in _SETTLED if status in (known.status, told.status)]
    return ToolCall(
        name=known.name or told.name,
        arguments=known.arguments or told.arguments,
        status=settled[-1] if settled else ToolStatus.RUNNING,
        result=known.result or told.result,
        error=known.error or told.error,
        progress=told.progress or known.progress,
        started_at=_earliest(known.started_at, told.started_at),
        ended_at=_earliest(known.ended_at, told.ended_at),
    )


def _earliest(*times: float | None) -> float | None:
    return min((time for time in times if time is not None), default=None)
