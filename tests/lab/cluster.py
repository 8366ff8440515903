"""A real LiveKit cluster on loopback: Redis and two livekit-server nodes."""

import re
import shutil
import socket
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.lab.missing import missing
from tests.lab.process import LabProcess, LabProcessError
from tests.lab.server import LabServer, free_port

_READY_SECONDS = 15.0
_NODE_ID = re.compile(r'"nodeID": "(ND_\w+)"')


def redis_binary() -> str:
    """Path of redis-server.

    Without one the test is skipped; under CI=true it fails, because there it is a broken set-up.
    """
    found = shutil.which("redis-server")
    if found is None:
        missing("No redis-server: install Debian's package of that name, or put the program on PATH.")
    return found


class LabRedis:
    """A Redis on a free loopback port that keeps nothing on disk."""

    def __init__(self, directory: Path) -> None:
        """`directory` gets the log."""
        self._directory = directory
        self._port = 0
        self.process = LabProcess("redis-server", directory / "redis.log")

    @property
    def address(self) -> str:
        """`127.0.0.1:<port>`; the same one for as long as this object lives, once it has been started."""
        return f"127.0.0.1:{self._port}"

    def start(self) -> None:
        """Start and wait until it answers. After `stop()` it comes back on the same port, and empty."""
        self._port = self._port or free_port()
        words = ["--port", str(self._port), "--bind", "127.0.0.1", "--save", "", "--dir", str(self._directory)]
        self.process.start([redis_binary(), *words], {})
        try:
            self.process.wait_until(self._answers, "it answered PING", _READY_SECONDS)
        except LabProcessError:
            self.process.stop()
            raise

    def ask(self, *words: str) -> str:
        """One command's answer, as Redis writes it on the wire, up to some kilobytes. Raises OSError."""
        command = f"*{len(words)}\r\n" + "".join(f"${len(word.encode())}\r\n{word}\r\n" for word in words)
        with socket.create_connection(("127.0.0.1", self._port), timeout=2) as connection:
            connection.sendall(command.encode())
            return connection.recv(65_536).decode(errors="replace")

    def stop(self) -> None:
        """Kill it, with all that it held."""
        self.process.stop()

    def _answers(self) -> bool:
        try:
            return self.ask("PING").startswith("+PONG")
        except OSError:
            return False


class LabCluster:
    """Redis and two nodes, `one` and `two`; a context manager that is ready inside and gone outside."""

    def __init__(self, directory: Path) -> None:
        """`directory` gets the configs and the logs."""
        self.redis = LabRedis(directory)
        self._directory = directory
        self.nodes: tuple[LabServer, ...] = ()

    @property
    def one(self) -> LabServer:
        """The first node."""
        return self.nodes[0]

    @property
    def two(self) -> LabServer:
        """The second node."""
        return self.nodes[1]

    @staticmethod
    def node_id(node: LabServer) -> str:
        """The id under which a node was last started: CreateRoom takes it, to say where a room is to live."""
        return str(_NODE_ID.findall(node.process.log.read_text())[-1])

    def __enter__(self) -> Self:
        self.redis.start()
        try:
            for name in ("one", "two"):
                (self._directory / name).mkdir()
                node = LabServer(self._directory / name, redis=self.redis.address)
                self.nodes += (node,)
                node.start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for node in self.nodes:
            node.stop()
        self.redis.stop()
