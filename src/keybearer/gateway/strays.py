"""Credentials that came with a request without being the one that was decided about: they reach no upstream.

A browser sends the cookie of one API to every route of its host, and an open route would hand it to whoever is behind.
Spec: SECURITY-BAR 28, CWE-522.
"""

from __future__ import annotations

import re
from typing import Final

from ..core import credential
from ..core.errors import Rejected
from ..formats import jwt
from ..formats.jws import InvalidJws

_LEAST: Final = 40
_SHAPE: Final = re.compile(rb"(?:[A-Za-z]+ +)?([a-z][a-z0-9]*_[0-9A-Za-z_]{30,250}|eyJ[\w-]{10,8192}\.[\w-]+\.[\w-]+)")


def is_credential(value: bytes, issuer: str) -> bool:
    """Tell whether a value is written as a credential of this authority, with or without a scheme before it."""
    shaped = _SHAPE.fullmatch(value) if len(value) >= _LEAST else None
    if shaped is None:
        return False
    text = shaped[1].decode("ascii", "replace")
    if not text.startswith("eyJ"):
        return credential.split(text) is not None
    try:
        token = jwt.FORMAT.parse(text)
        return token is not None and token.jws.unverified_claims.get("iss") == issuer
    except (Rejected, InvalidJws):
        return False
