"""What a person sees of every fault: expected of the live suite, and the document made from it.

In the words, `{host}` is the server's, `{age}` a length of time, `{time}` a time of day; the screen may say more behind
them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from tests.lab.faults import QUIET_S
from tui.gateway.backoff import LONGEST_S
from tui.gateway.client import TIMEOUT_S
from tui.gateway.connections import BODY_LIMIT
from tui.model.action import Outcome
from tui.model.collapse import LEAST, NEWS_S
from tui.ui.bars import STALE_AFTER_INTERVALS

DOCUMENT = Path(__file__).parent.parent / "docs" / "faults.md"

OLD = " — showing the picture of {age} ago"
WAITS = "◌ no answer yet" + OLD
HANGS = (WAITS, "✗ {host} did not answer in time" + OLD)
CUT_OFF = ("✗ the connection to {host} broke in the middle of an answer" + OLD,)
TOO_LARGE = (f"✗ {{host}} answers with more than {BODY_LIMIT // 1024**2} MB, not as LiveKit does: check the URL" + OLD,)

SAID: Mapping[str, tuple[str, ...]] = {
    "every answer takes 5 s": (WAITS,),
    "connections are taken and never answered": HANGS,
    "connections die silently in the middle of an answer": HANGS,
    "one byte a second": HANGS,
    "connections are reset in the middle of an answer": CUT_OFF,
    "answers are cut short": CUT_OFF,
    "answers of unknown length are cut short": ("✗ {host} answers, but not as LiveKit does: check the URL" + OLD,),
    "answers of 50 MB": TOO_LARGE,
    "answers of 50 MB whose length is not told": TOO_LARGE,
    "a web page instead of LiveKit": ("✗ {host} answers with text/html, not as LiveKit does: check the URL" + OLD,),
    "401: the key or its secret is refused": (
        "✗ {host} refuses the API key or its secret: check LIVEKIT_API_KEY and LIVEKIT_API_SECRET" + OLD,
    ),
    "429 with Retry-After": (
        f"✗ {{host}} limits our requests (429); it asks for {QUIET_S} s of quiet: lower --budget" + OLD,
    ),
    "500": ("✗ {host} failed (500): could not get rooms" + OLD,),
    "503 every other time": ("✗ {host} failed (503): Service Unavailable" + OLD,),
    "the server's clock is 10 minutes ahead": (
        "✗ this machine's clock is {age} behind {host}'s: set the clocks right; it refuses our tokens" + OLD,
    ),
    "the server's clock is 10 minutes behind": (
        "✗ this machine's clock is {age} ahead of {host}'s: set the clocks right; it refuses our tokens" + OLD,
    ),
    "the server is down": ("✗ {host} refused the connection: is livekit-server running there?" + OLD,),
    "the server's name does not resolve": ("✗ no such host: {host}: check the URL" + OLD,),
}
"""The status bar's second line, one after the other, while the fault lasts."""

_BROKE = "the connection to {host} broke: [Errno 104] Connection reset by peer"

CHANGED: Mapping[str, tuple[Outcome, str]] = {
    "done; the answer takes 5 s": (Outcome.CONFIRMED, "answered OK in"),
    "done; the answer is lost": (Outcome.CONFIRMED, _BROKE),
    "done; the answer is cut short": (Outcome.CONFIRMED, "the connection to {host} broke in the middle of an answer"),
    "done; no answer ever comes": (Outcome.CONFIRMED, "{host} did not answer in time"),
    "done; the answer is a 500": (Outcome.CONFIRMED, "{host} failed (500): could not get rooms"),
    "done; the answer is a 503 of something between": (Outcome.CONFIRMED, "{host} failed (503): Service Unavailable"),
    "done; the answer is a web page": (Outcome.CONFIRMED, "{host} answers with text/html, not as LiveKit does"),
    "not done; the request is lost": (Outcome.UNKNOWN, _BROKE),
    "not done; no answer ever comes": (Outcome.UNKNOWN, "{host} did not answer in time"),
    "not done; 429": (Outcome.FAILED, "{host} limits our requests (429)"),
    "not done; 401": (Outcome.FAILED, "{host} refuses the API key or its secret"),
}
"""How a change ends whose request or answer fares like that, and what its record says of why it could not be sure."""

RESTARTED = "✗ {rooms} of {rooms} rooms gone at once at {time}"
SKEWED = "⚠ this clock is {age} behind the server's"
LATER: Mapping[str, str] = {
    "the server was restarted: all rooms are gone": RESTARTED,
    "the server's clock is 20 s ahead: tokens are accepted, ages are wrong": SKEWED,
}
"""What the second line says of what is no failure of a request."""


def as_pattern(words: str) -> re.Pattern[str]:
    """What matches these words on a screen."""
    pattern = re.escape(words)
    for name, values in (("host", r"[\w.:]+"), ("age", r"[0-9dhms]+"), ("time", r"\d\d:\d\d"), ("rooms", r"[\d,]+")):
        pattern = pattern.replace(re.escape(f"{{{name}}}"), values)
    return re.compile(pattern)


def as_example(words: str) -> str:
    """The words as they might be on a screen."""
    long = "10m00s" if "machine's clock" in words else "20s" if "this clock" in words else "12s"
    first = words.replace("{age}", long, 1)
    return first.format(host="acme.example", age="12s", time="12:03", rooms="342")


def as_document() -> str:
    """docs/faults.md: what a person sees of every fault."""
    lines = [
        "# What you see when something fails",
        "",
        "Each fault is done for real to the dashboard on a real livekit-server, by a proxy between the two",
        "(`tests/test_faults.py`), which also checks for each of them that:",
        "",
        "- keys answer while it lasts;",
        f"- the age of the picture is shown once it is {STALE_AFTER_INTERVALS:.0f} intervals old (`late`), or a",
        "  request has failed (`stale`), and the picture is dimmed; it stays the last good one;",
        "- lk-tui recovers by itself with its next try. After a failure it waits a second or so, after several in a",
        f"  row a random time of up to {LONGEST_S:.0f} s, and after a 429 as long as it is asked to; the second line",
        f"  counts it down, and `r` tries at once. A request that hangs is given up after {TIMEOUT_S:.0f} s, or with",
        "  `r`, and the next one takes a new connection;",
        f"- no connection is left, and no answer over {BODY_LIMIT // 1024**2} MB is read;",
        "- neither the API key nor its secret nor a token is on the screen, in the history or in the log.",
        "",
        "| Fault | Status bar, first line | Second line |",
        "|---|---|---|",
    ]
    for name, said in SAID.items():
        first = ["`◌ late 12s`" if words is WAITS else "`✗ stale 12s`" for words in said]
        lines.append(f"| {name} | {', then '.join(first)} | {'; then '.join(f'`{as_example(w)}`' for w in said)} |")
    lines += [
        "",
        "What is no failure of a request is said in front of, or behind, the counts:",
        "",
        "| What happened | Second line |",
        "|---|---|",
        *(f"| {name} | `{as_example(words)}` |" for name, words in LATER.items()),
        "",
        f"That at least {LEAST} rooms, and at least half of all, have gone between two pictures is said for",
        f"{NEWS_S / 60:.0f} minutes, unless they were deleted from here. A body that is cut short at the end of a",
        "room, by something that hides its length, can't be told from a shorter list; livekit-server always tells the",
        "length.",
    ]
    lines += [
        "",
        "## What becomes of a change",
        "",
        "Whatever happens to it, a request that changes a server is sent once, and the lists are asked what came of it",
        "(`tests/test_faults_changes.py`, which counts on the wire).",
        "",
        "| The request, and its answer | The action ends as | Its record says why |",
        "|---|---|---|",
    ]
    for name, (outcome, why) in CHANGED.items():
        reason = "" if why.startswith("answered OK") else f"`{as_example(why)}`"
        lines.append(f"| {name} | {outcome.value} | {reason} |")
    return "\n".join(lines) + "\n"
