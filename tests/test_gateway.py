"""The gateway against the real server, and its words for everything else that may be at the other end."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from livekit import api
from livekit.protocol import room as room_pb

from tests.lab.people import join
from tests.lab.server import LabServer, free_port
from tests.lab.waiting import eventually
from tui.gateway.client import Gateway
from tui.gateway.errors import (
    AuthenticationError,
    GatewayError,
    MethodUnsupportedError,
    MissingError,
    NoResponseError,
    NotLiveKitError,
    RateLimitedError,
    ReadOnlyError,
    ServerFailedError,
    UnreachableError,
)
from tui.model.secret import Secret
from tui.model.text import Name

SECRET = "hunter2hunter2hunter2hunter2hunter2"
NOBODY = Name.of("nobody")
NOWHERE = Name.of("no-such-room")


def gateway_to(server: LabServer, *, secret: str | None = None, read_only: bool = False) -> Gateway:
    return Gateway(server.url, server.api_key, Secret(secret or server.api_secret), read_only=read_only)


def assert_tells(error: BaseException, *words: str) -> None:
    """One line without secrets, with these words in it."""
    said = str(error)
    assert said.isprintable()
    assert SECRET not in said
    assert "eyJ" not in said
    for word in words:
        assert word in said


# The real server


@pytest.mark.parametrize(
    "raw",
    ["a/b", "[/foo]", "%2F", "🎧 emoji", "\u202egnp.exe", "x" * 256, " spaced ", 'quote"\\', "tab\tand\nline"],
    ids=["slash", "markup", "percent", "emoji", "rtl", "longest", "spaces", "quotes", "controls"],
)
async def test_a_room_of_any_name_is_listed_read_and_deleted_by_it(lab_server: LabServer, raw: str) -> None:
    name = Name.of(raw)
    async with lab_server.client() as client, gateway_to(lab_server) as gateway:
        await client.room.create_room(api.CreateRoomRequest(name=raw))
        (room,) = await gateway.list_rooms([raw])
        assert room.name == name
        assert room.name.safe.isprintable()
        assert room.sid.startswith("RM_")
        assert room.participants is None
        assert await gateway.list_participants(name) == ()
        assert [dispatch.label for dispatch in await gateway.list_dispatches(name)] == ["(auto)"]
        await gateway.delete_room(name)
        assert await gateway.list_rooms([raw]) == ()


async def test_a_person_is_read_with_kind_state_and_tracks_and_can_be_kicked(
    lab_server: LabServer, room_name: str
) -> None:
    room = Name.of(room_name)
    async with gateway_to(lab_server) as gateway, await join(lab_server, room_name, "ann [/b]") as ann:
        (seen,) = await gateway.list_participants(room)
        assert (seen.identity.raw, seen.is_person, seen.is_agent, seen.tracks) == ("ann [/b]", True, False, ())
        assert seen.sid == ann.room.local_participant.sid
        assert abs(seen.joined_at - time.time()) < 30

        async def asked() -> GatewayError:
            with pytest.raises(GatewayError) as caught:
                await gateway.call_helper(room, seen.identity, "lk-tui.close", "tester")
            # She is in the room a moment before she can be reached.
            assert "data channel is not available" not in str(caught.value)
            return caught.value

        error: GatewayError = await eventually(asked)
        assert isinstance(error, MethodUnsupportedError)
        assert_tells(error, "does not run the lk-tui helper")
        await gateway.remove_participant(room, seen.identity)
        await eventually(lambda: ann.disconnected == "PARTICIPANT_REMOVED")


async def test_a_dispatch_is_created_listed_and_deleted(lab_server: LabServer, room_name: str) -> None:
    room = Name.of(room_name)
    async with gateway_to(lab_server) as gateway:
        made = await gateway.create_dispatch(room, "[/bot]")
        assert (made.agent_name.raw, made.jobs) == ("[/bot]", ())
        assert made.id in [dispatch.id for dispatch in await gateway.list_dispatches(room)]
        await gateway.delete_dispatch(room, made.id)
        assert made.id not in [dispatch.id for dispatch in await gateway.list_dispatches(room)]
        with pytest.raises(MissingError):
            await gateway.delete_dispatch(room, made.id)


async def test_what_is_not_there_is_missing(lab_server: LabServer) -> None:
    async with gateway_to(lab_server) as gateway:
        assert await gateway.list_rooms([NOWHERE.raw]) == ()
        assert await gateway.list_participants(NOWHERE) == ()
        for call in (gateway.delete_room(NOWHERE), gateway.remove_participant(NOWHERE, NOBODY)):
            with pytest.raises(MissingError) as caught:
                await call
            assert_tells(caught.value, "does not exist")


async def test_a_node_that_should_answer_for_a_missing_room_does_not(lab_server: LabServer) -> None:
    async with gateway_to(lab_server) as gateway:
        began = time.monotonic()
        calls = (gateway.list_dispatches(NOWHERE), gateway.call_helper(NOWHERE, NOBODY, "lk-tui.close", "tester"))
        for error in await asyncio.gather(*calls, return_exceptions=True):
            assert isinstance(error, NoResponseError)
            assert_tells(error, "503")
        assert 2.5 < time.monotonic() - began < 8.0


async def test_a_wrong_key_and_a_wrong_secret_are_refused_and_not_repeated(lab_server: LabServer) -> None:
    for gateway in (gateway_to(lab_server, secret=SECRET), Gateway(lab_server.url, "nobodys", Secret(SECRET))):
        async with gateway:
            for call in (gateway.list_rooms(), gateway.list_participants(NOWHERE), gateway.delete_room(NOWHERE)):
                with pytest.raises(AuthenticationError) as caught:
                    await call
                assert_tells(caught.value, "LIVEKIT_API_KEY", "LIVEKIT_API_SECRET")


async def test_a_read_only_gateway_refuses_every_change_before_it_is_sent(
    lab_server: LabServer, room_name: str
) -> None:
    room = Name.of(room_name)
    async with gateway_to(lab_server, read_only=True) as gateway, lab_server.client() as client:
        await client.room.create_room(api.CreateRoomRequest(name=room_name))
        for change in (
            gateway.delete_room(room),
            gateway.remove_participant(room, NOBODY),
            gateway.create_dispatch(room, ""),
            gateway.delete_dispatch(room, "AD_x"),
            gateway.call_helper(room, NOBODY, "lk-tui.close", "tester"),
        ):
            with pytest.raises(ReadOnlyError):
                await change
        assert (gateway.requests_last_minute, gateway.requests_sent) == (0, 0)
        assert len(await gateway.list_rooms([room_name])) == 1
        assert (gateway.requests_last_minute, gateway.requests_sent) == (1, 1)


async def test_an_address_with_a_ws_scheme_is_asked_over_http(lab_server: LabServer) -> None:
    async with Gateway(lab_server.ws_url, lab_server.api_key, Secret(lab_server.api_secret)) as gateway:
        await gateway.list_rooms()


async def test_plain_http_behind_an_https_address_is_a_tls_failure(lab_server: LabServer) -> None:
    url = lab_server.url.replace("http:", "https:")
    async with Gateway(url, lab_server.api_key, Secret(lab_server.api_secret)) as gateway:
        with pytest.raises(UnreachableError) as caught:
            await gateway.list_rooms()
    assert_tells(caught.value, "TLS", "http/https")


async def test_a_name_that_is_not_unicode_is_no_name(lab_server: LabServer) -> None:
    async with gateway_to(lab_server) as gateway:
        for call in (gateway.list_rooms(["\udcff"]), gateway.create_dispatch(NOWHERE, "\udcff")):
            with pytest.raises(MissingError) as caught:
                await call
            assert_tells(caught.value, "Unicode")
        assert gateway.requests_sent == 0


# Whatever else may be at the other end

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def something_else(handler: Handler) -> AsyncIterator[Gateway]:
    """A gateway to a small web server that answers everything with `handler`."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        async with Gateway(f"http://127.0.0.1:{runner.addresses[0][1]}", "key", Secret(SECRET)) as gateway:
            yield gateway
    finally:
        await runner.cleanup()


async def refusal(answer: web.Response) -> GatewayError:
    """How the gateway names this answer to ListRooms; it asks once, whatever the answer."""
    asked = 0

    async def handler(_: web.Request) -> web.StreamResponse:
        nonlocal asked
        asked += 1
        return answer

    async with something_else(handler) as gateway:
        with pytest.raises(GatewayError) as caught:
            await gateway.list_rooms()
    assert asked == 1
    assert_tells(caught.value)
    return caught.value


PROTOBUF = "application/protobuf"


def strangers() -> list[tuple[str, Callable[[], web.Response], type[GatewayError], str]]:
    """Who answers, how, what that is called, and a word of what it says."""

    def html(status: int) -> Callable[[], web.Response]:
        return lambda: web.Response(status=status, text="<html>\x1b[2J</html>", content_type="text/html")

    def said(status: int, body: object) -> Callable[[], web.Response]:
        return lambda: web.json_response(body, status=status)

    def raw(body: bytes, kind: str, status: int = 200) -> Callable[[], web.Response]:
        return lambda: web.Response(status=status, body=body, content_type=kind)

    return [
        ("a web page", html(200), NotLiveKitError, "text/html"),
        ("another API", said(200, {"rooms": []}), NotLiveKitError, "application/json"),
        ("an empty answer", raw(b"", "application/octet-stream"), NotLiveKitError, "check the URL"),
        ("no content", raw(b"", PROTOBUF, 204), NotLiveKitError, "check the URL"),
        ("garbage", raw(b"\xff\xff\xff\xff", PROTOBUF), NotLiveKitError, "not as LiveKit does"),
        ("no such page", html(404), NotLiveKitError, "(404)"),
        ("no such page, in JSON", said(404, {"detail": "Not Found"}), NotLiveKitError, "(404)"),
        ("another Twirp service", said(404, {"code": "bad_route", "msg": "no handler"}), NotLiveKitError, "(404)"),
        ("no such method", html(405), NotLiveKitError, "(405)"),
        ("a missing thing", said(404, {"code": "not_found", "msg": "no\nroom"}), MissingError, r"no\x0aroom"),
        ("a proxy without its server", html(502), ServerFailedError, "(502): Bad Gateway"),
        ("a crash", said(500, {"code": "internal", "msg": "could not get rooms"}), ServerFailedError, "could not get"),
        ("a crash, as a list", said(500, ["oops"]), ServerFailedError, "(500)"),
        ("a crash, as a word", said(500, "oops"), ServerFailedError, "(500)"),
        ("a crash, with numbers", said(500, {"code": "internal", "msg": 7}), ServerFailedError, "7"),
        ("a crash, endless", raw(b"[" * 200_000, "application/json", 500), ServerFailedError, "(500)"),
        ("bytes", raw(b"\xff\xfe\x00", "application/json", 500), ServerFailedError, "(500)"),
        ("an escape", said(500, {"code": "x", "msg": "\x1b[2J\u202e"}), ServerFailedError, r"\x1b[2J\u202e"),
        ("a firewall", html(403), AuthenticationError, "LIVEKIT_API_KEY"),
        ("nothing behind it", said(503, {"code": "x", "msg": "no response from servers"}), NoResponseError, "503"),
    ]


@pytest.mark.parametrize(
    ("answer", "kind", "word"),
    [stranger[1:] for stranger in strangers()],
    ids=[stranger[0] for stranger in strangers()],
)
async def test_an_answer_that_is_not_livekits_is_named(
    answer: Callable[[], web.Response], kind: type[GatewayError], word: str
) -> None:
    error = await refusal(answer())
    assert type(error) is kind
    assert word in str(error)


@pytest.mark.parametrize(
    ("status", "code", "said", "outcome"),
    [
        (400, "invalid_argument", "RpcError 1400: Method not supported at destination", True),
        (500, "internal", "RpcError 1500: Application error in method handler", True),
        (500, "internal", "RpcError 403: not for you", True),
        (501, "unimplemented", "RpcError 1404: Unsupported RPC version", True),
        (408, "canceled", "RpcError 1501: Connection timeout", False),
        (408, "canceled", "RpcError 1502: Response timeout", False),
        (404, "not_found", "RpcError 1401: Recipient not found", ServerFailedError),
        (501, "unimplemented", "RpcError 1403: RPC not supported by server", ServerFailedError),
        (503, "unavailable", "RpcError 1503: Recipient disconnected", ServerFailedError),
        (500, "internal", "RpcError 1505: Failed to send", ServerFailedError),
        (500, "internal", "data channel is not available", ServerFailedError),
        (404, "not_found", "participant does not exist", MissingError),
        (404, "bad_route", "no handler for path", NotLiveKitError),
        (503, "unavailable", "no response from servers", NoResponseError),
    ],
)
async def test_a_probe_tells_an_agents_words_from_the_servers(
    status: int, code: str, said: str, *, outcome: bool | type[GatewayError]
) -> None:
    async def handler(_: web.Request) -> web.StreamResponse:
        return web.json_response({"code": code, "msg": f"twirp error unknown: {said}"}, status=status)

    async with something_else(handler) as gateway:
        if isinstance(outcome, bool):
            assert await gateway.probe(NOWHERE, NOBODY) is outcome
        else:
            with pytest.raises(GatewayError) as caught:
                await gateway.probe(NOWHERE, NOBODY)
            assert type(caught.value) is outcome
            assert_tells(caught.value)


async def test_a_request_that_did_not_reach_the_agent_is_no_refusal_of_the_agents() -> None:
    async def handler(_: web.Request) -> web.StreamResponse:
        said = {"code": "unavailable", "msg": "twirp error unknown: RpcError 1503: Recipient disconnected"}
        return web.json_response(said, status=503)

    async with something_else(handler) as gateway:
        with pytest.raises(ServerFailedError) as caught:
            await gateway.call_helper(NOWHERE, NOBODY, "lk-tui.close", "tester")
    assert_tells(caught.value, "did not reach the agent", "1503")


async def test_a_token_that_the_server_quotes_is_not_shown() -> None:
    token = api.AccessToken("key", SECRET).to_jwt()
    error = await refusal(web.json_response({"code": "unauthenticated", "msg": f"invalid token: {token}"}, status=401))
    assert isinstance(error, AuthenticationError)
    assert "invalid token: (token)" in str(error)


async def test_a_redirect_is_not_followed_with_our_token() -> None:
    error = await refusal(web.Response(status=308, headers={"Location": "https://elsewhere.example/\u00e9"}))
    assert isinstance(error, NotLiveKitError)
    assert "elsewhere.example" in str(error)


@pytest.mark.parametrize(
    ("header", "quiet"),
    [("7", 7.0), ("", None), ("soon", None), ("Wed, 21 Oct 2026 07:28:00 GMT", None), ("-3", None)],
)
async def test_a_rate_limit_says_how_long_to_be_quiet(header: str, quiet: float | None) -> None:
    error = await refusal(web.Response(status=429, headers={"Retry-After": header}))
    assert isinstance(error, RateLimitedError)
    assert error.retry_after == quiet
    assert "--budget" in str(error)


async def test_a_connection_that_breaks_off_is_unreachable() -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    async with something_else(handler) as gateway:
        with pytest.raises(UnreachableError) as caught:
            await gateway.list_rooms()
    assert_tells(caught.value, "127.0.0.1", "broke")


async def test_connections_are_kept_but_not_all_that_a_burst_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    opened = set()
    at_once = asyncio.Barrier(1)

    async def handler(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        opened.add(request.transport)
        await at_once.wait()
        return web.Response(body=room_pb.ListRoomsResponse().SerializeToString(), content_type=PROTOBUF)

    async with something_else(handler) as gateway:
        for _ in range(3):
            await gateway.list_rooms()
        assert len(opened) == 1
        at_once = asyncio.Barrier(8)
        await asyncio.gather(*(gateway.list_rooms() for _ in range(8)))
        assert len(opened) == 8
        at_once = asyncio.Barrier(1)
        monkeypatch.setattr("tui.gateway.connections.RENEWED_AFTER_S", 0.0)
        await gateway.list_rooms()
        await eventually(lambda: all(transport.is_closing() for transport in opened), 5.0)


async def test_a_server_that_never_answers_is_given_up_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tui.gateway.client.TIMEOUT_S", 0.05)
    leave = asyncio.Event()

    async def handler(_: web.Request) -> web.StreamResponse:
        await leave.wait()
        return web.Response()

    async with something_else(handler) as gateway:
        with pytest.raises(UnreachableError) as caught:
            await gateway.list_rooms()
        leave.set()
    assert_tells(caught.value, "did not answer in time")


async def test_rooms_are_read_from_a_well_behaved_answer() -> None:
    answer = room_pb.ListRoomsResponse()
    answer.rooms.add(sid="RM_1", name="one", num_participants=3)

    async def handler(_: web.Request) -> web.StreamResponse:
        return web.Response(body=answer.SerializeToString(), content_type=PROTOBUF)

    async with something_else(handler) as gateway:
        (room,) = await gateway.list_rooms()
    assert (room.sid, room.reported_people) == ("RM_1", 3)


@pytest.mark.parametrize(
    ("url", "word"),
    [
        ("http://127.0.0.1:{port}", "refused the connection"),
        ("http://localhost:{port}", "refused the connection"),
        ("http://no-such-host.invalid", "no such host: no-such-host.invalid"),
        ("http://127.0.0.1:99999", "check the URL"),
        ("ftp://127.0.0.1", "check the URL"),
        ("127.0.0.1:7880", "check the URL"),
        (f"http://someone:{SECRET}@127.0.0.1:{{port}}", "***@127.0.0.1"),
    ],
)
async def test_an_address_with_nothing_behind_it_is_unreachable(url: str, word: str) -> None:
    async with Gateway(url.format(port=free_port()), "key", Secret(SECRET)) as gateway:
        with pytest.raises(UnreachableError) as caught:
            await gateway.list_rooms()
    assert_tells(caught.value, word)
