"""``/v3/auth/catalog`` and ``/v3/auth/projects``: what a token reaches, for whoever has it."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ...services.metadata import endpoint
from ...services.x_auth import DEFAULT_DOMAIN
from ..dispatch import request_id_of
from .answers import answer
from .door import Door
from .token_view import catalog_view


def routes(door: Door) -> list[Route]:
    """Return the routes."""
    settings = door.authority.settings

    async def catalog(request: Request) -> Response:
        caller = await door.caller(request)
        said = {"catalog": catalog_view(caller.api, caller.project), "links": _links("/v3/auth/catalog")}
        return answer(said, request_id_of(request))

    async def projects(request: Request) -> Response:
        project = (await door.caller(request)).project
        one = {
            "id": project.id,
            "name": project.name,
            "domain_id": DEFAULT_DOMAIN,
            "enabled": True,
            "is_domain": False,
        }
        return answer({"projects": [one], "links": _links("/v3/auth/projects")}, request_id_of(request))

    def _links(path: str) -> dict[str, str | None]:
        return {"self": endpoint(settings, path), "previous": None, "next": None}

    return [
        Route("/v3/auth/catalog", door.endpoint(catalog), methods=["GET"]),
        Route("/v3/auth/projects", door.endpoint(projects), methods=["GET"]),
    ]
