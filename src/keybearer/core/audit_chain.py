"""The hash chain of the audit log: each entry's digest covers its content and the digest before it.

The digest is an HMAC under the keyring's audit key, so that whoever can write the database, but does not hold the
keyring, cannot rewrite history and recompute the chain.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from json.encoder import encode_basestring_ascii
from typing import Final

from .instant import Instant

GENESIS: Final = bytes(32)
"""What the first entry counts as the digest before it."""
_DETAILS: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":"))


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
    # Spelled out: a JSON encoder needs five times as long for the frame, and every change waits for this.
    return (
        f'{{"action":{_text(draft.action)},"actor":{_text(draft.actor)},"at":{draft.at},'
        f'"details":{_DETAILS.encode(draft.details)},"outcome":{_text(draft.outcome)},'
        f'"project_id":{_text(draft.project_id)},"request_id":{_text(draft.request_id)},"seq":{seq},'
        f'"source":{_text(draft.source)},"target":{_text(draft.target)}}}'
    ).encode()


def _text(text: str | None) -> str:
    return "null" if text is None else encode_basestring_ascii(text)


def link(key: bytes, previous: bytes, seq: int, draft: AuditDraft) -> bytes:
    """Return the digest of an entry that follows ``previous``."""
    mac = _keyed(key).copy()
    mac.update(previous + canonical(seq, draft))
    return mac.digest()


@lru_cache(4)
def _keyed(key: bytes) -> hmac.HMAC:
    return hmac.new(key, digestmod="sha256")


def first_break(key: bytes, previous: bytes, expected_seq: int, entries: list[AuditEntry]) -> int | None:
    """Return the ``seq`` of the first entry that does not follow from the one before, or ``None`` if all do."""
    for entry in entries:
        if entry.seq != expected_seq or not hmac.compare_digest(
            link(key, previous, entry.seq, entry.draft), entry.digest
        ):
            return expected_seq
        previous, expected_seq = entry.digest, entry.seq + 1
    return None
