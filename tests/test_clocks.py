"""What an answer's Date header says of two clocks. Against a server that refuses tokens: tests/test_faults.py."""

from __future__ import annotations

from email.utils import formatdate

import pytest

from tests.build import NOW
from tui.gateway.clocks import skew_s


@pytest.mark.parametrize("seconds", [600.0, -600.0, 20.0, -20.0])
def test_clocks_that_differ_are_told_apart_to_a_second(seconds: float) -> None:
    found = skew_s(formatdate(NOW + seconds, usegmt=True), NOW - 0.01, NOW)
    assert found == pytest.approx(seconds, abs=1.0)


@pytest.mark.parametrize("fraction", [0.0, 0.3, 0.99])
def test_the_whole_seconds_of_the_header_are_no_difference(fraction: float) -> None:
    assert skew_s(formatdate(int(NOW), usegmt=True), NOW + fraction, NOW + fraction) == 0.0


@pytest.mark.parametrize("stamped", [0.0, 2.5, 5.0])
def test_an_answer_that_took_long_is_no_difference(stamped: float) -> None:
    assert skew_s(formatdate(int(NOW + stamped), usegmt=True), NOW, NOW + 5.0) == 0.0


@pytest.mark.parametrize("header", ["", "soon", "Wed, 99 Oct 2026 07:28:00 GMT", "Wed, 21 Oct 99999 07:28:00 GMT"])
def test_a_header_that_is_no_date_says_nothing(header: str) -> None:
    assert skew_s(header, NOW, NOW) is None
