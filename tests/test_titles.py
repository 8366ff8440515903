"""The titles of the panes about what is selected: whose pane it is."""

from __future__ import annotations

import pytest

from tests.build import NOW, agent, dispatch, person, room, snapshot
from tests.dashboard import Dashboard, on_pictures, written
from tui.model.phrases import GHOST_WORDS
from tui.model.room import Room
from tui.ui.agent_pane import AgentPane
from tui.ui.named_pane import NamedPane
from tui.ui.participants_pane import ParticipantsPane

LONG = ["x" * 256, "客" * 85]
"""As long as the server lets a room's name be."""
SID = "RM_wQ4rTy6uJk9p"


@pytest.mark.parametrize(("name", "title"), [("", "─ auto agent ─"), ("intake", "─ agent intake ─")])
async def test_the_pane_of_an_agent_calls_it_one_once(name: str, title: str) -> None:
    served = room("alpha", person("ann"), agent(), dispatches=(dispatch(name, "agent-AJ_1"),))
    async with on_pictures(snapshot(served)) as shown:
        assert title in shown.text


def title(shown: Dashboard, pane: type[NamedPane]) -> str:
    """The line of the screen with this pane's title, as far as the pane goes."""
    region = shown.main.query_one(pane).region
    return written(shown.app)[region.y].crop(region.x, region.right).text.rstrip("╮─ ")


def long_one(name: str, **more: float) -> Room:
    """A room and two agents of this name."""
    return room(name, person("ann"), agent("a", name=name), agent("b", name=name), sid=SID, **more)


@pytest.mark.parametrize("name", LONG, ids=["long", "long and wide"])
@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
async def test_a_long_name_leaves_place_for_what_is_to_be_known_about_it(name: str, size: tuple[int, int]) -> None:
    async with on_pictures(snapshot(long_one(name)), size=size) as shown:
        assert name[:8] in title(shown, ParticipantsPane)
        assert title(shown, ParticipantsPane).endswith(f"… · {SID}")
        await shown.show(snapshot(long_one(name, ghost_since=NOW - 9), number=2))
        assert title(shown, ParticipantsPane).endswith(f"… · {GHOST_WORDS} · {SID}")
        await shown.press("tab", "tab")
        assert title(shown, AgentPane).endswith("… · 1 of 2 · node doesn't answer")
        await shown.press("shift+tab", "slash", "!")
        await shown.wait_for("… is hidden by the filter")
        await shown.press("escape")
        await shown.show(snapshot(number=3))
        await shown.wait_for("… is gone")


async def test_a_name_is_cut_anew_for_another_size_and_for_a_pane_that_was_out_of_sight_by_then() -> None:
    name = "a-name-of-forty-cells-which-are-too-many"
    whole = f"{name} · {SID}"
    async with on_pictures(snapshot(long_one(name)), size=(80, 24)) as shown:
        assert whole in title(shown, ParticipantsPane)
        await shown.press("tab", "tab")
        await shown.pilot.resize_terminal(50, 24)
        await shown.wait_for(lambda: title(shown, AgentPane).endswith("… · 1 of 2"))
        await shown.press("shift+tab")
        await shown.wait_for(lambda: title(shown, ParticipantsPane).endswith(f"… · {SID}"))
        await shown.pilot.resize_terminal(160, 50)
        await shown.wait_for(lambda: whole in title(shown, ParticipantsPane))
        await shown.wait_for(lambda: title(shown, AgentPane).endswith(f"agent {name} · 1 of 2"))
