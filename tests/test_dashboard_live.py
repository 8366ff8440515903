"""The dashboard's keys on a real server with a real agent; what came of them is asked of the server and the agent."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from livekit import api
from livekit.protocol import models as models_pb

from tests.dashboard import OPERATOR, Dashboard, on_server
from tests.lab.people import LabPerson, join
from tests.lab.server import LabServer
from tests.lab.waiting import eventually
from tests.lab.worker import LabWorker
from tui.model.action import Outcome
from tui.ui.dialogs import ChooseAgentDialog

AGENT = models_pb.ParticipantInfo.AGENT


class Call:
    """A room on the real server with a person in it, and the dashboard with that room selected."""

    def __init__(self, shown: Dashboard, livekit: api.LiveKitAPI, name: str, caller: LabPerson) -> None:
        self.shown = shown
        self.name = name
        self.caller = caller
        self._livekit = livekit

    async def everyone(self) -> dict[str, models_pb.ParticipantInfo]:
        """Who the server says is in the room, by identity."""
        answer = await self._livekit.room.list_participants(api.ListParticipantsRequest(room=self.name))
        return {who.identity: who for who in answer.participants}

    async def agents(self) -> list[models_pb.ParticipantInfo]:
        return [who for who in (await self.everyone()).values() if who.kind == AGENT]

    async def is_open(self) -> bool:
        """Whether the server says that there is such a room."""
        return bool((await self._livekit.room.list_rooms(api.ListRoomsRequest(names=[self.name]))).rooms)

    async def outcome(self, before: int) -> Outcome:
        """How the newest action ended, which is another one than the so many that there were before."""

        def ended() -> bool:
            records = self.shown.app.records
            return len(records) > before and records[-1].outcome is not Outcome.RUNNING

        await self.shown.wait_for(ended)
        return self.shown.app.records[-1].outcome


@asynccontextmanager
async def call(server: LabServer, worker: LabWorker, name: str) -> AsyncIterator[Call]:
    """A call that is answered: the agent is at work, and the dashboard shows it."""
    async with server.client() as livekit, await join(server, name, "ann") as caller, on_server(server) as shown:
        await worker.wait_for("ready", room=name)
        await shown.select(name)
        await shown.wait_for(lambda: "listening" in shown.line(f"● {name[:12]}"))
        await shown.wait_for("session  open")
        yield Call(shown, livekit, name, caller)


async def test_a_session_is_closed_and_then_its_job_is_shut_down(
    lab_server: LabServer, lab_worker: LabWorker, room_name: str
) -> None:
    async with call(lab_server, lab_worker, room_name) as here:
        (agent,) = await here.agents()
        before = len(here.shown.app.records)
        dialog = await here.shown.confirm("c")
        assert dialog.plan.target.participant_sid == agent.sid
        assert await here.outcome(before) is Outcome.CONFIRMED
        close = await lab_worker.wait_for("close", room=room_name)
        assert close["reason"] == "user_initiated"
        (stays,) = await here.agents()
        assert (stays.sid, stays.attributes["lk-tui.session"]) == (agent.sid, "closed")
        await here.shown.wait_for("session closed by operator, agent stays")

        before = len(here.shown.app.records)
        await here.shown.confirm("x")
        assert await here.outcome(before) is Outcome.CONFIRMED
        assert (await lab_worker.wait_for("shutdown", room=room_name))["reason"] == f"{OPERATOR} asked for it in lk-tui"
        assert list(await here.everyone()) == ["ann"]
        assert here.caller.disconnected is None


async def test_an_agent_is_kicked_and_another_one_is_dispatched(
    lab_server: LabServer, lab_worker: LabWorker, room_name: str
) -> None:
    async with call(lab_server, lab_worker, room_name) as here:
        (agent,) = await here.agents()
        await here.shown.press("tab", "tab")
        before = len(here.shown.app.records)
        await here.shown.confirm("K")
        assert (await lab_worker.wait_for("disconnected", room=room_name))["reason"] == "PARTICIPANT_REMOVED"
        assert list(await here.everyone()) == ["ann"]
        assert await here.outcome(before) is Outcome.CONFIRMED

        await here.shown.press("escape", "a")
        await here.shown.wait_for(lambda: isinstance(here.shown.screen, ChooseAgentDialog))
        await here.shown.press("enter")
        await here.shown.asked()
        before = len(here.shown.app.records)
        await here.shown.press("right", "enter")
        another: list[models_pb.ParticipantInfo] = await eventually(here.agents)
        assert [who.identity for who in another] != [agent.identity]
        assert await here.outcome(before) is Outcome.CONFIRMED
        assert here.caller.disconnected is None


async def test_a_person_is_kicked_and_the_room_deleted(
    lab_server: LabServer, lab_worker: LabWorker, room_name: str
) -> None:
    async with call(lab_server, lab_worker, room_name) as here, await join(lab_server, room_name, "bob") as bob:
        shown = here.shown
        await shown.press("enter")
        sid = (await here.everyone())["bob"].sid
        await shown.wait_for(lambda: shown.main.participants.select(sid))
        await shown.confirm("K")
        assert await eventually(lambda: bob.disconnected) == "PARTICIPANT_REMOVED"
        assert "ann" in await here.everyone()

        await shown.press("escape")
        await shown.confirm("D")
        assert await eventually(lambda: here.caller.disconnected) == "ROOM_DELETED"
        assert (await lab_worker.wait_for("disconnected", room=room_name))["reason"] == "ROOM_DELETED"
        assert not await here.is_open()
        await shown.wait_for(f"{room_name} is gone")


async def test_a_room_is_torn_down_in_good_order(lab_server: LabServer, lab_worker: LabWorker, room_name: str) -> None:
    async with call(lab_server, lab_worker, room_name) as here:
        await here.shown.confirm("T")
        assert await eventually(lambda: here.caller.disconnected) == "ROOM_DELETED"
        assert (await lab_worker.wait_for("close", room=room_name))["reason"] == "user_initiated"
        assert (await lab_worker.wait_for("shutdown", room=room_name))["reason"] == f"{OPERATOR} asked for it in lk-tui"
        assert not await here.is_open()
        await here.shown.wait_for("torn down by operator")


async def test_who_comes_and_goes_is_seen_without_a_key(lab_server: LabServer, room_name: str) -> None:
    async with on_server(lab_server) as shown:

        def people() -> list[str]:
            return [who.identity.raw for who in shown.main.participants.rows if who.is_person]

        async with await join(lab_server, room_name, "ann"):
            await shown.select(room_name)
            await shown.wait_for(lambda: people() == ["ann"])
            async with await join(lab_server, room_name, "bob"):
                await shown.wait_for(lambda: people() == ["ann", "bob"])
            await shown.wait_for(lambda: people() == ["ann"])
        await shown.wait_for(lambda: people() == [])
