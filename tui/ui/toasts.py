"""How an action ended, said for a while on whatever screen is on top; the log keeps it."""

from __future__ import annotations

from textual.app import App

from tui.model.action import ActionRecord, BatchRecord, Outcome
from tui.model.phrases import Tone, batch_words, outcome_words
from tui.ui.commands import BY_ACTION
from tui.ui.many_dialogs import target_words
from tui.ui.rows import OUTCOME_GLYPHS, OUTCOME_TONES


def tell_ended(app: App[None], record: ActionRecord) -> None:
    """Say how an action ended, and what is offered instead."""
    offers = ", ".join(f"{BY_ACTION[offer].keys} {offer.value}" for offer in record.offers)
    words = f"{record.action.value} {target_words(record.target)}\n{OUTCOME_GLYPHS[record.outcome]} "
    _toast(app, record.outcome, words + outcome_words(record) + (f"\nOffered instead: {offers}" if offers else ""))


def tell_batch_ended(app: App[None], batch: BatchRecord) -> None:
    """Say how an action on many targets ended."""
    _toast(app, batch.outcome, f"{OUTCOME_GLYPHS[batch.outcome]} {batch_words(batch)}")


def _toast(app: App[None], outcome: Outcome, words: str) -> None:
    calm = OUTCOME_TONES[outcome] is Tone.WORKING
    app.notify(words, severity="information" if calm else "error", timeout=6 if calm else 20, markup=False)
