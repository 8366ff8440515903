"""The pane of the selected room's agent: what its process, its job and its helper are known to be."""

from __future__ import annotations

from textual.content import Content

from tui.model.phrases import Tone, age, as_agent, count, session_words
from tui.model.room import Agent, Room
from tui.ui.lines import LinesPane
from tui.ui.named_pane import NamedPane
from tui.ui.tones import fields, toned

STEP_S = 5
"""Seconds by which an agent's time in its state goes on: by the second it would make the pane restless."""


class AgentPane(LinesPane, NamedPane):
    """Everything that is known from outside about one agent."""

    def show(self, room: Room | None, agent: Agent | None, now: float) -> None:
        """Show this agent of this room; or why there is none."""
        if agent is None or room is None:
            self.entitle("Agent")
            words = toned((_no_agent_words(room), Tone.MUTED))
            self.write(lambda width: Content("\n").join(words.wrap(width)))
            return
        more = len(room.agents)
        doubt = " · node doesn't answer" if room.ghost_since is not None else ""
        self.entitle(as_agent(agent.name), (f" · 1 of {more}" if more > 1 else "") + doubt)
        lines = agent_lines(agent, now)
        self.write(lambda width: fields(lines, label_width=8, width=width))


def _no_agent_words(room: Room | None) -> str:
    if room is None:
        return "The selected room's agent is shown here."
    if room.participants is None:
        return "Reading who is in this room …"
    return "No agent is in this room." + (" Press a to dispatch one." if room.people else "")


def agent_lines(agent: Agent, now: float) -> list[tuple[str, str]]:
    """What is known of an agent from outside, label and value."""
    facts, dispatch, job = agent.facts, agent.dispatch, agent.job
    since = f", for {age((now - facts.state_since) // STEP_S * STEP_S)}" if facts.state_since is not None else ""
    lines = [
        ("session", session_words(agent, now)),
        ("state", (facts.state or "not published") + (since if facts.state else "")),
    ]
    if facts.close is not None and facts.close.error is not None:
        error = facts.close.error
        lines.append(("error", f"{error.source} {error.type}: {error.message}"))
    lines += [
        (
            "dispatch",
            f"{dispatch.id} {dispatch.label}, {count(len(dispatch.jobs), 'job')}" if dispatch else "not known yet",
        ),
        ("job", job.id if job else "not known yet"),
        ("worker", job.worker_id if job else "not known yet"),
        ("joined", f"{age(now - agent.participant.joined_at)} ago"),
        ("helper", f"version {facts.helper}" if facts.helper else "none: its session can't be closed from here"),
        ("sid", agent.participant.sid),
    ]
    return lines
