"""The three ideas that every action is made of: re-check the target, send one change, look until the lists prove it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from tui.control.names import RoomsByName
from tui.control.plan import Plan
from tui.control.progress import EndedError, Ending, Progress
from tui.gateway.client import Gateway
from tui.gateway.errors import (
    UNPROVEN,
    GatewayError,
    MissingError,
    NotLiveKitError,
    RateLimitedError,
    ReadOnlyError,
)
from tui.gateway.inspector import Inspector
from tui.model.action import Action, Outcome, Target
from tui.model.patience import Patience
from tui.model.room import Participant, Room

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

_GONE_IS_DONE = frozenset({Action.SHUT_DOWN_JOB, Action.KICK, Action.DELETE_ROOM, Action.TEAR_DOWN, Action.REPAIR_ROOM})
"""Actions whose aim is reached when the target is gone before they begin."""

POLL_S = 0.25
"""Between two looks at the lists."""
WATCH_POLL_S = 1.0
"""Between two looks while a name is watched, which is long and has no hurry."""
_QUIET_S = 5.0
"""Between two looks at a server that limits our requests and doesn't say for how long."""


@dataclass(frozen=True, slots=True)
class Reply(Generic[T_co]):
    """What came of a change that was sent, before the lists are asked: a success code is no proof.

    `missing`: the server said 404, so there was nothing left to change. `doubt`: there was no proper answer, and why.
    """

    value: T_co | None = None
    missing: bool = False
    doubt: str = ""

    @property
    def but(self) -> str:
        """To end a sentence about what the lists say, where they say more than the answer did."""
        return f" (although: {self.doubt})" if self.doubt else ""


class Work:
    """One plan being carried out on a server. What is done and seen goes into the action's record."""

    def __init__(
        self,
        gateway: Gateway,
        names: RoomsByName,
        plan: Plan,
        progress: Progress,
        patience: Patience,
        only_watching: Callable[[], None] = lambda: None,
        inspector: Inspector | None = None,
    ) -> None:
        self.gateway = gateway
        self.inspector = inspector
        """the sessions that are looked into, if any can be"""
        self.plan = plan
        self.progress = progress
        self.patience = patience
        self.only_watching = only_watching
        """to be called once nothing is changed any more: of many actions, another one may begin"""
        self.unread = ""
        """why the latest look at the lists failed; empty if it didn't"""
        self._names = names

    @property
    def target(self) -> Target:
        """What the action is aimed at."""
        return self.plan.target

    # What is there

    async def rooms_of_the_name(self) -> tuple[Room, ...]:
        """The rooms that have the target's name now: none or one."""
        return await self._names.of(self.target.room.raw)

    async def who_is_there(self) -> tuple[Participant, ...]:
        """Everyone in the target's room; a missing room holds nobody (LiveKit Cloud says 404 for it)."""
        try:
            return await self.gateway.list_participants(self.target.room)
        except MissingError:
            return ()

    # Re-check

    async def recheck(self) -> None:
        """Go on only if the very room is there, and in it the very participant, that the operator saw.

        Raises `EndedError`: refused if the target changed, but came back if the room did so after something was done;
        if it is gone, done or refused, whichever it means for the action; failed if the server can't be asked.
        """
        target = self.target
        rooms = await self.must_read(self.rooms_of_the_name)
        if all(room.sid != target.room_sid for room in rooms):
            if rooms:
                raise self._recreated(rooms[0])
            raise self._gone(f"the room {target.room} ({target.room_sid})")
        if target.identity is None:
            self.progress.say(f"re-checked: {target.room_sid} is still {target.room}")
            return
        here = await self.must_read(self.who_is_there)
        if all(who.sid != target.participant_sid for who in here):
            again = next((who for who in here if who.identity.raw == target.identity.raw), None)
            if again is not None:
                raise self.refused(f"{target.identity} rejoined as {again.sid} since you looked")
            raise self._gone(f"{target.identity} ({target.participant_sid})")
        self.progress.say(f"re-checked: {target.participant_sid} is still {target.identity} in {target.room}")

    async def must_read(self, read: Callable[[], Awaitable[T]]) -> T:
        """What has to be known before a change is sent. Raises `EndedError` (failed) if it can't be read."""
        self.progress.checkpoint()
        try:
            return await read()
        except GatewayError as error:
            words = f"the target could not be re-checked: {error}; {self.progress.not_sent}"
            raise EndedError(Ending(Outcome.FAILED, words)) from None

    def refused(self, why: str, *offers: Action) -> EndedError:
        """The end of an action whose target isn't what the operator saw."""
        return EndedError(Ending(Outcome.REFUSED, f"{why}: {self.progress.not_sent}", offers))

    def _recreated(self, room: Room) -> EndedError:
        if self.progress.changed:
            # Refused would say that nothing was: the sessions that were closed here would be nobody's doing.
            words = f"came back as {room.sid}: {self.progress.not_sent}"
            return EndedError(Ending(Outcome.CAME_BACK, words, (Action.DELETE_ROOM,), came_back_sid=room.sid))
        return self.refused(f"{self.target.room} was recreated as {room.sid} since you looked")

    def _gone(self, what: str) -> EndedError:
        done = self.plan.action in _GONE_IS_DONE
        outcome = Outcome.CONFIRMED if done else Outcome.REFUSED
        return EndedError(Ending(outcome, f"{what} was already gone: {self.progress.not_sent}"))

    # Send

    async def send(self, what: str, change: Callable[[], Awaitable[T]]) -> Reply[T]:
        """Send one change, once. A reply, even a doubtful one, has to be verified from the lists.

        Raises `EndedError`: refused if lk-tui is read-only; failed if the server said no.
        """
        self.progress.checkpoint()
        self.progress.sending(what)
        begun = seconds_now()
        try:
            value = await change()
        except MissingError:
            self.progress.say(f"{what}: there was nothing any more (404)")
            return Reply(missing=True)
        except (*UNPROVEN, NotLiveKitError) as error:
            self.progress.changed.append(what)
            self.progress.say(f"{what}: {error}; asking the lists what came of it")
            return Reply(doubt=str(error))
        except ReadOnlyError as error:
            self.progress.sent_nothing()
            raise EndedError(Ending(Outcome.REFUSED, str(error))) from None
        except GatewayError as error:
            raise EndedError(Ending(Outcome.FAILED, f"{what} failed: {error}")) from None
        self.progress.changed.append(what)
        self.progress.say(f"{what} answered OK in {took(seconds_now() - begun)}")
        return Reply(value)

    # Look

    async def until(self, look: Callable[[], Awaitable[T | None]], seconds: float, pause: float = POLL_S) -> T | None:
        """What `look` finds, asked again and again for so many seconds, the last time at their end; None if nothing.

        `pause` is the time between two looks, in seconds.

        A look that fails proves nothing and is tolerated: `unread` then says why. Raises `EndedError` on a stop.
        """
        deadline = seconds_now() + seconds
        while True:
            self.progress.checkpoint()
            last = seconds_now() >= deadline
            # In step with all others that look as often, so that they can share a request.
            wait = pause - seconds_now() % pause
            try:
                found = await look()
                self.unread = ""
            except GatewayError as error:
                found = None
                self.unread = str(error)
                if isinstance(error, RateLimitedError):
                    wait = max(pause, error.retry_after or _QUIET_S)
            if found is not None or last:
                return found
            await asyncio.sleep(min(wait, max(0.0, deadline - seconds_now())))

    def not_proven(self, what: str, reply: Reply[object], *offers: Action) -> Ending:
        """The end of an action whose effect the lists didn't show in time."""
        why = self.unread or reply.doubt
        return Ending(Outcome.UNKNOWN, f"{what}{': ' + why if why else ''}", offers)


def took(seconds: float) -> str:
    """A short length of time: `4 ms`, `3.0 s`."""
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


def seconds_now() -> float:
    """Seconds on a clock that nobody sets, for lengths of time only."""
    return asyncio.get_running_loop().time()
