"""What is closed is let go: memory stays flat, however often a dialog is opened and a toast is shown."""

from __future__ import annotations

import gc

import pytest
from textual.strip import Strip
from textual.widgets._toast import Toast, ToastHolder

from tests.build import snapshot
from tests.dashboard import on_pictures, served

ROUNDS = 10
"""Of each, two lines or more were kept for good. Of the last one or two, some cache may hold them still."""


def lines_held(words: str) -> int:
    """How many lines with these words there are in this process: whole ones, and what was cut out of them."""
    gc.collect()
    return sum(isinstance(each, Strip) and words in each.text for each in gc.get_objects())


@pytest.mark.parametrize(("key", "words"), [("D", "─ Delete room ─"), ("question_mark", "Move and mark")])
async def test_no_line_is_kept_of_a_dialog_that_is_closed(key: str, words: str) -> None:
    async with on_pictures(snapshot(served("alpha"))) as shown:
        for _ in range(ROUNDS):
            await shown.press(key)
            await shown.wait_for(words)
            await shown.press("escape")
            await shown.wait_for(lambda: shown.screen is shown.main)
        await shown.wait_for(lambda: lines_held(words) < ROUNDS)


async def test_no_line_is_kept_of_a_toast_that_is_gone() -> None:
    async with on_pictures(snapshot(served("alpha"))) as shown:
        for _ in range(ROUNDS):
            shown.app.notify("Copied alpha", timeout=0.1)
            await shown.wait_for(lambda: shown.screen.query(Toast))
            await shown.wait_for(lambda: not shown.screen.query(Toast))
        assert "Copied alpha" not in shown.text
        await shown.wait_for(lambda: lines_held("Copied alpha") < ROUNDS)


async def test_nothing_is_left_of_a_toast_that_went_while_a_dialog_lay_over_it() -> None:
    async with on_pictures(snapshot(served("alpha"))) as shown:
        for _ in range(4):
            shown.app.notify("Copied alpha", timeout=60)
            await shown.wait_for(lambda: shown.main.query(Toast))
            await shown.press("question_mark")
            await shown.wait_for(lambda: shown.screen is not shown.main and shown.screen.query(Toast))
            # A click is the end of it.
            await shown.pilot.click(Toast)
            await shown.wait_for(lambda: not shown.screen.query(Toast))
            await shown.press("escape")
            await shown.wait_for(lambda: shown.screen is shown.main and not shown.main.query(Toast))
        # What is left of the last one goes with the next dialog.
        await shown.wait_for(lambda: len(shown.main.query(ToastHolder)) <= 1)
