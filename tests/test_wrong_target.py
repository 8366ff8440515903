"""Whatever happens to rooms and people, and whatever is pressed: what reaches the server is what the dialog showed.

A state machine drives the dashboard, on the embedded demo server, while the world under it changes: rooms are recreated
under their names, people rejoin under their identities. Every change is judged on the wire, by the SID that the name it
carries has on the server at that moment.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiohttp import web
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from livekit.protocol import agent_dispatch as dispatch_pb
from livekit.protocol import room as room_pb

from tests.dashboard import Dashboard, dashboard, join, open_room, small_world
from tui.config import Config, Sources
from tui.control.plan import Plan
from tui.demo import DemoService, World
from tui.gateway.client import PROBE
from tui.model.action import Action, Outcome
from tui.model.patience import Patience
from tui.model.secret import Secret
from tui.settings import Connection
from tui.ui.bars import Where
from tui.ui.dialogs import ConfirmDialog
from tui.ui.many_dialogs import ConfirmManyDialog

Job = tuple[Callable[[], Awaitable[object]], asyncio.Future[object]]

NAMES = ("alpha", "bravo", "charlie", "delta", "echo", "foxtrot")
PEOPLE = ("ann", "bob")
HASTE = Patience(
    session_closed_s=0.6, agent_gone_s=0.6, kicked_s=0.3, room_gone_s=0.6, watch_name_s=0.3, dispatched_s=0.6
)
"""What is verified, and for how long, is proven elsewhere; here it only takes time."""
MOVES = ("j", "k", "g", "G", "s", "R", "p", "space", "m", "*", "u", "tab", "shift+tab", "enter", "escape")

KEYS = ("c", "x", "K", "D", "T")
TO_THE_ROOMS = ("escape", "escape", "escape", "g")
MARKS = ("*", "u space space", "space j m", "u s * R")
MEANWHILE = st.sampled_from(["nothing", "nothing", "recreated", "rejoined", "gone"])
CONFIRMED = st.sampled_from([True, True, False])


@dataclass(frozen=True)
class Change:
    """A change that reached the server: the call, and the SID (or the dispatch's id) of what it named then."""

    method: str
    hit: str


class Wire(DemoService):
    """The demo's server, which notes every change as it comes in."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.changes: list[Change] = []

    async def _twirp(self, request: web.Request) -> web.Response:
        change = self._change(request.match_info["method"], await request.read())
        if change is not None:
            self.changes.append(change)
        return await super()._twirp(request)

    def _change(self, method: str, body: bytes) -> Change | None:
        match method:
            case "DeleteRoom":
                return Change(method, self._room_sid(room_pb.DeleteRoomRequest.FromString(body).room))
            case "RemoveParticipant":
                who = room_pb.RoomParticipantIdentity.FromString(body)
                return Change(method, self._sid(who.room, who.identity))
            case "PerformRpc":
                call = room_pb.PerformRpcRequest.FromString(body)
                hit = self._sid(call.room, call.destination_identity)
                return None if call.method == PROBE else Change(call.method, hit)
            case "DeleteDispatch":
                return Change(method, dispatch_pb.DeleteAgentDispatchRequest.FromString(body).dispatch_id)
            case "ListRooms" | "ListParticipants" | "ListDispatch":
                return None
            case _:
                return Change(method, "nobody asked for this")

    def _room_sid(self, name: str) -> str:
        return next((room.info.sid for room in self.world.rooms([name])), "nothing")

    def _sid(self, room: str, identity: str) -> str:
        return next((who.sid for who in self.world.participants(room) if who.identity == identity), "nobody")


def allowed(plan: Plan) -> set[Change]:
    """What this plan may do, to whom."""
    agents = {agent.participant.sid for agent in plan.agents}
    close = {Change("lk-tui.close_session", sid) for sid in agents}
    shut_down = {Change("lk-tui.shut_down_job", sid) for sid in agents}
    match plan.action:
        case Action.CLOSE_SESSION:
            return close
        case Action.SHUT_DOWN_JOB:
            return {Change("DeleteDispatch", plan.dispatch.id)} if plan.dispatch is not None else shut_down
        case Action.KICK:
            return {Change("RemoveParticipant", plan.target.participant_sid)}
        case Action.DELETE_ROOM:
            return {Change("DeleteRoom", plan.target.room_sid)}
        case Action.TEAR_DOWN:
            orders = {agent.dispatch.id for agent in plan.agents if agent.dispatch is not None}
            ends = {Change("RemoveParticipant", sid) for sid in agents}
            ends |= {Change("DeleteDispatch", order) for order in orders}
            return close | shut_down | ends | {Change("DeleteRoom", plan.target.room_sid)}
        case _:
            return set()


@asynccontextmanager
async def on_wire(world: World) -> AsyncIterator[tuple[Wire, Dashboard]]:
    """A dashboard whose server notes what it is told."""
    wire = Wire(world)

    @asynccontextmanager
    async def connect() -> AsyncIterator[Connection]:
        async with wire:
            yield Connection(wire.url, wire.api_key, Secret(wire.api_secret), "demo", "a test")

    where = Where("demo", "starting …", "a test", demo=True)
    sources = Sources(0.25, 60_000, observe=0, inspect=False)
    async with dashboard(connect, where, sources=sources, config=Config(patience=HASTE)) as shown:
        await shown.wait_for("● live")
        yield wire, shown


class WrongTarget(RuleBasedStateMachine):
    """The world and the operator take turns."""

    def __init__(self) -> None:
        super().__init__()
        self._runner = asyncio.Runner()
        self._jobs: asyncio.Queue[Job | None] = asyncio.Queue()
        self.world = small_world()
        self._judged = 0
        self._driver = self._runner.get_loop().create_task(self._drive())
        self.do(self._started)

    # One task opens the dashboard, uses it and closes it, as Textual needs it.

    async def _drive(self) -> None:
        async with on_wire(self.world) as (self.wire, self.shown):
            while (job := await self._jobs.get()) is not None:
                what, done = job
                try:
                    done.set_result(await what())
                except BaseException as error:  # noqa: BLE001 - it is the rule's
                    done.set_exception(error)

    def do(self, what: Callable[[], Awaitable[object]]) -> None:
        """Do it in the dashboard's own task."""

        async def hand_over() -> None:
            done = self._runner.get_loop().create_future()
            self._jobs.put_nowait((what, done))
            await asyncio.wait({done, self._driver}, return_when=asyncio.FIRST_COMPLETED)
            if not done.done():
                self._driver.result()
            done.result()

        self._runner.run(hand_over())

    async def _started(self) -> None:
        return

    def teardown(self) -> None:
        """Close the dashboard."""

        async def close() -> None:
            self._jobs.put_nowait(None)
            await self._driver

        with self._runner:
            self._runner.run(close())

    # The world

    @initialize()
    def people_come(self) -> None:
        """Some rooms to begin with."""
        for name in NAMES[:4]:
            open_room(self.world, name, "ann", agents=[""] if name != "bravo" else ["billing"])
        self.do(self._caught_up)

    @rule(name=st.sampled_from(NAMES))
    def a_room_is_recreated(self, name: str) -> None:
        """Under its name, with another SID; or made."""
        self._recreate(name)

    @rule(name=st.sampled_from(NAMES))
    def a_room_ends(self, name: str) -> None:
        """It vanishes with everyone in it."""
        for room in self.world.rooms([name]):
            self.world._rooms.close(room)

    @rule(name=st.sampled_from(NAMES), identity=st.sampled_from(PEOPLE))
    def somebody_joins_or_rejoins(self, name: str, identity: str) -> None:
        """Under the identity, with another SID."""
        self._rejoin(name, identity)

    @rule(name=st.sampled_from(NAMES), identity=st.sampled_from(PEOPLE))
    def somebody_leaves(self, name: str, identity: str) -> None:
        """Whoever it is."""
        for who in self.world.participants(name):
            if who.identity == identity:
                self.world._rooms.leave(who)

    def _recreate(self, name: str) -> None:
        for room in self.world.rooms([name]):
            self.world._rooms.close(room)
        open_room(self.world, name, "ann", "bob")

    def _rejoin(self, name: str, identity: str) -> None:
        for room in self.world.rooms([name]):
            if (before := room.participants.get(identity)) is not None:
                self.world._rooms.leave(before)
            join(self.world, room, identity)

    # The operator

    @rule()
    def the_picture_catches_up(self) -> None:
        """Look until the screen shows what there is; otherwise it may be behind."""
        self.do(self._caught_up)

    async def _caught_up(self) -> None:
        def shows_all() -> bool:
            known = self.shown.main.newest.rooms
            return set(known) == {room.info.sid for room in self.world.rooms()} and all(
                known[room.info.sid].participants is not None
                and {who.sid for who in known[room.info.sid].participants or ()}
                == {who.sid for who in room.participants.values()}
                for room in self.world.rooms()
            )

        await self.shown.wait_for(shows_all)

    @rule(keys=st.lists(st.sampled_from(MOVES), min_size=1, max_size=4))
    def keys_are_pressed(self, keys: list[str]) -> None:
        """Move, sort, mark, pause, open, go back."""

        async def press() -> None:
            await self.shown.press(*keys)
            await self._back_to_main()

        self.do(press)

    @rule(text=st.sampled_from(["a", "l", "alpha", "zzz"]))
    def a_filter_is_typed(self, text: str) -> None:
        """Some rooms are hidden by it, marked ones too."""

        async def type_it() -> None:
            await self.shown.press("slash", *text, "enter")

        self.do(type_it)

    @rule(key=st.sampled_from(KEYS), meanwhile=MEANWHILE, confirmed=CONFIRMED)
    def something_is_asked_for(self, key: str, meanwhile: str, *, confirmed: bool) -> None:
        """An action's key, wherever one is; while its dialog is open, things may happen to the very target."""
        self.do(lambda: self._ask(key, meanwhile, confirmed=confirmed))

    @rule(down=st.integers(0, 4), key=st.sampled_from(KEYS), meanwhile=MEANWHILE, confirmed=CONFIRMED)
    def a_room_is_asked_for(self, down: int, key: str, meanwhile: str, *, confirmed: bool) -> None:
        """One of the rooms, without a filter, an action on it."""
        self.do(lambda: self._ask(key, meanwhile, *TO_THE_ROOMS, *"j" * down, confirmed=confirmed))

    @rule(down=st.integers(0, 4), key=st.sampled_from(["K", "c", "x"]), meanwhile=MEANWHILE, confirmed=CONFIRMED)
    def a_participant_is_asked_for(self, down: int, key: str, meanwhile: str, *, confirmed: bool) -> None:
        """One of the participants of a room."""
        way = (*TO_THE_ROOMS, *"j" * (down % 3), "enter", *"j" * (down // 2))
        self.do(lambda: self._ask(key, meanwhile, *way, confirmed=confirmed))

    @rule(marks=st.sampled_from(MARKS), key=st.sampled_from(KEYS), meanwhile=MEANWHILE, confirmed=CONFIRMED)
    def many_are_asked_for(self, marks: str, key: str, meanwhile: str, *, confirmed: bool) -> None:
        """Several rooms are marked, and an action's key pressed."""
        self.do(lambda: self._ask(key, meanwhile, *TO_THE_ROOMS, *marks.split(), confirmed=confirmed))

    async def _ask(self, key: str, meanwhile: str, *way: str, confirmed: bool) -> None:
        shown, before, known = self.shown, len(self.wire.changes), len(self.shown.app.records)
        await shown.press(*way)
        await shown.press(key)
        dialog = shown.screen
        if not isinstance(dialog, ConfirmDialog | ConfirmManyDialog):
            await self._back_to_main()
            assert len(self.wire.changes) == before
            return
        plans = (dialog.plan,) if isinstance(dialog, ConfirmDialog) else dialog.many.plans
        plans = tuple(plan for plan in plans if not plan.blocked)
        await shown.wait_for(lambda: shown.focused in {"cancel", "word"})
        if isinstance(dialog, ConfirmDialog) and plans:
            said = shown.said
            assert plans[0].target.room.safe in said
            assert (plans[0].target.participant_sid or plans[0].target.room_sid) in said
        for plan in plans:
            self._happen(plan, meanwhile)
        if confirmed and plans:
            await self._confirm(dialog)
        else:
            await shown.press("escape")
        await self._back_to_main()
        await shown.wait_for(lambda: not shown.app._tasks)
        self._judge(plans if confirmed else (), self.wire.changes[before:])
        for record in shown.app.records[known:]:
            if meanwhile == "recreated" or (meanwhile == "rejoined" and str(record.target.identity) in PEOPLE):
                assert record.outcome is Outcome.REFUSED, record

    def _happen(self, plan: Plan, meanwhile: str) -> None:
        target = plan.target
        match meanwhile:
            case "recreated":
                self._recreate(target.room.raw)
            case "rejoined" if target.identity is not None and target.identity.raw in PEOPLE:
                self._rejoin(target.room.raw, target.identity.raw)
            case "gone":
                for room in self.world.rooms([target.room.raw]):
                    self.world._rooms.close(room)

    async def _confirm(self, dialog: ConfirmDialog | ConfirmManyDialog) -> None:
        if isinstance(dialog, ConfirmManyDialog) and dialog.many.word:
            await self.shown.press(*dialog.many.word, "enter")
        else:
            await self.shown.press("right", "enter")

    async def _back_to_main(self) -> None:
        for _ in range(6):
            if self.shown.screen is self.shown.main:
                return
            await self.shown.press("escape")
        assert self.shown.screen is self.shown.main, self.shown.text

    # The judgement

    def _judge(self, plans: tuple[Plan, ...], changes: list[Change]) -> None:
        """Nothing but what was confirmed, and each at most once."""
        may = set[Change]().union(*map(allowed, plans))
        assert set(changes) <= may, (changes, plans)
        assert len(changes) == len(set(changes)), changes
        self._judged += len(changes)

    @invariant()
    def nothing_is_sent_by_itself(self) -> None:
        """Nothing changes the server but what an operator has confirmed."""
        assert len(self.wire.changes) == self._judged


def test_no_change_hits_anything_but_what_the_dialog_showed() -> None:
    run_state_machine_as_test(
        WrongTarget,
        settings=settings(
            max_examples=12,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            # To make an example smaller it would have to be the same twice, and this one runs against a clock.
            phases=[Phase.generate],
        ),
    )
