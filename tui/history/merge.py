"""One close as two have seen it: what is kept of it, and what is told anew. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from tui.model.action import Outcome
from tui.model.causes import Cause
from tui.model.closes import CloseEvent, Revision
from tui.model.evidence import Evidence, Fact


def merged(kept: CloseEvent, told: CloseEvent, now: float) -> CloseEvent:
    """Everything that either knows of the same close; equal to `kept` where `told` adds nothing.

    `told` may be an older form of it: another lk-tui goes by what it read when it was started. Evidence keeps the
    order in which it became known here. A verdict that is no longer true stays among the revisions, whoever's it was.
    """
    known = {piece.key: piece for piece in kept.evidence}
    news = (_both(known[piece.key], piece) if piece.key in known else piece for piece in told.evidence)
    grown = kept.grown(news, now)
    return replace(
        grown,
        began=min(kept.began, told.began),
        seen=min(kept.seen, told.seen),
        dispatch=told.dispatch or kept.dispatch,
        job=told.job or kept.job,
        worker=told.worker or kept.worker,
        revisions=_chain((*kept.revisions, *told.revisions, *grown.revisions), grown.cause),
    )


def _both(kept: Evidence, told: Evidence) -> Evidence:
    """The same piece twice, perhaps each with something that the other lacks."""
    if told.fact is Fact.OPERATOR_ACTED:
        return max(kept, told, key=lambda piece: (_stage(piece.outcome), piece.done_at or 0.0))
    if not told.says_more_than(kept):
        return kept
    return replace(
        told, reason=told.reason or kept.reason, by=told.by or kept.by, error=told.error if told.error else kept.error
    )


def _stage(outcome: Outcome | None) -> int:
    """How far an action has come: under way, ended, undone since."""
    if outcome in (None, Outcome.RUNNING):
        return 0
    return 2 if outcome is Outcome.CAME_BACK else 1


def _chain(revisions: Iterable[Revision], cause: Cause) -> tuple[Revision, ...]:
    """The revisions in the order of time, each change of the cause once; the last one led to `cause`."""
    chain: list[Revision] = []
    for revision in sorted(dict.fromkeys(revisions), key=lambda revision: (revision.at, revision.before.cause)):
        if not chain or chain[-1].before.cause is not revision.before.cause:
            chain.append(revision)
    if chain and chain[-1].before.cause is cause:
        chain.pop()
    return tuple(chain)
