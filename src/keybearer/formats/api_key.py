"""Keybearer's own API keys: ``{brand}_{sk|pk}_{live|test}_{id}_{secret}{checksum}``.

The prefix tells people, scanners and code what they hold. Spec: DESIGN §2.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from ..core import credential
from ..core.errors import Code, Rejected
from ..core.records import KEY_ID, CredentialKind, Environment

_SUFFIXES: Final = {
    (CredentialKind.SECRET_KEY, Environment.LIVE): "_sk_live",
    (CredentialKind.SECRET_KEY, Environment.TEST): "_sk_test",
    (CredentialKind.PUBLISHABLE_KEY, Environment.LIVE): "_pk_live",
    (CredentialKind.PUBLISHABLE_KEY, Environment.TEST): "_pk_test",
}
_ENDINGS: Final = tuple(_SUFFIXES.values())


class UnverifiedKey(NamedTuple):
    """The id that an API key of the right shape and checksum claims; whether its secret is right, nobody knows yet."""

    key_id: str


def prefix_for(brand: str, kind: CredentialKind, environment: Environment) -> str:
    """Return what a key of this kind begins with, such as ``kb_sk_live``."""
    return brand + _SUFFIXES[kind, environment]


class ApiKeyFormat:
    """Parse API keys; a text of this shape with another checksum is refused for good, never tried as foreign."""

    def parse(self, text: str) -> UnverifiedKey | None:
        """Return the unverified key, or ``None`` when the text is not of this format."""
        parts = credential.split(text)
        if parts is None:
            if credential.looks_like_one(text):
                raise Rejected(Code.MALFORMED, "The checksum is wrong: the key was cut off or mistyped.")
            return None
        prefix, credential_id = parts
        if not prefix.endswith(_ENDINGS):
            return None
        return UnverifiedKey(KEY_ID + credential_id)


FORMAT: Final = ApiKeyFormat()
