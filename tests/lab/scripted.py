"""A conversation without a model: an LLM that follows a script, a voice that is silent, tools, and a colleague.

What the user says decides: `order 7` has the order looked up (a tool that works), `book` has a table booked (a tool
that raises), `wait 3` takes three seconds in a tool, `colleague` hands over to another agent. All else is repeated.
"""

import asyncio
import json
import uuid
from typing import Any

from livekit.agents import DEFAULT_API_CONNECT_OPTIONS, Agent, APIConnectOptions, RunContext, function_tool, tts
from livekit.agents.llm import (
    LLM,
    ChatChunk,
    ChatContext,
    ChatMessage,
    ChoiceDelta,
    CompletionUsage,
    FunctionCallOutput,
    FunctionToolCall,
    LLMStream,
    Tool,
)

_SAMPLE_RATE = 24_000


class ScriptedLLM(LLM[Any]):
    """Answers at once, as the module says."""

    @property
    def model(self) -> str:
        return "script-1"

    @property
    def provider(self) -> str:
        return "lab"

    def chat(
        self,
        *,
        chat_ctx: ChatContext,
        tools: list[Tool] | None = None,
        conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS,
        **_: Any,
    ) -> LLMStream:
        return _ScriptedStream(self, chat_ctx=chat_ctx, tools=tools or [], conn_options=conn_options)


class _ScriptedStream(LLMStream):
    async def _run(self) -> None:
        # Config updates and handoffs stand in the context too; what was said or came of a tool is answered.
        heard = [item for item in self._chat_ctx.items if isinstance(item, ChatMessage | FunctionCallOutput)]
        last = heard[-1]
        if isinstance(last, FunctionCallOutput):
            delta = ChoiceDelta(role="assistant", content=f"The tool says: {last.output}")
        else:
            delta = _answer(last.text_content or "")
        id_ = uuid.uuid4().hex
        self._event_ch.send_nowait(ChatChunk(id=id_, delta=delta))
        usage = CompletionUsage(completion_tokens=5, prompt_tokens=20, prompt_cached_tokens=4, total_tokens=25)
        self._event_ch.send_nowait(ChatChunk(id=id_, usage=usage))


def _answer(said: str) -> ChoiceDelta:
    words = said.split()
    match words[0] if words else "":
        case "order":
            return _call("look_up_order", number=int(words[1]))
        case "book":
            return _call("book_table", people=4)
        case "wait":
            return _call("wait_for_stock", seconds=float(words[1]))
        case "colleague":
            return _call("hand_over")
        case _:
            return ChoiceDelta(role="assistant", content=f"You said: {said}")


def _call(tool: str, **arguments: object) -> ChoiceDelta:
    call = FunctionToolCall(name=tool, arguments=json.dumps(arguments), call_id=uuid.uuid4().hex)
    return ChoiceDelta(role="assistant", tool_calls=[call])


class ScriptedTTS(tts.TTS[Any]):
    """Speaks silence, a tenth of a second for each word."""

    def __init__(self) -> None:
        super().__init__(capabilities=tts.TTSCapabilities(streaming=False), sample_rate=_SAMPLE_RATE, num_channels=1)

    @property
    def model(self) -> str:
        return "voice-1"

    @property
    def provider(self) -> str:
        return "lab"

    def synthesize(
        self, text: str, *, conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS
    ) -> tts.ChunkedStream:
        return _Speech(tts=self, input_text=text, conn_options=conn_options)


class _Speech(tts.ChunkedStream):
    async def _run(self, output_emitter: tts.AudioEmitter) -> None:
        output_emitter.initialize(
            request_id=uuid.uuid4().hex, sample_rate=_SAMPLE_RATE, num_channels=1, mime_type="audio/pcm"
        )
        tenths = len(self._input_text.split())
        output_emitter.push(bytes(2 * _SAMPLE_RATE // 10 * tenths))
        output_emitter.flush()


class Colleague(Agent):
    """Whom the receptionist hands over to."""

    def __init__(self) -> None:
        super().__init__(id="colleague", instructions="You know about refunds.")


class Receptionist(Agent):
    """Who answers first."""

    def __init__(self) -> None:
        super().__init__(id="receptionist", instructions="You answer the phone.\nBe kind.")

    @function_tool
    async def look_up_order(self, number: int) -> str:
        """Say where an order is."""
        return f"order {number} is on its way"

    @function_tool
    async def book_table(self, people: int) -> str:
        """Book a table, in vain."""
        raise RuntimeError(f"no table for {people}")

    @function_tool
    async def wait_for_stock(self, seconds: float) -> str:
        """Take a while."""
        await asyncio.sleep(seconds)
        return "in stock"

    @function_tool
    async def hand_over(self, _: RunContext[None]) -> tuple[Agent, str]:
        """Hand the caller over to a colleague."""
        return Colleague(), "handed over"
