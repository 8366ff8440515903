"""Close events for tests of what keeps and shows them: plain ones, and any at all."""

from __future__ import annotations

from hypothesis import strategies as st

from tests.build import NOW
from tui.model.action import Action, Outcome
from tui.model.causes import Cause, Verdict
from tui.model.closes import CloseEvent, Revision
from tui.model.evidence import Evidence, Fact, Source
from tui.model.room import SessionError
from tui.model.text import Name, safe_text


def close(number: int = 1, *evidence: Evidence, room: str = "support-1", at: float = NOW) -> CloseEvent:
    """The end of one session, as it was first seen at `at`, by what was seen of it."""
    begun = CloseEvent(
        Name.of(room), f"RM_{room}", "closer", Name.of(f"agent-{number}"), f"PA_{number}", at - 60, at, "AD_1", "AJ_1"
    )
    return begun.grown(evidence or (left(at=at),), at)


def left(reason: str = "", source: Source = Source.POLLING, at: float = NOW) -> Evidence:
    """That the agent left."""
    return Evidence(at, source, Fact.AGENT_LEFT, reason)


# Milliseconds are what the file keeps.
TIMES = st.integers(1_600_000_000_000, 1_900_000_000_000).map(lambda ms: ms / 1000)
RAW = st.text(max_size=20)
SAFE = st.text(max_size=20).map(safe_text)
ERRORS = st.builds(SessionError, SAFE, SAFE, SAFE)
EVIDENCE = st.builds(
    Evidence,
    TIMES,
    st.sampled_from(Source),
    st.sampled_from(Fact),
    SAFE,
    SAFE,
    SAFE,
    st.none() | ERRORS,
    st.none() | st.sampled_from(Action),
    st.none() | st.sampled_from(Outcome),
    st.none() | TIMES,
)
VERDICTS = st.builds(Verdict, st.sampled_from(Cause), SAFE, st.lists(st.sampled_from(Cause), max_size=3).map(tuple))
EVENTS = st.builds(
    CloseEvent,
    RAW.map(Name.of),
    SAFE,
    SAFE,
    RAW.map(Name.of),
    SAFE,
    TIMES,
    TIMES,
    SAFE,
    SAFE,
    SAFE,
    st.lists(EVIDENCE, max_size=5).map(tuple),
    VERDICTS,
    st.lists(st.builds(Revision, TIMES, VERDICTS), max_size=2).map(tuple),
)
