"""Collections stay short, and nothing is lost by that. In a process of its own: it changes the whole process."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import gc, time, weakref
import tui.garbage
from tui.garbage import LONG_S, hold_collections_back, keep_collections_short

class Thing:
    pass

tui.garbage.SHARE = 1.0
hold_collections_back()
before = gc.get_stats()
modules = [[number] for number in range(400_000)]
assert gc.get_stats() == before, "nothing is looked at while the program starts"
keep_collections_short()
began = time.perf_counter()
gc.collect()
assert time.perf_counter() - began < LONG_S, "nor later, what was made meanwhile"

gc.disable()
model = [(Thing(), [number]) for number in range(400_000)]
gc.enable()
began = time.perf_counter()
gc.collect()
long = time.perf_counter() - began
assert long > LONG_S
assert gc.get_freeze_count() > 1_200_000
began = time.perf_counter()
gc.collect()
short = time.perf_counter() - began
assert short < long / 3, (short, long)

gone = weakref.ref(model[0][0])
model.clear()
assert gone() is None, "what is set aside is freed with its last reference"

young = Thing()
young.itself = young
gone = weakref.ref(young)
del young
gc.collect()
assert gone() is None, "and a new cycle is still found"

dialog = Thing()
dialog.itself = dialog
gone = weakref.ref(dialog)
others = []
while gone() is not None:
    others.append([[number] for number in range(400_000)])
    gc.collect()
    dialog = None
    assert len(others) < 10, "what was set aside as part of a cycle is looked at again some day"
assert len(others) > 1, "it was set aside"
"""


def test_what_survives_a_long_collection_is_looked_at_seldom() -> None:
    subprocess.run([sys.executable, "-c", PROGRAM], check=True, timeout=60)
