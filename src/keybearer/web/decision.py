"""``POST /v1/verify``: from the wire to a requirement, and from the outcome back to the wire.

It answers 200 whatever the outcome, so that a client cannot mistake a denial for a failure of its own request. Only
what the digest entitles the caller to is shown: a wrong secret and an unknown id look the same.
"""

from __future__ import annotations

from collections.abc import Generator
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final
from urllib.parse import urlsplit

import msgspec

from ..budget import Budget
from ..core import own_api, permissions
from ..core.errors import Code, InvalidInput, KeybearerError, NotPermitted, Rejected
from ..core.instant import SECOND
from ..core.permissions import Demand
from ..core.principal import Principal, Verified
from ..core.quota import LimitState
from ..core.records import AndroidApp, Api, CredentialKind, CredentialRecord, KeyRecord
from ..core.remembered import Remembered
from ..core.requirement import NamedCost, Requirement
from ..core.standing import Standing
from ..core.tokens import TokenRecord
from ..http.carriage import credential_in
from ..http.client_address import TrustedProxies
from ..ports import NotReady, Records
from ..services.events import READ as READ_EVENTS
from ..services.restrictions import restrictions_spec
from ..verify import Verifier
from ..wire.base import to_moment
from ..wire.limits import LimitView
from ..wire.verify import (
    CredentialView,
    CreditsLeft,
    IdentityRef,
    PrincipalView,
    RememberedLimit,
    StandingView,
    VerifyRequest,
    VerifyResponse,
)
from .about_token import about_token
from .bodies import decode_json
from .known_callers import KnownCallers
from .problem import reply_for
from .reply import Again, Ask, EdgeRequest, Prove, Reply, Steps, WrittenHeaders

PATH: Final = b"/v1/verify"
_TARGET_LENGTH: Final = len(PATH)
OWN_DEMAND: Final = permissions.parse(f"{own_api.VERIFY} or {own_api.ADMIN}")
_ENCODER: Final = msgspec.json.Encoder()
_DECODER: Final = msgspec.json.Decoder(VerifyRequest)
_HEADERS: Final = WrittenHeaders(
    [
        (b"content-type", b"application/json"),
        (b"cache-control", b"no-store"),
        (b"x-content-type-options", b"nosniff"),
    ]
)


class VerifyEdge:
    """Answers verify requests of trusted callers, who prove themselves with a service key."""

    def __init__(
        self, records: Records, own_api_id: str, own_project_id: str, proxies: TrustedProxies, verifier: Verifier
    ) -> None:
        self._records = records
        self._own_api_id = own_api_id
        self._own_project_id = own_project_id
        self._proxies = proxies
        self._verifier = verifier
        self._accept = frozenset({CredentialKind.SECRET_KEY})
        self._answers = EncodedAnswers()
        self._callers = KnownCallers(verifier)

    def at_once(self, request: EdgeRequest) -> Reply | None:
        """Answer a known caller, if nothing has to be waited for."""
        headers = dict(request.headers)
        authorization = headers.get(b"authorization")
        if authorization is None or b"x-api-key" in headers or len(headers) != len(request.headers):
            return None
        caller = self._callers.recall(authorization)
        verifier = self._verifier
        again = None
        try:
            if caller is None or not verifier.stands(caller):
                return None
            try:
                _refuse_query(request.target)
                body = decode_json(_DECODER, request.headers, request.body, is_hot=True)
                if body.dpop is not None or body.remember:
                    return None
                requirement = requirement_from(body, self._api(body.api))
                verified = verifier.verify_now(body.credential, requirement)
                if request.repeats:
                    again = self._again(verified, requirement, caller)
                reply = Reply(200, _HEADERS, self._answers.encode(verified), again=again)
            except Rejected as rejection:
                reply = Reply(200, _HEADERS, _ENCODER.encode(denial(rejection)))
            except KeybearerError as error:
                reply = reply_for(error, request.request_id)
        except NotReady:
            return None
        verifier.used_again(caller)
        return reply

    def steps(self, request: EdgeRequest) -> Steps:
        """Do the work of one request: verify the caller, then what the caller asks about."""
        try:
            _refuse_query(request.target)
            own = yield from fresh_api(self._records, self._own_api_id)
            credential = credential_in(request.headers)
            caller = Requirement(
                accept=self._accept,
                api=own,
                demand=OWN_DEMAND,
                client_ip=self._proxies.client_address(request.peer, request.headers),
                method="POST",
                path="/v1/verify",
            )
            verified = yield Ask(credential, caller)
            authorization = dict(request.headers).get(b"authorization")
            if authorization is not None:
                self._callers.remember(authorization, own, verified)
            body = decode_json(_DECODER, request.headers, request.body, is_hot=True)
            if body.remember:
                self._require_follower(verified.principal)
            api = None
            if body.api is not None:
                api = yield from fresh_api(self._records, body.api)
                if api is None:
                    raise _no_such_api(body.api)
            requirement = requirement_from(body, api)
            try:
                if body.dpop is not None:
                    requirement = requirement._replace(key_thumbprint=(yield _proof_in(body)))
                verified = yield Ask(body.credential, requirement)
            except Rejected as rejection:
                return Reply(200, _HEADERS, _ENCODER.encode(denial(rejection)))
            if body.remember:
                return Reply(200, _HEADERS, _ENCODER.encode(self._to_remember(verified, requirement)))
            return Reply(200, _HEADERS, self._answers.encode(verified))
        except KeybearerError as error:
            return reply_for(error, request.request_id)

    def _require_follower(self, caller: Principal) -> None:
        """Raise unless the caller may follow the event log: whoever remembers must hear when to forget."""
        if not own_api.may(caller.permissions, READ_EVENTS) or caller.project_id != self._own_project_id:
            raise NotPermitted(f"'remember' needs the permission {READ_EVENTS!r}.", missing=(READ_EVENTS,))

    def _to_remember(self, verified: Verified, requirement: Requirement) -> VerifyResponse:
        response = answer(verified)
        found = self._verifier.remembered(verified, requirement)
        if found is not None:
            response.standing = standing_view(*found, requirement)
        return response

    def _api(self, name: str | None) -> Api | None:
        if name is None:
            return None
        api = self._records.api(name)
        if api is None:
            raise _no_such_api(name)
        return api

    def _again(self, verified: Verified, requirement: Requirement, caller: Standing) -> Again | None:
        """Return what lets the same request be answered again."""
        standing = self._verifier.standing_of(verified, requirement, caller)
        if standing is None:
            return None
        form = self._answers.form(verified)

        def render(states: tuple[LimitState, ...]) -> bytes:
            body = form % numbers_in(states)
            return b"%scontent-length: %d\r\n\r\n%s" % (_HEADERS.lines, len(body), body)

        return Again(standing, render)


def standing_view(remembered: Remembered, budget: Budget, seq: int, requirement: Requirement) -> StandingView:
    """Return what a guard may remember; the limits of an API's default plan hang on both."""
    api = requirement.api
    depends_on = set(remembered.depends_on)
    if api is not None:
        depends_on |= {api.id} if api.default_plan_id is None else {api.id, api.default_plan_id}
    return StandingView(
        seq=seq,
        depends_on=sorted(depends_on),
        api_ids=sorted(remembered.api_ids),
        until=to_moment(remembered.until),
        source_until=to_moment(remembered.source_until),
        restrictions=restrictions_spec(remembered.restrictions) if remembered.is_restricted else None,
        limits=[
            RememberedLimit(limit.bucket, limit.name, limit.limit, limit.burst, limit.emission_ns)
            for limit, _ in budget.takes
        ],
        ask=budget.is_durable,
    )


def _refuse_query(target: bytes) -> None:
    if len(target) > _TARGET_LENGTH and b"?" in target[:-1]:
        raise InvalidInput.of("query", "verify takes no query parameters")


def _proof_in(body: VerifyRequest) -> Prove:
    """Return the DPoP proof that came with a request, to be checked against where that went. Spec: RFC 9449 §4.3."""
    if body.method is None:
        raise InvalidInput.of("method", "is needed with dpop: a proof is for one method")
    if body.url is None or "://" not in body.url:
        raise InvalidInput.of("url", "must be the absolute URL of the request with dpop: a proof is for one URL")
    return Prove(body.dpop or "", body.method.upper(), body.url, body.credential)


def _no_such_api(name: str) -> InvalidInput:
    return InvalidInput.of("api", f"there is no API {name!r}")


def fresh_api(records: Records, name: str) -> Generator[None, Verified, Api | None]:
    """Return an API as the fresh catalogue has it, waiting for the catalogue where that is needed."""
    while True:
        try:
            return records.api(name)
        except NotReady:
            yield None


@lru_cache(maxsize=1024)
def _all_of(names: tuple[str, ...]) -> Demand:
    return permissions.all_of(names)


def requirement_from(body: VerifyRequest, api: Api | None) -> Requirement:
    """Return what the body asks for; raises ``InvalidInput`` naming the field that is wrong."""
    demand = None
    if body.permissions:
        asked = body.permissions
        demand = permissions.parse(asked) if isinstance(asked, str) else _all_of(tuple(asked))
    app = body.android_app
    return Requirement(
        accept=None if body.accept is None else frozenset(body.accept),
        api=api,
        demand=demand,
        client_ip=None if body.client_ip is None else _address(body.client_ip),
        origin=body.origin,
        referrer=body.referrer,
        android_app=None if app is None else AndroidApp(app.package, app.certificate_sha256.replace(":", "").lower()),
        ios_bundle_id=body.ios_bundle_id,
        method=None if body.method is None else body.method.upper(),
        path=None if body.url is None else path_of(body.url),
        limits=tuple([NamedCost(named.name, named.cost) for named in body.limits]) if body.limits else (),
        cost=body.cost,
        credit_cost=1 if body.credits is None else body.credits.cost,
        request_id=body.request_id,
        tags=tuple(body.tags),
        certificate_thumbprint=body.certificate_thumbprint or "",
        acr_values=tuple(body.acr_values),
        max_age=None if body.max_age is None else body.max_age * SECOND,
    )


@lru_cache(maxsize=4096)
def _address(text: str) -> IPv4Address | IPv6Address:
    try:
        if "%" in text:
            raise ValueError("a zone means nothing on another machine")
        address = ip_address(text)
    except ValueError as error:
        raise InvalidInput.of("client_ip", "this is not an IPv4 or IPv6 address") from error
    # All of IPv4 lies in one /64 of IPv6: written that way, every client would be slowed down for one of them.
    return address if address.version == 4 else address.ipv4_mapped or address


def path_of(url: str) -> str:
    """Return the path of an absolute URL or of a request target, byte for byte, without query and fragment."""
    if url.startswith("/"):
        return url.partition("?")[0]
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise InvalidInput.of("url", "this is neither an absolute URL nor a path that begins with /") from error
    if not parts.scheme or not parts.netloc or not url.isprintable():  # urlsplit drops tabs and line breaks
        raise InvalidInput.of("url", "this is neither an absolute URL nor a path that begins with /")
    return parts.path or "/"


def answer(verified: Verified) -> VerifyResponse:
    """Return the answer for an accepted credential."""
    principal = verified.principal
    response = _about(principal.record, principal.version, verified.limits)
    response.replayed = verified.replayed
    if verified.credits_remaining is not None:
        response.credits = CreditsLeft(verified.credits_remaining)
    return response


class EncodedAnswers:
    """The answers for accepted credentials, encoded: what is the same each time for one record is encoded once.

    A part counts only for the very record object that it was made from; any change of the key makes another one.
    """

    MAX = 20_000

    def __init__(self) -> None:
        self._parts: dict[tuple[str, int], tuple[CredentialRecord, bytes]] = {}

    def encode(self, verified: Verified) -> bytes:
        """Return the body of the answer."""
        if verified.credits_remaining is not None or verified.replayed:
            return _ENCODER.encode(answer(verified))
        limits = verified.limits
        if not limits:
            return self._part(verified.principal) + b"}"
        return b'%s,"limits":[%s]}' % (self._part(verified.principal), _limits_form(limits) % numbers_in(limits))

    def form(self, verified: Verified) -> bytes:
        """Return the answer with ``%d`` for each of ``numbers_in``."""
        part = self._part(verified.principal).replace(b"%", b"%%")
        if not verified.limits:
            return part + b"}"
        return b'%s,"limits":[%s]}' % (part, _limits_form(verified.limits))

    def _part(self, principal: Principal) -> bytes:
        """Return the answer up to the limits."""
        record, version = principal
        known = self._parts.get((record.id, version))
        if known is None or known[0] is not record:
            if len(self._parts) >= self.MAX:
                self._parts.clear()
            known = (record, _ENCODER.encode(_about(record, version, ()))[:-1])
            self._parts[record.id, version] = known
        return known[1]


def _limits_form(limits: tuple[LimitState, ...]) -> bytes:
    return b",".join([_limit_form(state.name, state.limit) for state in limits])


@lru_cache(maxsize=4096)
def _limit_form(name: str, limit: int) -> bytes:
    encoded = _ENCODER.encode(LimitView(name, limit, 0, 0, False)).replace(b"%", b"%%")
    return encoded.replace(b'"remaining":0,"reset_in":0,', b'"remaining":%d,"reset_in":%d,')


def numbers_in(limits: tuple[LimitState, ...]) -> tuple[int, ...]:
    """Return what changes from answer to answer: for each limit, what remains and the seconds until it is whole."""
    if len(limits) == 1:
        _, _, remaining, reset_in, _, _ = limits[0]
        return (remaining, -(-reset_in // 1_000_000))
    return tuple([number for state in limits for number in (state.remaining, seconds(state.reset_in))])


def denial(rejection: Rejected) -> VerifyResponse:
    """Return the answer for a refused credential; nothing but the code unless the digest matched."""
    record, version = rejection.record, rejection.version
    if record is None or version is None:
        response = VerifyResponse(valid=False, code=rejection.code)
    else:
        response = _about(record, version, rejection.limits)
        response.valid, response.code = False, rejection.code
        response.missing = list(rejection.missing)
        if rejection.code is Code.CREDITS_EXHAUSTED:
            response.credits = CreditsLeft(rejection.credits_remaining or 0)
    response.message = rejection.public
    if rejection.retry_after is not None:
        response.retry_after = seconds(rejection.retry_after)
    return response


def _about(record: CredentialRecord, version: int, limits: tuple[LimitState, ...]) -> VerifyResponse:
    if isinstance(record, TokenRecord):
        response = about_token(record)
        response.limits = _limits(limits)
        return response
    assert isinstance(record, KeyRecord)  # noqa: S101 — there are no other kinds
    key, project, identity = record.key, record.project, record.identity
    return VerifyResponse(
        valid=True,
        code=Code.VALID,
        kind=key.kind,
        principal=PrincipalView(
            project.id,
            project.name,
            key.owner,
            None if identity is None else IdentityRef(identity.id, identity.external_id),
        ),
        credential=CredentialView(key.id, key.name, key.environment, to_moment(key.expires_at), version),
        permissions=list(key.permissions),
        limits=_limits(limits),
        metadata=dict(key.metadata) if key.metadata else None,
    )


def _limits(limits: tuple[LimitState, ...]) -> list[LimitView]:
    return [
        LimitView(name, limit, remaining, seconds(reset_in), exceeded)
        for name, limit, remaining, reset_in, exceeded, _ in limits
    ]


def seconds(microseconds: int) -> int:
    """Return microseconds in whole seconds, rounded up: who waits that long is admitted."""
    return -(-microseconds // 1_000_000)
