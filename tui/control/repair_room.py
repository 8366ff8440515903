"""Repair room: have a ghost room taken over by a node that is alive, so that it can be deleted.

A room whose node is dead is listed for ever, and DeleteRoom is not answered. CreateRoom with its name gives it to
another node, under its old SID, once the dead one has been silent for 5 s or so; then DeleteRoom works (livekit-server
1.13.5).
"""

from __future__ import annotations

import asyncio
from functools import partial

from tui.control.delete_room import delete_and_watch
from tui.control.progress import EndedError, Ending
from tui.control.work import Reply, Work
from tui.gateway.errors import NoResponseError
from tui.model.action import Action, Outcome
from tui.model.phrases import who_counts
from tui.model.room import Dispatch, Room


async def repair_room(work: Work) -> Ending:
    """CreateRoom, a pause for the agents that this starts, DeleteRoom; nothing where the node answers after all."""
    await _recheck_silence(work)
    before = {who.sid for who in await work.must_read(work.who_is_there)}
    await work.recheck()
    reply = await work.send("CreateRoom", partial(work.gateway.create_room, work.target.room))
    if reply.value is not None and reply.value.sid != work.target.room_sid:
        raise _created_another(work, reply.value)
    await _taken_over(work, reply)
    wait = work.patience.agents_start_s
    work.progress.say(f"a node answers for it again; {wait:.0f} s for agents that this starts to join, or they undo it")
    await asyncio.sleep(wait)
    await work.recheck()
    people = [who for who in await work.must_read(work.who_is_there) if who.sid not in before and who.is_person]
    if people:
        words = f"{who_counts(people)} joined meanwhile: the room is in use again, so it was not deleted"
        return Ending(Outcome.CAME_BACK, words, (Action.DELETE_ROOM,), came_back_sid=work.target.room_sid)
    return await delete_and_watch(work)


async def _recheck_silence(work: Work) -> None:
    """Go on only if the room's node still does not answer. Raises `EndedError`."""

    async def ask() -> bool:
        try:
            await work.gateway.list_dispatches(work.target.room)
        except NoResponseError:
            return False
        return True

    if await work.must_read(ask):
        raise work.refused("the room's node answers: it is no ghost", Action.DELETE_ROOM)
    work.progress.say("re-checked: the node that should hold it does not answer (503)")


async def _taken_over(work: Work, reply: Reply[Room]) -> None:
    """See that a node answers for the room. Raises `EndedError` if none does."""

    async def answered() -> tuple[Dispatch, ...] | None:
        return await work.gateway.list_dispatches(work.target.room)

    patience = work.patience.taken_over_s
    if await work.until(answered, patience) is None:
        what = f"no node was seen to take the room over within {patience:.0f} s, so it was not deleted"
        raise EndedError(work.not_proven(what, reply, Action.REPAIR_ROOM))


def _created_another(work: Work, room: Room) -> EndedError:
    """The ghost went between our re-check and CreateRoom, which then made a room of that name."""
    words = f"{work.target.room_sid} was gone: CreateRoom made {room.sid}, which is left to close by itself"
    return EndedError(Ending(Outcome.UNKNOWN, words, (Action.DELETE_ROOM,), came_back_sid=room.sid))
