"""The bench's short form. It fails on gross regressions only, and never by time: by counts of requests and bytes, and
by how lk-tui compares with the naive poller and the DataTable in the same run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from bench import fleet, idle, report, startup
from bench.figures import Figure, quantile
from bench.lengths import QUICK
from bench.machine import this_machine
from bench.screen import Screen
from bench.servers import Traffic
from bench.wire import Wire

ROOMS = QUICK.rooms[0]

Figures = Mapping[str, Figure]


def _by_name(figures: Iterator[Figure]) -> Figures:
    return {figure.name: figure for figure in figures}


@pytest.fixture(scope="module")
def crowded() -> Figures:
    """500 rooms under churn."""
    return _by_name(fleet.measure(ROOMS, QUICK))


@pytest.fixture(scope="module")
def calm() -> Figures:
    """1,000 rooms in which nothing changes."""
    return _by_name(idle.measure(QUICK))


@pytest.fixture(scope="module")
def started() -> Figures:
    """The start of the demo."""
    return _by_name(startup.measure(QUICK))


def ratio(figure: Figure) -> float:
    """How many times as much the other one takes."""
    assert figure.ratio is not None, f"{figure.name} is compared with nothing"
    return figure.ratio


# What it costs the server


def test_a_refresh_stays_within_the_budget_and_far_below_the_naive_pollers_requests(crowded: Figures) -> None:
    requests = crowded["requests a refresh"]
    assert requests.met, requests
    assert requests.other == 1 + 2 * ROOMS, "the naive poller asks twice for every room"
    assert ratio(requests) > ROOMS / 10, requests


def test_a_refresh_brings_a_fraction_of_the_naive_pollers_bytes(crowded: Figures) -> None:
    assert ratio(crowded["bytes a refresh"]) > 10, crowded["bytes a refresh"]


def test_a_server_at_rest_is_asked_no_more_than_the_budget_allows(calm: Figures) -> None:
    assert 1 <= calm["requests a refresh"].value <= 21, calm["requests a refresh"]


# What it costs the machine


def test_a_refresh_costs_less_than_filling_a_data_table(crowded: Figures) -> None:
    assert ratio(crowded["CPU in the longest block of a refresh, p50"]) > 3.0
    assert ratio(crowded["CPU under churn"]) > 1.0


def test_a_screen_on_which_only_ages_change_writes_little(calm: Figures) -> None:
    assert calm["bytes to the terminal"].value < 5.0, "KB a second"


def test_the_memory_is_that_of_a_small_program(started: Figures, calm: Figures, crowded: Figures) -> None:
    assert started["memory with 40 rooms, server included"].value < 120.0, "MB"
    assert calm["memory"].value < 120.0, "MB"
    assert crowded["memory, everything read"].value < 130.0, "MB"


def test_the_first_frame_does_not_wait_for_livekit(started: Figures) -> None:
    """livekit-api takes longer to import than Textual: before the first frame, it would show here."""
    frame, rooms = started["start → first frame"], started["start → first rooms"]
    assert frame.value < rooms.value
    assert 1 / ratio(frame) < 5.0, frame
    assert 1 / ratio(rooms) < 10.0, rooms


# The bench itself


def test_a_quantile_is_one_of_the_values() -> None:
    assert quantile([5.0, 1.0, 3.0], 0.5) == 3.0
    assert quantile([5.0, 1.0, 3.0], 0.99) == 5.0
    assert quantile([4.0], 0.01) == 4.0
    with pytest.raises(ValueError, match="nothing was measured"):
        quantile([], 0.5)


def test_a_screen_keeps_text_and_background_where_they_were_put() -> None:
    screen = Screen(12, 3)
    screen.feed(b"\x1b[2;3H\x1b[48;2;1;2;3mab\xe7\x95\x8cc\x1b[0m\x1b[38;2;48;5;5md")
    assert screen.line(1) == "  ab界cd    "
    assert screen.line(1, 2, 4) == "ab"
    assert screen.highlighted(range(3), 2) == 1
    assert screen.highlighted(range(3), 7) is None


def test_a_wire_counts_a_request_whose_first_line_comes_in_pieces() -> None:
    wire = Wire("127.0.0.1", 0)
    tail = b""
    for piece in (b"POST /twirp/livekit.RoomServ", b"ice/ListRooms HTTP/1.1\r\nPOST /twirp/livekit.", b"X/Y HTTP/1.1"):
        tail = wire.count(tail, piece)
    assert wire.look() == {"requests": 2, "bytes": 0, "listings": [(0, 0)]}
    assert wire.look() == {"requests": 0, "bytes": 0, "listings": []}


def test_a_refresh_is_counted_from_one_listing_to_the_next() -> None:
    assert Traffic(requests=99, bytes=9_900, listings=[(7, 700), (17, 1_700), (37, 3_700)]).a_refresh == (15.0, 1_500.0)
    with pytest.raises(RuntimeError, match="too short"):
        _ = Traffic(requests=99, bytes=9_900, listings=[(7, 700)]).a_refresh


def test_the_figures_go_into_the_page_in_place_of_those_before(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(report.PAGE.read_text("utf-8"), "utf-8")
    figures = [
        Figure("a part", "a figure", 4.0, "ms", 100.0, "naive", 5.0),
        Figure("a part", "another", 7.5, "×", target=10.0, at_least=True),
    ]
    report.write_page(figures, this_machine(), page)
    once = page.read_text("utf-8")
    report.write_page(figures, this_machine(), page)
    assert page.read_text("utf-8") == once
    assert "| a figure | 4.00 ms | ≤ 5.00 | ✓ | naive 100: 25.0 × |" in once
    assert "| another | 7.50 × | ≥ 10.0 | ✗ |  |" in once
    assert once.startswith("# How fast it is")
