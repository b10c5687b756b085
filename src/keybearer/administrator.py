"""The first administrator, kept beside the keyring until people can sign in.

Only the e-mail address and an Argon2id hash of the password are stored, readable by their owner only.
Spec: SECURITY-BAR 17-18, NIST SP 800-63B-4 §3.1.1, RFC 9106.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from .core.errors import InvalidInput

FILE_NAME: Final = "administrator.json"
MIN_LENGTH: Final = 15
MAX_LENGTH: Final = 1024
_EMAIL: Final = re.compile(r"[^@\s\x00-\x1f]+@[^@\s\x00-\x1f]+")


def check_administrator(email: str, password: str | None) -> None:
    """Raise ``InvalidInput`` when the address is none, or the password is too short to be the only factor."""
    if len(email) > 254 or _EMAIL.fullmatch(email) is None:
        raise InvalidInput.of("admin-email", f"{email[:60]!r} is not an e-mail address")
    if password is not None and not MIN_LENGTH <= len(password) <= MAX_LENGTH:
        raise InvalidInput.of("admin-password", f"a password that is the only factor needs {MIN_LENGTH} characters")


def remember_administrator(data: Path, email: str, password: str) -> None:
    """Write the administrator's record; an existing one is kept."""
    path = data / FILE_NAME
    if path.exists():
        return
    encoded = Argon2id(salt=os.urandom(16), length=32, iterations=2, lanes=1, memory_cost=19 * 1024).derive_phc_encoded(
        password.encode()
    )
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        json.dump({"email": email, "password_digest": encoded}, file)
