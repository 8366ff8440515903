"""The dialogs of the log: the story of a close, and the choice of a cause."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Button, OptionList, Static
from textual.widgets.option_list import Option

from tui.model.causes import Cause
from tui.model.close_phrases import CAUSE_WORDS, cause_tone, close_words, timeline
from tui.model.closes import CloseEvent
from tui.model.evidence import SourceStatus
from tui.model.phrases import Tone, span
from tui.ui.dialogs import PageText
from tui.ui.lines import Page
from tui.ui.live_table import fit
from tui.ui.log_pane import source_glyph
from tui.ui.rows import time_of_day
from tui.ui.tones import fields, hang, toned

TIME_WIDTH = 8


class CloseDialog(ModalScreen[bool]):
    """Why a session closed, and the evidence as a timeline. Answers whether to go to its room."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "dismiss(False)", "Back", show=False),
        Binding("o", "dismiss(True)", "Go to its room", show=False),
        Binding("down,j", "scroll(1)", "Down", show=False),
        Binding("up,k", "scroll(-1)", "Up", show=False),
    ]

    def __init__(self, title: str, page: Page) -> None:
        super().__init__()
        self._title = title
        self._page = page

    def compose(self) -> ComposeResult:
        """The story, then the buttons."""
        with Vertical(id="dialog", classes="-wide"):
            with VerticalScroll(id="story", can_focus=False):
                yield PageText(self._page)
            with Horizontal(id="buttons"):
                yield Button("Close", id="cancel")
                yield Button("Go to its room", id="go")

    def on_mount(self) -> None:
        """Title and focus."""
        self.query_one("#dialog").border_title = Content(self._title)
        self.query_one("#cancel").focus()

    def action_scroll(self, by: int) -> None:
        """Scroll by a line."""
        self.query_one("#story").scroll_relative(y=by, animate=False)

    @on(Button.Pressed)
    def _pressed(self, event: Button.Pressed) -> None:
        self.dismiss(event.button.id == "go")


@dataclass(frozen=True, slots=True)
class CauseChoice:
    """The cause whose closes are to be shown; None for all."""

    cause: Cause | None


class ChooseCauseDialog(ModalScreen[CauseChoice | None]):
    """The causes with how often they came up in the last hour. Answers the one to show."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "dismiss(None)", "Back", show=False),
        Binding("j", "move(1)", "Down", show=False),
        Binding("k", "move(-1)", "Up", show=False),
    ]

    def __init__(self, last_hour: Sequence[tuple[Cause, int]], chosen: Cause | None) -> None:
        super().__init__()
        self._counts: Mapping[Cause, int] = dict(last_hour)
        self._choices: list[Cause | None] = [None, *self._counts, *(c for c in Cause if c not in self._counts)]
        self._chosen = chosen

    def compose(self) -> ComposeResult:
        """All causes, those of the last hour first."""
        with Vertical(id="dialog"):
            yield Static(toned(("In the last hour; Enter shows only these", Tone.MUTED)))
            yield OptionList(*(Option(self._line(cause)) for cause in self._choices), id="names")

    def on_mount(self) -> None:
        """What is shown now is highlighted."""
        self.query_one("#dialog").border_title = Content("Closes by cause")
        names = self.query_one("#names", OptionList)
        names.highlighted = self._choices.index(self._chosen)
        names.focus()

    def action_move(self, by: int) -> None:
        """Highlight a neighbour."""
        names = self.query_one("#names", OptionList)
        names.highlighted = min(max((names.highlighted or 0) + by, 0), len(self._choices) - 1)

    def _line(self, cause: Cause | None) -> Content:
        if cause is None:
            return toned((f"{sum(self._counts.values()):>6,}  ", Tone.MUTED), ("all causes, and actions", Tone.STRONG))
        number = self._counts.get(cause, 0)
        tone = cause_tone(cause) if number else Tone.MUTED
        return toned((f"{number:>6,}  ", Tone.MUTED), (CAUSE_WORDS[cause], tone))

    @on(OptionList.OptionSelected)
    def _selected(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(CauseChoice(self._choices[event.option_index]))


def close_page(event: CloseEvent) -> Page:
    """Everything about one close: what it was, who it was, what is left, and how we know."""
    lines = [
        ("cause", close_words(event)),
        ("by", event.by or ("an operator" if event.cause.value.endswith("_by_operator") else "not known")),
        ("room", f"{event.room.safe}  {event.room_sid}, {'gone' if event.room_gone else 'still there'}"),
        ("agent", f"{event.agent}  {event.identity.safe}, {'gone' if event.agent_gone else 'still in the room'}"),
        ("ids", " ".join(part for part in (event.participant_sid, event.dispatch, event.job, event.worker) if part)),
        ("lasted", span(event.duration)),
        ("it said", event.reason or "nothing"),
    ]
    story = timeline(event)

    def page(width: int) -> Content:
        parts: list[tuple[str, Tone]] = [("\n", Tone.PLAIN)]
        for at, sentence in story:
            parts.append((f"{time_of_day(at)}  ", Tone.MUTED))
            parts.append((hang(sentence, width, TIME_WIDTH + 2) + "\n", Tone.PLAIN))
        return Content.assemble(fields(lines, label_width=7, width=width), toned(*parts))

    return page


_SOURCES = {
    "helper": "what agents say in their attributes, where they run the helper (tui/agent.py)",
    "webhooks": "what LiveKit sends: lk-tui --webhook PORT, and that address in the server's webhook settings",
    "observer": "a hidden participant in the rooms you open; --observe N for more rooms, 0 for none",
    "probe": "asks agents' processes whether they answer; --no-probe turns it off",
    "history": "what is kept for tomorrow and for `lk-tui closes`; --history PATH, --no-history",
}


def sources_page(sources: Sequence[SourceStatus]) -> Page:
    """Each source: whether it is on, how it stands, what it is."""

    def page(width: int) -> Content:
        parts: list[tuple[str, Tone]] = []
        for source in (SourceStatus("polling", on=True, words="always"), *sources):
            glyph, tone = source_glyph(source)
            state = "in trouble" if source.trouble else "on" if source.on else "off"
            words = f"{state}{', ' + source.words if source.words else ''}"
            parts += [(f"{glyph} ", tone), (fit(source.name, 10), Tone.STRONG), (hang(words, width, 12) + "\n", tone)]
            if what := _SOURCES.get(source.name):
                parts.append((" " * 12 + hang(what, width, 12) + "\n", Tone.MUTED))
        return toned(*parts)

    return page
