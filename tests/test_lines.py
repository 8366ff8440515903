"""The panes of lines: what is longer than its pane is wrapped beside the scroll bar, and each line stays a row."""

from __future__ import annotations

import pytest

from tests.build import agent, dispatch, person, room, snapshot
from tests.dashboard import Dashboard, on_pictures
from tui.model.room import Room
from tui.ui.agent_pane import AgentPane
from tui.ui.lines import Lines


def serving(name: str) -> Room:
    """A room of an agent with this name, which stands in all its ids too."""
    return room("alpha", person("ann"), agent(name, name=name), dispatches=(dispatch(name, name),))


def assert_all_is_shown(shown: Dashboard) -> None:
    """Each row of the agent's pane is the line that belongs there, whole."""
    pane = shown.main.query_one(AgentPane)
    lines, region = pane.query_one(Lines), pane.content_region
    width = lines.size.width
    rows = [line[region.x : region.x + width].rstrip() for line in shown.lines[region.y : region.bottom]]
    assert rows == [line.rstrip() for line in lines.plain.split("\n")[: region.height]]
    assert "…" not in lines.plain


@pytest.mark.parametrize("size", [(160, 50), (120, 40), (100, 30), (80, 24)])
async def test_a_page_that_is_longer_than_its_pane_is_wrapped_beside_the_scroll_bar(size: tuple[int, int]) -> None:
    async with on_pictures(snapshot(serving("x")), size=size) as shown:
        await shown.press("tab", "tab")
        for number, name in enumerate(("agent-" * 30, "other-" * 30, "short", "agent-" * 30), 2):
            await shown.show(snapshot(serving(name), number=number))
            assert_all_is_shown(shown)


async def test_a_page_is_wrapped_anew_when_a_smaller_terminal_brings_the_scroll_bar() -> None:
    async with on_pictures(snapshot(serving("agent-" * 15)), size=(160, 50)) as shown:
        await shown.press("tab", "tab")
        assert_all_is_shown(shown)
        for size in ((100, 50), (100, 30), (80, 24), (160, 50)):
            await shown.pilot.resize_terminal(*size)
            await shown.pilot.pause()
            assert_all_is_shown(shown)
