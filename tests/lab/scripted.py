"""A conversation without a model: an `llm.LLM` that follows a script, the tools it calls, and a colleague for handoffs.

What the user says decides: `order 7` has the order looked up (a tool that works), `book` has a table booked (a tool
that raises), `wait 3` takes three seconds in a tool, `colleague` hands over to another agent. All else is repeated.
"""

import asyncio
import json
import uuid
from typing import Any

from livekit.agents import DEFAULT_API_CONNECT_OPTIONS, Agent, APIConnectOptions, RunContext, function_tool
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
