"""The decision about an access token: a pure function of (record, requirement, now), in the order of ``decide``.

A token is as good as everything it came from: its client, its user, the consent, the session and the key.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from typing import Final, Protocol

from .assurance import meets
from .decide import check_demand, check_restrictions
from .errors import Code, Rejected
from .instant import SECOND, Instant
from .principal import Principal
from .records import CredentialKind, State
from .requirement import Requirement
from .tokens import TokenRecord

CLOCK_SKEW: Final = 60 * SECOND
"""How far in the future ``issued_at`` may lie: nodes' clocks differ."""

_Reject = Callable[..., Rejected]


class Authenticated(Protocol):
    """How and when the user of a token signed in, wherever that is known from."""

    @property
    def acr(self) -> str:
        """How surely, empty where that is not known."""
        ...

    @property
    def authenticated_at(self) -> Instant | None:
        """When."""
        ...


def decide_token(record: TokenRecord, requirement: Requirement, now: Instant) -> Principal:
    """Return the principal, or raise ``Rejected`` with the first check that fails.

    Only for a token whose digest matched or whose signature was verified: nothing here proves that it was presented.
    """

    def reject(code: Code, public: str, missing: tuple[str, ...] = ()) -> Rejected:
        return Rejected(code, public, record=record, version=0, missing=missing)

    _check_origin(record, now, reject)
    _check_door(record, requirement, reject)
    if record.is_restricted:
        check_restrictions(record, requirement, reject)
    _check_proof(record, requirement, reject)
    if requirement.acr_values or requirement.max_age is not None:
        check_authentication(record.token, requirement, now, reject)
    check_demand(record, requirement, reject)
    return Principal(record, 0)


def _check_origin(record: TokenRecord, now: Instant, reject: _Reject) -> None:
    """Raise unless the token itself, and all that it came from, stands."""
    token, key = record.token, record.key
    if record.is_revoked:
        raise reject(Code.REVOKED, "This token was revoked.")
    for origin, what in ((record.grant, "consent"), (record.session, "session")):
        if origin is not None and origin.state is not State.ENABLED:
            raise reject(Code.REVOKED, f"The {what} behind this token has ended.")
    if record.client.state in (State.REVOKED, State.DELETED) or (
        record.user is not None and record.user.state is State.DELETED
    ):
        raise reject(Code.REVOKED, "The client or the user of this token is gone.")
    if now >= token.expires_at or token.issued_at > now + CLOCK_SKEW:
        raise reject(Code.EXPIRED, "This token has expired.")
    if record.session is not None and record.session.is_over(now):
        raise reject(Code.EXPIRED, "The session behind this token has ended.")
    if record.grant is not None and record.grant.expires_at is not None and now >= record.grant.expires_at:
        raise reject(Code.EXPIRED, "The consent behind this token has ended.")
    if key is not None:
        if key.key.state is not State.ENABLED or not any(
            version.expires_at is None or now < version.expires_at for version in record.secrets
        ):
            raise reject(Code.REVOKED, "The API key behind this token is no longer good.")
        if key.key.expires_at is not None and now >= key.key.expires_at:
            raise reject(Code.EXPIRED, "The API key behind this token has expired.")
        if key.identity is not None and key.identity.state is not State.ENABLED:
            raise reject(Code.OWNER_DISABLED, "The identity of the API key behind this token is disabled.")
    if record.client.state is not State.ENABLED:
        raise reject(Code.OWNER_DISABLED, "The client of this token is disabled.")
    if record.user is not None and record.user.state is not State.ENABLED:
        raise reject(Code.OWNER_DISABLED, "The user of this token is disabled.")
    if record.project.state is not State.ENABLED:
        raise reject(Code.OWNER_DISABLED, "The project of this token is disabled.")


def _check_door(record: TokenRecord, requirement: Requirement, reject: _Reject) -> None:
    """Raise unless this door takes tokens, and this token is meant for it (audience)."""
    if requirement.accept is not None and CredentialKind.ACCESS_TOKEN not in requirement.accept:
        raise reject(Code.KIND_NOT_ACCEPTED, "An access_token is not accepted here.")
    api = requirement.api
    if api is None:
        return
    if CredentialKind.ACCESS_TOKEN not in api.accepts:
        raise reject(Code.KIND_NOT_ACCEPTED, "This API does not accept an access_token.")
    if record.token.api_id != api.id:
        raise reject(Code.API_NOT_ALLOWED, "This token is meant for another API.")
    if api.state is not State.ENABLED or api.id not in record.project.enabled_apis:
        raise reject(Code.API_NOT_ALLOWED, "This API is not enabled for the project.")


def _check_proof(record: TokenRecord, requirement: Requirement, reject: _Reject) -> None:
    """Raise unless the sender proved to have the key that the token is bound to. Spec: RFC 9449 §7, RFC 8705 §3."""
    for bound, proven in (
        (record.token.key_thumbprint, requirement.key_thumbprint),
        (record.token.certificate_thumbprint, requirement.certificate_thumbprint),
    ):
        if not bound:
            continue
        if not proven:
            raise reject(Code.PROOF_REQUIRED, "This token needs a proof of possession with each request.")
        if not hmac.compare_digest(bound.encode(), proven.encode()):
            raise reject(Code.PROOF_INVALID, "The proof of possession is of another key.")
    if requirement.key_thumbprint and not record.token.key_thumbprint:
        raise reject(Code.PROOF_INVALID, "A DPoP proof came with a token that is not bound to a key.")


def check_authentication(token: Authenticated, requirement: Requirement, now: Instant, reject: _Reject) -> None:
    """Raise unless the user signed in as surely, and as lately, as is needed here. Spec: RFC 9470 §3."""
    if requirement.acr_values and not any(meets(token.acr, wanted) for wanted in requirement.acr_values):
        raise reject(Code.INSUFFICIENT_AUTHENTICATION, "A stronger sign-in is needed.")
    at, oldest = token.authenticated_at, requirement.max_age
    if oldest is not None and (at is None or now - at > oldest):
        raise reject(Code.INSUFFICIENT_AUTHENTICATION, "A more recent sign-in is needed.")
