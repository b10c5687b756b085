"""Rate limits, quotas and credits as they travel."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from msgspec import Meta

from ..core.quota import CalendarUnit
from .base import Amount, Count, LimitName, Request, Response, Seconds


class RateLimitSpec(Request):
    """A named rate: ``limit`` units per ``period_in`` seconds; ``burst`` (default: ``limit``) at once."""

    name: LimitName
    limit: Count
    period_in: Seconds
    burst: Count | None = None
    automatic: bool = True


class QuotaSpec(Request):
    """A durable budget of ``limit`` units per calendar window, UTC."""

    name: LimitName
    limit: Amount
    per: CalendarUnit
    automatic: bool = True


class RefillSpec(Request):
    """Put the balance back to ``amount`` at the start of each calendar window."""

    amount: Amount
    per: CalendarUnit


class CreditsSpec(Request):
    """Prepaid credits: the balance to start with, and how it refills."""

    balance: Amount
    refill: RefillSpec | None = None


class CreditsView(Response):
    """How credits stand: ``balance`` is always ``granted`` minus ``spent``."""

    balance: int
    granted: int
    spent: int
    refill: RefillSpec | None = None
    refills_at: datetime | None = None


class SetCredits(Request):
    """Change credits: ``balance`` sets, ``add`` grants more; exactly one of the two. ``refill`` sets the policy."""

    balance: Amount | None = None
    add: Annotated[int, Meta(ge=1, le=1_000_000_000_000)] | None = None


class LimitView(Response):
    """How one limit stands after a request; ``reset_in`` is seconds until it is full again, rounded up."""

    name: str
    limit: int
    remaining: int
    reset_in: int
    exceeded: bool
