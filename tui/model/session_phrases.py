"""A session in words and glyphs: how it stands, what it has used, and what was said and done in it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from tui.model.phrases import Tone, age, count
from tui.model.session import Entry, EntryKind, Health, ModelUsage, RtcSample, SessionView, ToolCall, ToolStatus

HEALTH_GLYPHS = {
    Health.OFF: "○",
    Health.CONNECTING: "◌",
    Health.ANSWERING: "●",
    Health.UNSUPPORTED: "?",
    Health.CLOSED: "◐",
    Health.HUNG: "✕",
    Health.GONE: "✗",
}

HEALTH_TONES = {
    Health.OFF: Tone.MUTED,
    Health.CONNECTING: Tone.MUTED,
    Health.ANSWERING: Tone.WORKING,
    Health.UNSUPPORTED: Tone.NOTICE,
    Health.CLOSED: Tone.ENDED,
    Health.HUNG: Tone.TROUBLE,
    Health.GONE: Tone.ENDED,
}

HEALTH_MEANINGS = {
    Health.OFF: "Its session is not looked into. What the room service knows is shown.",
    Health.CONNECTING: "On the way into the room, or waiting for the first answer.",
    Health.ANSWERING: "The session answers.",
    Health.UNSUPPORTED: "The agent is alive, but its session never answered: another SDK, an older version, or not"
    " started yet. What the room service knows is shown.",
    Health.CLOSED: "The session answers no more, the agent's process does. The agent stays until its job is shut down.",
    Health.HUNG: "Neither the session nor the agent's process answers.",
    Health.GONE: "The agent has left, or the room has ended. What is shown is from before.",
}

OTHERS_TONE = {
    EntryKind.HANDOFF: Tone.OURS,
    EntryKind.INTERRUPTION: Tone.NOTICE,
    EntryKind.ERROR: Tone.TROUBLE,
    EntryKind.SYSTEM: Tone.MUTED,
    EntryKind.CONFIG: Tone.MUTED,
    EntryKind.NOTE: Tone.MUTED,
}
"""What is neither said nor done with a tool."""

_TOOL_GLYPHS = {ToolStatus.RUNNING: "…", ToolStatus.DONE: "✓", ToolStatus.FAILED: "✗", ToolStatus.CANCELLED: "–"}
_TOOL_TONES = {
    ToolStatus.RUNNING: Tone.NOTICE,
    ToolStatus.DONE: Tone.WORKING,
    ToolStatus.FAILED: Tone.TROUBLE,
    ToolStatus.CANCELLED: Tone.MUTED,
}

Said = tuple[str, Tone]


def took_words(seconds: float) -> str:
    """How long something ran, finer where it was quick: `12 ms`, `1.4 s`, `41s`, `3m`."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    return f"{seconds:.1f} s" if seconds < 10 else age(seconds)


def who_words(entry: Entry) -> Said:
    """Who said or did it, in a word."""
    match entry.kind:
        case EntryKind.USER:
            return "user", Tone.STRONG
        case EntryKind.TRANSCRIPT:
            return "user", Tone.STRONG if entry.final else Tone.MUTED
        case EntryKind.AGENT:
            return "agent", Tone.WORKING
        case EntryKind.TOOL:
            return "tool", Tone.MUTED
        case EntryKind.SYSTEM:
            return "developer", Tone.MUTED
        case EntryKind.CONFIG:
            return "agent", Tone.MUTED
        case EntryKind.INTERRUPTION:
            return "cut in", Tone.NOTICE
        case _:
            return entry.kind.value, OTHERS_TONE[entry.kind]


def entry_words(entry: Entry, now: float) -> Sequence[Said]:
    """What was said or done, one or more paragraphs; `now` is what a running tool's time is counted to."""
    match entry.kind:
        case EntryKind.USER:
            return ((entry.text, Tone.STRONG),)
        case EntryKind.TRANSCRIPT:
            return ((entry.text, Tone.STRONG),) if entry.final else ((f"{entry.text} …", Tone.MUTED),)
        case EntryKind.AGENT:
            cut = (("‖ cut off here by the user", Tone.NOTICE),) if entry.interrupted else ()
            return ((entry.text, Tone.PLAIN), *cut) if entry.text else cut
        case EntryKind.TOOL if entry.tool is not None:
            return tuple(_tool_words(entry.tool, now))
        case EntryKind.HANDOFF:
            return ((f"⇄ {entry.text}", Tone.OURS),)
        case EntryKind.INTERRUPTION:
            return ((f"‖ {entry.text or 'the user spoke into the words of the agent'}", Tone.NOTICE),)
        case EntryKind.ERROR:
            source = f"{entry.who}: " if entry.who else ""
            return ((f"✗ {source}{entry.text}", Tone.TROUBLE),)
        case _:
            return ((entry.text, OTHERS_TONE.get(entry.kind, Tone.MUTED)),)


def _tool_words(call: ToolCall, now: float) -> Iterator[Said]:
    yield f"{call.name}({_argument_words(call.arguments)})", Tone.PLAIN
    if call.progress and call.status is ToolStatus.RUNNING:
        yield f"  {call.progress}", Tone.MUTED
    seconds = call.took(now)
    lasted = took_words(seconds) if seconds is not None else ""
    result = " ".join((call.error or call.result).split("\n"))
    words = {
        ToolStatus.RUNNING: "running",
        ToolStatus.DONE: result or "done",
        ToolStatus.FAILED: f"failed: {result}" if result else "failed",
        ToolStatus.CANCELLED: "cancelled",
    }[call.status]
    yield f"{_TOOL_GLYPHS[call.status]} {words}" + (f"  ({lasted})" if lasted else ""), _TOOL_TONES[call.status]


def _argument_words(arguments: str) -> str:
    """JSON of an object as a call would have it, `order=7, name="Ann"`; anything else as it is."""
    try:
        told = json.loads(arguments or "{}")
    except (ValueError, RecursionError):
        told = None
    if not isinstance(told, dict):
        return arguments
    return ", ".join(f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in told.items())


def entry_lines(entry: Entry, now: float) -> list[tuple[str, str]]:
    """Everything about an entry, label and value; nothing folded."""
    lines = [("what", entry.kind.value), ("who", entry.who or "—")]
    if entry.text:
        lines.append(("text", entry.text))
    if entry.tool is not None:
        call = entry.tool
        seconds = call.took(now)
        lines += [
            ("status", call.status.value + (f", {took_words(seconds)}" if seconds is not None else "")),
            ("arguments", _spread(call.arguments)),
            ("progress", call.progress),
            ("result", _spread(call.result)),
            ("error", call.error),
        ]
    if entry.before or entry.after:
        lines += [("from", entry.before), ("to", entry.after)]
    if entry.interrupted:
        lines.append(("cut off", "yes, by the user"))
    if not entry.final:
        lines.append(("final", "no: it may still change"))
    lines += [(name, took_words(value)) for name, value in entry.metrics]
    lines.append(("id", entry.id))
    return [(label, value) for label, value in lines if value]


def _spread(text: str) -> str:
    """JSON over several lines, for eyes; anything else as it is."""
    try:
        told = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return json.dumps(told, indent=2, ensure_ascii=False) if isinstance(told, dict | list) else text


def entry_text(entry: Entry, now: float) -> str:
    """An entry as plain text, for a file or the clipboard."""
    return "\n".join(text for text, _ in entry_words(entry, now))


def public_entry(entry: Entry) -> dict[str, Any]:
    """An entry as an object of JSON: what is empty is left out. Times are seconds since 1970."""
    call = entry.tool
    tool = call and {
        "name": call.name,
        "arguments": call.arguments,
        "status": call.status.value,
        "result": call.result,
        "error": call.error,
        "started_at": call.started_at,
        "ended_at": call.ended_at,
    }
    told = {
        "who": entry.who,
        "text": entry.text,
        "interrupted": entry.interrupted,
        "interim": not entry.final,
        "tool": tool,
        "from": entry.before,
        "to": entry.after,
        "metrics": dict(entry.metrics),
    }
    return {"at": entry.at, "kind": entry.kind.value, "id": entry.id} | {k: v for k, v in told.items() if v}


def usage_words(used: ModelUsage) -> str:
    """What a model was used for: `1,204 in (200 cached), 340 out`, `3,112 characters, 41 s of speech`."""
    parts = []
    if used.input_tokens or used.output_tokens:
        cached = f" ({used.cached_tokens:,} cached)" if used.cached_tokens else ""
        parts.append(f"{used.input_tokens:,} in{cached}, {used.output_tokens:,} out")
    if used.characters:
        parts.append(count(used.characters, "character"))
    if used.audio_s:
        parts.append(f"{used.audio_s:,.1f} s of speech")
    if used.session_s:
        parts.append(f"{used.session_s:,.0f} s connected")
    if used.requests:
        parts.append(count(used.requests, "request"))
    return ", ".join(parts) or "nothing yet"


def model_words(used: ModelUsage) -> str:
    """A model's name: `llm gpt-4o`, `tts elevenlabs`."""
    return f"{used.kind} {used.model or used.provider}".strip()


def state_words(state: str, since: float | None, now: float) -> str:
    """A state, and for how long: `speaking 12s`."""
    if not state:
        return "not told"
    return f"{state} {age(now - since)}" if since is not None else state


def audio_words(view: SessionView) -> str:
    """What was switched off from here: `voice and ears off`; nothing, where nothing was."""
    off = [word for word, on in (("voice", view.speaks), ("ears", view.hears)) if on is False]
    return f"{' and '.join(off)} off" if off else ""


def rtc_values(samples: Sequence[RtcSample]) -> Iterator[tuple[str, str, Sequence[float]]]:
    """Each measure of a connection: its name, how it stands, and its values one after the other."""
    newest = samples[-1] if samples else None
    for name, field, unit in (
        ("round trip", "round_trip_s", "ms"),
        ("jitter", "jitter_s", "ms"),
        ("lost sent", "sent_loss", "%"),
        ("lost heard", "received_loss", "%"),
    ):
        scale = 1000 if unit == "ms" else 100
        values = [value * scale for sample in samples if (value := getattr(sample, field)) is not None]
        current = getattr(newest, field) if newest is not None else None
        yield name, f"{current * scale:.1f} {unit}" if current is not None else "—", values
