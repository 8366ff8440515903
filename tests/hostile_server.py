"""A server on which strangers have written the corpus of `tests.hostile` wherever they can write."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from tests.dashboard import join, open_room, small_world
from tests.terminal import clean_environment
from tui.demo import DemoService


@asynccontextmanager
async def served(texts: Sequence[str], home: Path) -> AsyncIterator[dict[str, str]]:
    """A server with a room for each text, which stands in every place that a stranger can write to; and the environment
    of somebody who looks at it."""
    world = small_world()
    rooms = {text: open_room(world, text) for text in texts}
    # Agents take a moment to come.
    world.advance(time.time() - 30.0)
    for text, room in rooms.items():
        join(world, room, text, name=text, attributes={text: text})
        room.info.metadata = text
        (dispatch,) = room.dispatches.values()
        dispatch.agent_name = dispatch.metadata = text
        (agent,) = room.agents
        agent.attributes |= {"lk.agent.name": text, "lk.agent.state": text, "said": text}
        agent.name = text
        # It stays in the state that it says it is in.
        agent.stalled = True
    async with DemoService(world) as demo:
        yield clean_environment(
            home,
            LIVEKIT_URL=demo.url,
            LIVEKIT_API_KEY=demo.api_key,
            LIVEKIT_API_SECRET=demo.api_secret,
            LK_TUI_LOG=str(home / "log"),
            XDG_STATE_HOME=str(home),
        )
