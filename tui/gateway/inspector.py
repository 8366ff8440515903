"""Looking into agents' sessions: what is asked of one that is open, what it tells, and whether it still answers.

A session answers on `lk.agent.session` for as long as it is open, and not at all when it has closed or its process
hangs (livekit-agents 1.8.9); LiveKit's own lists show no difference. So it is asked again and again, and when it leaves
a question unanswered, its process is asked through the server: PerformRpc is answered at once, or not at all.
"""

from __future__ import annotations

import asyncio
import math
import time
import uuid
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Self

from google.protobuf.message import DecodeError
from livekit.protocol.agent_pb import agent_session as pb

from tui.gateway import agent_session
from tui.gateway.errors import AgentNotAnsweringError, AgentRefusedError, ReadOnlyError
from tui.model.action import Target
from tui.model.lines import Line, Lines
from tui.model.room import Agent, Participant, Room, SessionState
from tui.model.session import AudioSet, EntriesTold, EntryKind, Health, HealthTold, SessionEvent, SessionView
from tui.model.session_book import SessionBook
from tui.model.text import Name, safe_block, safe_text

PING_EVERY_S = 0.5
"""Between two questions to a session that is looked into."""
UNANSWERED_S, LONGEST_UNANSWERED_S = 0.3, 3.0
"""How long a question may go unanswered before the agent's process is asked: three times as long as the slowest of the
latest answers took, but no less, nor more, than this. A session on loopback takes 10 ms."""
SURE_S = 1.5
"""How long a session must have been closed until it is told elsewhere: by then it would have spoken up again."""
STARTING_S = 3.0
"""How long an agent that never answered may take to, before it is taken for one that can't."""
VIEW_EVERY_S = 0.1
"""Between two pictures, however much happens."""
ANSWER_S = 10.0
"""How long an agent may take to do what it is asked."""
TELL = ("get_session_state", "get_agent_info", "get_framework_info", "get_session_usage", "get_chat_history")
"""What a session is asked first, and again when we were away."""

Answers = Callable[[Room, Name], Awaitable[bool]]
"""Whether a participant's process answers; raises where that can't be known."""
FoundOut = Callable[[Room, Participant, float | None], None]
"""Told since when an agent's session has been closed, None if it answers after that was told."""


class Inspector:
    """The sessions that are looked into, by the agent's participant SID; an async context manager."""

    def __init__(
        self,
        lines: Lines,
        answers: Answers,
        found_out: FoundOut,
        *,
        read_only: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._lines = lines
        self._found_out = found_out
        self._answers = answers
        self._read_only = read_only
        self._clock = clock
        self._open: dict[str, Inspection] = {}
        self.on_open: Callable[[Target], None] = lambda _: None
        """called with every agent whose session is opened"""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for inspection in tuple(self._open.values()):
            inspection.close()

    def open(self, room: Room, agent: Agent, on_view: Callable[[SessionView], None]) -> Inspection:
        """Look into this agent's session. One that is open already is closed: there is one view of each."""
        who = agent.participant
        if (before := self._open.get(who.sid)) is not None:
            before.close()

        def closed() -> None:
            if self._open.get(who.sid) is inspection:
                del self._open[who.sid]

        inspection = Inspection(
            room,
            who,
            on_view,
            closed,
            self._answers,
            self._found_out,
            read_only=self._read_only,
            clock=self._clock,
        )
        self._open[who.sid] = inspection
        inspection.start(self._lines)
        self.on_open(Target(room.name, room.sid, who.identity, who.sid, agent.name))
        return inspection

    def of(self, agent_sid: str) -> Inspection | None:
        """The open look into this agent's session, if there is one."""
        return self._open.get(agent_sid)

    def take_room(self, room: Room | None, room_sid: str) -> None:
        """Take in who is in a room by the lists, None if it is not there any more."""
        for inspection in tuple(self._open.values()):
            if inspection.room.sid == room_sid:
                inspection.take_room(room)

    @property
    def room_sids(self) -> frozenset[str]:
        """The rooms of the agents that are looked into."""
        return frozenset(inspection.room.sid for inspection in self._open.values())


class Inspection:
    """A look into one agent's session, until `close`. `on_view` is called with every new picture, 10 times a second at
    most."""

    def __init__(
        self,
        room: Room,
        agent: Participant,
        on_view: Callable[[SessionView], None],
        on_close: Callable[[], None],
        answers: Answers,
        found_out: FoundOut,
        *,
        read_only: bool,
        clock: Callable[[], float],
    ) -> None:
        self.room = room
        self.agent = agent
        self._on_view = on_view
        self._on_close = on_close
        self._answers = answers
        self._found_out = found_out
        self._read_only = read_only
        self._clock = clock
        self._book = SessionBook(room.sid, agent.sid)
        self._line: Line | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._awaited: dict[str, asyncio.Future[pb.SessionResponse]] = {}
        self._said: list[tuple[str, asyncio.Future[None]]] = []
        self._showing: asyncio.TimerHandle | None = None
        self._shown_at = -math.inf
        self._closed = False
        self._joined = asyncio.Event()
        self._joined_at = -math.inf
        self._spoke = asyncio.Event()
        """set if anything came since it was asked last"""
        self._answered = False
        """whether anything ever came"""
        self._asked_at = -math.inf
        self._patience = UNANSWERED_S
        self._told_closed = False

    @property
    def view(self) -> SessionView:
        """The session as it is known now."""
        return self._book.view

    def start(self, lines: Lines) -> None:
        """Call the session, and begin."""
        self._stand(Health.CONNECTING)
        self._line = lines.call(self.room, self.agent.sid, self)
        self._keep(self._look())

    def close(self) -> None:
        """Look no longer; the observer leaves, unless the room is observed anyway."""
        if self._closed:
            return
        self._closed = True
        if self._line is not None:
            self._line.close()
        for task in self._tasks:
            task.cancel()
        if self._showing is not None:
            self._showing.cancel()
        for future in self._awaited.values():
            future.cancel()
        self._on_close()

    def refresh_rtc_stats(self) -> None:
        """Ask for one more sample of the agent's connection; it comes with a picture."""
        self._ask("get_rtc_stats")

    # What changes something

    async def set_audio(self, *, hears: bool | None = None, speaks: bool | None = None) -> None:
        """Switch the agent's audio input (`hears`) or output (`speaks`) on or off; None leaves it as it is.

        Returns once the agent said that it is done. Raises `ReadOnlyError`, and otherwise as `say`.
        """
        request = agent_session.request("update_io", _new_id())
        if hears is not None:
            request.update_io.input.audio_enabled = hears
        if speaks is not None:
            request.update_io.output.audio_enabled = speaks
        await self._change(request)
        self._take(AudioSet(hears, speaks))

    async def say(self, text: str) -> None:
        """Have the session take `text` as the user's words: what the agent is saying is cut off, and it answers.

        Returns once the words stand in the conversation, or the agent has answered them. Raises `ReadOnlyError`
        (nothing was sent), `AgentRefusedError` in the agent's own words, and `AgentNotAnsweringError` after 10 s, when
        it may have got them all the same.
        """
        request = agent_session.request("run_input", _new_id())
        request.run_input.text = text
        heard: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        awaited = (_words(safe_block(text, agent_session.TEXT_LIMIT)), heard)
        self._said.append(awaited)
        try:
            await self._change(request, heard)
        finally:
            self._said.remove(awaited)

    async def _change(self, request: pb.SessionRequest, other_proof: asyncio.Future[None] | None = None) -> None:
        """The one way to a change, and so the one place that read-only needs."""
        if self._read_only:
            raise ReadOnlyError("lk-tui is read-only: nothing was sent")
        answer: asyncio.Future[pb.SessionResponse] = asyncio.get_running_loop().create_future()
        self._awaited[request.request_id] = answer
        try:
            self._send(request)
            proofs: set[asyncio.Future[Any]] = {answer} if other_proof is None else {answer, other_proof}
            await asyncio.wait(proofs, timeout=ANSWER_S, return_when=asyncio.FIRST_COMPLETED)
        finally:
            del self._awaited[request.request_id]
        if answer.cancelled():
            raise AgentNotAnsweringError("its session was looked into no longer before it answered")
        if answer.done():
            if answer.result().error:
                raise AgentRefusedError(f"the agent says: {safe_text(answer.result().error)}")
        elif other_proof is None or not other_proof.done():
            raise AgentNotAnsweringError(f"its session did not answer within {ANSWER_S:.0f} s")

    # What the observer tells

    def on_joined(self) -> None:
        """Ask for all that it can tell."""
        self._joined_at = self._asked_at = time.monotonic()
        self._spoke.clear()
        self._joined.set()
        for kind in TELL:
            self._ask(kind)

    def on_message(self, message: bytes) -> None:
        """Take in what the agent says."""
        told = pb.AgentSessionMessage()
        try:
            told.ParseFromString(message)
        except DecodeError:
            return
        if not self._spoke.is_set() and self._book.view.health is not Health.HUNG:
            trip = time.monotonic() - self._asked_at
            self._patience = min(max(UNANSWERED_S, 3 * trip, 0.7 * self._patience), LONGEST_UNANSWERED_S)
        self._answered = True
        self._spoke.set()
        self._stand(Health.ANSWERING)
        if self._told_closed:
            self._told_closed = False
            self._found_out(self.room, self.agent, None)
        handed_over = False
        for event in agent_session.events(told, self._clock()):
            self._take(event)
            if isinstance(event, EntriesTold):
                handed_over |= told.HasField("event") and self._notice(event)
        if handed_over:
            self._ask("get_agent_info")
        if (answer := self._awaited.get(told.response.request_id)) is not None and not answer.done():
            answer.set_result(told.response)

    def _notice(self, told: EntriesTold) -> bool:
        """See whether words of ours stand in the conversation now; whether another agent has the session."""
        for entry in told.entries:
            if entry.kind is EntryKind.USER:
                for words, heard in self._said:
                    if words == _words(entry.text) and not heard.done():
                        heard.set_result(None)
        return any(entry.kind in (EntryKind.HANDOFF, EntryKind.CONFIG) for entry in told.entries)

    def on_away(self, trouble: str) -> None:
        """Nothing is seen until an observer is there again."""
        self._joined.clear()
        if self._book.view.health is not Health.GONE:
            self._stand(Health.CONNECTING, trouble)
        # A closed session was left alone: when we are back, it is judged anew.
        self._spoke.set()

    def on_gone(self) -> None:
        """It is over."""
        self._stand(Health.GONE)

    def take_room(self, room: Room | None) -> None:
        """By the lists the agent has left, or the room has ended."""
        if room is None:
            self._stand(Health.GONE)
        elif room.participants is not None:
            agent = room.participant(self.agent.sid)
            if agent is None:
                self._stand(Health.GONE)
            else:
                self.agent = agent

    # Whether it answers

    async def _look(self) -> None:
        """Ask while it answers; when it doesn't, find out why."""
        while True:
            await self._joined.wait()
            if self._book.view.health in (Health.CLOSED, Health.UNSUPPORTED, Health.GONE):
                # Each question in vain is logged by the agent. One that speaks of itself is asked again.
                self._spoke.clear()
                await self._spoke.wait()
                continue
            self._spoke.clear()
            self._asked_at = time.monotonic()
            self._ask("ping")
            try:
                async with asyncio.timeout(self._patience):
                    await self._spoke.wait()
            except TimeoutError:
                await self._find_out()
            else:
                await asyncio.sleep(max(0.0, self._asked_at + PING_EVERY_S - time.monotonic()))

    async def _find_out(self) -> None:
        """Ask the process of an agent whose session doesn't answer, and judge by that."""
        asked_at = self._clock()
        try:
            answers = await self._answers(self.room, self.agent.identity)
        except Exception:  # noqa: BLE001 - whatever kept us from asking, it proves nothing
            await asyncio.sleep(PING_EVERY_S)
            return
        if self._spoke.is_set() or not self._joined.is_set() or self._book.view.health is Health.GONE:
            return
        if not answers:
            self._stand(Health.HUNG, at=asked_at)
        elif self._book.view.health is Health.HUNG:
            # It has woken since its session was asked: that is asked once more.
            self._stand(Health.CONNECTING)
        elif self._answered or self._is_known_closed():
            self._stand(Health.CLOSED, at=asked_at)
            await asyncio.sleep(SURE_S)
            if self._book.view.health is Health.CLOSED:
                self._told_closed = True
                self._found_out(self.room, self.agent, asked_at)
        elif time.monotonic() - self._joined_at >= STARTING_S:
            self._stand(Health.UNSUPPORTED)
        else:
            await asyncio.sleep(PING_EVERY_S)

    def _is_known_closed(self) -> bool:
        return self.agent.agent is not None and self.agent.agent.session is SessionState.CLOSED

    def _stand(self, health: Health, trouble: str = "", at: float | None = None) -> None:
        view = self._book.view
        if (health, trouble) != (view.health, view.trouble):
            self._take(HealthTold(self._clock() if at is None else at, health, trouble))

    # Asking and showing

    def _ask(self, kind: str) -> None:
        self._send(agent_session.request(kind, _new_id()))

    def _send(self, request: pb.SessionRequest) -> None:
        if self._line is not None and not self._closed:
            self._line.send(pb.AgentSessionMessage(request=request).SerializeToString())

    def _take(self, event: SessionEvent) -> None:
        self._book.absorb(event)
        if self._showing is None and not self._closed:
            loop = asyncio.get_running_loop()
            pause = max(0.0, self._shown_at + VIEW_EVERY_S - loop.time())
            self._showing = loop.call_later(pause, self._show)

    def _show(self) -> None:
        self._showing = None
        self._shown_at = asyncio.get_running_loop().time()
        self._on_view(self._book.view)

    def _keep(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _words(text: str) -> str:
    return " ".join(text.split())


def _new_id() -> str:
    return uuid.uuid4().hex
