"""Close events and actions to and from JSON: one form, for the history, for files and for `lk-tui closes --json`.

It is a documented contract (docs/closes-json.md): fields may be added, never renamed or removed. What a newer lk-tui
wrote is read as far as it is understood.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, TypeVar

from tui.model.action import Action, ActionRecord, Batch, Outcome, Step, Target
from tui.model.causes import Cause, Verdict
from tui.model.close_phrases import close_words
from tui.model.closes import CloseEvent, Revision
from tui.model.evidence import Evidence, Fact, Source
from tui.model.phrases import outcome_words
from tui.model.room import SessionError
from tui.model.text import Name, safe_text

Json = Mapping[str, Any]
Choice = TypeVar("Choice", bound=StrEnum)

_LIMIT = 1_000
_LAST = datetime.max.replace(tzinfo=UTC).timestamp() - 1


def time_text(at: float) -> str:
    """Seconds since 1970 as UTC, ISO 8601 with milliseconds and `Z`; what is no moment of our era becomes its end."""
    moment = datetime.fromtimestamp(max(0.0, min(at, _LAST)), UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def close_json(event: CloseEvent) -> Json:
    """A close as docs/closes-json.md has it."""
    return {
        "at": time_text(event.at),
        "room": {"name": event.room.raw, "sid": event.room_sid},
        "agent": {"identity": event.identity.raw, "sid": event.participant_sid, "name": event.agent},
        "cause": event.cause.value,
        "could_be": [cause.value for cause in event.verdict.could_be],
        "text": close_words(event),
        "reason": event.reason or None,
        "error": _error_json(event.error),
        "by": event.by or None,
        "duration_s": round(event.duration, 3),
        "joined_at": time_text(event.began),
        "seen_at": time_text(event.seen),
        "dispatch": event.dispatch or None,
        "job": event.job or None,
        "worker": event.worker or None,
        "evidence": [_evidence_json(piece) for piece in event.evidence],
        "revisions": [{"at": time_text(revision.at), **_verdict_json(revision.before)} for revision in event.revisions],
    }


def close_json_over(kept: Json, event: CloseEvent) -> Json:
    """The close as it is written over `kept`: what a newer lk-tui had written there, and this one can't read, stays."""
    told = close_json(event)
    strange = [each for each in kept["evidence"] if not _is_known(each)]
    return {**kept, **told, "evidence": [*told["evidence"], *strange]}


def action_json(record: ActionRecord) -> Json:
    """What an operator did, step by step."""
    target = record.target
    identity = target.identity
    return {
        "at": time_text(record.at),
        "action": record.action.value,
        "room": {"name": target.room.raw, "sid": target.room_sid},
        "participant": {"identity": identity.raw, "sid": target.participant_sid} if identity is not None else None,
        "agent_name": target.agent_name or None,
        "by": record.operator,
        "outcome": record.outcome.value,
        "text": outcome_words(record),
        "sent": record.sent,
        "batch": _batch_json(record.batch),
        "steps": [
            {"at": time_text(step.at), "text": step.text, "outcome": step.outcome.value} for step in record.steps
        ],
    }


def _batch_json(batch: Batch | None) -> Json | None:
    return {"id": batch.id, "size": batch.size, "at": time_text(batch.at)} if batch is not None else None


def public_record(what: CloseEvent | ActionRecord) -> Json:
    """What can be a line of JSON: a close, or an action."""
    return close_json(what) if isinstance(what, CloseEvent) else action_json(what)


def close_from(said: Json) -> CloseEvent:
    """The close that `close_json` wrote. Raises ValueError where it is none."""
    try:
        room, agent = said["room"], said["agent"]
        return CloseEvent(
            Name.of(str(room["name"])),
            _text(room["sid"]),
            _text(agent["name"]),
            Name.of(str(agent["identity"])),
            _text(agent["sid"]),
            _at(said["joined_at"]),
            _at(said["seen_at"]),
            _text(said.get("dispatch")),
            _text(said.get("job")),
            _text(said.get("worker")),
            tuple(_evidence(said["evidence"])),
            _verdict(said),
            tuple(Revision(_at(each["at"]), _verdict(each)) for each in said.get("revisions", ())),
        )
    except (KeyError, TypeError, AttributeError, OverflowError) as error:
        raise ValueError(f"not a close event: {error!r}") from error


def _batch_from(said: Json | None) -> Batch | None:
    return Batch(_text(said["id"]), int(said["size"]), _at(said["at"])) if said is not None else None


def action_from(said: Json, record_id: int) -> ActionRecord:
    """The action that `action_json` wrote, under this id. Raises ValueError where it is none."""
    try:
        room, who = said["room"], said.get("participant")
        target = Target(
            Name.of(str(room["name"])),
            _text(room["sid"]),
            Name.of(str(who["identity"])) if who is not None else None,
            _text(who["sid"]) if who is not None else "",
            _text(said.get("agent_name")),
        )
        steps = tuple(
            Step(_at(step["at"]), _text(step["text"]), _choice(Outcome, step["outcome"]) or Outcome.RUNNING)
            for step in said["steps"]
        )
        return ActionRecord(
            record_id,
            Action(said["action"]),
            target,
            _text(said["by"]),
            _at(said["at"]),
            steps,
            _choice(Outcome, said["outcome"]) or Outcome.UNKNOWN,
            bool(said["sent"]),
            batch=_batch_from(said.get("batch")),
        )
    except (KeyError, TypeError, AttributeError, OverflowError) as error:
        raise ValueError(f"not an action: {error!r}") from error


# The parts


def _verdict_json(verdict: Verdict) -> Json:
    return {
        "cause": verdict.cause.value,
        "could_be": [cause.value for cause in verdict.could_be],
        "by": verdict.by or None,
    }


def _verdict(said: Json) -> Verdict:
    others = (_choice(Cause, each) for each in said.get("could_be") or ())
    return Verdict(
        _choice(Cause, said["cause"]) or Cause.UNKNOWN,
        _text(said.get("by")),
        tuple(each for each in others if each is not None),
    )


def _evidence_json(piece: Evidence) -> Json:
    told = {
        "at": time_text(piece.at),
        "source": piece.source.value,
        "fact": piece.fact.name.lower(),
        "reason": piece.reason,
        "by": piece.by,
        "who": piece.who,
        "error": _error_json(piece.error),
        "action": piece.action.value if piece.action is not None else None,
        "outcome": piece.outcome.value if piece.outcome is not None else None,
        "done_at": time_text(piece.done_at) if piece.done_at is not None else None,
    }
    return {key: value for key, value in told.items() if value}


_FACTS = {fact.name.lower(): fact for fact in Fact}


def _is_known(piece: Json) -> bool:
    return _choice(Source, piece["source"]) is not None and piece["fact"] in _FACTS


def _evidence(said: Iterable[Json]) -> Iterator[Evidence]:
    for each in said:
        if _is_known(each):
            yield Evidence(
                _at(each["at"]),
                Source(each["source"]),
                _FACTS[each["fact"]],
                _text(each.get("reason")),
                _text(each.get("by")),
                _text(each.get("who")),
                _error(each.get("error")),
                _choice(Action, each.get("action")),
                _choice(Outcome, each.get("outcome")),
                _at(each["done_at"]) if each.get("done_at") else None,
            )


def _error_json(error: SessionError | None) -> Json | None:
    return {"type": error.type, "source": error.source, "message": error.message} if error is not None else None


def _error(said: Json | None) -> SessionError | None:
    return SessionError(*(_text(said.get(key)) for key in ("type", "source", "message"))) if said else None


def _text(said: object) -> str:
    """Text of ours, safe as it was written; made safe again, because a file is anybody's."""
    return safe_text(str(said), _LIMIT) if said else ""


def _at(said: str) -> float:
    return datetime.fromisoformat(said).timestamp()


def _choice(kind: type[Choice], said: object) -> Choice | None:
    return next((each for each in kind if each.value == said), None)
