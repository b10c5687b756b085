"""Rate limits, quotas and credits between the wire and the records."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..core.instant import SECOND
from ..core.records import CreditPolicy, Quota, RateLimit
from ..ports import CreditBalance
from ..wire.base import to_moment
from ..wire.limits import CreditsSpec, CreditsView, QuotaSpec, RateLimitSpec, RefillSpec
from .problems import Problems


def to_limits(specs: Iterable[RateLimitSpec]) -> tuple[RateLimit, ...]:
    """Return rate limits as records; a burst that is not given is the limit itself."""
    return tuple(
        RateLimit(spec.name, spec.limit, spec.period_in * SECOND, spec.burst or spec.limit, spec.automatic)
        for spec in specs
    )


def to_quotas(specs: Iterable[QuotaSpec]) -> tuple[Quota, ...]:
    """Return quotas as records."""
    return tuple(Quota(spec.name, spec.limit, spec.per, spec.automatic) for spec in specs)


def to_policy(spec: CreditsSpec) -> CreditPolicy:
    """Return how credits refill."""
    return CreditPolicy() if spec.refill is None else CreditPolicy(spec.refill.amount, spec.refill.per)


def check_names(problems: Problems, limits: Sequence[RateLimit], quotas: Sequence[Quota]) -> None:
    """Note names that are given twice: a request names a limit or quota by its name alone."""
    seen: set[str] = set()
    for path, name in [
        *((f"limits[{index}].name", limit.name) for index, limit in enumerate(limits)),
        *((f"quotas[{index}].name", quota.name) for index, quota in enumerate(quotas)),
    ]:
        if name in seen:
            problems.add(path, f"{name!r} is the name of another limit or quota here; give each its own")
        seen.add(name)


def limit_specs(limits: Iterable[RateLimit]) -> list[RateLimitSpec]:
    """Return rate limits as they travel."""
    return [
        RateLimitSpec(limit.name, limit.limit, limit.period_in // SECOND, limit.burst, limit.automatic)
        for limit in limits
    ]


def quota_specs(quotas: Iterable[Quota]) -> list[QuotaSpec]:
    """Return quotas as they travel."""
    return [QuotaSpec(quota.name, quota.limit, quota.per, quota.automatic) for quota in quotas]


def credits_view(policy: CreditPolicy | None, balance: CreditBalance | None) -> CreditsView | None:
    """Return how credits stand, ``None`` without credits."""
    if policy is None:
        return None
    refill = (
        None
        if policy.refill_to is None or policy.refill_per is None
        else RefillSpec(policy.refill_to, policy.refill_per)
    )
    if balance is None:
        return CreditsView(0, 0, 0, refill)
    return CreditsView(balance.balance, balance.granted, balance.spent, refill, to_moment(balance.refills_at))
