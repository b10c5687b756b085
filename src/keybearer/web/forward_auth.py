"""Forward-auth: a proxy asks, by the headers of the original request, whether to let it pass.

``/forward-auth`` answers 200, 401, 403 or 429 (Caddy, Traefik). ``/forward-auth/nginx`` answers 429 as 403, because
nginx's ``auth_request`` knows only 401 and 403; ``X-Keybearer-Status`` has the true status in both.

What must hold (``door.py``) stands in the query of the URL that the operator configures. Only trusted proxies may ask,
and only what they set is believed about the client.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from ..core.errors import Code, InvalidInput, KeybearerError, NotPermitted, Rejected
from ..core.principal import Verified
from ..core.quota import LimitState
from ..core.records import Api
from ..core.requirement import Requirement
from ..core.secret import Secret
from ..http.carriage import DEFAULT_KEY_HEADER, Place, SecretInUrl, carried, query_may_carry
from ..http.challenges import metadata_url
from ..http.client_address import FORWARDED_FOR, TrustedProxies
from ..http.overriding import OVERRIDING, unless_overridden
from ..http.refusals import rate_limit_header
from ..ports import NotReady, Records
from ..services.authority import SeenInUrl
from ..verify import Verifier
from .admission import CARRIED_IN_QUERY, Admissions, refused
from .decision import fresh_api, numbers_in
from .door import Door, door_of
from .original_request import DPOP, FORWARDED_HOST, URI_FIELDS, android_app, fields_of, proof_in, said
from .problem import reply_for
from .reply import Again, Ask, EdgeRequest, Reply, Steps

PATH: Final = b"/forward-auth"
NGINX_PATH: Final = b"/forward-auth/nginx"
SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
HANDSHAKE: Final = frozenset({b"upgrade", b"sec-websocket-key", b"sec-websocket-version"})
"""What opens a WebSocket, by which a page of another site could read along (CWE-1385). nginx and Traefik take
``Upgrade`` away when they ask."""


class Asked(NamedTuple):
    """The credential of the original request, what must hold for it, whether a proof came, and if the URL had it."""

    credential: str
    requirement: Requirement
    proves: bool
    in_url: bool


class ForwardAuthEdge:
    """Answers the authorization subrequests of reverse proxies."""

    def __init__(
        self,
        records: Records,
        proxies: TrustedProxies,
        verifier: Verifier,
        issuer_url: str = "",
        seen_in_url: SeenInUrl = lambda secrets, source, where, code: None,
    ) -> None:
        self._seen_in_url = seen_in_url
        self._issuer_url = issuer_url
        self._records = records
        self._proxies = proxies
        self._verifier = verifier
        self._admissions = Admissions()

    def at_once(self, request: EdgeRequest) -> Reply | None:
        """Answer a subrequest, if nothing has to be waited for."""
        again = None
        try:
            door = self.door(request)
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
        if in_url:
            self._seen_in_url((Secret(credential),), requirement.client_ip, _door_name(door), Code.VALID.value)
        return self._admission(verified, in_url, again)

    def steps(self, request: EdgeRequest) -> Steps:
        """Do the work of one subrequest."""
        try:
            door = self.door(request)
            api = None
            if door.api is not None:
                api = _existing((yield from fresh_api(self._records, door.api)), door.api)
        except KeybearerError as error:
            return reply_for(error, request.request_id)
        try:
            credential, requirement, proves, in_url = self._asked(request, door, api)
            if proves:
                requirement = requirement._replace(key_thumbprint=(yield proof_in(request, requirement, credential)))
            verified = yield Ask(credential, requirement)
        except Rejected as rejection:
            return self._refused(rejection, door, request)
        except KeybearerError as error:
            return reply_for(error, request.request_id)
        if in_url:
            self._seen_in_url((Secret(credential),), requirement.client_ip, _door_name(door), Code.VALID.value)
        return self._admission(verified, in_url)

    def _refused(self, rejection: Rejected, door: Door, request: EdgeRequest) -> Reply:
        if isinstance(rejection, SecretInUrl):
            forwarded = [value for name, value in request.headers if name == FORWARDED_FOR]
            source = self._proxies.client_behind(request.peer, b",".join(forwarded) if forwarded else None)
            self._seen_in_url(rejection.secrets, source, _door_name(door), rejection.code.value)
        dpop = any(name == DPOP or value[:5].lower() == b"dpop " for name, value in request.headers)
        reply = refused(rejection, door, request.request_id, metadata_url(self._issuer_url, door.api), dpop)
        # nginx knows 401 and 403 only.
        return reply._replace(status=403) if reply.status == 429 and _is_for_nginx(request.target) else reply

    def door(self, request: EdgeRequest) -> Door:
        """Return what must hold; raises ``NotPermitted`` for who is no trusted proxy, ``InvalidInput``."""
        if not self._proxies.trusts(request.peer):
            raise NotPermitted("Only a trusted proxy may ask here; see KEYBEARER_TRUSTED_PROXIES.")
        return door_of(request.target.partition(b"?")[2])

    def _asked(self, request: EdgeRequest, door: Door, api: Api | None) -> Asked:
        key_header = DEFAULT_KEY_HEADER if api is None else api.key_header.lower().encode("ascii")
        fields = fields_of(request.headers, key_header)
        proves = DPOP in fields
        uri = said(fields, b"x-original-uri", b"x-forwarded-uri") or ""
        method = said(fields, b"x-original-method", b"x-forwarded-method")
        method = None if method is None else method.upper()
        bare, _, query = uri.partition("?")
        path = bare if bare.startswith("/") else None
        if not OVERRIDING.isdisjoint(fields):
            path, method = unless_overridden(fields, uri, path, method)
        requirement = Requirement(
            api=api,
            demand=door.demand,
            client_ip=self._proxies.client_behind(request.peer, fields.get(FORWARDED_FOR)),
            origin=said(fields, b"origin"),
            referrer=said(fields, b"referer"),
            android_app=android_app(fields) if b"x-android-package" in fields else None,
            ios_bundle_id=said(fields, b"x-ios-bundle-identifier"),
            method=method,
            path=path,
            cost=door.cost,
            acr_values=door.acr_values,
            max_age=door.max_age,
        )
        if FORWARDED_HOST in fields:
            fields[b"host"] = fields[FORWARDED_HOST]  # what the browser asked for; the proxy asks under another name
        found = carried(
            fields,
            key_header=key_header,
            query=query,
            query_allowed=api is not None and api.allow_publishable_in_query,
            token_cookie=b"" if api is None else api.token_cookie.encode("ascii"),
            changes=method not in SAFE_METHODS or not HANDSHAKE.isdisjoint(fields),
            with_proof=proves,
        )
        return Asked(found.credential, requirement, proves, found.place is Place.QUERY)

    def _admission(self, verified: Verified, in_url: bool, again: Again | None = None) -> Reply:
        limits = verified.limits
        more = ((b"ratelimit", rate_limit_header(limits)),) if limits else ()
        if in_url:
            more = (*more, CARRIED_IN_QUERY)
        return Reply(200, self._admissions.always(verified.principal), b"", more, again)

    def _again(self, request: EdgeRequest, verified: Verified, requirement: Requirement) -> Again | None:
        """Return what lets the same subrequest be answered again, whatever URL it is about."""
        uris = [value for name, value in request.headers if name in URI_FIELDS]
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


def _is_for_nginx(target: bytes) -> bool:
    return target.partition(b"?")[0] == NGINX_PATH


def _door_name(door: Door) -> str:
    return door.api or "forward-auth"


def _existing(api: Api | None, name: str) -> Api:
    if api is None:
        raise InvalidInput.of("api", f"there is no API {name!r}")
    return api
