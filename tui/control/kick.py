"""Kick: remove one participant, and watch whether it comes back."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from tui.control.progress import Ending
from tui.control.shut_down_job import remedy
from tui.control.work import Reply, Work, seconds_now, took
from tui.model.action import Action, Outcome, Target
from tui.model.room import Kind, Participant
from tui.model.text import Name


async def kick(work: Work, kicked: Callable[[Target, Name], None]) -> Ending:
    """RemoveParticipant; `kicked` is called, with whom, once it is proven that we removed it."""
    who = work.target.identity
    if who is None:
        raise work.refused("no participant was selected")
    await work.recheck()
    reply = await remove_participant(work, who)
    sent_at = seconds_now()

    async def gone() -> tuple[Participant, ...] | None:
        here = await work.who_is_there()
        return None if any(p.sid == work.target.participant_sid for p in here) else here

    patience = work.patience.kicked_s
    here = await work.until(gone, patience)
    if here is None:
        return work.not_proven(f"{who} not seen to leave within {patience:.0f} s", reply, Action.KICK)
    work.progress.done()
    if not reply.missing:
        kicked(work.target, who)
    back = _under(who, here)
    if back is None:
        work.progress.say(f"gone from the list{reply.but}; watching for a return for {patience:.0f} s")
        work.only_watching()

        async def returned() -> Participant | None:
            nonlocal here
            here = await work.who_is_there()
            return _under(who, here)

        back = await work.until(returned, patience)
    if back is not None:
        prevented, offers = _prevention(back)
        words = f"{who} came back as {back.sid} after {took(seconds_now() - sent_at)}: {prevented}"
        return Ending(Outcome.CAME_BACK, words, (*offers, Action.KICK), came_back_sid=back.sid)
    if work.unread:
        return work.not_proven("gone, but whether it came back could not be read", reply)
    return Ending(Outcome.CONFIRMED, "confirmed: gone from the list, and did not come back", remedy(here))


async def remove_participant(work: Work, who: Name) -> Reply[None]:
    """RemoveParticipant, for one that was re-checked just before: it hits whoever has the identity then."""
    return await work.send("RemoveParticipant", partial(work.gateway.remove_participant, work.target.room, who))


def _prevention(back: Participant) -> tuple[str, tuple[Action, ...]]:
    """What would have kept it out, and which of it can be done from here."""
    if back.is_agent:
        return "it was sent again: what ends an agent for good is to shut its job down", (Action.SHUT_DOWN_JOB,)
    if back.kind is Kind.SIP:
        return "a kick is not a ban: only the SIP trunk or its dispatch rule keeps a caller out", ()
    # livekit-server does not look at `revoke_token_ts` (1.13.5).
    return "a kick is not a ban: only a token that has expired, or another API key, keeps it out", ()


def _under(identity: Name, here: tuple[Participant, ...]) -> Participant | None:
    return next((p for p in here if p.identity.raw == identity.raw), None)
