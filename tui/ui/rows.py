"""The rows and columns of the three tables: rooms, one room's participants, and the log of closes and actions."""

from __future__ import annotations

import time
from collections.abc import Sequence

from tui.model.action import BatchRecord, Outcome, Target
from tui.model.close_phrases import cause_tone, close_words
from tui.model.closes import CloseEvent
from tui.model.fleet import RoomRow
from tui.model.log import LogEntry
from tui.model.phrases import (
    GHOST_WORDS,
    KIND_WORDS,
    SIGN_TONES,
    STATE_TONES,
    Tone,
    age,
    batch_words,
    count,
    outcome_words,
    room_glyph,
    sign_words,
    span,
)
from tui.model.room import Participant, Room
from tui.model.text import Name
from tui.ui.live_table import Cell, Column

ROOM_COLUMNS = (
    Column("glyph", "", 1),
    Column("room", "ROOM", 14, grow=3),
    Column("sign", "SIGN", 29, grow=4),
    Column("people", "PEOPLE", 7, right=True),
    Column("agent", "AGENT", 9, grow=1),
    Column("state", "STATE", 9),
    Column("age", "AGE", 4, right=True, drop=1),
    Column("checked", "CHECKED", 8, right=True, drop=2),
)

PARTICIPANT_COLUMNS = (
    Column("who", "WHO", 14, grow=3),
    Column("kind", "KIND", 9),
    Column("state", "STATE", 12),
    Column("tracks", "TRACKS", 6, grow=1, drop=1),
    Column("joined", "JOINED", 6, right=True),
)

LOG_COLUMNS = (
    Column("time", "TIME", 8),
    Column("room", "ROOM", 12, grow=2),
    Column("who", "AGENT", 9, grow=1),
    Column("what", "WHAT HAPPENED", 28, grow=5),
    Column("by", "BY", 8, grow=1, drop=2),
    Column("lasted", "LASTED", 6, right=True, drop=1),
)

OUTCOME_TONES = {
    Outcome.RUNNING: Tone.OURS,
    Outcome.CONFIRMED: Tone.WORKING,
    Outcome.REFUSED: Tone.NOTICE,
    Outcome.UNSUPPORTED: Tone.NOTICE,
    Outcome.FAILED: Tone.TROUBLE,
    Outcome.UNKNOWN: Tone.TROUBLE,
    Outcome.CAME_BACK: Tone.TROUBLE,
    Outcome.STOPPED: Tone.NOTICE,
}

OUTCOME_GLYPHS = {
    Outcome.RUNNING: "…",
    Outcome.CONFIRMED: "✓",
    Outcome.REFUSED: "–",
    Outcome.UNSUPPORTED: "–",
    Outcome.FAILED: "✗",
    Outcome.UNKNOWN: "?",
    Outcome.CAME_BACK: "↺",
    Outcome.STOPPED: "–",
}


def room_cells(row: RoomRow, now: float) -> Sequence[Cell]:
    """One room: what is wrong comes right after its name, so that a narrow screen keeps it."""
    room = row.room
    glyph, tone = room_glyph(room, row.signs)
    worst = row.signs[0] if row.signs else None
    words = sign_words(worst, now) if worst is not None else ""
    if len(row.signs) > 1:
        words += f"  +{len(row.signs) - 1}"
    state = row.state
    unread = room.participants is None
    ghost = room.ghost_since is not None
    people = f"~{row.people:,}" if unread else f"{row.people:,}?" if ghost else f"{row.people:,}"
    return (
        (glyph, tone),
        (marked_name(room.name), Tone.STRONG if worst is not None else Tone.PLAIN),
        (words or ("not read yet" if unread else ""), SIGN_TONES[worst.code] if worst is not None else Tone.MUTED),
        (people, Tone.MUTED if unread or ghost or not row.people else Tone.PLAIN),
        (row.agents, Tone.MUTED if ghost or row.agents in ("—", "?") else Tone.PLAIN),
        ("?", Tone.MUTED) if ghost else (state or "—", STATE_TONES.get(state, Tone.MUTED)),
        (age(now - room.created_at), Tone.MUTED),
        (_checked(room, now), Tone.MUTED),
    )


JUST_NOW_S = 10.0
"""A room read within this time was read now: to count on would only make the screen restless."""


def _checked(room: Room, now: float) -> str:
    if room.checked_at is None:
        return "—"
    ago = now - room.checked_at
    return age(ago) if ago > JUST_NOW_S else "now"


def participant_cells(participant: Participant, now: float) -> Sequence[Cell]:
    """One participant; a hidden one is said to be hidden."""
    agent = participant.agent
    state, tone = participant.state.value, Tone.PLAIN
    if agent is not None and agent.session.value in ("closed", "closing"):
        state, tone = agent.session.value, Tone.ENDED
    elif agent is not None and agent.state:
        state, tone = agent.state, STATE_TONES.get(agent.state, Tone.PLAIN)
    elif participant.state.value == "active":
        tone = Tone.WORKING
    kind = (
        "observer" if participant.is_our_observer else "hidden" if participant.hidden else KIND_WORDS[participant.kind]
    )
    tracks = " ".join(
        ("muted " if track.muted else "") + _TRACK_WORDS.get(track.source, track.source) for track in participant.tracks
    )
    return (
        (marked_name(participant.identity), Tone.MUTED if participant.hidden else Tone.PLAIN),
        (kind, Tone.MUTED if participant.hidden else Tone.PLAIN),
        (state, tone),
        (tracks or "—", Tone.MUTED),
        (age(now - participant.joined_at), Tone.MUTED),
    )


_TRACK_WORDS = {"microphone": "mic", "camera": "cam", "screen_share": "screen", "screen_share_audio": "screen audio"}


def log_cells(line: LogEntry, now: float) -> Sequence[Cell]:  # noqa: ARG001 - the log shows times of day, not ages
    """One line of the log."""
    when = time_of_day(line.at)
    entry = line.what
    if isinstance(entry, CloseEvent):
        return (
            (when, Tone.MUTED),
            (marked_name(entry.room), Tone.PLAIN),
            (entry.agent, Tone.PLAIN),
            (close_words(entry), cause_tone(entry.cause)),
            (entry.by or "—", Tone.OURS if entry.by else Tone.MUTED),
            (span(entry.duration), Tone.MUTED),
        )
    if isinstance(entry, BatchRecord):
        outcome = entry.outcome
        lasted = span(entry.ended_at - entry.batch.at) if outcome is not Outcome.RUNNING else "…"
        return (
            (when, Tone.MUTED),
            (count(entry.batch.size, "target"), Tone.PLAIN),
            ("—", Tone.MUTED),
            (f"{OUTCOME_GLYPHS[outcome]} {batch_words(entry)}", OUTCOME_TONES[outcome]),
            (entry.operator, Tone.OURS),
            (lasted, Tone.MUTED),
        )
    target = entry.target
    who = target.agent_name or (marked_name(target.identity) if target.identity is not None else "—")
    words = f"{OUTCOME_GLYPHS[entry.outcome]} {entry.action.value}: {outcome_words(entry)}"
    last = entry.steps[-1].at if entry.steps else entry.at
    return (
        (when, Tone.MUTED),
        (marked_name(target.room), Tone.PLAIN),
        (who, Tone.PLAIN),
        (words, OUTCOME_TONES[entry.outcome]),
        (entry.operator, Tone.OURS),
        (span(last - entry.at) if entry.outcome is not Outcome.RUNNING else "…", Tone.MUTED),
    )


def time_of_day(at: float) -> str:
    """The local time, `03:12:45`."""
    return time.strftime("%H:%M:%S", time.localtime(at))


def marked_name(name: Name) -> str:
    """A name whose safe form is not the real one is marked, so that nobody takes it for the real one."""
    return f"⚑{name.safe}" if name.altered else name.safe


def room_lines(room: Room, now: float) -> list[tuple[str, str]]:
    """Everything about a room, label and value."""
    return [
        ("room", room.name.safe),
        ("sid", room.sid),
        ("created", f"{span(now - room.created_at)} ago"),
        ("people", str(room.people_count)),
        ("agents", ", ".join(agent.name for agent in room.agents) or "none"),
        (
            "dispatches",
            ", ".join(f"{d.label} {d.id} ({len(d.jobs)} jobs)" for d in room.dispatches or ()) or "none known",
        ),
        ("last read", f"{span(now - room.checked_at)} ago" if room.checked_at is not None else "never"),
        *([("ghost", f"{GHOST_WORDS}, for {span(now - room.ghost_since)}")] if room.ghost_since is not None else []),
        ("metadata", room.metadata or "none"),
    ]


def participant_lines(room: Room, participant: Participant, now: float) -> list[tuple[str, str]]:
    """Everything about a participant, label and value; ids whole."""
    lines = [
        ("identity", participant.identity.safe),
        ("sid", participant.sid),
        ("name", participant.name or "none"),
        ("room", f"{room.name.safe}  {room.sid}"),
        ("kind", KIND_WORDS[participant.kind] + (", hidden" if participant.hidden else "")),
        ("state", participant.state.value),
        ("joined", f"{span(now - participant.joined_at)} ago"),
        (
            "tracks",
            ", ".join(f"{t.source} {t.sid}{' (muted)' if t.muted else ''}" for t in participant.tracks) or "none",
        ),
        ("metadata", participant.metadata or "none"),
    ]
    lines += [(f"  {key}", value) for key, value in sorted(participant.attributes.items())]
    return lines


def target_words(target: Target) -> str:
    """What an action is aimed at: `ann in sales-925`, `sales-925`."""
    return f"{target.identity.safe} in {target.room.safe}" if target.identity is not None else target.room.safe
