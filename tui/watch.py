"""Everything that watches one project, put together: polling, the other sources, the book of closes and the history.

It knows no screen: whoever opens it is called with every new picture and with the close events that are new or have
grown. It changes nothing on a server; what is done from here is told to it (`take_record`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace

from tui.config import Sources
from tui.gateway.client import Gateway
from tui.gateway.inspector import Inspection, Inspector
from tui.gateway.observer import Observers
from tui.gateway.poller import Poller
from tui.gateway.webhooks import WebhookListener
from tui.history.store import History
from tui.model.action import ENDS_ROOM, ActionRecord, Outcome
from tui.model.closes import CloseBook, CloseEvent
from tui.model.collapse import Collapse, collapse
from tui.model.evidence import Evidence, Fact, Sighting, Source, SourceStatus
from tui.model.room import Agent, Participant, Room
from tui.model.session import SessionView
from tui.model.snapshot import Snapshot
from tui.model.text import Name
from tui.settings import Connection

__all__ = ["Inspection", "Watch"]

REMEMBERED_S = 24 * 3600.0
"""How far back the history is read at the start."""
REMEMBERED = 1_000
"""Close events read from it at most."""
WARM_UP_AFTER_S = 2.0
"""How long after the first picture the process of observers is made ready, for sessions to be looked into at once."""


class Watch:
    """One project under watch; an async context manager, and then `run`.

    Raises SettingsError on entering if webhooks can't be listened for. `on_closes` gets the events that are new or have
    grown since it was called last.
    """

    def __init__(
        self,
        connection: Connection,
        sources: Sources,
        *,
        on_snapshot: Callable[[Snapshot], None],
        on_closes: Callable[[Sequence[CloseEvent]], None],
        history: History | None = None,
        read_only: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.gateway = Gateway(
            connection.url, connection.api_key, connection.api_secret, read_only=read_only, clock=clock
        )
        self._on_snapshot = on_snapshot
        self._on_closes = on_closes
        self._history = history
        self._clock = clock
        self._book = CloseBook()
        self._latest = Snapshot()
        self._collapse: Collapse | None = None
        self._ended_here: set[str] = set()
        """SIDs of the rooms that were deleted from here and are still in the latest picture"""
        self.remembered_actions: Sequence[ActionRecord] = ()
        self._open = AsyncExitStack()
        self._warming = False
        self._poller = Poller(
            self.gateway,
            self._take_snapshot,
            interval_s=sources.interval_s,
            budget=sources.budget,
            probe=sources.probe,
            clock=clock,
        )
        key, secret = connection.api_key, connection.api_secret
        self._webhooks: WebhookListener | None = None
        if sources.webhook is not None:
            host, port = sources.webhook
            self._webhooks = WebhookListener(
                host, port, key, secret, self._take_sighting, touched=self._poller.touch, clock=clock
            )
        # Where sessions have lines of their own, there are no rooms that could be joined.
        joins = connection.lines is None and (sources.observe or sources.inspect)
        self._observers = (
            Observers(
                connection.url,
                key,
                secret,
                self._take_sighting,
                limit=sources.observe,
                touched=self._poller.touch,
                is_there=self._is_there,
                answers=self._answers,
                clock=clock,
            )
            if joins
            else None
        )
        lines = connection.lines or self._observers
        self.inspector = (
            Inspector(lines, self._answers, self._take_health, read_only=read_only, clock=clock)
            if lines is not None and sources.inspect
            else None
        )
        """None where no session is looked into"""

    async def __aenter__(self) -> Watch:
        await self._open.enter_async_context(self.gateway)
        for source in (self._webhooks, self._observers, self.inspector):
            if source is not None:
                await self._open.enter_async_context(source)
        if self._history is not None:
            self._open.push_async_callback(self._history.close)
            closes, self.remembered_actions = await self._history.recent(REMEMBERED_S, REMEMBERED)
            self._book.restore(closes)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._open.aclose()

    async def run(self) -> None:
        """Watch for ever; only cancellation ends it."""
        if self._book.events:
            self._on_closes(tuple(self._book.events))
        await self._poller.run()

    async def _is_there(self, room: Room) -> bool:
        # Whoever joins a ghost room has it taken over, and agents started in it: its node has to answer first.
        await self.gateway.list_dispatches(room.name)
        return any(now.sid == room.sid for now in await self.gateway.list_rooms([room.name.raw]))

    async def _answers(self, room: Room, identity: Name) -> bool:
        return await self.gateway.probe(room.name, identity)

    # What is known

    @property
    def closes(self) -> Collection[CloseEvent]:
        """All close events, in the order in which they were first seen."""
        return self._book.events

    def close_of(self, participant_sid: str) -> CloseEvent | None:
        """The end of this agent's session, if one was seen."""
        return self._book.event(participant_sid)

    @property
    def sources(self) -> tuple[SourceStatus, ...]:
        """How each source but polling stands; that of the helper is in the picture."""
        off = (
            SourceStatus("webhooks", on=False),
            SourceStatus("observer", on=False),
            SourceStatus("history", on=False),
        )
        optional = (self._webhooks, self._observers, self._history)
        return (
            *(source.status if source is not None else none for source, none in zip(optional, off, strict=True)),
            self._poller.probe_status,
        )

    # What is told from outside

    def look_at(self, visible: Sequence[str], selected: str | None) -> None:
        """Tell which rooms are on screen, and which one is selected, by SID: they are read first."""
        self._poller.watch(visible, selected)

    def observe(self, opened: Sequence[str]) -> None:
        """Tell which rooms are open, the most important first: as many as are allowed are observed from inside."""
        if self._observers is not None:
            found = (self._latest.rooms.get(sid) for sid in opened)
            self._observers.watch([room for room in found if room is not None])

    def inspect(self, room: Room, agent_sid: str, on_view: Callable[[SessionView], None]) -> Inspection | None:
        """Look into the session of an agent in this room until the inspection is closed; `on_view` gets every picture
        of it, 10 a second at most, the first one soon.

        None where nothing is looked into (`Sources.inspect`), and where there is no such agent in the room.
        """
        agent = room.agent(agent_sid)
        if self.inspector is None or agent is None:
            return None
        return self.inspector.open(room, agent, on_view)

    def stir(self) -> None:
        """Somebody is at the keyboard: polling does not rest."""
        self._poller.stir()

    def wake(self, room_sid: str | None = None, *, insist: bool = False) -> None:
        """Poll now, this room first if one is given; a failing server is asked before its time only on insistence."""
        self._poller.wake(room_sid, insist=insist)

    def take_record(self, record: ActionRecord) -> None:
        """Take in what was done from here; when it has ended, its room is read at once."""
        if self._history is not None:
            self._history.record_action(record)
        if record.sent and record.action in ENDS_ROOM:
            self._ended_here.add(record.target.room_sid)
        self._grown(self._book.absorb_record(record))
        if record.outcome is not Outcome.RUNNING and (record.sent or record.outcome is not Outcome.STOPPED):
            self._poller.wake(record.target.room_sid)

    def keep(self, seconds: float) -> None:
        """Have all that was told kept, from any thread, because the program ends; waits for so long at the most."""
        if self._history is not None:
            self._history.end(seconds)

    # What the sources tell

    async def _take_snapshot(self, snapshot: Snapshot) -> None:
        if snapshot.failure is None:
            self._notice_collapse(snapshot)
            self._latest = snapshot
            self._look_inside(snapshot)
        self._on_snapshot(replace(snapshot, collapse=self._collapse))
        for grown in self._book.absorb(snapshot):
            self._grown(grown)
            await asyncio.sleep(0)

    def _take_health(self, room: Room, agent: Participant, closed_since: float | None) -> None:
        """What a look into a session found out: a close is evidence, an answer takes back that it was closed."""
        if closed_since is None:
            self._poller.take_session(room.sid, agent.sid, None)
        else:
            closed = Evidence(closed_since, Source.OBSERVER, Fact.SESSION_CLOSED)
            self._take_sighting(Sighting(room.name, room.sid, (closed,), Agent(agent)))

    def _look_inside(self, snapshot: Snapshot) -> None:
        if self.inspector is None:
            return
        for sid in self.inspector.room_sids:
            self.inspector.take_room(snapshot.rooms.get(sid), sid)
            if self._observers is not None:
                self._observers.renew()
        if not self._warming and self._observers is not None:
            # The process takes a second of a processor to start: not while the first picture is being drawn.
            self._warming = True
            asyncio.get_running_loop().call_later(WARM_UP_AFTER_S, self._observers.warm_up)

    def _notice_collapse(self, now: Snapshot) -> None:
        was = self._latest
        if was.listed_at is None or now.listed_at is None:
            return
        found = collapse(was.rooms, was.listed_at, now.rooms, now.listed_at, self._ended_here)
        self._collapse = found or self._collapse
        self._ended_here &= now.rooms.keys()

    def _take_sighting(self, sighting: Sighting) -> None:
        if sighting.agent is not None:
            for piece in sighting.evidence:
                if piece.source is Source.OBSERVER and piece.fact is Fact.SESSION_CLOSED:
                    self._poller.take_session(sighting.room_sid, sighting.agent.participant.sid, piece.at)
        self._grown(self._book.absorb_sighting(sighting))

    def _grown(self, events: Sequence[CloseEvent]) -> None:
        if events:
            if self._history is not None:
                self._history.record(events)
            self._on_closes(events)
