"""E-mail addresses as users are found by them: one spelling for each mailbox, and nothing that could end a header."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

MAX_LENGTH: Final = 254
_LOCAL: Final = r"[^@\s\x00-\x20\x7f\"(),:;<>\[\]\\]{1,64}"
_DOMAIN: Final = r"(?=.{1,253}$)[^\W_](?:[\w-]{0,61}[^\W_])?(?:\.[^\W_](?:[\w-]{0,61}[^\W_])?)*"
_ADDRESS: Final = re.compile(f"({_LOCAL})@({_DOMAIN})")


def normalise(text: str) -> str | None:
    """Return the address in lower case and NFC, or ``None`` when it is none. Quoted local parts are not taken.

    Spec: RFC 5321 §2.4 (in practice no mailbox tells the case), §4.5.3.1.
    """
    if len(text) > MAX_LENGTH or any(unicodedata.category(character) in ("Cc", "Cf", "Cs") for character in text):
        return None
    address = unicodedata.normalize("NFC", text.strip()).lower()
    return address if len(address) <= MAX_LENGTH and _ADDRESS.fullmatch(address) else None
