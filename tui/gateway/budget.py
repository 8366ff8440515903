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
"""Requests: a listing, and a few reads."""
_KEPT_FOR_URGENT = 0.2
"""The part of the burst that background reads leave alone, so that a key press is answered at once."""
_RECHECK_S = 0.5
"""How soon to look again when the minute is used up."""


class Share(Enum):
    """What a request is for: each leaves something to those named before it."""

    LISTING = "listing"
    URGENT = "urgent"
    BACKGROUND = "background"


class Budget:
    """At most `per_minute` requests in any 60 s, as far as it is asked before each of them.

    A token bucket paces what is asked of it. Requests that others send without asking, such as an operator's actions,
    are charged too: `sent` counts all requests so far, `last_minute` those of the last 60 s. Times are seconds of one
    monotonic clock. Raises ValueError under `LEAST_BUDGET`.
    """

    def __init__(self, per_minute: int, sent: Callable[[], int], last_minute: Callable[[], int]) -> None:
        if per_minute < LEAST_BUDGET:
            raise ValueError(f"a budget of {per_minute} requests a minute is too small: at least {LEAST_BUDGET}")
        self.per_minute = per_minute
        self._sent = sent
        self._last_minute = last_minute
        self._burst = max(_LEAST_BURST, _BURST * per_minute)
        self._rate = (per_minute - self._burst) / WINDOW_S
        self._tokens = self._burst
        self._counted_at: float | None = None
        self._taken = 0
        self._of_others = 0

    @property
    def affordable(self) -> int:
        """How many reads fit at most right now, as of the last `take`."""
        return max(0, int(self._tokens))

    def interval(self, wanted_s: float) -> float:
        """Seconds between two listings: as wanted, or more, so that listings never take over half of the pace."""
        return max(wanted_s, 2.0 / self._rate)

    def take(self, share: Share, now: float, interval_s: float) -> bool:
        """Whether a request may go out now; if so, it counts. `interval_s` is the time between two listings.

        A listing goes out as long as the minute has room for it, if need be on credit: reads pay that back.
        """
        self._settle(now)
        paced = share is not Share.LISTING
        if paced and self._tokens < self._needed(share):
            return False
        if self._last_minute() >= self.per_minute - (WINDOW_S / interval_s if paced else 0.0):
            return False
        self._tokens -= 1.0
        self._taken += 1
        return True

    def wait(self, share: Share, now: float) -> float:
        """Seconds after which it is worth asking again."""
        self._settle(now)
        short = self._needed(share) - self._tokens if share is not Share.LISTING else 0.0
        # A hair more than the exact time, lest rounding asks once too early, for ever.
        return short / self._rate + 0.001 if short > 0 else _RECHECK_S

    def _needed(self, share: Share) -> float:
        return 1.0 + (_KEPT_FOR_URGENT * self._burst if share is Share.BACKGROUND else 0.0)

    def _settle(self, now: float) -> None:
        """Credit the time that passed; charge what others sent."""
        if self._counted_at is not None:
            self._tokens = min(self._burst, self._tokens + (now - self._counted_at) * self._rate)
        self._counted_at = now
        # What was taken here is sent a moment later, so for that moment the difference says too little.
        of_others = max(self._of_others, self._sent() - self._taken)
        self._tokens -= of_others - self._of_others
        self._of_others = of_others
