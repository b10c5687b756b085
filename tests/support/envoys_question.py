"""What Envoy asks over gRPC, put together by hand, and what it is answered."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import grpc

from keybearer.web.ext_authz_grpc import SERVICE
from keybearer.web.ext_authz_messages import CheckRequest, CheckResponse


def check_request(
    *lines: tuple[str, str],
    door: Mapping[str, str] | None = None,
    path: str = "/",
    method: str = "GET",
    host: str = "site.example",
    scheme: str = "https",
    source: str = "203.0.113.9",
    merged: Mapping[str, str] | None = None,
) -> bytes:
    """An encoded ``CheckRequest``; ``lines`` as with ``encode_raw_headers``, ``merged`` as without."""
    asked = CheckRequest()
    attributes = asked.attributes
    attributes.source.address.socket_address.address = source
    for name, value in (door or {}).items():
        attributes.context_extensions[name] = value
    http = attributes.request.http
    http.method, http.path, http.host, http.scheme = method, path, host, scheme
    for name, value in lines:
        line = http.header_map.headers.add()
        line.key, line.raw_value = name, value.encode("latin-1")
    for name, value in (merged or {}).items():
        http.headers[name] = value
    return bytes(asked.SerializeToString())


async def ask(channel: grpc.aio.Channel, request: bytes) -> Any:
    """The decoded ``CheckResponse``."""
    return CheckResponse.FromString(await channel.unary_unary(f"/{SERVICE}/Check")(request, timeout=10))


def set_headers(answer: Any) -> dict[str, str]:
    """The headers that the site gets with an admitted request."""
    return {option.header.key: option.header.value for option in answer.ok_response.headers}
