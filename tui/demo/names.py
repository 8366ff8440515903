"""What things in the demo are called: LiveKit's ids, callers, phone numbers that nobody has, rooms with odd names."""

from __future__ import annotations

from random import Random

ID_ALPHABET = "23456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
"""The one LiveKit's ids are made of: without 0, 1, I, O and l (livekit/protocol `utils/guid`)."""

ODD_ROOM_NAMES = (
    "a/b",
    "[/foo]",
    "客服-上海-12",
    "☎️ café 🎂",
    "שירות-לקוחות",
    "sales\u202e88-lacituped",
    "\x1b[31mred alert\x1b[0m",
    "campaign-" + "spring-summer-autumn-winter-" * 8 + "2026",
)
"""Room names that LiveKit accepts and that a careless screen trips over; all within its limit of 256 characters."""

_FIRST = (
    "Amina",
    "Björn",
    "Carla",
    "Dmitri",
    "Elif",
    "Farid",
    "Greta",
    "Hugo",
    "Ines",
    "Jonas",
    "Keiko",
    "Lars",
    "Mira",
    "Noor",
    "Oskar",
    "Priya",
)
_LAST = (
    "Almeida",
    "Brandt",
    "Castillo",
    "Dubois",
    "Eriksen",
    "Fontaine",
    "Gruber",
    "Haddad",
    "Jensen",
    "Kowalski",
    "Moreau",
    "Okafor",
    "Rossi",
    "Sato",
    "Vargas",
    "Zhang",
)
_AREA_CODES = (202, 206, 212, 305, 312, 404, 415, 503, 617, 713)


class Names:
    """Makes names up, the same ones in the same order for the same `rng`."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._numbers: dict[str, int] = {}

    def sid(self, prefix: str) -> str:
        """An id such as `RM_iJiWi8feqkP4`."""
        return f"{prefix}_{''.join(self._rng.choices(ID_ALPHABET, k=12))}"

    def room(self, prefix: str) -> str:
        """A room name that was not given out before: `support-4711`, then `support-4712`."""
        number = self._numbers.get(prefix) or self._rng.randrange(100, 5000)
        self._numbers[prefix] = number + 1
        return f"{prefix}-{number}"

    def odd_room(self) -> str:
        """One of `ODD_ROOM_NAMES`."""
        return self._rng.choice(ODD_ROOM_NAMES)

    def phone_number(self) -> str:
        """A number set aside for fiction: +1 … 555 01xx in North America, +44 7700 900xxx in Britain."""
        if self._rng.random() < 0.8:
            return f"+1{self._rng.choice(_AREA_CODES)}55501{self._rng.randrange(100):02}"
        return f"+447700900{self._rng.randrange(1000):03}"

    def person(self) -> tuple[str, str]:
        """An identity and the name to it: `mira-okafor-3f2a`, `Mira Okafor`."""
        first, last = self._rng.choice(_FIRST), self._rng.choice(_LAST)
        return f"{first}-{last}-{self._rng.randrange(0x10000):04x}".lower(), f"{first} {last}"
