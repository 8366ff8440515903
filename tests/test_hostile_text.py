"""Text that strangers chose, through what the one-shot commands print: plain text, or JSON that keeps it as it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.command import completed
from tests.hostile import HOSTILE, NAMES
from tests.hostile_server import served
from tests.terminal import LK_TUI

TEXTS = [text for text in HOSTILE.values() if text]


def assert_only_text(written: bytes) -> None:
    """Lines of printable text, and nothing else."""
    for line in written.decode().split("\n"):
        assert line.isprintable(), line


async def run(environment: dict[str, str], *arguments: str) -> bytes:
    """What a one-shot command prints."""
    done = await completed([LK_TUI, *arguments], environment, Path(environment["HOME"]))
    assert_only_text(done.stderr)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("locale", ["C.UTF-8", "C"])
async def test_one_shot_output_is_plain_text_and_json_keeps_every_name_as_it_is(tmp_path: Path, locale: str) -> None:
    texts = list(dict.fromkeys([*TEXTS, *NAMES.values()]))
    async with served(texts, tmp_path) as environment:
        environment |= {"LC_ALL": locale, "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0" if locale == "C" else "1"}
        for arguments in (["rooms"], ["kick", "--all", "--dry-run"], ["delete", "--all", "--dry-run"]):
            printed = await run(environment, *arguments)
            assert_only_text(printed)
            assert printed.count(b"\n") >= len(texts)
        rooms: list[Any] = json.loads(await run(environment, "rooms", "--json"))["rooms"]
        assert sorted(room["name"] for room in rooms) == sorted(texts)
        assert sorted(who["identity"] for room in rooms for who in room["participants"] if who["kind"] != "agent") == (
            sorted(texts)
        )
