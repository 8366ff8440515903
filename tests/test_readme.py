"""README says what the program does: its tables are made from the same lists as the screen."""

from __future__ import annotations

import re
import tomllib
from dataclasses import asdict
from pathlib import Path

from tui.config import Config
from tui.model.action import INSIDE, Action
from tui.model.phrases import SIGN_GLYPHS, SIGN_MEANINGS, SIGN_NAMES
from tui.model.signs import SignCode
from tui.ui.commands import ACTION_TABLE, BY_ACTION, readme_table

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")


def test_the_key_table_is_the_registry() -> None:
    assert "\n".join(readme_table()) in README


def test_the_action_table_is_the_help_screens() -> None:
    assert {row[0] for row in ACTION_TABLE} == {action.value for action in Action if action not in INSIDE}
    for action, *effects in ACTION_TABLE:
        assert f"| `{BY_ACTION[Action(action)].keys}` | {action} | {' | '.join(effects)} |" in README


def test_every_sign_is_explained() -> None:
    for code in SignCode:
        assert f"| {SIGN_GLYPHS[code]} {SIGN_NAMES[code]} | {SIGN_MEANINGS[code]} |" in README


def test_the_settings_shown_are_the_defaults() -> None:
    blocks = re.findall(r"```toml\n(.*?)```", README, re.DOTALL)
    assert tomllib.loads("\n".join(blocks)) == asdict(Config())


def test_every_file_that_readme_names_is_there() -> None:
    for path in re.findall(r"\]\(((?!https?:|#)[^)]+)\)", README):
        assert (ROOT / path).exists(), path


def test_the_commands_that_readme_names_are_makes_targets() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    for target in re.findall(r"^make (\w+)", README, re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
