"""The whole application: the web front and the JSON API over one forum, behind one guard."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from starlette.applications import Starlette
from starlette.routing import Mount

from keybearer.guards import Guard

from .api import application as json_api
from .config import API, Config
from .forum.database import Database
from .gate import Gate
from .site.authority import Authority
from .site.front import Front


def application(config: Config, database_path: Path) -> Starlette:
    """Return the ASGI application."""
    database = Database(database_path)
    guard = Guard(config.issuer, key=config.service_key, api=API)
    authority = Authority(config)
    front = Front(config, database, Gate(guard, authority), authority)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        async with guard:
            yield
        await authority.close()

    return front.application(Mount("/api", json_api.application(database, guard)), lifespan=lifespan)
