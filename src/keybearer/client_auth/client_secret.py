"""Client secrets: compared by digest in constant time, also where there is no such client."""

from __future__ import annotations

import hmac

from ..core.clients import Client, ClientSecret
from ..core.instant import Instant
from ..ports import Keyring


def living(client: Client, now: Instant) -> tuple[ClientSecret, ...]:
    """Return the secrets of a client that are good now."""
    return tuple(
        secret
        for secret in client.secrets
        if secret.revoked_at is None and (secret.expires_at is None or now < secret.expires_at)
    )


def matches(client: Client, presented: str, keyring: Keyring, now: Instant) -> bool:
    """Tell whether the text is a secret of the client that is good now."""
    found, pepper_id, digest = False, "", b""
    for secret in living(client, now):
        if secret.pepper_id != pepper_id:
            pepper_id = secret.pepper_id
            digest = keyring.digest(pepper_id, presented)
        if hmac.compare_digest(digest, secret.digest):
            found = True
    return found


def match_nobody(presented: str, keyring: Keyring) -> None:
    """Spend what a comparison costs, so that an unknown client is not told by its time (SECURITY-BAR 21)."""
    hmac.compare_digest(keyring.digest(keyring.active_pepper_id, presented), bytes(32))
