"""Python's garbage collector, kept from stopping the dashboard.

With 100,000 participants a full collection takes 0.4 s, in which no key is answered, and it finds next to nothing: the
model is immutable and without cycles, so that reference counts free it. What has survived a full collection that took
long is therefore set aside (`gc.freeze`) and not looked at again; it is freed all the same with its last reference.

But not what is part of a cycle by then and is thrown away later, as is everything of a dialog that was open in that
moment: a dashboard that is used for hours would grow by it without end. So once a tenth more is set aside than was
left the last time, everything is looked at once more; but no more of the time is spent on that than `SHARE`.

While the program starts nothing is looked at at all. Hundreds of modules are made then, and stay: some 250 collections
would find next to nothing, and take a fifth of the time until the first rooms are shown.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Mapping

LONG_S = 0.03
"""A full collection that takes more CPU time is the last one for what it has looked at."""
GROWN = 1.1
"""How many times as much may be set aside as was left when everything was looked at."""
SHARE = 1 / 200
"""Of the time, for looking at everything: while rooms are read more and more is set aside, and none of it lost."""
_FULL = 2
"""The oldest generation."""


class _Watch:
    def __init__(self) -> None:
        self._began = 0.0
        self._left = 0
        """objects set aside when everything had been looked at; 0 before anything took long"""
        self._everything = False
        self._not_before = 0.0

    def __call__(self, phase: str, info: Mapping[str, int]) -> None:
        """Called by Python before and after every collection."""
        if info["generation"] != _FULL:
            return
        if phase == "start":
            if self._everything:
                gc.unfreeze()
            self._began = time.thread_time()
            return
        took = time.thread_time() - self._began
        if self._everything or took > LONG_S:
            gc.freeze()
            aside, now = gc.get_freeze_count(), time.monotonic()
            if self._everything or not self._left:
                self._left, self._not_before = aside, now + took / SHARE
            self._everything = aside > GROWN * self._left and now >= self._not_before


def hold_collections_back() -> None:
    """No collections until `keep_collections_short`: the program starts."""
    gc.disable()


def keep_collections_short() -> None:
    """From now on, in this process; what is there already is set aside. To be called once."""
    gc.freeze()
    gc.callbacks.append(_Watch())
    gc.enable()
