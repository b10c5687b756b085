"""Issuing: from what a client is entitled to, to the tokens it is answered with.

In three steps, because a transaction waits for nothing but the store: ``draft`` makes the tokens, ``keep`` writes them
down in the grant's transaction, ``answer`` signs and spells them once that is durable.
Spec: RFC 6749 §5.1, RFC 9068, DESIGN §7.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ..core import authorization_details, scopes
from ..core.clients import SubjectType
from ..core.credential import mint, new_id
from ..core.errors import InvalidInput
from ..core.instant import SECOND, Instant
from ..core.oauth_error import InvalidGrant, InvalidScope
from ..core.records import TokenFormat
from ..core.secret import Secret
from ..core.target import scopes_at
from ..core.tokens import FAMILY_ID, TOKEN_ID, AccessToken, TokenFamily, scopes_in_force
from ..formats import opaque, refresh_token
from ..grants import Entitlement, Issued
from ..ports import NotReady, UnitOfWork
from . import id_tokens, jwt_tokens
from .authority import Authority, Caller, Deed

TAG_PURPOSE: Final = "refresh-token-tag"


def draft(authority: Authority, entitlement: Entitlement, now: Instant, tag_key: bytes) -> Issued:
    """Make the tokens: an access token for one API, and a family of refresh tokens where one is due.

    Raises ``InvalidGrant`` when what they rest on is over, ``InvalidScope`` when no scope is left of those granted.
    """
    client, api = entitlement.client, entitlement.api
    expires_at = _access_ends(entitlement, now)
    if expires_at < now + SECOND:
        raise InvalidGrant("What this was issued for is over.")
    family, refresh = entitlement.family, entitlement.refresh_token
    if entitlement.renewable:
        family, refresh = _new_family(authority, entitlement, now, tag_key)
    token_id = TOKEN_ID + new_id(expires_at)
    is_jwt = api is not None and api.token_format is TokenFormat.JWT and client.subject_type is SubjectType.PUBLIC
    secret = None if is_jwt else mint(opaque.PREFIX, token_id.removeprefix(TOKEN_ID))
    keyring = authority.keyring
    pepper_id = "" if secret is None else keyring.active_pepper_id
    requested = (entitlement.claims or {}).get("userinfo")
    token = AccessToken(
        id=token_id,
        client_id=client.id,
        project_id=entitlement.project.id,
        issued_at=now,
        expires_at=expires_at,
        subject=entitlement.subject,
        scopes=_scopes(entitlement),
        api_id=None if api is None else api.id,
        user_id=None if entitlement.user is None else entitlement.user.id,
        grant_id=None if entitlement.grant is None else entitlement.grant.id,
        session_id=None if entitlement.session is None else entitlement.session.id,
        family_id=entitlement.parent_family_id if family is None else family.id,
        key_id=None if entitlement.key is None else entitlement.key.key.id,
        key_version=entitlement.key_version,
        digest=b"" if secret is None else keyring.digest(pepper_id, secret.reveal()),
        pepper_id=pepper_id,
        key_thumbprint=entitlement.key_thumbprint,
        certificate_thumbprint="" if entitlement.key_thumbprint else entitlement.certificate_thumbprint,
        actor=entitlement.actor,
        authorization_details=authorization_details.at(api, entitlement.selected_details),
        authenticated_at=entitlement.authenticated_at,
        amr=entitlement.amr,
        acr=entitlement.acr,
        requested_claims=requested if isinstance(requested, Mapping) and requested else None,
    )
    return Issued(entitlement, token, secret, family, refresh)


async def keep(uow: UnitOfWork, issued: Issued, caller: Caller, grant_type: str | None) -> None:
    """Write down what was drafted. With ``grant_type`` the audit log says so too; no decision changes by it."""
    token = issued.token
    if issued.opaque is not None:
        await uow.add_token(token)
    if issued.entitlement.renewable and issued.family is not None:
        await uow.add_family(issued.family)
    if grant_type is not None:
        details: dict[str, object] = {"grant_type": grant_type, "scope": scopes.text_of(token.scopes)}
        for name in ("user_id", "api_id", "key_id", "family_id"):
            if getattr(token, name) is not None:
                details[name] = getattr(token, name)
        Deed(uow, caller, token.issued_at).note(
            "token.issue", token.id, project_id=token.project_id, details=details, event=False
        )


async def answer(authority: Authority, issued: Issued, now: Instant) -> dict[str, Any]:
    """Return the members of a successful answer, always with the scope. Spec: RFC 6749 §5.1, OIDC Core §3.1.3.3."""
    entitlement, token, api = issued.entitlement, issued.token, issued.entitlement.api
    if issued.opaque is not None:
        text = issued.opaque.reveal()
    elif api is not None:
        text = await jwt_tokens.write(authority, token, api, entitlement.client.client_id)
    else:
        raise InvalidInput.of("api", "a JWT is for one API")
    said = _members(issued, text, now)
    user, at = entitlement.user, entitlement.authenticated_at
    if "openid" in token.scopes and user is not None and at is not None:
        asked = (entitlement.claims or {}).get("id_token")
        said["id_token"] = await id_tokens.id_token(
            authority,
            entitlement.client,
            user,
            nonce=entitlement.nonce,
            auth_time=at,
            amr=entitlement.amr,
            acr=entitlement.acr,
            sid=entitlement.sid,
            access_token=text,
            code=entitlement.code or None,
            claims=asked if isinstance(asked, Mapping) else None,
            now=now,
        )
    return said


def answer_now(authority: Authority, issued: Issued, now: Instant) -> dict[str, Any]:
    """Like ``answer``, at once, for a token without a user; raises ``NotReady``."""
    entitlement, api = issued.entitlement, issued.entitlement.api
    if entitlement.user is not None:
        raise NotReady
    if issued.opaque is not None:
        return _members(issued, issued.opaque.reveal(), now)
    if api is None:
        raise InvalidInput.of("api", "a JWT is for one API")
    return _members(issued, jwt_tokens.write_now(authority, issued.token, api, entitlement.client.client_id), now)


def _members(issued: Issued, text: str, now: Instant) -> dict[str, Any]:
    entitlement, token = issued.entitlement, issued.token
    said: dict[str, Any] = {
        "access_token": text,
        "token_type": "DPoP" if token.key_thumbprint else "Bearer",
        "expires_in": (token.expires_at - now) // SECOND,
        "scope": scopes.text_of(token.scopes),
    }
    if issued.refresh_token is not None:
        said["refresh_token"] = issued.refresh_token.reveal()
    if entitlement.issued_token_type:
        said["issued_token_type"] = entitlement.issued_token_type
    if token.authorization_details:
        said["authorization_details"] = list(token.authorization_details)
    return said


def _access_ends(entitlement: Entitlement, now: Instant) -> Instant:
    """Return when an access token ends: the soonest end of the client's lifetime, the API's, and what it rests on."""
    ends = [now + entitlement.client.access_token_in]
    if entitlement.api is not None and entitlement.api.token_in is not None:
        ends.append(now + entitlement.api.token_in)
    if entitlement.ends_at is not None:
        ends.append(entitlement.ends_at)
    if entitlement.grant is not None and entitlement.grant.expires_at is not None:
        ends.append(entitlement.grant.expires_at)
    if entitlement.session is not None:
        ends.append(entitlement.session.expires_at)
    if entitlement.key is not None and entitlement.key.key.expires_at is not None:
        ends.append(entitlement.key.key.expires_at)
    return Instant(min(ends))


def _scopes(entitlement: Entitlement) -> tuple[str, ...]:
    """Return the scopes of the token: granted, for its API, and in force for client, user, consent and key."""
    granted = scopes_at(entitlement.api, entitlement.scopes)
    client, api, user = entitlement.client, entitlement.api, entitlement.user
    allowed = scopes_in_force(granted, client, api, user, entitlement.grant, entitlement.key)
    left = tuple(scope for scope in granted if scope in allowed)
    if entitlement.scopes and not left:
        raise InvalidScope("Nothing is left of the scope: it is not this API's, or no longer granted.")
    return left


def _new_family(
    authority: Authority, entitlement: Entitlement, now: Instant, tag_key: bytes
) -> tuple[TokenFamily, Secret]:
    client, grant, session = entitlement.client, entitlement.grant, entitlement.session
    family_id = FAMILY_ID + new_id(now)
    first = refresh_token.mint(family_id, tag_key)
    ends = [now + client.refresh_token_in]
    if grant is not None and grant.expires_at is not None:
        ends.append(grant.expires_at)
    if session is not None and not entitlement.offline:
        ends.append(session.expires_at)
    pepper_id = authority.keyring.active_pepper_id
    family = TokenFamily(
        id=family_id,
        client_id=client.id,
        project_id=entitlement.project.id,
        user_id=None if entitlement.user is None else entitlement.user.id,
        subject=entitlement.subject,
        created_at=now,
        rotated_at=now,
        expires_at=Instant(min(ends)),
        idle_in=client.refresh_idle_in,
        digest=authority.keyring.digest(pepper_id, first.reveal()),
        pepper_id=pepper_id,
        grant_id=None if grant is None else grant.id,
        session_id=None if session is None or entitlement.offline else session.id,
        scopes=entitlement.scopes,
        resources=entitlement.resources,
        authorization_details=entitlement.authorization_details,
        # A confidential client is bound by its authentication, and may change its keys (RFC 9449 §5).
        key_thumbprint=entitlement.key_thumbprint if client.is_public else "",
        certificate_thumbprint=entitlement.certificate_thumbprint if client.is_public else "",
        authenticated_at=entitlement.authenticated_at,
        amr=entitlement.amr,
        acr=entitlement.acr,
        nonce=entitlement.nonce,
        claims=entitlement.claims,
    )
    return family, first
