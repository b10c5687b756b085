"""Second factors that are codes: time-based ones, each accepted once, and recovery codes for when those are lost.

Spec: RFC 6238, ASVS 6.5 (a code lives 30 seconds at most and is good once; recovery codes have 112 bits and more).
"""

from __future__ import annotations

import hmac
import re
import secrets
from dataclasses import replace
from typing import Final, NamedTuple

from ..core.instant import SECOND, Instant
from ..core.lifecycle import touch
from ..core.secret import Secret
from ..core.users import Factors, Totp, User
from ..ports import Keyring
from .sealing import CannotOpen, open_sealed, seal

STEP_IN: Final = 30 * SECOND
DIGITS: Final = 6
RECOVERY_CODES: Final = 10
_ALPHABET: Final = "23456789abcdefghjkmnpqrstvwxyz"
"""Thirty characters that nobody takes for each other: 24 of them are 117 bits."""
_GROUPS: Final = 4
_GROUP: Final = 6
_PURPOSE: Final = "totp"
_SEPARATORS: Final = re.compile(r"[\s-]+")


class NewTotp(NamedTuple):
    """A time-based factor that is not confirmed yet: what the authenticator app is to know."""

    secret: Secret
    uri: Secret


def begin_totp(keyring: Keyring, brand: str, user: User, factors: Factors, now: Instant) -> tuple[Factors, NewTotp]:
    """Return the factors with a fresh, unconfirmed secret, and that secret as text and as an ``otpauth:`` URI.

    ``brand`` is what the authenticator app will call this authority.
    """
    import pyotp

    secret = pyotp.random_base32()
    totp = Totp(seal(keyring, _PURPOSE, secret.encode(), user.id.encode()), created_at=now)
    return touch(factors, now, totp=totp), _as_shown(secret, brand, user)


def pending_totp(keyring: Keyring, brand: str, user: User, factors: Factors) -> NewTotp | None:
    """Return what an app must know that has not shown its first code yet, or ``None`` when there is none."""
    if factors.totp is None or factors.totp.confirmed_at is not None:
        return None
    return _as_shown(open_sealed(keyring, _PURPOSE, factors.totp.sealed, user.id.encode()).decode(), brand, user)


def _as_shown(secret: str, brand: str, user: User) -> NewTotp:
    import pyotp

    uri = pyotp.TOTP(secret, digits=DIGITS).provisioning_uri(name=user.email, issuer_name=brand)
    return NewTotp(Secret(secret), Secret(uri))


def accept_totp(keyring: Keyring, factors: Factors, code: str, now: Instant) -> Totp | None:
    """Return the factor with this code's time step used up, or ``None`` for a wrong, late or repeated code.

    Only the code of the current step is right: a step is as long as a code may live.
    """
    if factors.totp is None:
        return None
    import pyotp

    try:
        secret = open_sealed(keyring, _PURPOSE, factors.totp.sealed, factors.user_id.encode()).decode()
    except CannotOpen:
        return None
    step = now // STEP_IN
    presented = _SEPARATORS.sub("", code)
    right = pyotp.TOTP(secret, digits=DIGITS).generate_otp(step)
    is_right = hmac.compare_digest(right.encode(), presented.encode("utf-8", "surrogatepass"))
    if not is_right or step <= factors.totp.last_step:
        return None
    return replace(factors.totp, last_step=step)


def new_recovery_codes(keyring: Keyring, user_id: str) -> tuple[tuple[Secret, ...], tuple[bytes, ...]]:
    """Return fresh recovery codes, to be shown once, and the digests to store."""
    codes = tuple(
        "-".join("".join(secrets.choice(_ALPHABET) for _ in range(_GROUP)) for _ in range(_GROUPS))
        for _ in range(RECOVERY_CODES)
    )
    return tuple(Secret(code) for code in codes), tuple(_digest(keyring, user_id, code) for code in codes)


def accept_recovery_code(keyring: Keyring, factors: Factors, code: str) -> tuple[bytes, ...] | None:
    """Return the digests that are left when this code is used up, or ``None`` when it is none of them."""
    presented = _digest(keyring, factors.user_id, code)
    found = [hmac.compare_digest(presented, digest) for digest in factors.recovery_digests]
    if not any(found):
        return None
    return tuple(digest for digest, is_it in zip(factors.recovery_digests, found, strict=True) if not is_it)


def methods_of(factors: Factors) -> tuple[str, ...]:
    """Return by which second factors this user can go on: any of ``passkey``, ``totp`` and ``recovery_code``."""
    found = []
    if factors.passkeys:
        found.append("passkey")
    if factors.totp is not None and factors.totp.confirmed_at is not None:
        found.append("totp")
    if found and factors.recovery_digests:
        found.append("recovery_code")
    return tuple(found)


def _digest(keyring: Keyring, user_id: str, code: str) -> bytes:
    plain = _SEPARATORS.sub("", code).lower()
    key = keyring.derived("recovery-codes")
    return hmac.digest(key, f"{user_id}\n{plain}".encode("utf-8", "surrogatepass"), "sha256")
