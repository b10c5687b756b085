"""The web front put together: its pages, what they work with, and what is said when something is refused."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar
from urllib.parse import urlsplit

import jinja2
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Lifespan

from .. import permissions
from ..config import Config
from ..forum.database import Database
from ..forum.errors import AgainstTheRules, NotThere, Unreadable
from ..gate import Gate, NotSignedIn, Refused
from ..markdown import to_html
from . import moderating, reading, signing_in, writing
from .authority import Authority, CannotBeReached, SignInFailed
from .sessions import Sessions
from .visit import ForeignForm, Visit

HERE = Path(__file__).parent
P = ParamSpec("P")
T = TypeVar("T")
Page = Callable[[Visit], Awaitable[Response]]


class Front:
    """What all pages share."""

    def __init__(self, config: Config, database: Database, gate: Gate, authority: Authority) -> None:
        self.config = config
        self.gate = gate
        self.authority = authority
        self.sessions = Sessions(secure=config.is_secure)
        self.words = permissions.WORDS
        self._database = database
        parts = urlsplit(config.url)
        self.origin = f"{parts.scheme}://{parts.netloc}"
        issuer = urlsplit(config.issuer)
        # No script at all. Forms go here, and signing out leads on to Keybearer.
        policy = "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; frame-ancestors 'none'"
        self.headers = {
            "content-security-policy": f"{policy}; form-action 'self' {issuer.scheme}://{issuer.netloc}",
            "cache-control": "no-store",
            "referrer-policy": "same-origin",
            "x-content-type-options": "nosniff",
        }
        self.templates = jinja2.Environment(
            loader=jinja2.FileSystemLoader(HERE / "templates"),
            autoescape=True,
            trim_blocks=True,
            lstrip_blocks=True,
            undefined=jinja2.StrictUndefined,
        )
        self.templates.filters |= {"markdown": to_html, "when": when, "ago": ago}

    async def read(
        self, function: Callable[Concatenate[sqlite3.Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Return what a function of the forum finds."""

        def work() -> T:
            with self._database.reading() as db:
                return function(db, *args, **kwargs)

        return await run_in_threadpool(work)

    async def change(
        self, function: Callable[Concatenate[sqlite3.Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Let a function of the forum change something, whole or not at all."""

        def work() -> T:
            with self._database.changing() as db:
                return function(db, *args, **kwargs)

        return await run_in_threadpool(work)

    def application(self, *more: Mount, lifespan: Lifespan[Starlette]) -> Starlette:
        """Return the application, with what else is mounted beside the pages."""
        get, post, both = ["GET"], ["POST"], ["GET", "POST"]
        pages: list[tuple[str, Page, list[str]]] = [
            ("/", reading.home, get),
            ("/questions/{id:int}", reading.question, get),
            ("/posts/{id:int}/history", reading.history, get),
            ("/search", reading.search, get),
            ("/tags", reading.tags, get),
            ("/tags/{tag}", reading.tagged, get),
            ("/people", reading.everybody, get),
            ("/people/{id}", reading.person, get),
            ("/developers", reading.developers, get),
            ("/ask", writing.ask, both),
            ("/questions/{id:int}/answers", writing.answer, post),
            ("/posts/{id:int}/comments", writing.comment, post),
            ("/posts/{id:int}/vote", writing.vote, post),
            ("/posts/{id:int}/accept", writing.accept, post),
            ("/posts/{id:int}/edit", writing.edit, both),
            ("/posts/{id:int}/flag", writing.flag, post),
            ("/posts/{id:int}/moderate", moderating.moderate, post),
            ("/flags", moderating.flags, get),
            ("/sign-in", signing_in.sign_in, get),
            ("/signed-in", signing_in.signed_in, get),
            ("/sign-out", signing_in.sign_out, post),
        ]
        routes = [Route(path, self._endpoint(page), methods=methods) for path, page, methods in pages]
        static = Mount("/static", StaticFiles(directory=HERE / "static"))
        return Starlette(
            routes=[*more, static, *routes], exception_handlers={404: self._nothing_here}, lifespan=lifespan
        )

    def _endpoint(self, page: Page) -> Callable[[Request], Awaitable[Response]]:
        async def serve(request: Request) -> Response:
            visit = Visit(self, request)
            try:
                return await page(visit)
            except NotSignedIn as needed:
                return visit.to(visit.sign_in_path + ("&again" if needed.again else ""))
            except (Refused, SignInFailed, ForeignForm, AgainstTheRules, NotThere, Unreadable) as problem:
                return self._problem(visit, problem)

        return serve

    def _problem(self, visit: Visit, problem: Exception) -> Response:
        headers: dict[str, str] = {}
        text = str(problem)
        match problem:
            case Refused():
                status, title = problem.status, problem.title
                headers = problem.headers
            case NotThere():
                status, title = 404, "Nothing here"
            case AgainstTheRules():
                status, title = 409, "That is not possible"
            case Unreadable():
                status, title = 422, "That cannot be taken as it is"
            case ForeignForm():
                status, title, text = (
                    403,
                    "That form is too old",
                    "Go back, load the page again, and send it once more.",
                )
            case CannotBeReached():
                status, title, headers = 503, "Please try again", {"retry-after": "1"}
            case _:
                status, title = 400, "You are not signed in"
        return visit.page("problem.html", status, headers, title=title, text=text, problem=problem)

    async def _nothing_here(self, request: Request, _error: Exception) -> Response:
        return self._problem(Visit(self, request), NotThere("There is no such page."))


def when(at: int) -> str:
    """Return a time as machines read it."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def ago(at: int) -> str:
    """Return a time as people say it."""
    seconds = max(0, int(time.time()) - at)
    for length, name in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        count = seconds // length
        if count:
            return f"{count} {name}{'' if count == 1 else 's'} ago"
    return "just now"
