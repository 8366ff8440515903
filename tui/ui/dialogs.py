"""The dialogs: confirm an action, choose an agent to dispatch, read everything about one thing, help."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Button, Input, OptionList, Static
from textual.widgets.option_list import Option

from tui.control.plan import Plan
from tui.model.action import Action, Target
from tui.model.phrases import SIGN_GLYPHS, SIGN_MEANINGS, SIGN_NAMES, SIGN_TONES, Tone, span
from tui.model.signs import WORST_FIRST
from tui.model.snapshot import Snapshot
from tui.model.text import safe_text
from tui.ui.commands import ACTION_TABLE, BY_ACTION, COMMANDS, Group
from tui.ui.confirmation import Confirmation
from tui.ui.lines import Page
from tui.ui.live_table import fit
from tui.ui.tones import fields, hang, toned


class ConfirmDialog(Confirmation[Action | None]):
    """Says what will happen, to whom and how sure we are. Answers the action to carry out, or None.

    Cancel comes first, so it has the focus.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "cancel", "Cancel", show=False),
        Binding("left", "app.focus_previous", "Previous", show=False),
        Binding("right", "app.focus_next", "Next", show=False),
        Binding("down,j", "scroll(1)", "Down", show=False),
        Binding("up,k", "scroll(-1)", "Up", show=False),
    ]

    def __init__(self, plan: Plan, project: str, snapshot: Snapshot, clock: Callable[[], float]) -> None:
        super().__init__(project, snapshot, clock)
        self.plan = plan

    def compose(self) -> ComposeResult:
        """The target, what will happen, and the buttons."""
        plan = self.plan
        with Vertical(id="dialog", classes="-danger" if plan.action is not Action.DISPATCH_AGENT else ""):
            yield Static(self._target(), id="target")
            lines: list[tuple[str, Tone]] = [(effect + "\n", Tone.PLAIN) for effect in plan.effects]
            lines += [(f"▲ {warning}\n", Tone.NOTICE) for warning in plan.warnings]
            if plan.blocked:
                lines.append((plan.blocked + "\n", Tone.NOTICE))
            yield Static(toned(*lines), id="effects")
            yield Static(id="checked")
            with Horizontal(id="buttons"):
                yield Button("Close" if plan.blocked else "Cancel", id="cancel")
                if not plan.blocked:
                    yield Button(Content(plan.button), id="confirm", variant="error")
                yield from _offer_buttons(plan.offers)

    def on_mount(self) -> None:
        """Title and focus."""
        dialog = self.query_one("#dialog")
        dialog.border_title = Content(self.plan.title)
        self.query_one("#cancel").focus()

    def _checked(self) -> Content:
        gone = gone_words(self.plan.target, self._snapshot)
        for button in self.query("#confirm, .offer").results(Button):
            button.disabled = bool(gone)
        checked = self.plan.checked_at
        if gone:
            return toned((gone + " Nothing will be sent.", Tone.TROUBLE))
        if checked is None:
            return toned(("This room's participants have not been read yet.", Tone.NOTICE))
        ago = span(self._clock() - checked)
        return toned((f"As seen {ago} ago; checked again before anything is sent.", Tone.MUTED))

    def _target(self) -> Content:
        target = self.plan.target
        parts = [(target.room.safe, Tone.STRONG), (f"  {target.room_sid}  {self._project}", Tone.MUTED)]
        if target.identity is not None:
            parts += [("\n" + target.identity.safe, Tone.STRONG), (f"  {target.participant_sid}", Tone.MUTED)]
        if any(name is not None and name.altered for name in (target.room, target.identity)):
            parts.append(
                ("\n⚑ a name here holds characters that can't be shown; they are written as escapes", Tone.NOTICE)
            )
        return toned(*parts)

    def action_scroll(self, by: int) -> None:
        """Scroll by a line."""
        self.query_one("#dialog").scroll_relative(y=by, animate=False)

    def action_cancel(self) -> None:
        """Nothing happens."""
        self.dismiss(None)

    @on(Button.Pressed)
    def _pressed(self, event: Button.Pressed) -> None:
        self.dismiss(self.plan.action if event.button.id == "confirm" else _offered(event.button))


def gone_words(target: Target, snapshot: Snapshot) -> str:
    """That the target is gone from the picture; empty if it isn't, or if nobody knows."""
    room = snapshot.rooms.get(target.room_sid)
    if room is None:
        return "This room is gone."
    if target.participant_sid and room.participants is not None and room.participant(target.participant_sid) is None:
        return "This participant is gone."
    return ""


class SayDialog(ModalScreen[str | None]):
    """A line of text for an agent's session. Answers it, to be confirmed, or None."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "cancel", "Cancel", show=False)]

    def __init__(self, agent: str, room: str) -> None:
        super().__init__()
        self._agent = agent
        self._room = room

    def compose(self) -> ComposeResult:
        """To whom, and the line."""
        with Vertical(id="dialog"):
            yield Static(toned((f"To {self._agent}", Tone.STRONG), (f" in {self._room}, as its user", Tone.MUTED)))
            yield Input(placeholder="what to say; Enter goes on to confirm it", id="words", compact=True)

    def on_mount(self) -> None:
        """Title and focus."""
        self.query_one("#dialog").border_title = Content("Say to agent")
        self.query_one("#words").focus()

    def action_cancel(self) -> None:
        """Nothing happens."""
        self.dismiss(None)

    @on(Input.Submitted)
    def _written(self, event: Input.Submitted) -> None:
        if event.value.strip():
            self.dismiss(event.value.strip())


AUTOMATIC = ""
"""The agent name that stands for workers which take any room."""


class ChooseAgentDialog(ModalScreen[str | None]):
    """Which agent to dispatch: one of the (raw) names seen in this project, an automatic one, or a name typed in."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "cancel", "Cancel", show=False)]

    def __init__(self, room: str, names: Iterable[str], likely: str) -> None:
        super().__init__()
        self._room = room
        self._names = [AUTOMATIC, *sorted(set(names) - {AUTOMATIC})]
        self._likely = likely

    def compose(self) -> ComposeResult:
        """The names, and a line for another one."""
        with Vertical(id="dialog"):
            yield Static(toned((f"Into {self._room}", Tone.STRONG)))
            yield OptionList(
                *(
                    Option(Content(safe_text(name) or "(automatic: any worker without an agent name)"))
                    for name in self._names
                ),
                id="names",
            )
            yield Input(placeholder="or type an agent name", id="other")

    def on_mount(self) -> None:
        """The likeliest name is highlighted."""
        dialog = self.query_one("#dialog")
        dialog.border_title = Content("Dispatch an agent")
        names = self.query_one("#names", OptionList)
        names.highlighted = self._names.index(self._likely) if self._likely in self._names else 0
        names.focus()

    def action_cancel(self) -> None:
        """Nothing happens."""
        self.dismiss(None)

    @on(OptionList.OptionSelected)
    def _chosen(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(self._names[event.option_index])

    @on(Input.Submitted)
    def _typed(self, event: Input.Submitted) -> None:
        if event.value.strip():
            self.dismiss(event.value.strip())


class PageText(Static):
    """Shows a page at whatever width there is."""

    def __init__(self, page: Page) -> None:
        super().__init__()
        self._page = page

    def on_resize(self, event: events.Resize) -> None:
        """Wrap again."""
        self.update(self._page(event.size.width))


class DetailDialog(ModalScreen[None]):
    """Everything about one thing: labels and values, scrollable."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,enter", "app.pop_screen", "Back", show=False),
        Binding("j", "scroll(1)", "Down", show=False),
        Binding("k", "scroll(-1)", "Up", show=False),
    ]

    def __init__(self, title: str, page: Page) -> None:
        super().__init__()
        self._title = title
        self._page = page

    def compose(self) -> ComposeResult:
        """One scrolling page."""
        with VerticalScroll(id="page"):
            yield PageText(self._page)

    def on_mount(self) -> None:
        """Title and focus."""
        page = self.query_one("#page")
        page.border_title = Content(self._title)
        page.border_subtitle = Content("Esc back")
        page.focus()

    def action_scroll(self, by: int) -> None:
        """Scroll by a line."""
        self.query_one("#page").scroll_relative(y=by, animate=False)


class StoryDialog(ModalScreen[Action | None]):
    """How an action went, step by step, and what is offered next. Answers the offer taken, or None."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "cancel", "Back", show=False),
        Binding("down,j", "scroll(1)", "Down", show=False),
        Binding("up,k", "scroll(-1)", "Up", show=False),
    ]

    def __init__(self, title: str, page: Page, offers: Sequence[Action]) -> None:
        super().__init__()
        self._title = title
        self._page = page
        self._offers = offers

    def compose(self) -> ComposeResult:
        """The steps, then the buttons."""
        with Vertical(id="dialog", classes="-wide"):
            yield PageText(self._page)
            with Horizontal(id="buttons"):
                yield Button("Close", id="cancel")
                yield from _offer_buttons(self._offers)

    def on_mount(self) -> None:
        """Title and focus."""
        self.query_one("#dialog").border_title = Content(self._title)
        self.query_one("#cancel").focus()

    def action_scroll(self, by: int) -> None:
        """Scroll by a line."""
        self.query_one("#dialog").scroll_relative(y=by, animate=False)

    def action_cancel(self) -> None:
        """Nothing happens."""
        self.dismiss(None)

    @on(Button.Pressed)
    def _pressed(self, event: Button.Pressed) -> None:
        self.dismiss(_offered(event.button))


def _offer_buttons(offers: Sequence[Action]) -> Iterator[Button]:
    for offer in offers:
        yield Button(Content(f"{offer.value.capitalize()} instead…"), id=f"offer-{offer.name}", classes="offer")


def _offered(button: Button) -> Action | None:
    name = (button.id or "").removeprefix("offer-")
    return Action[name] if name in Action.__members__ else None


def lines_page(lines: Sequence[tuple[str, str]]) -> Page:
    """A detail page of labels and values."""
    label_width = min(28, max((len(label) for label, _ in lines), default=10))
    return lambda width: fields(lines, label_width=label_width, width=width)


def help_page(width: int) -> Content:
    """The keys, what each action does to whom, and the signs, from the one list of each."""
    parts: list[tuple[str, Tone]] = []
    for group in Group:
        parts.append((f"{group.value}\n", Tone.STRONG))
        for command in COMMANDS:
            if command.group is group:
                parts += [
                    (f"  {fit(command.key_words, 14)}", Tone.OURS),
                    (fit(command.label, 16), Tone.PLAIN),
                    (hang(command.help, width, 32) + "\n", Tone.MUTED),
                ]
        parts.append(("\n", Tone.PLAIN))
    parts.append(("What each action does\n", Tone.STRONG))
    for action, session, agent, room, people in ACTION_TABLE:
        key = BY_ACTION[Action(action)].keys
        story = f"session {session}; agent {agent}; room {room}; people {people}"
        parts += [(f"  {fit(f'{key} {action}', 18)}", Tone.OURS), (hang(story, width, 20) + "\n", Tone.PLAIN)]
    parts.append(("\nSigns, worst first\n", Tone.STRONG))
    for code in WORST_FIRST:
        parts += [
            (f"  {SIGN_GLYPHS[code]} {fit(SIGN_NAMES[code], 16)}", SIGN_TONES[code]),
            (hang(SIGN_MEANINGS[code], width, 20) + "\n", Tone.PLAIN),
        ]
    parts.append(
        ("\n⚑ before a name: it holds characters that can't be shown and are written as escapes\n", Tone.MUTED)
    )
    return toned(*parts)


def story_page(lines: Sequence[tuple[float, str]], began: float) -> Page:
    """What happened, one line a step, with the time since it began."""
    steps = [(f"+{span(at - began)}", text) for at, text in lines]
    return lambda width: fields(steps, label_width=7, width=width)
