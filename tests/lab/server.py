"""A real livekit-server on free loopback ports."""

import json
import os
import random
import shutil
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import NoReturn, Self

import yaml
from livekit import api

from tests.lab.missing import missing
from tests.lab.process import REPOSITORY, LabProcess, LabProcessError

SERVER_MODULE = "github.com/livekit/livekit-server/cmd/server@v1.13.5"

_READY_SECONDS = 30.0
_INSTALL_SECONDS = 600.0
_START_ATTEMPTS = 3

_PORTS_GIVEN_OUT = Path("/proc/sys/net/ipv4/ip_local_port_range")
_GIVEN_OUT_FROM = 32768
"""Linux's default, where it says nothing."""
_FREE_FROM = 10_000
_PORT_ATTEMPTS = 20
_chance = random.SystemRandom()
"""Not the seeded one: test runs side by side would choose the same."""


@cache
def server_binary() -> Path:
    """Path of the livekit-server program, built into `.tools` when there is none and Go is at hand.

    Without one the test is skipped; under CI=true it fails, because there it is a broken set-up.
    """
    named = os.environ.get("LIVEKIT_SERVER") or shutil.which("livekit-server")
    if named:
        return Path(named)
    tools = REPOSITORY / ".tools"
    for candidate in (tools / "livekit-server", tools / "server"):
        if candidate.is_file():
            return candidate
    go = shutil.which("go")
    if go is None:
        _give_up("there is no `go` to build it with")
    built = subprocess.run(
        [go, "install", SERVER_MODULE],
        env={**os.environ, "GOBIN": str(tools)},
        capture_output=True,
        text=True,
        timeout=_INSTALL_SECONDS,
        check=False,
    )
    if built.returncode != 0:
        _give_up(f"`go install {SERVER_MODULE}` failed: {built.stderr.strip()}")
    return tools / "server"


def _give_up(why: str) -> NoReturn:
    missing(
        f"No livekit-server: {why}. Put `livekit-server` on PATH, name it in LIVEKIT_SERVER, "
        f"or run `GOBIN={REPOSITORY / '.tools'} go install {SERVER_MODULE}`."
    )


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    """A port that nobody uses just now, on any of this machine's addresses.

    Of those that the system gives to no connection by itself: one of its own choosing may be another connection's
    by the time that it is listened on.
    """
    given_out = int(_PORTS_GIVEN_OUT.read_text().split()[0]) if _PORTS_GIVEN_OUT.exists() else _GIVEN_OUT_FROM
    for port in _chance.sample(range(_FREE_FROM, given_out), k=_PORT_ATTEMPTS):
        with socket.socket(socket.AF_INET, kind) as probe, suppress(OSError):
            probe.bind(("", port))
            return port
    raise LabProcessError(f"none of {_PORT_ATTEMPTS} ports was free")


class LabServer:
    """One livekit-server; a context manager that is ready inside and gone outside."""

    api_key = "devkey"
    api_secret = "secretsecretsecretsecretsecretsecret"

    def __init__(
        self,
        directory: Path,
        *,
        webhook_urls: Sequence[str] = (),
        empty_timeout: int | None = None,
        departure_timeout: int | None = None,
        auto_create: bool | None = None,
        redis: str = "",
    ) -> None:
        """`directory` gets the config and the log. Timeouts are seconds; None is the server's (300 and 20).

        `auto_create` says whether joining makes a room that is not there; None is the server's (true). `redis` is
        `host:port` of the one that makes it a node of a cluster (`tests.lab.cluster`); empty for none.
        """
        self._directory = directory
        self._redis = redis
        self._webhook_urls = list(webhook_urls)
        self._room = {
            name: value
            for name, value in (
                ("empty_timeout", empty_timeout),
                ("departure_timeout", departure_timeout),
                ("auto_create", auto_create),
            )
            if value is not None
        }
        self._port = 0
        self.process = LabProcess("livekit-server", directory / "livekit-server.log")

    @property
    def url(self) -> str:
        """`http://127.0.0.1:<port>`; the same port for as long as this object lives, once it has been started."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def ws_url(self) -> str:
        """The same address as participants and workers dial it."""
        return f"ws://127.0.0.1:{self._port}"

    @property
    def variables(self) -> dict[str, str]:
        """What a person sets in their environment to reach it."""
        return {
            "LIVEKIT_URL": self.ws_url,
            "LIVEKIT_API_KEY": self.api_key,
            "LIVEKIT_API_SECRET": self.api_secret,
        }

    def start(self) -> None:
        """Start and wait until it answers HTTP. After `stop()` it comes back on the same port, with no rooms."""
        binary = server_binary()
        if self._port:
            self._launch(binary)
            return
        for attempt in range(1, _START_ATTEMPTS + 1):
            self._write_config()
            try:
                self._launch(binary)
            except LabProcessError:
                # Between our probe and its bind another process may have taken a port: choose again.
                if attempt == _START_ATTEMPTS:
                    raise
            else:
                return

    def stop(self) -> None:
        """Kill it. A graceful stop would wait for participants to leave."""
        self.process.stop()

    def client(self) -> api.LiveKitAPI:
        """A client with this server's key; the caller closes it (`async with`)."""
        return api.LiveKitAPI(self.url, self.api_key, self.api_secret)

    def token(self, identity: str, grants: api.VideoGrants, kind: api.AccessToken.ParticipantKind = "standard") -> str:
        """An access token for `identity`."""
        token = api.AccessToken(self.api_key, self.api_secret).with_identity(identity).with_grants(grants)
        return token.with_kind(kind).to_jwt()

    def delete_room(self, name: str) -> None:
        """Delete a room, or do nothing if there is none. Needs no event loop, so fixtures may clean up with it."""
        request = urllib.request.Request(  # noqa: S310 -- our own loopback address
            f"{self.url}/twirp/livekit.RoomService/DeleteRoom",
            data=json.dumps({"room": name}).encode(),
            headers={
                "Content-Type": "application/json",
                "Authorization": f"Bearer {self.token('lab', api.VideoGrants(room_create=True))}",
            },
        )
        try:
            urllib.request.urlopen(request, timeout=10).close()  # noqa: S310 -- our own loopback address
        except urllib.error.HTTPError as error:
            if error.code != 404:
                raise

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def _config(self) -> Path:
        return self._directory / "livekit.yaml"

    def _write_config(self) -> None:
        self._port = free_port(socket.SOCK_STREAM)
        config: dict[str, object] = {
            "port": self._port,
            "bind_addresses": ["127.0.0.1"],
            "keys": {self.api_key: self.api_secret},
            "rtc": {
                "tcp_port": free_port(socket.SOCK_STREAM),
                "udp_port": free_port(socket.SOCK_DGRAM),
                "use_external_ip": False,
                "node_ip": "127.0.0.1",
                # or it would offer every address of the machine, and media would leave loopback
                "interfaces": {"includes": ["lo"]},
                "enable_loopback_candidate": True,
            },
            "logging": {"level": "info"},
        }
        if self._webhook_urls:
            config["webhook"] = {"api_key": self.api_key, "urls": self._webhook_urls}
        if self._room:
            config["room"] = self._room
        if self._redis:
            config["redis"] = {"address": self._redis}
        self._config.write_text(yaml.safe_dump(config))

    def _launch(self, binary: Path) -> None:
        self.process.start([binary, "--config", self._config], {})
        try:
            self.process.wait_until(self._answers, "it answered HTTP", _READY_SECONDS)
        except LabProcessError:
            self.process.stop()
            raise

    def _answers(self) -> bool:
        try:
            urllib.request.urlopen(self.url, timeout=1).close()  # noqa: S310 -- our own loopback address
        except OSError:
            return False
        return True
