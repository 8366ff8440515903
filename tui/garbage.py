"""Python's garbage collector, kept from stopping the dashboard.

With 100,000 participants a full collection takes 0.4 s, in which no key is answered, and it finds next to nothing: the
model is immutable and without cycles, so that reference counts free it. So Python itself looks only at what is young
and does that seldom; the rest is for `collect`, which is called in calm moments. What has survived a collection that
took long is set aside (`gc.freeze`) and not looked at again; it is freed all the same with its last reference.

But not what is part of a cycle by then and is thrown away later, as is everything of a dialog that was open in that
moment: a dashboard that is used for hours would grow by it without end. So once a tenth more is set aside than was
left the last time, everything is looked at once more.

While the program starts nothing is looked at at all. Hundreds of modules are made then, and stay: some 250 collections
would find next to nothing, and take a fifth of the time until the first rooms are shown.
"""

from __future__ import annotations

import gc
import time

YOUNG, TIMES = 10_000, 20
"""So many new objects are looked at as soon as there are so many, and once more after so many times: a dialog that came
and went is found by that. Lists of all rooms are made all the time: with Python's own 700, the ones that are held just
then were gone through again and again."""
YOUNG_OF_MANY = 2_000
"""Where there are many rooms, so many, and only once: with 10,000 rooms a second look takes 66 ms."""
_NEVER = 1_000_000_000
LONG_S = 0.03
"""A collection that takes more CPU time is the last one for what it has looked at."""
GROWN = 1.1
"""How many times as much may be set aside as was left when everything was looked at."""
SHARE = 1 / 200
"""Of the time, for collections."""
LEAST_S = 5.0
"""Between two collections, however short they are."""
PATIENCE_S = 20.0
"""How long a collection that is due waits for a calm moment …"""
LONG_PATIENCE_S = 120.0
"""… and where there are many rooms: there it may take a second."""


def hold_collections_back() -> None:
    """No collections until `Collector.begin`: the program starts."""
    gc.disable()


class Collector:
    """Collects what Python itself does not look at; one in a process."""

    def __init__(self) -> None:
        self._left = 0
        """objects set aside when everything had been looked at; 0 before anything took long"""
        self._everything = False
        self._many = False
        self._due_at = 0.0

    def begin(self) -> None:
        """From now on there are collections; what is there already is set aside."""
        gc.freeze()
        gc.set_threshold(YOUNG, TIMES, _NEVER)
        gc.enable()
        self._due_at = time.monotonic() + LEAST_S

    def collect(self, *, calm: bool, many: bool) -> None:
        """Collect, if it is due and the moment is `calm` or the wait was long. To be called every second or so.

        `many` says whether there are so many rooms that it would hold up whoever types.
        """
        if many is not self._many:
            self._many = many
            gc.set_threshold(YOUNG_OF_MANY if many else YOUNG, _NEVER if many else TIMES, _NEVER)
        now = time.monotonic()
        patience = 0.0 if calm else LONG_PATIENCE_S if many else PATIENCE_S
        if now < self._due_at + patience:
            return
        if self._everything:
            gc.unfreeze()
        began = time.thread_time()
        gc.collect()
        took = time.thread_time() - began
        if self._everything or took > LONG_S:
            gc.freeze()
            aside = gc.get_freeze_count()
            if self._everything or not self._left:
                self._left = aside
            self._everything = aside > GROWN * self._left
        self._due_at = now + max(LEAST_S, took / SHARE)
