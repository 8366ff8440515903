"""How a look into a session judges what it is told and what it isn't, with an agent that is played."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import cast

import pytest
from livekit.protocol.agent_pb import agent_session as pb

from tests.fake_gateway import agent, person
from tests.lab.waiting import eventually
from tui.gateway.errors import AgentNotAnsweringError, AgentRefusedError, NoResponseError
from tui.gateway.inspector import Inspection, Inspector
from tui.gateway.observer import Line, Observers
from tui.model.lines import Listener
from tui.model.room import Participant, Room, SessionState
from tui.model.session import Health, SessionView
from tui.model.text import Name

BOT = agent("bot")
ROOM = Room("RM_1", Name.of("lobby"), 1.0, participants=(person("ann"), BOT))


class Played:
    """An agent, its session and the way there; an `Observers` and a `Line` in one."""

    def __init__(self, *, delay: float = 0.0) -> None:
        self.delay = delay
        self.session_answers = True
        self.process_answers = True
        self.process_known = True
        self.error = ""
        self.asked: list[str] = []
        self.found_out: list[float | None] = []
        self.views: list[SessionView] = []
        self.hung_up = 0
        self.listener: Listener

    def call(self, room: Room, agent_sid: str, listener: Listener) -> Line:
        assert (room.sid, agent_sid) == (ROOM.sid, BOT.sid)
        self.listener = listener
        asyncio.get_running_loop().call_soon(listener.on_joined)
        return cast("Line", self)

    def close(self) -> None:
        self.hung_up += 1

    def send(self, message: bytes) -> None:
        request = pb.AgentSessionMessage.FromString(message).request
        self.asked.append(request.WhichOneof("request") or "")
        if self.session_answers:
            answer = pb.SessionResponse(request_id=request.request_id, error=self.error or None)
            self.tell(pb.AgentSessionMessage(response=answer))

    def tell(self, message: pb.AgentSessionMessage) -> None:
        asyncio.get_running_loop().call_later(self.delay, self.listener.on_message, message.SerializeToString())

    async def answers(self, room: Room, identity: Name) -> bool:
        assert (room.sid, identity) == (ROOM.sid, BOT.identity)
        if not self.process_known:
            raise NoResponseError("no response from the server that should hold this room (503)")
        return self.process_answers

    def tell_found_out(self, room: Room, who: Participant, closed_since: float | None) -> None:
        assert (room.sid, who.sid) == (ROOM.sid, BOT.sid)
        self.found_out.append(closed_since)

    @property
    def healths(self) -> list[Health]:
        """How it was seen to stand, one after the other."""
        seen = [view.health for view in self.views]
        return [health for number, health in enumerate(seen) if number == 0 or seen[number - 1] is not health]

    async def stands(self, health: Health) -> None:
        await eventually(lambda: self.views and self.views[-1].health is health)


@asynccontextmanager
async def looking(played: Played, room: Room = ROOM) -> AsyncIterator[Inspection]:
    inspector = Inspector(cast("Observers", played), played.answers, played.tell_found_out)
    async with inspector:
        who = room.agent(BOT.sid)
        assert who is not None
        inspection = inspector.open(room, who, played.views.append)
        assert inspector.of(BOT.sid) is inspection
        yield inspection
    assert inspector.of(BOT.sid) is None
    assert played.hung_up == 1


async def test_a_session_that_closes_is_told_elsewhere_once_that_is_sure_and_taken_back_if_it_speaks() -> None:
    played = Played()
    async with looking(played):
        await played.stands(Health.ANSWERING)
        played.session_answers = False
        await played.stands(Health.CLOSED)
        assert played.found_out == []
        await eventually(lambda: played.found_out)
        (closed_since,) = played.found_out
        assert closed_since is not None
        asked = len(played.asked)
        state = pb.AgentSessionEvent.AgentStateChanged(new_state=pb.AS_LISTENING)
        played.session_answers = True
        played.tell(pb.AgentSessionMessage(event=pb.AgentSessionEvent(agent_state_changed=state)))
        await played.stands(Health.ANSWERING)
        assert played.found_out == [closed_since, None]
        await eventually(lambda: len(played.asked) > asked)


async def test_a_closed_session_is_left_alone() -> None:
    played = Played()
    async with looking(played):
        await played.stands(Health.ANSWERING)
        played.session_answers = False
        await eventually(lambda: played.found_out)
        asked = len(played.asked)
        played.listener.on_message(b"\xff\xff")
        await asyncio.sleep(1.0)
        assert len(played.asked) == asked


async def test_a_slow_connection_is_not_taken_for_a_close() -> None:
    played = Played(delay=0.6)
    async with looking(played):
        await played.stands(Health.ANSWERING)
        await eventually(lambda: played.asked.count("ping") >= 6)
    assert played.healths == [Health.CONNECTING, Health.ANSWERING]


async def test_what_cant_be_asked_proves_nothing() -> None:
    played = Played()
    async with looking(played):
        await played.stands(Health.ANSWERING)
        played.session_answers = played.process_known = False
        asked = played.asked.count("ping")
        await eventually(lambda: played.asked.count("ping") >= asked + 3)
    assert played.healths == [Health.CONNECTING, Health.ANSWERING]


async def test_a_hung_process_is_asked_until_it_wakes() -> None:
    played = Played()
    async with looking(played):
        await played.stands(Health.ANSWERING)
        played.session_answers = played.process_answers = False
        await played.stands(Health.HUNG)
        played.session_answers = played.process_answers = True
        await played.stands(Health.ANSWERING)
    assert played.found_out == []


async def test_a_session_that_was_closed_before_reads_closed_and_one_that_never_spoke_unsupported() -> None:
    silent = Played()
    silent.session_answers = False
    facts = BOT.agent
    assert facts is not None
    closed = replace(BOT, agent=replace(facts, session=SessionState.CLOSED))
    async with looking(silent, replace(ROOM, participants=(closed,))):
        await silent.stands(Health.CLOSED)
    never = Played()
    never.session_answers = False
    async with looking(never):
        await never.stands(Health.UNSUPPORTED)
    assert never.healths == [Health.CONNECTING, Health.UNSUPPORTED]


async def test_an_observer_that_is_lost_is_awaited_and_all_is_asked_again() -> None:
    played = Played()
    async with looking(played):
        await played.stands(Health.ANSWERING)
        played.listener.on_away("the observer is out of lobby")
        await played.stands(Health.CONNECTING)
        assert played.views[-1].trouble == "the observer is out of lobby"
        asked = played.asked.count("get_chat_history")
        played.listener.on_joined()
        await played.stands(Health.ANSWERING)
        assert played.asked.count("get_chat_history") == asked + 1
        assert played.views[-1].trouble == ""


async def test_a_closed_session_is_found_closed_again_when_the_observer_is_back() -> None:
    played = Played()
    async with looking(played):
        await played.stands(Health.ANSWERING)
        played.session_answers = False
        await eventually(lambda: played.found_out)
        played.listener.on_away("the observer is out of lobby")
        await played.stands(Health.CONNECTING)
        played.listener.on_joined()
        await played.stands(Health.CLOSED)


async def test_an_agent_that_the_lists_have_not_is_gone() -> None:
    for room in (None, replace(ROOM, participants=(person("ann"),))):
        played = Played()
        async with looking(played) as inspection:
            await played.stands(Health.ANSWERING)
            inspection.take_room(replace(ROOM, participants=None))
            inspection.take_room(ROOM)
            inspection.take_room(room)
            await played.stands(Health.GONE)


async def test_nothing_is_shown_or_asked_after_it_was_closed() -> None:
    played = Played()
    async with looking(played) as inspection:
        await played.stands(Health.ANSWERING)
        inspection.close()
        shown, asked = len(played.views), len(played.asked)
        played.tell(pb.AgentSessionMessage(response=pb.SessionResponse()))
        inspection.refresh_rtc_stats()
        await asyncio.sleep(0.7)
        assert (len(played.views), len(played.asked)) == (shown, asked)


async def test_what_an_agent_refuses_or_leaves_unanswered_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tui.gateway.inspector.ANSWER_S", 0.2)
    played = Played()
    async with looking(played) as inspection:
        await played.stands(Health.ANSWERING)
        played.error = "nested runs are not supported\x1b"
        with pytest.raises(AgentRefusedError, match=r"the agent says: nested runs are not supported\\x1b"):
            await inspection.say("hello")
        played.session_answers = False
        with pytest.raises(AgentNotAnsweringError):
            await inspection.say("hello")
        with pytest.raises(AgentNotAnsweringError):
            await inspection.set_audio(speaks=False)
        assert inspection.view.speaks is None


async def test_who_looks_no_longer_does_not_wait_for_an_answer_and_does_not_say_that_there_was_none() -> None:
    played = Played()
    async with looking(played) as inspection:
        await played.stands(Health.ANSWERING)
        played.session_answers = False
        switching = asyncio.create_task(inspection.set_audio(speaks=False))
        await eventually(lambda: "update_io" in played.asked)
        inspection.close()
        with pytest.raises(AgentNotAnsweringError, match="looked into no longer before it answered"):
            await switching


async def test_words_that_stand_in_the_conversation_are_proof_enough() -> None:
    played = Played()
    async with looking(played) as inspection:
        await played.stands(Health.ANSWERING)
        played.session_answers = False
        saying = asyncio.create_task(inspection.say("wrap  up now"))
        await eventually(lambda: "run_input" in played.asked)
        content = pb.ChatMessage.ChatContent(text="wrap up now")
        item = pb.ChatContext.ChatItem(message=pb.ChatMessage(id="i", role=pb.USER, content=[content]))
        added = pb.AgentSessionEvent.ConversationItemAdded(item=item)
        played.tell(pb.AgentSessionMessage(event=pb.AgentSessionEvent(conversation_item_added=added)))
        await saying
