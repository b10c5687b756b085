"""``/v3`` and ``/identity``: which versions of Keystone's API there are, for clients that look before they ask."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ...services.metadata import endpoint
from ..dispatch import request_id_of
from .answers import V3, answer
from .door import Door


def routes(door: Door) -> list[Route]:
    """Return the routes."""
    version: dict[str, Any] = {
        "id": "v3.14",
        "status": "stable",
        "updated": "2020-04-07T00:00:00Z",
        "links": [{"rel": "self", "href": endpoint(door.authority.settings, V3) + "/"}],
        "media-types": [{"base": "application/json", "type": "application/vnd.openstack.identity-v3+json"}],
    }

    async def one(request: Request) -> Response:
        return answer({"version": version}, request_id_of(request))

    async def all_of_them(request: Request) -> Response:
        return answer({"versions": {"values": [version]}}, request_id_of(request), 300)

    return [
        *(Route(path, door.endpoint(one), methods=["GET"]) for path in (V3, f"{V3}/")),
        *(Route(path, door.endpoint(all_of_them), methods=["GET"]) for path in ("/identity", "/identity/")),
    ]
