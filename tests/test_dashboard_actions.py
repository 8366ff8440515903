"""Every action from its key to its end on the embedded demo server; what came of it is asked of the demo's world."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest

from tests.dashboard import OPERATOR, Dashboard, join, on_demo, open_room, small_world
from tui.demo import World
from tui.demo.rooms import Agent, Process, Room, Session
from tui.model.action import Action, ActionRecord, Outcome
from tui.ui.dialogs import ChooseAgentDialog, ConfirmDialog, StoryDialog

NOBODY = ["nobody-of-this-name"]
"""A dispatch that no worker takes."""


@pytest.fixture
def world() -> World:
    return small_world()


def only_agent(room: Room) -> Agent:
    (agent,) = room.agents
    return agent


def identities(room: Room) -> list[str]:
    return [who.identity for who in room.people]


async def record_of(shown: Dashboard, *outcomes: Outcome) -> ActionRecord:
    """The newest action's record, once it has one of these outcomes, or any, and its end is said in a toast."""
    wanted = outcomes or tuple(outcome for outcome in Outcome if outcome is not Outcome.RUNNING)
    await shown.wait_for(lambda: bool(shown.app.records) and shown.app.records[-1].outcome in wanted)
    record = shown.app.records[-1]
    await shown.wait_for(lambda: any(record.last in toast for toast in shown.toasts))
    return record


async def under_way(shown: Dashboard, words: str) -> None:
    """Wait until the newest action has come so far as to say this."""
    await shown.wait_for(
        lambda: bool(shown.app.records) and any(words in step.text for step in shown.app.records[-1].steps)
    )


# Close session


async def test_c_closes_the_session_and_the_agent_stays(world: World) -> None:
    room, other = open_room(world, "alpha", "ann"), open_room(world, "bravo", "bob")
    async with on_demo(world) as shown:
        await shown.select("alpha")
        await shown.confirm("c")
        record = await record_of(shown)
        assert (record.outcome, record.operator) == (Outcome.CONFIRMED, OPERATOR)
        assert only_agent(room).session is Session.CLOSED
        assert json.loads(only_agent(room).attributes["lk-tui.close"])["by"] == OPERATOR
        assert identities(room) == ["ann"]
        assert only_agent(other).session is Session.OPEN
        await shown.wait_for("session closed by operator, agent stays")
        assert "closed" in shown.line("● alpha")


async def test_where_the_selected_agent_has_gone_no_key_means_the_one_that_is_left(world: World) -> None:
    room = open_room(world, "alpha", "ann", agents=["", ""])
    async with on_demo(world) as shown:
        await shown.wait_for(lambda: len(shown.main.participants.rows) == 3)
        await shown.press("enter")
        first, second = room.agents
        assert shown.main.participants.select(first.sid)
        world.remove_participant("alpha", first.identity)
        await shown.wait_for(lambda: shown.main.participants.selected is None)
        for key in ("c", "x", "K"):
            await shown.press(key)
            await shown.wait_for("The selected participant is gone")
            assert not isinstance(shown.app.screen, ConfirmDialog)
            shown.app.clear_notifications()
        assert second.session is Session.OPEN


async def test_c_without_the_helper_changes_nothing_and_offers_what_is_possible(world: World) -> None:
    room = open_room(world, "alpha", "ann", agents=["billing"])
    async with on_demo(world) as shown:
        await shown.confirm("c")
        record = await record_of(shown)
        assert record.outcome is Outcome.UNSUPPORTED
        assert only_agent(room).session is Session.OPEN
        await shown.press("shift+tab", "G", "enter")
        await shown.wait_for(lambda: isinstance(shown.screen, StoryDialog) and shown.focused == "cancel")
        await shown.press("tab", "enter")
        await shown.asked()
        assert shown.dialog.plan.action is Action.SHUT_DOWN_JOB
        await shown.press("right", "enter")
        await shown.wait_for(lambda: not room.agents)
        assert room.dispatches == {}
        assert identities(room) == ["ann"]


async def test_c_on_a_hung_agent_says_so_and_changes_nothing(world: World) -> None:
    room = open_room(world, "alpha", "ann")
    async with on_demo(world) as shown:
        world._agents.freeze(only_agent(room), Process.HUNG)
        await shown.confirm("c")
        record = await record_of(shown)
        assert record.outcome is Outcome.UNKNOWN
        assert "hung" in record.last
        assert record.offers == (Action.SHUT_DOWN_JOB, Action.KICK)


# Shut down job


async def test_x_shuts_one_job_down_and_its_dispatch_stays(world: World) -> None:
    room = open_room(world, "alpha", "ann")
    async with on_demo(world) as shown:
        await shown.confirm("x")
        record = await record_of(shown)
        assert record.outcome is Outcome.CONFIRMED
        assert room.agents == []
        assert len(room.dispatches) == 1
        assert identities(room) == ["ann"]
        assert "Offered instead: a dispatch agent" in shown.toasts[-1]


# Kick


async def test_upper_k_kicks_the_selected_person_and_nobody_else(world: World) -> None:
    room = open_room(world, "alpha", "ann", "bob")
    async with on_demo(world) as shown:
        await shown.select("alpha")
        await shown.press("enter")
        shown.main.participants.select(room.participants["bob"].sid)
        dialog = await shown.confirm("K")
        assert dialog.plan.target.identity is not None
        assert dialog.plan.target.identity.raw == "bob"
        record = await record_of(shown)
        assert record.outcome is Outcome.CONFIRMED
        assert identities(room) == ["ann"]
        assert len(room.agents) == 1


async def test_upper_k_on_the_agents_pane_kicks_the_agent(world: World) -> None:
    room = open_room(world, "alpha", "ann")
    async with on_demo(world) as shown:
        await shown.press("tab", "tab")
        await shown.confirm("K")
        await shown.wait_for(lambda: not room.agents)
        assert identities(room) == ["ann"]
        await shown.wait_for("kicked by operator")


async def test_a_kicked_person_who_rejoins_is_pointed_out_and_can_be_kicked_again(world: World) -> None:
    room = open_room(world, "alpha", "ann", agents=NOBODY)
    first = room.participants["ann"].sid
    async with on_demo(world) as shown:
        await shown.press("enter")
        await shown.confirm("K")
        await shown.wait_for(lambda: not room.people)
        join(world, room, "ann")
        record = await record_of(shown)
        assert record.outcome is Outcome.CAME_BACK
        await shown.wait_for("ann came back")
        await shown.press("shift+tab", "shift+tab", "G", "enter")
        await shown.wait_for(lambda: isinstance(shown.screen, StoryDialog) and shown.focused == "cancel")
        await shown.press("tab", "enter")
        await shown.asked()
        assert shown.dialog.plan.target.participant_sid == room.participants["ann"].sid != first
        await shown.press("right", "enter")
        await shown.wait_for(lambda: not room.people)


# Delete room


async def test_upper_d_puts_everyone_out_and_deletes_only_this_room(world: World) -> None:
    room, other = open_room(world, "alpha", "ann", "bob"), open_room(world, "bravo", "carl")
    everyone = list(room.participants.values())
    async with on_demo(world) as shown:
        await shown.select("alpha")
        await shown.confirm("D")
        await shown.wait_for(lambda: world.rooms() == [other])
        assert room.closed
        assert all(who.gone for who in everyone)
        await shown.wait_for("alpha is gone")
        await under_way(shown, "watching the name for 20 s")
        await shown.wait_for("room deleted by operator")


async def test_a_room_that_comes_back_is_said_to_have_and_can_be_deleted_again(world: World) -> None:
    open_room(world, "alpha", "ann", agents=NOBODY)
    async with on_demo(world) as shown:
        await shown.confirm("D")
        await under_way(shown, "watching the name")
        back = open_room(world, "alpha", agents=NOBODY)
        record = await record_of(shown)
        assert (record.outcome, record.came_back_sid) == (Outcome.CAME_BACK, back.info.sid)
        assert "Offered instead: D delete room" in shown.toasts[-1]


# Tear down


async def test_upper_t_closes_then_shuts_down_then_deletes(world: World) -> None:
    room = open_room(world, "alpha", "ann", agents=["", "billing"])
    async with on_demo(world) as shown:
        (helped,) = [agent for agent in room.agents if agent.helper]
        everyone = list(room.participants.values())
        await shown.confirm("T")
        await shown.wait_for(lambda: world.rooms() == [])
        assert helped.session is Session.CLOSED
        assert len(everyone) == 3
        assert all(who.gone for who in everyone)
        await under_way(shown, "watching the name")
        said = "\n".join(step.text for step in shown.app.records[-1].steps)
        told = ("session is closed", "frontdesk, billing left", "DeleteRoom answered OK")
        order = [said.index(words) for words in told]
        assert order == sorted(order)
        assert "billing: no helper, so its session is not closed first" in said
        await shown.wait_for("torn down by operator")


# Dispatch


@pytest.mark.parametrize(
    ("keys", "name"), [(["up"], "closer"), (["tab", *"intake"], "intake"), (["home"], "frontdesk")]
)
async def test_a_orders_the_agent_that_was_chosen_or_typed(world: World, keys: Sequence[str], name: str) -> None:
    room, other = open_room(world, "alpha", "ann", agents=NOBODY), open_room(world, "bravo", "bob", agents=["closer"])
    async with on_demo(world) as shown:
        await shown.press("a")
        await shown.wait_for(lambda: isinstance(shown.screen, ChooseAgentDialog) and shown.focused == "names")
        await shown.press(*keys, "enter")
        await shown.asked()
        await shown.press("right", "enter")
        record = await record_of(shown)
        assert record.outcome is Outcome.CONFIRMED
        assert only_agent(room).attributes["lk.agent.name"] == name
        assert only_agent(room).sid in record.last
        assert len(other.agents) == 1


# What changed meanwhile


async def test_a_room_recreated_while_the_dialog_was_open_is_left_alone(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_room(world, "alpha", "ann", agents=NOBODY)
    async with on_demo(world, interval_s=600.0) as shown:
        # A newer picture would tell the dialog, and nothing could be confirmed in it.
        monkeypatch.setattr(shown.app, "wake", lambda *_, **__: None)
        await shown.ask("D")
        world.delete_room("alpha")
        again = open_room(world, "alpha", "bob", agents=NOBODY)
        await shown.press("right", "enter")
        record = await record_of(shown)
        assert record.outcome is Outcome.REFUSED
        assert again.info.sid in record.last
        assert world.rooms() == [again]


async def test_s_stops_between_two_steps(world: World) -> None:
    room = open_room(world, "alpha", "ann", agents=NOBODY)
    async with on_demo(world) as shown:
        await shown.press("S")
        assert shown.toasts[-1] == "No action is running."
        await shown.press("enter")
        await shown.confirm("K")
        await under_way(shown, "watching for a return")
        await shown.press("S")
        # That it has stopped may be told by now, too.
        assert "Stopping 1 action after the current step." in shown.toasts
        record = await record_of(shown)
        assert record.outcome is Outcome.STOPPED
        assert room.people == []


async def test_read_only_changes_nothing_whatever_is_pressed(world: World) -> None:
    room = open_room(world, "alpha", "ann")
    async with on_demo(world, read_only=True) as shown:
        for _pane in range(3):
            await shown.press("c", "x", "K", "D", "T", "a", "S", "tab")
        assert shown.screen is shown.main
        assert shown.app.records == ()
        assert (len(room.participants), len(room.dispatches)) == (2, 1)
        assert only_agent(room).session is Session.OPEN
