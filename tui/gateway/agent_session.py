"""What an agent tells on `lk.agent.session`, in the model's terms, and what it is asked there.

The messages are livekit-protocol's `agent_pb.agent_session`; what livekit-agents puts into them is 1.8.9's
`voice/remote_session.py` and `_proto.py`, and was seen from a running agent. A tool's call has no item of its own among
the live events, only updates by its call ID; history has the call and its output as two items.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from google.protobuf.json_format import MessageToDict
from google.protobuf.struct_pb2 import Struct
from google.protobuf.timestamp_pb2 import Timestamp
from livekit.protocol.agent_pb import agent_session as pb

from tui.model.session import (
    AgentStateChanged,
    AgentTold,
    EntriesTold,
    Entry,
    EntryKind,
    FrameworkTold,
    Heard,
    ModelUsage,
    RtcSample,
    RtcTold,
    SessionEvent,
    StateTold,
    ToolCall,
    ToolStatus,
    Usage,
    UsageTold,
    UserStateChanged,
)
from tui.model.text import safe_block, safe_text

TEXT_LIMIT = 8_000
"""Characters of a message, a tool's arguments or its result, that are kept."""
INSTRUCTIONS_LIMIT = 20_000
OPTION_LIMIT = 400
ID_LIMIT = 120
TOOLS_LIMIT = 200
LAST = 1e11
"""No time is later, some 3,000 years: anything may be sent."""

_MANY = 1e15
_AGENT_STATES = {number: name.removeprefix("AS_").lower() for name, number in pb.AgentState.items()}
_USER_STATES = {number: name.removeprefix("US_").lower() for name, number in pb.UserState.items()}
_ROLES: Mapping[int, tuple[EntryKind, str]] = {
    pb.USER: (EntryKind.USER, "user"),
    pb.ASSISTANT: (EntryKind.AGENT, "agent"),
}
_ENDS = {pb.TC_DONE: ToolStatus.DONE, pb.TC_ERROR: ToolStatus.FAILED, pb.TC_CANCELLED: ToolStatus.CANCELLED}
_METRICS = (
    "e2e_latency",
    "llm_node_ttft",
    "tts_node_ttfb",
    "transcription_delay",
    "end_of_turn_delay",
    "on_user_turn_completed_delay",
)
"""Those of `MetricsReport` that are lengths of time, in seconds."""


def request(kind: str, id_: str) -> pb.SessionRequest:
    """A request of this kind (`ping`, `get_session_state` …), to be filled in where there is anything to."""
    asked = pb.SessionRequest(request_id=id_)
    getattr(asked, kind).SetInParent()
    return asked


def events(message: pb.AgentSessionMessage, at: float) -> tuple[SessionEvent, ...]:
    """What a message, which came at `at`, tells of the session; nothing where it is not understood."""
    match message.WhichOneof("message"):
        case "event":
            return tuple(_of_event(message.event, _time(message.event, "created_at", at)))
        case "response":
            return tuple(_of_response(message.response, at))
        case _:
            return ()


def _of_response(answer: pb.SessionResponse, at: float) -> Iterator[SessionEvent]:
    match answer.WhichOneof("response"):
        case "get_session_state":
            state = answer.get_session_state
            yield StateTold(
                at,
                _AGENT_STATES.get(state.agent_state, "unknown"),
                _USER_STATES.get(state.user_state, "unknown"),
                safe_text(state.agent_id, ID_LIMIT),
                _time(state, "created_at", None),
                tuple(
                    (safe_text(name, ID_LIMIT), safe_text(state.options[name], OPTION_LIMIT))
                    for name in sorted(state.options)
                ),
            )
        case "get_agent_info":
            agent = answer.get_agent_info
            yield AgentTold(
                safe_text(agent.id, ID_LIMIT),
                safe_block(agent.instructions, INSTRUCTIONS_LIMIT),
                tuple(safe_text(tool, ID_LIMIT) for tool in agent.tools[:TOOLS_LIMIT]),
            )
        case "get_chat_history":
            yield EntriesTold(tuple(_entries(answer.get_chat_history.items, at)))
        case "run_input":
            yield EntriesTold(tuple(_entries(answer.run_input.items, at)))
        case "get_session_usage":
            yield UsageTold(at, _usage(answer.get_session_usage.usage))
        case "get_framework_info":
            info = answer.get_framework_info
            yield FrameworkTold(safe_text(info.sdk, ID_LIMIT), safe_text(info.sdk_version, ID_LIMIT))
        case "get_rtc_stats":
            stats = answer.get_rtc_stats
            yield RtcTold(_sample((*stats.publisher_stats, *stats.subscriber_stats), at))


def _of_event(event: pb.AgentSessionEvent, at: float) -> Iterator[SessionEvent]:
    match event.WhichOneof("event"):
        case "agent_state_changed":
            yield AgentStateChanged(at, _AGENT_STATES.get(event.agent_state_changed.new_state, "unknown"))
        case "user_state_changed":
            yield UserStateChanged(at, _USER_STATES.get(event.user_state_changed.new_state, "unknown"))
        case "user_input_transcribed":
            words = event.user_input_transcribed
            yield Heard(at, safe_block(words.transcript, TEXT_LIMIT), words.is_final)
        case "session_usage_updated":
            yield UsageTold(at, _usage(event.session_usage_updated.usage))
        case "conversation_item_added":
            yield EntriesTold(tuple(_entries((event.conversation_item_added.item,), at)))
        case "tool_execution_updated":
            yield EntriesTold(tuple(_of_tool(event.tool_execution_updated, at)))
        case "function_tools_executed":
            # Without times: those came with the updates before.
            yield EntriesTold(tuple(_executed(event.function_tools_executed, at)))
        case "error" | "overlapping_speech" | "agent_false_interruption" | "amd_prediction" as kind:
            yield EntriesTold((_noted(event, kind, at),))


def _noted(event: pb.AgentSessionEvent, kind: str, at: float) -> Entry:
    """What has no ID of its own, and happens once."""
    id_ = f"{kind}-{at!r}"
    match kind:
        case "error":
            return Entry(id_, at, EntryKind.ERROR, "session", safe_block(event.error.message, TEXT_LIMIT))
        case "overlapping_speech":
            cut = event.overlapping_speech.is_interruption
            words = "the user spoke into the agent's words" + ("" if cut else ", which is no interruption")
            return Entry(id_, at, EntryKind.INTERRUPTION, "user", words, interrupted=cut)
        case "agent_false_interruption":
            resumed = event.agent_false_interruption.resumed
            words = "no interruption after all" + (": the agent went on" if resumed else "")
            return Entry(id_, at, EntryKind.INTERRUPTION, "agent", words)
        case _:
            answer = event.amd_prediction
            who = pb.AmdCategory.Name(answer.category).removeprefix("AMD_").lower().replace("_", " ")
            reason = f": {answer.reason}" if answer.reason else ""
            return Entry(id_, at, EntryKind.NOTE, "session", safe_block(f"answered by: {who}{reason}", TEXT_LIMIT))


# The conversation


def _entries(items: Iterable[pb.ChatContext.ChatItem], at: float) -> Iterator[Entry]:
    for item in items:
        match item.WhichOneof("item"):
            case "message":
                yield _message(item.message, at)
            case "function_call":
                yield _called(item.function_call, _time(item.function_call, "created_at", at))
            case "function_call_output":
                yield _returned(item.function_call_output, _time(item.function_call_output, "created_at", at))
            case "agent_handoff":
                handoff = item.agent_handoff
                before, after = safe_text(handoff.old_agent_id, ID_LIMIT), safe_text(handoff.new_agent_id, ID_LIMIT)
                words = f"{before} hands over to {after}" if before else f"{after} has the session"
                yield Entry(
                    safe_text(handoff.id, ID_LIMIT),
                    _time(handoff, "created_at", at),
                    EntryKind.HANDOFF,
                    "agent",
                    words,
                    before=before,
                    after=after,
                )
            case "agent_config_update":
                yield _configured(item.agent_config_update, at)


def _message(message: pb.ChatMessage, at: float) -> Entry:
    kind, who = _ROLES.get(message.role, (EntryKind.SYSTEM, "system"))
    return Entry(
        safe_text(message.id, ID_LIMIT),
        _time(message, "created_at", at),
        kind,
        who,
        safe_block("\n".join(content.text for content in message.content), TEXT_LIMIT),
        interrupted=message.interrupted,
        metrics=tuple(
            (name, value)
            for name in _METRICS
            if message.metrics.HasField(name) and math.isfinite(value := getattr(message.metrics, name))
        ),
    )


def _called(call: pb.FunctionCall, at: float) -> Entry:
    name = safe_text(call.name, ID_LIMIT)
    return _tool(call.call_id, at, ToolCall(name, safe_block(call.arguments, TEXT_LIMIT), started_at=at))


def _returned(output: pb.FunctionCallOutput, at: float, ended_at: float | None = None) -> Entry:
    status = ToolStatus.FAILED if output.is_error else ToolStatus.DONE
    result = safe_block(output.output, TEXT_LIMIT)
    call = ToolCall(safe_text(output.name, ID_LIMIT), status=status, result=result, ended_at=ended_at or at)
    return _tool(output.call_id, at, call)


def _of_tool(update: pb.AgentSessionEvent.ToolExecutionUpdated, at: float) -> Iterator[Entry]:
    match update.WhichOneof("update"):
        case "started":
            yield _called(update.started.function_call, at)
        case "call_updated":
            progress = safe_block(update.call_updated.message, TEXT_LIMIT)
            yield _tool(update.call_updated.call_id, at, ToolCall(progress=progress))
        case "ended":
            status = _ENDS.get(update.ended.status, ToolStatus.RUNNING)
            # Of one that is done it is the tool's own value; what the model is given comes in another event.
            error = "" if status is ToolStatus.DONE else safe_block(update.ended.message, TEXT_LIMIT)
            yield _tool(update.ended.call_id, at, ToolCall(status=status, error=error, ended_at=at))


def _executed(executed: pb.AgentSessionEvent.FunctionToolsExecuted, at: float) -> Iterator[Entry]:
    for call in executed.function_calls:
        told = ToolCall(safe_text(call.name, ID_LIMIT), safe_block(call.arguments, TEXT_LIMIT))
        yield _tool(call.call_id, at, told)
    for output in executed.function_call_outputs:
        yield _returned(output, at)


def _tool(call_id: str, at: float, call: ToolCall) -> Entry:
    return Entry(safe_text(call_id, ID_LIMIT), at, EntryKind.TOOL, call.name, tool=call)


def _configured(update: pb.AgentConfigUpdate, at: float) -> Entry:
    told = []
    if update.instructions:
        told.append("new instructions")
    for verb, tools in (("tools", update.tools_added), ("without the tools", update.tools_removed)):
        if tools:
            told.append(f"{verb} {', '.join(tools[:TOOLS_LIMIT])}")
    return Entry(
        safe_text(update.id, ID_LIMIT),
        _time(update, "created_at", at),
        EntryKind.CONFIG,
        "agent",
        safe_text("; ".join(told), TEXT_LIMIT),
    )


# Numbers


def _usage(usage: pb.AgentSessionUsage) -> Usage:
    return Usage(tuple(_model_usage(each) for each in usage.model_usage if each.WhichOneof("usage") is not None))


def _model_usage(usage: pb.ModelUsage) -> ModelUsage:
    kind = str(usage.WhichOneof("usage"))
    of_kind = getattr(usage, kind)

    def told(name: str) -> Any:
        """Each kind counts things of its own."""
        number = getattr(of_kind, name, 0)
        return number if math.isfinite(number) else 0.0

    return ModelUsage(
        kind,
        safe_text(of_kind.provider, ID_LIMIT),
        safe_text(of_kind.model, ID_LIMIT),
        told("input_tokens"),
        told("input_cached_tokens"),
        told("output_tokens"),
        told("characters_count"),
        told("audio_duration"),
        told("session_duration"),
        told("total_requests"),
    )


def _sample(stats: Iterable[Struct], at: float) -> RtcSample:
    """What WebRTC's statistics, in livekit's form (`rtc._proto.stats_pb2` as JSON), say of a connection."""
    told: dict[str, list[Mapping[str, Any]]] = {}
    for each in stats:
        for kind, fields in MessageToDict(each).items():
            told.setdefault(kind, []).append(fields if isinstance(fields, dict) else {})

    def numbers(kind: str, part: str, name: str) -> list[float]:
        found = (fields.get(part, {}).get(name) for fields in told.get(kind, ()))
        return [float(number) for number in found if _is_number(number)]

    # Of the pairs of addresses only those in use carry anything.
    pairs = [each.get("candidatePair", {}) for each in told.get("candidatePair", ())]
    trips = [
        float(trip) for pair in pairs if pair.get("nominated") and _is_number(trip := pair.get("currentRoundTripTime"))
    ]
    sent = sum(numbers("outboundRtp", "sent", "packetsSent"))
    received = sum(numbers("inboundRtp", "received", "packetsReceived"))
    lost = max(0.0, sum(numbers("inboundRtp", "received", "packetsLost")))
    return RtcSample(
        at,
        round_trip_s=max((*trips, *numbers("remoteInboundRtp", "remoteInbound", "roundTripTime")), default=None),
        jitter_s=max(numbers("inboundRtp", "received", "jitter"), default=None),
        sent_loss=max(numbers("remoteInboundRtp", "remoteInbound", "fractionLost"), default=None),
        received_loss=lost / (received + lost) if received + lost else None,
        packets_sent=int(sent),
        packets_received=int(received),
    )


def _is_number(value: object) -> bool:
    """Whether it is one; JSON has 64-bit ones as strings."""
    try:
        return value is not None and 0 <= float(value) < _MANY  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return False


def _time(message: Any, name: str, otherwise: Any) -> Any:
    """A Timestamp in seconds since 1970; `otherwise` where there is none, or none of our times."""
    stamp: Timestamp = getattr(message, name)
    told = message.HasField(name) and 0 < stamp.seconds < LAST
    return stamp.seconds + stamp.nanos / 1e9 if told else otherwise
