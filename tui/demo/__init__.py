"""The demo: a room service on loopback that looks like LiveKit, with a voice-agent company's traffic behind it.

`World` is the simulation, deterministic and without a clock of its own; `DemoService` serves it over HTTP, and
`DemoSessions` lets its agents be looked into.
"""

from tui.demo.service import DemoService
from tui.demo.sessions import DemoSessions
from tui.demo.world import World

__all__ = ["DemoService", "DemoSessions", "World"]
