"""Takes in what an agent tells of its session, and keeps the picture of it (`tui.model.session`)."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence
from dataclasses import replace

from tui.model.session import (
    AgentStateChanged,
    AgentTold,
    AudioSet,
    CurrentAgent,
    EntriesTold,
    Entry,
    EntryKind,
    FrameworkTold,
    HealthTold,
    Heard,
    RtcTold,
    SessionEvent,
    SessionView,
    StateTold,
    ToolCall,
    ToolStatus,
    UsageTold,
    UserStateChanged,
)

ENTRIES_KEPT = 5_000
"""Entries of a conversation that are kept, the newest."""
RTC_KEPT = 120
"""Samples of a connection that are kept, the newest."""
SUPERSEDED_S = 60.0
"""Within so many seconds a user's message is made of the transcripts whose words are in it."""

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
