"""The end of a session in words: on one line for the log, as a story for an incident call."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tui.model.action import Action
from tui.model.causes import Cause, Verdict
from tui.model.closes import CloseEvent
from tui.model.evidence import Evidence, Fact, Source
from tui.model.phrases import Tone
from tui.model.room import SessionError

CAUSE_WORDS = {
    Cause.CLOSED_BY_OPERATOR: "session closed by operator",
    Cause.CLOSED_BY_CODE: "session closed by the agent's code",
    Cause.USER_LEFT: "user left",
    Cause.TASK_COMPLETED: "task completed",
    Cause.ERROR: "error",
    Cause.SHUT_DOWN_BY_OPERATOR: "job shut down by operator",
    Cause.SHUT_DOWN_BY_CODE: "job shut down by its code",
    Cause.DISPATCH_DELETED: "dispatch deleted by someone",
    Cause.WORKER_STOPPED: "worker stopped",
    Cause.KICKED_BY_OPERATOR: "kicked by operator",
    Cause.KICKED_BY_SOMEONE: "kicked by someone",
    Cause.ROOM_DELETED_BY_OPERATOR: "room deleted by operator",
    Cause.ROOM_DELETED_BY_SOMEONE: "room deleted by someone",
    Cause.TORN_DOWN_BY_OPERATOR: "torn down by operator",
    Cause.ROOM_ENDED_EMPTY: "room ended empty",
    Cause.AGENT_LOST: "agent lost: crashed or hung",
    Cause.SERVER_SHUTDOWN: "server shut down",
    Cause.DUPLICATE_IDENTITY: "replaced under its identity",
    Cause.UNKNOWN: "cause unknown",
}
"""Each cause as a person says it."""

_OR = {
    Cause.CLOSED_BY_CODE: "closed by its code",
    Cause.USER_LEFT: "user left",
    Cause.ERROR: "an error",
    Cause.SHUT_DOWN_BY_CODE: "shut down by its code",
    Cause.DISPATCH_DELETED: "dispatch deleted",
    Cause.WORKER_STOPPED: "worker stopped",
    Cause.KICKED_BY_SOMEONE: "kicked",
    Cause.ROOM_DELETED_BY_SOMEONE: "deleted by someone",
    Cause.ROOM_ENDED_EMPTY: "ended empty",
    Cause.AGENT_LOST: "lost",
    Cause.SERVER_SHUTDOWN: "server shut down",
}
"""Shorter, for one of several."""

_HOW_PEOPLE_LEAVE = {
    "CLIENT_INITIATED": "hung up",
    "CONNECTION_TIMEOUT": "connection lost",
    "SIGNAL_CLOSE": "connection lost",
    "MEDIA_FAILURE": "connection lost",
    "PARTICIPANT_REMOVED": "kicked",
    "DUPLICATE_IDENTITY": "joined again elsewhere",
    "ROOM_DELETED": "room deleted",
    "USER_REJECTED": "call rejected",
    "USER_UNAVAILABLE": "unavailable",
    "SIP_TRUNK_FAILURE": "SIP trunk failed",
}
_WITH_THE_USER_S = 5.0
"""A person who left within this time of a session that closed for it is the one it closed for."""


def close_words(event: CloseEvent) -> str:
    """Why the session ended, on one line, with what can't be told apart, and what was said before if that differed."""
    words = verdict_words(event.verdict)
    error = event.error
    if event.cause is Cause.ERROR and error is not None:
        words = f"error: {error_words(error)}"
    elif event.cause is Cause.USER_LEFT and (user := _user(event)) is not None:
        how = _HOW_PEOPLE_LEAVE.get(user.reason, reason_words(user.reason))
        words = f"user left{': ' + how if how else ''}"
    elif event.cause is Cause.UNKNOWN and not event.verdict.could_be and (told := _server_said(event)):
        words = f"{words}: {told}"
    elif event.cause is Cause.SHUT_DOWN_BY_CODE and (why := _shutdown_reason(event)):
        words = f"{words}: {why}"
    if not event.agent_gone:
        words += ", agent stays"
    return words + _was(event)


def verdict_words(verdict: Verdict) -> str:
    """A verdict without the event's details: its cause, and what it could be as well."""
    others = _either(_OR.get(cause, CAUSE_WORDS[cause]) for cause in verdict.could_be)
    words = CAUSE_WORDS[verdict.cause]
    if not others:
        return words
    return f"unknown: {others}" if verdict.cause is Cause.UNKNOWN else f"{words}, or {others}"


def error_words(error: SessionError) -> str:
    """The error in the agent's words: what failed, how, and the message."""
    what = " ".join(part for part in (error.source, error.type) if part)
    return ", ".join(part for part in (what, error.message) if part) or "without a message"


def reason_words(reason: str) -> str:
    """LiveKit's `PARTICIPANT_REMOVED` as `participant removed`."""
    return reason.replace("_", " ").lower()


def cause_tone(cause: Cause) -> Tone:
    """Errors and losses stand out; our own deeds are marked as ours; what is not known asks for a look."""
    if cause in (Cause.ERROR, Cause.AGENT_LOST):
        return Tone.TROUBLE
    if cause.value.endswith("_by_operator"):
        return Tone.OURS
    return Tone.NOTICE if cause in _ASK else Tone.PLAIN


_ASK = frozenset({Cause.UNKNOWN, Cause.KICKED_BY_SOMEONE, Cause.SERVER_SHUTDOWN, Cause.DUPLICATE_IDENTITY})


def timeline(event: CloseEvent) -> Sequence[tuple[float, str]]:
    """The whole story, one sentence a piece of evidence and a change of mind, in the order of time."""
    lines = [(event.began, f"{event.agent} joined {event.room.safe}")]
    lines += [(piece.at, f"{_SAYS[piece.source]}: {evidence_words(piece)}") for piece in event.evidence]
    verdicts = [revision.before for revision in event.revisions] + [event.verdict]
    lines += [
        (revision.at, f"lk-tui: so not “{verdict_words(revision.before)}” but “{verdict_words(after)}”")
        for revision, after in zip(event.revisions, verdicts[1:], strict=True)
    ]
    return sorted(lines, key=lambda line: line[0])


_SAYS = {
    Source.POLLING: "polling",
    Source.HELPER: "agent",
    Source.WEBHOOK: "webhook",
    Source.OBSERVER: "observer",
    Source.PROBE: "probe",
    Source.OPERATOR: "operator",
}

_ACTED = {
    Action.CLOSE_SESSION: "closed the session",
    Action.SHUT_DOWN_JOB: "shut the job down",
    Action.KICK: "kicked it",
    Action.DELETE_ROOM: "deleted the room",
    Action.TEAR_DOWN: "tore the room down",
    Action.REPAIR_ROOM: "repaired the ghost room",
}


def evidence_words(piece: Evidence) -> str:
    """One piece of evidence as a sentence that can be read aloud."""
    by = f", asked by {piece.by}" if piece.by else ""
    match piece.fact:
        case Fact.SESSION_CLOSED if piece.source is Source.HELPER:
            error = f", {error_words(piece.error)}" if piece.error is not None else ""
            return f"my session closed, reason {piece.reason or 'not given'}{error}{by}"
        case Fact.SESSION_CLOSED:
            return "its session stopped answering though its process answers: it has closed"
        case Fact.SESSION_FAILED:
            return f"its session told of an error, {error_words(piece.error) if piece.error else 'unnamed'}"
        case Fact.JOB_SHUT_DOWN:
            return f"my job is shutting down{': ' + piece.reason if piece.reason else ', no reason given'}{by}"
        case Fact.AGENT_LEFT:
            return "the agent left" + (f", {reason_words(piece.reason)}" if piece.reason else ", gone from the list")
        case Fact.PERSON_LEFT:
            return f"{piece.who} left" + (f", {reason_words(piece.reason)}" if piece.reason else "")
        case Fact.ROOM_ENDED:
            return "the room is gone" + (f", {reason_words(piece.reason)}" if piece.reason else "")
        case Fact.ROOM_NOT_DUE:
            return "last time somebody held the room open: too late for LiveKit to have closed it by itself"
        case Fact.ROOM_DUE:
            return "last time somebody held the room open: long enough ago for LiveKit to have closed it by itself"
        case Fact.NOT_ANSWERING:
            return "the agent's process does not answer from here on"
        case Fact.ANSWERED:
            return "the agent's process answered"
        case Fact.OPERATOR_ACTED:
            done = _ACTED.get(piece.action, "acted") if piece.action is not None else "acted"
            return f"{piece.by} {done}" + (f": {piece.outcome.value}" if piece.outcome is not None else "")
        case _:
            return piece.fact.value


def _user(event: CloseEvent) -> Evidence | None:
    """Who left, where the session closed because somebody did: whoever left nearest to it."""
    left = [piece for piece in event.evidence if piece.fact is Fact.PERSON_LEFT]
    near = [piece for piece in left if abs(piece.at - event.at) <= _WITH_THE_USER_S]
    return min(near, key=lambda piece: (not piece.reason, abs(piece.at - event.at)), default=None)


def _shutdown_reason(event: CloseEvent) -> str:
    return next((piece.reason for piece in event.evidence if piece.fact is Fact.JOB_SHUT_DOWN), "")


def _server_said(event: CloseEvent) -> str:
    return next((reason_words(e.reason) for e in event.evidence if e.fact is Fact.AGENT_LEFT and e.reason), "")


def _was(event: CloseEvent) -> str:
    """What this line said before, where it neither knew nor foresaw what it says now."""
    for revision in reversed(event.revisions):
        before = revision.before
        foreseen = before.cause is Cause.UNKNOWN or event.cause in before.could_be
        if not foreseen and before.cause is not event.cause:
            return f" (said before: {CAUSE_WORDS[before.cause]})"
    return ""


def _either(words: Iterable[str]) -> str:
    *others, last = [*words] or [""]
    return f"{', '.join(others)} or {last}" if others else last
