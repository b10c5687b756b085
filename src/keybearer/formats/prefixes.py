"""What the credentials of every Keybearer begin with, so that they are known wherever they turn up.

API keys carry the brand of their project; all else begins with ``kb``. Spec: DESIGN §2.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

KEY_SUFFIXES: Final = ("sk_live", "sk_test", "pk_live", "pk_test")
"""What stands behind the brand of an API key."""

OWN: Final = "kb"
"""What stands before the kind of everything that is no API key."""

KINDS: Final[Mapping[str, str]] = {
    "ac": "authorization_code",
    "at": "access_token",
    "cs": "client_secret",
    "dc": "device_code",
    "kd": "known_device",
    "ml": "mail_link",
    "pr": "pushed_request",
    "ra": "registration_access_token",
    "rt": "refresh_token",
    "ss": "session",
}
"""Everything that is no API key: the two letters behind ``kb_``, and what it is."""


def kind_of(prefix: str) -> str:
    """Return what a credential with this prefix is, such as ``secret_key``; empty when nothing begins like that."""
    brand, _, suffix = prefix.partition("_")
    if suffix in KEY_SUFFIXES:
        return "secret_key" if suffix.startswith("sk") else "publishable_key"
    return KINDS.get(suffix, "") if brand == OWN else ""
