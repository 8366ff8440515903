"""Text that strangers wrote, made safe to show.

Room names, identities, metadata and attributes come from whoever holds a token. Raw, they can carry escape sequences
that rewrite the terminal, bidirectional overrides that make one name look like another, line breaks that tear a table,
and lone surrogates that crash an encoder. All of that becomes visible escapes, once, where it enters; the raw string is
kept beside it for the calls that must name the very thing.
"""

from __future__ import annotations

from dataclasses import dataclass

NAME_LIMIT = 256
"""Characters: LiveKit's own limit for room names and identities (config `limit.max_room_name_length`)."""


@dataclass(frozen=True, slots=True)
class Name:
    """A name from LiveKit: `raw` for calls, `safe` for people. `str()` gives the safe form."""

    raw: str
    safe: str

    @classmethod
    def of(cls, raw: str) -> Name:
        """The name with its safe form; an empty one reads `(empty)`."""
        return cls(raw, safe_text(raw) if raw else "(empty)")

    @property
    def altered(self) -> bool:
        """Whether the safe form differs from the raw one, so that a reader must not take it for the real name."""
        return self.safe != self.raw

    def __str__(self) -> str:
        return self.safe


def safe_text(raw: str, limit: int = NAME_LIMIT) -> str:
    """`raw` on one line, free of anything that a terminal acts on, at most `limit` characters.

    Whatever `str.isprintable` refuses (controls, format and bidirectional characters, surrogates, separators other than
    the space, private use) becomes a backslash escape, as does a space at either end, which would not be seen.
    Text over the limit loses its middle to one `…`, so that both ends can still be told apart.
    """
    if raw.isprintable() and len(raw) <= limit and raw[:1] != " " and raw[-1:] != " ":
        return raw
    cut = raw
    if len(raw) > limit:
        head = (limit - 1) // 2
        cut = raw[:head] + "…" + raw[len(raw) - (limit - 1 - head) :]
    body = cut.strip(" ")
    if not body:
        return "\\x20" * min(len(cut), 8) + ("…" if len(cut) > 8 else "")
    left = cut[: len(cut) - len(cut.lstrip(" "))]
    right = cut[len(cut.rstrip(" ")) :]
    escaped = "".join(char if char.isprintable() else _escape(char) for char in body)
    safe = "\\x20" * len(left) + escaped + "\\x20" * len(right)
    return safe if len(safe) <= limit else safe[: limit - 1] + "…"


def safe_block(raw: str, limit: int) -> str:
    """`raw` as `safe_text` has it, but with its line breaks, and with spaces where they are; a tab becomes four."""
    text = raw.replace("\r\n", "\n").replace("\t", "    ")
    if len(text) > limit:
        head = (limit - 1) // 2
        text = text[:head] + "…" + text[len(text) - (limit - 1 - head) :]
    if text.isprintable():
        return text
    safe = "".join(char if char.isprintable() or char == "\n" else _escape(char) for char in text)
    return safe if len(safe) <= limit else safe[: limit - 1] + "…"


def _escape(char: str) -> str:
    code = ord(char)
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
