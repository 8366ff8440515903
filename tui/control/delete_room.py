"""Delete room: delete it, see it gone, and watch the name, because a starting agent brings a room back."""

from __future__ import annotations

from functools import partial

from tui.control.progress import Ending
from tui.control.work import WATCH_POLL_S, Work, seconds_now, took
from tui.gateway.errors import GatewayError
from tui.model.action import Action, Outcome
from tui.model.phrases import who_counts
from tui.model.room import Room


async def delete_room(work: Work) -> Ending:
    """Delete the room, which disconnects everyone in it."""
    await work.recheck()
    return await delete_and_watch(work)


async def delete_and_watch(work: Work) -> Ending:
    """DeleteRoom, verified, for a target that was re-checked just before.

    The name is watched for as long as it takes an agent in mid-join to bring the room back: at once, or some 15 s later
    (seen 6 times of 6 on livekit-server 1.13.5). That the SID is then another one is not relied on.
    """
    reply = await work.send("DeleteRoom", partial(work.gateway.delete_room, work.target.room))
    sent_at = seconds_now()

    async def gone() -> tuple[Room, ...] | None:
        rooms = await work.rooms_of_the_name()
        return None if any(room.sid == work.target.room_sid for room in rooms) else rooms

    rooms = await work.until(gone, work.patience.room_gone_s)
    if rooms is None:
        what = f"{work.target.room_sid} not seen to go from the list within {work.patience.room_gone_s:.0f} s"
        return work.not_proven(what, reply, *(work.plan.offers or (Action.DELETE_ROOM,)))
    work.progress.done()
    back = next(iter(rooms), None)
    if back is None:
        watched = f"{work.patience.watch_name_s:.0f} s"
        work.progress.say(f"gone from the list{reply.but}; watching the name for {watched}")
        work.only_watching()

        async def returned() -> Room | None:
            return next(iter(await work.rooms_of_the_name()), None)

        back = await work.until(returned, work.patience.watch_name_s, WATCH_POLL_S)
    if back is not None:
        under = f"came back as {back.sid}" if back.sid != work.target.room_sid else "came back under its own SID"
        who, prevented, offers = await _who(work)
        words = f"{under} after {took(seconds_now() - sent_at)}, with {who}{prevented}"
        return Ending(Outcome.CAME_BACK, words, (*offers, Action.DELETE_ROOM), came_back_sid=back.sid)
    if work.unread:
        return work.not_proven("gone, but whether it came back could not be read", reply)
    return Ending(Outcome.CONFIRMED, "confirmed: gone from the list, and did not come back")


async def _who(work: Work) -> tuple[str, str, tuple[Action, ...]]:
    """Who is in the room that came back, in words; what would have prevented it, and which of it can be done here."""
    try:
        here = await work.who_is_there()
    except GatewayError:
        return "nobody known yet", "", ()
    if not here:
        return "nobody in it yet", "", ()
    counts = who_counts(here)
    if any(who.is_person for who in here):
        return counts, ": who joins makes the room anew, unless the server has room.auto_create: false", ()
    prevented = ": a starting agent did that; tear down shuts its job down first"
    return f"{counts} and no people", prevented, (Action.TEAR_DOWN,)
