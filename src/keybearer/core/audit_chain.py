"""The hash chain of the audit log: each entry's digest covers its content and the digest before it.

The digest is an HMAC under the keyring's audit key, so that whoever can write the database, but does not hold the
keyring, cannot rewrite history and recompute the chain.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from .instant import Instant

GENESIS: Final = bytes(32)
"""What the first entry counts as the digest before it."""


@dataclass(frozen=True, slots=True)
class AuditDraft:
    """One thing that was done, not yet placed in the chain. ``details`` must never hold a secret."""

    at: Instant
    actor: str
    action: str
    target: str
    outcome: str = "ok"
    project_id: str | None = None
    source: str | None = None
    request_id: str | None = None
    details: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """An entry in its place: ``seq`` counts from 1 without gaps."""

    seq: int
    draft: AuditDraft
    digest: bytes


def canonical(seq: int, draft: AuditDraft) -> bytes:
    """Return the bytes that are hashed: compact JSON with sorted keys, so that every engine hashes the same."""
    content = {
        "seq": seq,
        "at": draft.at,
        "actor": draft.actor,
        "action": draft.action,
        "target": draft.target,
        "outcome": draft.outcome,
        "project_id": draft.project_id,
        "source": draft.source,
        "request_id": draft.request_id,
        "details": draft.details,
    }
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


def link(key: bytes, previous: bytes, seq: int, draft: AuditDraft) -> bytes:
    """Return the digest of an entry that follows ``previous``."""
    return hmac.digest(key, previous + canonical(seq, draft), "sha256")


def first_break(key: bytes, previous: bytes, expected_seq: int, entries: list[AuditEntry]) -> int | None:
    """Return the ``seq`` of the first entry that does not follow from the one before, or ``None`` if all do."""
    for entry in entries:
        if entry.seq != expected_seq or not hmac.compare_digest(
            link(key, previous, entry.seq, entry.draft), entry.digest
        ):
            return expected_seq
        previous, expected_seq = entry.digest, entry.seq + 1
    return None
