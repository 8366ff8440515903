"""What is known of all rooms, as their reads tell one after the other, and what each answer makes worth asking next.

Nothing is asked here (that is `tui.gateway.poller`). `at` is in seconds since 1970, `now` in seconds of the poller's
monotonic clock. An answer about a room that is gone by now changes nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence

from google.protobuf.message import DecodeError
from livekit.protocol import models as models_pb

from tui.gateway import convert
from tui.gateway.errors import NotLiveKitError
from tui.gateway.ghosts import Ghosts
from tui.gateway.probing import Probing
from tui.gateway.schedule import Kind, Read, Schedule
from tui.model import carry
from tui.model.room import Dispatch, Participant, Room

SLICE = 256
"""Rooms of a listing that are taken in in one go: 0.1 ms for those that are as before, 3 ms where all are new."""


class Picture:
    """The rooms by SID, and who of them and of their agents is next (`schedule`, `probing`).

    `moved` is called when something in them has changed; `probe` says whether agents are probed at all.
    """

    def __init__(self, moved: Callable[[], None], *, probe: bool) -> None:
        self.rooms: dict[str, Room] = {}
        self.schedule = Schedule()
        self.probing = Probing(on=probe)
        self.ghosts = Ghosts()
        self._moved = moved
        self._listed: Mapping[bytes, str] = {}
        """the SIDs of the rooms, by their messages in the latest listing"""

    # The listing

    async def take_listing(self, messages: Sequence[bytes]) -> None:
        """Take in which rooms there are. Raises NotLiveKitError if that is not what the messages say.

        In slices, so that a key is answered in between; reads of before go on arriving meanwhile.
        """
        listed: dict[bytes, str] = {}
        for number, message in enumerate(messages, 1):
            listed[message] = self._listed.get(message) or self._take_listed(message)
            if number % SLICE == 0:
                await asyncio.sleep(0)
        self._listed = listed
        for sid in self.rooms.keys() - listed.values():
            self._moved()
            del self.rooms[sid]
            self.schedule.forget(sid)
            self.probing.forget(sid)
            self.ghosts.clear(sid)

    def _take_listed(self, message: bytes) -> str:
        """Take in a room whose message is not as before, and return its SID."""
        self._moved()
        try:
            listed = convert.room(models_pb.Room.FromString(message))
        except DecodeError:
            raise NotLiveKitError("what the server lists is not LiveKit's rooms: check the URL") from None
        room = self.rooms.get(listed.sid)
        if room is None:
            self.rooms[listed.sid] = listed
            self.schedule.add(listed.sid)
            if self._listed:
                self.schedule.changed(listed.sid)
        else:
            if carry.hints_of_change(room, listed):
                self.schedule.changed(listed.sid)
            self.rooms[listed.sid] = carry.relisted(room, listed)
        return listed.sid

    # The rooms

    def take_participants(self, sid: str, participants: Iterable[Participant], at: float, now: float) -> Sequence[Read]:
        """Take in who is in a room, and return what is worth reading of it in this very cycle."""
        if (before := self.rooms.get(sid)) is None:
            return ()
        after = self.rooms[sid] = carry.with_participants(before, participants, at)
        agents = carry.agent_sids(after)
        if after.participants is not before.participants:
            self._moved()
        self.schedule.occupied(sid, anybody=bool(after.participants))
        self.probing.agents_are(sid, carry.probed_agents(after))
        for agent in carry.newly_published(before, after):
            self.probing.published(agent, now)
        if after.ghost_since is not None and after.participants is not before.participants:
            # Somebody came or went in it: a node holds it again.
            self.schedule.want_dispatches(sid)
        if before.participants is None:
            return (Read(Kind.DISPATCHES, sid),) if agents else ()
        if agents == carry.agent_sids(before):
            return ()
        # Whether its dispatch is still there tells why an agent went.
        self.schedule.want_dispatches(sid)
        self.schedule.follow_up(sid, now)
        return (Read(Kind.DISPATCHES, sid, urgent=True),)

    def take_dispatches(self, sid: str, dispatches: Iterable[Dispatch], at: float, now: float) -> None:
        """Take in a room's dispatches, which its node has answered."""
        self._answered(sid)
        if (before := self.rooms.get(sid)) is None:
            return
        after = self.rooms[sid] = carry.with_dispatches(before, dispatches, at)
        if before.dispatches is None and any(agent.job is None for agent in after.agents):
            self.schedule.follow_up(sid, now)

    def unanswered(self, sid: str, asked_at: float, now: float) -> None:
        """A room's node did not answer what it was asked at `asked_at`: ask again in a while, and say so if that is the
        second time."""
        if (room := self.rooms.get(sid)) is None or room.ghost_since is not None:
            return
        since = self.ghosts.unanswered(sid, asked_at)
        if since is None and not self.schedule.has_failed(Kind.DISPATCHES, sid):
            self.schedule.follow_up(sid, now)
        self.rooms[sid] = carry.with_ghost(room, since)

    def _answered(self, sid: str) -> None:
        self.ghosts.clear(sid)
        if (room := self.rooms.get(sid)) is not None:
            self.rooms[sid] = carry.with_ghost(room, None)

    def ended(self, read: Read, trouble: str, now: float) -> None:
        """A read of a room has ended: with `trouble`, in one line, or well where that is empty."""
        if (room := self.rooms.get(read.sid)) is None:
            return
        if trouble:
            self.schedule.failed(read, trouble, now)
            if read.kind is Kind.PARTICIPANTS:
                self.ghosts.clear(read.sid)
        else:
            self.schedule.succeeded(read)
        self.rooms[read.sid] = carry.with_trouble(room, self.schedule.trouble(read.sid))

    # The agents

    def take_probe(self, read: Read, answered_at: float | None, silent_since: float | None) -> None:
        """Take in what a probe told: when the agent answered it, and since when it doesn't (None: not so)."""
        self.probing.told(read.agent, silent=silent_since is not None)
        self._answered(read.sid)
        if (room := self.rooms.get(read.sid)) is not None:
            self.rooms[read.sid] = carry.with_probe(
                room, read.agent, answered_at=answered_at, silent_since=silent_since
            )

    def probe_unanswered(self, read: Read, now: float) -> None:
        """Nobody answered a probe, not even that there is no such agent."""
        self.probing.unproven(read.agent, now)
        room = self.rooms.get(read.sid)
        if room is not None and room.ghost_since is None and not self.ghosts.is_doubted(read.sid):
            # It has left, or nobody holds its room any more: the room tells which.
            self.schedule.want_dispatches(read.sid)

    def take_session(self, sid: str, agent_sid: str, closed_since: float | None) -> None:
        """Take in that an agent's session has been closed since then, None if it answers after all."""
        if (room := self.rooms.get(sid)) is not None:
            self.rooms[sid] = carry.with_session(room, agent_sid, closed_since)
