"""Somebody at the keyboard: how long it takes from a key to the frame that shows what it did."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from random import Random

from bench.dashboard import Dashboard

_PAUSES_S = (0.03, 0.15)
"""Between a frame and the next key: as fast as fingers are, and at no fixed point of a refresh."""
_PATIENCE_S = 30.0
_GONE_S = 2.0
_DOWN, _UP = 40, 35
"""So many rows down, and so many up again: a hundred rooms have an end."""


def move(dashboard: Dashboard, seconds: float, seed: int = 7) -> list[float]:
    """Go down and up, row by row, for so many seconds; milliseconds from each key to the frame that shows it: the one
    with the next room selected."""
    chance = Random(seed)  # noqa: S311 - repeatable, not hard to guess
    terminal = dashboard.terminal
    took: list[float] = []
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        moved = partial(_moved, dashboard, dashboard.selected)
        sent = terminal.send("j" if len(took) % (_DOWN + _UP) < _DOWN else "k")
        terminal.wait_for(lambda moved=moved, sent=sent: moved() or _lost(dashboard, sent), "another room", _PATIENCE_S)  # type: ignore[misc]
        if moved():
            took.append((terminal.painted_at - sent) * 1e3)
        terminal.watch(chance.uniform(*_PAUSES_S))
    return took


def press(dashboard: Dashboard, keys: str, shown: Callable[[], bool], what: str) -> float:
    """Type; milliseconds until the first frame for which `shown()`."""
    terminal = dashboard.terminal
    sent = terminal.send(keys)
    return (terminal.wait_for(shown, what, _PATIENCE_S) - sent) * 1e3


def _lost(dashboard: Dashboard, sent: float) -> bool:
    """Whether the room that the key selected has gone before it was painted."""
    return not dashboard.selected and dashboard.terminal.painted_at - sent > _GONE_S


def _moved(dashboard: Dashboard, before: str) -> bool:
    return dashboard.selected not in ("", before)
