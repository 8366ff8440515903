"""The figures, for a person in a terminal, for a page of the docs, and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import groupby
from pathlib import Path

from bench.child import REPOSITORY
from bench.figures import Figure
from bench.machine import Machine

RESULTS = REPOSITORY / "bench" / "results.json"
PAGE = REPOSITORY / "docs" / "performance.md"
_BEGIN, _END = "<!-- figures: python -m bench --docs -->", "<!-- end of the figures -->"


def line(figure: Figure) -> str:
    """One figure, for a terminal."""
    met = {True: "✓", False: "✗", None: " "}[figure.met]
    other = f"{_compared(figure)}  " if figure.other is not None else ""
    measured = f"{_number(figure.value):>9} {figure.unit:<11} {_target(figure):<10}"
    return f"{met} {figure.name:<48} {measured} {other}{figure.note}".rstrip()


def write_json(figures: Sequence[Figure], machine: Machine) -> None:
    """Keep them, in place of those of the run before."""
    kept = [asdict(figure) | {"met": figure.met, "ratio": figure.ratio} for figure in figures]
    RESULTS.write_text(json.dumps({"machine": asdict(machine), "figures": kept}, indent=1, ensure_ascii=False) + "\n")


def write_page(figures: Sequence[Figure], machine: Machine, page: Path = PAGE) -> None:
    """Put them into the page, in place of those that are there."""
    text = page.read_text("utf-8")
    before, begin, rest = text.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not begin or not end:
        raise ValueError(f"{page} has no place for figures: {_BEGIN} … {_END}")
    page.write_text("\n".join([before + begin, "", *_page(figures, machine), "", end + after]), "utf-8")


def _page(figures: Sequence[Figure], machine: Machine) -> Iterator[str]:
    yield (
        f"Measured on {machine.date}: {machine.processor}, {machine.cores} cores, {machine.memory_gb} GB, "
        f"{machine.system}, Python {machine.python}, Textual {machine.textual}; "
        f"the load average was {machine.load} at the start."
    )
    for part, of_part in groupby(figures, key=lambda figure: figure.part):
        yield from ("", f"### {part[0].upper()}{part[1:]}", "")
        yield "| Figure | lk-tui | Target | | Compared with |"
        yield "|---|--:|--:|:-:|---|"
        for figure in of_part:
            met = {True: "✓", False: "✗", None: ""}[figure.met]
            told = ", ".join(words for words in (_compared(figure), figure.note) if words)
            yield f"| {figure.name} | {_number(figure.value)} {figure.unit} | {_target(figure)} | {met} | {told} |"


def _compared(figure: Figure) -> str:
    if figure.other is None or figure.ratio is None:
        return ""
    if figure.ratio < 1:
        return f"{1 / figure.ratio:,.1f} × {figure.than} ({_number(figure.other)})"
    return f"{figure.than} {_number(figure.other)}: {figure.ratio:,.1f} ×"


def _target(figure: Figure) -> str:
    if figure.target is None:
        return ""
    return f"{'≥' if figure.at_least else '≤'} {_number(figure.target)}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:,.1f}" if abs(value) >= 10 else f"{value:,.2f}"
