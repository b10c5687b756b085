"""Forward-auth: a proxy asks, by the headers of the original request, whether to let it pass.

``/forward-auth`` answers 200, 401, 403 or 429 (Caddy, Traefik). ``/forward-auth/nginx`` answers 429 as 403, because
nginx's ``auth_request`` knows only 401 and 403; ``X-Keybearer-Status`` has the true status in both.

What must hold stands in the query of the URL that the operator configures: ``api`` (id or identifier), ``permissions``
(an expression), ``cost``. Only trusted proxies may ask, and only what they set is believed about the client.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final, NamedTuple
from urllib.parse import parse_qsl, quote

from ..core import permissions
from ..core.errors import Code, InvalidInput, KeybearerError, NotPermitted, Rejected
from ..core.instant import SECOND
from ..core.permissions import Demand
from ..core.principal import Principal, Verified
from ..core.quota import LimitState
from ..core.records import AndroidApp, Api, CredentialRecord, KeyRecord
from ..core.requirement import Requirement
from ..core.tokens import TokenRecord
from ..http.carriage import (
    AUTHORIZATION,
    DEFAULT_KEY_HEADER,
    Missing,
    SecretInUrl,
    credential_among,
    query_may_carry,
    refuse_several,
)
from ..http.challenges import challenge, metadata_url
from ..ports import NotReady, Records
from ..verify import Verifier
from .about_token import token_headers
from .client_address import FORWARDED_FOR, TrustedProxies
from .decision import fresh_api, numbers_in, seconds
from .problem import reply_for
from .reply import Again, Ask, EdgeRequest, HeaderList, Prove, Reply, Steps, WrittenHeaders

PATH: Final = b"/forward-auth"
NGINX_PATH: Final = b"/forward-auth/nginx"
_BASE_HEADERS: Final = ((b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff"))
_BODY: Final = {
    401: b'{"title":"Unauthorized","status":401,"detail":"A valid credential is needed."}',
    403: b'{"title":"Forbidden","status":403,"detail":"The credential does not allow this."}',
    429: b'{"title":"Too Many Requests","status":429,"detail":"The limit is used up for now."}',
}
_SECRET_IN_URL: Final = b'{"title":"Unauthorized","status":401,"detail":"%s"}' % SecretInUrl.TEXT.encode()
_CARRIED_IN_QUERY: Final = (b"x-keybearer-carried", b"query")
"""Tells the proxy that the URL holds the key, so that nobody shall keep the answer or hand the URL on."""


class Door(NamedTuple):
    """What the operator configured in the URL."""

    api: str | None
    demand: Demand | None
    cost: int
    for_nginx: bool
    acr_values: tuple[str, ...] = ()
    max_age: int | None = None


@lru_cache(maxsize=256)
def door_of(target: bytes) -> Door:
    """Return what a forward-auth URL demands; raises ``InvalidInput`` for parameters that it does not know."""
    path, _, query = target.partition(b"?")
    try:
        pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True, max_num_fields=20)
    except ValueError:
        raise InvalidInput.of("query", "forward-auth takes 20 parameters at most") from None
    given = dict(pairs)
    if len(given) != len(pairs):
        raise InvalidInput.of("query", "each parameter may stand here once")
    unknown = set(given) - {"api", "permissions", "cost", "acr_values", "max_age"}
    if unknown:
        raise InvalidInput.of(min(unknown), "forward-auth takes api, permissions, cost, acr_values and max_age")
    cost = _number_in(given, "cost")
    max_age = _number_in(given, "max_age")
    empty = next((name for name, value in given.items() if not value), None)
    if empty is not None:
        # A variable that the proxy's configuration left empty must not open the door.
        raise InvalidInput.of(empty, "this is empty; leave the parameter out if it shall not be looked at")
    demand = permissions.parse(given["permissions"]) if "permissions" in given else None
    return Door(
        given.get("api"),
        demand,
        1 if cost is None else cost,
        path == NGINX_PATH,
        tuple(given.get("acr_values", "").split()),
        None if max_age is None else max_age * SECOND,
    )


def _number_in(given: dict[str, str], name: str) -> int | None:
    text = given.get(name)
    if text is None or text == "":
        return None
    if not (text.isascii() and text.isdecimal()) or len(text) > 9:
        raise InvalidInput.of(name, "this is not a whole number")
    return int(text)


class Asked(NamedTuple):
    """The credential of the original request, what must hold for it, whether a proof came, and if the URL had it."""

    credential: str
    requirement: Requirement
    proves: bool
    in_url: bool


class ForwardAuthEdge:
    """Answers the authorization subrequests of reverse proxies."""

    def __init__(self, records: Records, proxies: TrustedProxies, verifier: Verifier, issuer_url: str = "") -> None:
        self._issuer_url = issuer_url
        self._records = records
        self._proxies = proxies
        self._verifier = verifier
        self._admissions = Admissions()

    def at_once(self, request: EdgeRequest) -> Reply | None:
        """Answer a subrequest, if nothing has to be waited for."""
        again = None
        try:
            door = self._door(request)
            api = None if door.api is None else _existing(self._records.api(door.api), door.api)
        except NotReady:
            return None
        except KeybearerError as error:
            return reply_for(error, request.request_id)
        try:
            credential, requirement, proves, in_url = self._asked(request, door, api)
            if proves:
                return None
            verified = self._verifier.verify_now(credential, requirement)
            if request.repeats:
                again = self._again(request, verified, requirement)
        except NotReady:
            return None
        except Rejected as rejection:
            return self._refused(rejection, door, request)
        except KeybearerError as error:
            return reply_for(error, request.request_id)
        return self._admission(verified, in_url, again)

    def steps(self, request: EdgeRequest) -> Steps:
        """Do the work of one subrequest."""
        try:
            door = self._door(request)
            api = None
            if door.api is not None:
                api = _existing((yield from fresh_api(self._records, door.api)), door.api)
        except KeybearerError as error:
            return reply_for(error, request.request_id)
        try:
            credential, requirement, proves, in_url = self._asked(request, door, api)
            if proves:
                requirement = requirement._replace(key_thumbprint=(yield _proof_in(request, requirement, credential)))
            verified = yield Ask(credential, requirement)
        except Rejected as rejection:
            return self._refused(rejection, door, request)
        except KeybearerError as error:
            return reply_for(error, request.request_id)
        return self._admission(verified, in_url)

    def _refused(self, rejection: Rejected, door: Door, request: EdgeRequest) -> Reply:
        dpop = any(name == DPOP or value[:5].lower() == b"dpop " for name, value in request.headers)
        return _refusal(rejection, door, request.request_id, metadata_url(self._issuer_url, door.api), dpop)

    def _door(self, request: EdgeRequest) -> Door:
        if not self._proxies.trusts(request.peer):
            raise NotPermitted("Only a trusted proxy may ask here; see KEYBEARER_TRUSTED_PROXIES.")
        return door_of(request.target)

    def _asked(self, request: EdgeRequest, door: Door, api: Api | None) -> Asked:
        key_header = DEFAULT_KEY_HEADER if api is None else api.key_header.lower().encode("ascii")
        fields = _fields_of(request.headers, key_header)
        proves = DPOP in fields
        uri = _said(fields, b"x-original-uri", b"x-forwarded-uri") or ""
        method = _said(fields, b"x-original-method", b"x-forwarded-method")
        method = None if method is None else method.upper()
        bare, _, query = uri.partition("?")
        path = bare if bare.startswith("/") else None
        if not _OVERRIDING.isdisjoint(fields):
            path, method = _unless_overridden(fields, uri, path, method)
        requirement = Requirement(
            api=api,
            demand=door.demand,
            client_ip=self._proxies.client_behind(request.peer, fields.get(FORWARDED_FOR)),
            origin=_said(fields, b"origin"),
            referrer=_said(fields, b"referer"),
            android_app=_android_app(fields) if b"x-android-package" in fields else None,
            ios_bundle_id=_said(fields, b"x-ios-bundle-identifier"),
            method=method,
            path=path,
            cost=door.cost,
            acr_values=door.acr_values,
            max_age=door.max_age,
        )
        credential = credential_among(
            fields,
            key_header=key_header,
            query=query,
            query_allowed=api is not None and api.allow_publishable_in_query,
            with_proof=proves,
        )
        in_url = bool(query) and AUTHORIZATION not in fields and key_header not in fields
        return Asked(credential, requirement, proves, in_url)

    def _admission(self, verified: Verified, in_url: bool, again: Again | None = None) -> Reply:
        limits = verified.limits
        more = ((b"ratelimit", _rate_limit_header(limits)),) if limits else ()
        if in_url:
            more = (*more, _CARRIED_IN_QUERY)
        return Reply(200, self._admissions.always(verified.principal), b"", more, again)

    def _again(self, request: EdgeRequest, verified: Verified, requirement: Requirement) -> Again | None:
        """Return what lets the same subrequest be answered again, whatever URL it is about."""
        uris = [value for name, value in request.headers if name in _URI_FIELDS]
        if len(uris) > 1 or any(map(query_may_carry, uris)) or verified.principal.record.restrictions.paths:
            return None
        if request.body:
            # What looks like a field in a body is none, and its length is part of how the request is framed.
            return None
        standing = self._verifier.standing_of(verified, requirement)
        if standing is None:
            return None
        form = self._admissions.always(verified.principal).lines.replace(b"%", b"%%")
        if verified.limits:
            limits = ", ".join([f'"{state.name}";r=%d;t=%d' for state in verified.limits])
            form += b"ratelimit: %s\r\n" % limits.encode()
        form += b"content-length: 0\r\n\r\n"

        def render(states: tuple[LimitState, ...]) -> bytes:
            return form % numbers_in(states)

        return Again(standing, render)


def _proof_in(request: EdgeRequest, requirement: Requirement, credential: str) -> Prove:
    """Return the proof of the original request, for the URL that the proxy says it went to. Spec: RFC 9449 §4.3."""
    fields = [value.decode("latin-1") for name, value in request.headers if name == DPOP]
    said = {name: value.decode("latin-1") for name, value in request.headers}
    scheme, host = said.get(b"x-forwarded-proto"), said.get(b"x-forwarded-host")
    if len(fields) != 1 or requirement.method is None or requirement.path is None or not scheme or not host:
        needed = "one DPoP header, and X-Forwarded-Proto, X-Forwarded-Host, method and URI from the proxy"
        raise Rejected(Code.PROOF_INVALID, f"A proof needs {needed}.")
    return Prove(fields[0], requirement.method, f"{scheme}://{host}{requirement.path}", credential)


def _existing(api: Api | None, name: str) -> Api:
    if api is None:
        raise InvalidInput.of("api", f"there is no API {name!r}")
    return api


_METHODS: Final = (b"x-http-method-override", b"x-http-method", b"x-method-override")
_URLS: Final = (b"x-original-url", b"x-rewrite-url")
DPOP: Final = b"dpop"
_OVERRIDING: Final = frozenset((*_METHODS, *_URLS))
_URI_FIELDS: Final = frozenset({b"x-original-uri", b"x-forwarded-uri"})
_BELIEVED: Final = frozenset(
    {
        *_OVERRIDING,
        *_URI_FIELDS,
        b"x-original-method",
        b"x-forwarded-method",
        b"origin",
        b"referer",
        b"x-android-package",
        b"x-android-cert",
        b"x-ios-bundle-identifier",
    }
)


def _fields_of(headers: HeaderList, key_header: bytes) -> dict[bytes, bytes]:
    """Return header fields by name; raises ``Rejected`` where what is believed comes twice and differs."""
    fields = dict(headers)
    if len(fields) == len(headers):
        return fields
    refuse_several(headers, key_header)
    for name, value in headers:
        if name in _BELIEVED and fields[name] != value:
            raise _contradiction(name)
    forwarded = [value for name, value in headers if name == FORWARDED_FOR]
    if forwarded:
        fields[FORWARDED_FOR] = b",".join(forwarded)
    return fields


def _said(fields: dict[bytes, bytes], name: bytes, other: bytes = b"") -> str | None:
    """Return what the proxy says about the original request, by whichever of two names."""
    value = fields.get(name)
    if other:
        second = fields.get(other)
        if second is not None:
            if value is not None and value != second:
                raise _contradiction(other)
            value = second
    return None if value is None else value.decode("latin-1")


def _contradiction(name: bytes) -> Rejected:
    return Rejected(Code.MALFORMED, f"The header {name.decode()} contradicts another one.")


def _android_app(fields: dict[bytes, bytes]) -> AndroidApp | None:
    certificate = _said(fields, b"x-android-cert")
    if certificate is None:
        return None
    return AndroidApp(fields[b"x-android-package"].decode("latin-1"), certificate.replace(":", "").lower())


def _unless_overridden(
    fields: dict[bytes, bytes], uri: str, path: str | None, method: str | None
) -> tuple[str | None, str | None]:
    """Return path and method, or ``None`` for what some server behind us would take from another header.

    A key that may go anywhere still may; one that is restricted is refused where it is not certain where it goes.
    """
    for name in _METHODS:
        value = fields.get(name)
        if value is not None and value.decode("latin-1").upper() != method:
            method = None
    for name in _URLS:
        value = fields.get(name)
        if value is not None and _without_host(value.decode("latin-1")) != uri:
            path = None
    return path, method


def _without_host(url: str) -> str:
    """Return the target of a URL, which some proxies write with scheme and host."""
    if url.startswith("/"):
        return url
    _, _, rest = url.partition("://")
    return "/" + rest.partition("/")[2]


_IDENTITY: Final = tuple(
    b"x-keybearer-" + name
    for name in (
        b"key",
        b"token",
        b"project",
        b"kind",
        b"environment",
        b"permissions",
        b"identity",
        b"owner",
        b"client",
        b"subject",
        b"user",
    )
)
"""What an upstream may learn about who calls."""


class Admissions:
    """The headers of a 200: what is the same each time for one record is put together once, as in ``decision.py``."""

    MAX = 20_000

    def __init__(self) -> None:
        self._known: dict[tuple[str, int], tuple[CredentialRecord, WrittenHeaders]] = {}

    def always(self, principal: Principal) -> WrittenHeaders:
        """Return the headers that every admission of this principal has."""
        record, version = principal
        known = self._known.get((record.id, version))
        if known is None or known[0] is not record:
            if len(self._known) >= self.MAX:
                self._known.clear()
            known = self._known[record.id, version] = (record, WrittenHeaders(_admission(record)))
        return known[1]


def _admission(record: CredentialRecord) -> list[tuple[bytes, bytes]]:
    said: list[tuple[bytes, bytes]] = []
    if isinstance(record, TokenRecord):
        said = token_headers(record)
    elif isinstance(record, KeyRecord):
        said = _key_headers(record)
    # Every name is answered each time: some proxies would hand on what a client wrote in the place of one that is not.
    unsaid = [(name, b"") for name in _IDENTITY if name not in dict(said)]
    return [*_BASE_HEADERS, (b"x-keybearer-status", b"200"), *said, *unsaid]


def _key_headers(record: KeyRecord) -> list[tuple[bytes, bytes]]:
    key = record.key
    headers = [
        (b"x-keybearer-key", key.id.encode()),
        (b"x-keybearer-project", record.project.id.encode()),
        (b"x-keybearer-kind", key.kind.value.encode()),
        (b"x-keybearer-environment", key.environment.value.encode()),
        (b"x-keybearer-permissions", " ".join(key.permissions).encode()),
    ]
    if record.identity is not None:
        headers.append((b"x-keybearer-identity", quote(record.identity.external_id, safe="").encode()))
    if key.owner is not None:
        headers.append((b"x-keybearer-owner", quote(key.owner, safe="").encode()))
    return headers


def _rate_limit_header(limits: tuple[LimitState, ...]) -> bytes:
    """Return the limits as an IETF ``RateLimit`` list. Spec: draft-ietf-httpapi-ratelimit-headers §3."""
    return b", ".join(
        [
            b'"%s";r=%d;t=%d' % (name.encode(), max(remaining, 0), seconds(reset_in))
            for name, _, remaining, reset_in, _, _ in limits
        ]
    )


def _refusal(rejection: Rejected, door: Door, request_id: str, metadata: str, dpop: bool) -> Reply:
    """Return the public answer: one constant 401, 403 with the permissions needed, or 429 with ``Retry-After``."""
    headers = [*_BASE_HEADERS, (b"content-type", b"application/problem+json"), (b"x-request-id", request_id.encode())]
    if rejection.code is Code.RATE_LIMITED or rejection.code is Code.CREDITS_EXHAUSTED:
        status = 429
        if rejection.retry_after is not None:
            headers.append((b"retry-after", str(seconds(rejection.retry_after)).encode()))
        if rejection.limits:
            headers.append((b"ratelimit", _rate_limit_header(rejection.limits)))
    elif rejection.code is Code.INSUFFICIENT_PERMISSIONS:
        status = 403
        scope = " ".join(door.demand.names if door.demand is not None else rejection.missing)
        headers.append(
            (b"www-authenticate", challenge("insufficient_scope", scope=scope, metadata=metadata, dpop=dpop))
        )
    else:
        status = 401
        # RFC 6750 §3.1: a request without any credential gets no error code.
        error = "" if isinstance(rejection, Missing) else "invalid_token"
        description = rejection.TEXT if isinstance(rejection, SecretInUrl) else ""
        # What a client must ask for here, so that it asks for no more (RFC 6750 §3).
        scope = " ".join(door.demand.names) if metadata and door.demand is not None else ""
        acr_values, max_age = "", ""
        if dpop and rejection.code in (Code.PROOF_REQUIRED, Code.PROOF_INVALID):
            error = "invalid_dpop_proof"
        elif rejection.code is Code.INSUFFICIENT_AUTHENTICATION:
            error, acr_values = "insufficient_user_authentication", " ".join(door.acr_values)
            max_age = "" if door.max_age is None else str(door.max_age // SECOND)
        said = challenge(
            error,
            description=description,
            scope=scope,
            metadata=metadata,
            dpop=dpop,
            acr_values=acr_values,
            max_age=max_age,
        )
        headers.append((b"www-authenticate", said))
    headers.append((b"x-keybearer-status", str(status).encode()))
    body = _SECRET_IN_URL if isinstance(rejection, SecretInUrl) else _BODY[status]
    return Reply(403 if door.for_nginx and status == 429 else status, tuple(headers), body)
