"""The headers that say who calls, in every spelling that some server takes for the same: none may come from a client.

Spec: CVE-2026-30851, CVE-2026-39858, CVE-2025-64484 (an identity header in another spelling).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final
from urllib.parse import quote

from ..core.records import CredentialKind, CredentialRecord, KeyRecord
from ..core.tokens import TokenRecord

_OTHERS: Final = re.compile(rb"[^a-z0-9]+")
_PREFIX: Final = b"x-keybearer-"


def plainly(name: bytes) -> bytes:
    """Return a header's name as the most careless server reads it: small letters, and a dash for all else."""
    return _OTHERS.sub(b"-", name.lower())


def is_identity(name: bytes) -> bool:
    """Tell whether some server would take a header of this name for one of ours."""
    return b"eybearer" in name.lower() and plainly(name).lstrip(b"-").startswith(_PREFIX)


def without_identity(headers: Sequence[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Return the headers that a client may send."""
    return [header for header in headers if not is_identity(header[0])]


def identity_of(record: CredentialRecord) -> list[tuple[bytes, bytes]]:
    """Return what an upstream may learn about who calls."""
    if isinstance(record, TokenRecord):
        return _of_token(record)
    return _of_key(record) if isinstance(record, KeyRecord) else []


def _of_token(record: TokenRecord) -> list[tuple[bytes, bytes]]:
    token = record.token
    headers = [
        (b"x-keybearer-token", token.id.encode()),
        (b"x-keybearer-project", record.project.id.encode()),
        (b"x-keybearer-kind", CredentialKind.ACCESS_TOKEN.value.encode()),
        (b"x-keybearer-environment", record.environment.value.encode()),
        (b"x-keybearer-permissions", " ".join(sorted(record.permissions)).encode()),
        (b"x-keybearer-client", record.client.client_id.encode()),
        (b"x-keybearer-subject", quote(token.subject, safe="").encode()),
    ]
    if token.user_id is not None:
        headers.append((b"x-keybearer-user", token.user_id.encode()))
    return headers


def _of_key(record: KeyRecord) -> list[tuple[bytes, bytes]]:
    key = record.key
    headers = [
        (b"x-keybearer-key", key.id.encode()),
        (b"x-keybearer-project", record.project.id.encode()),
        (b"x-keybearer-kind", key.kind.value.encode()),
        (b"x-keybearer-environment", key.environment.value.encode()),
        (b"x-keybearer-permissions", " ".join(key.permissions).encode()),
    ]
    if record.identity is not None:
        headers.append((b"x-keybearer-identity", quote(record.identity.external_id, safe="").encode()))
    if key.owner is not None:
        headers.append((b"x-keybearer-owner", quote(key.owner, safe="").encode()))
    return headers
