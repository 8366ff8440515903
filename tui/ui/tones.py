"""The colours of meaning, for text that is not in a table."""

from __future__ import annotations

from collections.abc import Sequence

from textual.content import Content
from textual.widget import Widget

from tui.model.phrases import Tone

STYLES = {
    Tone.PLAIN: "",
    Tone.MUTED: "$text-muted",
    Tone.STRONG: "bold",
    Tone.TROUBLE: "bold $text-error",
    Tone.NOTICE: "$text-warning",
    Tone.WORKING: "$text-success",
    Tone.ENDED: "$text-secondary",
    Tone.OURS: "$text-accent",
}


def toned(*parts: tuple[str, Tone]) -> Content:
    """Text with meanings, taken literally: nothing in it is markup."""
    return Content.assemble(*((text, STYLES[tone]) for text, tone in parts))


def reads_the_same(one: Content, other: Content) -> bool:
    """Whether two texts look the same. Content's own `==` leaves the styles out."""
    return one.plain == other.plain and one.spans == other.spans


def label(pane: Widget, title: Content | None = None, subtitle: Content | None = None) -> None:
    """Write on the pane's border. Only what is new: Textual 8.2.8 draws the whole pane again, whatever it is told."""
    if title is not None and title.markup != pane.border_title:
        pane.border_title = title
    if subtitle is not None and subtitle.markup != pane.border_subtitle:
        pane.border_subtitle = subtitle


def hang(text: str, width: int, indent: int) -> str:
    """`text` wrapped to `width` cells, its second line and all others indented, so that it stays in its column."""
    room = max(16, width - indent)
    wrapped = Content(text).wrap(room)
    return ("\n" + " " * indent).join(line.plain.rstrip() for line in wrapped) if text else ""


def fields(lines: Sequence[tuple[str, str]], *, label_width: int, width: int) -> Content:
    """Labels and values, one pair a line, long values wrapped in their column."""
    parts: list[tuple[str, Tone]] = []
    for label, value in lines:
        parts += [(f"{label:<{label_width}} ", Tone.MUTED), (hang(value, width, label_width + 1) + "\n", Tone.PLAIN)]
    return toned(*parts)
