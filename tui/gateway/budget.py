"""How many requests may be sent, and when: a budget a minute, spent evenly, the most important first."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

LEAST_BUDGET = 10
"""Requests a minute. With fewer, even the list of rooms would be older than what it is there to warn of."""
WINDOW_S = 60.0

_BURST = 0.25
"""The part of the budget that may go out at once; the rest trickles. Both together never exceed it in any window."""
_LEAST_BURST = 4.0
"""Requests: a listing, a read or two, and the next listing."""
_KEPT_FOR_URGENT = 0.2
"""The part of the burst that background reads leave alone, so that a key press is answered at once."""
_ONE_REQUEST = 1.0
_RECHECK_S = 0.5
"""How soon to look again when others (an operator's actions) have used up the window."""


class Share(Enum):
    """What a request is for: each leaves something to those named before it."""

    LISTING = "listing"
    URGENT = "urgent"
    BACKGROUND = "background"


class Budget:
    """At most `per_minute` requests in any 60 s, as far as it is asked before each of them.

    A token bucket paces what is asked of it; `sent` (the gateway's own count over the last 60 s) adds what was sent
    without asking, such as an operator's actions. Times are seconds of one monotonic clock. Raises ValueError under
    `LEAST_BUDGET`.
    """

    def __init__(self, per_minute: int, sent: Callable[[], int]) -> None:
        if per_minute < LEAST_BUDGET:
            raise ValueError(f"a budget of {per_minute} requests a minute is too small: at least {LEAST_BUDGET}")
        self.per_minute = per_minute
        self._sent = sent
        self._burst = max(_LEAST_BURST, _BURST * per_minute)
        self._rate = (per_minute - self._burst) / WINDOW_S
        self._tokens = self._burst
        self._counted_at: float | None = None

    @property
    def affordable(self) -> int:
        """How many requests fit right now, as of the last `take`."""
        return int(self._tokens)

    def interval(self, wanted_s: float) -> float:
        """Seconds between two listings: as wanted, or more, so that listings never take over half of the budget."""
        return max(wanted_s, 2.0 / self._rate)

    def take(self, share: Share, now: float, interval_s: float) -> bool:
        """Whether a request may go out now; if so, it counts. `interval_s` is the time between two listings."""
        self._refill(now)
        if self._tokens < _ONE_REQUEST + self._kept_from(share) or self._sent() >= self._ceiling(share, interval_s):
            return False
        self._tokens -= _ONE_REQUEST
        return True

    def wait(self, share: Share, now: float) -> float:
        """Seconds after which it is worth asking again."""
        self._refill(now)
        short = _ONE_REQUEST + self._kept_from(share) - self._tokens
        # A hair more than the exact time, lest rounding asks once too early, for ever.
        return short / self._rate + 0.001 if short > 0 else _RECHECK_S

    def _refill(self, now: float) -> None:
        if self._counted_at is not None:
            self._tokens = min(self._burst, self._tokens + (now - self._counted_at) * self._rate)
        self._counted_at = now

    def _kept_from(self, share: Share) -> float:
        match share:
            case Share.LISTING:
                return 0.0
            case Share.URGENT:
                return _ONE_REQUEST
            case Share.BACKGROUND:
                return _ONE_REQUEST + _KEPT_FOR_URGENT * (self._burst - 2 * _ONE_REQUEST)

    def _ceiling(self, share: Share, interval_s: float) -> float:
        """How many requests of the last 60 s stop this one: reads leave room for a window's listings."""
        return self.per_minute - (0.0 if share is Share.LISTING else WINDOW_S / interval_s)
