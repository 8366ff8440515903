"""The model in words and glyphs: what the screen, the one-shot command and the dialogs say, said in one place."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from enum import StrEnum

from tui.model.action import ActionRecord, BatchRecord, Outcome
from tui.model.room import AUTO_AGENT, Agent, Kind, Participant, Room
from tui.model.signs import Sign, SignCode


class Tone(StrEnum):
    """What a piece of text means; each has one colour, and never a colour alone."""

    PLAIN = "plain"
    MUTED = "muted"
    STRONG = "strong"
    TROUBLE = "trouble"
    NOTICE = "notice"
    WORKING = "working"
    ENDED = "ended"
    OURS = "ours"


KIND_WORDS = {
    Kind.STANDARD: "person",
    Kind.SIP: "phone",
    Kind.INGRESS: "ingress",
    Kind.EGRESS: "egress",
    Kind.AGENT: "agent",
    Kind.CONNECTOR: "connector",
    Kind.BRIDGE: "bridge",
    Kind.OTHER: "other",
}

SIGN_GLYPHS = {
    SignCode.SILENT: "✕",
    SignCode.WAITING: "▲",
    SignCode.STUCK: "■",
    SignCode.RETURNED: "↺",
    SignCode.GHOST: "◌",
    SignCode.CLOSED: "◐",
    SignCode.ALONE: "△",
    SignCode.DOUBLE: "≡",
    SignCode.FAILED: "!",
    SignCode.STALE: "~",
}

SIGN_TONES = {
    SignCode.SILENT: Tone.TROUBLE,
    SignCode.WAITING: Tone.TROUBLE,
    SignCode.STUCK: Tone.TROUBLE,
    SignCode.RETURNED: Tone.TROUBLE,
    SignCode.GHOST: Tone.TROUBLE,
    SignCode.CLOSED: Tone.ENDED,
    SignCode.ALONE: Tone.NOTICE,
    SignCode.DOUBLE: Tone.NOTICE,
    SignCode.FAILED: Tone.NOTICE,
    SignCode.STALE: Tone.MUTED,
}

SIGN_NAMES = {
    SignCode.SILENT: "not answering",
    SignCode.WAITING: "waiting",
    SignCode.STUCK: "stuck",
    SignCode.RETURNED: "came back",
    SignCode.GHOST: "ghost",
    SignCode.CLOSED: "session closed",
    SignCode.ALONE: "alone",
    SignCode.DOUBLE: "double",
    SignCode.FAILED: "unreadable",
    SignCode.STALE: "stale",
}
"""A word or two for each sign, for counts."""

SIGN_MEANINGS = {
    SignCode.SILENT: "an agent's process hangs, is dead or is cut off: it answers no probe",
    SignCode.WAITING: "people wait and no agent is there",
    SignCode.STUCK: "an agent has been initializing or thinking for too long",
    SignCode.RETURNED: "a participant came back after it was kicked",
    SignCode.GHOST: "the room and its people are listed, but their node doesn't answer: they may not be there",
    SignCode.CLOSED: "an agent's session has closed and the agent is still there",
    SignCode.ALONE: "an agent is there and no person",
    SignCode.DOUBLE: "two agents of one name",
    SignCode.FAILED: "this room could not be read",
    SignCode.STALE: "this room was last read long ago",
}

GHOST_WORDS = "listed, but their node doesn't answer"
"""What is to be said of a ghost room's people and agents, wherever they are shown."""

STATE_TONES = {
    "listening": Tone.WORKING,
    "speaking": Tone.WORKING,
    "thinking": Tone.WORKING,
    "idle": Tone.PLAIN,
    "initializing": Tone.MUTED,
    "closing": Tone.ENDED,
    "closed": Tone.ENDED,
}

_MINUTE, _HOUR, _DAY = 60, 3600, 86400


def age(seconds: float) -> str:
    """A length of time in at most four characters: `41s`, `12m`, `3h`, `2d`; a negative one (clocks differ) is `0s`."""
    whole = max(0, int(seconds))
    if whole < _MINUTE:
        return f"{whole}s"
    if whole < _HOUR:
        return f"{whole // _MINUTE}m"
    return f"{whole // _HOUR}h" if whole < 2 * _DAY else f"{min(whole // _DAY, 999)}d"


def span(seconds: float) -> str:
    """A length of time with two units where that tells more: `41s`, `3m12s`, `2h05m`, `4d07h`."""
    whole = max(0, int(seconds))
    if whole < _MINUTE:
        return f"{whole}s"
    if whole < _HOUR:
        return f"{whole // _MINUTE}m{whole % _MINUTE:02d}s"
    if whole < _DAY:
        return f"{whole // _HOUR}h{whole % _HOUR // _MINUTE:02d}m"
    return f"{whole // _DAY}d{whole % _DAY // _HOUR:02d}h"


def clock_words(skew: float) -> str:
    """How this machine's clock stands to one that is ahead by `skew` seconds: `10m00s behind`, `48s ahead of`."""
    return f"{span(abs(skew))} {'behind' if skew > 0 else 'ahead of'}"


def count(number: int, one: str, many: str = "") -> str:
    """`1 person`, `2 people`; the plural is the singular with an s unless given."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def people(number: int) -> str:
    """`1 person`, `2 people`."""
    return count(number, "person", "people")


def shorten(text: str, width: int) -> str:
    """An id cut in the middle to `width` characters, both ends kept."""
    if len(text) <= width:
        return text
    head = width // 2
    return text[:head] + "…" + text[len(text) - (width - 1 - head) :]


def sign_words(sign: Sign, now: float) -> str:
    """One sign as a person says it."""
    for_how_long = age(now - sign.since) if sign.since is not None else ""
    match sign.code:
        case SignCode.SILENT:
            return f"{'agent' if sign.count == 1 else sign.who} not answering {for_how_long}"
        case SignCode.WAITING:
            return f"{people(sign.count)} {'waits' if sign.count == 1 else 'wait'} {for_how_long}, no agent"
        case SignCode.STUCK:
            return f"{sign.who} for {for_how_long}"
        case SignCode.RETURNED:
            return f"{sign.who} came back {for_how_long} ago, after a kick"
        case SignCode.GHOST:
            return f"ghost: node silent {for_how_long}"
        case SignCode.CLOSED:
            return f"closed {for_how_long + ' ago, ' if for_how_long else ''}agent stays"
        case SignCode.ALONE:
            return f"{'agent' if sign.count == 1 else count(sign.count, 'agent')} alone {for_how_long}"
        case SignCode.DOUBLE:
            return f"{sign.count} agents named {sign.who}"
        case SignCode.FAILED:
            return f"unreadable: {sign.who}"
        case SignCode.STALE:
            return f"last read {for_how_long} ago"


def room_glyph(room: Room, signs: tuple[Sign, ...]) -> tuple[str, Tone]:
    """The one character that stands for a room's condition: its worst sign, or that all is well, empty, or unread."""
    if signs:
        return SIGN_GLYPHS[signs[0].code], SIGN_TONES[signs[0].code]
    if room.participants is None:
        return "·", Tone.MUTED
    return ("●", Tone.WORKING) if room.participants else ("○", Tone.MUTED)


def agent_names(room: Room) -> str:
    """The room's agents by name: `intake`, `intake +1`, `—` for none, `?` where it is not known yet."""
    if room.participants is None:
        return "?"
    agents = room.agents
    if not agents:
        return "—"
    return agents[0].name if len(agents) == 1 else f"{agents[0].name} +{len(agents) - 1}"


def as_agent(name: str) -> str:
    """`agent intake`, of an agent's name, or of `agent_names`; but `auto agent`, which says already what it is."""
    return name if name.startswith(AUTO_AGENT) else f"agent {name}"


def agent_state(room: Room) -> str:
    """The state of the room's first agent, in one word; empty without an agent."""
    return next((agent.state or "?" for agent in room.agents), "")


def who_counts(participants: Iterable[Participant]) -> str:
    """`2 people, 1 phone caller and 1 agent`; `nobody` for none. Hidden participants are not mentioned."""
    numbers: Counter[str] = Counter()
    for participant in participants:
        if participant.hidden:
            continue
        if participant.kind is Kind.SIP:
            numbers["phone caller"] += 1
        elif participant.is_person:
            numbers["person"] += 1
        elif participant.is_agent:
            numbers["agent"] += 1
        else:
            numbers[KIND_WORDS[participant.kind] + " participant"] += 1
    order = sorted(numbers, key=lambda word: (word != "person", word != "phone caller", word != "agent", word))
    parts = [count(numbers[word], word, "people" if word == "person" else "") for word in order]
    if len(parts) > 1:
        return ", ".join(parts[:-1]) + " and " + parts[-1]
    return parts[0] if parts else "nobody"


def session_words(agent: Agent, now: float) -> str:
    """What is known of an agent's session."""
    facts = agent.facts
    if facts.close is not None:
        when = f" {age(now - facts.close.at)} ago" if facts.close.at is not None else ""
        return f"closed{when}, {facts.close.reason}" + (f", by {facts.close.by}" if facts.close.by else "")
    if facts.closed_since is not None:
        return f"closed {age(now - facts.closed_since)} ago, as its silence tells"
    if facts.helper:
        return facts.session.value
    return "not told (no helper)"


def outcome_words(record: ActionRecord) -> str:
    """How an action stands, in the words of its last step, led by its outcome where the step doesn't say it."""
    if record.outcome in (Outcome.RUNNING, Outcome.CONFIRMED) or record.last.startswith(record.outcome.value):
        return record.last
    return f"{record.outcome.value}: {record.last}"


def batch_words(record: BatchRecord) -> str:
    """How an action on many targets stands: `tear down of 12: 8 confirmed, 1 refused, 1 under way, 2 to go`.

    Under way is also what was done already and is only being verified, or whose name is watched.
    """
    counts = record.counts
    to_go = record.batch.size - counts.total()
    under_way = counts.pop(Outcome.RUNNING, 0)
    parts = [f"{number:,} {outcome.value}" for outcome, number in counts.most_common()]
    parts += [f"{under_way:,} under way"] if under_way else []
    rest = "to go" if record.outcome is Outcome.RUNNING else "not known"
    parts += [f"{to_go:,} {rest}"] if to_go else []
    return f"{record.action.value} of {record.batch.size:,}: {', '.join(parts)}"
