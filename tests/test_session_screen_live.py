"""The inside of a real agent's session on the screen, on a real server: opened, talked in, closed under one's eyes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from livekit import api

from tests.dashboard import Dashboard, on_server
from tests.lab.people import LabPerson, join
from tests.lab.server import LabServer
from tests.lab.waiting import come_true
from tests.lab.worker import LabWorker
from tui.model.action import Action, Outcome
from tui.ui.dialogs import SayDialog
from tui.ui.session_screen import SessionScreen


@asynccontextmanager
async def inside(
    server: LabServer, worker: LabWorker, name: str
) -> AsyncIterator[tuple[Dashboard, api.LiveKitAPI, LabPerson]]:
    """The dashboard with the session of a scripted agent open, which answers."""
    async with server.client() as livekit:
        await livekit.room.create_room(api.CreateRoomRequest(name=name, metadata='{"llm": "scripted"}'))
        async with await join(server, name, "alice") as alice:
            await worker.wait_for("ready", room=name)
            async with on_server(server) as shown:
                await shown.select(name)
                await shown.press("tab", "tab")
                await shown.wait_for(lambda: shown.focused == "agent-pane" and "listening" in shown.text)
                await shown.press("enter")
                await shown.wait_for("● answering")
                yield shown, livekit, alice


async def hidden(livekit: api.LiveKitAPI, room: str) -> int:
    """How many hidden participants are in the room."""
    here = await livekit.room.list_participants(api.ListParticipantsRequest(room=room))
    return sum(who.permission.hidden for who in here.participants)


async def test_a_conversation_is_read_as_it_happens_and_left_without_a_trace(
    lab_server: LabServer, lab_worker: LabWorker, room_name: str
) -> None:
    async with inside(lab_server, lab_worker, room_name) as (shown, livekit, alice):
        await shown.wait_for("You answer the phone.")
        await alice.room.local_participant.send_text("order 7", topic="lk.chat")
        for words in ("look_up_order(number=7)", "✓ order 7 is on its way", "The tool says: order 7 is on its way"):
            await shown.wait_for(words)
        await alice.room.local_participant.send_text("book", topic="lk.chat")
        await shown.wait_for("✗ failed: no table for 4")
        await alice.room.local_participant.send_text("colleague", topic="lk.chat")
        await shown.wait_for("⇄ receptionist hands over to colleague")
        await shown.wait_for("You know about refunds.")
        await shown.wait_for("livekit-agents 1.8.9 (python)")
        await shown.wait_for("llm script-1")
        await shown.press("n")
        await shown.wait_for(lambda: "ms" in shown.line("round trip"))
        assert await hidden(livekit, room_name) == 1
        await shown.press("escape")
        await shown.wait_for(lambda: shown.screen is shown.main)

        async def left() -> bool:
            return await hidden(livekit, room_name) == 0

        await come_true(left)


async def test_closing_the_session_from_inside_is_seen_there(
    lab_server: LabServer, lab_worker: LabWorker, room_name: str
) -> None:
    async with inside(lab_server, lab_worker, room_name) as (shown, _, _alice):
        await shown.confirm("c")
        await shown.wait_for("◐ closed")
        await shown.wait_for(lambda: shown.app.records[-1].outcome is Outcome.CONFIRMED)
        assert shown.app.records[-1].action is Action.CLOSE_SESSION
        assert isinstance(shown.screen, SessionScreen)
        await shown.confirm("x")
        await shown.wait_for("✗ gone")
        await shown.wait_for("What is shown is from before.")


async def test_soft_hands_reach_the_agent_and_are_seen_to(
    lab_server: LabServer, lab_worker: LabWorker, room_name: str
) -> None:
    async with inside(lab_server, lab_worker, room_name) as (shown, _, _alice):
        await shown.press("t")
        await shown.wait_for(lambda: isinstance(shown.screen, SayDialog))
        await shown.type("order 7")
        await shown.press("enter")
        dialog = await shown.asked()
        assert dialog.plan.action is Action.SAY_TO_AGENT
        assert "takes this for the user's words: order 7" in shown.said
        await shown.press("right", "enter")
        await shown.wait_for("The tool says: order 7 is on its way")
        await shown.wait_for(lambda: shown.app.records[-1].outcome is Outcome.CONFIRMED)

        await shown.confirm("v")
        await shown.wait_for("▲ voice off")
        await shown.confirm("e")
        await shown.wait_for("▲ voice and ears off")
        await shown.confirm("V")
        await shown.wait_for("▲ ears off")
        await shown.confirm("E")
        await shown.wait_for(lambda: "▲ ears off" not in shown.text)
        # What is shown is the agent's own word, which may come before the action's answer.
        await shown.wait_for(lambda: all(record.outcome is Outcome.CONFIRMED for record in shown.app.records))
        assert [record.action for record in shown.app.records] == [
            Action.INSPECT_SESSION,
            Action.SAY_TO_AGENT,
            Action.SILENCE_AGENT,
            Action.DEAFEN_AGENT,
            Action.UNSILENCE_AGENT,
            Action.UNDEAFEN_AGENT,
        ]
