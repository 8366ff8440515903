"""How long an action watches for what it was told has happened."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds. Where the time runs out without proof, the outcome is unknown, never success."""

    session_closed_s: float = 10.0
    """until an agent that was asked to close its session publishes that it is closed"""
    agent_gone_s: float = 5.0
    """until agents whose job was shut down are gone from the list; hung ones took 4.4 s by DeleteDispatch, which
    answers after 3 s; tear down then kicks those that are left"""
    kicked_s: float = 3.0
    """until a kicked participant is gone from the list, and after that how long its return is watched for"""
    room_gone_s: float = 5.0
    """until a deleted room is gone from the list"""
    watch_name_s: float = 20.0
    """how long a deleted room's name is watched: a starting agent brings the room back within 15 s or so"""
    dispatched_s: float = 10.0
    """until a dispatched agent is in the room; with a free worker it takes 0.3 s"""
    taken_over_s: float = 5.0
    """until a node answers for a ghost room that is being repaired; at once, where it does at all"""
    agents_start_s: float = 3.0
    """how long agents that a repair starts get to join, before the room is deleted: one in mid-join brings it back"""
