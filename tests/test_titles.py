"""The titles of the panes about what is selected: whose pane it is."""

from __future__ import annotations

import pytest

from tests.build import agent, dispatch, person, room, snapshot
from tests.dashboard import on_pictures


@pytest.mark.parametrize(("name", "title"), [("", "─ auto agent ─"), ("intake", "─ agent intake ─")])
async def test_the_pane_of_an_agent_calls_it_one_once(name: str, title: str) -> None:
    served = room("alpha", person("ann"), agent(), dispatches=(dispatch(name, "agent-AJ_1"),))
    async with on_pictures(snapshot(served)) as shown:
        assert title in shown.text
