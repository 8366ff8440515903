"""Collections stay short, and nothing is lost by that. In a process of its own: it changes the whole process."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import gc, time, weakref
import tui.garbage
from tui.garbage import LONG_S, Collector, hold_collections_back

class Thing:
    pass

def took(calm=True, many=False):
    began = time.thread_time()
    collector.collect(calm=calm, many=many)
    return time.thread_time() - began

tui.garbage.LEAST_S, tui.garbage.SHARE = 0.0, 1e9
collector = Collector()
hold_collections_back()
before = gc.get_stats()
modules = [[number] for number in range(400_000)]
assert gc.get_stats() == before, "nothing is looked at while the program starts"
collector.begin()
assert took() < LONG_S, "nor later, what was made meanwhile"

model = [(Thing(), [number]) for number in range(400_000)]
assert gc.get_stats()[2]["collections"] == before[2]["collections"] + 1, "Python leaves what is old alone"
took(calm=False)
assert gc.get_stats()[2]["collections"] == before[2]["collections"] + 1, "nor do we while somebody types"
long = took()
assert long > LONG_S
assert gc.get_freeze_count() > 1_200_000
took()
assert took() < long / 3

gone = weakref.ref(model[0][0])
model.clear()
assert gone() is None, "what is set aside is freed with its last reference"

young = Thing()
young.itself = young
gone = weakref.ref(young)
del young
took()
assert gone() is None, "and a new cycle is still found"

dialog = Thing()
dialog.itself = dialog
gone = weakref.ref(dialog)
others = []
while gone() is not None:
    others.append([[number] for number in range(400_000)])
    took()
    dialog = None
    assert len(others) < 10, "what was set aside as part of a cycle is looked at again some day"
assert len(others) > 1, "it was set aside"

def collections():
    return gc.get_stats()[2]["collections"]

tui.garbage.PATIENCE_S = 0.0
before = collections()
took(calm=False)
assert collections() == before + 1, "who types for long does not keep it waiting for ever"
took(calm=False, many=True)
assert collections() == before + 1, "where it would hold keys up, it waits for longer"
assert gc.get_threshold()[0] == tui.garbage.YOUNG_OF_MANY
tui.garbage.LONG_PATIENCE_S = 0.0
took(calm=False, many=True)
assert collections() == before + 2, "but not for ever either"
"""


def test_what_survives_a_long_collection_is_looked_at_seldom() -> None:
    subprocess.run([sys.executable, "-c", PROGRAM], check=True, timeout=60)
