"""How long a server is left alone after it failed or asked for quiet."""

from __future__ import annotations

import math
import random

from tui.gateway.errors import RateLimitedError

SHORTEST_S = 1.0
LONGEST_S = 10.0
"""Also the longest that a server may be back without being noticed. A request in some seconds is no load to it."""
LONGEST_QUIET_S = 600.0
"""However much quiet a server asks for (`Retry-After`): a wrong header must not end the supervision."""


class BackOff:
    """Exponential, with full jitter: many supervisors must not come back at the same moment.

    A cycle counts as one failure, however many of its requests failed. Times are seconds of one monotonic clock.
    """

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._failed_cycles = 0
        self._failed = False
        self._until = -math.inf

    def begin(self) -> None:
        """A cycle begins: whatever it waited for is over."""
        self._failed = False
        self._until = -math.inf

    def fail(self, error: Exception, now: float) -> None:
        """Something failed: leave the server alone, longer after each failed cycle, and as long as it asks for."""
        if not self._failed:
            self._failed = True
            self._failed_cycles += 1
        if isinstance(error, RateLimitedError) and error.retry_after is not None:
            pause = min(error.retry_after, LONGEST_QUIET_S) + self._chance.uniform(0.0, SHORTEST_S)
        else:
            # More doublings change nothing, and one day would overflow.
            pause = self._chance.uniform(SHORTEST_S, min(LONGEST_S, SHORTEST_S * 2.0 ** min(self._failed_cycles, 10)))
        self._until = max(self._until, now + pause)

    def end(self) -> None:
        """A cycle ends; without a failure in it, the next pause will be a short one again."""
        if not self._failed:
            self._failed_cycles = 0

    def left(self, now: float) -> float:
        """Seconds of quiet still to keep, 0 if none."""
        return max(0.0, self._until - now)
