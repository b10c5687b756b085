"""``authorization_code``: what a user allowed at the authorize endpoint becomes tokens, once.

A code is bound to its client, redirect URI and PKCE challenge; one that comes again takes back what it gave.
Spec: RFC 6749 §4.1.3, RFC 7636 §4.6, RFC 9700 §2.1.1 and §4.5, ASVS 10.4.2.
"""

from __future__ import annotations

import hmac
from typing import Final

from ..core import authorization_details, pkce
from ..core.authorization_code import AuthorizationCode
from ..core.clients import GrantType
from ..core.oauth_error import InvalidGrant, InvalidRequest
from ..core.target import choose_api
from ..ports import UnitOfWork
from .desk import Desk, Entitlement, Issued, TokenRequest
from .standing import require_standing

_USED: Final = "The authorization code is not good: unknown, expired, or used before."


class AuthorizationCodeGrant:
    """The grant."""

    grant_type: Final = GrantType.AUTHORIZATION_CODE

    async def redeem(self, request: TokenRequest, desk: Desk) -> Issued:
        """Redeem a code; a refused one stays good, so that nobody who merely saw it can burn it."""
        text = request.form.need("code")

        async def work(uow: UnitOfWork) -> Issued | None:
            taken = await desk.take_code(uow, text, request)
            if taken.reused:
                # Committed, then refused: the refusal must not undo the revocation.
                await desk.revoke_given(uow, taken.id, request)
                return None
            check_binding(taken.code, request)
            issued = desk.draft(await _entitlement(uow, taken.code, text, request, desk), request)
            await desk.keep(uow, issued, request)
            await desk.note_given(uow, taken.id, issued)
            return issued

        issued = await desk.store.transact(work)
        if issued is None:
            raise InvalidGrant(_USED)
        return issued


def check_binding(code: AuthorizationCode, request: TokenRequest) -> None:
    """Raise unless the request is of whoever asked for the code."""
    form = request.form
    presented, verifier = form.get("redirect_uri"), form.get("code_verifier")
    if code.redirect_uri is not None:
        if not presented:
            raise InvalidRequest("redirect_uri is missing: the authorization request had one.")
        if not hmac.compare_digest(presented.encode(), code.redirect_uri.encode()):
            raise InvalidGrant("redirect_uri is not the one of the authorization request.")
    if code.code_challenge:
        if not verifier:
            raise InvalidRequest("code_verifier is missing: the authorization request had a code_challenge.")
        if not pkce.check(code.code_challenge, verifier):
            raise InvalidGrant("code_verifier does not belong to the code_challenge of the authorization request.")
    elif verifier:
        raise InvalidGrant("There is a code_verifier, but the authorization request had no code_challenge.")
    for bound, proven, what in (
        (code.key_thumbprint, request.key_thumbprint, "the DPoP key"),
        (code.certificate_thumbprint, request.certificate_thumbprint, "the certificate"),
    ):
        if bound and not hmac.compare_digest(bound.encode(), proven.encode()):
            raise InvalidGrant(f"The code is bound to {what} of the authorization request.")


async def _entitlement(
    uow: UnitOfWork, code: AuthorizationCode, text: str, request: TokenRequest, desk: Desk
) -> Entitlement:
    client = request.client
    standing = await require_standing(
        uow,
        client.id,
        request.now,
        user_id=code.user_id,
        grant_id=code.grant_id,
        session_id=None if code.offline else code.session_id,
        is_offline=code.offline,
    )
    user = standing.user
    if user is None:
        raise InvalidGrant(_USED)
    apis = tuple(api for api in request.apis if not code.resources or api.id in code.resources)
    api = choose_api(apis, request.form.all("resource"), code.scopes, consented=bool(code.resources))
    asked = authorization_details.parse(request.form.get("authorization_details"), request.apis)
    return Entitlement(
        client=client,
        project=request.project,
        subject=desk.subject_for(user, client),
        scopes=code.scopes,
        api=api,
        resources=code.resources,
        user=user,
        grant=standing.grant,
        session=standing.session,
        authorization_details=code.authorization_details,
        selected_details=authorization_details.selected(code.authorization_details, asked),
        authenticated_at=code.authenticated_at,
        amr=code.amr,
        acr=code.acr,
        nonce=code.nonce,
        claims=code.claims,
        key_thumbprint=request.key_thumbprint,
        certificate_thumbprint=request.certificate_thumbprint,
        renewable=GrantType.REFRESH_TOKEN in client.grant_types,
        offline=code.offline,
        sid=code.session_id or None,
        code=text,
    )


GRANT: Final = AuthorizationCodeGrant()
