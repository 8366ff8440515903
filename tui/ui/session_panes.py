"""What a session is doing now, and how it is: the panes beside its conversation, and the line that sums both up."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.cells import cell_len
from textual.content import Content
from textual.widget import Widget

from tui.model.phrases import STATE_TONES, Tone, age, count, shorten
from tui.model.room import Agent, Room
from tui.model.session import Health, SessionView
from tui.model.session_phrases import (
    HEALTH_GLYPHS,
    HEALTH_MEANINGS,
    HEALTH_TONES,
    audio_words,
    model_words,
    rtc_values,
    state_words,
    usage_words,
)
from tui.ui.agent_pane import agent_lines
from tui.ui.commands import BY_ID
from tui.ui.lines import LinesPane
from tui.ui.rows import participant_lines, room_lines
from tui.ui.tones import fields, hang, label, reads_the_same, toned

_BARS = "▁▂▃▄▅▆▇"
"""Not the whole cell: one line of bars must not run into the next."""


class SessionHead(Widget):
    """One line that is always there: whose session this is, how it stands, and what both sides do."""

    def __init__(self) -> None:
        super().__init__()
        self._written = Content("")

    def show(self, room: Room, agent: Agent, view: SessionView, now: float) -> None:
        """Say how it stands; what doesn't fit is left out from the end, and the room's name is cut."""
        since = f" {age(now - view.health_since)}" if view.health_since is not None else ""
        states = ((word, state_words(state, at, now), state) for word, state, at in _sides(view) if state)
        off = audio_words(view)
        wanted: list[tuple[str, Tone]] = [
            (f" {agent.name}", Tone.STRONG),
            (f" in {shorten(room.name.safe, max(12, self.size.width // 4))}", Tone.MUTED),
            (f"  {HEALTH_GLYPHS[view.health]} {view.health.value}{since}", HEALTH_TONES[view.health]),
            *([(f"  ▲ {off}", Tone.NOTICE)] if off else []),
            *((f"  {word} {words}", _state_tone(view, state)) for word, words, state in states),
        ]
        parts: list[tuple[str, Tone]] = []
        for part in wanted:
            if sum(cell_len(text) for text, _ in (*parts, part)) <= self.size.width:
                parts.append(part)
        content = toned(*parts)
        if not reads_the_same(content, self._written):
            self._written = content
            self.refresh()

    def render(self) -> Content:
        """The line."""
        return self._written


class NowPane(LinesPane):
    """What the session is doing, with what, and what it has used."""

    def show(self, room: Room, agent: Agent, view: SessionView, now: float) -> None:
        """Show what is known now; of a session that never answered, what the room service knows."""
        label(self, Content("Now"), Content("Enter all of it"))
        known = view.health not in (Health.OFF, Health.UNSUPPORTED, Health.CONNECTING) or bool(
            view.agent.id or view.entries
        )
        lines = list(_now_lines(view, now, folded=True)) if known else []
        lines += agent_lines(agent, now) if not known else _job_lines(room, agent)
        self.write(lambda width: fields(lines, label_width=_LABELS, width=width))


def session_page(room: Room, agent: Agent, view: SessionView, now: float) -> list[tuple[str, str]]:
    """Everything about a session and its agent, label and value, nothing folded."""
    lines = list(_now_lines(view, now, folded=False))
    lines += [(f"  {name}", value) for name, value in view.options]
    lines += [("", ""), *participant_lines(room, agent.participant, now), *agent_lines(agent, now)]
    return [*lines, ("", ""), *room_lines(room, now)]


_LABELS = 12
_FOLDED = 60
"""Characters of the instructions that are shown folded."""


def _now_lines(view: SessionView, now: float, *, folded: bool) -> Iterator[tuple[str, str]]:
    yield "agent", state_words(view.agent_state, view.agent_since, now)
    yield "user", state_words(view.user_state, view.user_since, now)
    if off := audio_words(view):
        yield "switched", f"{off}, from here"
    current = view.agent
    took_over = f", took over {age(now - current.since)} ago" if current.since is not None else ""
    yield "current", (current.id or "not told") + took_over
    yield "instructions", _folded(current.instructions) if folded else current.instructions or "no instructions"
    yield "tools", ", ".join(current.tools) or "none"
    if view.started_at is not None:
        yield "started", f"{age(now - view.started_at)} ago"
    for number, used in enumerate(view.usage.models):
        yield "" if number else "used", f"{model_words(used)}: {usage_words(used)}"
    if len(view.usage.models) > 1:
        yield "in all", usage_words(view.usage.total)
    if view.sdk:
        yield "sdk", f"livekit-agents {view.sdk_version} ({view.sdk})"
    if folded and view.options:
        yield "options", f"{len(view.options)}: Enter shows them"


def _folded(instructions: str) -> str:
    if not instructions:
        return "no instructions"
    first = " ".join(instructions[: _FOLDED + 1].split())
    if len(instructions) <= _FOLDED and "\n" not in instructions:
        return first
    lines = instructions.count("\n") + 1
    return f"{first[:_FOLDED].rstrip()} … ({count(lines, 'line')}: Enter shows all)"


def _job_lines(room: Room, agent: Agent) -> Sequence[tuple[str, str]]:
    dispatch, job = agent.dispatch, agent.job
    return [
        ("job", job.id if job else "not known yet"),
        ("dispatch", f"{dispatch.id} {dispatch.label}" if dispatch else "not known yet"),
        ("worker", job.worker_id if job else "not known yet"),
        ("room", f"{room.name.safe} {room.sid}"),
        ("sid", agent.participant.sid),
        ("helper", f"version {agent.facts.helper}" if agent.facts.helper else "none"),
    ]


class HealthPane(LinesPane):
    """Whether the session answers; and, when asked for, how good the agent's connection is."""

    def show(self, view: SessionView, now: float, *, asked: bool) -> None:
        """Show how it stands. `asked` says whether the connection's statistics are wanted."""
        label(self, Content("Health"))
        self.write(lambda width: _health_page(view, now, asked, width))


def _health_page(view: SessionView, now: float, asked: bool, width: int) -> Content:  # noqa: FBT001 - of one caller
    since = f", for {age(now - view.health_since)}" if view.health_since is not None else ""
    parts: list[tuple[str, Tone]] = [
        (f"{HEALTH_GLYPHS[view.health]} {view.health.value}{since}\n", HEALTH_TONES[view.health]),
        (hang(view.trouble or HEALTH_MEANINGS[view.health], width, 0) + "\n\n", Tone.MUTED),
    ]
    if view.rtc:
        for name, current, values in rtc_values(view.rtc):
            parts += [(f"{name:<11}", Tone.MUTED), (f"{current:>9}  ", Tone.PLAIN)]
            parts.append((sparkline(values, max(4, width - 22)) + "\n", Tone.OURS))
    if asked and not view.rtc:
        parts.append(("Asking for the statistics of its connection …", Tone.MUTED))
    elif view.health is Health.ANSWERING and not asked:
        key = BY_ID["statistics"].first_key
        parts.append((hang(f"{key} asks for the statistics of its connection.", width, 0), Tone.MUTED))
    return toned(*parts)


def sparkline(values: Sequence[float], width: int) -> str:
    """The newest `width` values as bars from 0 to the highest of them."""
    shown = values[-width:]
    top = max(shown, default=0.0)
    return "".join(_BARS[round(value / top * (len(_BARS) - 1)) if top else 0] for value in shown)


def _sides(view: SessionView) -> Sequence[tuple[str, str, float | None]]:
    return ("agent", view.agent_state, view.agent_since), ("user", view.user_state, view.user_since)


def _state_tone(view: SessionView, state: str) -> Tone:
    return STATE_TONES.get(state, Tone.PLAIN) if view.health is Health.ANSWERING else Tone.MUTED
