"""HTTP as it stands on the wire: limits, pipelining, keep-alive, and what smugglers try, against the real server."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.raw import Closed, Raw, Response, request
from tests.e2e.shop import Shop
from tests.support.authority import Authority


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """One authority for all of this module; it gives up on slow clients after two seconds."""
    folder: Path = tmp_path_factory.mktemp("http")
    environment = {"KEYBEARER_REQUEST_TIMEOUT": "2", "KEYBEARER_FAILURES_PER_MINUTE": "0"}
    node = Authority(data=folder / "data", logs=folder / "logs", environment=environment)
    node.init()
    node.start()
    yield Shop(node)
    node.stop()


@pytest.fixture
def connect(shop: Shop) -> Callable[[], Raw]:
    return lambda: Raw(shop.node.port)


def asking(shop: Shop, credential: str) -> tuple[str, bytes]:
    """The header and the body of a verify."""
    return f"Authorization: Bearer {shop.node.root_key}", json.dumps({"credential": credential}).encode()


def exchange(connection: Raw, data: bytes) -> Response:
    connection.send(data)
    return connection.receive()


def is_closed(connection: Raw) -> bool:
    try:
        connection.receive()
    except Closed:
        return True
    return False


def test_pipelined_requests_are_answered_in_their_order(shop: Shop, connect: Callable[[], Raw]) -> None:
    keys = [shop.key("pages:read") for _ in range(4)]
    header, _ = asking(shop, "")
    calls = []
    for key_id, credential in keys * 5:
        calls.append((key_id, request("POST", "/v1/verify", header, body=asking(shop, credential)[1])))
        calls.append((None, request("GET", "/v1/whoami", header)))
        calls.append((key_id, request("GET", "/forward-auth", f"X-Api-Key: {credential}", "X-Original-URI: /")))
    with connect() as connection:
        connection.send(b"".join(data for _, data in calls))
        for number, (key_id, _) in enumerate(calls):
            answer = connection.receive()
            assert answer.status == 200, number
            match number % 3:
                case 0:
                    assert json.loads(answer.body)["credential"]["id"] == key_id
                case 1:
                    assert json.loads(answer.body)["permissions"] == ["keybearer:admin"]
                case 2:
                    assert answer.headers["x-keybearer-key"] == key_id


def test_a_connection_serves_one_request_after_another(shop: Shop, connect: Callable[[], Raw]) -> None:
    _, credential = shop.key()
    header, body = asking(shop, credential)
    with connect() as connection:
        for _ in range(50):
            assert json.loads(exchange(connection, request("POST", "/v1/verify", header, body=body)).body)["valid"]
            assert exchange(connection, request("GET", "/healthz")).status == 200
        last = exchange(connection, request("POST", "/v1/verify", header, "Connection: close", body=body))
        assert (last.status, last.headers["connection"]) == (200, "close")
        assert is_closed(connection)


def test_http_1_0_is_answered_and_closed(shop: Shop, connect: Callable[[], Raw]) -> None:
    _, credential = shop.key()
    header, body = asking(shop, credential)
    for data in (
        request("POST", "/v1/verify", header, body=body, version="1.0"),
        request("GET", "/healthz", version="1.0"),
    ):
        with connect() as connection:
            assert exchange(connection, data).status == 200
            assert is_closed(connection)


def test_a_body_in_pieces_and_one_in_chunks(shop: Shop, connect: Callable[[], Raw]) -> None:
    _, credential = shop.key()
    header, body = asking(shop, credential)
    with connect() as connection:
        for piece in (data := request("POST", "/v1/verify", header, body=body))[:40], data[40:-9], data[-9:]:
            connection.send(piece)
            time.sleep(0.02)
        assert json.loads(connection.receive().body)["valid"]
        chunks = b"".join(b"%x\r\n%s\r\n" % (1, body[i : i + 1]) for i in range(len(body))) + b"0\r\n\r\n"
        for target in ("/v1/verify", "/v1/verify"):
            data = request("POST", target, header, "Transfer-Encoding: chunked") + chunks
            assert json.loads(exchange(connection, data).body)["valid"]
        named = json.dumps({"name": "In chunks"}).encode()
        data = request("POST", "/v1/projects", header, "Transfer-Encoding: chunked", "Content-Type: application/json")
        answer = exchange(connection, data + b"%x\r\n%s\r\n0\r\n\r\n" % (len(named), named))
        assert (answer.status, json.loads(answer.body)["name"]) == (201, "In chunks")


def test_who_expects_100_continue_gets_it_before_the_body(shop: Shop, connect: Callable[[], Raw]) -> None:
    _, credential = shop.key()
    header, body = asking(shop, credential)
    with connect() as connection:
        head = request("POST", "/v1/verify", header, "Expect: 100-continue", f"Content-Length: {len(body)}")
        assert exchange(connection, head).status == 100
        assert json.loads(exchange(connection, body).body)["valid"]


def test_head_has_the_headers_and_no_body(shop: Shop, connect: Callable[[], Raw]) -> None:
    header, _ = asking(shop, "")
    with connect() as connection:
        for target in ("/healthz", "/readyz", "/v1/projects", "/forward-auth"):
            connection.send(request("HEAD", target, header))
            assert connection.receive(to_head=True).status == 200, target
            assert exchange(connection, request("GET", target, header)).status == 200


@pytest.mark.parametrize(
    ("status", "data"),
    [
        (414, request("GET", "/healthz?" + "x" * 40_000)),
        (414, request("GET", "/forward-auth?" + "x" * 40_000)),
        (431, request("GET", "/healthz", "X-Long: " + "x" * 40_000)),
        (431, request("POST", "/v1/verify", *[f"X-{number}: x" for number in range(200)])),
        (413, request("POST", "/v1/verify", body=b" " * 70_000)),
        (413, request("POST", "/v1/keys", "Content-Length: 9999999999999")),
        (
            413,
            request("POST", "/v1/verify", "Transfer-Encoding: chunked")
            + b"ffff\r\n"
            + b" " * 0xFFFF
            + b"\r\n9\r\n" * 2,
        ),
        (413, request("POST", "/v1/keys", body=b" " * 70_000)),
    ],
)
def test_what_is_too_large_is_refused(shop: Shop, connect: Callable[[], Raw], status: int, data: bytes) -> None:
    head, _, body = data.partition(b"\r\n\r\n")
    data = head + f"\r\nAuthorization: Bearer {shop.node.root_key}\r\n\r\n".encode() + body
    with connect() as connection:
        assert exchange(connection, data).status == status


BODY = b'{"credential":"x"}'
SMUGGLING = {
    "both lengths": request("POST", "/v1/verify", "Transfer-Encoding: chunked", body=BODY),
    "two lengths": request("POST", "/v1/verify", "Content-Length: 4", body=BODY),
    "a list of lengths": request("POST", "/v1/verify", "Content-Length: 18, 18") + BODY,
    "signed length": request("POST", "/v1/verify", "Content-Length: +18") + BODY,
    "negative length": request("POST", "/v1/verify", "Content-Length: -1") + BODY,
    "hexadecimal length": request("POST", "/v1/verify", "Content-Length: 0x12") + BODY,
    "length with a space": request("POST", "/v1/verify", "Content-Length: 1 8") + BODY,
    "space before the colon": request("POST", "/v1/verify", "Content-Length : 18") + BODY,
    "huge length": request("POST", "/v1/verify", "Content-Length: 99999999999999999999999") + BODY,
    "unknown coding": request("POST", "/v1/verify", "Transfer-Encoding: xchunked") + b"0\r\n\r\n",
    "chunked is not the last": request("POST", "/v1/verify", "Transfer-Encoding: chunked, identity") + b"0\r\n\r\n",
    "two codings": request("POST", "/v1/verify", "Transfer-Encoding: chunked", "Transfer-Encoding: x") + b"0\r\n\r\n",
    "bad chunk size": request("POST", "/v1/verify", "Transfer-Encoding: chunked") + b"zz\r\nx\r\n0\r\n\r\n",
    "signed chunk size": request("POST", "/v1/verify", "Transfer-Encoding: chunked") + b"+1\r\nx\r\n0\r\n\r\n",
    "huge chunk size": request("POST", "/v1/verify", "Transfer-Encoding: chunked") + b"f" * 17 + b"\r\nx\r\n0\r\n\r\n",
    "chunk without its end": request("POST", "/v1/verify", "Transfer-Encoding: chunked") + b"1\r\nxyy0\r\n\r\n",
    "folded header": request("POST", "/v1/verify", "X-A: b\r\n Transfer-Encoding: chunked") + b"0\r\n\r\n",
    "a bare CR": request("POST", "/v1/verify", "X-A: b\rTransfer-Encoding: chunked") + b"0\r\n\r\n",
    "a NUL": request("GET", "/healthz", "X-A: b\0c"),
    "a space in a name": request("GET", "/healthz", "X A: b"),
    "a space in the target": b"GET /healthz x HTTP/1.1\r\nHost: a\r\n\r\n",
    "another protocol": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 64,
    "unknown method": b"BREW /healthz HTTP/1.1\r\nHost: a\r\n\r\n",
}


@pytest.mark.parametrize("case", SMUGGLING)
def test_no_request_hides_behind_another(connect: Callable[[], Raw], case: str) -> None:
    smuggled = request("GET", "/healthz", "X-Smuggled: yes")
    with connect() as connection:
        connection.send(SMUGGLING[case] + smuggled)
        statuses = []
        try:
            while len(statuses) < 3:
                statuses.append(connection.receive().status)
        except Closed:
            pass
    # One refusal, and nothing after it: what followed was not read as a request.
    assert len(statuses) <= 1, statuses
    assert all(400 <= status < 500 for status in statuses), statuses


def test_a_client_that_dawdles_is_closed(shop: Shop, connect: Callable[[], Raw]) -> None:
    header, body = asking(shop, "x")
    beginnings = [b"", b"POST /v1/ver", request("POST", "/v1/verify", header, body=body)[:-1], b"GET / HTTP/1.1\r\nA: "]
    for beginning in beginnings[1:]:
        with connect() as connection:
            started = time.monotonic()
            connection.send(beginning)
            while time.monotonic() - started < 1.5:  # a byte now and then is no progress
                time.sleep(0.3)
                if beginning.endswith(b"A: "):
                    connection.send(b"x")
            assert is_closed(connection)
            assert time.monotonic() - started < 8


def test_the_server_is_well_after_all_of_this(shop: Shop) -> None:
    assert shop.verify(shop.key()[1])["valid"]
    assert "Traceback" not in shop.node.output
