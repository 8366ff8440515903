"""LiveKit's protobuf messages into the model, every string made safe on the way."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from livekit.protocol import agent as agent_pb
from livekit.protocol import agent_dispatch as dispatch_pb
from livekit.protocol import models as models_pb

from tui.model.room import (
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
        attributes={
            safe_text(key, TEXT_LIMIT): safe_text(value, TEXT_LIMIT) for key, value in message.attributes.items()
        },
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


def _agent_facts(attributes: Mapping[str, str]) -> AgentFacts:
    """What an agent publishes of itself: livekit-agents' own attributes and the helper's (docs/helper-protocol.md)."""
    session = attributes.get("lk-tui.session", "")
    return AgentFacts(
        name=safe_text(attributes.get("lk.agent.name", "")),
        state=safe_text(attributes.get("lk.agent.state", ""), 40),
        helper=safe_text(attributes.get("lk-tui.helper", ""), 40),
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
