"""The conversation of a simulated agent, made of the turns that it took, in the messages of a real one.

The messages are those of livekit-agents 1.8.9 (`agent_pb.agent_session`), in the order in which it sends them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from google.protobuf.json_format import ParseDict
from google.protobuf.struct_pb2 import Struct
from google.protobuf.timestamp_pb2 import Timestamp
from livekit.protocol.agent_pb import agent_session as pb

from tui.demo.rooms import Agent, Participant
from tui.demo.scripts import INSTRUCTIONS, SCRIPTS, Exchange, Script

Event = pb.AgentSessionEvent
Item = pb.ChatContext.ChatItem

_WORDS_A_SECOND = 2.5
_BEFORE_TOOL_S = 0.1
"""From what the user said to the call of a tool; no agent thinks for less than four times this."""
_AGENT_STATES = {"listening": pb.AS_LISTENING, "thinking": pb.AS_THINKING, "speaking": pb.AS_SPEAKING}
_NOBODY = Script("agent", "You help whoever calls.", "Hello!", (Exchange("Hello?", "I am listening."),))


class Conversation:
    """What one agent's session has told and has to tell. `catch_up` takes it on to the present."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        name = agent.attributes.get("lk.agent.name", "")
        self._script = SCRIPTS.get(name, _NOBODY)
        self.items: list[Item] = []
        self.current = self._script.agent_id
        self._turns = 0
        self._inputs = 0
        self._exchanges = 0
        self._state, self._since = "listening", agent.joined_at
        self._tokens_in, self._tokens_out, self._characters = 0, 0, 0
        self._heard_s, self._spoken_s = 0.0, 0.0
        self._interim = ""

    def catch_up(self, now: float) -> list[Event]:
        """What happened since it was called last, up to `now` (seconds since 1970)."""
        told: list[Event] = []
        if not self.items:
            told += self._begin()
        turns = self._agent.turns
        while self._turns < len(turns):
            told += self._turn(*turns[self._turns])
            self._turns += 1
        while self._inputs < len(self._agent.inputs):
            told += self._answer(*self._agent.inputs[self._inputs])
            self._inputs += 1
        told += self._listen(now)
        return told

    # What happens

    def _begin(self) -> Iterator[Event]:
        at = self._agent.joined_at
        yield self._add(
            Item(agent_handoff=pb.AgentHandoff(id=self._id(), new_agent_id=self.current, created_at=_at(at)))
        )
        update = pb.AgentConfigUpdate(
            id=self._id(), instructions=self._script.instructions, tools_added=self._script.tools, created_at=_at(at)
        )
        yield self._add(Item(agent_config_update=update))
        yield self._say(pb.ASSISTANT, self._script.greeting, at)

    def _turn(self, at: float, state: str) -> Iterator[Event]:
        """The agent's state changed: what was said until then is said, what is asked for then is asked for."""
        exchange = self._exchange
        if state == "thinking":
            yield from self._hear(exchange.user, at)
        elif state == "speaking" and self._state == "thinking" and exchange.tool is not None:
            yield from self._tool_ends(at)
        elif state == "listening" and self._state == "speaking":
            yield from self._speak(exchange, at)
        if state == "thinking" and exchange.tool is not None:
            yield from self._tool_starts(at + _BEFORE_TOOL_S)
        changed = Event.AgentStateChanged(old_state=_AGENT_STATES[self._state], new_state=_AGENT_STATES[state])
        yield Event(created_at=_at(at), agent_state_changed=changed)
        self._state, self._since = state, at

    @property
    def _exchange(self) -> Exchange:
        return self._script.exchanges[self._exchanges % len(self._script.exchanges)]

    def _hear(self, words: str, at: float) -> Iterator[Event]:
        self._interim = ""
        heard = Event.UserInputTranscribed(transcript=words, is_final=True, language="en")
        yield Event(created_at=_at(at - 0.05), user_input_transcribed=heard)
        yield self._user_state(at, pb.US_SPEAKING, pb.US_LISTENING)
        yield self._say(pb.USER, words, at)
        self._heard_s += at - self._since

    def _tool_starts(self, at: float) -> Iterator[Event]:
        call = self._call(at)
        self.items.append(Item(function_call=call))
        yield _tool(at, Event.ToolExecutionUpdated(started=Event.ToolExecutionUpdated.Started(function_call=call)))

    def _tool_ends(self, at: float) -> Iterator[Event]:
        tool, call = self._exchange.tool, self._call(self._since + _BEFORE_TOOL_S)
        assert tool is not None  # noqa: S101 - whoever calls has seen to it
        ended = Event.ToolExecutionUpdated.Ended(
            call_id=call.call_id, message=tool.result, status=pb.TC_ERROR if tool.fails else pb.TC_DONE
        )
        yield _tool(at, Event.ToolExecutionUpdated(ended=ended))
        output = pb.FunctionCallOutput(
            id=self._id(),
            name=tool.name,
            call_id=call.call_id,
            output=tool.result,
            is_error=tool.fails,
            created_at=_at(at),
        )
        self.items.append(Item(function_call_output=output))
        executed = Event.FunctionToolsExecuted(function_calls=[call], function_call_outputs=[output])
        yield Event(created_at=_at(at), function_tools_executed=executed)

    def _call(self, at: float) -> pb.FunctionCall:
        tool = self._exchange.tool
        assert tool is not None  # noqa: S101 - as above
        id_ = f"call_{self._agent.sid}_{self._exchanges}"
        return pb.FunctionCall(id=id_, call_id=id_, name=tool.name, arguments=tool.json, created_at=_at(at))

    def _speak(self, exchange: Exchange, at: float) -> Iterator[Event]:
        words = exchange.agent
        if exchange.cut_off:
            words = " ".join(words.split()[: max(3, len(words.split()) * 2 // 3)])
            cut = Event.OverlappingSpeech(is_interruption=True, detected_at=_at(at))
            yield Event(created_at=_at(at - 0.1), overlapping_speech=cut)
        yield self._say(pb.ASSISTANT, words, self._since, interrupted=exchange.cut_off)
        self._spoken_s += at - self._since
        self._characters += len(words)
        self._tokens_in += 380 + 60 * self._exchanges
        self._tokens_out += len(words) // 4
        yield Event(created_at=_at(at), session_usage_updated=Event.SessionUsageUpdated(usage=self.usage))
        if exchange.hands_over and self.current != exchange.hands_over:
            handoff = pb.AgentHandoff(
                id=self._id(), old_agent_id=self.current, new_agent_id=exchange.hands_over, created_at=_at(at)
            )
            self.current = exchange.hands_over
            yield self._add(Item(agent_handoff=handoff))
        self._exchanges += 1

    def _answer(self, at: float, text: str) -> Iterator[Event]:
        """What an operator said as the user: the demo's agents have no model, and say so."""
        yield self._say(pb.USER, text, at)
        yield self._say(pb.ASSISTANT, "I am simulated and follow a script, but I have heard you.", at + 0.2)

    def _listen(self, now: float) -> Iterator[Event]:
        """The user's words as they come, while the agent listens."""
        if self._state != "listening" or not any(not who.is_agent for who in self._others):
            return
        words = self._exchange.user.split()
        heard = (
            words[: min(len(words) - 1, int((now - self._since - 1.0) * _WORDS_A_SECOND))] if now > self._since else []
        )
        interim = " ".join(heard)
        if not interim or interim == self._interim:
            return
        if not self._interim:
            yield self._user_state(now, pb.US_LISTENING, pb.US_SPEAKING)
        self._interim = interim
        yield Event(created_at=_at(now), user_input_transcribed=Event.UserInputTranscribed(transcript=interim))

    @property
    def _others(self) -> Sequence[Participant]:
        return tuple(self._agent.room.participants.values())

    # What it tells when it is asked

    def state(self) -> pb.SessionResponse.GetSessionStateResponse:
        """get_session_state."""
        return pb.SessionResponse.GetSessionStateResponse(
            agent_state=_AGENT_STATES[self._state],
            user_state=pb.US_SPEAKING if self._interim else pb.US_LISTENING,
            agent_id=self.current,
            options={"allow_interruptions": "True", "max_tool_steps": "3", "user_away_timeout": "15.0"},
            created_at=_at(self._agent.joined_at),
        )

    def info(self) -> pb.SessionResponse.GetAgentInfoResponse:
        """get_agent_info."""
        own = self.current == self._script.agent_id
        return pb.SessionResponse.GetAgentInfoResponse(
            id=self.current,
            instructions=self._script.instructions if own else INSTRUCTIONS,
            tools=self._script.tools,
        )

    @property
    def usage(self) -> pb.AgentSessionUsage:
        """get_session_usage."""
        llm = pb.LLMModelUsage(
            provider="demo", model="script", input_tokens=self._tokens_in, output_tokens=self._tokens_out
        )
        stt = pb.STTModelUsage(provider="demo", model="ears", audio_duration=self._heard_s)
        tts = pb.TTSModelUsage(
            provider="demo", model="voice", characters_count=self._characters, audio_duration=self._spoken_s
        )
        return pb.AgentSessionUsage(
            model_usage=[pb.ModelUsage(llm=llm), pb.ModelUsage(stt=stt), pb.ModelUsage(tts=tts)]
        )

    # Small change

    def _say(self, role: pb.ChatRole, words: str, at: float, *, interrupted: bool = False) -> Event:
        content = [pb.ChatMessage.ChatContent(text=words)]
        message = pb.ChatMessage(id=self._id(), role=role, content=content, interrupted=interrupted, created_at=_at(at))
        return self._add(Item(message=message))

    def _add(self, item: Item) -> Event:
        """Keep it for whoever asks for the history later, and tell of it."""
        self.items.append(item)
        return Event(conversation_item_added=Event.ConversationItemAdded(item=item))

    def _user_state(self, at: float, old: pb.UserState, new: pb.UserState) -> Event:
        return Event(created_at=_at(at), user_state_changed=Event.UserStateChanged(old_state=old, new_state=new))

    def _id(self) -> str:
        return f"item_{self._agent.sid}_{len(self.items)}"


def rtc_stats(now: float) -> Sequence[Struct]:
    """get_rtc_stats: a connection with some ups and downs, in the form of livekit's `stats_pb2` as JSON."""
    wave = (1 + math.sin(now / 3.0)) / 2
    trip = 0.038 + 0.021 * wave
    packets = int(now) % 100_000 * 50
    lost = 3 + packets // 900
    told: Sequence[dict[str, Any]] = (
        {"candidatePair": {"candidatePair": {"nominated": True, "currentRoundTripTime": trip}}},
        {"outboundRtp": {"sent": {"packetsSent": packets}}},
        {"remoteInboundRtp": {"remoteInbound": {"roundTripTime": trip + 0.001, "fractionLost": 0.012 * wave**4}}},
        {"inboundRtp": {"received": {"packetsReceived": packets, "packetsLost": lost, "jitter": 0.003 + 0.004 * wave}}},
    )
    return [ParseDict(each, Struct()) for each in told]


def _tool(at: float, update: Event.ToolExecutionUpdated) -> Event:
    return Event(created_at=_at(at), tool_execution_updated=update)


def _at(seconds: float) -> Timestamp:
    stamp = Timestamp()
    stamp.FromNanoseconds(int(seconds * 1e9))
    return stamp
