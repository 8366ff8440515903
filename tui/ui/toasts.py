"""How an action ended, said for a while on whatever screen is on top; the log keeps it."""

from __future__ import annotations

from time import time

from textual.app import App
from textual.notifications import Notification

from tui.model.action import ActionRecord, BatchRecord, Outcome
from tui.model.phrases import Tone, batch_words, outcome_words
from tui.ui.commands import BY_ACTION
from tui.ui.rows import OUTCOME_GLYPHS, OUTCOME_TONES, target_words

SHORTEST_S = 0.05


class Notice(Notification):
    """What a toast shows. Its time is never over when the toast is made.

    Textual looks whether it is, then makes the toast, and gives it a timer for the rest. Should the time run out in
    between, the rest is negative, and such a timer turns round for ever (Textual 8.2.8, `Timer._run`): nothing else is
    done any more. Random keys met it within a minute.
    """

    @property
    def time_left(self) -> float:
        """Seconds."""
        return max(SHORTEST_S, super().time_left)

    @property
    def has_expired(self) -> bool:
        """Whether its time is over."""
        return self.raised_at + self.timeout <= time()


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
