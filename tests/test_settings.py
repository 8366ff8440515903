"""Where the connection comes from."""

from __future__ import annotations

import json
import logging
import os
import pprint
import string
import subprocess
import sys
import traceback
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tui.config import load_config
from tui.model.secret import Secret
from tui.settings import (
    FILE_LIMIT,
    LK_CONFIG,
    VARIABLES,
    Connection,
    SettingsError,
    resolve,
)

FLAG_NAMES = ("url", "api_key", "api_secret")


@dataclass
class Machine:
    """A home, a working directory in it, and an environment."""

    home: Path
    environ: dict[str, str]

    @property
    def cwd(self) -> Path:
        return self.home / "work"

    def lk(self, text: str | bytes) -> None:
        path = self.home / LK_CONFIG
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(text.encode() if isinstance(text, str) else text)

    def dotenv(self, values: Mapping[str, str], name: str = ".env") -> Path:
        path = self.cwd / name
        path.write_text("".join(f"{key}={value}\n" for key, value in values.items()))
        return path

    def resolve(self, *flags: str | None, **more: object) -> Connection:
        """`resolve` on this machine, `flags` being the URL, key and secret of the command line."""
        arguments: dict[str, Any] = {**dict(zip(FLAG_NAMES, flags, strict=False)), **more}
        return resolve(**arguments, environ=self.environ, cwd=self.cwd, home=self.home)

    def refused(self, *flags: str | None, **more: object) -> str:
        """The text of the SettingsError that `resolve` raises on this machine."""
        with pytest.raises(SettingsError) as caught:
            self.resolve(*flags, **more)
        return checked(caught.value)


def checked(error: SettingsError) -> str:
    """The error's text, once it is sure that neither it nor its traceback, locals included, shows a secret."""
    text = str(error)
    assert text.isprintable()
    seen = traceback.TracebackException.from_exception(error, capture_locals=True)
    ours = [
        frame
        for frame in seen.stack
        if frame.filename.endswith(("settings.py", "config.py")) and "test" not in frame.filename
    ]
    everything = text + repr(error) + "".join(traceback.format_exception(error)) + repr([each.locals for each in ours])
    assert ours
    assert "sk-" not in everything
    return text


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    made = Machine(tmp_path, {})
    made.cwd.mkdir()
    return made


def values(source: str) -> tuple[str, str, str]:
    return f"wss://{source}.test", f"key-{source}", f"sk-{source}"


def variables(source: str) -> dict[str, str]:
    return dict(zip(VARIABLES, values(source), strict=True))


def project(name: str, *, without: str = "") -> str:
    fields = dict(zip(FLAG_NAMES, values(name), strict=True))
    lines = [f"    {key}: {value}" for key, value in fields.items() if key != without]
    return "\n".join([f"  - name: {name}", f"    project_id: p_{name}", *lines, ""])


TWO_PROJECTS = "default_project: prod\nprojects:\n" + project("stage") + project("prod")


def summary(connection: Connection) -> tuple[str, str, str, str, str]:
    secret = connection.api_secret.reveal()
    return connection.url, connection.api_key, secret, connection.project, connection.source


# Precedence


def test_each_source_wins_over_the_ones_below_it(machine: Machine) -> None:
    machine.lk(TWO_PROJECTS)
    assert summary(machine.resolve()) == ("https://prod.test", "key-prod", "sk-prod", "prod", "lk config: prod")
    machine.dotenv(variables("beside"))
    assert summary(machine.resolve()) == ("https://beside.test", "key-beside", "sk-beside", "beside.test", "./.env")
    machine.environ = variables("env")
    assert summary(machine.resolve()) == ("https://env.test", "key-env", "sk-env", "env.test", "environment")
    named = machine.dotenv(variables("named"), "prod.env")
    expected = ("https://named.test", "key-named", "sk-named", "named.test", "~/work/prod.env")
    assert summary(machine.resolve(env_file=named)) == expected
    assert summary(machine.resolve(env_file=Path("prod.env")))[-1] == "prod.env"
    expected = ("https://stage.test", "key-stage", "sk-stage", "stage", "lk config: stage")
    assert summary(machine.resolve(project="stage")) == expected
    expected = ("http://127.0.0.1:7880", "devkey", "secret", "dev", "--dev")
    assert summary(machine.resolve(dev=True)) == expected
    expected = ("https://flag.test", "key-flag", "sk-flag", "flag.test", "command line")
    assert summary(machine.resolve(*values("flag"))) == expected


PARTS = st.tuples(st.booleans(), st.booleans(), st.booleans())


@settings(max_examples=300)
@given(flags=PARTS, env=PARTS, beside=PARTS, lk=PARTS)
def test_no_subset_of_values_in_any_sources_is_ever_mixed(
    tmp_path_factory: pytest.TempPathFactory,
    flags: tuple[bool, ...],
    env: tuple[bool, ...],
    beside: tuple[bool, ...],
    lk: tuple[bool, ...],
) -> None:
    machine = Machine(tmp_path_factory.getbasetemp() / "mixed", {})
    machine.cwd.mkdir(parents=True, exist_ok=True)

    def some(source: str, parts: tuple[bool, ...], names: tuple[str, ...] = VARIABLES) -> dict[str, str]:
        return {name: value for name, value, on in zip(names, values(source), parts, strict=True) if on}

    machine.environ = some("env", env)
    machine.dotenv(some("beside", beside))
    fields = {"name": "lk", **some("lk", lk, FLAG_NAMES)}
    machine.lk(json.dumps({"projects": [fields]}))
    given_flags = some("flag", flags, FLAG_NAMES)

    first = next((name for name, on in (("flag", flags), ("env", env), ("beside", beside)) if any(on)), "lk")
    whole = all({"flag": flags, "env": env, "beside": beside, "lk": lk}[first])
    if whole:
        connection = machine.resolve(**given_flags)
        assert summary(connection)[:3] == (f"https://{first}.test", *values(first)[1:])
        assert "sk-" not in repr(connection) + str(connection)
    elif flags == (True, True, False) and env == (False, False, True):
        connection = machine.resolve(**given_flags)
        assert summary(connection)[:3] == ("https://flag.test", "key-flag", "sk-env")
        assert connection.source == "command line, secret from the environment"
    else:
        machine.refused(**given_flags)


# The command line


@pytest.mark.parametrize(
    ("given_flags", "missing"),
    [
        (("wss://flag.test", None, None), "--url but no --api-key and --api-secret"),
        ((None, "key", None), "--api-key but no --url and --api-secret"),
        ((None, None, "sk-flag"), "--api-secret but no --url and --api-key"),
        (("wss://flag.test", "key", None), "--url and --api-key but no --api-secret"),
        (("wss://flag.test", "key", ""), "--url and --api-key but no --api-secret"),
        (("", "", ""), "no --url, --api-key and --api-secret"),
    ],
)
def test_part_of_a_group_on_the_command_line_says_what_is_missing(
    machine: Machine, given_flags: tuple[str | None, ...], missing: str
) -> None:
    machine.lk(TWO_PROJECTS)
    machine.dotenv(variables("beside"))
    assert f"the command line has {missing}" in machine.refused(*given_flags)


@pytest.mark.parametrize("also", [{}, {"LIVEKIT_URL": "https://flag.test/"}, {"LIVEKIT_API_KEY": "key-flag"}])
def test_the_secret_alone_may_come_from_the_environment(machine: Machine, also: dict[str, str]) -> None:
    machine.environ = {"LIVEKIT_API_SECRET": "sk-env", **also}
    found = machine.resolve("wss://flag.test", "key-flag")
    assert summary(found)[2:] == ("sk-env", "flag.test", "command line, secret from the environment")


@pytest.mark.parametrize(("name", "value"), [("LIVEKIT_URL", "wss://other.test"), ("LIVEKIT_API_KEY", "other")])
def test_a_secret_that_goes_with_another_server_or_key_is_refused(machine: Machine, name: str, value: str) -> None:
    machine.environ = {"LIVEKIT_API_SECRET": "sk-env", name: value}
    assert f"goes with another {name} than" in machine.refused("wss://flag.test", "key-flag")


@pytest.mark.parametrize(
    ("url", "more", "named"),
    [
        ("ws://a", {"dev": True}, "--url and --dev each"),
        ("ws://a", {"project": "prod"}, "--url and --project each"),
        (None, {"dev": True, "project": "", "env_file": Path("x")}, "--project, --dev and --env-file each"),
    ],
)
def test_two_ways_to_choose_a_server_conflict(
    machine: Machine, url: str | None, more: dict[str, object], named: str
) -> None:
    assert named in machine.refused(url, **more)


# The environment and .env


@pytest.mark.parametrize("lacking", VARIABLES)
@pytest.mark.parametrize("empty", [True, False])
def test_part_of_a_group_in_variables_is_an_error_that_names_the_rest(
    machine: Machine, lacking: str, *, empty: bool
) -> None:
    machine.lk(TWO_PROJECTS)
    part = variables("part") | {lacking: ""}
    part = part if empty else {name: value for name, value in part.items() if value}
    machine.environ = part
    assert machine.refused().startswith("the environment has LIVEKIT_")
    assert f"but no {lacking}: all three are needed" in machine.refused()
    machine.environ = {}
    path = machine.dotenv(part)
    there = " and ".join(name for name in VARIABLES if name != lacking)
    assert f"~/work/.env has {there} but no {lacking}:" in machine.refused()
    assert f"but no {lacking}:" in machine.refused(env_file=path)


def test_empty_variables_and_a_dotenv_without_ours_are_skipped(machine: Machine) -> None:
    machine.lk(TWO_PROJECTS)
    machine.environ = dict.fromkeys(VARIABLES, "")
    machine.dotenv({"DATABASE_URL": "postgres://localhost", "LIVEKIT_URL": ""})
    assert machine.resolve().source == "lk config: prod"


def test_a_directory_called_dotenv_is_no_source(machine: Machine) -> None:
    machine.lk(TWO_PROJECTS)
    (machine.cwd / ".env").mkdir()
    assert machine.resolve().source == "lk config: prod"
    assert "--env-file .env: there is no such file" in machine.refused(env_file=Path(".env"))


def test_a_dotenv_is_read_as_dotenv_files_are_written(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTHER", "expanded")
    lines = (
        "\ufeff# ours",
        "export LIVEKIT_URL='wss://a.test'",
        "LIVEKIT_API_KEY=k # why",
        "LIVEKIT_API_SECRET=${OTHER}",
    )
    (machine.cwd / ".env").write_bytes("\r\n".join(lines).encode())
    before = dict(os.environ)
    assert summary(machine.resolve())[:3] == ("https://a.test", "k", "${OTHER}")
    assert dict(os.environ) == before


def test_an_env_file_may_be_a_pipe_and_must_hold_all_three(machine: Machine) -> None:
    reading, writing = os.pipe()
    os.write(writing, "".join(f"{key}={value}\n" for key, value in variables("pipe").items()).encode())
    os.close(writing)
    assert machine.resolve(env_file=Path(f"/dev/fd/{reading}")).api_secret == Secret("sk-pipe")
    os.close(reading)
    assert "none.env has no LIVEKIT_URL, LIVEKIT_API_KEY and" in machine.refused(
        env_file=machine.dotenv({"A": "b"}, "none.env")
    )
    assert "no such file" in machine.refused(env_file=Path("absent.env"))


@pytest.mark.parametrize("value", ["sk- a", "sk-a\n", "sk-a\x1b[2J", "sk-\u202ea", "\udcffsk-a"])
def test_a_secret_with_spaces_or_controls_is_refused_without_showing_it(machine: Machine, value: str) -> None:
    assert "the command line: --api-secret has spaces" in machine.refused("ws://a", "key", value)
    assert "the command line: --api-key has spaces" in machine.refused("ws://a", value, "sk-a")


# The LiveKit CLI's config


@pytest.mark.parametrize(
    ("config", "complaint"),
    [
        ("projects:\n" + project("a") + project("b"), "has no default_project: choose one with --project NAME"),
        ("default_project: gone\nprojects:\n" + project("a"), "default_project gone is not in"),
        ("projects:\n" + project("a", without="api_secret"), "project a in ~/.livekit/cli-config.yaml has url and"),
        ("projects:\n" + project("a", without="url"), "but no url:"),
        ("projects:\n- api_secret: sk-a\n- 7\n", "(there: (unnamed), (unnamed))"),
        ("default_project: a\nprojects:\n" + project("a") * 2, "more than one project called a"),
        ("projects:\n  a: sk-b\n", "no list called projects"),
        ("- sk-a\n", "no list called projects"),
        ("projects:\n\t- sk-a\n", "is not valid YAML (line 2)"),
        ("api_secret: 'sk-a\n", "is not valid YAML"),
        ("projects: &loop [*loop, sk-a]", "is not valid YAML"),
        ("sk-a: \x01", "is not valid YAML"),
        ("[" * 50_000, "nested too deeply"),
        (b"\xff\xfe\x00sk-a", "is not UTF-8 text"),
        ("#" * (FILE_LIMIT + 1), "is over 256 KiB"),
    ],
)
def test_a_config_that_cannot_be_used_says_so(machine: Machine, config: str | bytes, complaint: str) -> None:
    machine.lk(config)
    text = machine.refused()
    assert complaint in text
    assert "~/.livekit/cli-config.yaml" in text
    assert machine.resolve(dev=True).project == "dev", "a source that isn't reached isn't opened"


def test_the_only_project_needs_no_default(machine: Machine) -> None:
    machine.lk("theme: dark\nusers:\n- {session_token: x}\nprojects:\n" + project("one"))
    assert machine.resolve().source == "lk config: one"


def test_an_unknown_project_lists_the_ones_there_are(machine: Machine) -> None:
    assert "is not in ~/.livekit/cli-config.yaml: choose one with --project (none)" in machine.refused(project="x")
    machine.lk(TWO_PROJECTS)
    assert "--project x\\x1b is not in" in machine.refused(project="x\x1b")
    assert "(stage, prod)" in machine.refused(project="Prod")
    assert "(stage, prod)" in machine.refused(project="")
    machine.lk(json.dumps({"projects": [{"name": f"p{number}"} for number in range(500)]}))
    assert machine.refused(project="x").endswith("p28, p29, …)")


def test_values_are_taken_as_they_are_written(machine: Machine) -> None:
    machine.lk("default_project: 1.10\nprojects: [{name: 1.10, url: ws://a, api_key: 0123, api_secret: 1_0, new: [x]}]")
    assert summary(machine.resolve()) == ("http://a", "0123", "1_0", "1.10", "lk config: 1.10")


def test_nothing_is_expanded_or_run_by_a_hostile_config(machine: Machine) -> None:
    levels = "".join(f"l{n}: &l{n} {{<<: [{', '.join([f'*l{n - 1}'] * 9)}]}}\n" for n in range(1, 30))
    touched = machine.home / "touched"
    run = f"x: !!python/object/apply:pathlib.Path.touch [{touched}]\n"
    machine.lk("l0: &l0 {a: b}\n" + levels + run + TWO_PROJECTS)
    assert machine.resolve().project == "prod"
    assert not touched.exists()


def test_a_hostile_project_name_is_printable_on_the_screen(machine: Machine) -> None:
    machine.lk(
        json.dumps({"projects": [dict(zip(("name", *FLAG_NAMES), ("a\u202e\n\x1b[2J", *values("x")), strict=True))]})
    )
    found = machine.resolve()
    assert (found.project, found.source) == ("a\\u202e\\x0a\\x1b[2J", "lk config: a\\u202e\\x0a\\x1b[2J")


@pytest.mark.parametrize("config", [None, "", "projects:\n", "projects: null\ndevice_name: x\n"])
def test_nothing_anywhere_says_where_it_looked_and_what_to_try(machine: Machine, config: str | None) -> None:
    if config is not None:
        machine.lk(config)
    text = machine.refused()
    for place in (
        "command line",
        *VARIABLES,
        "~/work/.env",
        "~/.livekit/cli-config.yaml",
        "lk-tui demo",
        "lk-tui --dev",
    ):
        assert place in text


def test_a_source_that_fails_to_be_read_is_an_error_and_not_skipped(machine: Machine) -> None:
    machine.lk(TWO_PROJECTS)
    (machine.cwd / ".env").symlink_to(".env")
    assert "~/work/.env cannot be read: " in machine.refused()


@given(
    content=st.binary(max_size=80)
    | st.text(alphabet=" \n\t:-&*!?{}[]'\"#|>%@`<,aprojects=$\\", max_size=80).map(str.encode)
)
def test_any_bytes_in_any_file_are_a_connection_or_a_settings_error(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    machine = Machine(tmp_path_factory.getbasetemp() / "bytes", {})
    machine.cwd.mkdir(parents=True, exist_ok=True)
    machine.lk(content)
    config = machine.home / "config.toml"
    config.write_bytes(content)
    for attempt in (machine.resolve, lambda: machine.resolve(env_file=config), lambda: load_config(config)):
        try:
            attempt()
        except SettingsError as error:
            checked(error)


# URLs


@pytest.mark.parametrize(
    ("url", "normal", "insecure"),
    [
        ("wss://a.livekit.cloud", "https://a.livekit.cloud", False),
        ("HTTPS://A.Livekit.Cloud:443//", "https://a.livekit.cloud", False),
        ("ws://10.0.0.5:7880/", "http://10.0.0.5:7880", True),
        ("http://a.test:80/rtc/x/", "http://a.test/rtc/x", True),
        ("ws://localhost:7880", "http://localhost:7880", False),
        ("ws://lk.localhost", "http://lk.localhost", False),
        ("http://127.1.2.3", "http://127.1.2.3", False),
        ("ws://[::1]:7880", "http://[::1]:7880", False),
        ("ws://[2001:DB8:0::1]", "http://[2001:db8::1]", True),
        ("wss://bücher.test", "https://xn--bcher-kva.test", False),
        ("ws://localhost.test", "http://localhost.test", True),
    ],
)
def test_urls_are_understood_in_both_forms(machine: Machine, url: str, normal: str, *, insecure: bool) -> None:
    found = machine.resolve(url, "key", "sk-a")
    assert (found.url, found.insecure) == (normal, insecure)


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("a.livekit.cloud", "must start with wss://"),
        ("localhost:7880", "must start with"),
        ("ftp://a.test", "must start with"),
        ("wss:a.test", "must start with"),
        ("sk-swapped", "must start with"),
        ("wſ://a", "must start with"),
        ("wss://", "no usable host"),
        ("wss:///a", "no usable host"),
        ("wss://:7880", "no usable host"),
        ("wss://a..b", "no usable host"),
        ("wss://a:port", "no usable host"),
        ("wss://a:0", "no usable host"),
        ("wss://a:70000", "no usable host"),
        ("wss://[::1", "no usable host"),
        ("wss://[v1.a]", "no usable host"),
        ("wss://::1:7880", "no usable host"),
        ("wss://a%2eb", "no usable host"),
        ("wss://a\\b", "no usable host"),
        ("wss://user:sk-x@a.test", "user name or password"),
        ("wss://[@a.test", "user name or password"),
        ("wss://a.test?token=sk-x", "query or fragment"),
        ("wss://a.test/#sk-x", "query or fragment"),
        ("wss://a .test", "spaces"),
        (" wss://a.test", "spaces"),
        ("wss://a.test\n", "spaces"),
        ("wss://a\x00.test", "spaces"),
        ("wss://a\u202e.test", "spaces"),
    ],
)
def test_a_url_that_cannot_be_meant_is_refused_without_quoting_it(machine: Machine, url: str, complaint: str) -> None:
    text = machine.refused(url, "key", "sk-a")
    assert text.startswith("the command line: --url ")
    assert complaint in text


@given(
    st.text(max_size=40)
    | st.text(alphabet=string.ascii_letters + "0123456789.:/@[]%-_é\\", max_size=30).map("wss://".__add__)
)
def test_any_text_is_a_clean_url_or_a_settings_error(url: str) -> None:
    def normal(text: str) -> str:
        return resolve(url=text, api_key="k", api_secret="s", environ={}, cwd=Path("/x"), home=Path("/y")).url

    try:
        once = normal(url)
    except SettingsError:
        return
    assert once.startswith(("http://", "https://"))
    assert once.isprintable()
    assert not once.endswith("/")
    assert normal(once) == once


# Secrets


def test_a_secret_shows_in_no_text_form(caplog: pytest.LogCaptureFixture, machine: Machine) -> None:
    secret = Secret("sk-x")
    logging.getLogger("a").warning("%s %r", secret, machine.resolve("wss://a", "key-x", "sk-x"))
    shown = [str(secret), repr(secret), f"{secret:>20}", f"{secret!s}", pprint.pformat([secret]), caplog.text]
    shown.append(str(asdict(machine.resolve("wss://a", "key", "sk-x"))))
    assert "sk-x" not in "".join(shown)
    assert "key-x" not in caplog.text
    assert secret.reveal() == "sk-x"
    assert len({secret, Secret("sk-x"), Secret("sk-y")}) == 2


def test_a_flag_source_opens_no_parser() -> None:
    code = (
        "import sys, pathlib, tui.settings as s; "
        "s.resolve(dev=True, environ={}, cwd=pathlib.Path('/x'), home=pathlib.Path('/y')); "
        "print(sorted({'yaml', 'dotenv', 'platformdirs', 'textual', 'livekit'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_home_that_is_the_root_is_not_abbreviated(machine: Machine) -> None:
    path = machine.dotenv(variables("a"))
    found = resolve(env_file=path, environ={}, cwd=machine.cwd, home=Path("/"))
    assert found.source == str(path)
