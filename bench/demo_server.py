"""The demo server in a process of its own, so that its work is not counted as the dashboard's.

    python -m bench.demo_server ROOMS PEOPLE CHURN

PEOPLE in every room besides its agent. Time stands still in there, and nothing ever changes, until `go`; from then on
the share CHURN of the rooms end and are replaced in a second.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Mapping
from typing import Any

from bench import product
from bench.child import Answer, answer_parent

SEED = 5


class Clock:
    """Seconds since 1970 as they were when it was made; it runs from `go` on."""

    def __init__(self) -> None:
        self._now = time.time()
        self._since: float | None = None

    def __call__(self) -> float:
        return self._now + (time.monotonic() - self._since if self._since is not None else 0.0)

    def go(self) -> None:
        self._since = time.monotonic()


async def _serve(rooms: int, people: int, churn: float) -> None:
    clock = Clock()
    world = product.demo_world(SEED, rooms, people, churn)
    async with product.demo_service(world, clock) as service:
        hello = {"url": service.url, "api_key": service.api_key, "api_secret": service.api_secret}

        async def answer(question: Mapping[str, Any]) -> Answer:
            if question["do"] == "go":
                clock.go()
            there = world.rooms()
            return {"rooms": len(there), "participants": sum(len(world.participants(room.name)) for room in there)}

        await answer_parent(hello, answer)


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])))
