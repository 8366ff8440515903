"""Text from strangers: safe to show, still recognisable, and never mistaken for another."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui.model.text import NAME_LIMIT, Name, safe_text


@pytest.mark.parametrize("plain", ["support-4711", "日本語", "café", "🦊 fox", "[/foo]", "a/b", "%2F", "a  b"])
def test_printable_text_stays_as_it_is(plain: str) -> None:
    assert safe_text(plain) == plain
    assert not Name.of(plain).altered


@pytest.mark.parametrize(
    ("hostile", "safe"),
    [
        ("\x1b]0;owned\x07", r"\x1b]0;owned\x07"),
        ("\x9b31m", r"\x9b31m"),
        ("a\u202eb", r"a\u202eb"),
        ("a\tb\nc", r"a\x09b\x0ac"),
        ("\ud800", r"\ud800"),
        ("\U000e0041", r"\U000e0041"),
        ("\u2028", r"\u2028"),
        (" a ", r"\x20a\x20"),
        ("  ", r"\x20\x20"),
    ],
)
def test_what_a_terminal_acts_on_becomes_a_visible_escape(hostile: str, safe: str) -> None:
    assert safe_text(hostile) == safe
    assert Name.of(hostile).altered


def test_an_empty_name_is_said_to_be_empty_and_is_marked() -> None:
    name = Name.of("")
    assert (str(name), name.raw, name.altered) == ("(empty)", "", True)


def test_a_long_text_keeps_both_ends() -> None:
    safe = safe_text("start" + "x" * 500 + "end", 40)
    assert len(safe) == 40
    assert safe.startswith("start")
    assert safe.endswith("end")


@given(st.text(alphabet=st.characters(), max_size=400), st.integers(10, 300))
def test_any_text_is_one_printable_line_within_the_limit(raw: str, limit: int) -> None:
    safe = safe_text(raw, limit)
    assert safe.isprintable()
    assert len(safe) <= limit
    assert safe == safe.strip(" ")


@given(st.text(alphabet=st.characters(), max_size=NAME_LIMIT))
def test_the_raw_name_is_kept_for_calls(raw: str) -> None:
    assert Name.of(raw).raw == raw
