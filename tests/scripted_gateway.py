"""A server of one room that does what a script says; plans are carried out on it in virtual time."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

import pytest

from tests.plans import NOW, agent, dispatch, person, room
from tests.virtual_time import in_virtual_time, seconds
from tui.control.control import Control
from tui.control.plan import Plan, plan
from tui.gateway.client import Gateway
from tui.gateway.errors import (
    GatewayError,
    MissingError,
    NoResponseError,
)
from tui.model.action import Action, ActionRecord
from tui.model.patience import Patience
from tui.model.room import CloseReport, Dispatch, Participant, Room, SessionState
from tui.model.secret import Secret
from tui.model.text import Name


@dataclass
class Script:
    """How the server, its agents and its people behave. Times are virtual seconds after the call; None is never."""

    room_goes: bool = True
    room_returns: float | None = None
    person_goes: bool = True
    person_returns: float | None = None
    session_closes: float | None = 0.05
    agent_leaves: float | None = 0.05
    agent_joins: float | None = 0.3
    taken_over: bool = True
    latency: float = 0.004
    errors: dict[tuple[str, int], GatewayError] = field(default_factory=dict)
    """by method and number of the call, from 0: raised instead of doing anything"""
    lost_answers: dict[str, GatewayError] = field(default_factory=dict)
    """by method: raised after having done it"""
    events: dict[tuple[str, int], Callable[[ScriptedGateway], object]] = field(default_factory=dict)
    """by method and number of the call: what happens on the server just before it is answered"""


CHANGES = frozenset(
    {"call_helper", "remove_participant", "delete_room", "create_room", "create_dispatch", "delete_dispatch"}
)


class ScriptedGateway(Gateway):
    """One room on a server that does what the script says."""

    def __init__(self, here: Room | None, script: Script) -> None:
        super().__init__("http://scripted.test", "key", Secret("secret"))
        self.here = here
        self.is_ghost = here is not None and here.ghost_since is not None
        self.script = script
        self.calls: list[tuple[str, ...]] = []
        self.made: Counter[str] = Counter()

    @property
    def changes(self) -> list[tuple[str, ...]]:
        return [call for call in self.calls if call[0] in CHANGES]

    async def list_rooms(self, names: Iterable[str] = ()) -> tuple[Room, ...]:
        await self._answer("list_rooms", *names)
        return (self.here,) if self.here is not None and self.here.name.raw in set(names) else ()

    async def list_participants(self, room: Name) -> tuple[Participant, ...]:
        await self._answer("list_participants", room.raw)
        return (self.here.participants or ()) if self.here is not None else ()

    async def list_dispatches(self, room: Name) -> tuple[Dispatch, ...]:
        await self._answer("list_dispatches", room.raw)
        if self.here is None or self.is_ghost:
            raise NoResponseError("no response (503)")
        return self.here.dispatches or ()

    async def call_helper(self, room: Name, identity: Name, method: str, operator: str) -> str:
        await self._answer("call_helper", room.raw, identity.raw, method, operator)
        if method == "lk-tui.close_session":
            self._set_session(identity, SessionState.CLOSING)
            self._later(self.script.session_closes, lambda: self._set_session(identity, SessionState.CLOSED))
        else:
            self._later(self.script.agent_leaves, lambda: self.remove(identity.raw))
        self._lose("call_helper")
        return "closing"

    async def remove_participant(self, room: Name, identity: Name) -> None:
        await self._answer("remove_participant", room.raw, identity.raw)
        if self.script.person_goes:
            leaver = self.remove(identity.raw)
            if leaver is None:
                raise MissingError("participant does not exist")
            self._later(self.script.person_returns, lambda: self.add(replace(leaver, sid=leaver.sid + "_again")))
        self._lose("remove_participant")

    async def delete_room(self, room: Name) -> None:
        await self._answer("delete_room", room.raw)
        if self.here is None:
            raise MissingError("requested room does not exist")
        if self.is_ghost:
            raise NoResponseError("no response (503)")
        if self.script.room_goes:
            back = replace(self.here, sid=self.here.sid + "_again", participants=(agent("starting"),))
            self.here = None
            self._later(self.script.room_returns, lambda: self._set(back))
        self._lose("delete_room")

    async def create_room(self, room: Name) -> Room:
        await self._answer("create_room", room.raw)
        if self.here is None:
            self.here = Room("RM_new", room, NOW, participants=())
        self.is_ghost = self.is_ghost and not self.script.taken_over
        self._later(self.script.agent_joins, lambda: self.add(agent("started")))
        self._lose("create_room")
        return self.here

    async def create_dispatch(self, room: Name, agent_name: str) -> Dispatch:
        await self._answer("create_dispatch", room.raw, agent_name)
        self._later(self.script.agent_joins, lambda: self.add(agent(agent_name or "automatic")))
        ordered = Dispatch("AD_new", Name.of(agent_name))
        self._lose("create_dispatch")
        return ordered

    async def delete_dispatch(self, room: Name, dispatch_id: str) -> None:
        await self._answer("delete_dispatch", room.raw, dispatch_id)
        if self.here is None:
            raise NoResponseError("no response (503)")
        order = next((one for one in self.here.dispatches or () if one.id == dispatch_id), None)
        if order is None:
            raise MissingError("dispatch ID not found")
        for job in order.jobs:
            identity = job.identity.raw
            self._later(self.script.agent_leaves, lambda identity=identity: self.remove(identity))  # type: ignore[misc]
        self._lose("delete_dispatch")

    # What happens by itself

    def recreate(self) -> None:
        if self.here is not None:
            self.here = replace(self.here, sid="RM_other", participants=(agent("other"),), dispatches=())

    def vanish(self) -> None:
        self.here = None

    def rejoin(self) -> None:
        if self.here is not None:
            again = tuple(replace(who, sid=who.sid + "_again") for who in self.here.participants or ())
            self.here = replace(self.here, participants=again)

    def everybody_leaves(self) -> None:
        if self.here is not None:
            self.here = replace(self.here, participants=())

    def add(self, who: Participant) -> None:
        if self.here is not None:
            self.here = replace(self.here, participants=(*(self.here.participants or ()), who))

    def remove(self, identity: str) -> Participant | None:
        if self.here is None:
            return None
        everyone = self.here.participants or ()
        self.here = replace(self.here, participants=tuple(p for p in everyone if p.identity.raw != identity))
        return next((p for p in everyone if p.identity.raw == identity), None)

    def order(self, *dispatches: Dispatch) -> None:
        if self.here is not None:
            self.here = replace(self.here, dispatches=dispatches)

    def _set_session(self, identity: Name, state: SessionState) -> None:
        if self.here is None:
            return
        changed = []
        for who in self.here.participants or ():
            if who.identity.raw == identity.raw and who.agent is not None:
                close = CloseReport("user_initiated") if state is SessionState.CLOSED else None
                changed.append(replace(who, agent=replace(who.agent, session=state, close=close)))
            else:
                changed.append(who)
        self.here = replace(self.here, participants=tuple(changed))

    def _set(self, back: Room) -> None:
        self.here = back

    def _later(self, seconds: float | None, what: Callable[[], object]) -> None:
        if seconds is not None:
            asyncio.get_running_loop().call_later(seconds, what)

    async def _answer(self, method: str, *arguments: str) -> None:
        number = self.made[method]
        self.made[method] += 1
        self.calls.append((method, *arguments))
        await asyncio.sleep(self.script.latency)
        if (event := self.script.events.get((method, number))) is not None:
            event(self)
        if (error := self.script.errors.get((method, number))) is not None:
            raise error

    def _lose(self, method: str) -> None:
        if (error := self.script.lost_answers.get(method)) is not None:
            raise error


# Carrying out


HELPED = room(person("alice"), person("bob"), agent("frontdesk"), dispatches=(dispatch("frontdesk"),))
PLAIN = room(person("alice"), agent("frontdesk", helper=False), dispatches=(dispatch("frontdesk"),))
TWO_AGENTS = room(
    person("alice"),
    agent("frontdesk"),
    agent("billing", helper=False),
    dispatches=(dispatch("frontdesk"), dispatch("billing", id="AD_2")),
)
WAITING = room(person("alice"))
GHOST = replace(room(person("alice"), agent("frontdesk")), ghost_since=NOW - 30)

CASES: dict[str, tuple[Room, Action, str | None]] = {
    "close session": (HELPED, Action.CLOSE_SESSION, None),
    "shut down by helper": (HELPED, Action.SHUT_DOWN_JOB, None),
    "shut down by dispatch": (PLAIN, Action.SHUT_DOWN_JOB, None),
    "kick": (HELPED, Action.KICK, "PA_alice"),
    "delete room": (HELPED, Action.DELETE_ROOM, None),
    "tear down": (TWO_AGENTS, Action.TEAR_DOWN, None),
    "dispatch agent": (WAITING, Action.DISPATCH_AGENT, None),
    "repair room": (GHOST, Action.REPAIR_ROOM, None),
}
every_action = pytest.mark.parametrize("case", CASES)


def planned(case: str) -> Plan:
    here, action, selected = CASES[case]
    return plan(action, here, selected, NOW, agent_name="plain" if action is Action.DISPATCH_AGENT else "")


@dataclass
class Carried:
    """What came of a plan."""

    record: ActionRecord
    published: list[ActionRecord]
    gateway: ScriptedGateway
    control: Control
    seconds: float

    @property
    def said(self) -> str:
        return " | ".join(step.text for step in self.record.steps)


def carry_out(made: Plan, here: Room | None, script: Script | None = None, patience: Patience | None = None) -> Carried:
    async def main() -> Carried:
        gateway = ScriptedGateway(here, script or Script())
        published: list[ActionRecord] = []
        control = Control(
            gateway, "mira", published.append, patience=patience or Patience(), clock=lambda: NOW + seconds()
        )
        record = await control.carry_out(made)
        return Carried(record, published, gateway, control, seconds())

    return in_virtual_time(main())


def carry_out_case(case: str, script: Script | None = None) -> Carried:
    return carry_out(planned(case), CASES[case][0], script)


def reads_before_the_first_change(case: str) -> list[tuple[str, int]]:
    """Each read as (method, number of the call), in an undisturbed run."""
    numbers: Counter[str] = Counter()
    found = []
    for method, *_ in carry_out_case(case).gateway.calls:
        if method in CHANGES:
            break
        found.append((method, numbers[method]))
        numbers[method] += 1
    return found
