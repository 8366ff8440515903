"""An action under way: its record, which grows by one step at a time, and how it can end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from tui.model.action import CHANGED_NOTHING, Action, ActionRecord, Outcome, Step


@dataclass(frozen=True, slots=True)
class Ending:
    """How an action ended: the outcome, its words, and what the record then tells the screen (`ActionRecord`)."""

    outcome: Outcome
    text: str
    offers: tuple[Action, ...] = ()
    came_back_sid: str = ""
    by_dispatch: bool = False


class EndedError(Exception):
    """The action is over, wherever in it this is raised."""

    def __init__(self, ending: Ending) -> None:
        super().__init__(ending.text)
        self.ending = ending


class Progress:
    """The record of one action, published whole after every step.

    `sent` are the changes sent so far, by name; `changed` are those of them that may have changed something, because
    nobody said no.
    """

    def __init__(
        self, record: ActionRecord, publish: Callable[[ActionRecord], None], clock: Callable[[], float]
    ) -> None:
        self.record = record
        self.sent: list[str] = []
        self.changed: list[str] = []
        self._publish = publish
        self._clock = clock
        self._stopping = False

    def say(self, text: str, outcome: Outcome = Outcome.RUNNING) -> None:
        """Add a step. An `outcome` marks how a part of the action ended; the action goes on."""
        step = Step(self._clock(), text, outcome)
        self.record = replace(self.record, steps=(*self.record.steps, step))
        self._publish(self.record)

    def sending(self, what: str) -> None:
        """Note that a change is being sent, by the name of the call."""
        self.sent.append(what)
        self.record = replace(self.record, sent=True)
        # At once: what it does may be seen before it is answered.
        self._publish(self.record)

    def sent_nothing(self) -> None:
        """Take the latest `sending` back: it was held up before it left."""
        self.sent.pop()
        self.record = replace(self.record, sent=bool(self.sent))

    def done(self) -> None:
        """Note that what it is for was seen to be done, to be published with the next step."""
        if self.record.done_at is None:
            self.record = replace(self.record, done_at=self._clock())

    def cut_short(self, ending: Ending) -> Ending:
        """The end of the whole action, of which `ending` is the last part, and kept it from going on.

        After a change it can't be an outcome that says that nothing changed: what was changed would be nobody's doing.
        """
        if not self.changed or ending.outcome not in CHANGED_NOTHING:
            return ending
        words = f"after {self.changed[-1]}: {ending.text}"
        return replace(ending, outcome=Outcome.UNKNOWN, text=words, offers=ending.offers or (self.record.action,))

    def end(self, ending: Ending) -> None:
        """Add the last step, and end the record with it."""
        if ending.outcome is Outcome.CONFIRMED:
            self.done()
        self.record = replace(
            self.record,
            outcome=ending.outcome,
            offers=ending.offers,
            came_back_sid=ending.came_back_sid,
            by_dispatch=ending.by_dispatch,
        )
        self.say(ending.text, ending.outcome)

    def stop(self) -> None:
        """Have the action end at its next checkpoint."""
        self._stopping = True

    def checkpoint(self) -> None:
        """Between two steps: end here if the operator asked to stop. Raises `EndedError`."""
        if self._stopping:
            after = f"after {self.sent[-1]}" if self.sent else "before anything was sent"
            raise EndedError(Ending(Outcome.STOPPED, f"stopped {after}: {self.not_sent}"))

    def cut_off(self, why: str) -> None:
        """End the record of an action that can't go on because of lk-tui itself, if it has not ended."""
        if self.record.outcome is not Outcome.RUNNING:
            return
        if self.sent:
            self.end(Ending(Outcome.UNKNOWN, f"{why} after {self.sent[-1]} was sent: not verified"))
        else:
            self.end(Ending(Outcome.STOPPED, f"{why}: nothing was sent"))

    @property
    def not_sent(self) -> str:
        """`nothing was sent`, or `nothing more was sent`."""
        return "nothing more was sent" if self.sent else "nothing was sent"
