"""``refresh_token``: the next tokens of a family, whose refresh token changes with each use.

That of a client whose keys bind everything stays (``Client.keeps_refresh_tokens``). Of the others the token before the
newest is answered for a short grace with the very same successor, for clients that lost the first answer, and only
until that successor was used. Any older one that comes back was stolen, from the client or by it: the family ends, and
its access tokens with it. A guess ends nothing.
Spec: RFC 6749 §6, RFC 9700 §4.14.2, ADR 7, SECURITY-BAR 10.
"""

from __future__ import annotations

import hmac
from dataclasses import replace
from typing import Final

from ..core import authorization_details, scopes
from ..core.clients import GrantType
from ..core.errors import NotFound
from ..core.oauth_error import InvalidGrant, InvalidScope, OAuthError
from ..core.records import State
from ..core.secret import Secret
from ..core.target import choose_api
from ..core.tokens import OFFLINE, TokenFamily, details_in_force
from ..formats import refresh_token
from ..formats.refresh_token import UnverifiedRefreshToken
from ..ports import UnitOfWork
from .desk import Desk, Entitlement, Issued, TokenRequest
from .standing import require_standing

_BAD: Final = "The refresh token is not good: unknown, expired, revoked, replaced, or another client's."


class RefreshTokenGrant:
    """The grant."""

    grant_type: Final = GrantType.REFRESH_TOKEN

    async def redeem(self, request: TokenRequest, desk: Desk) -> Issued:
        """Rotate the refresh token, or answer its repetition; a refusal that ends the family is committed first."""
        text = request.form.need("refresh_token")
        unverified = refresh_token.parse(text)
        if unverified is None:
            raise InvalidGrant(_BAD)

        async def work(uow: UnitOfWork) -> Issued | OAuthError:
            family = await _family_of(uow, unverified, request)
            digest = desk.keyring.digest(family.pepper_id, text)
            is_newest = hmac.compare_digest(digest, family.digest)
            if not is_newest and not _is_repetition(family, digest, request, desk):
                if not desk.is_genuine(unverified):
                    return InvalidGrant(_BAD)
                await desk.revoke_family(uow, family, request, "a refresh token came back after it was replaced")
                return InvalidGrant(_BAD)
            _check_keys(family, request)
            entitlement = await _entitlement(uow, family, request)
            changed, fresh = _next(family, text, request, desk) if is_newest else (family, desk.successor(family, text))
            if is_newest:
                await uow.update_family(changed, generation=family.generation)
            issued = desk.draft(replace(entitlement, family=changed, refresh_token=fresh), request)
            await desk.keep(uow, issued, request, audited=False)
            return issued

        outcome = await desk.store.transact(work)
        if isinstance(outcome, OAuthError):
            raise outcome
        return outcome


def _next(family: TokenFamily, text: str, request: TokenRequest, desk: Desk) -> tuple[TokenFamily, Secret | None]:
    """Return the family after a use of its newest token, and the next token where there is one."""
    if request.client.keeps_refresh_tokens:
        return replace(family, rotated_at=request.now, previous_digest=b"", sealed_successor=b""), None
    return desk.rotated(family, text, request.now)


async def _family_of(uow: UnitOfWork, unverified: UnverifiedRefreshToken, request: TokenRequest) -> TokenFamily:
    try:
        family = await uow.get_family(unverified.family_id)
    except NotFound:
        raise InvalidGrant(_BAD) from None
    if family.client_id != request.client.id or family.revoked_at is not None or family.is_over(request.now):
        raise InvalidGrant(_BAD)
    return family


def _is_repetition(family: TokenFamily, digest: bytes, request: TokenRequest, desk: Desk) -> bool:
    """Tell whether this is the token before the newest, within its grace."""
    return (
        bool(family.previous_digest)
        and bool(family.sealed_successor)
        and hmac.compare_digest(digest, family.previous_digest)
        and request.now < family.rotated_at + desk.refresh_grace_in
    )


def _check_keys(family: TokenFamily, request: TokenRequest) -> None:
    """Raise unless a public client has the key its family is bound to. Spec: RFC 9449 §5, RFC 8705 §4."""
    for bound, proven, what in (
        (family.key_thumbprint, request.key_thumbprint, "a DPoP proof with its key"),
        (family.certificate_thumbprint, request.certificate_thumbprint, "its certificate"),
    ):
        if bound and not hmac.compare_digest(bound.encode(), proven.encode()):
            raise InvalidGrant(f"The refresh token is bound to a key: send {what}.")


async def _entitlement(uow: UnitOfWork, family: TokenFamily, request: TokenRequest) -> Entitlement:
    client, form = request.client, request.form
    standing = await require_standing(
        uow,
        client.id,
        request.now,
        user_id=family.user_id,
        grant_id=family.grant_id,
        session_id=family.session_id,
        is_offline=OFFLINE in family.scopes,
    )
    if family.project_id != request.project.id or request.project.state is not State.ENABLED:
        raise InvalidGrant(_BAD)
    asked = scopes.parse(form.get("scope"))
    if not set(family.scopes).issuperset(asked):
        raise InvalidScope("The scope is more than what was granted; leave it out to have all of that.")
    apis = tuple(api for api in request.apis if not family.resources or api.id in family.resources)
    api = choose_api(apis, form.all("resource"), asked or family.scopes, consented=bool(family.resources))
    details = authorization_details.parse(form.get("authorization_details"), request.apis)
    granted = details_in_force(family.authorization_details, standing.grant)
    return Entitlement(
        client=client,
        project=request.project,
        subject=family.subject,
        scopes=asked or family.scopes,
        api=api,
        resources=family.resources,
        user=standing.user,
        grant=standing.grant,
        session=standing.session,
        authorization_details=family.authorization_details,
        selected_details=authorization_details.selected(granted, details),
        authenticated_at=family.authenticated_at,
        amr=family.amr,
        acr=family.acr,
        claims=family.claims,
        key_thumbprint=request.key_thumbprint,
        certificate_thumbprint=request.certificate_thumbprint,
        ends_at=family.expires_at,
        sid=family.session_id,
    )


GRANT: Final = RefreshTokenGrant()
