"""The commands that change something without the dashboard: a plan, carried out after it was confirmed, and what became
of it, as text or JSON.

The JSON is a documented contract (docs/actions-json.md).
"""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from tui.control.control import Control
from tui.control.plan import Plan, blocked
from tui.control.plan_many import ManyPlan, plan_many
from tui.gateway.client import Gateway
from tui.history.codec import Json, action_json, time_text
from tui.history.store import History
from tui.model.action import Action, ActionRecord, Outcome
from tui.model.patience import Patience
from tui.model.signs import Thresholds
from tui.oneshot.choose import Choice, choose
from tui.settings import Connection

DONE, FAILED, REFUSED = 0, 1, 5
"""Exit codes: done and verified; something failed or is unproven; something was refused."""


async def plan_for(
    connection: Connection, action: Action, choice: Choice, thresholds: Thresholds, budget: int
) -> ManyPlan:
    """What the action would do to all that is chosen. Raises GatewayError. Nothing is changed."""
    async with Gateway(connection.url, connection.api_key, connection.api_secret, read_only=True) as gateway:
        chosen = await choose(gateway, choice, thresholds, budget)
    many = plan_many(action, choice.targets(action, chosen.rooms), chosen.snapshot.at)
    why = "It could not be read often enough to tell whether it shows the sign."
    return replace(many, blocked=(*many.blocked, *(blocked(action, room, why) for room in chosen.unproven)))


async def carry_out(
    connection: Connection,
    many: ManyPlan,
    operator: str,
    *,
    patience: Patience,
    history: Path | None,
    say: Callable[[str], None],
) -> tuple[ActionRecord, ...]:
    """Carry the plans out, each re-checked and verified; return their records. `say` is told of every step.

    Ctrl+C stops it between two steps: what was not begun is not begun. A second one ends it as it stands.
    """
    kept = History(history, connection.url) if history is not None else None
    steps: dict[int, int] = {}

    def tell(words: str) -> None:
        # Whoever reads along may go (`| head`): what was begun is carried out to its end all the same.
        with suppress(OSError):
            say(words)

    def publish(record: ActionRecord) -> None:
        if kept is not None:
            kept.record_action(record)
        for step in record.steps[steps.get(record.id, 0) :]:
            tell(f"{target_words(record)}: {step.text}")
        steps[record.id] = len(record.steps)

    try:
        async with Gateway(connection.url, connection.api_key, connection.api_secret) as gateway:
            control = Control(gateway, operator, publish, patience=patience)
            with _stopped_by_interrupt(control, tell):
                return await control.carry_out_many(many)
    finally:
        if kept is not None:
            await kept.close()
            if kept.status.trouble:
                tell(f"not kept in the history: {kept.status.words}")


@contextmanager
def _stopped_by_interrupt(control: Control, say: Callable[[str], None]) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()

    def interrupt() -> None:
        if task is not None:
            loop.remove_signal_handler(signal.SIGINT)
            loop.add_signal_handler(signal.SIGINT, task.cancel)
        say(f"stopping {control.stop_all()} actions between two steps; Ctrl+C again ends at once, unverified")

    loop.add_signal_handler(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGINT)


def exit_code(many: ManyPlan, records: Sequence[ActionRecord] | None) -> int:
    """How the command ends: the worst of what became of the targets; without records, of what can't be done."""
    if records is None:
        return REFUSED if many.blocked else DONE
    outcomes = {record.outcome for record in records}
    if len(records) < len(many.plans) or outcomes - {Outcome.CONFIRMED, Outcome.REFUSED}:
        return FAILED
    return REFUSED if many.blocked or Outcome.REFUSED in outcomes else DONE


# As text


def plan_lines(many: ManyPlan) -> Iterator[str]:
    """What is going to happen, to what, and what can't be done."""
    yield many.title
    for effect in many.effects:
        yield f"  {effect}"
    for each in many.plans:
        yield ""
        yield f"  {target_words(each)}"
        yield from (f"    {effect}" for effect in each.effects)
        yield from (f"    ! {warning}" for warning in each.warnings)
    for each in many.blocked:
        yield ""
        yield f"  {target_words(each)}"
        yield f"    can't be done: {each.blocked}"


def result_lines(records: Sequence[ActionRecord]) -> Iterator[str]:
    """One line a target: how it ended, and in what words."""
    for record in records:
        yield f"{record.outcome.value:<15}  {target_words(record)}: {record.last.removeprefix('confirmed: ')}"


def target_words(of: Plan | ActionRecord) -> str:
    """Whom it is about, by name and SID."""
    target = of.target
    room = f"{target.room}  {target.room_sid}"
    if target.identity is None:
        return room
    return f"{target.agent_name or target.identity}  {target.participant_sid} in {room}"


# As JSON


def as_json(many: ManyPlan, records: Sequence[ActionRecord] | None, server: str, now: float) -> str:
    """The JSON document, indented; without records, of what would be done."""
    ended = {(record.target.room_sid, record.target.participant_sid): record for record in records or ()}
    targets = [_target(each, ended.get((each.target.room_sid, each.target.participant_sid))) for each in many.plans]
    targets += [_target(each, None) for each in many.blocked]
    document = {
        "at": time_text(now),
        "server": server,
        "action": many.action.value,
        "dry_run": records is None,
        "exit_code": exit_code(many, records),
        "targets": targets,
    }
    return json.dumps(document, indent=2)


def _target(made: Plan, record: ActionRecord | None) -> Json:
    target = made.target
    who = {"identity": target.identity.raw, "sid": target.participant_sid} if target.identity is not None else None
    return {
        "room": {"name": target.room.raw, "sid": target.room_sid},
        "participant": who,
        "agents": [
            {"identity": agent.participant.identity.raw, "sid": agent.participant.sid, "name": agent.name}
            for agent in made.agents
        ],
        "effects": list(made.effects),
        "warnings": list(made.warnings),
        "blocked": made.blocked or None,
        "done": action_json(record) if record is not None else None,
    }
