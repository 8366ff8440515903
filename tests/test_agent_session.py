"""What an agent says on `lk.agent.session`, in the model's terms: safe, cut to a length, and never an exception."""

from __future__ import annotations

from collections.abc import Mapping

from google.protobuf.message import DecodeError
from google.protobuf.struct_pb2 import Struct
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st
from livekit.protocol.agent_pb import agent_session as pb

from tui.gateway.agent_session import INSTRUCTIONS_LIMIT, TEXT_LIMIT, events, request
from tui.model.session import (
    AgentStateChanged,
    AgentTold,
    EntriesTold,
    Entry,
    EntryKind,
    Heard,
    RtcTold,
    SessionEvent,
    ToolCall,
    ToolStatus,
    UsageTold,
)
from tui.model.session_book import SessionBook
from tui.model.text import safe_block

NOW = 1_700_000_000.0
Event = pb.AgentSessionEvent
Response = pb.SessionResponse


def of_event(event: pb.AgentSessionEvent) -> tuple[SessionEvent, ...]:
    event.created_at.CopyFrom(Timestamp(seconds=int(NOW)))
    return events(pb.AgentSessionMessage(event=event), NOW + 5)


def of_response(**response: object) -> tuple[SessionEvent, ...]:
    return events(pb.AgentSessionMessage(response=Response(request_id="1", **response)), NOW + 5)  # type: ignore[arg-type]


def entry(item: pb.ChatContext.ChatItem) -> Entry:
    (told,) = of_event(Event(conversation_item_added=Event.ConversationItemAdded(item=item)))
    assert isinstance(told, EntriesTold)
    (found,) = told.entries
    return found


def message(role: pb.ChatRole, *texts: str, **more: object) -> Entry:
    content = [pb.ChatMessage.ChatContent(text=text) for text in texts]
    return entry(pb.ChatContext.ChatItem(message=pb.ChatMessage(id="i", role=role, content=content, **more)))  # type: ignore[arg-type]


def test_messages_say_who_spoke_and_whether_they_were_cut_off() -> None:
    said = message(pb.ASSISTANT, "Hello", "there", interrupted=True, metrics=pb.MetricsReport(e2e_latency=0.5))
    assert (said.id, said.kind, said.who, said.text) == ("i", EntryKind.AGENT, "agent", "Hello\nthere")
    assert said.interrupted
    assert said.metrics == (("e2e_latency", 0.5),)
    assert message(pb.USER, "Hi").kind is EntryKind.USER
    assert message(pb.SYSTEM, "Be kind").kind is EntryKind.SYSTEM
    assert message(pb.DEVELOPER, "Be kind").who == "system"


def test_what_strangers_say_can_do_nothing_to_a_terminal_nor_fill_it() -> None:
    assert message(pb.USER, "\x1b[2J\u202eevil\nnext\tline").text == "\\x1b[2J\\u202eevil\nnext    line"
    assert len(message(pb.USER, "x" * 100_000).text) == TEXT_LIMIT
    (told,) = of_response(
        get_agent_info=Response.GetAgentInfoResponse(id="a\x07", instructions="y" * 100_000, tools=["t\x1b"] * 900)
    )
    assert isinstance(told, AgentTold)
    assert (told.id, len(told.instructions), told.tools[0]) == ("a\\x07", INSTRUCTIONS_LIMIT, "t\\x1b")
    assert len(told.tools) < 900


def test_a_call_is_told_in_pieces_that_have_one_id() -> None:
    started = Event.ToolExecutionUpdated.Started(
        function_call=pb.FunctionCall(id="item/fnc_0", call_id="call", name="book", arguments='{"people": 4}')
    )
    ended = Event.ToolExecutionUpdated.Ended(id="call", call_id="call", message="no table", status=pb.TC_ERROR)
    output = pb.FunctionCallOutput(call_id="call", name="book", output="An internal error occurred", is_error=True)
    book = SessionBook("RM_1", "PA_1")
    for event in (
        Event(tool_execution_updated=Event.ToolExecutionUpdated(started=started)),
        Event(tool_execution_updated=Event.ToolExecutionUpdated(ended=ended)),
        Event(function_tools_executed=Event.FunctionToolsExecuted(function_call_outputs=[output])),
    ):
        for told in of_event(event):
            book.absorb(told)
    (call,) = book.view.entries
    assert call == Entry(
        "call",
        NOW,
        EntryKind.TOOL,
        "book",
        tool=ToolCall(
            "book", '{"people": 4}', ToolStatus.FAILED, "An internal error occurred", "no table", "", NOW, NOW
        ),
    )


def test_what_happens_besides_the_words_is_told_too() -> None:
    def words(event: pb.AgentSessionEvent) -> tuple[EntryKind, str]:
        (told,) = of_event(event)
        assert isinstance(told, EntriesTold)
        return told.entries[0].kind, told.entries[0].text

    assert words(Event(error=Event.Error(message="the model is away"))) == (EntryKind.ERROR, "the model is away")
    cut = Event(overlapping_speech=Event.OverlappingSpeech(is_interruption=True))
    assert words(cut) == (EntryKind.INTERRUPTION, "the user spoke into the agent's words")
    resumed = Event(agent_false_interruption=Event.AgentFalseInterruption(resumed=True))
    assert words(resumed) == (EntryKind.INTERRUPTION, "no interruption after all: the agent went on")
    machine = Event(amd_prediction=Event.AmdPrediction(category=pb.AMD_MACHINE_VM, reason="a beep"))
    assert words(machine) == (EntryKind.NOTE, "answered by: machine vm: a beep")
    assert (
        entry(
            pb.ChatContext.ChatItem(agent_handoff=pb.AgentHandoff(id="h", old_agent_id="one", new_agent_id="two"))
        ).text
        == "one hands over to two"
    )
    update = pb.AgentConfigUpdate(id="u", instructions="Be kind.", tools_added=["a", "b"], tools_removed=["c"])
    assert (
        entry(pb.ChatContext.ChatItem(agent_config_update=update)).text
        == "new instructions; tools a, b; without the tools c"
    )
    assert of_event(Event(user_input_transcribed=Event.UserInputTranscribed(transcript="I w"))) == (
        Heard(NOW, "I w", final=False),
    )
    state = Event.AgentStateChanged(new_state=pb.AS_SPEAKING)
    assert of_event(Event(agent_state_changed=state)) == (AgentStateChanged(NOW, "speaking"),)


def test_each_kind_of_model_counts_what_it_uses() -> None:
    usage = pb.AgentSessionUsage(
        model_usage=[
            pb.ModelUsage(llm=pb.LLMModelUsage(model="m", input_tokens=20, input_cached_tokens=4, output_tokens=5)),
            pb.ModelUsage(tts=pb.TTSModelUsage(model="v", characters_count=120, audio_duration=9.5)),
            pb.ModelUsage(stt=pb.STTModelUsage(model="e", audio_duration=3.5)),
            pb.ModelUsage(interruption=pb.InterruptionModelUsage(model="i", total_requests=7)),
            pb.ModelUsage(),
        ]
    )
    (told,) = of_response(get_session_usage=Response.GetSessionUsageResponse(usage=usage))
    assert isinstance(told, UsageTold)
    assert [(model.kind, model.model) for model in told.usage.models] == [
        ("llm", "m"),
        ("tts", "v"),
        ("stt", "e"),
        ("interruption", "i"),
    ]
    total = told.usage.total
    assert (total.input_tokens, total.characters, total.audio_s, total.requests) == (20, 120, 13.0, 7)


def test_a_connections_statistics_become_a_few_numbers() -> None:
    def stat(kind: str, **parts: Mapping[str, float | str]) -> Struct:
        made = Struct()
        made.update({kind: parts})
        return made

    stats = [
        stat("candidatePair", candidatePair={"nominated": False, "currentRoundTripTime": 9.0}),
        stat("candidatePair", candidatePair={"nominated": True, "currentRoundTripTime": 0.02}),
        stat("outboundRtp", sent={"packetsSent": "150"}),
        stat("remoteInboundRtp", remoteInbound={"roundTripTime": 0.03, "fractionLost": 0.1}),
        stat("inboundRtp", received={"packetsReceived": "90", "packetsLost": "10", "jitter": 0.004}),
    ]
    answer = Response.GetRTCStatsResponse(publisher_stats=stats[:3], subscriber_stats=stats[3:])
    (told,) = of_response(get_rtc_stats=answer)
    assert isinstance(told, RtcTold)
    sample = told.sample
    assert (sample.at, sample.round_trip_s, sample.jitter_s) == (NOW + 5, 0.03, 0.004)
    assert (sample.sent_loss, sample.received_loss) == (0.1, 0.1)
    assert (sample.packets_sent, sample.packets_received) == (150, 90)
    odd = stat("candidatePair", candidatePair={"nominated": True, "currentRoundTripTime": "soon"})
    (told,) = of_response(get_rtc_stats=Response.GetRTCStatsResponse(publisher_stats=[odd, stat("inboundRtp")]))
    assert isinstance(told, RtcTold)
    assert (told.sample.round_trip_s, told.sample.received_loss) == (None, None)


def test_numbers_that_are_none_and_times_out_of_time_are_left_out() -> None:
    nan, inf = float("nan"), float("inf")
    said = message(
        pb.USER,
        "hi",
        metrics=pb.MetricsReport(e2e_latency=nan, llm_node_ttft=0.5),
        created_at=Timestamp(seconds=10**15),
    )
    assert (said.at, said.metrics) == (NOW, (("llm_node_ttft", 0.5),))
    usage = pb.AgentSessionUsage(model_usage=[pb.ModelUsage(tts=pb.TTSModelUsage(audio_duration=inf))])
    (told,) = of_response(get_session_usage=Response.GetSessionUsageResponse(usage=usage))
    assert isinstance(told, UsageTold)
    assert told.usage.total.audio_s == 0.0
    stats = Struct()
    stats.update({"outboundRtp": {"sent": {"packetsSent": "1e400"}}})
    (sampled,) = of_response(get_rtc_stats=Response.GetRTCStatsResponse(publisher_stats=[stats]))
    assert isinstance(sampled, RtcTold)
    assert sampled.sample.packets_sent == 0


def test_what_is_asked_has_its_own_kind_and_id() -> None:
    asked = request("get_chat_history", "1")
    assert (asked.WhichOneof("request"), asked.request_id) == ("get_chat_history", "1")


@given(st.binary(max_size=200))
def test_whatever_is_sent_is_a_message_or_nothing(data: bytes) -> None:
    sent = pb.AgentSessionMessage()
    try:
        sent.ParseFromString(data)
    except DecodeError:
        return
    book = SessionBook("RM_1", "PA_1")
    for event in events(sent, NOW):
        book.absorb(event)
    assert len(book.view.entries) <= len(data)


@given(st.text(max_size=60), st.integers(3, 40))
def test_a_block_keeps_its_lines_and_nothing_that_a_terminal_acts_on(raw: str, limit: int) -> None:
    safe = safe_block(raw, limit)
    assert len(safe) <= limit
    assert all(line.isprintable() for line in safe.split("\n"))
    if raw.isprintable() and len(raw) <= limit:
        assert safe == raw
