"""The pages of a BFF: sign in, come back, sign out, and who is signed in. No token is ever in an answer to a browser.

Spec: draft-ietf-oauth-browser-based-apps §6.1, OAuth 2.1 §4.1, RFC 9207, RFC 7636, OIDC RP-Initiated Logout §2,
OIDC Back-Channel Logout §2.5, RFC 9700 §4.7 (login CSRF), §4.11 (open redirection).
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
import logging
import secrets
from collections.abc import Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl, urlencode

import msgspec

from ..core import form
from ..core.errors import Conflict
from ..core.instant import MINUTE
from ..core.oauth_error import InvalidRequest, OAuthError
from ..core.pkce import METHOD, challenge_of
from ..core.routes import Bff, Route, is_plain_path
from ..http.carriage import CrossSite, is_same_site
from ..services.authority import Authority
from ..services.metadata import ENDPOINTS, endpoint
from ..services.sealing import CannotOpen, open_sealed, seal
from ..verify import Verifier
from .message import HeaderList, Request
from .party import Address, Party
from .secrets import UpstreamSecrets
from .sessions import PREFIX, Session, Sessions, cookie_of

log = logging.getLogger(__name__)

PURPOSE: Final = "bff-flow"
FLOW_IN: Final = 15 * MINUTE
MAX_BODY: Final = 16_384
_PROMPTS: Final = frozenset({"login", "consent", "select_account", "create"})
_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_ALWAYS: Final = (
    (b"cache-control", b"no-store"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
)


class Page(NamedTuple):
    """What a page answers."""

    status: int
    fields: HeaderList
    body: bytes = b""


class Flow(msgspec.Struct, frozen=True):
    """A sign-in on its way, as it travels sealed in a cookie: nobody can fill a table by beginning many."""

    route: str
    state: str
    nonce: str
    verifier: str
    to: str
    begun_at: int


class Bffs:
    """Serves the pages of all BFFs, and hands on the access tokens of their sessions."""

    def __init__(self, authority: Authority, verifier: Verifier, upstream_secrets: UpstreamSecrets) -> None:
        self._authority = authority
        self._party = Party(authority, verifier, upstream_secrets)
        self._sessions = Sessions(authority, self._party)

    async def token_for(self, site: Route, request: Request) -> str | None:
        """Return the access token of the session that a request's cookie names, if there is one.

        Raises ``CrossSite`` where another site may have made a request that changes something, or opens a WebSocket.
        Spec: CWE-352, CWE-1385.
        """
        session, _ = await self._session(site, request)
        if session is None:
            return None
        if (request.method not in _SAFE or request.upgrade) and not is_same_site(request.said):
            raise CrossSite
        return session.tokens.access_token

    async def page(self, site: Route, name: str, request: Request, outside: str, source: Address | None) -> Page:
        """Answer a request for one of the pages."""
        assert site.bff is not None  # noqa: S101 — the table matches pages of routes that have one
        bff, method = site.bff, request.method
        try:
            if name == "login" and method == "GET":
                return self._login(site, bff, request, outside)
            if name == "callback" and method == "GET":
                return await self._callback(site, bff, request, outside, source)
            if name == "user" and method == "GET":
                return await self._user(site, request)
            if name == "logout" and method in ("GET", "POST"):
                return await self._logout(site, bff, request, outside, source)
            if name == "backchannel-logout" and method == "POST":
                return await self._backchannel_logout(bff, request)
        except OAuthError as error:
            log.info("a sign-in did not work", extra={"route": site.name, "why": error.detail or error.description})
            return _problem(400, "Signing in did not work. Try again.", self._without_flow(site))
        return _problem(404, "There is no such page.")

    # Signing in.

    def _login(self, site: Route, bff: Bff, request: Request, outside: str) -> Page:
        asked = _query_of(request)
        flow = Flow(
            route=site.name,
            state=secrets.token_urlsafe(32),
            nonce=secrets.token_urlsafe(32),
            verifier=secrets.token_urlsafe(48),
            to=_inner(asked.get("return_to", ""), bff.home),
            begun_at=self._authority.clock.now(),
        )
        parameters = {
            "response_type": "code",
            "client_id": bff.client_id,
            "redirect_uri": f"{outside}{bff.path}/callback",
            "scope": " ".join(bff.scopes),
            "state": flow.state,
            "nonce": flow.nonce,
            "code_challenge": challenge_of(flow.verifier),
            "code_challenge_method": METHOD,
        }
        if site.api and "://" in site.api:
            parameters["resource"] = site.api
        if asked.get("prompt") in _PROMPTS:
            parameters["prompt"] = asked["prompt"]
        url = endpoint(self._authority.settings, ENDPOINTS["authorization_endpoint"]) + "?" + urlencode(parameters)
        sealed = seal(self._authority.keyring, PURPOSE, msgspec.json.encode(flow))
        cookie = _cookie(_flow_name(site), base64.urlsafe_b64encode(sealed).decode(), FLOW_IN // 1_000_000)
        return _redirect(url, [cookie])

    async def _callback(self, site: Route, bff: Bff, request: Request, outside: str, source: Address | None) -> Page:
        answer = _query_of(request)
        flow = self._flow(site, request)
        # Login CSRF: whoever began it, it was not this browser.
        if flow is None or not hmac.compare_digest(answer.get("state", "").encode(), flow.state.encode()):
            return _problem(400, "This sign-in was not begun here. Begin again.", self._without_flow(site))
        if answer.get("iss") != self._authority.settings.issuer_url:
            raise InvalidRequest("The answer is of another authority.")
        if "error" in answer:
            return _redirect(flow.to, self._without_flow(site))
        parameters = {
            "grant_type": "authorization_code",
            "code": answer.get("code", ""),
            "redirect_uri": f"{outside}{bff.path}/callback",
            "code_verifier": flow.verifier,
        }
        issued = await self._party.redeem(bff, parameters, source)
        claims = await self._party.id_token_claims(bff, str(issued.get("id_token", "")), flow.nonce)
        before, old = await self._session(site, request)
        if before is not None:
            await self._sessions.end(before, bff, old, source)
        cookie = await self._sessions.open(site, bff, issued, claims)
        opened = _cookie(self._sessions.cookie_name(site), cookie, bff.session_in // 1_000_000)
        return _redirect(flow.to, [opened, *self._without_flow(site)])

    def _flow(self, site: Route, request: Request) -> Flow | None:
        text = cookie_of(request, _flow_name(site))
        try:
            sealed = base64.b64decode(text[:4096], b"-_", validate=True)
            flow = msgspec.json.decode(open_sealed(self._authority.keyring, PURPOSE, sealed), type=Flow)
        except (binascii.Error, ValueError, CannotOpen):
            return None
        is_over = self._authority.clock.now() >= flow.begun_at + FLOW_IN
        return None if is_over or flow.route != site.name else flow

    def _without_flow(self, site: Route) -> HeaderList:
        return [_cookie(_flow_name(site), "", 0)]

    # Signed in, and out again.

    async def _session(self, site: Route, request: Request) -> tuple[Session | None, str]:
        assert site.bff is not None  # noqa: S101
        cookie = cookie_of(request, self._sessions.cookie_name(site))
        if not cookie:
            return None, ""
        return await self._sessions.find(site, site.bff, cookie), cookie

    async def _user(self, site: Route, request: Request) -> Page:
        session, _ = await self._session(site, request)
        if session is None:
            return _problem(401, "Nobody is signed in.")
        tokens = session.tokens
        told = {**tokens.claims, "session_ends_at": tokens.ends_at // 1_000_000}
        return Page(200, [*_ALWAYS, (b"content-type", b"application/json")], json.dumps(told).encode())

    async def _logout(self, site: Route, bff: Bff, request: Request, outside: str, source: Address | None) -> Page:
        """End the session here, then at the authority. A page of another site cannot do that (CWE-352)."""
        if not is_same_site(request.said):
            return _problem(403, "Sign out from a page of this site.")
        session, cookie = await self._session(site, request)
        gone = [_cookie(self._sessions.cookie_name(site), "", 0)]
        if session is None:
            return _redirect(bff.home, gone)
        await self._sessions.end(session, bff, cookie, source)
        # Ended there as well, the authority needs no id_token_hint to be sure: no token goes through the browser.
        await self._party.end_sign_in(str(session.tokens.claims.get("sid", "")), source)
        parameters = {"client_id": bff.client_id, "post_logout_redirect_uri": outside + bff.home}
        url = endpoint(self._authority.settings, ENDPOINTS["end_session_endpoint"]) + "?" + urlencode(parameters)
        return _redirect(url, gone)

    async def _backchannel_logout(self, bff: Bff, request: Request) -> Page:
        """End the sessions of a sign-in that ended at the authority. Spec: OIDC Back-Channel Logout §2.5-§2.8."""
        body = b""
        while piece := await request.body.read():
            body += piece
            if len(body) > MAX_BODY:
                return _problem(413, "A logout token is shorter.")
        sign_in, token_id = await self._party.ended_session(bff, form.parse(body).need("logout_token"))
        try:
            await self._sessions.end_all(sign_in, token_id)
        except Conflict:
            return _problem(400, "This logout token was used before.")
        return Page(200, [*_ALWAYS])


def _flow_name(site: Route) -> str:
    return f"{PREFIX}{site.name}.flow"


def _inner(wanted: str, home: str) -> str:
    """Return where to go on within this site; anything that a browser could take for another site is not followed."""
    path, _, query = wanted.partition("?")
    is_inner = path.startswith("/") and is_plain_path(path) and query.isascii() and query.isprintable()
    return wanted if is_inner and len(wanted) <= 1024 and "\\" not in query else home


def _query_of(request: Request) -> Mapping[str, str]:
    """Return the parameters of a query; raises ``InvalidRequest`` where one comes twice."""
    try:
        pairs = parse_qsl(request.query[1:].decode("latin-1"), keep_blank_values=True, max_num_fields=30)
    except ValueError:
        raise InvalidRequest("There are too many parameters.") from None
    if len(dict(pairs)) < len(pairs):
        raise InvalidRequest("Each parameter may stand there once.")
    return dict(pairs)


def _cookie(name: str, value: str, seconds: int) -> tuple[bytes, bytes]:
    """Return the field that sets a cookie: for this host alone, unreadable by scripts. Spec: RFC 6265bis §4.1."""
    text = f"{name}={value}; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age={seconds}"
    return (b"set-cookie", text.encode("ascii"))


def _redirect(url: str, fields: HeaderList) -> Page:
    # 303: whatever the method was, the next one is GET (RFC 9700 §4.12).
    return Page(303, [*_ALWAYS, (b"location", url.encode("ascii", "ignore")), *fields])


def _problem(status: int, detail: str, fields: Any = ()) -> Page:
    body = json.dumps({"status": status, "detail": detail}).encode()
    return Page(status, [*_ALWAYS, (b"content-type", b"application/problem+json"), *fields], body)
