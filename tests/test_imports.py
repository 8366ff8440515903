"""What is imported when, seen in fresh interpreters: an agent gets no screen, and the first frame waits for nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.lab.server import LabServer
from tests.terminal import clean_environment

TELL = "import json, sys; json.dump(sorted(sys.modules), sys.stderr)"


def modules_after(code: str, home: Path, *words: str, **variables: str) -> set[str]:
    """All modules that a fresh interpreter has imported after `code`, which must not write to standard error."""
    ended = subprocess.run(
        [sys.executable, "-c", f"{code}\n{TELL}", *words],
        env=clean_environment(home, **variables),
        cwd=home,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return set(json.loads(ended.stderr))


def packages(modules: set[str]) -> set[str]:
    """The top-level names."""
    return {module.partition(".")[0] for module in modules}


def test_the_helper_imports_nothing_else_of_lk_tui_and_no_screen(tmp_path: Path) -> None:
    modules = modules_after("import tui.agent", tmp_path)
    assert {each for each in modules if each.partition(".")[0] == "tui"} == {"tui", "tui.agent"}
    assert not packages(modules) & {"textual", "rich", "click", "yaml", "dotenv", "platformdirs"}
    assert "aiohttp.web" not in modules
    assert not [each for each in modules if each.startswith("livekit.agents")]


@pytest.mark.parametrize(
    "module",
    [
        "tui.oneshot.rooms",
        "tui.oneshot.closes",
        "tui.oneshot.act",
        "tui.gateway.client",
        "tui.gateway.poller",
        "tui.control.control",
        "tui.demo",
        "tui.cli",
    ],
)
def test_nothing_under_the_screen_imports_textual(tmp_path: Path, module: str) -> None:
    assert not packages(modules_after(f"import {module}", tmp_path)) & {"textual", "rich"}


@pytest.mark.parametrize("package", ["tui.model", "tui.settings", "tui.config"])
def test_the_core_imports_neither_a_screen_nor_livekit(tmp_path: Path, package: str) -> None:
    code = f"""
import importlib, pkgutil
package = importlib.import_module("{package}")
for found in pkgutil.walk_packages(getattr(package, "__path__", []), "{package}."):
    importlib.import_module(found.name)
"""
    modules = modules_after(code, tmp_path)
    assert package in modules
    assert not packages(modules) & {"textual", "rich", "livekit", "aiohttp", "google"}


def test_lk_tui_rooms_runs_without_textual(lab_server: LabServer, tmp_path: Path) -> None:
    code = """
from tui.cli import cli
cli(prog_name="lk-tui", standalone_mode=False)
"""
    modules = modules_after(code, tmp_path, "rooms", **lab_server.variables)
    assert "tui.oneshot.rooms" in modules
    assert not packages(modules) & {"textual", "rich"}
    assert "livekit.rtc" not in modules


def test_help_costs_neither_textual_nor_livekit(tmp_path: Path) -> None:
    code = """
from tui.cli import cli
cli(["--help"], prog_name="lk-tui", standalone_mode=False)
"""
    assert not packages(modules_after(code, tmp_path)) & {"textual", "rich", "livekit", "aiohttp", "yaml"}


def test_the_first_frame_is_out_before_livekit_is_imported_and_what_only_a_key_asks_for(tmp_path: Path) -> None:
    code = """
import sys
from tui.ui.app import Supervisor
from tui.ui.bars import Where

display, seen = Supervisor._display, set()

def display_once(app, screen, renderable):
    display(app, screen, renderable)
    if renderable is not None and not seen:
        seen.update(sys.modules)
        app.exit()

Supervisor._display = display_once
where = Where("prod", "https://example.com", "environment")
Supervisor(None, where, operator="mira").run(headless=True)
assert seen, "no frame was drawn"
for module in set(sys.modules) - seen:
    del sys.modules[module]
"""
    modules = modules_after(code, tmp_path)
    assert "textual" in modules
    assert not packages(modules) & {"livekit", "aiohttp", "google", "sqlite3", "tomllib"}
    ours = {module for module in modules if module.partition(".")[0] == "tui"}
    assert not {
        module for module in ours if module.split(".")[1:2] in (["control"], ["gateway"], ["history"], ["demo"])
    }
    assert not {module for module in ours if module.endswith(("dialogs", "asking", "session", "session_screen"))}
