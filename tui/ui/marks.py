"""What is marked in the tables, seen against the picture: what is still there, hidden, or gone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tui.model.fleet import RoomRow
from tui.model.room import Participant, Room
from tui.model.snapshot import Snapshot
from tui.ui.live_table import LiveTable

if TYPE_CHECKING:
    from tui.control.plan_many import Marked


class Marks:
    """The marks of the table of rooms and of the one of participants; a table's name is its pane's."""

    def __init__(self, rooms: LiveTable[RoomRow], participants: LiveTable[Participant]) -> None:
        self._rooms = rooms
        self._tables: dict[str, LiveTable[Any]] = {"rooms": rooms, "participants": participants}

    def are_in(self, pane: str) -> bool:
        """Whether anything is marked in this pane."""
        return pane in self._tables and bool(self._tables[pane].marks)

    def targets(self, pane: str, picture: Snapshot, room: Room | None) -> Sequence[Marked]:
        """What is marked in this pane and still there; `room` is the one whose participants are shown."""
        if not self.are_in(pane):
            return ()
        marks = self._tables[pane].marks
        if pane == "rooms":
            return [(picture.rooms[sid], None) for sid in marks if sid in picture.rooms]
        return [(room, sid) for sid in marks if room is not None and room.participant(sid) is not None]

    def hidden(self, pane: str, picture: Snapshot) -> int:
        """How many marked rooms are there, but not among those the filter shows; participants have no filter."""
        if pane != "rooms":
            return 0
        return sum(1 for sid in self._rooms.marks if sid in picture.rooms and not self._rooms.has(sid))

    def clear(self, pane: str) -> None:
        """What was meant has been ordered: the next key must not mean them again."""
        self._tables[pane].action_unmark_all()

    def words(self, picture: Snapshot) -> str:
        """What the title of the rooms says of the marks in it; nothing without any."""
        marks = self._rooms.marks
        if not marks:
            return ""
        gone = sum(1 for sid in marks if sid not in picture.rooms)
        hidden = self.hidden("rooms", picture)
        parts = [f"{len(marks):,} marked"]
        parts += [f"{hidden:,} hidden by the filter"] if hidden else []
        parts += [f"{gone:,} gone"] if gone else []
        return " ─ " + ", ".join(parts)
