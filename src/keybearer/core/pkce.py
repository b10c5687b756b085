"""PKCE: the proof that whoever redeems a code is whoever asked for it. S256 only. Spec: RFC 7636, RFC 9700 §2.1.1."""

from __future__ import annotations

import hmac
import re
from base64 import urlsafe_b64encode
from hashlib import sha256
from typing import Final

METHOD: Final = "S256"

_VERIFIER: Final = re.compile(r"[A-Za-z0-9\-._~]{43,128}", re.ASCII)
_CHALLENGE: Final = re.compile(r"[A-Za-z0-9\-_]{43}", re.ASCII)


def is_challenge(text: str) -> bool:
    """Tell whether this can be an S256 challenge: 43 characters of base64url. Spec: RFC 7636 §4.2."""
    return _CHALLENGE.fullmatch(text) is not None


def is_verifier(text: str) -> bool:
    """Tell whether this can be a verifier: 43 to 128 unreserved characters. Spec: RFC 7636 §4.1."""
    return _VERIFIER.fullmatch(text) is not None


def challenge_of(verifier: str) -> str:
    """Return the S256 challenge of a verifier. Spec: RFC 7636 §4.2."""
    return urlsafe_b64encode(sha256(verifier.encode("ascii")).digest()).rstrip(b"=").decode()


def check(challenge: str, verifier: str) -> bool:
    """Tell whether the verifier is the challenge's. Spec: RFC 7636 §4.6."""
    return is_verifier(verifier) and hmac.compare_digest(challenge_of(verifier), challenge)
