"""Credits and quotas in memory, by the rules of ``ledger.py`` written a second time, so that each checks the other."""

from __future__ import annotations

from ..core.errors import Code, InvalidInput, NotFound
from ..core.instant import DAY, Instant
from ..core.quota import CalendarUnit, calendar_window
from ..core.records import CreditPolicy
from ..ports import Charge, Charged, CreditBalance, CreditTake, QuotaTake
from .ledger import Receipt, Refused, TakenCredits, TakenQuota, check_charge, outcome, refill_schedule
from .memory_tables import Account, Counter, KeptCharge, MemoryTables
from .storable import AMOUNT_MAX, require_amount, require_storable


def charge(tables: MemoryTables, wanted: Charge) -> Charged:
    """Take all of a charge, or raise ``Refused`` (the caller rolls back)."""
    check_charge(wanted)
    require_storable((wanted.key_id, wanted.request_id, *(take.owner for take in wanted.credits)))
    identifier = None if wanted.request_id is None else (wanted.key_id, wanted.request_id)
    if identifier is not None and identifier in tables.charges:
        return outcome(tables.charges[identifier].receipt, wanted.now, replayed=True)
    receipt = Receipt(
        tuple(_take_credits(tables, take, wanted.now) for take in wanted.credits),
        tuple(_take_quota(tables, take, wanted.now) for take in wanted.quotas),
    )
    charged = outcome(receipt, wanted.now)
    if charged.code is not Code.VALID:
        raise Refused(charged)
    if identifier is not None:
        tables.charges[identifier] = KeptCharge(wanted.now, receipt)
    return charged


def _take_credits(tables: MemoryTables, take: CreditTake, now: Instant) -> TakenCredits:
    account = tables.accounts.get(take.owner)
    per, refills_at = refill_schedule(take.policy, now)
    to = take.policy.refill_to
    if account is None and to is not None:
        account = Account(to, to, 0, per, refills_at)
    elif account is not None and to is not None and per:
        if account.refill_per != per:
            account = account._replace(refill_per=per, refills_at=refills_at)
        elif account.refills_at is not None and now >= account.refills_at:
            missing = max(0, to - account.balance)
            account = account._replace(
                balance=account.balance + missing, granted=account.granted + missing, refills_at=refills_at
            )
    if account is None:
        return TakenCredits(take.owner, take.cost, 0, False)
    if account.balance < take.cost:
        return TakenCredits(take.owner, take.cost, account.balance, False)
    account = account._replace(balance=account.balance - take.cost, spent=account.spent + take.cost)
    tables.accounts[take.owner] = account
    return TakenCredits(take.owner, take.cost, account.balance, True)


def _take_quota(tables: MemoryTables, take: QuotaTake, now: Instant) -> TakenQuota:
    quota, window = take.quota, calendar_window(take.quota.per, now)
    key = (take.owner, quota.name, quota.per.value, int(window.starts_at))
    used = tables.counters[key].used if key in tables.counters else 0
    admitted = used + take.cost <= quota.limit
    if admitted:
        used += take.cost
        tables.counters[key] = Counter(used, window.ends_at)
    return TakenQuota(
        *(take.owner, quota.name, quota.per.value, window.starts_at, window.ends_at),
        *(quota.limit, take.cost, max(0, quota.limit - used), admitted),
    )


def refund(tables: MemoryTables, key_id: str, request_id: str, now: Instant) -> bool:
    """Give a charge back once."""
    kept = tables.charges.get((key_id, request_id))
    if kept is None or kept.refunded or kept.at <= now - DAY:
        return False
    tables.charges[key_id, request_id] = kept._replace(refunded=True)
    for credit in kept.receipt.credits:
        account = tables.accounts.get(credit.owner)
        if account is not None:
            tables.accounts[credit.owner] = account._replace(
                balance=account.balance + credit.cost, spent=account.spent - credit.cost
            )
    for quota in kept.receipt.quotas:
        key = (quota.owner, quota.name, quota.per, quota.starts_at)
        same_window = calendar_window(CalendarUnit(quota.per), now).starts_at == quota.starts_at
        if same_window and key in tables.counters:
            counter = tables.counters[key]
            tables.counters[key] = counter._replace(used=counter.used - quota.cost)
    return True


def set_credits(tables: MemoryTables, owner: str, amount: int, policy: CreditPolicy, now: Instant) -> CreditBalance:
    """Make ``amount`` the balance of an account, opening it when it is missing."""
    require_amount(amount, "amount")
    require_storable((owner,))
    account = tables.accounts.get(owner) or Account(0, 0, 0, "", None)
    per, refills_at = refill_schedule(policy, now)
    account = Account(amount, account.granted + amount - account.balance, account.spent, per, refills_at)
    tables.accounts[owner] = account
    return account.as_balance(owner)


def add_credits(tables: MemoryTables, owner: str, amount: int) -> CreditBalance:
    """Grant ``amount`` more to an account."""
    require_amount(amount, "amount")
    account = tables.accounts.get(owner)
    if account is None:
        raise NotFound("credits account", owner)
    if account.balance + amount > AMOUNT_MAX:
        raise InvalidInput.of("amount", f"would make the balance exceed {AMOUNT_MAX}")
    account = account._replace(balance=account.balance + amount, granted=account.granted + amount)
    tables.accounts[owner] = account
    return account.as_balance(owner)
