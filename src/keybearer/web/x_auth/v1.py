"""``GET /auth/v1.0``: user and key in the head, token and storage URL in the head of the answer.

The call that OpenStack Swift's TempAuth and its relatives made known; ``swift -A … -U … -K …`` makes it.
"""

from __future__ import annotations

from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ...core.errors import InvalidInput
from ...core.instant import SECOND
from ...core.secret import Secret
from ...services.x_auth import Claim
from ...services.x_auth_catalog import OBJECT_STORE, entries_of, url_for
from ..dispatch import SECURITY_HEADERS, request_id_of
from .answers import refused_text
from .door import Door, header

PATHS: Final = ("/auth/v1.0", "/auth/v1")


def routes(door: Door) -> list[Route]:
    """Return the routes."""

    async def sign_in(request: Request) -> Response:
        user = _one_of(request, "x-auth-user", "x-storage-user")
        key = _one_of(request, "x-auth-key", "x-storage-pass")
        request_id = request_id_of(request)
        claim = Claim(Secret(key), user, service=OBJECT_STORE)
        token, described = await door.x_auth.sign_in(claim, door.source(request), request_id)
        text = token.reveal()
        headers = {
            **SECURITY_HEADERS,
            "x-auth-token": text,
            "x-storage-token": text,
            "x-auth-token-expires": str((described.expires_at - door.authority.clock.now()) // SECOND),
            "x-request-id": request_id,
        }
        entries = () if described.api is None else entries_of(described.api)
        stores = [entry for entry in entries if entry.type == OBJECT_STORE]
        headers["x-storage-url"] = url_for(stores[0], described.project.id)
        return Response(b"", 200, headers)

    return [Route(path, door.endpoint(sign_in, refused_text), methods=["GET"]) for path in PATHS]


def _one_of(request: Request, name: str, older: str) -> str:
    """Return the field under its name or the older one; raises ``InvalidInput`` when both are there."""
    one, other = header(request, name), header(request, older)
    if one and other:
        raise InvalidInput.of(name, f"send this field or {older}, not both")
    return one or other
