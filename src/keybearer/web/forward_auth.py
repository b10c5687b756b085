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
    DEFAULT_KEY_HEADER,
    Place,
    SecretInUrl,
    carried,
    query_may_carry,
    refuse_several,
)
from ..http.challenges import metadata_url
from ..http.client_address import FORWARDED_FOR, TrustedProxies
from ..http.overriding import OVERRIDING, unless_overridden
from ..http.refusals import Terms, rate_limit_header, refusal
from ..ports import NotReady, Records
from ..verify import Verifier
from .about_token import token_headers
from .decision import fresh_api, numbers_in
from .problem import reply_for
from .reply import Again, Ask, EdgeRequest, HeaderList, Prove, Reply, Steps, WrittenHeaders

PATH: Final = b"/forward-auth"
NGINX_PATH: Final = b"/forward-auth/nginx"
SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
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
        if not OVERRIDING.isdisjoint(fields):
            path, method = unless_overridden(fields, uri, path, method)
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
        found = carried(
            fields,
            key_header=key_header,
            query=query,
            query_allowed=api is not None and api.allow_publishable_in_query,
            token_cookie=b"" if api is None else api.token_cookie.encode("ascii"),
            changes=method not in SAFE_METHODS or b"upgrade" in fields,
            with_proof=proves,
        )
        return Asked(found.credential, requirement, proves, found.place is Place.QUERY)

    def _admission(self, verified: Verified, in_url: bool, again: Again | None = None) -> Reply:
        limits = verified.limits
        more = ((b"ratelimit", rate_limit_header(limits)),) if limits else ()
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


DPOP: Final = b"dpop"
_URI_FIELDS: Final = frozenset({b"x-original-uri", b"x-forwarded-uri"})
_BELIEVED: Final = frozenset(
    {
        *OVERRIDING,
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
    cookies = [value for name, value in headers if name == b"cookie"]
    if cookies:
        fields[b"cookie"] = b"; ".join(cookies)
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


def _refusal(rejection: Rejected, door: Door, request_id: str, metadata: str, dpop: bool) -> Reply:
    """Return the public answer; nginx takes no 429, and reads the status from a header of ours."""
    status, said = refusal(rejection, Terms(door.demand, door.acr_values, door.max_age, metadata), dpop=dpop)
    headers = (
        *_BASE_HEADERS,
        (b"content-type", b"application/problem+json"),
        (b"x-request-id", request_id.encode()),
        *said,
        (b"x-keybearer-status", str(status).encode()),
    )
    body = _SECRET_IN_URL if isinstance(rejection, SecretInUrl) else _BODY[status]
    return Reply(403 if door.for_nginx and status == 429 else status, headers, body)
