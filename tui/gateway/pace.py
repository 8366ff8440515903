"""When the server is polled: at an interval, at once when somebody asks, less often when nothing happens, and not while
it is to be left alone.

Times are seconds of the running loop's clock.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import random

from tui.gateway.backoff import BackOff

LEAST_INTERVAL_S = 0.25
"""Between two cycles, however often somebody asks."""
RESTS_AFTER_S = 120.0
"""When nobody has pressed a key and nothing has changed for so long, polling rests …"""
RESTING_S = 4.0
"""… with so much between two cycles: what nobody looks at all night need not cost the server more."""


class Pace:
    """The pace of one poller: `interval_s` from one cycle to the next, as things go."""

    def __init__(self, interval_s: float, chance: random.Random) -> None:
        self.interval_s = interval_s
        self._back_off = BackOff(chance)
        self._began = 0.0
        self._woken = asyncio.Event()
        self._stirred_at = -math.inf
        self._rests = False

    # A cycle

    def begin(self) -> float:
        """A cycle begins: now, which is returned."""
        self._woken.clear()
        self._back_off.begin()
        self._began = monotonic()
        return self._began

    def fail(self, error: Exception) -> None:
        """Something failed in it: the server is left alone for a while (`tui.gateway.backoff`)."""
        self._back_off.fail(error, monotonic())

    def end(self) -> None:
        """It ends."""
        self._back_off.end()
        self._rests = monotonic() - self._stirred_at > RESTS_AFTER_S

    @property
    def is_late(self) -> bool:
        """Whether it has taken an interval already."""
        return monotonic() - self._began >= self.interval_s

    async def pause(self) -> None:
        """Wait until the next cycle is due, or until it is asked for."""
        while not self._woken.is_set() and (left := self._next_at() - monotonic()) > 0:
            # Not asyncio.wait_for: before Python 3.12 it can swallow a cancellation, and we would poll for ever.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._woken.wait()
        await asyncio.sleep(self._began + LEAST_INTERVAL_S - monotonic())

    def _next_at(self) -> float:
        return max(self._began + self._resting_s, monotonic() + self.quiet_s)

    @property
    def quiet_s(self) -> float:
        """For how long the server is left alone from now on; 0 if it may be asked."""
        return self._back_off.left(monotonic())

    @property
    def current_s(self) -> float:
        """Seconds from one cycle to the next, as things are now."""
        return max(self._resting_s, self.quiet_s)

    @property
    def _resting_s(self) -> float:
        return max(self.interval_s, RESTING_S) if self._rests else self.interval_s

    # What happens

    def moved(self) -> None:
        """Something has changed: no rest for a while."""
        self._stirred_at = monotonic()

    def stir(self) -> None:
        """Somebody is at the keyboard: no rest for a while, and if there was one, poll now."""
        self.moved()
        if self._rests:
            self._rests = False
            self.hurry()

    def hurry(self, *, insist: bool = False) -> None:
        """Poll now; a server that is left alone only if the caller insists."""
        if insist or not self.quiet_s:
            self._woken.set()


def monotonic() -> float:
    """The running loop's clock, in seconds: what all pacing goes by."""
    return asyncio.get_running_loop().time()
