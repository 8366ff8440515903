"""The soak in its short form: random keys on the demo server, judged by that server; a process of its own."""

from __future__ import annotations

import subprocess
import sys

from bench.child import REPOSITORY


def test_random_keys_raise_nothing_and_every_action_ends_with_the_truth() -> None:
    command = [sys.executable, "-m", "bench.soak", "--minutes", "0.3", "--seed", "5"]
    ended = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=300)
    assert ended.returncode == 0, ended.stdout
    assert "Nothing went wrong." in ended.stdout
