"""Charges: what a request takes durably, and what is left."""

from __future__ import annotations

from dataclasses import dataclass

from ..core.errors import Code
from ..core.instant import Instant
from ..core.quota import LimitState
from ..core.records import CreditPolicy, Quota


@dataclass(frozen=True, slots=True)
class CreditTake:
    """Take ``cost`` credits from ``owner``; the policy says how the balance refills."""

    owner: str
    policy: CreditPolicy
    cost: int


@dataclass(frozen=True, slots=True)
class QuotaTake:
    """Take ``cost`` units of a quota whose counter belongs to ``owner``."""

    owner: str
    quota: Quota
    cost: int


@dataclass(frozen=True, slots=True)
class Charge:
    """What one request takes durably, all or nothing. With a ``request_id`` it is taken once per (key, request_id)."""

    key_id: str
    request_id: str | None
    credits: tuple[CreditTake, ...]
    quotas: tuple[QuotaTake, ...]
    now: Instant


@dataclass(frozen=True, slots=True)
class Charged:
    """The outcome of a charge. Nothing was taken unless ``code`` is ``VALID`` and ``replayed`` is false.

    ``code`` may be ``CREDITS_EXHAUSTED``, or ``RATE_LIMITED`` for a quota; ``quotas`` has one state per quota asked
    for. ``credits_remaining`` is the smallest balance among the owners, ``None`` without credits.
    """

    code: Code
    credits_remaining: int | None
    quotas: tuple[LimitState, ...]
    replayed: bool = False


@dataclass(frozen=True, slots=True)
class CreditBalance:
    """The credits of one owner. Always ``balance == granted - spent``; a refund lowers ``spent``."""

    owner: str
    balance: int
    granted: int
    spent: int
    refills_at: Instant | None
