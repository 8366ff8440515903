"""`python -m bench`: measure everything, print it, and keep it as `bench/results.json`.

--only PART measures one part (`start`, `idle`, `demo-100`, `livekit`, …), --quick is the short form for CI, --docs
writes the figures into docs/performance.md.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial

from bench import closes, fleet, idle, race, real, report, servers, startup
from bench.figures import Figure
from bench.lengths import FULL, QUICK, Lengths
from bench.machine import this_machine

Part = Callable[[Lengths], Iterator[Figure]]


def parts(lengths: Lengths) -> Mapping[str, Part]:
    """What there is to measure, by name, in this order."""
    found: dict[str, Part] = {"start": startup.measure, "idle": idle.measure}
    for rooms in lengths.rooms:
        found[f"demo-{rooms}"] = partial(fleet.measure, rooms)
    if servers.has_real():
        found["livekit"] = real.measure
        found["closes"] = closes.measure
        found["race"] = race.measure
    return found


def measure(lengths: Lengths, only: str | None = None) -> Iterator[Figure]:
    """All figures of all parts, or of one, as they come."""
    for name, part in parts(lengths).items():
        if only in (None, name):
            yield from part(lengths)


def main() -> None:
    """Measure, and print as it goes."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--only", choices=[*parts(FULL), *parts(QUICK)], metavar="PART")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--docs", action="store_true")
    chosen = parser.parse_args()
    if chosen.docs and (chosen.only or chosen.quick):
        parser.error("--docs wants all the figures: without --only and --quick")
    began = time.monotonic()
    machine = this_machine()
    figures: list[Figure] = []
    part = ""
    for figure in measure(QUICK if chosen.quick else FULL, chosen.only):
        if figure.part != part:
            part = figure.part
            print(f"\n{part}")
        print(report.line(figure), flush=True)
        figures.append(figure)
    report.write_json(figures, machine)
    if chosen.docs:
        report.write_page(figures, machine)
    missed = sum(1 for figure in figures if figure.met is False)
    print(f"\n{len(figures)} figures in {time.monotonic() - began:.0f} s; {missed} miss their target")


if __name__ == "__main__":
    main()
