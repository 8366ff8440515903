"""The settings besides the connection: thresholds, read-only, the operator's name."""

from __future__ import annotations

import getpass
import socket
from dataclasses import fields
from pathlib import Path

import pytest

from tui.config import Config, default_operator, load_config, truthy
from tui.model.patience import Patience
from tui.model.signs import Thresholds
from tui.settings import SettingsError


def test_thresholds_and_patience_come_from_the_users_config_where_there_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert load_config(None) == Config()
    assert not (tmp_path / "lk-tui").exists()
    (tmp_path / "lk-tui").mkdir()
    (tmp_path / "lk-tui" / "config.toml").write_text(
        "\ufeff[thresholds]\nwaiting_s = 5\n[patience]\nkicked_s = 7\n", "utf-8"
    )
    found = load_config(None)
    assert found == Config(Thresholds(waiting_s=5.0), Patience(kicked_s=7.0))
    assert isinstance(found.thresholds.waiting_s, float)


def known(what: type[Thresholds | Patience]) -> str:
    return f" (known: {', '.join(each.name for each in fields(what))})"


NUMBER = " must be a number of seconds from 0 to 1e+09"


@pytest.mark.parametrize(
    ("text", "key", "end"),
    [
        ("[thresholds]\nwating_s = 5", "unknown key wating_s in [thresholds] in ", known(Thresholds)),
        ("[patience]\nwaiting_s = 5", "unknown key waiting_s in [patience] in ", known(Patience)),
        ("[patience]\nkicked_s = 'long'", "kicked_s in ", NUMBER + known(Patience)),
        ("[treshold]\nwaiting_s = 5", "unknown key treshold in ", " (known: thresholds, patience)"),
        ("thresholds = 5", "thresholds in ", " must be a table: [thresholds]"),
        ("[thresholds", "", " is not valid TOML: "),
        *[
            (f"[thresholds]\nalone_s = {value}", "alone_s in ", NUMBER + known(Thresholds))
            for value in ("-1", "true", "'30'", "nan", "inf", "9" * 400, "[1]", "1979-05-27")
        ],
        ("[thresholds]\nalone_s = " + "9" * 5000, "", " is not valid TOML: "),
    ],
)
def test_a_wrong_threshold_names_the_key_the_file_and_the_known_keys(
    tmp_path: Path, text: str, key: str, end: str
) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(SettingsError) as caught:
        load_config(path)
    message = str(caught.value)
    assert message.startswith(f"{key}{path}{end}")
    assert message.isprintable()


def test_a_config_that_is_named_must_exist(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"--config .*absent\.toml: there is no such file"):
        load_config(tmp_path / "absent.toml")


@pytest.mark.parametrize("word", ["1", "true", "YES", " on "])
def test_a_variable_says_yes(word: str) -> None:
    assert truthy(word, "LK_TUI_READ_ONLY")


@pytest.mark.parametrize("word", [None, "", "0", "False", "no", "off", " "])
def test_a_variable_says_no(word: str | None) -> None:
    assert not truthy(word, "LK_TUI_READ_ONLY")


def test_a_variable_that_says_neither_is_an_error() -> None:
    with pytest.raises(SettingsError, match=r"LK_TUI_READ_ONLY=ture\\x1b is neither"):
        truthy("ture\x1b", "LK_TUI_READ_ONLY")


def test_the_operator_is_printable_and_never_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "desk\x1b")
    monkeypatch.setattr(getpass, "getuser", lambda: "ann")
    assert default_operator() == "ann@desk\\x1b"

    def nobody() -> str:
        raise KeyError("getpwuid(): uid not found: 1234")

    monkeypatch.setattr(getpass, "getuser", nobody)
    assert default_operator() == "unknown@desk\\x1b"
