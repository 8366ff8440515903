"""The six actions on a real server with real agents and people; what came of them is asked of the server itself."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from livekit import api, rtc
from livekit.protocol import agent_dispatch as dispatch_pb
from livekit.protocol import models as models_pb

from tests.build import snapshot
from tests.lab.people import LabPerson, SawLeave, join
from tests.lab.server import LabServer
from tests.lab.waiting import eventually
from tests.lab.worker import LabWorker
from tui.control.control import Control
from tui.control.plan import Plan, plan
from tui.gateway.client import Gateway
from tui.model.action import Action, ActionRecord, Outcome
from tui.model.close_phrases import close_words
from tui.model.closes import CloseBook
from tui.model.patience import Patience
from tui.model.room import Agent, Room
from tui.model.secret import Secret
from tui.model.text import Name

OPERATOR = "mira"


class Lab:
    """A server, asked by livekit-api, and our own control of it."""

    def __init__(
        self,
        server: LabServer,
        gateway: Gateway,
        livekit: api.LiveKitAPI,
        people: AsyncExitStack,
        patience: Patience = Patience(watch_name_s=2.0),  # noqa: B008 - immutable
    ) -> None:
        self.server = server
        self.gateway = gateway
        self._livekit = livekit
        self._people = people
        self.published: list[ActionRecord] = []
        self.control = Control(gateway, OPERATOR, self.published.append, patience=patience)

    # What the server says, by its own API

    async def rooms(self, name: str) -> list[models_pb.Room]:
        return list((await self._livekit.room.list_rooms(api.ListRoomsRequest(names=[name]))).rooms)

    async def participants(self, name: str) -> dict[str, models_pb.ParticipantInfo]:
        """Everyone in the room, by identity."""
        answer = await self._livekit.room.list_participants(api.ListParticipantsRequest(room=name))
        return {who.identity: who for who in answer.participants}

    async def agents(self, name: str) -> list[models_pb.ParticipantInfo]:
        everyone = (await self.participants(name)).values()
        return [who for who in everyone if who.kind == models_pb.ParticipantInfo.AGENT]

    async def dispatches(self, name: str) -> list[dispatch_pb.AgentDispatch]:
        return list(await self._livekit.agent_dispatch.list_dispatch(name))

    # What happens there without us

    async def create_room(self, name: str, *agent_names: str) -> models_pb.Room:
        """A room with explicit dispatches only, so that no automatic agent joins it."""
        agents = [api.RoomAgentDispatch(agent_name=agent_name) for agent_name in agent_names]
        return await self._livekit.room.create_room(api.CreateRoomRequest(name=name, agents=agents))

    async def delete_room(self, name: str) -> None:
        await self._livekit.room.delete_room(api.DeleteRoomRequest(room=name))

    async def dispatch(self, name: str, agent_name: str) -> None:
        await self._livekit.agent_dispatch.create_dispatch(
            api.CreateAgentDispatchRequest(room=name, agent_name=agent_name)
        )

    async def join(self, name: str, identity: str) -> LabPerson:
        return await self._people.enter_async_context(await join(self.server, name, identity))

    # What we see and do

    async def picture(self, name: str) -> Room:
        """The room as the poller would have it."""
        (found,) = await self.gateway.list_rooms([name])
        participants = await self.gateway.list_participants(Name.of(name))
        dispatches = await self.gateway.list_dispatches(Name.of(name))
        return Room(
            found.sid,
            found.name,
            found.created_at,
            participants=participants,
            checked_at=time.time(),
            dispatches=dispatches,
        )

    async def settled(self, name: str, agents: int = 1) -> Room:
        """The room once this many agents are in it, at work, with their jobs listed (which takes LiveKit up to 5 s)."""

        async def at_work() -> Room:
            here = await self.picture(name)
            ready = [one for one in here.agents if one.dispatch is not None and one.state == "listening"]
            assert len(ready) == agents, here.agents
            return here

        return await eventually(at_work, 30.0)

    async def do(
        self, action: Action, here: Room, selected: str | None = None, *, agent_name: str = ""
    ) -> ActionRecord:
        return await self.carry_out(plan(action, here, selected, time.time(), agent_name=agent_name))

    async def carry_out(self, made: Plan) -> ActionRecord:
        assert not made.blocked, made.blocked
        record = await self.control.carry_out(made)
        assert self.published[-1] == record
        return record


@pytest.fixture
async def lab(lab_server: LabServer) -> AsyncIterator[Lab]:
    gateway = Gateway(lab_server.url, lab_server.api_key, Secret(lab_server.api_secret))
    async with AsyncExitStack() as people, gateway, lab_server.client() as livekit:
        yield Lab(lab_server, gateway, livekit, people)


def only_agent(here: Room) -> Agent:
    (agent,) = here.agents
    return agent


# Close session


async def test_a_session_closed_before_its_agent_is_kicked_and_its_room_deleted_was_closed(
    lab: Lab, lab_worker: LabWorker, room_name: str
) -> None:
    await lab.join(room_name, "alice")
    await lab_worker.wait_for("ready", room=room_name)
    here = await lab.settled(room_name)
    agent_sid = only_agent(here).participant.sid
    book = CloseBook()
    list(book.absorb(snapshot(here, at=time.time())))
    for action, selected in ((Action.CLOSE_SESSION, agent_sid), (Action.KICK, agent_sid), (Action.DELETE_ROOM, None)):
        record = await lab.do(action, await lab.picture(room_name), selected)
        assert record.outcome is Outcome.CONFIRMED, record
    for published in lab.published:
        book.absorb_record(published)
    list(book.absorb(snapshot(at=time.time())))
    (event,) = book.events
    assert close_words(event) == "session closed by operator"


async def test_a_session_is_closed_and_its_agent_stays(lab: Lab, lab_worker: LabWorker, room_name: str) -> None:
    await lab.join(room_name, "alice")
    here = await lab.settled(room_name)
    record = await lab.do(Action.CLOSE_SESSION, here)
    assert record.outcome is Outcome.CONFIRMED, record
    (agent,) = await lab.agents(room_name)
    assert agent.sid == only_agent(here).participant.sid
    assert agent.attributes["lk-tui.session"] == "closed"
    assert f'"by": "{OPERATOR}"' in agent.attributes["lk-tui.close"]
    close = await lab_worker.wait_for("close", room=room_name)
    assert close["reason"] == "user_initiated"


async def test_an_agent_without_the_helper_can_not_close_and_is_left_alone(
    lab: Lab, plain_worker: LabWorker, room_name: str
) -> None:
    await lab.create_room(room_name, "plain")
    await lab.join(room_name, "alice")
    here = await lab.settled(room_name)
    record = await lab.do(Action.CLOSE_SESSION, here)
    assert record.outcome is Outcome.UNSUPPORTED, record
    assert record.offers == (Action.SHUT_DOWN_JOB,)
    assert [agent.sid for agent in await lab.agents(room_name)] == [only_agent(here).participant.sid]
    assert plain_worker.events("close", room=room_name) == []


# Shut down job


async def test_with_the_helper_one_job_is_shut_down_and_its_dispatch_stays(
    lab: Lab, lab_worker: LabWorker, room_name: str
) -> None:
    alice = await lab.join(room_name, "alice")
    here = await lab.settled(room_name)
    record = await lab.do(Action.SHUT_DOWN_JOB, here)
    assert record.outcome is Outcome.CONFIRMED, record
    assert record.offers == (Action.DISPATCH_AGENT,)
    assert list(await lab.participants(room_name)) == ["alice"]
    assert alice.disconnected is None
    shutdown = await lab_worker.wait_for("shutdown", room=room_name)
    assert shutdown["reason"] == f"{OPERATOR} asked for it in lk-tui"
    assert len(await lab.dispatches(room_name)) == 1


async def test_without_the_helper_the_dispatch_is_deleted_and_its_agent_leaves(
    lab: Lab, plain_worker: LabWorker, room_name: str
) -> None:
    await lab.create_room(room_name, "plain")
    await lab.join(room_name, "alice")
    here = await lab.settled(room_name)
    record = await lab.do(Action.SHUT_DOWN_JOB, here)
    assert record.outcome is Outcome.CONFIRMED, record
    assert any(step.text.startswith("DeleteDispatch AD_") for step in record.steps)
    assert list(await lab.participants(room_name)) == ["alice"]
    assert await lab.dispatches(room_name) == []
    await plain_worker.wait_for("shutdown", room=room_name)


# Kick


async def test_a_kicked_person_is_out(lab: Lab, room_name: str) -> None:
    await lab.create_room(room_name, "nobody-of-this-name")
    alice, _ = await lab.join(room_name, "alice"), await lab.join(room_name, "bob")
    here = await lab.picture(room_name)
    sid = alice.room.local_participant.sid
    record = await lab.do(Action.KICK, here, sid)
    assert record.outcome is Outcome.CONFIRMED, record
    assert list(await lab.participants(room_name)) == ["bob"]
    assert await eventually(lambda: alice.disconnected) == "PARTICIPANT_REMOVED"
    assert lab.control.kicks[here.sid, "alice"].participant_sid == sid


async def test_a_kicked_person_who_rejoins_is_seen_to_come_back(lab: Lab, room_name: str) -> None:
    await lab.create_room(room_name, "nobody-of-this-name")
    alice = await lab.join(room_name, "alice")
    here = await lab.picture(room_name)

    async def rejoin() -> None:
        await eventually(lambda: alice.disconnected)
        await lab.join(room_name, "alice")

    rejoining = asyncio.create_task(rejoin())
    record = await lab.do(Action.KICK, here, alice.room.local_participant.sid)
    await rejoining
    assert record.outcome is Outcome.CAME_BACK, record
    assert record.came_back_sid == (await lab.participants(room_name))["alice"].sid
    assert record.offers == (Action.KICK,)
    assert "only a token that has expired, or another API key, keeps it out" in record.last


async def test_a_token_that_has_expired_keeps_a_kicked_person_out(lab: Lab, room_name: str) -> None:
    await lab.create_room(room_name, "nobody-of-this-name")
    alice = await lab.join(room_name, "alice")
    await lab.do(Action.KICK, await lab.picture(room_name), alice.room.local_participant.sid)
    assert await eventually(lambda: alice.disconnected) == "PARTICIPANT_REMOVED"

    def token(ttl_s: float) -> str:
        made = api.AccessToken(lab.server.api_key, lab.server.api_secret).with_identity("alice")
        made = made.with_grants(api.VideoGrants(room_join=True, room=room_name))
        return made.with_ttl(timedelta(seconds=ttl_s)).to_jwt()

    # livekit-server goes on taking a token for a minute after its end (1.13.5).
    with pytest.raises(rtc.ConnectError):
        await rtc.Room().connect(lab.server.ws_url, token(-90))
    assert await lab.participants(room_name) == {}
    again = rtc.Room()
    await again.connect(lab.server.ws_url, token(90))
    try:
        assert list(await lab.participants(room_name)) == ["alice"], "but for its end it is a token that gets in"
    finally:
        await again.disconnect()


async def test_a_kicked_agent_is_out_and_does_not_come_back(lab: Lab, lab_worker: LabWorker, room_name: str) -> None:
    await lab.join(room_name, "alice")
    here = await lab.settled(room_name)
    record = await lab.do(Action.KICK, here, only_agent(here).participant.sid)
    assert record.outcome is Outcome.CONFIRMED, record
    assert record.offers == (Action.DISPATCH_AGENT,)
    assert await lab.agents(room_name) == []
    disconnected = await lab_worker.wait_for("disconnected", room=room_name)
    assert disconnected["reason"] == "PARTICIPANT_REMOVED"


# The target changed


async def test_a_person_who_rejoined_since_is_not_kicked(lab: Lab, room_name: str) -> None:
    await lab.create_room(room_name, "nobody-of-this-name")
    first = await lab.join(room_name, "alice")
    here = await lab.picture(room_name)
    made = plan(Action.KICK, here, first.room.local_participant.sid, time.time())
    await first.leave()
    second = await lab.join(room_name, "alice")
    record = await lab.carry_out(made)
    assert record.outcome is Outcome.REFUSED, record
    assert second.room.local_participant.sid in record.last
    assert not record.sent
    assert second.disconnected is None
    assert list(await lab.participants(room_name)) == ["alice"]


@pytest.mark.parametrize("action", [Action.DELETE_ROOM, Action.TEAR_DOWN, Action.DISPATCH_AGENT])
async def test_a_room_recreated_under_the_same_name_is_refused(lab: Lab, room_name: str, action: Action) -> None:
    await lab.create_room(room_name, "nobody-of-this-name")
    made = plan(action, await lab.picture(room_name), None, time.time())
    await lab.delete_room(room_name)
    recreated = await lab.create_room(room_name, "nobody-of-this-name")
    assert recreated.sid != made.target.room_sid
    record = await lab.carry_out(made)
    assert record.outcome is Outcome.REFUSED, record
    assert recreated.sid in record.last
    assert not record.sent
    assert [room.sid for room in await lab.rooms(room_name)] == [recreated.sid]
    assert len(await lab.dispatches(room_name)) == 1


# Delete room


async def test_a_deleted_room_is_gone_with_everyone_in_it(lab: Lab, lab_worker: LabWorker, room_name: str) -> None:
    alice = await lab.join(room_name, "alice")
    record = await lab.do(Action.DELETE_ROOM, await lab.settled(room_name))
    assert record.outcome is Outcome.CONFIRMED, record
    assert any("watching the name" in step.text for step in record.steps)
    assert await lab.rooms(room_name) == []
    assert await eventually(lambda: alice.disconnected) == "ROOM_DELETED"
    assert (await lab_worker.wait_for("disconnected", room=room_name))["reason"] == "ROOM_DELETED"


async def test_a_room_that_comes_back_while_its_name_is_watched_is_reported(lab: Lab, room_name: str) -> None:
    await lab.create_room(room_name, "nobody-of-this-name")
    here = await lab.picture(room_name)

    async def come_back() -> models_pb.Room:
        await eventually(lambda: "watching the name" in lab.published[-1].last if lab.published else False)
        return await lab.create_room(room_name, "nobody-of-this-name")

    coming_back = asyncio.create_task(come_back())
    record = await lab.do(Action.DELETE_ROOM, here)
    assert record.outcome is Outcome.CAME_BACK, record
    assert record.came_back_sid == (await coming_back).sid
    assert record.offers == (Action.DELETE_ROOM,)


@pytest.mark.parametrize("auto_create", [True, False])
async def test_who_joins_makes_a_deleted_room_anew_unless_the_server_is_told_not_to(
    tmp_path: Path, room_name: str, *, auto_create: bool
) -> None:
    with LabServer(tmp_path, auto_create=auto_create) as server:
        gateway = Gateway(server.url, server.api_key, Secret(server.api_secret))
        async with AsyncExitStack() as people, gateway, server.client() as livekit:
            lab = Lab(server, gateway, livekit, people)
            await lab.create_room(room_name)
            alice = await lab.join(room_name, "alice")

            async def rejoin() -> bool:
                await eventually(lambda: alice.disconnected)
                try:
                    await lab.join(room_name, "alice")
                except rtc.ConnectError:
                    return False
                return True

            rejoining = asyncio.create_task(rejoin())
            record = await lab.do(Action.DELETE_ROOM, await lab.picture(room_name))
            assert await rejoining is auto_create
            if auto_create:
                assert record.outcome is Outcome.CAME_BACK, record
                assert record.came_back_sid == (await lab.rooms(room_name))[0].sid
                assert "who joins makes the room anew, unless the server has room.auto_create: false" in record.last
            else:
                assert record.outcome is Outcome.CONFIRMED, record
                assert await lab.rooms(room_name) == []


# Tear down


async def test_a_room_with_two_agents_is_torn_down_in_good_order(
    lab: Lab, lab_worker: LabWorker, plain_worker: LabWorker, room_name: str
) -> None:
    alice = await lab.join(room_name, "alice")
    await lab.dispatch(room_name, "plain")
    here = await lab.settled(room_name, agents=2)
    record = await lab.do(Action.TEAR_DOWN, here)
    assert record.outcome is Outcome.CONFIRMED, record
    assert await lab.rooms(room_name) == []
    assert await eventually(lambda: alice.disconnected) == "ROOM_DELETED"
    left = [saw.reason for saw in alice.saw if isinstance(saw, SawLeave)]
    assert left == ["CLIENT_INITIATED", "CLIENT_INITIATED"], (alice.saw, record)
    assert (await lab_worker.wait_for("close", room=room_name))["reason"] == "user_initiated"
    assert (await lab_worker.wait_for("shutdown", room=room_name))["reason"] == f"{OPERATOR} asked for it in lk-tui"
    await plain_worker.wait_for("shutdown", room=room_name)


@pytest.mark.parametrize("by_dispatch", [True, False], ids=["its dispatch known", "its dispatch unknown"])
async def test_an_agent_that_hangs_is_removed_before_its_room_and_the_log_says_at_which_step(
    lab: Lab, lab_worker: LabWorker, room_name: str, *, by_dispatch: bool
) -> None:
    alice = await lab.join(room_name, "alice")
    here = await lab.settled(room_name)
    if not by_dispatch:
        here = replace(here, dispatches=())
    name = only_agent(here).name
    pid = (await lab_worker.wait_for("ready", room=room_name))["pid"]
    assert isinstance(pid, int)
    os.kill(pid, signal.SIGSTOP)
    try:
        record = await lab.do(Action.TEAR_DOWN, here)
    finally:
        os.kill(pid, signal.SIGKILL)
    assert record.outcome is Outcome.CONFIRMED, record
    said = [step.text for step in record.steps]
    assert f"{name} is hung: its process does not answer; if it wakes, it may still do it" in said
    removed, kicked = f"confirmed: {name} left the list", f"{name} is still there, so it is kicked"
    assert said.index(removed) < said.index(next(text for text in said if text.startswith("DeleteRoom")))
    assert (kicked in said) is not by_dispatch
    assert await lab.rooms(room_name) == []
    # LiveKit does not always tell her in the few milliseconds before the room ends that the agent was put out.
    assert await eventually(lambda: alice.disconnected) == "ROOM_DELETED"


# Dispatch


async def test_an_agent_is_dispatched_to_a_person_who_waits(lab: Lab, plain_worker: LabWorker, room_name: str) -> None:
    await lab.create_room(room_name, "nobody-of-this-name")
    await lab.join(room_name, "alice")
    here = await lab.picture(room_name)
    record = await lab.do(Action.DISPATCH_AGENT, here, agent_name="plain")
    assert record.outcome is Outcome.CONFIRMED, record
    (agent,) = await lab.agents(room_name)
    assert agent.sid in record.last
    assert (await plain_worker.wait_for("ready", room=room_name))["identity"] == agent.identity


async def test_an_automatic_agent_is_dispatched_in_place_of_one_that_was_kicked(
    lab: Lab, lab_worker: LabWorker, room_name: str
) -> None:
    await lab.join(room_name, "alice")
    here = await lab.settled(room_name)
    kicked = only_agent(here).participant
    await lab.do(Action.KICK, here, kicked.sid)
    record = await lab.do(Action.DISPATCH_AGENT, await lab.picture(room_name))
    assert record.outcome is Outcome.CONFIRMED, record
    (agent,) = await lab.agents(room_name)
    assert agent.identity != kicked.identity.raw
    await lab_worker.wait_for("ready", room=room_name, identity=agent.identity)


async def test_a_dispatch_without_a_worker_fails_and_stays(lab: Lab, room_name: str) -> None:
    await lab.create_room(room_name, "another-name")
    control = Control(lab.gateway, OPERATOR, lambda _: None, patience=Patience(dispatched_s=1.0))
    made = plan(Action.DISPATCH_AGENT, await lab.picture(room_name), None, time.time(), agent_name="no-such-worker")
    record = await control.carry_out(made)
    assert record.outcome is Outcome.FAILED, record
    (stays,) = [order for order in await lab.dispatches(room_name) if order.agent_name == "no-such-worker"]
    assert stays.id in record.last
