"""What was measured: one figure each, with what it is compared with and what it ought to be."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured value in `unit`.

    `part` says at what it was measured, and with `name` tells figures apart. `other` is the same of `than`, such as a
    naive poller, in the same run. `target` is what `value` is to be at most, or at least where `at_least` says so.
    """

    part: str
    name: str
    value: float
    unit: str
    other: float | None = None
    than: str = ""
    target: float | None = None
    at_least: bool = False
    note: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None without one."""
        if self.target is None:
            return None
        return self.value >= self.target if self.at_least else self.value <= self.target

    @property
    def ratio(self) -> float | None:
        """How many times as much the other one takes; None without one."""
        return self.other / self.value if self.other is not None and self.value else None


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest of the values that at least `share` of them don't exceed. Raises ValueError without values."""
    if not values:
        raise ValueError("nothing was measured")
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]
