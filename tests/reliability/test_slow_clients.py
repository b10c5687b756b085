"""Two thousand clients that send a byte now and then: everybody else is served, and memory stays where it was.

Spec: SECURITY-BAR 26 and "2,000 slow connections". That honest requests also stay fast is measured by
``python -m benchmarks slow``, not asserted here.
"""

import asyncio
import contextlib
import json
import resource
import time
from collections import Counter
from collections.abc import Callable, Iterator

import psutil
import pytest

from tests.e2e.raw import request
from tests.e2e.shop import Shop
from tests.e2e.verifying import ask
from tests.support.authority import Authority

SLOW = 2_000
FEW = 512

BEGINNINGS = (
    b"",
    b"P",
    b"POST /v1/verify HTTP/1.1\r\nHost: a\r\nX-A: ",
    request("POST", "/v1/verify", "Content-Length: 60000") + b'{"credential":"',
    request("POST", "/v1/keys", "Content-Length: 60000") + b'{"name":"',
    request("POST", "/v1/verify", "Transfer-Encoding: chunked") + b"1\r\nx\r\n",
    request("GET", "/healthz"),
)


@pytest.fixture
def few_open_files() -> Iterator[None]:
    """The server starts with as few open files as a careless machine allows; the test itself may have many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 2 * SLOW:
        pytest.skip(f"this machine allows {hard} open files only")
    resource.setrlimit(resource.RLIMIT_NOFILE, (FEW, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def dawdle(node: Authority, stop: asyncio.Event, opened: Counter[str]) -> None:
    """Hold one connection open with an unfinished request, a byte at a time."""
    number = opened["tried"]
    opened["tried"] += 1
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", node.port)
    except OSError:
        return
    opened["open"] += 1
    beginning = BEGINNINGS[number % len(BEGINNINGS)]
    with contextlib.suppress(OSError):
        writer.write(beginning)
        while not stop.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), 1 + number / SLOW)
            if not beginning.endswith(b"\r\n\r\n"):
                writer.write(b"x")
                await writer.drain()
    writer.close()


@pytest.mark.slow
def test_others_are_served_meanwhile(few_open_files: None, authority: Callable[..., Authority]) -> None:
    node = authority(environment={"KEYBEARER_REQUEST_TIMEOUT": "8", "KEYBEARER_FAILURES_PER_MINUTE": "0"})
    resource.setrlimit(resource.RLIMIT_NOFILE, (4 * FEW + SLOW, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    shop = Shop(node)
    _, credential = shop.key("pages:read")
    assert ask(node, credential, times=50) == {"VALID": 50}
    server = psutil.Process(node.pid)
    before = server.memory_info().rss

    async def siege() -> tuple[Counter[str], int, int]:
        stop, opened = asyncio.Event(), Counter[str]()
        clients = [asyncio.create_task(dawdle(node, stop, opened)) for _ in range(SLOW)]
        while opened["open"] < SLOW and not all(client.done() for client in clients):
            await asyncio.sleep(0.02)
        held = len([one for one in server.net_connections("tcp") if one.status == psutil.CONN_ESTABLISHED])
        outcomes = await asyncio.to_thread(ask, node, credential, times=500)
        grown = server.memory_info().rss - before
        stop.set()
        await asyncio.gather(*clients)
        return outcomes, held, grown

    outcomes, held, grown = asyncio.run(siege())
    assert held >= SLOW
    assert outcomes == {"VALID": 500}
    assert grown < 50 * 1024 * 1024
    until = time.monotonic() + 20
    while (left := len(server.net_connections("tcp"))) > 20 and time.monotonic() < until:
        time.sleep(0.2)
    assert left <= 20
    assert json.loads(shop.send("GET", "/readyz").content) == {"status": "ready"}
    assert "Traceback" not in node.output
