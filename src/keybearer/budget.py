"""What one request takes: the rate limits, quotas and credits that apply to a key for this requirement."""

from __future__ import annotations

from typing import NamedTuple

from .core.errors import InvalidInput
from .core.instant import Instant
from .core.records import BoundLimit, BoundQuota, CredentialRecord, CreditPolicy, Take, bind_limits
from .core.requirement import Requirement
from .ports import Charge, CreditTake, QuotaTake, Records


class Budget(NamedTuple):
    """What to take: rate limits at once from the limiter, quotas and credits durably from the store."""

    takes: tuple[Take, ...]
    quotas: tuple[tuple[BoundQuota, int], ...]
    credit_owners: tuple[tuple[str, CreditPolicy], ...]
    is_durable: bool

    def charge(self, key_id: str, requirement: Requirement, now: Instant) -> Charge:
        """Return the durable part as one charge, all or nothing."""
        return Charge(
            key_id=key_id,
            request_id=requirement.request_id,
            credits=tuple(CreditTake(owner, policy, requirement.credit_cost) for owner, policy in self.credit_owners),
            quotas=tuple(QuotaTake(bound.owner, bound.quota, cost) for bound, cost in self.quotas),
            now=now,
        )


def budget_of(record: CredentialRecord, requirement: Requirement, records: Records) -> Budget:
    """Return what this request takes from this key.

    Automatic limits take ``requirement.cost``, limits that the request names take their own cost. A name that the key,
    its identity and its plan do not know raises ``InvalidInput``: a misspelt limit must not switch itself off.
    """
    if (
        record.is_standard
        and not requirement.limits
        and requirement.cost == 1
        and requirement.request_id is None
        and (record.plan is not None or requirement.api is None or requirement.api.default_plan_id is None)
    ):
        return Budget(record.standard_takes, (), (), False)
    limits, quotas = record.limits, record.quotas
    if record.plan is None and requirement.api is not None and requirement.api.default_plan_id is not None:
        limits, quotas = _with_default_plan(record, requirement, records)
    if requirement.limits:
        costs = _named_costs(requirement, limits, quotas)
        takes = tuple(
            Take(bound, costs.get(bound.name, requirement.cost))
            for bound in limits
            if bound.automatic or bound.name in costs
        )
        quota_takes = tuple(
            (bound, costs.get(bound.quota.name, requirement.cost))
            for bound in quotas
            if bound.quota.automatic or bound.quota.name in costs
        )
    else:
        cost = requirement.cost
        takes = tuple([Take(bound, cost) for bound in limits if bound.automatic])
        quota_takes = tuple([(bound, cost) for bound in quotas if bound.quota.automatic]) if quotas else ()
    durable = bool(quota_takes or record.credit_owners or requirement.request_id is not None)
    return Budget(takes, quota_takes, record.credit_owners, durable)


def _named_costs(
    requirement: Requirement, limits: tuple[BoundLimit, ...], quotas: tuple[BoundQuota, ...]
) -> dict[str, int]:
    known = {bound.name for bound in limits} | {bound.quota.name for bound in quotas}
    costs: dict[str, int] = {}
    for index, named in enumerate(requirement.limits):
        if named.name not in known:
            raise InvalidInput.of(
                f"limits[{index}].name",
                f"this key has no limit or quota {named.name!r}; define it on the key, its identity or its plan",
            )
        if named.name in costs:
            raise InvalidInput.of(f"limits[{index}].name", f"{named.name!r} is named twice; add up its costs")
        costs[named.name] = named.cost
    return costs


def _with_default_plan(
    record: CredentialRecord, requirement: Requirement, records: Records
) -> tuple[tuple[BoundLimit, ...], tuple[BoundQuota, ...]]:
    api = requirement.api
    plan = records.default_plan(api) if api is not None else None
    if api is None or plan is None:
        return record.limits, record.quotas
    owner = f"project:{record.project.id}/{api.id}"
    return (
        record.limits + bind_limits(owner, plan.limits),
        record.quotas + tuple(BoundQuota(owner, quota) for quota in plan.quotas),
    )
