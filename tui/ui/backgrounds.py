"""Textual's memory of backgrounds, kept from holding on to what is no longer shown.

`StylesCache.get_inner_outer` remembers its last 1,024 results not only by the colours, but also by whose lines they are
for (Textual 8.2.8; its issue 6665). With that it keeps the lines of every dialog and toast that was open, and whatever
was cut out of them, long after they are closed.
"""

from __future__ import annotations

from functools import lru_cache

from textual._styles_cache import StylesCache
from textual.color import Color
from textual.style import Style


def let_lines_go() -> None:
    """From now on, in this process, it remembers by the colours alone. It may be called again."""
    StylesCache.get_inner_outer = staticmethod(_inner_outer)  # type: ignore[method-assign,assignment]


@lru_cache(256)
def _inner_outer(base_background: Color, background: Color) -> tuple[Style, Style]:
    """The styles inside a widget's border and outside of it, as Textual makes them."""
    return Style(background=base_background + background), Style(background=base_background)
