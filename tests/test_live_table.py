"""The table whose selection belongs to a row's key, and that draws no more than what is on the screen."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.segment import Segment
from textual.app import App, ComposeResult
from textual.pilot import Pilot
from textual.strip import Strip

from tests.dashboard import written
from tests.lab.waiting import eventually
from tui.model.phrases import Tone
from tui.ui.live_table import Cell, Column, LiveTable, changed_cells, fit, lay_out

COLUMNS = (
    Column("name", "NAME", 8, grow=1),
    Column("number", "NUMBER", 6, right=True),
    Column("extra", "EXTRA", 8, drop=1, right=True),
)


@dataclass(frozen=True)
class Line:
    key: str
    number: int = 0


def lines(keys: str) -> list[Line]:
    """One row for each letter."""
    return [Line(key) for key in keys]


class TableApp(App[None]):
    """A table and nothing else; it keeps what the table said, and counts the rows it drew."""

    CSS = "LiveTable > .live-table--cursor { background: white; color: black; }"

    def __init__(self, *, follow: bool) -> None:
        super().__init__()
        self.said: list[str] = []
        self.drawn = 0
        self.table: LiveTable[Line] = LiveTable(COLUMNS, lambda row: row.key, self._cells, follow=follow)

    def compose(self) -> ComposeResult:
        yield self.table

    def _cells(self, row: Line, now: float) -> Sequence[Cell]:
        self.drawn += 1
        return (row.key, Tone.PLAIN), (str(row.number), Tone.MUTED), (f"{now:.0f}", Tone.MUTED)

    def on_live_table_moved(self, event: LiveTable.Moved) -> None:
        self.said.append(f"moved to {event.table.selected_key}")

    def on_live_table_opened(self, event: LiveTable.Opened) -> None:
        self.said.append(f"opened {event.table.selected_key}")

    def on_live_table_header_clicked(self, event: LiveTable.HeaderClicked) -> None:
        self.said.append(f"title {event.column.key}")


class Seen:
    """A table on a screen of ten lines: its titles and up to nine rows."""

    def __init__(self, app: TableApp, pilot: Pilot[None]) -> None:
        self.app = app
        self.pilot = pilot
        self.table = app.table

    @property
    def lines(self) -> list[str]:
        return [strip.text for strip in written(self.app)]

    @property
    def keys(self) -> str:
        """The first letters of the rows that are on the screen."""
        return "".join(line[0] for line in self.lines[1:]).strip()

    @property
    def highlighted(self) -> str:
        """The first letters of the lines that are highlighted."""
        return "".join(strip.text[0] for strip in written(self.app) if _ground(strip) == (255, 255, 255))

    async def show(self, rows: Sequence[Line]) -> None:
        self.table.show(rows, 0.0, empty="nothing here")
        await self.pilot.pause()

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)
        await self.pilot.pause()


def _ground(strip: Strip) -> tuple[int, int, int] | None:
    style = next(iter(strip)).style
    return style.bgcolor.triplet if style is not None and style.bgcolor is not None else None


@asynccontextmanager
async def seen(rows: Sequence[Line] = (), *, follow: bool = False, width: int = 40) -> AsyncIterator[Seen]:
    app = TableApp(follow=follow)
    async with app.run_test(size=(width, 10), notifications=True) as pilot:
        shown = Seen(app, pilot)
        await shown.show(rows)
        yield shown


# The selection


async def test_the_first_row_is_selected_as_soon_as_there_is_one() -> None:
    async with seen() as shown:
        assert shown.table.selected is None
        await shown.show(lines("abc"))
        assert shown.table.selected == Line("a")
        assert shown.app.said == ["moved to a"]


async def test_the_highlight_goes_with_its_row() -> None:
    async with seen(lines("abcdef")) as shown:
        await shown.press("j", "j")
        assert shown.highlighted == "c"
        for order in ("fedcba", "xyzabcdef", "c", "cxyz"):
            await shown.show(lines(order))
            assert shown.table.selected == Line("c")
            assert shown.highlighted == "c"
        assert shown.app.said == ["moved to a", "moved to b", "moved to c"]


async def test_when_its_row_is_gone_nothing_is_selected_until_the_person_moves() -> None:
    async with seen(lines("abcdef")) as shown:
        await shown.press("j", "j")
        await shown.show(lines("abdef"))
        assert shown.table.selected is None
        assert shown.highlighted == ""
        assert shown.app.said[-1] == "moved to c"
        await shown.press("j")
        assert shown.table.selected == Line("d")


async def test_a_row_that_comes_back_is_selected_again() -> None:
    async with seen(lines("abc")) as shown:
        await shown.press("G")
        await shown.show(lines("ab"))
        await shown.show(lines("cab"))
        assert shown.highlighted == "c"


@pytest.mark.parametrize(("key", "neighbour"), [("j", "d"), ("k", "b"), ("g", "a"), ("G", "f")])
async def test_from_a_row_that_is_gone_one_moves_to_its_neighbours(key: str, neighbour: str) -> None:
    async with seen(lines("abcdef")) as shown:
        await shown.press("j", "j")
        await shown.show(lines("abdef"))
        await shown.press(key)
        assert shown.table.selected == Line(neighbour)


KEYS = "abcdefghijklmnop"
ROWS = st.lists(st.sampled_from(KEYS), unique=True).map("".join)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("show"), ROWS),
        st.tuples(st.just("move"), st.sampled_from([-9, -1, 1, 9])),
        st.tuples(st.just("end"), st.booleans()),
    ),
    max_size=30,
)


async def test_no_sequence_of_pictures_ever_moves_the_selection() -> None:
    async with seen() as shown:
        table = shown.table

        @settings(max_examples=200, deadline=None)
        @given(STEPS)
        def check(steps: list[tuple[str, str | int | bool]]) -> None:
            table.forget()
            table.show([], 0.0)
            for what, detail in steps:
                before = table.selected_key
                there = {row.key for row in table.rows}
                match what, detail:
                    case "show", str(keys):
                        table.show(lines(keys), 0.0)
                        if before or not keys:
                            assert table.selected_key == before
                    case "move", int(by):
                        table.action_move(by)
                        assert table.selected_key in there or table.selected_key == before
                    case _:
                        table.action_move_to_end(bool(detail))
                selected = table.selected
                assert selected == next((row for row in table.rows if row.key == table.selected_key), None)
                if what != "show" and there:
                    assert selected in table.visible_rows

        check()
        await shown.pilot.pause()
        assert shown.app.is_running


# Moving


@pytest.mark.parametrize(
    ("keys", "selected"),
    [
        (["down", "j"], "c"),
        (["j", "j", "up"], "b"),
        (["j", "j", "k", "k", "k"], "a"),
        (["G"], "p"),
        (["end"], "p"),
        (["G", "g"], "a"),
        (["end", "home"], "a"),
        (["pagedown"], "i"),
        (["ctrl+f", "ctrl+f"], "p"),
        (["G", "pageup"], "h"),
        (["G", "ctrl+b", "k"], "g"),
    ],
)
async def test_keys_move_the_selection_and_it_stays_in_view(keys: list[str], selected: str) -> None:
    async with seen(lines(KEYS)) as shown:
        await shown.press(*keys)
        assert shown.table.selected == Line(selected)
        assert shown.highlighted == selected


async def test_a_click_selects_and_a_double_click_opens() -> None:
    async with seen(lines("abcdef")) as shown:
        await shown.pilot.click(LiveTable, offset=(3, 4))
        assert shown.app.said == ["moved to a", "moved to d"]
        await shown.pilot.double_click(LiveTable, offset=(3, 2))
        await shown.pilot.pause()
        assert shown.app.said[2:] == ["moved to b", "opened b"]
        await shown.pilot.click(LiveTable, offset=(3, 9))
        assert shown.table.selected == Line("b")


async def test_a_click_on_a_title_names_its_column() -> None:
    async with seen(lines("abc")) as shown:
        header = shown.lines[0]
        for title, key in (("NAME", "name"), ("NUMBER", "number"), ("EXTRA", "extra")):
            for x in (header.index(title), header.index(title) + len(title) - 1):
                await shown.pilot.click(LiveTable, offset=(x, 0))
                await shown.pilot.pause()
                assert shown.app.said[-1] == f"title {key}"


# Where the eye is


async def test_a_selected_row_stays_on_its_line_while_others_come_above() -> None:
    async with seen(lines(KEYS)) as shown:
        await shown.press("G", "k")
        line = shown.keys.index("o")
        await shown.show(lines("xyz" + KEYS))
        assert shown.keys.index("o") == line


async def test_at_the_very_top_one_sees_what_comes_in_there() -> None:
    async with seen(lines(KEYS)) as shown:
        await shown.press("j")
        await shown.show(lines("xyz" + KEYS))
        assert shown.keys.startswith("xyza")
        assert shown.highlighted == "b"


async def test_fewer_rows_than_before_are_all_in_view() -> None:
    async with seen(lines(KEYS)) as shown:
        await shown.press("G")
        await shown.show(lines("abc"))
        assert shown.keys == "abc"


async def test_a_log_follows_its_end_until_one_moves_away() -> None:
    async with seen(lines("abc"), follow=True) as shown:
        assert shown.highlighted == "c"
        await shown.show(lines(KEYS))
        assert shown.highlighted == "p"
        await shown.press("k")
        await shown.show(lines(KEYS + "xyz"))
        assert shown.highlighted == "o"
        await shown.press("G")
        await shown.show(lines(KEYS + "xyzXYZ"))
        assert shown.highlighted == "Z"


# Drawing


async def test_only_rows_on_the_screen_are_drawn() -> None:
    async with seen([Line(str(number)) for number in range(100_000)]) as shown:
        assert shown.app.drawn < 100
        shown.app.drawn = 0
        await shown.press("G")
        assert "99999" in shown.lines[-1]
        assert shown.app.drawn < 100


async def test_rows_that_come_and_go_above_those_on_the_screen_draw_none_of_them_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    drawn: list[int] = []
    render_line = LiveTable.render_line

    def counted(self: LiveTable[Line], y: int) -> Strip:
        drawn.append(y)
        return render_line(self, y)

    monkeypatch.setattr(LiveTable, "render_line", counted)
    letters = "abcdefghijklmnopqrstuvwxyz"
    async with seen(lines(letters)) as shown:
        await shown.press(*"jjjjjjjjjjjj")
        on_screen = shown.keys
        assert (shown.table.selected_key, on_screen[0]) == ("m", "e")
        for order in ("ABC" + letters, letters[2:]):
            drawn.clear()
            await shown.show(lines(order))
            assert drawn == []
            assert shown.keys == on_screen
            assert shown.highlighted == "m"


async def test_ages_go_on_without_a_new_picture() -> None:
    async with seen(lines("abc")) as shown:
        shown.table.tick(41.0)
        await shown.pilot.pause()
        assert shown.lines[1].split() == ["a", "0", "41"]


async def test_an_empty_table_says_why() -> None:
    async with seen() as shown:
        assert shown.lines[2].strip() == "nothing here"
        await shown.show(lines("abc"))
        assert "nothing here" not in "".join(shown.lines)


async def test_the_order_is_shown_at_its_title() -> None:
    async with seen(lines("abc")) as shown:
        for column, descending, title in (("name", True, "NAME▾"), ("name", False, "NAME▴"), ("extra", True, "▾EXTRA")):
            shown.table.mark_sort(column, descending=descending)
            await shown.pilot.pause()
            assert title in shown.lines[0].split()
            assert sum(shown.lines[0].count(arrow) for arrow in "▾▴") == 1


async def test_no_column_is_cut_when_a_scroll_bar_appears() -> None:
    async with seen(lines("abc")) as shown:
        whole = shown.lines[0].rstrip()
        assert whole.endswith("EXTRA")
        await shown.show(lines(KEYS))
        assert shown.lines[0].rstrip().endswith("EXTRA")
        assert shown.lines[0].split() == whole.split()


async def test_a_narrow_table_leaves_columns_out_rather_than_cutting_them() -> None:
    async with seen(lines("abc"), width=20) as shown:
        assert shown.lines[0].split() == ["NAME", "NUMBER"]
        await shown.pilot.resize_terminal(60, 10)
        await eventually(lambda: shown.lines[0].split() == ["NAME", "NUMBER", "EXTRA"])


WIDE = st.text(st.characters(categories=["L", "M", "N", "P", "S", "Zs"]), max_size=40)


@given(WIDE, st.integers(0, 30), st.booleans())
def test_a_cell_is_exactly_as_wide_as_its_column(text: str, width: int, right: bool) -> None:  # noqa: FBT001
    assert cell_len(fit(text, width, right=right)) == width


@given(
    st.lists(
        st.builds(
            Column,
            st.just(""),
            st.just(""),
            st.integers(1, 30),
            grow=st.integers(0, 3),
            drop=st.integers(0, 2),
        ),
        min_size=1,
        max_size=8,
    ),
    st.integers(1, 200),
)
def test_columns_fill_the_width_and_the_needed_ones_stay(columns: list[Column], width: int) -> None:
    laid_out = lay_out(columns, width)
    assert [column for column in columns if not column.drop] == [column for column, _ in laid_out if not column.drop]
    assert all(cells >= column.width for column, cells in laid_out)
    used = sum(cells + 1 for _, cells in laid_out) - 1
    if any(column.drop for column, _ in laid_out):
        assert used <= width
    if any(column.grow for column, _ in laid_out):
        assert used >= width


def test_of_a_line_only_the_cells_that_differ_are_drawn_again() -> None:
    def strip(*texts: str) -> Strip:
        return Strip([Segment(text) for text in texts])

    assert changed_cells(strip("room ", "12s", " x"), strip("room ", "13s", " x")) == (5, 8)
    assert changed_cells(strip("a", "b", "c", "d"), strip("a", "B", "c", "D")) == (1, 4)
    assert changed_cells(strip("a", "b"), strip("a", "b")) == (0, 0)
    assert changed_cells(strip("a", "bb"), strip("aa", "b")) == (0, 3)
