"""Many verifies at the same moment, over connections that spread over all workers."""

import asyncio
import json
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from tests.support.authority import Authority

Outcome = str
"""A code such as ``VALID``; ``HTTP 503`` for another status; ``no answer`` when the connection broke."""


async def ask_once(node: Authority, body: dict[str, Any], seconds: float = 20) -> Outcome:
    """One verify over a fresh connection."""
    content = json.dumps(body).encode()
    head = (
        f"POST /v1/verify HTTP/1.1\r\nHost: keys.example\r\nAuthorization: Bearer {node.root_key}\r\n"
        f"Content-Length: {len(content)}\r\nConnection: close\r\n\r\n"
    )
    try:
        async with asyncio.timeout(seconds):
            reader, writer = await asyncio.open_connection("127.0.0.1", node.port)
            try:
                writer.write(head.encode() + content)
                await writer.drain()
                answer = await reader.read()
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return "no answer"
    head_of_answer, _, content = answer.partition(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", head_of_answer)
    if length is None or len(content) < int(length[1]):
        return "no answer"  # a process that is killed may have written a part of it
    status = int(answer.split(None, 2)[1])
    if status != 200:
        return f"HTTP {status}"
    said = json.loads(content)
    assert said["valid"] == (said["code"] == "VALID")
    return str(said["code"])


async def _ask_all(nodes: Sequence[Authority], bodies: Sequence[dict[str, Any]], at_once: int) -> list[Outcome]:
    gate = asyncio.Semaphore(at_once)

    async def one(number: int, body: dict[str, Any]) -> Outcome:
        async with gate:
            return await ask_once(nodes[number % len(nodes)], body)

    return await asyncio.gather(*(one(number, body) for number, body in enumerate(bodies)))


def ask_all(nodes: Sequence[Authority], bodies: Sequence[dict[str, Any]], *, at_once: int = 20) -> list[Outcome]:
    """All these verifies, round-robin over the nodes, each over a fresh connection; outcomes in their order."""
    return asyncio.run(_ask_all(nodes, bodies, at_once))


def ask(node: Authority, credential: str, *, times: int = 1, **more: Any) -> Counter[Outcome]:
    """The same verify many times, as a count of outcomes."""
    return Counter(ask_all([node], [{"credential": credential, **more}] * times))
