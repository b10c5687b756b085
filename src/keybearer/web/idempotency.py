"""Repeated requests: the answer to an ``Idempotency-Key`` is remembered for a day, sealed, and given again.

A response may hold a secret that is shown once, so what is stored is encrypted under a key outside the database, bound
to the caller and the idempotency key. Spec: draft-ietf-httpapi-idempotency-key-header §2.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Callable
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ..core.errors import InvalidInput
from ..ports import Keyring, RememberedResponse
from ..services.authority import IdempotencySlot
from .problem import HttpProblem

_NONCE: Final = 12
MAX_LENGTH: Final = 128


class IdempotentAnswers:
    """Seals answers and opens them again."""

    def __init__(self, keyring: Keyring) -> None:
        self._cipher = AESGCM(keyring.derived("seal"))

    def slot(self, key: str, actor: str, request_digest: bytes, encode: Callable[[object], bytes]) -> IdempotencySlot:
        """Return what remembers the answer in the transaction that makes the change."""

        def seal(result: object) -> bytes:
            nonce = os.urandom(_NONCE)
            return nonce + self._cipher.encrypt(nonce, encode(result), _bound_to(actor, key))

        return IdempotencySlot(key, request_digest, seal)

    def open(self, remembered: RememberedResponse, request_digest: bytes) -> bytes:
        """Return the remembered body; raises ``HttpProblem`` 422 when the key was used for another request."""
        if not hmac.compare_digest(remembered.request_digest, request_digest):
            raise HttpProblem(422, "This Idempotency-Key was used for another request; use a new one for this.")
        sealed = remembered.sealed
        try:
            bound = _bound_to(remembered.actor, remembered.idempotency_key)
            return self._cipher.decrypt(sealed[:_NONCE], sealed[_NONCE:], bound)
        except InvalidTag as error:
            raise HttpProblem(409, "The answer to this Idempotency-Key was sealed by another keyring.") from error


def _bound_to(actor: str, key: str) -> bytes:
    return f"{actor}\n{key}".encode()


def digest_of(method: str, path: str, query: bytes, body: bytes, project_id: str = "") -> bytes:
    """Return what two requests must share to count as the same.

    ``project_id`` is the one that the caller is kept to: a user may call with tokens of several.
    """
    hashed = hashlib.sha256()
    for part in (method.encode(), path.encode(), query, body, project_id.encode()):
        hashed.update(len(part).to_bytes(8, "big") + part)
    return hashed.digest()


def key_in(values: list[str]) -> str | None:
    """Return the request's idempotency key; raises ``InvalidInput`` for one that is too long or came twice."""
    if not values:
        return None
    key = values[0]
    if len(values) > 1 or not 1 <= len(key) <= MAX_LENGTH or not key.isascii() or not key.isprintable():
        raise InvalidInput.of("Idempotency-Key", f"send one, of 1 to {MAX_LENGTH} printable ASCII characters")
    return key
