"""LiveKit's protobuf messages into the model, every string made safe on the way."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from sys import intern
from typing import Any

from livekit.protocol import agent as agent_pb
from livekit.protocol import agent_dispatch as dispatch_pb
from livekit.protocol import models as models_pb
from livekit.protocol import webhook as webhook_pb

from tui.model.evidence import Evidence, Fact, Sighting, Source, published
from tui.model.room import (
    Agent,
    AgentFacts,
    CloseReport,
    Dispatch,
    Job,
    Kind,
    Participant,
    ParticipantState,
    Room,
    SessionError,
    SessionState,
    Track,
)
from tui.model.text import Name, safe_text

TEXT_LIMIT = 1_000
"""Characters kept of metadata and of each attribute: enough to read, whatever a stranger puts there (up to 64 KB)."""

_KINDS = {number: name.lower() for name, number in models_pb.ParticipantInfo.Kind.items()}
_STATES = {number: name.lower() for name, number in models_pb.ParticipantInfo.State.items()}
_SOURCES = {number: name.lower() for name, number in models_pb.TrackSource.items()}
_TRACK_TYPES = {number: name.lower() for name, number in models_pb.TrackType.items()}
_JOB_STATUSES = {number: name.removeprefix("JS_").lower() for name, number in agent_pb.JobStatus.items()}
_DISCONNECT_REASONS = {number: name for name, number in models_pb.DisconnectReason.items()}
_FRESH_S = 2.0
_SHARED = 1_024
"""So many of the latest values of attributes are looked through for one that reads the same."""
_NO_ATTRIBUTES: Mapping[str, str] = {}
_KIND_OF = {kind.value: kind for kind in Kind}
_STATE_OF = {state.value: state for state in ParticipantState}
_SESSION_OF = {state.value: state for state in SessionState}


def room(message: models_pb.Room) -> Room:
    """A room as ListRooms has it: participants and dispatches not yet read."""
    return Room(
        sid=safe_text(message.sid),
        name=Name.of(message.name),
        created_at=message.creation_time_ms / 1000 or float(message.creation_time),
        reported_people=message.num_participants,
        reported_publishers=message.num_publishers,
        empty_timeout=float(message.empty_timeout),
        departure_timeout=float(message.departure_timeout),
        metadata=safe_text(message.metadata, TEXT_LIMIT),
    )


def participant(message: models_pb.ParticipantInfo) -> Participant:
    """A participant as ListParticipants has it."""
    kind = _KIND_OF.get(_KINDS.get(message.kind, ""), Kind.OTHER)
    return Participant(
        sid=safe_text(message.sid),
        identity=Name.of(message.identity),
        kind=kind,
        state=_STATE_OF.get(_STATES.get(message.state, ""), ParticipantState.ACTIVE),
        joined_at=message.joined_at_ms / 1000 or float(message.joined_at),
        name=safe_text(message.name),
        tracks=tuple(_track(track) for track in message.tracks),
        hidden=message.permission.hidden,
        attributes=_attributes(message.attributes),
        metadata=safe_text(message.metadata, TEXT_LIMIT),
        agent=_agent_facts(message.attributes) if kind is Kind.AGENT else None,
    )


def dispatch(message: dispatch_pb.AgentDispatch) -> Dispatch:
    """A dispatch as ListDispatch has it."""
    return Dispatch(
        id=safe_text(message.id),
        agent_name=Name.of(message.agent_name),
        jobs=tuple(_job(job) for job in message.state.jobs),
        created_at=message.state.created_at / 1e9 or None,
        metadata=safe_text(message.metadata, TEXT_LIMIT),
    )


def disconnect_reason(number: int) -> str:
    """A DisconnectReason by its protobuf name; empty for an unknown one, a word for one newer than our protobuf."""
    if number == models_pb.DisconnectReason.UNKNOWN_REASON:
        return ""
    return _DISCONNECT_REASONS.get(number, f"REASON_{number}")


def webhook(message: webhook_pb.WebhookEvent, at: float) -> Sighting | None:
    """What a webhook, which came at `at`, is evidence for: somebody left, or the room ended; None for all others."""
    if not message.room.sid:
        return None
    if message.created_at and at - message.created_at > _FRESH_S:
        # It was held up on the way. When it is not, our clock is finer: theirs has whole seconds.
        at = float(message.created_at)
    name, sid = Name.of(message.room.name), safe_text(message.room.sid)
    if message.event == "room_finished":
        return Sighting(name, sid, (Evidence(at, Source.WEBHOOK, Fact.ROOM_ENDED),))
    if message.event not in ("participant_left", "participant_connection_aborted") or not message.participant.sid:
        return None
    reason = disconnect_reason(message.participant.disconnect_reason)
    return left(name, sid, participant(message.participant), Source.WEBHOOK, reason, at)


def left(room: Name, room_sid: str, who: Participant, source: Source, reason: str, at: float) -> Sighting | None:
    """That a participant left, as evidence: about the agent, or, for a person, about the room; None for others."""
    if who.is_agent:
        evidence = (*published(who, at), Evidence(at, source, Fact.AGENT_LEFT, reason))
        return Sighting(room, room_sid, evidence, Agent(who))
    if who.is_person:
        return Sighting(room, room_sid, (Evidence(at, source, Fact.PERSON_LEFT, reason, who=who.identity.safe),))
    return None


def _job(message: agent_pb.Job) -> Job:
    return Job(
        id=safe_text(message.id),
        identity=Name.of(message.state.participant_identity),
        worker_id=safe_text(message.state.worker_id),
        status=_JOB_STATUSES.get(message.state.status, "unknown"),
        started_at=message.state.started_at / 1e9 or None,
        error=safe_text(message.state.error),
    )


def _track(message: models_pb.TrackInfo) -> Track:
    source = _SOURCES.get(message.source, "unknown")
    if source == "unknown":
        source = _TRACK_TYPES.get(message.type, "unknown")
    return Track(safe_text(message.sid), source, message.muted)


def _attributes(told: Mapping[str, str]) -> Mapping[str, str]:
    # There can be 100,000 participants: those without attributes share one mapping, the others the attributes' names,
    # and what most of them say: `active`, `listening`, a trunk's number.
    return {intern(safe_text(key, TEXT_LIMIT)): _shared(safe_text(told[key], TEXT_LIMIT)) for key in told} or (
        _NO_ATTRIBUTES
    )


@lru_cache(_SHARED)
def _shared(text: str) -> str:
    """The one string that reads so, as long as it is said again and again."""
    return text


def _agent_facts(attributes: Mapping[str, str]) -> AgentFacts:
    """What an agent publishes of itself: livekit-agents' own attributes and the helper's (docs/helper-protocol.md)."""
    session = attributes.get("lk-tui.session", "")
    return AgentFacts(
        name=_shared(safe_text(attributes.get("lk.agent.name", ""))),
        state=_shared(safe_text(attributes.get("lk.agent.state", ""), 40)),
        helper=_shared(safe_text(attributes.get("lk-tui.helper", ""), 40)),
        session=_SESSION_OF.get(session, SessionState.UNKNOWN),
        close=_report(attributes.get("lk-tui.close")),
        shutdown=_report(attributes.get("lk-tui.shutdown")),
    )


def _report(raw: str | None) -> CloseReport | None:
    """The helper's JSON, read leniently: any participant may write anything into its attributes."""
    if raw is None:
        return None
    try:
        said: Any = json.loads(raw)
    except (ValueError, RecursionError):
        said = None
    if not isinstance(said, dict):
        return CloseReport(reason="(unreadable)")
    at = said.get("at")
    error = said.get("error")
    return CloseReport(
        reason=safe_text(str(said.get("reason") or "")),
        at=float(at) if isinstance(at, int | float) and not isinstance(at, bool) and 0 < at < 1e11 else None,
        by=safe_text(str(said.get("by") or "")),
        error=SessionError(*(safe_text(str(error.get(key) or ""), 300) for key in ("type", "source", "message")))
        if isinstance(error, dict)
        else None,
    )
