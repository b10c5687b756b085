"""One request of one browser: who it is, what the form says, whether Keybearer lets them, and what to answer."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from keybearer.guards import Caller

from .. import permissions
from ..gate import NotSignedIn
from .sessions import Session

if TYPE_CHECKING:
    from .front import Front

MOST_BYTES = 200_000
MOST_FIELDS = 20


class ForeignForm(Exception):
    """A form that is not ours, or from a session that is over."""


class Visit:
    """What a page has to do with."""

    def __init__(self, front: Front, request: Request) -> None:
        self.front = front
        self.request = request

    @cached_property
    def session(self) -> Session | None:
        """The session of this browser, if it has one."""
        return self.front.sessions.of(self.request)

    @property
    def person_id(self) -> str | None:
        """Who is signed in."""
        session = self.session
        return None if session is None or session.tokens is None else session.person_id

    def may(self, permission: str) -> bool:
        """Tell whether to offer something. Whether it is done is asked anew when it is done: see ``allowed``."""
        session = self.session
        return session is not None and session.tokens is not None and permission in session.tokens.scope

    @property
    def moderates(self) -> bool:
        """Tell whether to offer what moderators do; whether they are shown more, ``sees_deleted`` says."""
        return self.may(permissions.MODERATE)

    async def sees_deleted(self) -> bool:
        """Tell whether a moderator reads, as Keybearer has it now."""
        return (
            self.moderates
            and self.session is not None
            and await self.front.gate.holds(self.session, permissions.MODERATE)
        )

    async def allowed(self, permission: str) -> Caller:
        """Return who is signed in, once Keybearer said now that they may do this through this application.

        Raises ``NotSignedIn``, or what the guard refuses with.
        """
        session = self.session
        if session is None or session.tokens is None:
            raise NotSignedIn
        return await self.front.gate.allowed(session, permission)

    async def person_allowed(self, permission: str) -> str:
        """Return the id of who is signed in, likewise."""
        await self.allowed(permission)
        assert self.session is not None  # the gate saw that the token is of the session's person
        return self.session.person_id

    async def form(self) -> dict[str, str]:
        """Return the fields of a form of ours. Raises ``ForeignForm``."""
        origin, site = self.request.headers.get("origin"), self.request.headers.get("sec-fetch-site")
        if origin not in (None, self.front.origin) or site not in (None, "same-origin", "none"):
            raise ForeignForm
        body = bytearray()
        async for chunk in self.request.stream():
            body += chunk
            if len(body) > MOST_BYTES:
                raise ForeignForm
        try:
            fields = dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=MOST_FIELDS))
        except ValueError:
            raise ForeignForm from None
        if self.person_id is None:
            raise NotSignedIn
        if self.session is None or not self.session.accepts_form(fields.pop("form_token", "")):
            raise ForeignForm
        return fields

    def page(
        self, template: str, status: int = 200, headers: Mapping[str, str] | None = None, **words: Any
    ) -> Response:
        """Return a page."""
        text = self.front.templates.get_template(template).render(visit=self, **words)
        return HTMLResponse(text, status, {**self.front.headers, **(headers or {})})

    def to(self, path: str) -> Response:
        """Send the browser on with a GET. Spec: RFC 9110 §15.4.4."""
        return RedirectResponse(path, 303, self.front.headers)

    @property
    def here(self) -> str:
        """This page, to come back to: after a form the page that it stood on."""
        if self.request.method == "GET":
            return self.request.url.path + ("?" + self.request.url.query if self.request.url.query else "")
        before = urlsplit(self.request.headers.get("referer", ""))
        return before.path if f"{before.scheme}://{before.netloc}" == self.front.origin else "/"

    @property
    def sign_in_path(self) -> str:
        """Where one signs in and comes back to this page."""
        return "/sign-in?" + urlencode({"next": self.here})

    @property
    def number(self) -> int:
        """The number of the page of a list; the first, unless the query says otherwise."""
        text = self.request.query_params.get("page", "1")
        return int(text) if text.isascii() and text.isdecimal() and len(text) < 5 else 1
