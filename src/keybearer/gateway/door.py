"""The door of a route: which credential a request carries, and whether it opens. No check performed is a refusal."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address
from typing import Final, NamedTuple

from ..core import permissions
from ..core.errors import Code, Rejected, Unavailable
from ..core.oauth_error import OAuthError
from ..core.permissions import Demand
from ..core.principal import Verified
from ..core.records import AndroidApp, Api, State
from ..core.requirement import Requirement
from ..core.routes import Route
from ..core.secret import Secret
from ..http.carriage import AUTHORIZATION, QUERY_NAMES, Missing, Place, SecretInUrl, carried, refuse_several
from ..http.challenges import metadata_url
from ..http.refusals import Terms, refusal
from ..ports import NotReady
from ..services.authority import Authority
from ..verify import Verifier
from .fresh import fresh
from .message import HeaderList, Request

SessionToken = Callable[[Route, Request], Awaitable[str | None]]
"""Returns the access token of the session that a request's cookie names; raises ``Rejected``."""

_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
NOTHING: Final[frozenset[str]] = frozenset()


class Admission(NamedTuple):
    """A request that may pass, and what may have carried its credential: fields, names in the query, a cookie.

    ``in_url`` is true where the query did: then nobody shall keep the answer. ``credential`` and ``requirement`` let a
    long answer be looked at again.
    """

    verified: Verified | None = None
    dropped: tuple[bytes, ...] = ()
    without: frozenset[str] = NOTHING
    cookie: str = ""
    credential: str = ""
    requirement: Requirement | None = None
    in_url: bool = False


PUBLIC: Final = Admission()


class Doorkeeper:
    """Decides about requests, with the verifier that all edges of this process share."""

    def __init__(self, authority: Authority, verifier: Verifier, session_token: SessionToken) -> None:
        self._authority = authority
        self._verifier = verifier
        self._session_token = session_token

    async def admit(
        self, route: Route, request: Request, client_ip: IPv4Address | IPv6Address | None, url: str
    ) -> Admission:
        """Return the leave to pass; ``url`` is what the client asked for. Raises ``Rejected``, ``Unavailable``."""
        if route.public:
            return PUBLIC
        seen, door = self._authority.seen_in_url, route.api or route.name
        try:
            admission = await self._admit(route, request, client_ip, url)
        except SecretInUrl as rejection:
            seen(rejection.secrets, client_ip, door, rejection.code.value)
            raise
        if admission.in_url:
            seen((Secret(admission.credential),), client_ip, door, Code.VALID.value)
        return admission

    async def _admit(
        self, route: Route, request: Request, client_ip: IPv4Address | IPv6Address | None, url: str
    ) -> Admission:
        api = await self._api(route)
        key_header = api.key_header.lower().encode("ascii")
        if len(request.said) < len(request.fields):
            refuse_several(request.fields, key_header)
        proofs = request.all_of(b"dpop")
        credential, place = await self._credential(route, request, api, key_header, bool(proofs))
        requirement = _requirement(route, request, api, client_ip)
        if proofs and place is not Place.COOKIE:
            requirement = requirement._replace(key_thumbprint=await self._prove(credential, proofs[0], request, url))
        try:
            verified = self._verifier.verify_now(credential, requirement)
        except NotReady:
            verified = await self._verifier.verify(credential, requirement)
        without = QUERY_NAMES if api.allow_publishable_in_query else NOTHING
        return Admission(
            verified,
            (AUTHORIZATION, key_header),
            without,
            api.token_cookie,
            credential,
            requirement,
            in_url=place is Place.QUERY,
        )

    def refusal(self, rejection: Rejected, route: Route, request: Request) -> tuple[int, HeaderList]:
        """Return the status and fields of the public answer to a credential that does not open this door."""
        dpop = b"dpop" in request.said or request.said.get(AUTHORIZATION, b"")[:5].lower() == b"dpop "
        metadata = metadata_url(self._authority.settings.issuer_url, route.api)
        terms = Terms(_demand_of(route.permissions), route.acr_values, None, metadata)
        return refusal(rejection, terms, dpop=dpop)

    async def _api(self, route: Route) -> Api:
        records = self._authority.records
        api = await fresh(records, lambda: records.api(route.api or ""))
        if api is None or api.state is not State.ENABLED:
            raise Unavailable("This route is not ready.", detail=f"route {route.name!r}: no API {route.api!r}")
        return api

    async def _credential(
        self, route: Route, request: Request, api: Api, key_header: bytes, with_proof: bool
    ) -> tuple[str, Place]:
        """Return the one credential of a request, and where it was: a session's is in a cookie."""
        token = await self._session_token(route, request)
        fields = request.said
        cookies = request.all_of(b"cookie")
        if len(cookies) > 1:
            fields = {**fields, b"cookie": b"; ".join(cookies)}
        try:
            found = carried(
                fields,
                key_header=key_header,
                query=request.query[1:].decode("latin-1"),
                query_allowed=api.allow_publishable_in_query,
                token_cookie=api.token_cookie.encode("ascii"),
                # A page of another site can open a WebSocket, and read along (CWE-1385).
                changes=request.method not in _SAFE or request.upgrade,
                with_proof=with_proof,
            )
        except Missing:
            if token is None:
                raise
            return token, Place.COOKIE
        if token is not None:
            raise Rejected(Code.MALFORMED, "Send exactly one credential; this request carries several.")
        return found.credential, found.place

    async def _prove(self, credential: str, proof: bytes, request: Request, url: str) -> str:
        """Return the thumbprint of the key that a proof is made with. Spec: RFC 9449 §7.1."""
        from ..services.dpop import check_proof_with  # JOSE is loaded when it is first needed

        try:
            return await check_proof_with(
                self._authority, credential, proof.decode("latin-1"), method=request.method, url=url
            )
        except OAuthError as error:
            raise Rejected(Code.PROOF_INVALID, error.description, detail=error.detail) from None


@lru_cache(1024)
def _demand_of(expression: str) -> Demand | None:
    return permissions.parse(expression) if expression else None


def _requirement(route: Route, request: Request, api: Api, client_ip: IPv4Address | IPv6Address | None) -> Requirement:
    said = request.said
    package, certificate = said.get(b"x-android-package"), said.get(b"x-android-cert")
    app = None
    if package is not None and certificate is not None:
        app = AndroidApp(package.decode("latin-1"), certificate.decode("latin-1").replace(":", "").lower())
    return Requirement(
        accept=frozenset(route.accepts) if route.accepts else None,
        api=api,
        demand=_demand_of(route.permissions),
        client_ip=client_ip,
        origin=_text(said, b"origin"),
        referrer=_text(said, b"referer"),
        android_app=app,
        ios_bundle_id=_text(said, b"x-ios-bundle-identifier"),
        method=request.method,
        path=request.path.decode("ascii"),
        cost=route.cost,
        acr_values=route.acr_values,
    )


def _text(said: dict[bytes, bytes], name: bytes) -> str | None:
    value = said.get(name)
    return None if value is None else value.decode("latin-1")
