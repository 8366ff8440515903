"""The way to an agent's session, whatever it leads through: a hidden observer in the room, or the demo."""

from __future__ import annotations

from typing import Protocol

from tui.model.room import Room


class Listener(Protocol):
    """Who looks into the session of one agent, and is told of it."""

    def on_joined(self) -> None:
        """An observer is in the agent's room; it may have been there before."""

    def on_message(self, message: bytes) -> None:
        """The agent sent an AgentSessionMessage, on `lk.agent.session`."""

    def on_away(self, trouble: str) -> None:
        """No observer is in the room now: another one is sent if that is worth it."""

    def on_gone(self) -> None:
        """The agent has left, or the room has ended."""


class Line(Protocol):
    """The way to one agent's session, until it is closed."""

    def send(self, message: bytes) -> None:
        """Send the agent this AgentSessionMessage. Nothing tells whether it got there, but that it is answered."""

    def close(self) -> None:
        """Hang up. Nothing happens if that was done before."""


class Lines(Protocol):
    """All agents' sessions, to be called."""

    def call(self, room: Room, agent_sid: str, listener: Listener) -> Line:
        """Open a line to this agent's session."""
