"""The dialogs of an action on many targets: confirm it, and see what has become of each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Button, Input, Static

from tui.control.plan import Plan
from tui.control.plan_many import ManyPlan
from tui.model.action import WORST_OUTCOMES_FIRST, ActionRecord, BatchRecord, Outcome, Target
from tui.model.phrases import Tone, batch_words, count, outcome_words, span
from tui.model.snapshot import Snapshot
from tui.ui.confirmation import Confirmation
from tui.ui.dialogs import DetailDialog, StoryDialog, gone_words, lines_page, story_page
from tui.ui.live_table import Cell, Column, LiveTable
from tui.ui.rows import OUTCOME_GLYPHS, OUTCOME_TONES, marked_name, target_words
from tui.ui.tones import toned

_PLAN_COLUMNS = (
    Column("glyph", "", 1),
    Column("target", "TARGET", 20, grow=3),
    Column("sid", "SID", 15, drop=1),
    Column("note", "TO BE KNOWN", 24, grow=5),
)
_RECORD_COLUMNS = (
    Column("glyph", "", 1),
    Column("target", "TARGET", 20, grow=3),
    Column("last", "WHAT HAPPENED", 30, grow=5),
    Column("lasted", "LASTED", 6, right=True, drop=1),
)


class ConfirmManyDialog(Confirmation[bool]):
    """Says what will happen to how many, and lists every one of them. Answers whether to do it.

    Where many rooms are to be deleted, their number has to be typed.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "cancel", "Cancel", show=False),
        Binding("left", "app.focus_previous", "Previous", show=False),
        Binding("right", "app.focus_next", "Next", show=False),
        Binding("enter", "open", "Open", show=False),
    ]

    def __init__(
        self, many: ManyPlan, hidden: int, project: str, snapshot: Snapshot, clock: Callable[[], float]
    ) -> None:
        super().__init__(project, snapshot, clock)
        self.many = many
        self._hidden = hidden

    def compose(self) -> ComposeResult:
        """What will happen, to whom, and the buttons."""
        many = self.many
        with Vertical(id="dialog", classes="-danger -wide"):
            yield Static(toned((many.title, Tone.STRONG), (f"  {self._project}", Tone.MUTED)), id="target")
            lines: list[tuple[str, Tone]] = [(effect + "\n", Tone.PLAIN) for effect in many.effects]
            if self._hidden:
                hidden = count(self._hidden, "marked room is", "marked rooms are")
                lines.append((f"▲ {hidden} hidden by the filter.\n", Tone.NOTICE))
            if many.blocked:
                lines.append((f"✗ {len(many.blocked):,} can't be done: nothing will be sent there.\n", Tone.NOTICE))
            yield Static(toned(*lines), id="effects")
            yield LiveTable[Plan](_PLAN_COLUMNS, _plan_key, _plan_cells, id="targets")
            yield Static(id="checked")
            if many.word:
                yield Input(placeholder=f"type {many.word} to confirm", id="word", compact=True)
            with Horizontal(id="buttons"):
                yield Button("Cancel" if many.plans else "Close", id="cancel")
                if many.plans:
                    yield Button(Content(many.title), id="confirm", variant="error", disabled=bool(many.word))

    def on_mount(self) -> None:
        """What needs to be known comes first in the list."""
        many = self.many
        self.query_one("#dialog").border_title = Content(many.action.value.capitalize())
        warned = [plan for plan in many.plans if plan.warnings]
        others = [plan for plan in many.plans if not plan.warnings]
        table = self.query_one("#targets", LiveTable)
        table.show((*many.blocked, *warned, *others), self._clock())
        self.query_one("#word" if many.word else "#cancel").focus()

    def _checked(self) -> Content:
        plans = self.many.plans
        gone = sum(1 for plan in plans if gone_words(plan.target, self._snapshot))
        times = [plan.checked_at for plan in plans]
        parts: list[tuple[str, Tone]] = []
        if None in times:
            parts.append(("Not all of these rooms have been read yet; ", Tone.NOTICE))
        elif times:
            oldest = span(self._clock() - min(at for at in times if at is not None))
            parts.append((f"As seen {oldest} ago or later; ", Tone.MUTED))
        if plans:
            parts.append(("each one is checked again before anything is sent.", Tone.MUTED))
        if gone:
            parts.append((f"\n▲ {count(gone, 'is', 'are')} gone meanwhile: nothing will be sent there.", Tone.NOTICE))
        return toned(*parts)

    def action_open(self) -> None:
        """Everything that is planned for the selected one."""
        plan = self.query_one("#targets", LiveTable).selected
        if plan is not None:
            lines = [(target_words(plan.target), plan.target.participant_sid or plan.target.room_sid)]
            lines += [
                ("", text) for text in (plan.blocked, *plan.effects, *(f"▲ {each}" for each in plan.warnings)) if text
            ]
            self.app.push_screen(DetailDialog(plan.title, lines_page(lines)))

    def action_cancel(self) -> None:
        """Nothing happens."""
        self.dismiss(result=False)

    @on(Input.Changed, "#word")
    def _typed(self, event: Input.Changed) -> None:
        self.query_one("#confirm", Button).disabled = event.value.strip() != self.many.word

    @on(Input.Submitted, "#word")
    def _submitted(self, event: Input.Submitted) -> None:
        if event.value.strip() == self.many.word:
            self.dismiss(result=True)

    @on(Button.Pressed)
    def _pressed(self, event: Button.Pressed) -> None:
        self.dismiss(event.button.id == "confirm")


class BatchDialog(ModalScreen[None]):
    """What has become of each target so far; Enter tells one's story, `y` copies all of it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "app.pop_screen", "Back", show=False),
        Binding("enter", "open", "Open", show=False),
        Binding("y", "copy", "Copy", show=False),
    ]

    def __init__(self, record: BatchRecord, clock: Callable[[], float]) -> None:
        super().__init__()
        self.record = record
        self._clock = clock

    def compose(self) -> ComposeResult:
        """One line a target."""
        with Vertical(id="page"):
            yield LiveTable[ActionRecord](_RECORD_COLUMNS, lambda record: str(record.id), _record_cells, id="targets")

    def on_mount(self) -> None:
        """Show what is known so far."""
        self.query_one("#page").border_subtitle = Content("Enter story  y copy  Esc back")
        self._show()

    @property
    def table(self) -> LiveTable[ActionRecord]:
        """The targets."""
        return self.query_one("#targets", LiveTable)

    def take_record(self, record: BatchRecord) -> None:
        """It went on."""
        self.record = record
        if self.is_mounted:
            self._show()

    def _show(self) -> None:
        self.query_one("#page").border_title = Content(batch_words(self.record))
        self.table.show(sorted(self.record.records, key=_by_outcome), self._clock())

    def action_open(self) -> None:
        """The story of the selected one."""
        record = self.table.selected
        if record is not None:
            title = f"{record.action.value} {target_words(record.target)}: {record.outcome.value}"
            self.app.push_screen(
                StoryDialog(title, story_page([(step.at, step.text) for step in record.steps], record.at), ())
            )

    def action_copy(self) -> None:
        """A summary, one line a target, for an incident's log."""
        self.app.copy_to_clipboard(summary(self.record))
        self.notify(f"Copied what became of {count(len(self.record.records), 'target')}.", markup=False)


def summary(record: BatchRecord) -> str:
    """What became of all of it, in lines."""
    lines = [f"{batch_words(record)}, by {record.operator}"]
    for each in sorted(record.records, key=_by_outcome):
        sid = each.target.participant_sid or each.target.room_sid
        lines.append(f"{OUTCOME_GLYPHS[each.outcome]} {target_words(each.target)} ({sid}): {outcome_words(each)}")
    return "\n".join(lines)


def _by_outcome(record: ActionRecord) -> tuple[int, int]:
    return WORST_OUTCOMES_FIRST.index(record.outcome), record.id


def _plan_key(plan: Plan) -> str:
    return f"{plan.target.room_sid} {plan.target.participant_sid}"


def _target_name(target: Target) -> str:
    name = marked_name(target.room)
    who = target.agent_name or (marked_name(target.identity) if target.identity is not None else "")
    return f"{who} in {name}" if target.identity is not None else name


def _plan_cells(plan: Plan, now: float) -> Sequence[Cell]:  # noqa: ARG001 - a plan has no age
    glyph, tone, note = ("✗", Tone.NOTICE, plan.blocked) if plan.blocked else (" ", Tone.MUTED, "")
    if plan.warnings:
        glyph, tone, note = "▲", Tone.NOTICE, "  ".join(plan.warnings)
    sid = plan.target.participant_sid or plan.target.room_sid
    return (glyph, tone), (_target_name(plan.target), Tone.PLAIN), (sid, Tone.MUTED), (note, tone)


def _record_cells(record: ActionRecord, now: float) -> Sequence[Cell]:
    tone = OUTCOME_TONES[record.outcome]
    last = record.steps[-1].at if record.steps and record.outcome is not Outcome.RUNNING else now
    return (
        (OUTCOME_GLYPHS[record.outcome], tone),
        (_target_name(record.target), Tone.PLAIN),
        (outcome_words(record), tone),
        (span(max(0.0, last - record.at)), Tone.MUTED),
    )
