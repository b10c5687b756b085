"""Input without end and input without sense: the server's memory stays where it was, and it goes on serving.

Spec: SECURITY-BAR 26, Authlib CVE-2025-61920 (a huge header), Starlette CVE-2025-62727 and python-multipart
CVE-2026-42561 (quadratic parsing), "a million malformed requests: memory +50 MB at most"; OWASP API4.
"""

import json
import random
import time
from collections.abc import Callable, Iterator

import psutil
import pytest

from keybearer.core import credential
from keybearer.core.instant import Instant
from tests.e2e.raw import Closed, Raw, request
from tests.e2e.shop import Shop
from tests.support.authority import Authority

MEGABYTE = 1024 * 1024
MOST = 50 * MEGABYTE
PIECE = 64 * 1024


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """One authority for all of this module."""
    folder = tmp_path_factory.mktemp("endless")
    node = Authority(folder / "data", folder / "logs", environment={"KEYBEARER_FAILURES_PER_MINUTE": "0"})
    node.init()
    node.start()
    yield Shop(node)
    node.stop()


def work_of(server: psutil.Process) -> tuple[int, float]:
    times = server.cpu_times()
    return server.memory_info().rss, times.user + times.system


CHUNKED = request("POST", "/v1/verify", "Transfer-Encoding: chunked")
ENDLESS = {
    "a header's value": (request("GET", "/healthz")[:-2] + b"X-A: ", b"x"),
    "a header's name": (request("GET", "/healthz")[:-2], b"x"),
    "a hot header's value": (request("GET", "/forward-auth")[:-2] + b"X-Api-Key: ", b"x"),
    "headers": (request("GET", "/healthz")[:-2], b"X-A: b\r\n"),
    "the target": (b"GET /", b"x"),
    "the query of a hot route": (b"GET /forward-auth?", b"a&"),
    "the method": (b"", b"G"),
    "a trailer's value": (CHUNKED + b"0\r\nX-A: ", b"x"),
    "a trailer's name": (CHUNKED + b"0\r\n", b"x"),
    "trailers": (CHUNKED + b"0\r\n", b"X-A: b\r\n"),
    "an extension of a chunk": (CHUNKED + b"1;", b"x"),
    "the size of a chunk": (CHUNKED, b"0"),
    "small chunks": (CHUNKED, b"1\r\nx\r\n"),
    "a body of a declared length": (request("POST", "/v1/verify", "Content-Length: 999999999"), b"x"),
    "a body of the management API": (request("POST", "/v1/keys", "Content-Length: 999999999"), b"x"),
    "an import without a key": (request("POST", "/v1/keys/import", "Content-Length: 999999999"), b"x"),
    "empty lines": (b"", b"\r\n"),
    "binary": (b"\x16\x03\x01", b"\xff\0"),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", ENDLESS)
def test_input_without_end_costs_little(shop: Shop, case: str) -> None:
    """Thirty-two megabytes of it, unless the server ends it before."""
    server = psutil.Process(shop.node.pid)
    memory, _ = work_of(server)
    beginning, unit = ENDLESS[case]
    piece = unit * (PIECE // len(unit))
    with Raw(shop.node.port) as connection:
        connection.send(beginning)
        for _ in range(32 * MEGABYTE // PIECE):
            connection.send(piece)
        grown = work_of(server)[0] - memory
    assert grown < 16 * MEGABYTE
    assert json.loads(shop.send("GET", "/readyz").content) == {"status": "ready"}
    assert shop.node.is_running


def malformed(shop: Shop, chance: random.Random) -> bytes:
    """One request with something wrong in it; most are valid up to a few bytes."""
    body = json.dumps({"credential": shop.node.root_key, "tags": ["x"], "client_ip": "192.0.2.1"}).encode()
    headers = [f"Authorization: Bearer {shop.node.root_key}", "Content-Type: application/json"]
    method, target = chance.choice(
        [
            *(("POST", "/v1/verify"), ("POST", "/v1/keys"), ("GET", "/v1/keys?limit=2"), ("GET", "/forward-auth")),
            *(("PATCH", "/v1/keys/key_0"), ("POST", "/v1/refund"), ("GET", "/v1/audit"), ("POST", "/v1/keys/import")),
        ]
    )  # fmt: skip
    if chance.random() < 0.3:
        headers.append(f"X-Forwarded-For: {chance.randbytes(chance.randrange(200)).hex()}")
        headers.append(f"X-Original-URI: /{chance.randrange(10**9)}?a={'&' * chance.randrange(300)}")
    if chance.random() < 0.3:
        target += f"{chance.choice('?&/;%#')}{chance.randrange(10**9)}"
    data = bytearray(request(method, target, *headers, body=body))
    for _ in range(chance.randrange(1, 6)):
        at = chance.randrange(len(data))
        match chance.randrange(5):
            case 0:
                data[at] = chance.randrange(256)
            case 1:
                data[at:at] = chance.randbytes(chance.randrange(1, 9))
            case 2:
                del data[at : at + chance.randrange(1, 30)]
            case 3:
                data[at:at] = data[at : at + chance.randrange(1, 200)]
            case 4:
                data[at:at] = chance.choice([b"\r\n", b"\n", b"\0", b":", b'"', b"{", b"[" * 50, b"%00", b"\xff"])
    return bytes(data)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_input_without_sense_is_never_a_fault_of_ours(shop: Shop) -> None:
    """Three thousand mutilated requests: no 5xx, no traceback, memory bounded, and a good request is served after."""
    chance = random.Random(20261126)
    server = psutil.Process(shop.node.pid)
    memory, _ = work_of(server)
    seen = len(shop.node.output)
    statuses: dict[int, int] = {}
    for _ in range(3_000):
        data = malformed(shop, chance)
        with Raw(shop.node.port, seconds=0.15) as connection:
            connection.send(data + b"\r\n\r\n")
            try:
                answer = connection.receive()
            except (Closed, TimeoutError):
                continue
        statuses[answer.status] = statuses.get(answer.status, 0) + 1
        assert answer.status < 500, data
    assert {200, 400, 401} <= statuses.keys()
    assert work_of(server)[0] - memory < MOST
    assert "Traceback" not in shop.node.output[seen:]
    assert len(shop.node.output) - seen < 10_000, "what is no HTTP has no line of its own in the log"
    assert shop.verify(shop.key("pages:read")[1])["valid"]
    time.sleep(1.2)  # what was counted is stored
    assert "usage could not be stored" not in shop.node.output[seen:]
    assert shop.call("GET", "/v1/audit/verification")["intact"]


def test_a_flood_of_bad_credentials_fills_nothing(authority: Callable[..., Authority]) -> None:
    """Ids and addresses that never repeat are counted together: the audit log grows by a bound, not by each."""
    node = authority(environment={"KEYBEARER_FAILURES_PER_MINUTE": "0"})
    shop = Shop(node)
    server = psutil.Process(node.pid)
    memory, _ = work_of(server)
    before = shop.call("GET", "/v1/audit/verification")["seq"]
    with Raw(node.port) as connection:
        for number in range(0, 4_000, 50):
            data = b""
            for one in range(number, number + 50):
                text = credential.mint("kb_sk_live", credential.new_id(Instant(one * 10**9))).reveal()
                body = json.dumps({"credential": text, "client_ip": f"10.1.{one // 250}.{one % 250}"}).encode()
                data += request("POST", "/v1/verify", f"Authorization: Bearer {node.root_key}", body=body)
            connection.send(data)
            for _ in range(50):
                assert json.loads(connection.receive().body)["code"] == "NOT_FOUND"
    node.stop()
    node.start()
    assert shop.call("GET", "/v1/audit/verification")["seq"] - before < 300
    assert work_of(psutil.Process(node.pid))[0] < memory + MOST
