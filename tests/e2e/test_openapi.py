"""The OpenAPI document is valid, and the server keeps what it says: schemathesis asks everything of it, in process."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import httpx
import hypothesis
import pytest
import schemathesis
from hypothesis import HealthCheck
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi import checks

from keybearer.web.asgi import OPERATIONS
from keybearer.web.openapi import document
from tests.support.embedded import Embedded, embedded

DOCUMENT = document(OPERATIONS)
# Every request is an administrator's: who else may do what, tests/security/test_authorization_matrix.py says.
SCHEMA = schemathesis.openapi.from_dict({name: part for name, part in DOCUMENT.items() if name != "security"})
CHECKS = [
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
    checks.negative_data_rejection,
    checks.unsupported_method,
]


@dataclass
class Running:
    """An embedded authority on the event loop of a thread of its own."""

    world: Embedded
    loop: asyncio.AbstractEventLoop

    def ask(self, case: Any) -> httpx.Response:
        """Send a generated case, and return the answer."""
        return asyncio.run_coroutine_threadsafe(self._ask(case), self.loop).result(60)

    async def _ask(self, case: Any) -> httpx.Response:
        request = case.as_transport_kwargs(base_url="http://authority.test")
        if isinstance(request.get("data"), bytes | str):
            request["content"] = request.pop("data")
        headers = {**(request.get("headers") or {}), "authorization": f"Bearer {self.world.root_key}"}
        async with self.world.http("") as http:
            return await http.request(
                request["method"],
                request["url"],
                params=request.get("params"),
                headers=[(name.encode(), str(value).encode("latin-1", "replace")) for name, value in headers.items()],
                **{
                    name: request[name]
                    for name in ("json", "content", "data", "files")
                    if request.get(name) is not None
                },
            )


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    def wait(work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, loop).result(60)

    with ExitStack() as stack:
        stack.callback(loop.close)
        stack.callback(thread.join)
        stack.callback(loop.call_soon_threadsafe, loop.stop)
        context = embedded()
        world = wait(context.__aenter__())
        stack.callback(lambda: wait(context.__aexit__(None, None, None)))
        yield Running(world, loop)


def test_the_document_names_every_operation_once() -> None:
    assert DOCUMENT["openapi"].startswith("3.1")
    ids = [described["operationId"] for path in DOCUMENT["paths"].values() for described in path.values()]
    assert len(ids) == len(set(ids))
    assert {operation.operation_id for operation in OPERATIONS} <= set(ids)
    schemathesis.openapi.from_dict(DOCUMENT).validate()


@pytest.mark.slow
@pytest.mark.timeout(600)
@SCHEMA.exclude(
    path=["/v1/keys/import", "/v1/users/import"]
).parametrize()  # JSON lines: tests/unit/services/test_imports.py
@hypothesis.settings(
    max_examples=20, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), database=None
)
def test_the_server_keeps_to_the_document(case: Any, running: Running) -> None:
    answer = running.ask(case)
    if answer.status_code == 413:
        return  # a refusal too: what is generated may be longer than any body may be
    case.validate_response(schemathesis.Response.from_httpx(answer, verify=True), checks=CHECKS)
