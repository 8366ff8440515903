"""What lk-tui can say of every ending, by the sources it has: what is expected, and the document made from it.

Sources come in three sets (`tests.lab.endings.WATCHES`); polling has the probe with it. `HELPED` and `PLAIN` are for
agents with and without the helper.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.lab.endings import ENDINGS, OBSERVER, POLLING, WATCHES, WEBHOOKS
from tui.model.causes import Cause, Verdict
from tui.model.close_phrases import verdict_words

RECORDED = Path(__file__).parent / "recorded" / "endings.json"
DOCUMENT = Path(__file__).parent.parent / "docs" / "causes.md"

Row = Mapping[tuple[bool, str], Verdict | None]

HELPED, PLAIN = True, False
KICKED_OR_SHUT_DOWN = Verdict(Cause.UNKNOWN, could_be=(Cause.KICKED_BY_SOMEONE, Cause.SHUT_DOWN_BY_CODE))


def _whatever(verdict: Verdict | None) -> Row:
    return {(helper, sources): verdict for helper in (HELPED, PLAIN) for sources in WATCHES}


def _only_helped(verdict: Verdict, observed: Verdict | None = None) -> Row:
    """The agent stays, so that only its own word tells; or its session's silence, to an observer."""
    plain = {(PLAIN, sources): observed if sources == OBSERVER else None for sources in WATCHES}
    return {(HELPED, sources): verdict for sources in WATCHES} | plain


EXPECTED: Mapping[str, Row] = {
    "the operator closes the session": {
        (HELPED, sources): Verdict(Cause.CLOSED_BY_OPERATOR, "mira@ops1") for sources in WATCHES
    },
    "the operator shuts the job down": _whatever(Verdict(Cause.SHUT_DOWN_BY_OPERATOR, "mira@ops1")),
    "the operator kicks the agent": _whatever(Verdict(Cause.KICKED_BY_OPERATOR, "mira@ops1")),
    "the operator deletes the room": _whatever(Verdict(Cause.ROOM_DELETED_BY_OPERATOR, "mira@ops1")),
    "the operator tears the room down": _whatever(Verdict(Cause.TORN_DOWN_BY_OPERATOR, "mira@ops1")),
    "the agent's code closes the session": _only_helped(
        Verdict(Cause.CLOSED_BY_CODE),
        Verdict(Cause.UNKNOWN, could_be=(Cause.CLOSED_BY_CODE, Cause.USER_LEFT, Cause.ERROR)),
    ),
    "the agent's code shuts the job down": {
        (HELPED, POLLING): KICKED_OR_SHUT_DOWN,
        (PLAIN, POLLING): KICKED_OR_SHUT_DOWN,
        (HELPED, WEBHOOKS): Verdict(Cause.SHUT_DOWN_BY_CODE),
        (HELPED, OBSERVER): Verdict(Cause.SHUT_DOWN_BY_CODE),
        (PLAIN, WEBHOOKS): Verdict(Cause.SHUT_DOWN_BY_CODE, could_be=(Cause.WORKER_STOPPED,)),
        (PLAIN, OBSERVER): Verdict(Cause.SHUT_DOWN_BY_CODE, could_be=(Cause.WORKER_STOPPED,)),
    },
    "somebody deletes the dispatch": _whatever(Verdict(Cause.DISPATCH_DELETED)),
    "somebody kicks the agent": {
        **_whatever(Verdict(Cause.KICKED_BY_SOMEONE)),
        (HELPED, POLLING): KICKED_OR_SHUT_DOWN,
        (PLAIN, POLLING): KICKED_OR_SHUT_DOWN,
    },
    "somebody deletes the room": _whatever(Verdict(Cause.ROOM_DELETED_BY_SOMEONE)),
    "the user leaves": _only_helped(
        Verdict(Cause.USER_LEFT), Verdict(Cause.USER_LEFT, could_be=(Cause.CLOSED_BY_CODE,))
    ),
    "the model fails four times": _only_helped(Verdict(Cause.ERROR), Verdict(Cause.ERROR)),
    "nobody joins, and the room closes": {
        **_whatever(Verdict(Cause.ROOM_ENDED_EMPTY)),
        (HELPED, POLLING): Verdict(Cause.ROOM_ENDED_EMPTY, could_be=(Cause.ROOM_DELETED_BY_SOMEONE,)),
        (PLAIN, POLLING): Verdict(Cause.ROOM_ENDED_EMPTY, could_be=(Cause.ROOM_DELETED_BY_SOMEONE,)),
    },
    "the worker is killed": _whatever(Verdict(Cause.AGENT_LOST)),
    "the worker drains, and the user leaves": {
        **_only_helped(Verdict(Cause.USER_LEFT), Verdict(Cause.USER_LEFT, could_be=(Cause.CLOSED_BY_CODE,))),
        (PLAIN, POLLING): Verdict(Cause.ROOM_ENDED_EMPTY, could_be=(Cause.ROOM_DELETED_BY_SOMEONE,)),
        (PLAIN, WEBHOOKS): Verdict(Cause.ROOM_ENDED_EMPTY),
    },
}
"""The verdict on each ending; None where nothing of it is seen."""


def recorded() -> Mapping[str, Any]:
    """What was recorded last."""
    known: Mapping[str, Any] = json.loads(RECORDED.read_text())
    return known


def as_document(known: Mapping[str, Any]) -> str:
    """docs/causes.md: the table of what can be said, and of which LiveKit that was recorded."""
    versions = ", ".join(f"{name} {number}" for name, number in known["versions"].items())
    heads = [f"{sources}{', helper' if helper else ''}" for sources in WATCHES for helper in (PLAIN, HELPED)]
    lines = [
        "# What lk-tui can say of why a session closed",
        "",
        "Every way to end a session, done on a real server with real agents, and the cause that lk-tui gives with each",
        "set of sources. Polling has the probe with it. *Not seen*: the agent stays as it was, and nothing that these",
        "sources are told changes; what is seen later is the agent's or the room's own end.",
        "",
        f"Recorded with {versions}, by `python -m tests.record_endings`.",
        "",
        f"| What happens | {' | '.join(heads)} |",
        f"|---|{'---|' * len(heads)}",
    ]
    for ending in ENDINGS:
        row = EXPECTED[ending.name]
        cells = []
        for sources in WATCHES:
            for helper in (PLAIN, HELPED):
                verdict = row.get((helper, sources))
                missing = "needs the helper" if (helper, sources) not in row else "*not seen*"
                cells.append(verdict_words(verdict) if verdict is not None else missing)
        lines.append(f"| {ending.name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"
