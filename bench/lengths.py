"""How long each measurement goes on. All are seconds unless they say otherwise."""

from __future__ import annotations

from dataclasses import dataclass, replace

_LEAST_S = 5.0


@dataclass(frozen=True, slots=True)
class Lengths:
    """`rooms` are the sizes of the demo server, `real_rooms` that of the real one; `starts`, `changes`, `closes` are
    how many.

    `warming`: what is left alone at the beginning. `churning`: nobody is at the keyboard. `typing`: somebody is.
    `idle`: nobody is, and nothing changes.
    """

    rooms: tuple[int, ...] = (100, 1_000, 10_000)
    real_rooms: int = 10_000
    starts: int = 4
    changes: int = 4
    closes: int = 4
    races: int = 40
    warming: float = 4.0
    churning: float = 8.0
    typing: float = 10.0
    idle: float = 14.0

    @property
    def halved(self) -> Lengths:
        """Half as long, or some refreshes, for what is measured to compare with."""
        shorter = {name: max(_LEAST_S, getattr(self, name) / 2) for name in ("churning", "typing")}
        return replace(self, warming=self.warming / 2, **shorter)


FULL = Lengths()
QUICK = Lengths(
    rooms=(500,),
    real_rooms=500,
    starts=3,
    changes=2,
    closes=1,
    races=5,
    warming=2.0,
    churning=6.0,
    typing=5.0,
    idle=6.0,
)
"""What CI can wait for. Good for ratios, not for the figures themselves."""
