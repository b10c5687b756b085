"""E-mail addresses as users are found by them: one spelling for each mailbox, and nothing that could end a header."""

from __future__ import annotations

import re
from typing import Final

MAX_LENGTH: Final = 254
_LOCAL: Final = re.compile(r"[a-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64}")
_LABEL: Final = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_DOMAIN: Final = re.compile(rf"(?=.{{1,253}}$){_LABEL}(?:\.{_LABEL})*")


def normalise(text: str) -> str | None:
    """Return the address in lower case, its domain in ASCII, or ``None`` when it is none.

    Quoted local parts are not taken, nor such beyond ASCII: few servers take mail for them, and letters that look alike
    would make two users of what reads as one. Spec: RFC 5321 §2.4 (in practice no mailbox tells the case), RFC 3490.
    """
    local, _, domain = text.strip(" ").rpartition("@")
    if len(text) > MAX_LENGTH or not text.isprintable() or not local.isascii():
        return None
    try:
        address = f"{local.lower()}@{domain.encode('idna').decode().lower()}"
    except UnicodeError:
        return None
    local, _, domain = address.rpartition("@")
    fits = len(address) <= MAX_LENGTH and _LOCAL.fullmatch(local) and _DOMAIN.fullmatch(domain)
    return address if fits else None
