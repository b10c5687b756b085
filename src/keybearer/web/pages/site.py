"""What all pages share: who visits, forms that are checked before they are read, answers, and errors as pages."""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ...core import form as forms
from ...core.errors import Conflict, InvalidInput, NotFound, NotPermitted, Unavailable
from ...core.instant import Instant
from ...core.oauth_error import OAuthError, ServerError, TooManyRequests
from ...http.client_address import TrustedProxies
from ...ports import Limiter
from ...services import sessions, sign_in
from ...services.authority import Authority, Caller
from ...services.key_sets import KeySets
from ...services.mail_links import LinkRefused
from ...services.passkeys import origin
from ...services.recency import SignInNeeded
from ...services.sessions import SignedIn
from ...services.sign_in import SignInRefused
from ..browser_cookies import BROWSER, DEVICE, FLOW, SECOND_STEP, SESSION, Cookies
from ..dispatch import body_of, request_id_of
from ..flows import LIFETIME_IN as FLOW_IN
from ..flows import Flow, Flows, crowded_out
from ..form_tokens import FIELD, ForeignForm, FormTokens, is_browser, new_browser, require_own_site
from ..problem import HttpProblem
from .rendering import Renderer

log = logging.getLogger(__name__)

MAX_FORM: Final = 65_536
DEVICE_IN: Final = 180 * 86_400
FORM_TYPE: Final = "application/x-www-form-urlencoded"
_OWN_PATH: Final = re.compile(r"/account(?:/[a-z-]{1,30}){0,2}|/device(?:\?user_code=[A-Za-z0-9-]{1,20})?", re.ASCII)


class NoSignIn(Exception):
    """This page is for somebody who is signed in; ``Site`` sends the browser to sign in first."""


@dataclass(slots=True)
class Visit:
    """One request for a page: who it is, as far as cookies tell, and the cookies that the answer will set."""

    request: Request
    cookies: dict[str, str]
    browser: str
    source: str | None
    request_id: str
    now: Instant
    signed_in: SignedIn | None = None
    setting: list[str] = field(default_factory=list)

    @property
    def who(self) -> SignedIn:
        """Who is signed in; raises ``NoSignIn``."""
        if self.signed_in is None:
            raise NoSignIn
        return self.signed_in

    @property
    def session_id(self) -> str:
        """The session that forms are bound to, empty before a sign-in."""
        return self.signed_in.session.id if self.signed_in is not None else ""

    @property
    def caller(self) -> Caller:
        """The user as the one who acts."""
        return sessions.caller_of(self.who, source=self.source, request_id=self.request_id)

    @property
    def query(self) -> Mapping[str, str]:
        """The query string; of a name that comes twice, the last."""
        return self.request.query_params

    def sign_in_visit(self) -> sign_in.Visit:
        """Return the browser as the sign-in knows it."""
        return sign_in.Visit(
            source=self.source,
            user_agent=self.request.headers.get("user-agent", ""),
            device=self.cookies.get(DEVICE, ""),
            renews=self.signed_in.session if self.signed_in is not None else None,
        )


def own_path(text: str) -> str:
    """Return where to go on after a sign-in if it is one of our own pages, else nothing: no open redirects."""
    return text if _OWN_PATH.fullmatch(text) else ""


Handler = Callable[["Site", Visit], Awaitable[Response]]


class Site:
    """The pages of one authority."""

    def __init__(self, authority: Authority, limiter: Limiter, proxies: TrustedProxies) -> None:
        self.authority = authority
        self.limiter = limiter
        self.key_sets = KeySets(authority)
        self.renderer = Renderer(authority.settings)
        self.origin = origin(authority.settings)
        self._proxies = proxies
        self._cookies = Cookies(authority.settings.issuer_url)
        self._tokens = FormTokens(authority.keyring, authority.clock)
        self._flows = Flows(authority.keyring)

    # Visits

    def route(self, path: str, **handlers: Handler) -> Route:
        """Return the route of a page; ``get`` and ``post`` are its handlers."""

        async def serve(request: Request) -> Response:
            visit = await self._visit(request)
            handler = handlers["get" if request.method == "HEAD" else request.method.lower()]
            try:
                response = await handler(self, visit)
            except NoSignIn:
                response = self.to_sign_in(visit)
            except SignInNeeded:
                response = self.to_sign_in(visit, again=True)
            except Exception as error:
                response = self.error(visit, error)
            for cookie in visit.setting:
                response.headers.append("set-cookie", cookie)
            return response

        return Route(path, serve, methods=[method.upper() for method in handlers])

    async def nothing_here(self, request: Request) -> Response:
        """Return the page for a person whose address leads nowhere."""
        return self.error(await self._visit(request), NotFound("page", request.url.path[:200]))

    async def _visit(self, request: Request) -> Visit:
        cookies = self._cookies.read(request.scope["headers"])
        source = self._proxies.client_address(request.client.host if request.client else None, request.scope["headers"])
        browser = cookies.get(BROWSER, "")
        visit = Visit(
            request=request,
            cookies=cookies,
            browser=browser if is_browser(browser) else "",
            source=None if source is None else str(source),
            request_id=request_id_of(request),
            now=self.authority.clock.now(),
        )
        if SESSION in cookies:
            try:
                visit.signed_in = await sessions.find(self.authority, cookies[SESSION])
            except Unavailable as error:
                log.warning("a session could not be looked up", extra={"detail": error.detail or error.public})
        return visit

    def set_cookie(self, visit: Visit, name: str, value: str, max_age: int | None = None) -> None:
        """Set a cookie with the answer."""
        visit.setting.append(self._cookies.set(name, value, max_age))

    def clear_cookie(self, visit: Visit, name: str) -> None:
        """Remove a cookie with the answer, if the browser has it."""
        if name in visit.cookies:
            visit.setting.append(self._cookies.clear(name))

    def welcome(self, visit: Visit, done: sign_in.Done) -> None:
        """Hand the browser its new session, and take away what led to it."""
        self.set_cookie(visit, SESSION, done.secret.reveal())
        if done.device is not None:
            self.set_cookie(visit, DEVICE, done.device.reveal(), DEVICE_IN)
        self.clear_cookie(visit, SECOND_STEP)

    def forget_session(self, visit: Visit) -> None:
        """Take the session's cookie away."""
        self.clear_cookie(visit, SESSION)
        self.clear_cookie(visit, SECOND_STEP)

    # Flows

    def keep(self, visit: Visit, flow: Flow) -> None:
        """Let the browser carry a flow; raises ``InvalidRequest`` when it is too large."""
        value = self._flows.seal(flow)
        for name in crowded_out(visit.cookies, flow.id, len(value)):
            visit.setting.append(self._cookies.clear(name))
        self.set_cookie(visit, FLOW + flow.id, value, FLOW_IN // 1_000_000)

    def flow(self, visit: Visit, flow_id: str) -> Flow | None:
        """Return a flow that this browser carries."""
        return self._flows.open(visit.cookies, flow_id, visit.now)

    def drop(self, visit: Visit, flow: Flow) -> None:
        """Take a flow from the browser: it has come to its end."""
        self.clear_cookie(visit, FLOW + flow.id)

    # Forms

    async def form(self, visit: Visit) -> forms.Form:
        """Return the form that one of our own pages sent; raises ``ForeignForm`` for any other, before reading it."""
        require_own_site(visit.request.headers, self.origin)
        form = forms.parse(await self.raw_form(visit))
        self._tokens.check(form.get(FIELD), visit.browser, visit.session_id, visit.request.url.path)
        return form

    async def raw_form(self, visit: Visit) -> bytes:
        """Return the body of a form, whoever sent it; raises ``HttpProblem``."""
        media_type = visit.request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if media_type != FORM_TYPE:
            raise HttpProblem(415, f"Send the form as '{FORM_TYPE}'.")
        return await body_of(visit.request, min(MAX_FORM, self.authority.settings.max_body))

    # Answers

    def page(
        self,
        visit: Visit,
        template: str,
        *,
        status: int = 200,
        form_targets: Iterable[str] = (),
        image_sources: Iterable[str] = (),
        scripts: bool = False,
        **values: Any,
    ) -> Response:
        """Return a page."""
        if not visit.browser:
            visit.browser = new_browser()
            self.set_cookie(visit, BROWSER, visit.browser)

        def token(action: str) -> str:
            value = self._tokens.issue(visit.browser, visit.session_id, action)
            return f'<input type="hidden" name="{FIELD}" value="{value}">'

        values = {"signed_in": visit.signed_in, "scripts": scripts, **values}
        headers = self.renderer.headers(form_targets=form_targets, image_sources=image_sources, scripts=scripts)
        headers["x-request-id"] = visit.request_id
        return Response(self.renderer.render(template, values, token), status, headers)

    def to(self, visit: Visit, path: str, **query: str) -> Response:
        """Send the browser to one of our own paths; empty query parameters are left out."""
        encoded = urlencode({name: value for name, value in query.items() if value})
        return self.away(visit, self.renderer.path(path) + (f"?{encoded}" if encoded else ""))

    def away(self, visit: Visit, url: str) -> Response:
        """Send the browser elsewhere, by 303: what it posted is not posted again. Spec: RFC 9700 §4.12."""
        headers = {
            "location": url,
            "cache-control": "no-store",
            "referrer-policy": "no-referrer",
            "x-content-type-options": "nosniff",
            "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
            "x-request-id": visit.request_id,
        }
        return Response(b"", 303, headers)

    def to_sign_in(self, visit: Visit, *, again: bool = False) -> Response:
        """Send the browser to sign in, and from there back to this page."""
        path, code = visit.request.url.path, visit.query.get("user_code", "")
        to = f"{path}?user_code={code}" if code else path
        return self.to(visit, "/sign-in", to=own_path(to) or "/account", again="1" if again else "")

    def error(self, visit: Visit, error: BaseException) -> Response:
        """Return the page of an error. What a developer can act on stands there; nothing is sent anywhere."""
        status, title, text, code = 500, "Something went wrong here", "The operator can find this by its id.", ""
        match error:
            case ForeignForm():
                status, title, text = 403, "This form cannot be accepted", error.public
            case TooManyRequests():
                status, title, text, code = 429, "Too many attempts", error.description, error.error
            case OAuthError():
                status = error.status if isinstance(error, ServerError) else 400
                title, text, code = "This request cannot be used", error.description, error.error
            case HttpProblem():
                status, title, text = error.status, "The request is not valid", error.public
            case InvalidInput():
                status, title, text = 400, "The request is not valid", error.public
            case NotFound():
                status, title, text = 404, "Not found", "There is nothing here, or it is not yours."
            case NotPermitted():
                status, title, text = 403, "Not permitted", error.public
            case Conflict():
                status, title, text = 409, "This cannot be done now", error.public
            case LinkRefused():
                status, title = 400, "This link is not good any more"
                text = "It was used before, or its time is over. Ask for a new one."
            case SignInRefused():
                status, title, text = 400, "You are not signed in", error.public
            case Unavailable():
                status, title, text = 503, "Not available for now", "Try again in a moment."
            case _:
                log.error("unexpected error", exc_info=error, extra={"request_id": visit.request_id})
        response = self.page(
            visit, "error.html", status=status, title=title, text=text, code=code, request_id=visit.request_id
        )
        if isinstance(error, TooManyRequests):
            response.headers["retry-after"] = str(-(-error.retry_after // 1_000_000))
        elif status == 503:
            response.headers["retry-after"] = "1"
        return response
