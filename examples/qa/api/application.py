"""The JSON API put together. Its OpenAPI document, at ``/api/openapi.json``, tells which credential opens what."""

from __future__ import annotations

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from keybearer.guards import Guard
from keybearer.guards.fastapi import Guarded

from ..forum.database import Database
from ..forum.errors import AgainstTheRules, ForumError, NotThere, Unreadable
from . import moderating, reading, writing
from .bounds import BoundedBodies
from .doors import Doors

_STATUS = {NotThere: 404, AgainstTheRules: 409, Unreadable: 422}


def application(database: Database, guard: Guard) -> FastAPI:
    """Return the API."""
    api = FastAPI(
        title="Questions and answers",
        version="1",
        summary="Read with an API key of your application; write with the token of a person who allowed you to.",
        docs_url=None,  # these pages would fetch their scripts from elsewhere
        redoc_url=None,
    )
    api.add_middleware(BoundedBodies)
    guarded = Guarded(guard)
    guarded.install(api)
    doors = Doors(guarded)
    for part in (reading, writing, moderating):
        api.include_router(part.routes(database, doors))

    @api.exception_handler(ForumError)
    async def refuse(_request: Request, error: ForumError) -> JSONResponse:
        said = {"title": type(error).__name__, "status": _STATUS[type(error)], "detail": str(error)}
        if isinstance(error, Unreadable):
            said["field"] = error.field
        return JSONResponse(said, _STATUS[type(error)], media_type="application/problem+json")

    return api
