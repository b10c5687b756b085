"""The ``sub`` of a user: the same for every client, or one for each sector. Spec: OIDC Core §8."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC

from ..core.clients import Client, SubjectType
from ..core.users import User
from ..ports import Keyring

PURPOSE: Final = "pairwise"


def subject_for(keyring: Keyring, user: User, client: Client) -> str:
    """Return the ``sub`` that this client sees of this user. Spec: OIDC Core §8.1."""
    if client.subject_type is SubjectType.PUBLIC:
        return user.subject
    mac = HMAC(keyring.derived(PURPOSE), SHA256())
    mac.update(f"{sector_of(client)}\n{user.subject}".encode())
    return mac.finalize().hex()


def sector_of(client: Client) -> str:
    """Return the sector of a client: the host that it, or its one redirect URI, stands for; else the client itself."""
    if client.sector_identifier_uri:
        return urlsplit(client.sector_identifier_uri).hostname or client.id
    hosts = {urlsplit(uri).hostname for uri in client.redirect_uris}
    host = hosts.pop() if len(hosts) == 1 else None
    return host or client.id
