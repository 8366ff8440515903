"""Where the connection comes from.

A connection is three values (URL, key, secret), and they come from one source, whole: a tool that deletes rooms must
never join the URL of one server to the key of another, nor fall back to a default project because a variable is
missing. Nothing here writes a file or changes the process's environment.
"""

from __future__ import annotations

import io
import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from tui.model.lines import Lines
from tui.model.secret import Secret
from tui.model.text import safe_text

Trio = tuple[str, str, str]

VARIABLES: Trio = ("LIVEKIT_URL", "LIVEKIT_API_KEY", "LIVEKIT_API_SECRET")
FLAGS: Trio = ("--url", "--api-key", "--api-secret")
LK_FIELDS: Trio = ("url", "api_key", "api_secret")

LK_CONFIG = Path(".livekit", "cli-config.yaml")
"""Under the home directory: livekit-cli `pkg/config/config.go`, `getConfigLocation`."""

FILE_LIMIT = 256 * 1024
"""Bytes: far over any real settings file, and little enough that the slowest parser is done in seconds."""

LISTED = 30
"""Project names at most in an error's text."""


class SettingsError(Exception):
    """What is wrong with the settings, where, and what to do: one printable line that never holds a secret."""


@dataclass(frozen=True, slots=True)
class Connection:
    """One LiveKit server and the right to use it, with where that came from."""

    url: str
    """`http(s)://host[:port][/path]`, no trailing slash, no credentials"""
    api_key: str = field(repr=False)
    api_secret: Secret = field(repr=False)
    project: str
    """printable, for the screen: the LiveKit CLI's name of the project, `dev`, or the host"""
    source: str
    """printable, for the screen: `command line`, `environment`, `./.env`, `lk config: prod`, …"""
    lines: Lines | None = field(default=None, repr=False, compare=False)
    """how agents' sessions are called where no observer can join their rooms: the demo's"""

    @property
    def insecure(self) -> bool:
        """Whether tokens travel unencrypted to another machine."""
        parts = urlsplit(self.url)
        return parts.scheme == "http" and not _is_loopback(parts.hostname or "")


def resolve(
    *,
    url: str | None = None,
    api_key: str | None = None,
    api_secret: str | None = None,
    project: str | None = None,
    dev: bool = False,
    env_file: Path | None = None,
    environ: Mapping[str, str],
    cwd: Path,
    home: Path,
) -> Connection:
    """The connection from the first source that has one; a source that has only part of one is an error.

    1. The command line: `url`, `api_key` and `api_secret`; or `project`, a name in the LiveKit CLI's config; or `dev`,
       what `livekit-server --dev` listens on; or `env_file`. Only one of these. A flag that is given empty (an unset
       shell variable) is missing, not absent. A relative `env_file` is under `cwd`; it is explicit, so it wins over
       the environment. The secret alone may come from the environment, where nothing there names another server or
       key: that keeps it out of the process list.
    2. `LIVEKIT_URL`, `LIVEKIT_API_KEY`, `LIVEKIT_API_SECRET` in `environ`; an empty one counts as not set.
    3. `.env` in `cwd`, skipped where it has none of the three.
    4. `~/.livekit/cli-config.yaml` under `home`: its default project, or its only one.

    Raises SettingsError, also where there is nothing anywhere. Files of lower sources are not opened.
    """
    flags = _Group("the command line", FLAGS, (_kept(url), _kept(api_key), _kept(api_secret)))
    environment = _variables("the environment", environ)
    given = [flag for flag, value in zip(FLAGS, (url, api_key, api_secret), strict=True) if value is not None][:1]
    given += ["--project"] * (project is not None) + ["--dev"] * dev + ["--env-file"] * (env_file is not None)
    # Textual and rich print a traceback's local variables, so no frame of an error may hold a raw secret.
    del url, api_key, api_secret, environ
    try:
        return _first(given, flags, environment, project, env_file, cwd, home)
    except SettingsError as error:
        raise error.with_traceback(None) from None


@dataclass(frozen=True, slots=True)
class _Group:
    """What one source holds of a connection: the place as a sentence names it, what the three values are called there,
    and the values. All three are kept as secrets: a URL may carry a password, or be a secret in the wrong variable."""

    where: str
    names: Trio
    values: tuple[Secret | None, Secret | None, Secret | None]

    def __bool__(self) -> bool:
        return any(self.values)

    def connection(self, source: str, project: str | None = None) -> Connection:
        """The connection, or a SettingsError that says which of the three is missing or malformed."""
        url, key, secret = self.values
        if url is None or key is None or secret is None:
            raise SettingsError(self.incomplete())
        for name, value in ((self.names[1], key), (self.names[2], secret)):
            if not _is_plain(value.reveal()):
                raise SettingsError(f"{self.where}: {name} has spaces, line breaks or control characters in it")
        address = _normalised(url, f"{self.where}: {self.names[0]}")
        return Connection(address, key.reveal(), secret, project or urlsplit(address).hostname or "", source)

    def incomplete(self) -> str:
        """The sentence for a group that lacks something: where it is, what it has, what is missing."""
        pairs = list(zip(self.names, self.values, strict=True))
        there = [name for name, value in pairs if value is not None]
        missing = [name for name, value in pairs if value is None]
        holds = f"{_listed(there)} but no {_listed(missing)}" if there else f"no {_listed(missing)}"
        return f"{self.where} has {holds}: all three are needed, none empty, from that one place"


def _first(
    given: Sequence[str],
    flags: _Group,
    environment: _Group,
    project: str | None,
    env_file: Path | None,
    cwd: Path,
    home: Path,
) -> Connection:
    if len(given) > 1:
        raise SettingsError(f"{_listed(given)} each choose a server: give only one of them")
    if project is not None:
        return _lk_project(project, home)
    if env_file is not None:
        shown = _shown(env_file, home)
        named = _dotenv(cwd / env_file, shown)
        if named is None:
            raise SettingsError(f"--env-file {shown}: there is no such file")
        return named.connection(shown)
    if given == ["--dev"]:
        return Connection("http://127.0.0.1:7880", "devkey", Secret("secret"), "dev", "--dev")
    if given:
        return _from_flags(flags, environment)
    if environment:
        return environment.connection("environment")
    beside = cwd / ".env"
    local = _dotenv(beside, _shown(beside, home))
    return local.connection("./.env") if local else _lk_project(None, home, beside)


def _from_flags(flags: _Group, environment: _Group) -> Connection:
    url, key, secret = flags.values
    if url is None or key is None or secret is not None:
        return flags.connection("command line")
    their_url, their_key, their_secret = environment.values
    if their_secret is None:
        raise SettingsError(f"{flags.incomplete()}; only the secret may be in LIVEKIT_API_SECRET instead")
    theirs = _normalised(their_url, "the environment: LIVEKIT_URL") if their_url else None
    others = ["LIVEKIT_URL"] * (theirs not in (None, _normalised(url, "the command line: --url")))
    others += ["LIVEKIT_API_KEY"] * (their_key not in (None, key))
    if others:
        raise SettingsError(
            f"LIVEKIT_API_SECRET in the environment goes with another {_listed(others)} than the command line's: "
            f"unset {_listed(others)} there, or use the environment's three alone"
        )
    joined = _Group("the command line and environment", (*FLAGS[:2], VARIABLES[2]), (url, key, their_secret))
    return joined.connection("command line, secret from the environment")


def _variables(where: str, values: Mapping[str, str] | Mapping[str, str | None]) -> _Group:
    url, key, secret = VARIABLES
    return _Group(where, VARIABLES, (_kept(values.get(url)), _kept(values.get(key)), _kept(values.get(secret))))


def _dotenv(path: Path, shown: str) -> _Group | None:
    """The group in a `.env` file, or None where there is no file."""
    text = read_file(path, shown)
    if text is None:
        return None
    from dotenv import dotenv_values

    # Interpolation would mix the process's variables into the file's.
    return _variables(shown, dotenv_values(stream=io.StringIO(text), interpolate=False))


def _lk_project(name: str | None, home: Path, beside: Path | None = None) -> Connection:
    """The project of that name in the LiveKit CLI's config; for None its default, or else its only one.

    As the last source it also says where else was looked: `beside` is the `.env` that held nothing.
    """
    config = home / LK_CONFIG
    shown = _shown(config, home)
    default, projects = _lk_projects(config, shown)
    if beside is not None and not projects:
        raise SettingsError(
            f"no LiveKit server is named: looked at the command line, the environment ({', '.join(VARIABLES)}), "
            f"{_shown(beside, home)} and {shown}. Try `lk-tui demo`, or `lk-tui --dev` for a livekit-server --dev here"
        )
    names = [safe_text(_lk_text(entry, "name") or "(unnamed)") for entry in projects]
    there = ", ".join(names[:LISTED] + ["…"] * (len(names) > LISTED)) or "none"
    wanted = default if name is None else name
    found = [entry for entry in projects if wanted is None or _lk_text(entry, "name") == wanted]
    if wanted is None and len(found) > 1:
        raise SettingsError(f"{shown} has no default_project: choose one with --project NAME (there: {there})")
    if len(found) > 1:
        raise SettingsError(f"{shown} has more than one project called {safe_text(wanted or '')}: rename all but one")
    if not found:
        called = "default_project" if name is None else "--project"
        raise SettingsError(
            f"{called} {safe_text(wanted or '')} is not in {shown}: choose one with --project ({there})"
        )
    own = safe_text(_lk_text(found[0], "name") or "")
    label = own or "(unnamed)"
    url, key, secret = (_kept(_lk_text(found[0], each)) for each in LK_FIELDS)
    return _Group(f"project {label} in {shown}", LK_FIELDS, (url, key, secret)).connection(f"lk config: {label}", own)


def _lk_projects(path: Path, shown: str) -> tuple[str | None, list[Mapping[object, object]]]:
    """The default project's name and the projects of the LiveKit CLI's config; nothing where there is no file.

    An entry that isn't a mapping stays, empty: were it dropped, another could pass for the only project.
    """
    text = read_file(path, shown)
    if text is None:
        return None, []
    import yaml

    try:
        # BaseLoader builds text, lists and mappings only. safe_load would read the key 0123 as 83, which the CLI, being
        # Go and decoding into strings, doesn't; and it expands merge keys, which a hostile file makes exponential.
        config: object = yaml.BaseLoader(text).get_single_data()
    except yaml.YAMLError as error:
        # Its text quotes the file, and with it the secrets: only the line is told.
        mark = error.problem_mark if isinstance(error, yaml.MarkedYAMLError) else None
        place = f" (line {mark.line + 1})" if mark else ""
        raise SettingsError(f"{shown} is not valid YAML{place}: correct it, or name the server otherwise") from None
    except RecursionError:
        raise SettingsError(f"{shown} is nested too deeply to be a LiveKit CLI config") from None
    if config is None:
        return None, []
    projects = config.get("projects") if isinstance(config, dict) else "not even a mapping"
    if projects in (None, "", "~", "null"):
        projects = []
    if not isinstance(config, dict) or not isinstance(projects, list):
        raise SettingsError(f"{shown} has no list called projects: correct it, or name the server otherwise")
    return _lk_text(config, "default_project"), [entry if isinstance(entry, dict) else {} for entry in projects]


def _lk_text(entry: Mapping[object, object], name: str) -> str | None:
    """A field's text as written, or None where it is absent, empty, null, or not a scalar."""
    value = entry.get(name)
    return value if isinstance(value, str) and value.lower() not in {"", "~", "null"} else None


def read_file(path: Path, shown: str) -> str | None:
    """A settings file's text, or None where there is no such file. Pipes (`--env-file <(…)`) are read too, and a
    directory is no file: one called `.env` is somebody's virtual environment."""
    try:
        with path.open("rb") as file:
            content = file.read(FILE_LIMIT + 1)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None
    except OSError as error:
        raise SettingsError(f"{shown} cannot be read: {error.strerror}") from None
    if len(content) > FILE_LIMIT:
        raise SettingsError(f"{shown} is over {FILE_LIMIT // 1024} KiB, which is no settings file")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise SettingsError(f"{shown} is not UTF-8 text") from None


def _normalised(raw: Secret, where: str) -> str:
    """The URL as `http(s)://host[:port][/path]`. Its errors say what is wrong and never quote it."""
    text = raw.reveal()
    if not _is_plain(text):
        raise SettingsError(f"{where} has spaces, line breaks or control characters in it")
    start = re.match("(?:ws|http)(s?)://", text.lower())
    if start is None:
        raise SettingsError(f"{where} must start with wss://, https://, ws:// or http://")
    if "?" in text or "#" in text:
        raise SettingsError(f"{where} has a query or fragment (? or #) in it: take it out")
    try:
        parts = urlsplit(text)
        host, port = _host(parts.hostname or "", bracketed="[" in parts.netloc), parts.port
    except ValueError:
        host, port = None, None
    if "@" in text.split("/")[2]:
        raise SettingsError(f"{where} has a user name or password in it: take them out, the API key is what counts")
    if host is None or port == 0:
        raise SettingsError(f"{where} has no usable host name or port")
    scheme, usual = ("https", 443) if start[1] else ("http", 80)
    return f"{scheme}://{host}{'' if port in (None, usual) else f':{port}'}{parts.path.rstrip('/')}"


def _host(host: str, *, bracketed: bool) -> str | None:
    """The host in ASCII, so that no look-alike letter passes on screen; None or ValueError for what is no host."""
    if bracketed:
        return f"[{ipaddress.IPv6Address(host)}]" if "%" not in host else None
    name = host.encode("idna").decode("ascii").lower()
    return name if re.fullmatch(r"[a-z0-9_][a-z0-9._-]*", name) else None


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _kept(value: str | None) -> Secret | None:
    return Secret(value) if value else None


def _is_plain(value: str) -> bool:
    return value.isprintable() and " " not in value


def _listed(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _shown(path: Path, home: Path) -> str:
    """The path for a person, the home directory as ~ (unless that is the root, as for a container's user)."""
    if home != home.parent and path.is_relative_to(home):
        return safe_text(str("~" / path.relative_to(home)), 4096)
    return safe_text(str(path), 4096)
