"""Sealing: authenticated encryption of what must be read again, under keys that live outside the database.

AES-256-GCM with a random nonce; the purpose is a part of the key, the context is authenticated with it, so that what
was sealed for one use opens for no other. Spec: DESIGN §2, ASVS 11.3.
"""

from __future__ import annotations

import os
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from ..core.errors import KeybearerError
from ..ports import Keyring

NONCE_LENGTH: Final = 12


class CannotOpen(KeybearerError):
    """What was presented was not sealed here for this purpose and context, or was changed since."""


def seal(keyring: Keyring, purpose: str, plain: bytes, context: bytes = b"") -> bytes:
    """Return the sealed bytes: a nonce, the ciphertext and its tag."""
    return seal_under(keyring.derived(f"seal/{purpose}"), plain, context)


def open_sealed(keyring: Keyring, purpose: str, sealed: bytes, context: bytes = b"") -> bytes:
    """Return what was sealed; raises ``CannotOpen``."""
    return open_under(keyring.derived(f"seal/{purpose}"), sealed, context)


def seal_under(key: bytes, plain: bytes, context: bytes = b"") -> bytes:
    """Like ``seal``, under a 32-byte key of the caller's."""
    nonce = os.urandom(NONCE_LENGTH)
    return nonce + AESGCM(key).encrypt(nonce, plain, context)


def open_under(key: bytes, sealed: bytes, context: bytes = b"") -> bytes:
    """Like ``open_sealed``, under a 32-byte key of the caller's."""
    if len(sealed) < NONCE_LENGTH + 16:
        raise CannotOpen("This cannot be opened.")
    try:
        return AESGCM(key).decrypt(sealed[:NONCE_LENGTH], sealed[NONCE_LENGTH:], context)
    except InvalidTag:
        raise CannotOpen("This cannot be opened.") from None


def key_from(secret: str, purpose: str) -> bytes:
    """Return a 32-byte key that only a holder of this random secret can derive. Spec: RFC 5869."""
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=f"keybearer/{purpose}".encode()).derive(secret.encode())
