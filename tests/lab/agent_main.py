"""A livekit-agents worker that needs no model: its AgentSession has no STT, LLM or TTS, and can do all but talk.

    python -m tests.lab.agent_main start

AGENT_NAME sets explicit dispatch, LAB_HELPER=0 leaves the lk-tui helper out. A room's metadata, a JSON object, may say
when the helper is called: {"supervise": "first" | "connected" | "last"}, which is before connecting and before the
session starts (as without metadata), between the two, or after both; and that its agent has a model, which fails
whenever it is asked, {"llm": "broken"}, or follows the script of `tests/lab/scripted.py`, {"llm": "scripted"}, in
writing or, with {"voice": "scripted"}, aloud.

It prints one JSON object a line for what only the agent's process knows: see `say`. RPC methods of its own let a test
make the agent's *code* act: `lab.aclose` closes the session, `lab.shutdown` calls ctx.shutdown(payload), `lab.fail`
ends the session by errors that say the payload, `lab.reply` asks the model for so many replies as the payload says,
`lab.jam` makes every later attempt to close the session hang, `lab.block` holds up its event loop for so many seconds
as the payload says, `lab.audio` has it say whether its audio input and output are on, `lab.hear` has a user say the
payload, of which an interim transcript comes first, `lab.flood` has as many interim transcripts come as the first
number in the payload says, so many of them a second as the second.
"""

import asyncio
import json
import os
import sys
import time
from typing import Any

from livekit import agents, rtc
from livekit.agents import (
    DEFAULT_API_CONNECT_OPTIONS,
    NOT_GIVEN,
    Agent,
    AgentSession,
    APIConnectionError,
    APIConnectOptions,
    CloseEvent,
    JobContext,
    UserInputTranscribedEvent,
    WorkerOptions,
)
from livekit.agents.llm import LLM, ChatContext, LLMError, LLMStream, Tool
from livekit.agents.voice import room_io

from tests.lab.scripted import Receptionist, ScriptedLLM, ScriptedTTS
from tui import agent as lk_tui

# AgentSession closes at the fourth (max_unrecoverable_errors=3).
_FATAL_ERRORS = 4


def say(event: str, room: str, **details: object) -> None:
    """`{"event", "room", …}`: ready (identity, pid), close (reason, error), disconnected and shutdown (reason), audio
    (hears, speaks)."""
    # One write a line: several job processes share the file.
    sys.stdout.write(json.dumps({"event": event, "room": room, **details}) + "\n")
    sys.stdout.flush()


class BrokenLLM(LLM[Any]):
    """A model whose provider can't be reached."""

    def chat(
        self,
        *,
        chat_ctx: ChatContext,
        tools: list[Tool] | None = None,
        conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS,
        **_: Any,
    ) -> LLMStream:
        """A stream that fails."""
        return _BrokenStream(self, chat_ctx=chat_ctx, tools=tools or [], conn_options=conn_options)


class _BrokenStream(LLMStream):
    async def _run(self) -> None:
        raise APIConnectionError("the model's provider is away", retryable=False)


async def entrypoint(ctx: JobContext) -> None:
    """One job: join, say so, and stay."""
    name = ctx.job.room.name
    asked: dict[str, str] = json.loads(ctx.job.room.metadata or "{}")
    script = asked.get("llm") == "scripted"
    model = {"broken": BrokenLLM, "scripted": ScriptedLLM}.get(asked.get("llm", ""))
    aloud = asked.get("voice") == "scripted"
    session: AgentSession[None] = AgentSession(
        llm=model() if model is not None else NOT_GIVEN, tts=ScriptedTTS() if aloud else NOT_GIVEN
    )
    closing: set[asyncio.Task[None]] = set()

    @session.on("close")
    def on_close(event: CloseEvent) -> None:
        say("close", name, reason=event.reason.value, error=None if event.error is None else str(event.error))

    @ctx.room.on("disconnected")
    def on_disconnected(reason: rtc.DisconnectReason.ValueType) -> None:
        say("disconnected", name, reason=rtc.DisconnectReason.Name(reason))

    async def on_shutdown(reason: str) -> None:
        say("shutdown", name, reason=reason)

    ctx.add_shutdown_callback(on_shutdown)

    when = "never" if os.environ.get("LAB_HELPER") == "0" else asked.get("supervise", "first")
    if when == "first":
        lk_tui.supervise(ctx, session)
    await ctx.connect()
    if when == "connected":
        lk_tui.supervise(ctx, session)
    agent = Receptionist() if script else Agent(instructions="You answer the phone.")
    # Without a voice, what is to be said aloud is never said.
    options = room_io.RoomOptions(audio_output=aloud or not script)
    await session.start(agent=agent, room=ctx.room, room_options=options)
    if when == "last":
        lk_tui.supervise(ctx, session)

    async def aclose(_: rtc.RpcInvocationData) -> str:
        closing.add(asyncio.create_task(session.aclose()))
        return ""

    async def reply(call: rtc.RpcInvocationData) -> str:
        for _ in range(int(call.payload)):
            await session.generate_reply(instructions="Say hello.")
        return ""

    async def shutdown(call: rtc.RpcInvocationData) -> str:
        # Soon, not now: leaving the room would cut the answer off.
        asyncio.get_running_loop().call_later(0.1, ctx.shutdown, call.payload)
        return ""

    async def fail(call: rtc.RpcInvocationData) -> str:
        for _ in range(_FATAL_ERRORS):
            session._on_error(
                LLMError(timestamp=0.0, label="lab.llm", error=RuntimeError(call.payload), recoverable=False)
            )
        return ""

    async def jam(_: rtc.RpcInvocationData) -> str:
        await session._lock.acquire()
        return ""

    async def block(call: rtc.RpcInvocationData) -> str:
        # Soon, not now, for the sake of the answer.
        asyncio.get_running_loop().call_later(0.1, time.sleep, float(call.payload))
        return ""

    async def hear(call: rtc.RpcInvocationData) -> str:
        for is_final in (False, True):
            session.emit(
                "user_input_transcribed", UserInputTranscribedEvent(transcript=call.payload, is_final=is_final)
            )
        return ""

    async def audio(_: rtc.RpcInvocationData) -> str:
        say("audio", name, hears=session.input.audio_enabled, speaks=session.output.audio_enabled)
        return ""

    async def flood(call: rtc.RpcInvocationData) -> str:
        how_many, a_second = map(int, call.payload.split())
        closing.add(asyncio.create_task(pour(how_many, a_second)))
        return ""

    async def pour(how_many: int, a_second: int) -> None:
        began = time.monotonic()
        for number in range(how_many):
            await asyncio.sleep(began + number / a_second - time.monotonic())
            words = UserInputTranscribedEvent(transcript=f"word {number}", is_final=number == how_many - 1)
            session.emit("user_input_transcribed", words)

    for method in (aclose, shutdown, fail, reply, jam, block, hear, audio, flood):
        ctx.room.local_participant.register_rpc_method(f"lab.{method.__name__}", method)
    say("ready", name, identity=ctx.room.local_participant.identity, pid=os.getpid())


def no_load() -> float:
    """The load told to the server, which gives no jobs to a worker whose load is over 0.7 (`agents.target_load`)."""
    return 0.0


if __name__ == "__main__":
    agents.cli.run_app(
        WorkerOptions(
            entrypoint_fnc=entrypoint,
            agent_name=os.environ.get("AGENT_NAME", ""),
            host="127.0.0.1",
            port=0,
            num_idle_processes=1,
            # The machine that runs the tests may well be busy; the worker must take its jobs all the same.
            load_fnc=no_load,
            load_threshold=float("inf"),
        )
    )
