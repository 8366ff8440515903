"""What stands on a terminal's screen: text and background, cell by cell. No more than the bench has to know.

It understands what Textual writes: cursor positions, colours, text. A whole emulator takes longer to draw a frame than
the frame takes to come about.
"""

from __future__ import annotations

import re
from collections import Counter

from rich.cells import cell_len

_PIECE = re.compile(r"\x1b\[([0-9;?<>=]*)([@-~])|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b.|[^\x1b\r\n]+|\r|\n", re.DOTALL)
_BACKGROUND = re.compile(r"(?:^|;)(48;2;\d+;\d+;\d+|48;5;\d+|4\d|10\d)(?=;|$)")
_FOREGROUND = re.compile(r"(?:^|;)38;(?:2;\d+;\d+;\d+|5;\d+)")


class Screen:
    """`columns` by `rows` cells. Rows and columns count from 0."""

    def __init__(self, columns: int, rows: int) -> None:
        self._columns = columns
        self._text = [[" "] * columns for _ in range(rows)]
        self._back = [[""] * columns for _ in range(rows)]
        self._x = self._y = 0
        self._background = ""

    def feed(self, written: bytes) -> None:
        """Draw one whole update."""
        for found in _PIECE.finditer(written.decode(errors="replace")):
            piece = found[0]
            if found[2] == "H":
                row, _, column = (found[1] or "1;1").partition(";")
                self._y, self._x = int(row or 1) - 1, int(column or 1) - 1
            elif found[2] == "m":
                self._colour(found[1])
            elif piece == "\r":
                self._x = 0
            elif piece == "\n":
                self._y += 1
            elif piece[0] != "\x1b":
                self._put(piece)

    def _colour(self, codes: str) -> None:
        if codes in ("", "0") or codes.startswith("0;"):
            self._background = ""
        found = _BACKGROUND.findall(_FOREGROUND.sub("", codes))
        if found:
            self._background = found[-1]

    def _put(self, text: str) -> None:
        if not 0 <= self._y < len(self._text):
            return
        if text.isascii():
            cells = list(text)
        else:
            # A wide character takes two cells: the second one is empty.
            cells = [cell for char in text for cell in (char, *[""] * (cell_len(char) - 1))]
        end = min(self._x + len(cells), self._columns)
        self._text[self._y][self._x : end] = cells[: end - self._x]
        self._back[self._y][self._x : end] = [self._background] * (end - self._x)
        self._x = end

    def line(self, row: int, start: int = 0, end: int | None = None) -> str:
        """The text of a row, or of a part of it."""
        return "".join(self._text[row][start:end])

    @property
    def lines(self) -> list[str]:
        """All rows."""
        return [self.line(row) for row in range(len(self._text))]

    def highlighted(self, rows: range, column: int) -> int | None:
        """The one of these rows whose background is another than the others', at this column; None if there is none."""
        backs = {row: self._back[row][column] for row in rows}
        usual = Counter(backs.values()).most_common(1)[0][0]
        odd = [row for row, back in backs.items() if back != usual]
        return odd[0] if len(odd) == 1 else None
