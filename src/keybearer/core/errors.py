"""Every error of Keybearer, in one tree; the statuses they get on the wire live in ``web/problem.py``.

    KeybearerError
    ├── Rejected                 a presented credential does not open this door (the code says why)
    ├── InvalidInput             the caller's request is wrong, field by field
    ├── NotPermitted             the caller is known, but may not do this
    ├── StoreError
    │   ├── NotFound             no such record, or none that the caller may see
    │   ├── Conflict             the record exists already, or changed meanwhile
    │   └── Unavailable          the store cannot answer; nothing may be assumed
    ├── Unreachable              what another server should have answered
    └── ConfigurationError       the operator must mend something before Keybearer can run

Each carries what the public may see (``str(error)``); ``detail`` is for operators and logs only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .quota import LimitState
    from .records import CredentialRecord


class Code(StrEnum):
    """What ``verify`` answers. Every code but ``VALID`` is a denial."""

    VALID = "VALID"
    MALFORMED = "MALFORMED"
    NOT_FOUND = "NOT_FOUND"
    REVOKED = "REVOKED"
    DISABLED = "DISABLED"
    EXPIRED = "EXPIRED"
    OWNER_DISABLED = "OWNER_DISABLED"
    KIND_NOT_ACCEPTED = "KIND_NOT_ACCEPTED"
    API_NOT_ALLOWED = "API_NOT_ALLOWED"
    IP_NOT_ALLOWED = "IP_NOT_ALLOWED"
    ORIGIN_NOT_ALLOWED = "ORIGIN_NOT_ALLOWED"
    REQUEST_NOT_ALLOWED = "REQUEST_NOT_ALLOWED"
    PROOF_REQUIRED = "PROOF_REQUIRED"
    PROOF_INVALID = "PROOF_INVALID"
    INSUFFICIENT_AUTHENTICATION = "INSUFFICIENT_AUTHENTICATION"
    INSUFFICIENT_PERMISSIONS = "INSUFFICIENT_PERMISSIONS"
    RATE_LIMITED = "RATE_LIMITED"
    CREDITS_EXHAUSTED = "CREDITS_EXHAUSTED"
    STALE = "STALE"


class KeybearerError(Exception):
    """The root of the tree: its text is safe for the public, its ``detail`` is for the operator."""

    def __init__(self, public: str, *, detail: str | None = None) -> None:
        super().__init__(public)
        self.public = public
        self.detail = detail


class Rejected(KeybearerError):
    """A presented credential is refused.

    ``record`` is set only after the digest matched, so that a precise answer can never be had by guessing.
    ``retry_after`` is in microseconds. ``missing`` names the permissions that would have been needed, and
    ``credits_remaining`` what is left where that was too little.
    """

    def __init__(
        self,
        code: Code,
        public: str = "The credential was refused.",
        *,
        record: CredentialRecord | None = None,
        version: int | None = None,
        missing: Sequence[str] = (),
        retry_after: int | None = None,
        limits: Sequence[LimitState] = (),
        credits_remaining: int | None = None,
        detail: str | None = None,
    ) -> None:
        super().__init__(public, detail=detail)
        self.code = code
        self.record = record
        self.version = version
        self.missing = tuple(missing)
        self.retry_after = retry_after
        self.limits = tuple(limits)
        self.credits_remaining = credits_remaining


@dataclass(frozen=True, slots=True)
class FieldProblem:
    """One wrong field: a path such as ``restrictions.ip_networks[2]``, and what to write instead."""

    field: str
    message: str


class InvalidInput(KeybearerError):
    """The request itself is wrong; ``problems`` names each field and what it should be."""

    def __init__(self, *problems: FieldProblem) -> None:
        super().__init__("; ".join(f"{p.field}: {p.message}" for p in problems) or "The request is not valid.")
        self.problems = problems

    @classmethod
    def of(cls, field: str, message: str) -> InvalidInput:
        """Return the error for a single wrong field."""
        return cls(FieldProblem(field, message))


class NotPermitted(KeybearerError):
    """The caller's credential is good but does not hold what this operation needs."""

    def __init__(self, public: str, *, missing: Sequence[str] = ()) -> None:
        super().__init__(public)
        self.missing = tuple(missing)


class StoreError(KeybearerError):
    """Something about stored records."""


class NotFound(StoreError):
    """No record of this kind and id that the caller may see."""

    def __init__(self, kind: str, record_id: str) -> None:
        super().__init__(f"There is no {kind} {record_id!r}.")
        self.kind = kind
        self.record_id = record_id


class Conflict(StoreError):
    """The change clashes with what is stored."""


class Unavailable(StoreError):
    """The store could not answer or could not promise durability; the outcome counts as unknown."""


class Unreachable(KeybearerError):
    """What a URL of somebody else points at could not be had, or may not be asked for."""


class ConfigurationError(KeybearerError):
    """Keybearer refuses to start until the operator mends what the text names."""
