"""A heart that beats on an event loop: when it comes late, something has blocked the loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

EVERY_S = 0.002


class Heartbeat:
    """Beats until its loop ends. `picture` is the number of the newest picture: with a new one begins a refresh.

    `blocks` has, for every refresh, how long the loop was blocked at the longest: in milliseconds that passed, and in
    milliseconds of CPU that the loop's thread used in them. On a busy machine the first is the larger one.
    """

    def __init__(self, picture: Callable[[], int]) -> None:
        self._picture = picture
        self._loop = asyncio.get_running_loop()
        self.begin()
        self._beat()

    def begin(self) -> None:
        """Forget what was measured so far."""
        self._blocks: list[tuple[float, float]] = []
        self._number = self._picture()
        self._began = self._cpu = time.thread_time()
        self._due = time.perf_counter() + EVERY_S

    @property
    def blocks(self) -> Sequence[tuple[float, float]]:
        """Of every refresh since `begin`."""
        return self._blocks

    @property
    def cpu_s(self) -> float:
        """Seconds of CPU that the loop's thread has used since `begin`."""
        return time.thread_time() - self._began

    def _beat(self) -> None:
        now, cpu = time.perf_counter(), time.thread_time()
        late = (max(0.0, now - self._due) * 1e3, (cpu - self._cpu) * 1e3)
        if (number := self._picture()) != self._number:
            self._number = number
            self._blocks.append(late)
        elif self._blocks:
            self._blocks[-1] = max(self._blocks[-1], late)
        self._due, self._cpu = now + EVERY_S, cpu
        self._loop.call_later(EVERY_S, self._beat)
