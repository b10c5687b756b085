"""ID tokens: who signed in, when and how, for one client. Spec: OIDC Core §2, §3.1.3.6, §3.3.2.11."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from collections.abc import Mapping, Sequence
from hashlib import sha256, sha512
from typing import Any, Final

from ..core.clients import Client
from ..core.instant import HOUR, SECOND, Instant
from ..core.users import User
from ..formats.jws import InvalidJws
from .authority import Authority
from .claims import claims_about
from .subjects import subject_for

TYP: Final = "JWT"
LIFETIME_IN: Final = HOUR


async def id_token(
    authority: Authority,
    client: Client,
    user: User,
    *,
    nonce: str = "",
    auth_time: Instant,
    amr: Sequence[str] = (),
    acr: str = "",
    sid: str | None = None,
    access_token: str | None = None,
    code: str | None = None,
    claims: Mapping[str, object] | None = None,
    now: Instant,
) -> str:
    """Return a signed ID token. ``claims`` is the ``id_token`` member of the ``claims`` parameter."""
    algorithm = client.id_token_signed_response_alg
    payload: dict[str, Any] = {
        **claims_about(user, (), claims),
        "iss": authority.settings.issuer_url,
        "sub": subject_for(authority.keyring, user, client),
        "aud": client.client_id,
        "iat": now // SECOND,
        "exp": (now + LIFETIME_IN) // SECOND,
        "auth_time": auth_time // SECOND,
    }
    optional = {
        "nonce": nonce,
        "amr": list(amr),
        "acr": acr,
        "sid": sid,
        "at_hash": access_token and half_hash(access_token, algorithm),
        "c_hash": code and half_hash(code, algorithm),
    }
    payload.update({name: value for name, value in optional.items() if value})
    return await authority.signing_keys.sign(payload, typ=TYP, algorithm=algorithm)


def half_hash(text: str, algorithm: str) -> str:
    """Return the left half of the hash that goes with an algorithm, in base64url. Spec: OIDC Core §3.1.3.6."""
    digest = (sha512 if algorithm == "EdDSA" else sha256)(text.encode("ascii")).digest()
    return urlsafe_b64encode(digest[: len(digest) // 2]).rstrip(b"=").decode()


async def read_hint(authority: Authority, text: str) -> Mapping[str, Any] | None:
    """Return the claims of an ID token of ours that is given back as a hint, expired or not; else ``None``.

    Spec: OIDC Core §3.1.2.1 (``id_token_hint``), OIDC RP-Initiated Logout §2.
    """
    try:
        claims = await authority.signing_keys.verify(text, TYP)
    except InvalidJws:
        return None
    texts, numbers = ("aud", "sub"), ("iat", "exp", "auth_time")
    # Signed answers of userinfo and of the authorization endpoint have this type too, but never all of these.
    has_all = all(isinstance(claims.get(one), str) for one in texts) and all(
        isinstance(claims.get(one), int) for one in numbers
    )
    return claims if has_all and claims.get("iss") == authority.settings.issuer_url else None
