"""Fixtures of the lab. Session-wide ones wrap processes and hold no event loop, so every test may have its own."""

import re
import signal
import uuid
from collections.abc import Generator, Iterator

import pytest

from tests.lab.server import LabServer
from tests.lab.worker import LabWorker

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # Started in the background by a shell: the programs under test would inherit that, and Ctrl+C is tested.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def lab_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabServer]:
    """A livekit-server for the whole run. Rooms on it are yours alone if named by `room_name`."""
    with LabServer(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture(scope="session")
def lab_worker(lab_server: LabServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabWorker]:
    """A worker whose agents join every room of `lab_server` by themselves, with the lk-tui helper."""
    with LabWorker(lab_server, tmp_path_factory.mktemp("worker")) as worker:
        yield worker


@pytest.fixture(scope="session")
def plain_worker(lab_server: LabServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabWorker]:
    """A worker named `plain`, without the helper; its agents join only where they are dispatched."""
    with LabWorker(lab_server, tmp_path_factory.mktemp("worker"), agent_name="plain", helper=False) as worker:
        yield worker


@pytest.fixture
def room_name(request: pytest.FixtureRequest) -> Iterator[str]:
    """A room name no other test has. On `lab_server` the room is deleted afterwards, so that no agent stays on."""
    words = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower()).removeprefix("test-").strip("-")
    name = f"{words[:40]}-{uuid.uuid4().hex[:6]}"
    server: LabServer | None = None
    if "lab_server" in request.fixturenames:
        server = request.getfixturevalue("lab_server")
    yield name
    if server is not None:
        server.delete_room(name)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the logs of the lab's processes under a failed test."""
    report = yield
    if report.failed and isinstance(item, pytest.Function):
        for value in item.funcargs.values():
            if isinstance(value, LabServer | LabWorker):
                report.sections.append((f"{value.process.name}: end of its log", value.process.log_tail()))
    return report
