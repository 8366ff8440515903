"""Changes whose request or answer fares badly: sent once, and told truthfully. The real server, behind a proxy."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import Counter
from contextlib import nullcontext
from dataclasses import dataclass

import pytest
from livekit import api

from tests.faults_table import CHANGED, as_pattern
from tests.lab.faults import CHANGE_FAULTS
from tests.lab.people import join
from tests.lab.proxy import FaultProxy
from tests.lab.server import LabServer
from tests.lab.waiting import eventually
from tests.lab.worker import LabWorker
from tui.control.control import Control
from tui.control.plan import plan
from tui.gateway.client import Gateway
from tui.model.action import Action, ActionRecord, Outcome
from tui.model.patience import Patience
from tui.model.room import Room
from tui.model.secret import Secret
from tui.model.text import Name

SENT = {
    Action.KICK: "RemoveParticipant",
    Action.DELETE_ROOM: "DeleteRoom",
    Action.CLOSE_SESSION: "PerformRpc",
    Action.SHUT_DOWN_JOB: "PerformRpc",
    Action.DISPATCH_AGENT: "CreateDispatch",
}
"""The request that each action makes."""
OF_AGENTS = (Action.CLOSE_SESSION, Action.SHUT_DOWN_JOB, Action.DISPATCH_AGENT)
AGENTS_AT_ONCE = 5
"""Each is a process, and the machine may have two cores."""
WITH_AGENTS = ("done; the answer is lost", "done; the answer is a 500", "not done; the request is lost")
"""Faults that are tried with agents too, which cost a process each."""


@dataclass
class Carried:
    """One action through one fault: its record, what was sent, and whether the server shows that it was done."""

    record: ActionRecord
    changes: Counter[str]
    done: bool


class Stage:
    """A server, and rooms on it for one action each."""

    def __init__(self, server: LabServer, livekit: api.LiveKitAPI) -> None:
        self._server = server
        self._livekit = livekit
        self._starting = asyncio.Semaphore(AGENTS_AT_ONCE)

    async def carry_out(self, action: Action, fault: str) -> Carried:
        """Have it carried out through the fault, in a room of its own, and ask the server what came of it."""
        async with self._starting if action in OF_AGENTS else nullcontext():
            return await self._carry_out(action, fault)

    async def _carry_out(self, action: Action, fault: str) -> Carried:
        name = f"{action.value}-{fault}-{uuid.uuid4().hex[:6]}".replace(" ", "-")
        agents = [] if action in (Action.CLOSE_SESSION, Action.SHUT_DOWN_JOB) else [nobody()]
        await self._livekit.room.create_room(api.CreateRoomRequest(name=name, agents=agents))
        try:
            async with FaultProxy(self._server.url) as proxy, await join(self._server, name, "alice") as alice:
                async with Gateway(proxy.url, self._server.api_key, Secret(self._server.api_secret)) as gateway:
                    here = await self._settled(gateway, name, agents=not agents)
                    aimed_at = {Action.KICK: alice.room.local_participant.sid}
                    sid = here.agents[0].participant.sid if here.agents else aimed_at.get(action)
                    made = plan(action, here, sid, time.time())
                    assert not made.blocked, made.blocked
                    proxy.fault = CHANGE_FAULTS[fault]
                    control = Control(
                        gateway, "mira", lambda _: None, patience=Patience(watch_name_s=2.0, dispatched_s=15.0)
                    )
                    record = await control.carry_out(made)
                    done = await self._is_done(action, here)
                # No connection is left.
                await eventually(lambda: proxy.open == 0)
                return Carried(record, proxy.changes, done)
        finally:
            await asyncio.to_thread(self._server.delete_room, name)

    async def _settled(self, gateway: Gateway, name: str, *, agents: bool) -> Room:
        async def settled() -> Room:
            (found,) = await gateway.list_rooms([name])
            participants = await gateway.list_participants(Name.of(name))
            dispatches = await gateway.list_dispatches(Name.of(name))
            here = Room(
                found.sid,
                found.name,
                found.created_at,
                participants=participants,
                checked_at=time.time(),
                dispatches=dispatches,
            )
            if agents:
                assert [one.state for one in here.agents if one.dispatch is not None] == ["listening"]
            return here

        return await eventually(settled, 60.0)

    async def _is_done(self, action: Action, was: Room) -> bool:
        name = was.name.raw
        if action is Action.DELETE_ROOM:
            return not (await self._livekit.room.list_rooms(api.ListRoomsRequest(names=[name]))).rooms
        if action is Action.DISPATCH_AGENT:
            return len(await self._livekit.agent_dispatch.list_dispatch(name)) > len(was.dispatches or ())
        answer = await self._livekit.room.list_participants(api.ListParticipantsRequest(room=name))
        here = {who.sid: who for who in answer.participants}
        if action is Action.CLOSE_SESSION:
            return here[was.agents[0].participant.sid].attributes["lk-tui.session"] == "closed"
        gone = was.agents[0].participant if action is Action.SHUT_DOWN_JOB else was.people[0]
        return gone.sid not in here


def nobody() -> api.RoomAgentDispatch:
    """A dispatch that finds no worker, so that no automatic agent comes."""
    return api.RoomAgentDispatch(agent_name="nobody-of-this-name")


PLAYED = [(action, fault) for fault in CHANGE_FAULTS for action in (Action.KICK, Action.DELETE_ROOM)]
PLAYED += [(action, fault) for fault in WITH_AGENTS for action in OF_AGENTS]

Carriages = dict[tuple[Action, str], Carried | str]
"""Of each what came of it, or what did not come true while it was carried out."""


@pytest.fixture(scope="module")
def carriages(lab_server: LabServer, lab_worker: LabWorker) -> Carriages:
    """All of them carried out at once, for all tests; `lab_worker` sends the agents."""
    assert lab_worker.helper

    async def carry_all() -> Carriages:
        async with lab_server.client() as livekit:
            stage = Stage(lab_server, livekit)

            async def one(action: Action, fault: str) -> Carried | str:
                try:
                    return await stage.carry_out(action, fault)
                except pytest.fail.Exception as failure:
                    # That is the trouble of this one's tests alone.
                    return str(failure)

            done = await asyncio.gather(*(one(action, fault) for action, fault in PLAYED))
        return dict(zip(PLAYED, done, strict=True))

    return asyncio.run(carry_all())


@pytest.fixture
def carried(carriages: Carriages, action: Action, fault: str) -> Carried:
    """What came of this action through this fault, which was carried out to its end."""
    one = carriages[action, fault]
    assert isinstance(one, Carried), one
    return one


each = pytest.mark.parametrize(("action", "fault"), PLAYED, ids=lambda value: str(value))


def test_every_fault_has_its_words() -> None:
    assert set(CHANGED) == set(CHANGE_FAULTS)


@each
def test_it_is_sent_once(carried: Carried, action: Action) -> None:
    assert carried.changes == {SENT[action]: 1}


@each
def test_it_is_done_where_the_request_arrived(carried: Carried, fault: str) -> None:
    assert carried.done is fault.startswith("done")


@each
def test_its_record_tells_what_came_of_it_and_why_there_was_a_doubt(carried: Carried, fault: str) -> None:
    record = carried.record
    outcome, why = CHANGED[fault]
    assert record.outcome is outcome
    # What is confirmed is said last; that it could not be told from the answer, on the way.
    told = record.last if outcome is not Outcome.CONFIRMED else "\n".join(step.text for step in record.steps)
    assert as_pattern(why).search(told), told


@each
def test_no_secret_is_in_its_record(carried: Carried) -> None:
    told = "\n".join(step.text for step in carried.record.steps)
    for secret in (LabServer.api_key, LabServer.api_secret, "eyJ"):
        assert secret not in told
