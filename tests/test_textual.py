"""What the dashboard and its tests rely on in Textual: canaries, so that an upgrade tells what it changed."""

from __future__ import annotations

from typing import ClassVar

import pytest
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.screen import ModalScreen
from textual.widgets import Button, Input, OptionList, Static
from textual.widgets.option_list import Option

from tests.dashboard import written

MARKUP = "[/foo][@click=app.quit]x[/]"


class Bare(App[None]):
    """Every place where the dashboard shows a stranger's text."""

    def compose(self) -> ComposeResult:
        with Vertical(id="box"):
            yield Static(Content.assemble((MARKUP, "bold")))
            yield Button(Content(MARKUP))
            yield OptionList(Option(Content(MARKUP)))

    def on_mount(self) -> None:
        box = self.query_one("#box")
        box.styles.border = ("round", "white")
        box.border_title = Content(MARKUP)
        box.border_subtitle = Content(MARKUP)
        self.notify(MARKUP, markup=False)


async def test_content_is_never_markup() -> None:
    app = Bare()
    async with app.run_test(size=(100, 30), notifications=True) as pilot:
        await pilot.pause()
        assert "".join(strip.text for strip in written(app)).count(MARKUP) == 6


async def test_escape_sequences_are_not_removed_so_that_we_have_to() -> None:
    app = Bare()
    async with app.run_test() as pilot:
        app.query_one(Static).update(Content("\x1b[31m\x9b31m\u202e"))
        await pilot.pause()
        assert "\x1b[31m\x9b31m\u202e" in "".join(strip.text for strip in written(app))


class Numbered(Message):
    """Like a picture: a newer one replaces one that waits."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number

    def can_replace(self, message: Message) -> bool:
        return isinstance(message, Numbered)


class Counting(App[None]):
    BINDINGS: ClassVar[list[BindingType]] = [Binding("d", "count"), Binding("p", "count", priority=True)]

    def __init__(self) -> None:
        super().__init__()
        self.taken: list[int] = []
        self.counted = 0

    def compose(self) -> ComposeResult:
        yield Input(id="one")
        yield Input(id="two")

    def on_numbered(self, message: Numbered) -> None:
        self.taken.append(message.number)

    def action_count(self) -> None:
        self.counted += 1


async def test_of_messages_that_wait_only_the_newest_is_taken() -> None:
    app = Counting()
    async with app.run_test() as pilot:
        for number in range(100):
            app.post_message(Numbered(number))
        await pilot.pause()
        assert app.taken[-1] == 99
        assert len(app.taken) < 5


async def test_bindings_do_not_reach_through_a_modal_screen_unless_they_have_priority() -> None:
    app = Counting()
    async with app.run_test() as pilot:
        await app.push_screen(ModalScreen[None]())
        await pilot.press("d")
        assert app.counted == 0
        await pilot.press("p")
        assert app.counted == 1


async def test_set_focus_moves_the_focus_at_once() -> None:
    app = Counting()
    async with app.run_test():
        assert app.focused is app.query_one("#one")
        app.screen.set_focus(app.query_one("#two"))
        assert app.focused is app.query_one("#two")


async def test_a_fault_in_a_handler_comes_out_of_the_test() -> None:
    class Faulty(Counting):
        def on_numbered(self, message: Numbered) -> None:
            raise RuntimeError(f"number {message.number}")

    async def run() -> None:
        app = Faulty()
        async with app.run_test() as pilot:
            app.post_message(Numbered(7))
            await pilot.pause()

    with pytest.raises(RuntimeError, match="number 7"):
        await run()
