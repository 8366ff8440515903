"""Simulated time: what happens when, in order, and never sooner than somebody says that time has passed."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from functools import partial
from itertools import count
from typing import TypeVarTuple

Ts = TypeVarTuple("Ts")


class Timeline:
    """A queue of things to do. `now` is in seconds since 1970; while one is done, `now` is the moment it was due."""

    def __init__(self, now: float = 0.0) -> None:
        self.now = now
        self._due: list[tuple[float, int]] = []
        self._actions: dict[int, Callable[[], object]] = {}
        self._numbers = count()

    def at(self, when: float, action: Callable[[*Ts], object], *args: *Ts) -> None:
        """Do `action` at `when`, after everything that was put there for the same moment before."""
        number = next(self._numbers)
        self._actions[number] = partial(action, *args)
        heapq.heappush(self._due, (when, number))

    def after(self, delay: float, action: Callable[[*Ts], object], *args: *Ts) -> None:
        """Do `action` in `delay` seconds."""
        self.at(self.now + delay, action, *args)

    def run(self, until: float) -> None:
        """Do all that is due by `until`, and what that brings up. A clock that went back is waited for."""
        while self._due and self._due[0][0] <= until:
            when, number = heapq.heappop(self._due)
            self.now = max(self.now, when)
            self._actions.pop(number)()
        self.now = max(self.now, until)
