"""Which agent is probed next: those in the open room, those on screen, those that don't answer, and all others; of
each, those that were longest without a sign of life.

Pure bookkeeping, as in `tui.gateway.schedule`: times are seconds of the poller's monotonic clock, passed in. Agents go
by their participant SIDs. Nothing here sorts or walks all of them.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

from tui.gateway.schedule import Kind, Read, Rota, by_turns
from tui.model.evidence import SourceStatus
from tui.model.phrases import count

OPENED_EVERY_S = 4.0
"""How often an agent is probed in the room whose details are open."""
ON_SCREEN_S = 6.0
"""How long after its last sign of life an agent is probed in a room on screen: an answer, or something new that it
published."""
ELSEWHERE_S = 10.0
"""… in any other room. LiveKit lists a dead agent for 21 s (1.13.5), and it takes 4 s to find out."""
ANSWERED_S = 15.0
"""How long after its last probe an agent on screen is probed, whatever it published: of one that answered less than
21 s before it left it is known that it did not leave dead."""
RETRY_S = 30.0
"""How long an agent is left alone after a probe that proved nothing: such a one takes up to 3 s (503, 1.13.5)."""
REFUSED_S = 600.0
"""How long all are left alone where the server itself refuses to pass a probe on; versions before 1.9.2 do."""


@dataclass(slots=True)
class _Agent:
    room: str
    probed_at: float = -math.inf
    retry_at: float = -math.inf


class Probing:
    """Which agents there are, when each was probed, which of them don't answer; and so: who is next. None where `on` is
    false."""

    def __init__(self, *, on: bool = True) -> None:
        self._on = on
        self._agents: dict[str, _Agent] = {}
        self._of_room: dict[str, tuple[str, ...]] = {}
        self._by_life = Rota()
        self._silent: OrderedDict[str, None] = OrderedDict()
        self._started = 0
        self._refusal = ""
        self._refused_until = -math.inf

    @property
    def status(self) -> SourceStatus:
        """How it stands, for the screen."""
        if not self._on:
            return SourceStatus("probe", on=False)
        if self._refusal:
            return SourceStatus("probe", on=False, words=self._refusal, trouble=True)
        return SourceStatus("probe", on=True, words=f"{count(len(self._silent), 'agent')} silent")

    # What is known

    def __contains__(self, agent: str) -> bool:
        return agent in self._agents

    def agents_are(self, room: str, agents: Iterable[str]) -> None:
        """A room's participants were read: these agents can be probed."""
        known, now = self._of_room.pop(room, ()), tuple(agents)
        for sid in now:
            if sid not in self._agents:
                self._agents[sid] = _Agent(room)
                self._by_life.add(sid)
        for sid in known:
            if sid not in now:
                del self._agents[sid]
                self._by_life.drop(sid)
                self._silent.pop(sid, None)
        if now:
            self._of_room[room] = now

    def forget(self, room: str) -> None:
        """A room is gone."""
        self.agents_are(room, ())

    def published(self, agent: str, now: float) -> None:
        """An agent published something new: it lives."""
        if agent in self._agents:
            self._by_life.start(agent, now)

    def started(self, agent: str, now: float) -> None:
        """A probe was sent."""
        self._started += 1
        self._agents[agent].probed_at = now
        self._by_life.start(agent, now)
        if agent in self._silent:
            self._silent.move_to_end(agent)

    def told(self, agent: str, *, silent: bool) -> None:
        """A probe told whether the agent answers."""
        self._refusal = ""
        if agent in self._agents and silent:
            self._silent[agent] = None
        else:
            self._silent.pop(agent, None)

    def unproven(self, agent: str, now: float) -> None:
        """A probe proved nothing."""
        if agent in self._agents:
            self._agents[agent].retry_at = now + RETRY_S

    def refused(self, why: str, now: float) -> None:
        """The server doesn't pass probes on, and says why."""
        self._refusal = why
        self._refused_until = now + REFUSED_S

    # Who is next

    def due(self, visible: Sequence[str], opened: str | None, now: float, interval_s: float) -> Iterator[Read]:
        """The probes that are due, the most important first. `visible` and `opened` are SIDs of rooms.

        By turns, so that none keeps the others waiting: every other one is in the open room; of the rest, every other
        one is on screen; between them those that don't answer (in every cycle, until they do), and all others.
        """
        if not self._on or now < self._refused_until:
            return
        # What falls due within half an interval is sooner done now than in the next cycle.
        soon, recently = now + interval_s / 2, now - interval_s / 2
        given: set[str] = set()

        def ready(agents: Iterable[str]) -> Iterator[str]:
            for agent in agents:
                known = self._agents[agent]
                if agent not in given and known.probed_at <= recently and known.retry_at <= now:
                    given.add(agent)
                    yield agent

        opened_ones = ready(a for a in self._in_room(opened) if self._agents[a].probed_at <= soon - OPENED_EVERY_S)
        on_screen = ready(self._on_screen(visible, soon))
        silent, others = ready(self._silent), ready(self._by_life.due(now - ELSEWHERE_S))
        turns = [opened_ones, on_screen, opened_ones, silent, opened_ones, on_screen, opened_ones, others]
        # A cycle that can afford but one goes on where the one before it ended.
        first = self._started % len(turns)
        for agent in by_turns(*turns[first:], *turns[:first]):
            yield Read(Kind.PROBE, self._agents[agent].room, agent=agent)

    def _in_room(self, room: str | None) -> Sequence[str]:
        return self._of_room.get(room, ()) if room is not None else ()

    def _on_screen(self, visible: Sequence[str], soon: float) -> list[str]:
        seen = [
            agent
            for agent in chain.from_iterable(map(self._in_room, visible))
            if self._by_life.last(agent) <= soon - ON_SCREEN_S or self._agents[agent].probed_at <= soon - ANSWERED_S
        ]
        seen.sort(key=self._by_life.last)
        return seen
