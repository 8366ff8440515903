"""What an action on many marked targets will do, to how many, before anything is done: pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from tui.control.plan import Plan, plan
from tui.control.sentences import capital, disconnected
from tui.model.action import ENDS_ROOM, Action
from tui.model.phrases import count, who_counts
from tui.model.room import Room
from tui.model.text import safe_text

FEW = 3
"""More rooms than that are deleted only by whoever types how many there are."""

AGENTS_ACTIONS = frozenset({Action.CLOSE_SESSION, Action.SHUT_DOWN_JOB, Action.KICK})
"""Done to each agent of a marked room; to the participant, where one is marked."""

Marked = tuple[Room, str | None]
"""A room, or with an SID a participant in it."""


@dataclass(frozen=True, slots=True)
class ManyPlan:
    """The same action on many targets: the plans that can be carried out, and those that can't, each saying why.

    `effects` are sentences about all of them. `word` has to be typed to confirm; empty where nothing has.
    """

    action: Action
    plans: tuple[Plan, ...]
    blocked: tuple[Plan, ...]
    title: str
    effects: tuple[str, ...]
    word: str = ""


def plan_many(action: Action, marked: Iterable[Marked], now: float, *, agent_name: str = "") -> ManyPlan:
    """What `action` would do to all that is marked; `now` is seconds since 1970, `agent_name` as for `plan`.

    What is done to an agent is done to every agent of a marked room, what is done to a room once, however many of its
    participants are marked. A dispatch that ends several agents is deleted once.
    """
    rooms: dict[str, Room] = {}
    plans: list[Plan] = []
    blocked: list[Plan] = []
    dispatches: set[str] = set()
    if action not in AGENTS_ACTIONS:
        marked = [(room, None) for room in {room.sid: room for room, _ in marked}.values()]
    for room, sid in marked:
        rooms[room.sid] = room
        for each in _plans(action, room, sid, now, agent_name):
            if each.blocked:
                blocked.append(each)
                continue
            if each.dispatch is not None:
                if each.dispatch.id in dispatches:
                    continue
                dispatches.add(each.dispatch.id)
            plans.append(each)
    counted = _targets(action, plans)
    return ManyPlan(
        action,
        tuple(plans),
        tuple(blocked),
        f"{action.value.capitalize()}: {counted}",
        tuple(_effects(action, plans, rooms)),
        str(len(plans)) if action in ENDS_ROOM and len(plans) > FEW else "",
    )


def _plans(action: Action, room: Room, sid: str | None, now: float, agent_name: str) -> Iterator[Plan]:
    if sid is not None or action not in AGENTS_ACTIONS or not room.agents:
        yield plan(action, room, sid, now, agent_name=agent_name)
        return
    for agent in room.agents:
        yield plan(action, room, agent.participant.sid, now)


def _targets(action: Action, plans: Sequence[Plan]) -> str:
    if action in (Action.CLOSE_SESSION, Action.SHUT_DOWN_JOB):
        return count(sum(len(each.agents) for each in plans), "agent")
    if action is Action.KICK:
        return count(len(plans), "participant")
    return count(len(plans), "room")


def _effects(action: Action, plans: Sequence[Plan], rooms: dict[str, Room]) -> Iterator[str]:
    if not plans:
        yield "None of them can be done."
        return
    hit = [rooms[sid] for sid in dict.fromkeys(each.target.room_sid for each in plans)]
    match action:
        case Action.CLOSE_SESSION:
            yield f"{_targets(action, plans)} in {count(len(hit), 'room')}: the sessions are closed, everybody stays."
        case Action.SHUT_DOWN_JOB:
            yield from _shut_down_effects(plans, hit)
        case Action.KICK:
            targets = [each.target for each in plans]
            kicked = [rooms[target.room_sid].participant(target.participant_sid) for target in targets]
            who = disconnected((one for one in kicked if one is not None), f" in {count(len(hit), 'room')}")
            yield f"{who} Everybody else stays."
        case Action.DELETE_ROOM:
            yield from _all_disconnected(hit)
        case Action.TEAR_DOWN:
            agents = count(sum(len(each.agents) for each in plans), "agent")
            yield f"{agents}: where the helper runs the session is closed first; then the jobs are shut down."
            yield from _all_disconnected(hit)
        case Action.REPAIR_ROOM:
            listed = capital(who_counts(who for room in hit for who in room.participants or ()))
            yield f"{count(len(hit), 'ghost room')}: taken over by a node that is alive, which starts automatic agents;"
            yield f"then deleted, where nobody joined meanwhile. {listed} are listed there."
        case Action.DISPATCH_AGENT:
            name = safe_text(plans[0].agent_name)
            which = f"named {name}" if name else "without an agent name"
            yield f"A worker {which} is asked for an agent, for each of {count(len(hit), 'room')}."
        case inside:
            yield f"{capital(inside.value)}, in {count(len(hit), 'room')}: only where the session is looked into."


def _shut_down_effects(plans: Sequence[Plan], hit: Sequence[Room]) -> Iterator[str]:
    helped = sum(1 for each in plans if each.dispatch is None)
    orders = [each.dispatch for each in plans if each.dispatch is not None]
    if helped:
        yield f"{count(helped, 'agent')}: the jobs are shut down, the agents leave."
    if orders:
        jobs = count(sum(len(order.jobs) for order in orders), "job")
        yield f"{count(len(orders), 'dispatch is', 'dispatches are')} deleted, which ends {jobs}."
    yield f"The people in {count(len(hit), 'room')} stay."


def _all_disconnected(hit: Sequence[Room]) -> Iterator[str]:
    who = disconnected(who for room in hit for who in room.participants or ())
    yield f"{who} {count(len(hit), 'room is', 'rooms are')} gone after."
    unread = sum(1 for room in hit if room.participants is None)
    if unread:
        yield f"Who is in {count(unread, 'of these rooms', 'of these rooms')} is not known yet: more people may be hit."
