"""A reader of the event stream that believes nothing: it notes what comes, and when."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import httpx


class Notice(NamedTuple):
    """One event of the stream; ``at`` is when it came (monotonic seconds)."""

    id: int | None
    type: str
    data: dict[str, Any]
    at: float


@contextmanager
def following(url: str, key: str, *, timeout: float = 5.0, **headers: str) -> Iterator[Iterator[Notice]]:
    """Read a stream while the context lasts; ``url`` may have a query."""
    fields = {"authorization": f"Bearer {key}", "accept": "text/event-stream"}
    fields |= {name.replace("_", "-"): value for name, value in headers.items()}
    with (
        httpx.Client(trust_env=False, timeout=timeout) as client,
        client.stream("GET", url, headers=fields) as response,
    ):
        assert response.status_code == 200, response.read()
        assert response.headers["content-type"].startswith("text/event-stream")
        yield _notices(response.iter_lines())


def _notices(lines: Iterator[str]) -> Iterator[Notice]:
    fields: dict[str, str] = {}
    for line in lines:
        if line:
            name, _, value = line.partition(":")
            fields[name] = value.removeprefix(" ")
            continue
        if "data" in fields:
            number = int(fields["id"]) if "id" in fields else None
            yield Notice(number, fields["event"], json.loads(fields["data"]), time.monotonic())
        fields = {}
