"""The pane of the selected room's participants."""

from __future__ import annotations

from operator import attrgetter
from typing import ClassVar

from textual.app import ComposeResult
from textual.containers import Vertical

from tui.model.room import Participant
from tui.ui.live_table import LiveTable
from tui.ui.named_pane import NamedPane
from tui.ui.rows import PARTICIPANT_COLUMNS, participant_cells


class ParticipantsPane(Vertical, NamedPane):
    """Who is in the room, called by the room's name."""

    DEFAULT_CLASSES: ClassVar[str] = "pane"

    def compose(self) -> ComposeResult:
        """The table."""
        yield LiveTable[Participant](
            PARTICIPANT_COLUMNS, attrgetter("sid"), participant_cells, markable=True, id="participants"
        )
