"""``jwt-bearer``: a trusted provider vouches for one of its users with a signed assertion. Spec: RFC 7523 §2.1 and §3.

The issuer is an upstream provider of this authority, the subject a user who is linked to it, and what the client gets
is what that user consented to, no more.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from ..core import scopes
from ..core.clients import GrantType
from ..core.oauth_error import InvalidGrant, InvalidScope
from ..core.records import State
from ..core.target import choose_api
from ..core.users import Link, User
from ..formats.assertion import instant_of, is_first_use, is_for, is_timely, unverified, verified
from ..formats.jws import ASYMMETRIC, InvalidJws
from ..ports import Query
from .desk import Desk, Entitlement, Issued, TokenRequest
from .standing import consent_of

_BAD: Final = (
    "The assertion is not good: it must be signed by a trusted issuer, for one audience that is this authority, with "
    "exp and a jti that was not used before, about a user who is known here and agreed to this client."
)


class JwtBearer:
    """The grant."""

    grant_type: Final = GrantType.JWT_BEARER

    async def redeem(self, request: TokenRequest, desk: Desk) -> Issued:
        """Issue what the user consented to, for as long as the client's tokens live; never a refresh token."""
        asked = scopes.parse(request.form.get("scope"))
        claims = await _claims_of(request.form.need("assertion"), request, desk)
        user = await _user_of(claims, desk)
        grant = await consent_of(desk.store, user.id, request.client.id, request.now)
        if grant is None and not request.client.is_first_party:
            raise InvalidGrant(_BAD)
        allowed = request.client.scopes if grant is None else grant.scopes
        if not set(allowed).issuperset(asked):
            raise InvalidScope("The scope is more than the user agreed to.")
        resources = () if grant is None else grant.resources
        apis = tuple(api for api in request.apis if not resources or api.id in resources)
        wanted = asked or allowed
        issued = desk.draft(
            Entitlement(
                client=request.client,
                project=request.project,
                subject=desk.subject_for(user, request.client),
                scopes=tuple(scope for scope in wanted if scope not in ("openid", "offline_access")),
                api=choose_api(apis, request.form.all("resource"), wanted, consented=bool(resources)),
                user=user,
                grant=grant,
                key_thumbprint=request.key_thumbprint,
                certificate_thumbprint=request.certificate_thumbprint,
            ),
            request,
        )
        if not await is_first_use(desk.store, str(claims["iss"]), claims, request.now):
            raise InvalidGrant(_BAD)
        await desk.store.transact(partial(desk.keep, issued=issued, request=request))
        return issued


async def _claims_of(text: str, request: TokenRequest, desk: Desk) -> Mapping[str, Any]:
    found = unverified(text)
    try:
        issuer = None if found is None else found.unverified_claims.get("iss")
    except InvalidJws:
        issuer = None
    if found is None or not isinstance(issuer, str):
        raise InvalidGrant(_BAD)
    claims = None
    for afresh in (False, True):
        keys = await desk.keys_of_issuer(issuer, afresh)
        if keys is None:
            break
        claims = verified(found, keys, ASYMMETRIC)
        if claims is not None:
            break
    if claims is None or not is_for(claims, desk.audiences) or not is_timely(claims, request.now):
        raise InvalidGrant(_BAD)
    if instant_of(claims.get("exp")) is None or not isinstance(claims.get("sub"), str):
        raise InvalidGrant(_BAD)
    return claims


async def _user_of(claims: Mapping[str, Any], desk: Desk) -> User:
    where = {"issuer": str(claims["iss"]), "subject": str(claims["sub"]), "state": State.ENABLED.value}
    links = await desk.store.page(Link, Query(where, limit=1))
    if not links:
        raise InvalidGrant(_BAD)
    user = await desk.store.get(User, links[0].user_id)
    if user.state is not State.ENABLED:
        raise InvalidGrant(_BAD)
    return user


GRANT: Final = JwtBearer()
