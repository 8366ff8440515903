"""What one would write first: the same pictures in Textual's DataTable, filled anew with every picture."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding
from textual.geometry import Region
from textual.message import Message
from textual.widgets import DataTable, Static

from bench import product
from tui.model.room import Room
from tui.model.snapshot import Snapshot

COLUMNS = {"ROOM": 24, "SID": 16, "PEOPLE": 7, "AGENT": 20, "STATE": 12, "AGE": 6, "CHECKED": 8}
"""Titles, and widths in cells."""
ORDERS: Mapping[str, Callable[[Room], Any]] = {
    "newest first": lambda room: -room.created_at,
    "by name": lambda room: room.name.safe.casefold(),
    "most people first": lambda room: -room.people_count,
    "by agent": lambda room: [agent.name for agent in room.agents],
}
"""What `s` goes through."""


def cells(room: Room, now: float) -> tuple[str | Text, ...]:
    """A room's row. It has no signs: those would come on top."""
    agent = next(iter(room.agents), None)
    return (
        # As a plain string, a name such as [/foo] would end the program.
        Text(room.name.safe),
        room.sid,
        str(room.people_count),
        agent.name if agent is not None else "—",
        agent.state if agent is not None else "—",
        f"{now - room.created_at:.0f}s",
        f"{now - room.checked_at:.0f}s" if room.checked_at is not None else "—",
    )


def text(room: Room) -> str:
    """What a filter looks at."""
    return "\n".join([room.name.safe, room.sid, *(one.identity.safe for one in room.participants or ())]).casefold()


class TableFilled(Message):
    """A new picture has arrived. A newer one replaces one that is still waiting."""

    def __init__(self, picture: Snapshot) -> None:
        super().__init__()
        self.picture = picture

    def can_replace(self, message: Message) -> bool:
        """Only the newest picture counts."""
        return isinstance(message, TableFilled)


class TableScreen(App[None]):
    """One table, on the dashboard's poller and model; only the screen is another."""

    CSS = "DataTable { height: 1fr; } Static { height: 1; }"
    BINDINGS = [  # noqa: RUF012 - Textual's own
        Binding("j", "down", "down"),
        Binding("k", "up", "up"),
        Binding("s", "sort", "sort"),
        Binding("slash", "filter", "filter"),
        Binding("p", "hold", "hold"),
        Binding("escape", "show_all", "show all"),
    ]

    def __init__(self, url: str, api_key: str, api_secret: str, opened: Callable[[TableScreen], None]) -> None:
        super().__init__()
        self._server = (url, api_key, api_secret)
        self._opened = opened
        self._picture = Snapshot()
        self._rooms: list[Room] = []
        self._order_words = next(iter(ORDERS))
        self._filter = ""
        self._held = False

    def compose(self) -> ComposeResult:
        """A line of words, and the table."""
        yield Static(id="words")
        yield DataTable(cursor_type="row", id="rooms")

    def on_mount(self) -> None:
        """Start polling."""
        for title, width in COLUMNS.items():
            self._table.add_column(title, width=width)
        self._table.focus()
        self._opened(self)
        self.run_worker(product.poll(*self._server, self._publish))

    async def _publish(self, picture: Snapshot) -> None:
        self.post_message(TableFilled(picture))

    @property
    def _table(self) -> DataTable[str | Text]:
        return self.query_one(DataTable)

    @property
    def picture(self) -> Snapshot:
        """What is shown."""
        return self._picture

    @property
    def area(self) -> Region:
        """Where the rooms are on the screen, titles included."""
        return self._table.region

    @property
    def name_at(self) -> int:
        """The column of the screen at which the rooms' names begin, after a blank."""
        return self.area.x + 1

    @property
    def log_pane(self) -> Region:
        """There is none."""
        return Region()

    @property
    def on_screen(self) -> Sequence[Room]:
        """The rooms on screen, top to bottom."""
        top = int(self._table.scroll_y)
        return self._rooms[top : top + self._table.size.height - 1]

    def on_table_filled(self, message: TableFilled) -> None:
        """Show the new picture."""
        if not self._held:
            self._picture = message.picture
            self._fill()

    def _fill(self) -> None:
        now = time.time()
        table = self._table
        chosen = table.ordered_rows[table.cursor_row].key if table.row_count else None
        rooms = self._picture.rooms
        found = [room for room in rooms.values() if not self._filter.strip() or self._filter in text(room)]
        self._rooms = sorted(found, key=ORDERS[self._order_words])
        top = table.scroll_y
        table.clear()
        for room in self._rooms:
            table.add_row(*cells(room, now), key=room.sid)
        if chosen is not None and chosen in table.rows:
            table.move_cursor(row=table.get_row_index(chosen), scroll=False)
        table.scroll_to(y=top, animate=False, immediate=True, force=True)
        count = f"  {len(found):,}/{len(rooms):,}" if self._filter else ""
        words = f"{product.LIVE}  {self._order_words}  {self._filter}{count}"
        self.query_one(Static).update(words)

    def poll_now(self) -> None:
        """It has no hurry."""

    def action_down(self) -> None:
        """The row below."""
        self._table.action_cursor_down()

    def action_sort(self) -> None:
        """Sort by the next column."""
        orders = list(ORDERS)
        self._order_words = orders[(orders.index(self._order_words) + 1) % len(orders)]
        self._fill()

    def action_up(self) -> None:
        """The row above."""
        self._table.action_cursor_up()

    def action_hold(self) -> None:
        """Hold the picture, or let it go on."""
        self._held = not self._held

    def action_show_all(self) -> None:
        """No filter."""
        self._filter = ""
        self._fill()

    def action_filter(self) -> None:
        """Let the next digits be the filter."""
        self._filter = " "
        self._fill()

    def on_key(self, event: object) -> None:
        """A digit is added to the filter."""
        character = getattr(event, "character", None)
        if self._filter and character is not None and character.isdigit():
            self._filter = (self._filter + character).strip()
            self._fill()


def open_table(arguments: Sequence[str], opened: Callable[[TableScreen], None]) -> None:
    """Run it, with the URL and the API key as arguments, and the secret in the environment."""
    url, api_key = arguments[1], arguments[3]
    asyncio.run(TableScreen(url, api_key, os.environ[product.SECRET_VARIABLE], opened).run_async())
