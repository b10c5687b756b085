"""Authorization codes: put down by the authorize endpoint, taken up once by the token endpoint.

Spec: RFC 6749 §4.1.2, RFC 9700 §2.1.1, ASVS 10.4.2.
"""

from __future__ import annotations

import hmac
from typing import Final, NamedTuple

import msgspec

from ..core import credential
from ..core.artefacts import Artefact, ArtefactKind
from ..core.authorization_code import LIFETIME, AuthorizationCode
from ..core.errors import NotFound
from ..core.instant import Instant
from ..core.lifecycle import use_up
from ..core.oauth_error import InvalidGrant
from ..core.secret import Secret
from ..ports import UnitOfWork
from .authority import Authority

PREFIX: Final = "kb_ac"
_BAD: Final = "The authorization code is not good: unknown, expired, or used before."


class TakenCode(NamedTuple):
    """A code of the right secret. ``reused`` says that it was taken before: what it gave must be revoked then."""

    id: str
    code: AuthorizationCode
    reused: bool


async def put_code(uow: UnitOfWork, authority: Authority, code: AuthorizationCode) -> Secret:
    """Store what a code stands for, and return the code."""
    now = authority.clock.now()
    code_id = credential.new_id(now)
    secret = credential.mint(PREFIX, code_id)
    pepper_id = authority.keyring.active_pepper_id
    await uow.add_artefact(
        Artefact(
            kind=ArtefactKind.AUTHORIZATION_CODE,
            id=code_id,
            created_at=now,
            expires_at=Instant(now + LIFETIME),
            digest=authority.keyring.digest(pepper_id, secret.reveal()),
            pepper_id=pepper_id,
            subject=code.client_id,
            body=msgspec.json.encode(code),
        )
    )
    return secret


async def take_code(uow: UnitOfWork, authority: Authority, text: str, client_id: str, now: Instant) -> TakenCode:
    """Use up a code of this client, locked until the end of the transaction. Raises ``InvalidGrant``.

    A code that was used before is returned as ``reused``, so that the caller can revoke what it gave in a transaction
    of its own. Another client's code is left as it is: a thief cannot burn it (RFC 6749 §10.5).
    """
    parts = credential.split(text)
    if parts is None or parts[0] != PREFIX:
        raise InvalidGrant(_BAD)
    try:
        artefact = await uow.get_artefact(ArtefactKind.AUTHORIZATION_CODE, parts[1])
    except NotFound:
        raise InvalidGrant(_BAD) from None
    presented = authority.keyring.digest(artefact.pepper_id, text)
    if not hmac.compare_digest(presented, artefact.digest) or artefact.subject != client_id:
        raise InvalidGrant(_BAD)
    code = msgspec.json.decode(artefact.body, type=AuthorizationCode)
    if artefact.used_at is not None:
        return TakenCode(artefact.id, code, True)
    if now >= artefact.expires_at:
        raise InvalidGrant(_BAD)
    await uow.update_artefact(use_up(artefact, now))
    return TakenCode(artefact.id, code, False)
