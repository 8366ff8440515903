"""The way into the simulated agents' sessions: what `lk.agent.session` is on a real server, without a room to join."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Protocol

from google.protobuf.message import DecodeError
from livekit.protocol.agent_pb import agent_session as pb

from tui.demo.conversations import Conversation, rtc_stats
from tui.demo.rooms import Agent, Process, Session
from tui.demo.world import World

TICK_S = 0.2
"""How often a session tells what is new in it."""
_ANSWER_S = 0.005


class Listener(Protocol):
    """Whom a session is told to."""

    def on_joined(self) -> None: ...
    def on_message(self, message: bytes) -> None: ...
    def on_gone(self) -> None: ...


class InRoom(Protocol):
    """A room, of which its SID is used."""

    @property
    def sid(self) -> str: ...


class DemoSessions:
    """Calls agents of `world` up; `clock` tells the time in seconds since 1970."""

    def __init__(self, world: World, clock: Callable[[], float] = time.time) -> None:
        self._world = world
        self._clock = clock

    def call(self, room: InRoom, agent_sid: str, listener: Listener) -> DemoLine:
        """A line to this agent's session, until it is closed."""
        return DemoLine(self._world, self._clock, self._world.agent(room.sid, agent_sid), listener)


class DemoLine:
    """Talks to one agent, which answers as long as its session is open and its process is fit to."""

    def __init__(self, world: World, clock: Callable[[], float], agent: Agent | None, listener: Listener) -> None:
        self._world = world
        self._clock = clock
        self._agent = agent
        self._listener = listener
        self._conversation = Conversation(agent) if agent is not None else None
        self._task = asyncio.create_task(self._tell())

    def send(self, message: bytes) -> None:
        """Ask the agent this AgentSessionMessage."""
        told = pb.AgentSessionMessage()
        try:
            told.ParseFromString(message)
        except DecodeError:
            return
        asyncio.get_running_loop().call_later(_ANSWER_S, self._answer, told.request)

    def close(self) -> None:
        """Hang up. Nothing happens if that was done before."""
        self._task.cancel()

    async def _tell(self) -> None:
        if self._conversation is not None:
            self._conversation.catch_up(self._now())
            self._listener.on_joined()
        while self._agent is not None and not self._agent.gone:
            if self._is_open and self._conversation is not None:
                for event in self._conversation.catch_up(self._now()):
                    self._listener.on_message(pb.AgentSessionMessage(event=event).SerializeToString())
            await asyncio.sleep(TICK_S)
            self._now()
        self._listener.on_gone()

    @property
    def _is_open(self) -> bool:
        agent = self._agent
        return agent is not None and agent.session is Session.OPEN and agent.process is Process.RUNNING

    def _now(self) -> float:
        now = self._clock()
        self._world.advance(now)
        return now

    def _answer(self, request: pb.SessionRequest) -> None:
        if self._task.done() or not self._is_open or self._conversation is None or self._agent is None:
            return
        now, said = self._now(), self._conversation
        answer = pb.SessionResponse(request_id=request.request_id)
        match request.WhichOneof("request"):
            case "ping":
                answer.pong.SetInParent()
            case "get_session_state":
                answer.get_session_state.CopyFrom(said.state())
            case "get_agent_info":
                answer.get_agent_info.CopyFrom(said.info())
            case "get_framework_info":
                answer.get_framework_info.sdk = "demo"
                answer.get_framework_info.sdk_version = "simulated"
            case "get_session_usage":
                answer.get_session_usage.usage.CopyFrom(said.usage)
            case "get_chat_history":
                answer.get_chat_history.items.extend(said.items)
            case "get_rtc_stats":
                answer.get_rtc_stats.publisher_stats.extend(rtc_stats(now))
            case "update_io":
                answer.update_io.SetInParent()
            case "run_input":
                self._agent.inputs.append((now, request.run_input.text))
                answer.run_input.SetInParent()
            case _:
                answer.error = "the demo's agents don't know this"
        self._listener.on_message(pb.AgentSessionMessage(response=answer).SerializeToString())
