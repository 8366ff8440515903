"""What an action will do, to whom, before anything is done: pure, from one picture of the room."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from tui.control.sentences import (
    all_disconnected,
    capital,
    job_words,
    left_without_agent,
    listed,
    may_come_back,
    what_ends_with,
    who_stays,
)
from tui.model.action import Action, Target
from tui.model.phrases import count, who_counts
from tui.model.room import Agent, Dispatch, Participant, Room, SessionState
from tui.model.text import safe_text

SAID_SHOWN = 400
"""Characters shown of what is to be said to an agent."""
LISTED_LATE_S = 5.0
"""LiveKit lists a dispatch's jobs up to so many seconds late."""

_NOT_READ = "Who is in the room is not known yet: try again in a moment."


@dataclass(frozen=True, slots=True)
class Plan:
    """An action on an exact target, in sentences to confirm, with all that carrying it out needs, frozen.

    `effects` say what will happen to whom, `warnings` what may go wrong. `blocked` says why it can't be done at all,
    and then there is nothing to confirm; `offers` are alternatives. `checked_at` is when the data behind it was read
    (seconds since 1970, None: never). `agents` are those the action ends, `dispatch` (with the jobs it had) is the one
    to delete, None where the helper is asked instead; `agent_name` is the raw name to dispatch, `text` what is said.
    """

    action: Action
    target: Target
    title: str
    effects: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    button: str = ""
    blocked: str = ""
    offers: tuple[Action, ...] = ()
    checked_at: float | None = None
    agents: tuple[Agent, ...] = ()
    dispatch: Dispatch | None = None
    agent_name: str = ""
    text: str = ""


def plan(
    action: Action,
    room: Room,
    participant_sid: str | None,
    now: float,
    *,
    agent_name: str = "",
    by_dispatch: bool = False,
    text: str = "",
) -> Plan:
    """What `action` on this room, or on the selected participant in it, would do; `now` is seconds since 1970.

    `agent_name` is the (raw) name to dispatch, empty for an automatic agent. `by_dispatch` shuts a job down by deleting
    its dispatch although the agent runs the helper: for a helper that was asked in vain. `text` is
    what is said to the agent.
    """
    match action:
        case Action.DISPATCH_AGENT:
            return _dispatch_agent(room, now, agent_name)
        case (
            Action.INSPECT_SESSION
            | Action.SILENCE_AGENT
            | Action.UNSILENCE_AGENT
            | Action.DEAFEN_AGENT
            | Action.UNDEAFEN_AGENT
            | Action.SAY_TO_AGENT
        ):
            agent = _agent_meant(action, room, participant_sid)
            return agent if isinstance(agent, Plan) else _inside(action, room, agent, text)
        case Action.CLOSE_SESSION:
            agent = _agent_meant(action, room, participant_sid)
            return agent if isinstance(agent, Plan) else _close_session(room, agent)
        case Action.SHUT_DOWN_JOB:
            agent = _agent_meant(action, room, participant_sid)
            if isinstance(agent, Plan):
                return agent
            return _ask_for_shut_down(room, agent) if _helped(agent) and not by_dispatch else _end_dispatch(room, agent)
        case Action.KICK:
            return _kick(room, participant_sid)
        case Action.DELETE_ROOM:
            return _delete_room(room, now)
        case Action.TEAR_DOWN:
            return _tear_down(room, now)
        case Action.REPAIR_ROOM:
            return _repair_room(room)


def _dispatch_agent(room: Room, now: float, agent_name: str) -> Plan:
    name = safe_text(agent_name)
    worker = f"A worker named {name}" if name else "An automatic worker (one without an agent name)"
    effects = [f"{worker} is asked to send an agent into the room."]
    warnings = []
    if room.participants is None:
        warnings.append("Who is in the room is not known yet.")
    elif not room.people:
        warnings.append("Nobody is waiting in this room.")
    else:
        waits = "wait" if len(room.people) > 1 else "waits"
        effects.append(f"{capital(who_counts(room.people))} {waits} there.")
    if room.agents:
        are = "is" if len(room.agents) == 1 else "are"
        warnings.append(f"{_names(room.agents)} {are} here already: there will be one agent more.")
    for order in room.dispatches or ():
        old = order.created_at is not None and now - order.created_at > LISTED_LATE_S
        if name and order.agent_name.raw == agent_name and not order.jobs and old:
            warnings.append(f"An earlier dispatch of that name, {order.id}, has no job: it found no worker.")
    return _plan(Action.DISPATCH_AGENT, room, effects, warnings, agent_name=agent_name)


def _inside(action: Action, room: Room, agent: Agent, text: str) -> Plan:
    """What is done from within a session: it goes on, and everybody stays."""
    name, of = agent.name, agent.participant
    if action is Action.INSPECT_SESSION:
        return blocked(action, room, "Looking inside a session changes nothing: there is nothing to confirm.", (), of)
    if agent.facts.session is SessionState.CLOSED:
        return blocked(action, room, f"{name}'s session is closed: nothing can be done inside it.", (), of)
    if action is Action.SAY_TO_AGENT and not text.strip():
        return blocked(action, room, f"Nothing is written that could be said to {name}.", (), of)
    effects = {
        Action.SILENCE_AGENT: [
            f"Nobody hears {name} any more: its session's audio output is switched off.",
            "It goes on listening, and answers in text.",
        ],
        Action.UNSILENCE_AGENT: [f"{name} is heard again: its session's audio output is switched on."],
        Action.DEAFEN_AGENT: [
            f"{name} hears nobody any more: its session's audio input is switched off.",
            "It may go on talking.",
        ],
        Action.UNDEAFEN_AGENT: [f"{name} hears again: its session's audio input is switched on."],
        Action.SAY_TO_AGENT: [
            f"{name}'s session takes this for the user's words: {safe_text(text, SAID_SHOWN)}",
            "What it is saying now is cut off, and it answers. Everybody in the room hears the answer.",
        ],
    }[action]
    lasts = action in (Action.SILENCE_AGENT, Action.DEAFEN_AGENT)
    warnings = ["It lasts until it is taken back, also after lk-tui has ended."] if lasts else []
    made = _plan(action, room, effects, warnings, participant=of, agents=(agent,))
    return replace(made, text=text)


def _close_session(room: Room, agent: Agent) -> Plan:
    if agent.facts.session is SessionState.CLOSED:
        why = f"{agent.name}'s session is closed already; the agent stays until its job is shut down."
        return blocked(Action.CLOSE_SESSION, room, why, (Action.SHUT_DOWN_JOB,), agent.participant)
    effects = [f"{agent.name} closes its session: it stops listening and talking. The agent and its job stay."]
    effects += who_stays(room, (agent.participant,))
    warnings = []
    if not _helped(agent):
        warnings.append(f"{agent.name} does not show that it runs the lk-tui helper: it may not be able to.")
    elif agent.facts.session is SessionState.CLOSING:
        warnings.append(f"{agent.name}'s session is closing already.")
    offers = () if _helped(agent) else (Action.SHUT_DOWN_JOB,)
    return _plan(
        Action.CLOSE_SESSION, room, effects, warnings, participant=agent.participant, agents=(agent,), offers=offers
    )


def _ask_for_shut_down(room: Room, agent: Agent) -> Plan:
    effects = [f"{agent.name} shuts its job down and leaves the room."]
    others = len(agent.dispatch.jobs) - 1 if agent.dispatch is not None else 0
    if agent.dispatch is not None and others > 0:
        effects.append(f"The dispatch {agent.dispatch.id} and its {count(others, 'other job')} go on.")
    effects += who_stays(room, (agent.participant,))
    return _plan(
        Action.SHUT_DOWN_JOB,
        room,
        effects,
        left_without_agent(room, (agent,)),
        participant=agent.participant,
        agents=(agent,),
    )


def _end_dispatch(room: Room, agent: Agent) -> Plan:
    dispatch = agent.dispatch
    if dispatch is None:
        late = f"LiveKit lists a job up to {LISTED_LATE_S:.0f} s late"
        only = "without its helper, an agent is shut down only by its dispatch"
        why = f"{agent.name}'s dispatch is not known yet ({late}), and {only}: try again in a moment."
        return blocked(Action.SHUT_DOWN_JOB, room, why, (Action.KICK,), agent.participant)
    ended = tuple(other for other in room.agents if other.dispatch is not None and other.dispatch.id == dispatch.id)
    jobs = len(dispatch.jobs)
    whose = listed(job_words(job, ended) for job in dispatch.jobs)
    which = "its job" if jobs == 1 else f"all its {jobs} jobs"
    effects = [f"The dispatch {dispatch.id} is deleted, which ends {which}: {whose}."]
    effects += who_stays(room, (other.participant for other in ended))
    warnings = []
    if jobs > 1:
        warnings.append(f"Not only {agent.name}'s job: {count(jobs - 1, 'other job')} of this dispatch will end too.")
    warnings += left_without_agent(room, ended)
    return _plan(
        Action.SHUT_DOWN_JOB,
        room,
        effects,
        warnings,
        participant=agent.participant,
        agents=ended,
        dispatch=dispatch,
    )


def _kick(room: Room, participant_sid: str | None) -> Plan:
    if room.participants is None:
        return blocked(Action.KICK, room, _NOT_READ)
    if participant_sid is None:
        return blocked(Action.KICK, room, "Select the participant to kick.")
    who = room.participant(participant_sid)
    if who is None:
        return blocked(Action.KICK, room, f"{participant_sid} is not in this room any more.")
    agent = room.agent(participant_sid)
    effects = [f"{agent.name if agent is not None else who.identity.safe} will be disconnected{what_ends_with(who)}."]
    warnings = []
    if agent is not None:
        effects.append("It has no time to say goodbye, and it does not come back by itself.")
        warnings += left_without_agent(room, (agent,))
    elif who.hidden:
        warnings.append("It is a hidden participant, an observer or a recorder: nobody in the room sees it.")
    else:
        warnings.append("A kick is not a ban: whoever has a valid token can rejoin at once.")
    effects += who_stays(room, (who,))
    agents = (agent,) if agent is not None else ()
    return _plan(Action.KICK, room, effects, warnings, participant=who, agents=agents)


def _delete_room(room: Room, now: float) -> Plan:
    warnings = may_come_back(room, now)
    open_ones = [a for a in room.agents if _helped(a) and a.facts.session is SessionState.OPEN]
    if open_ones:
        many = len(open_ones) > 1
        sessions = "sessions are open and end" if many else "session is open and ends"
        first = f"tear down closes {'them' if many else 'it'} first"
        warnings.append(f"{_names(open_ones)}'s {sessions} without a goodbye: {first}.")
    return _plan(
        Action.DELETE_ROOM, room, [all_disconnected(room)], warnings, agents=room.agents, offers=_if_ghost(room)
    )


def _tear_down(room: Room, now: float) -> Plan:
    if room.participants is None:
        why = "Who is in the room is not known yet, so no agent can be told first: try again in a moment."
        return blocked(Action.TEAR_DOWN, room, why, (Action.DELETE_ROOM,))
    effects = [_ends_first(agent) for agent in room.agents]
    if room.agents:
        effects.append("An agent that doesn't leave in time is kicked.")
    effects.append(all_disconnected(room))
    return _plan(Action.TEAR_DOWN, room, effects, may_come_back(room, now), agents=room.agents, offers=_if_ghost(room))


def _repair_room(room: Room) -> Plan:
    if room.ghost_since is None:
        why = "Only a ghost room is repaired: listed, while its node doesn't answer. This one was not found to be one."
        return blocked(Action.REPAIR_ROOM, room, why, (Action.DELETE_ROOM,))
    effects = [
        "CreateRoom has a node that is alive take the room over, under its SID; nobody in it comes back by that.",
        "That starts automatic agents in it. Once they have joined, DeleteRoom ends the room and them.",
        f"Who is listed in it goes from the list: {who_counts(room.participants or ())}.",
        "If people join meanwhile, it is not deleted.",
    ]
    warnings = [
        "Seen is only that its node doesn't answer.",
        "If it is cut off rather than dead, people may still talk there, in a room that no list shows any more.",
    ]
    return _plan(Action.REPAIR_ROOM, room, effects, warnings)


# What is meant


def _agent_meant(action: Action, room: Room, participant_sid: str | None) -> Agent | Plan:
    """The selected agent, or the room's only one; else the plan that says why there is none."""
    if room.participants is None:
        return blocked(action, room, _NOT_READ)
    if participant_sid is not None:
        selected = room.participant(participant_sid)
        if selected is None:
            return blocked(action, room, f"{participant_sid} is not in this room any more.")
        agent = room.agent(participant_sid)
        why = f"{selected.identity} is not an agent: select the agent."
        return agent if agent is not None else blocked(action, room, why, participant=selected)
    agents = room.agents
    if not agents:
        offers = (Action.DISPATCH_AGENT,) if room.people else ()
        return blocked(action, room, "There is no agent in this room.", offers)
    if len(agents) > 1:
        return blocked(action, room, f"There are {len(agents)} agents in this room: select the one that is meant.")
    return agents[0]


def _plan(
    action: Action,
    room: Room,
    effects: Iterable[str],
    warnings: Iterable[str],
    *,
    participant: Participant | None = None,
    agents: tuple[Agent, ...] = (),
    dispatch: Dispatch | None = None,
    agent_name: str = "",
    offers: tuple[Action, ...] = (),
) -> Plan:
    unread = _in_doubt(action, room)
    title = action.value.capitalize()
    return Plan(
        action,
        _target(room, participant, safe_text(agent_name)),
        title,
        tuple(effects),
        (*warnings, *unread),
        button=title,
        offers=offers,
        checked_at=room.checked_at,
        agents=agents,
        dispatch=dispatch,
        agent_name=agent_name,
    )


def blocked(
    action: Action, room: Room, why: str, offers: tuple[Action, ...] = (), participant: Participant | None = None
) -> Plan:
    """The plan of what can't be done, which says why."""
    target = _target(room, participant, "")
    return Plan(action, target, action.value.capitalize(), blocked=why, offers=offers, checked_at=room.checked_at)


def _target(room: Room, participant: Participant | None, agent_name: str) -> Target:
    if participant is None:
        return Target(room.name, room.sid, agent_name=agent_name)
    agent = room.agent(participant.sid)
    name = agent.name if agent is not None else ""
    return Target(room.name, room.sid, participant.identity, participant.sid, name)


def _if_ghost(room: Room) -> tuple[Action, ...]:
    """What to offer for a room that can't be deleted as it is."""
    return (Action.REPAIR_ROOM,) if room.ghost_since is not None else ()


def _in_doubt(action: Action, room: Room) -> tuple[str, ...]:
    """What makes the picture of the room, and so the whole plan, doubtful."""
    if room.ghost_since is None:
        return (f"The last attempt to read this room failed: {room.trouble}.",) if room.trouble else ()
    match action:
        case Action.REPAIR_ROOM:
            return ()
        case Action.DISPATCH_AGENT:
            return ("This is a ghost room, whose node doesn't answer: a dispatch starts it anew on another one.",)
        case _:
            return ("This is a ghost room, whose node doesn't answer: this is not likely to get through.",)


def _names(agents: Iterable[Agent]) -> str:
    return listed(agent.name for agent in agents)


def _helped(agent: Agent) -> bool:
    return bool(agent.facts.helper)


def _ends_first(agent: Agent) -> str:
    """How tearing down ends this agent, before the room."""
    if not _helped(agent):
        job = "its job is shut down" if agent.dispatch is not None else "it is kicked"
        return f"{agent.name} has no helper to close its session; {job}."
    closed = " already" if agent.facts.session is SessionState.CLOSED else ""
    return f"{agent.name}'s session is closed{closed}; its job is shut down."
