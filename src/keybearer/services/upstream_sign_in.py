"""Signing in with an upstream OpenID provider: this authority is its client.

What the way there must remember travels sealed in a cookie, so nobody can mint rows with it; each answer is good once.
Spec: OIDC Core §3.1, RFC 9207 §2.4 (mix-up), RFC 9700 §2.1 and §4.4-§4.7, RFC 7636.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import logging
import secrets
from collections.abc import Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import quote_plus, urlencode

import msgspec

from ..core.errors import NotFound, Unreachable
from ..core.form import Form
from ..core.instant import MINUTE, Instant
from ..core.pkce import METHOD, challenge_of
from ..core.records import State
from ..core.upstreams import Upstream
from ..formats.jws import InvalidJws, json_object
from ..ports import Query
from .authority import Authority
from .provider_claims import Person, person_of, read_id_token
from .providers import Provider, Providers, ProviderUnusable
from .sealing import CannotOpen, open_sealed, seal
from .sign_in import SignInRefused, SignInStep, TriedTooOften, Visit, slowed_down
from .upstream_users import sign_in
from .upstreams import redirect_uri, secret_of

log = logging.getLogger(__name__)

LIFETIME_IN: Final = 15 * MINUTE
"""How long somebody may take at the provider."""
MAX_SEALED: Final = 3_500
MAX_CODE: Final = 2_048
MAX_ANSWER: Final = 65_536
PURPOSE: Final = "upstream-state"

_FAILED: Final = "Signing in there did not work. Try again, or sign in another way."
_CANCELLED: Final = "You did not finish signing in there."
_UNKNOWN: Final = "Nobody here belongs to that account. Sign in another way, or ask for an invitation."


class UpstreamRefused(SignInRefused):
    """Nobody is signed in. What went wrong at the provider, or with its answer, is for the log alone."""

    def __init__(self, detail: str, public: str = _FAILED) -> None:
        self.text = public
        super().__init__(detail)


class Started(msgspec.Struct, forbid_unknown_fields=True):
    """A sign-in on its way, as it travels sealed through the browser. ``flow`` or ``to`` say where it goes on."""

    upstream_id: str
    issuer: str
    client_id: str
    state: str
    nonce: str
    verifier: str
    begun_at: int
    again: bool
    flow: str
    to: str


class Begun(NamedTuple):
    """Where to send the browser, and what its cookie is to hold."""

    url: str
    sealed: str


async def offered(authority: Authority) -> tuple[Upstream, ...]:
    """Return the providers that the sign-in page has buttons for."""
    return await authority.store.page(Upstream, Query({"state": State.ENABLED}, limit=20))


async def begin(
    authority: Authority, providers: Providers, upstream_id: str, *, flow: str = "", to: str = "", again: bool = False
) -> Begun:
    """Return the way to a provider. ``again`` asks it to look at the person anew.

    Raises ``NotFound`` when there is no such provider, and ``UpstreamRefused`` when it cannot be used now.
    """
    upstream = await _enabled(authority, upstream_id)
    provider = await _provider(providers, upstream)
    started = Started(
        upstream_id=upstream.id,
        issuer=upstream.issuer,
        client_id=upstream.client_id,
        state=secrets.token_urlsafe(32),
        nonce=secrets.token_urlsafe(32),
        verifier=secrets.token_urlsafe(48),
        begun_at=authority.clock.now(),
        again=again,
        flow=flow,
        to=to,
    )
    parameters = {
        "response_type": "code",
        "client_id": upstream.client_id,
        "redirect_uri": redirect_uri(authority.settings),
        "scope": " ".join(upstream.scopes),
        "state": started.state,
        "nonce": started.nonce,
        "code_challenge": challenge_of(started.verifier),
        "code_challenge_method": METHOD,
    }
    if again:
        parameters["prompt"] = "login"
    joint = "&" if "?" in provider.authorization_endpoint else "?"
    sealed = seal(authority.keyring, PURPOSE, msgspec.json.encode(started))
    return Begun(
        f"{provider.authorization_endpoint}{joint}{urlencode(parameters)}",
        base64.urlsafe_b64encode(sealed).rstrip(b"=").decode(),
    )


def opened(authority: Authority, sealed: str, state: str) -> Started:
    """Return the sign-in that this browser began and this ``state`` belongs to; raises ``UpstreamRefused``."""
    if not sealed or len(sealed) > MAX_SEALED or not sealed.isascii():
        raise UpstreamRefused("this browser began no sign-in")
    try:
        plain = open_sealed(authority.keyring, PURPOSE, base64.urlsafe_b64decode(sealed + "=" * (-len(sealed) % 4)))
        started = msgspec.json.decode(plain, type=Started)
    except (CannotOpen, binascii.Error, msgspec.MsgspecError):
        raise UpstreamRefused("a state that was not sealed here") from None
    if not state or not hmac.compare_digest(started.state.encode(), state.encode()):
        raise UpstreamRefused("another state than the one of this browser")
    if authority.clock.now() >= started.begun_at + LIFETIME_IN:
        raise UpstreamRefused("it took too long")
    return started


async def finish(
    authority: Authority, providers: Providers, started: Started, answer: Form, visit: Visit
) -> SignInStep:
    """Sign in whom the provider says was there, or ask for the second factor that they have here.

    Raises ``UpstreamRefused``, also without looking when too many were refused from this source lately: each answer
    makes this authority ask the provider.
    """
    try:
        with slowed_down(authority, visit.source):
            return await _finish(authority, providers, started, answer, visit)
    except TriedTooOften as error:
        refused = UpstreamRefused(error.detail or "", error.public)
    except UpstreamRefused as error:
        refused = error
    log.info("a sign-in with a provider was refused", extra={"upstream_id": started.upstream_id, "why": refused.detail})
    raise refused


async def _finish(
    authority: Authority, providers: Providers, started: Started, answer: Form, visit: Visit
) -> SignInStep:
    try:
        upstream = await _enabled(authority, started.upstream_id)
        if (upstream.issuer, upstream.client_id) != (started.issuer, started.client_id):
            raise UpstreamRefused("the provider was changed meanwhile")
        provider = await _provider(providers, upstream)
        code = _code_of(provider, answer)
        person = await _person(authority, providers, provider, upstream, started, code)
        return await sign_in(authority, upstream, person, started.state, Instant(started.begun_at + LIFETIME_IN), visit)
    except UpstreamRefused:
        raise
    except (NotFound, SignInRefused) as error:
        raise UpstreamRefused(error.detail or error.public, _UNKNOWN) from None


async def _enabled(authority: Authority, upstream_id: str) -> Upstream:
    upstream = await authority.store.get(Upstream, upstream_id)
    if upstream.state is not State.ENABLED:
        raise NotFound("provider", upstream_id)
    return upstream


async def _provider(providers: Providers, upstream: Upstream) -> Provider:
    try:
        provider = await providers.of(upstream.issuer)
        if not provider.signs_in:
            raise ProviderUnusable("it has no authorization endpoint, or no token endpoint")
        return provider
    except ProviderUnusable as unusable:
        log.warning("a provider cannot be used", extra={"upstream_id": upstream.id, "why": unusable.detail})
        raise UpstreamRefused(unusable.detail or "") from None


def _code_of(provider: Provider, answer: Form) -> str:
    """Return the code of an answer that is this provider's; raises ``UpstreamRefused``. Spec: RFC 9207 §2.4."""
    issuer = answer.get("iss")
    if issuer != provider.issuer and (issuer or provider.sends_iss):
        raise UpstreamRefused("the answer is another provider's")
    error = answer.get("error")
    if error:
        raise UpstreamRefused(f"the provider says {error[:60]!r}", _CANCELLED if error == "access_denied" else _FAILED)
    code = answer.get("code")
    if not code or len(code) > MAX_CODE:
        raise UpstreamRefused("no code, or a very long one")
    return code


async def _person(
    authority: Authority, providers: Providers, provider: Provider, upstream: Upstream, started: Started, code: str
) -> Person:
    """Redeem the code and return who the provider says was there; raises ``UpstreamRefused``."""
    tokens = await _redeem(authority, provider, upstream, started, code)
    try:
        claims = await read_id_token(
            providers,
            provider,
            str(tokens["id_token"]),
            client_id=upstream.client_id,
            nonce=started.nonce,
            access_token=str(tokens["access_token"]),
            not_before=Instant(started.begun_at) if started.again else None,
            now=authority.clock.now(),
        )
        if provider.userinfo_endpoint and "email" in upstream.scopes and "email" not in claims:
            claims = {**await _userinfo(authority, provider, str(tokens["access_token"]), claims), **claims}
        person = person_of(provider.issuer, claims, authority.clock.now())
        # Asked for anew, it was just now: the provider's clock, and its whole seconds, must not make it look older.
        return person._replace(authenticated_at=None) if started.again else person
    except InvalidJws as error:
        raise UpstreamRefused(f"ID token: {error.detail}") from None


async def _redeem(
    authority: Authority, provider: Provider, upstream: Upstream, started: Started, code: str
) -> Mapping[str, Any]:
    """Return the answer of the token endpoint, which has an ``id_token`` and an ``access_token``."""
    form = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": redirect_uri(authority.settings),
        "code_verifier": started.verifier,
    }
    headers: dict[str, str] = {}
    secret = secret_of(authority.keyring, upstream)
    if secret is None:
        form["client_id"] = upstream.client_id
    elif "client_secret_basic" in provider.auth_methods or "client_secret_post" not in provider.auth_methods:
        # RFC 6749 §2.3.1: both halves are encoded as in a form before they are joined.
        pair = f"{quote_plus(upstream.client_id)}:{quote_plus(secret.reveal())}"
        headers["authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
    else:
        form |= {"client_id": upstream.client_id, "client_secret": secret.reveal()}
    fetcher = authority.fetcher
    if fetcher is None:
        raise UpstreamRefused("this authority reaches nobody")
    try:
        fetched = await fetcher.post_form(provider.token_endpoint, form, headers, limit=MAX_ANSWER)
        said = json_object(fetched.body, "token response")
    except (Unreachable, InvalidJws) as error:
        raise UpstreamRefused(f"token endpoint: {error.detail or error.public}") from None
    if fetched.status != 200:
        raise UpstreamRefused(f"token endpoint: status {fetched.status}, {str(said.get('error'))[:60]!r}")
    has_tokens = all(isinstance(said.get(name), str) for name in ("id_token", "access_token"))
    if not has_tokens or str(said.get("token_type", "")).lower() != "bearer":
        raise UpstreamRefused("token endpoint: no ID token, or no bearer token beside it")
    return said


async def _userinfo(
    authority: Authority, provider: Provider, access_token: str, claims: Mapping[str, Any]
) -> Mapping[str, Any]:
    """Return what the provider says about the subject of an ID token, nothing when it does not.

    Spec: OIDC Core §5.3.2 (the subject must be the same).
    """
    fetcher = authority.fetcher
    if fetcher is None or not access_token.isascii() or not access_token.isprintable() or " " in access_token:
        return {}
    try:
        headers = {"authorization": f"Bearer {access_token}"}
        fetched = await fetcher.get(provider.userinfo_endpoint, headers=headers, limit=MAX_ANSWER)
        said = json_object(fetched.body, "userinfo") if fetched.status == 200 else {}
    except (Unreachable, InvalidJws):
        return {}
    return said if said.get("sub") == claims["sub"] else {}
