"""The demo's agents' sessions: looked into through the same gateway as real ones, and believable."""

from __future__ import annotations

from tests.dashboard import Dashboard, on_demo, open_room, small_world
from tests.lab.waiting import eventually
from tui.demo import DemoSessions, World
from tui.demo.rooms import Agent, Process
from tui.demo.scripts import SCRIPTS
from tui.model.action import Action, Outcome
from tui.model.evidence import SourceStatus
from tui.model.session import Entry, EntryKind, Health, ToolStatus
from tui.ui.session_screen import SessionScreen


async def open_session(shown: Dashboard, room: str) -> SessionScreen:
    await shown.select(room)
    await shown.press("tab", "tab")
    await shown.wait_for(lambda: shown.focused == "agent-pane" and "listening" in shown.text)
    await shown.press("enter")
    await shown.wait_for("● answering")
    screen = shown.screen
    assert isinstance(screen, SessionScreen)
    return screen


def agent_of(world: World, name: str) -> Agent:
    (agent,) = next(room for room in world.rooms() if room.name == name).agents
    return agent


async def test_a_simulated_agent_is_looked_into_like_a_real_one() -> None:
    world = small_world()
    open_room(world, "support-1", "ann")
    async with on_demo(world) as shown:
        screen = await open_session(shown, "support-1")
        await shown.wait_for(SCRIPTS["frontdesk"].greeting)
        await shown.wait_for("livekit-agents simulated (demo)")
        agent = agent_of(world, "support-1")
        await shown.press("n")
        await shown.wait_for(lambda: "ms" in shown.line("round trip"))
        for turn in ("thinking", "speaking", "listening") * 3:
            agent.turns.append((world.now, turn))
        await shown.wait_for("look_up_order(number=771)")
        await shown.wait_for("✓ packed, waits for the courier")
        said = [entry for entry in screen.view.entries if entry.kind in (EntryKind.USER, EntryKind.AGENT)]
        assert [entry.text for entry in said[:3]] == [
            SCRIPTS["frontdesk"].greeting,
            SCRIPTS["frontdesk"].exchanges[0].user,
            SCRIPTS["frontdesk"].exchanges[0].agent,
        ]
        assert "DEMO" in shown.lines[0]


async def test_its_rooms_can_not_be_joined_and_so_its_observer_is_off_and_not_in_trouble() -> None:
    world = small_world()
    open_room(world, "support-1", "ann")
    async with on_demo(world) as shown:
        await shown.select("support-1")
        await shown.press("enter")
        assert shown.focused == "participants"
        assert SourceStatus("observer", on=False) in shown.app.sources


async def test_a_simulated_session_closes_hangs_and_goes_as_a_real_one_does() -> None:
    world = small_world()
    for name in ("support-1", "support-2"):
        open_room(world, name, "ann")
    async with on_demo(world) as shown:
        await open_session(shown, "support-1")
        await shown.confirm("c")
        await shown.wait_for("◐ closed")
        await shown.confirm("x")
        await shown.wait_for("✗ gone")
        await shown.press("escape")
        await shown.press("escape", "escape")
        await open_session(shown, "support-2")
        agent_of(world, "support-2").process = Process.HUNG
        await shown.wait_for("✕ hung")


async def test_what_is_said_to_a_simulated_agent_stands_in_its_conversation() -> None:
    world = small_world()
    open_room(world, "support-1", "ann")
    async with on_demo(world) as shown:
        screen = await open_session(shown, "support-1")
        await shown.press("t")
        await shown.wait_for(lambda: shown.focused == "words")
        await shown.type("wrap up")
        await shown.press("enter")
        await shown.asked()
        await shown.press("right", "enter")
        await shown.wait_for("I am simulated")
        await shown.wait_for(lambda: shown.app.records[-1].outcome is Outcome.CONFIRMED)
        assert [record.action for record in shown.app.records] == [Action.INSPECT_SESSION, Action.SAY_TO_AGENT]
        await shown.confirm("v")
        await shown.wait_for("▲ voice off")
        assert screen.view.health is Health.ANSWERING


class Heard:
    """Whom a line tells, in a test without a dashboard."""

    def __init__(self) -> None:
        self.messages: list[bytes] = []
        self.joined = 0
        self.gone = 0

    def on_joined(self) -> None:
        self.joined += 1

    def on_message(self, message: bytes) -> None:
        self.messages.append(message)

    def on_gone(self) -> None:
        self.gone += 1


async def test_an_agent_that_is_not_there_is_gone_at_once() -> None:
    class Nowhere:
        sid = "RM_none"

    heard = Heard()
    line = DemoSessions(small_world()).call(Nowhere(), "PA_none", heard)
    await eventually(lambda: heard.gone)
    line.send(b"anything")
    line.close()
    assert (heard.joined, heard.messages) == (0, [])


async def test_every_script_is_told_to_its_end_and_begins_anew() -> None:
    world = small_world()
    names = ("frontdesk", "closer")
    for name in names:
        open_room(world, f"room-{name}", "ann", agents=["" if name == "frontdesk" else name])
    async with on_demo(world, interval_s=0.1) as shown:
        for name in names:
            script = SCRIPTS[name]
            screen = await open_session(shown, f"room-{name}")
            agent = agent_of(world, f"room-{name}")
            for number in range(len(script.exchanges) + 1):
                for part, turn in enumerate(("thinking", "speaking", "listening")):
                    agent.turns.append((world.now + number * 10 + part, turn))
            first = script.exchanges[0].user
            await shown.wait_for(lambda: _times(screen, first) > 1)  # noqa: B023 - awaited here
            tools = [entry.tool for entry in screen.view.entries if entry.tool is not None]
            fails = [each.tool.fails for each in script.exchanges if each.tool is not None]
            assert [tool.status is ToolStatus.FAILED for tool in tools][: len(fails)] == fails
            await shown.press("escape")
            await shown.wait_for(lambda: shown.screen is shown.main)
            await shown.press("escape", "escape")


def _times(screen: SessionScreen, words: str) -> int:
    said: list[Entry] = [entry for entry in screen.view.entries if entry.kind is EntryKind.USER]
    return sum(entry.text == words for entry in said)
