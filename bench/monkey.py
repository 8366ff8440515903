"""Somebody who presses keys at random, the same ones for the same seed, as far as the screen is the same."""

from __future__ import annotations

from collections import Counter
from random import Random

from textual.command import CommandPalette
from textual.pilot import Pilot
from textual.widgets import Input

from tui.ui.app import Supervisor
from tui.ui.commands import COMMANDS, Group
from tui.ui.dialogs import ChooseAgentDialog, ConfirmDialog
from tui.ui.many_dialogs import ConfirmManyDialog

SIZES = ((120, 40), (160, 50), (80, 24), (40, 12), (20, 5))
WORDS = ("s", "sup", "sales", "agent", "1", "alone", "[/foo]", "zzz", "é", " ")
_WEIGHTS = {Group.MOVE: 6, Group.ACT: 4, Group.LOOK: 2, Group.SESSION: 1, Group.PROGRAM: 1}
_SELDOM = frozenset({"save", "pause"})
"""What would fill the disk, or hold the picture for half of the time."""
_LEFT_OUT = frozenset({"quit", "suspend"})


class Monkey:
    """Presses the keys of `app`, whose commands it knows from the registry; `pressed` counts them by command."""

    def __init__(self, app: Supervisor, pilot: Pilot[None], seed: int) -> None:
        self._app = app
        self._pilot = pilot
        self._chance = Random(seed)  # noqa: S311 - it has to be repeatable
        self._commands = [command for command in COMMANDS if command.id not in _LEFT_OUT]
        self._weights = [0.3 if command.id in _SELDOM else _WEIGHTS[command.group] for command in self._commands]
        self.pressed: Counter[str] = Counter()

    async def step(self) -> None:
        """Do one thing that a person could do now, and wait until it was taken."""
        screen = self._app.screen
        what = self._chance.random()
        if what < 0.01:
            await self._resize()
        elif what < 0.04:
            await self._click()
        elif isinstance(screen, ConfirmDialog | ConfirmManyDialog):
            await self._answer(screen)
        elif isinstance(screen, ChooseAgentDialog):
            await self._keys(*self._chance.choice((["enter"], ["down", "enter"], ["escape"])))
        elif isinstance(screen, CommandPalette):
            await self._keys(*self._chance.choice(("copy", "sort", "kick", "dark")), "enter", "escape", "escape")
        elif isinstance(self._app.focused, Input):
            await self._keys(*self._chance.choice(WORDS), self._chance.choice(("enter", "escape")))
        elif screen is not self._app.main and what < 0.5:
            await self._keys("escape")
        else:
            (command,) = self._chance.choices(self._commands, self._weights)
            self.pressed[command.label] += 1
            await self._keys(self._chance.choice(command.keys.split(",")))

    async def _answer(self, dialog: ConfirmDialog | ConfirmManyDialog) -> None:
        """Mostly yes."""
        what = self._chance.random()
        if what < 0.2:
            await self._keys(self._chance.choice(("escape", "enter")))
            return
        if isinstance(dialog, ConfirmManyDialog) and dialog.many.word:
            await self._keys(*dialog.many.word, "enter", "escape")
        else:
            await self._keys("right", "enter")
        if self._app.screen is dialog:
            # There was nothing to confirm, or it was confirmed away.
            await self._keys("escape")

    async def _keys(self, *keys: str) -> None:
        await self._pilot.press(*keys)

    async def _resize(self) -> None:
        await self._pilot.resize_terminal(*self._chance.choice(SIZES))

    async def _click(self) -> None:
        columns, rows = self._app.size
        where = (self._chance.randrange(columns), self._chance.randrange(rows))
        await self._pilot.click(offset=where, times=self._chance.choice((1, 1, 2)))
