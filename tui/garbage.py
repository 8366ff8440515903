"""Python's garbage collector, kept from stopping the dashboard.

With 100,000 participants a full collection takes 0.4 s, in which no key is answered, and it finds nothing: the model is
immutable and without cycles, so that reference counts free it. What has survived a full collection that took long is
therefore set aside (`gc.freeze`) and not looked at again; it is freed all the same when its last reference goes. What
that costs is only what was part of a cycle by then and is thrown away later: a dialog that was open in that moment.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Mapping

LONG_S = 0.005
"""A full collection that takes longer is the last one for what it has looked at."""
_FULL = 2
"""The oldest generation."""


class _Watch:
    def __init__(self) -> None:
        self._began = 0.0

    def __call__(self, phase: str, info: Mapping[str, int]) -> None:
        """Called by Python before and after every collection."""
        if info["generation"] != _FULL:
            return
        if phase == "start":
            self._began = time.perf_counter()
        elif time.perf_counter() - self._began > LONG_S:
            gc.freeze()


def keep_collections_short() -> None:
    """From now on, in this process. To be called once."""
    gc.callbacks.append(_Watch())
