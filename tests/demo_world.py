"""Worlds of the demo at a time that a test sets."""

from __future__ import annotations

from tui.demo import World
from tui.demo.rooms import Agent, Participant, Process, Room
from tui.demo.traffic import LINES, Call, Line

NOW = 1_800_000_000.0
SUPPORT, SALES, INTAKE, BILLING = LINES


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


def calm(seed: int = 1) -> World:
    """A world without trouble, at NOW."""
    world = World(seed, trouble=False)
    world.advance(NOW)
    return world


def troubled(seed: int = 1) -> World:
    """A world with trouble, at NOW."""
    world = World(seed)
    world.advance(NOW)
    return world


def call_in(world: World, line: Line = SALES) -> tuple[Room, Participant, Agent]:
    """A long call that came in just now, with its caller and the agent that answered it."""
    call: Call = world._traffic.open(600.0, line)
    world.advance(world.now + 3.0)
    agent = call.agent
    assert agent is not None
    return call.room, call.room.people[0], agent


def hung(world: World) -> Agent:
    """The agent that hangs."""
    return next(agent for room in world.rooms() for agent in room.agents if agent.process is Process.HUNG)
