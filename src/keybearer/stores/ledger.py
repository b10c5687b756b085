"""Credits and quotas: what is taken durably, all or nothing, and never more than there is.

Every take is one conditional statement, so that no number of writers, kills or partitions can overspend. A take that is
refused undoes the others by rolling the transaction back (:class:`Refused`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from ..core.errors import Code, InvalidInput, NotFound
from ..core.instant import DAY, Instant
from ..core.quota import CalendarUnit, LimitState, calendar_window
from ..core.records import CreditPolicy
from ..ports import Charge, Charged, CreditBalance, CreditTake, QuotaTake
from .session import Row, Session, marks, padded
from .storable import AMOUNT_MAX, require_amount

# A refill is due at the end of the window it was last scheduled for. A policy with another unit only schedules anew, so
# that neither editing a policy nor moving the clock back and forth gives more than one refill per window.
_REFILL: Final = """
UPDATE credits SET
    granted = granted + CASE WHEN refill_per = ? AND balance < ? THEN ? - balance ELSE 0 END,
    balance = CASE WHEN refill_per = ? AND balance < ? THEN ? ELSE balance END,
    refill_per = ?,
    refills_at = ?
WHERE owner = ? AND (refill_per <> ? OR refills_at <= ?)
"""
_TAKE_CREDITS: Final = (
    "UPDATE credits SET balance = balance - ?, spent = spent + ? WHERE owner = ? AND balance >= ? RETURNING balance"
)
_OPEN_ACCOUNT: Final = (
    "INSERT INTO credits (owner, balance, granted, spent, refill_per, refills_at) VALUES (?, ?, ?, 0, ?, ?) "
    "ON CONFLICT (owner) DO NOTHING"
)
_READ_ACCOUNT: Final = "SELECT owner, balance, granted, spent, refills_at FROM credits WHERE owner = ?"
_TAKE_QUOTA: Final = """
INSERT INTO quota_counters (owner, name, per, starts_at, ends_at, used) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (owner, name, per, starts_at) DO UPDATE SET used = quota_counters.used + excluded.used
WHERE quota_counters.used + excluded.used <= ?
RETURNING used
"""
_READ_QUOTA: Final = "SELECT used FROM quota_counters WHERE owner = ? AND name = ? AND per = ? AND starts_at = ?"


class Refused(Exception):
    """A charge that takes nothing; ``charged`` says why."""

    def __init__(self, charged: Charged) -> None:
        super().__init__(charged.code)
        self.charged = charged


class TakenCredits(msgspec.Struct, frozen=True, array_like=True):
    """What one credit take did."""

    owner: str
    cost: int
    remaining: int
    admitted: bool


class TakenQuota(msgspec.Struct, frozen=True, array_like=True):
    """What one quota take did. ``remaining`` is what is left after it."""

    owner: str
    name: str
    per: str
    starts_at: int
    ends_at: int
    limit: int
    cost: int
    remaining: int
    admitted: bool


class Receipt(msgspec.Struct, frozen=True, array_like=True):
    """All that one charge took, kept with its request id for repetitions and for a refund."""

    credits: tuple[TakenCredits, ...]
    quotas: tuple[TakenQuota, ...]


_receipt_decoder: Final = msgspec.json.Decoder(Receipt)


def check_charge(charge: Charge) -> None:
    """Raise ``InvalidInput`` for a cost that would give instead of take."""
    for cost in (*(take.cost for take in charge.credits), *(take.cost for take in charge.quotas)):
        require_amount(cost, "cost")


def outcome(receipt: Receipt, now: Instant, *, replayed: bool = False) -> Charged:
    """Return what a receipt means to the caller. A quota that is exceeded is told before credits that ran out."""
    code = Code.VALID
    if not all(take.admitted for take in receipt.credits):
        code = Code.CREDITS_EXHAUSTED
    if not all(take.admitted for take in receipt.quotas):
        code = Code.RATE_LIMITED
    # Nothing is taken by a refusal, so what the others would have taken is still there.
    back = code is not Code.VALID
    return Charged(
        code=code,
        credits_remaining=min(
            (take.remaining + take.cost * (back and take.admitted) for take in receipt.credits), default=None
        ),
        quotas=tuple(
            LimitState(
                name=take.name,
                limit=take.limit,
                remaining=take.remaining + take.cost * (back and take.admitted),
                reset_in=max(0, take.ends_at - now),
                exceeded=not take.admitted,
                retry_in=0 if take.admitted else -1 if take.cost > take.limit else max(0, take.ends_at - now),
            )
            for take in receipt.quotas
        ),
        replayed=replayed,
    )


async def charge(session: Session, wanted: Charge) -> Charged:
    """Take all of a charge, or raise ``Refused``; a repetition takes nothing and is told what the first one was."""
    check_charge(wanted)
    if wanted.request_id is not None:
        # The row comes first: a concurrent duplicate waits here for the outcome of this transaction.
        fresh = await session.execute(
            "INSERT INTO charges (key_id, request_id, at, taken) VALUES (?, ?, ?, '') "
            "ON CONFLICT (key_id, request_id) DO NOTHING",
            *(wanted.key_id, wanted.request_id, wanted.now),
        )
        if not fresh:
            row = await session.fetch_one(
                "SELECT taken FROM charges WHERE key_id = ? AND request_id = ?", wanted.key_id, wanted.request_id
            )
            if row is not None:
                return outcome(_receipt_decoder.decode(row[0]), wanted.now, replayed=True)
    # Rows are locked in one order by all charges, so that they cannot deadlock each other.
    credits_taken = {}
    for index, credit in sorted(enumerate(wanted.credits), key=lambda pair: pair[1].owner):
        credits_taken[index] = await _take_credits(session, credit, wanted.now)
    quotas_taken = {}
    for index, quota in sorted(enumerate(wanted.quotas), key=lambda pair: (pair[1].owner, pair[1].quota.name)):
        quotas_taken[index] = await _take_quota(session, quota, wanted.now)
    receipt = Receipt(
        tuple(credits_taken[index] for index in range(len(wanted.credits))),
        tuple(quotas_taken[index] for index in range(len(wanted.quotas))),
    )
    charged = outcome(receipt, wanted.now)
    if charged.code is not Code.VALID:
        raise Refused(charged)
    if wanted.request_id is not None:
        await session.execute(
            "UPDATE charges SET taken = ? WHERE key_id = ? AND request_id = ?",
            *(msgspec.json.encode(receipt).decode(), wanted.key_id, wanted.request_id),
        )
    return charged


async def _take_credits(session: Session, take: CreditTake, now: Instant) -> TakenCredits:
    await _refill(session, take.owner, take.policy, now)
    row = await session.fetch_one(_TAKE_CREDITS, take.cost, take.cost, take.owner, take.cost)
    if row is None and take.policy.refill_to is not None and await _open(session, take.owner, take.policy, now):
        row = await session.fetch_one(_TAKE_CREDITS, take.cost, take.cost, take.owner, take.cost)
    if row is not None:
        return TakenCredits(take.owner, take.cost, row[0], True)
    account = await session.fetch_one(_READ_ACCOUNT, take.owner)
    return TakenCredits(take.owner, take.cost, 0 if account is None else account[1], False)


async def _open(session: Session, owner: str, policy: CreditPolicy, now: Instant) -> bool:
    """Open a refilled account that nobody has set up yet; false when there is one."""
    amount = policy.refill_to or 0
    return bool(await session.execute(_OPEN_ACCOUNT, owner, amount, amount, *refill_schedule(policy, now)))


def refill_schedule(policy: CreditPolicy, now: Instant) -> tuple[str, Instant | None]:
    """Return how often a policy refills (empty if never), and when next."""
    if policy.refill_to is None or policy.refill_per is None:
        return "", None
    return policy.refill_per.value, calendar_window(policy.refill_per, now).ends_at


async def _refill(session: Session, owner: str, policy: CreditPolicy, now: Instant) -> None:
    per, refills_at = refill_schedule(policy, now)
    if per:
        to = policy.refill_to
        await session.execute(_REFILL, per, to, to, per, to, to, per, refills_at, owner, per, now)


async def _take_quota(session: Session, take: QuotaTake, now: Instant) -> TakenQuota:
    quota, window = take.quota, calendar_window(take.quota.per, now)
    row: Row | None = None
    if take.cost <= quota.limit:
        row = await session.fetch_one(
            _TAKE_QUOTA,
            *(take.owner, quota.name, quota.per, window.starts_at, window.ends_at, take.cost, quota.limit),
        )
    admitted = row is not None
    if row is None:
        row = await session.fetch_one(_READ_QUOTA, take.owner, quota.name, quota.per, window.starts_at)
    return TakenQuota(
        owner=take.owner,
        name=quota.name,
        per=quota.per.value,
        starts_at=window.starts_at,
        ends_at=window.ends_at,
        limit=quota.limit,
        cost=take.cost,
        remaining=max(0, quota.limit - (0 if row is None else row[0])),
        admitted=admitted,
    )


async def refund(session: Session, key_id: str, request_id: str, now: Instant) -> bool:
    """Give a charge back once: its credits, and its quota as long as the window is the same."""
    row = await session.fetch_one(
        "UPDATE charges SET refunded_at = ? WHERE key_id = ? AND request_id = ? AND refunded_at IS NULL AND at > ? "
        "RETURNING taken",
        *(now, key_id, request_id, now - DAY),
    )
    if row is None:
        return False
    receipt = _receipt_decoder.decode(row[0])
    for credit in sorted(receipt.credits, key=lambda take: take.owner):
        await session.execute(
            "UPDATE credits SET balance = balance + ?, spent = spent - ? WHERE owner = ?",
            *(credit.cost, credit.cost, credit.owner),
        )
    for quota in sorted(receipt.quotas, key=lambda take: (take.owner, take.name)):
        if calendar_window(CalendarUnit(quota.per), now).starts_at == quota.starts_at:
            await session.execute(
                "UPDATE quota_counters SET used = used - ? WHERE owner = ? AND name = ? AND per = ? AND starts_at = ?",
                *(quota.cost, quota.owner, quota.name, quota.per, quota.starts_at),
            )
    return True


async def set_credits(session: Session, owner: str, amount: int, policy: CreditPolicy, now: Instant) -> CreditBalance:
    """Make ``amount`` the balance of an account, opening it when it is missing."""
    require_amount(amount, "amount")
    await session.execute(_OPEN_ACCOUNT, owner, amount, amount, *refill_schedule(policy, now))
    row = await session.fetch_one(
        "UPDATE credits SET granted = granted + ? - balance, balance = ?, refill_per = ?, refills_at = ? "
        "WHERE owner = ? RETURNING owner, balance, granted, spent, refills_at",
        *(amount, amount, *refill_schedule(policy, now), owner),
    )
    if row is None:
        raise NotFound("credits account", owner)
    return CreditBalance(*row)


async def add_credits(session: Session, owner: str, amount: int) -> CreditBalance:
    """Grant ``amount`` more to an account."""
    require_amount(amount, "amount")
    row = await session.fetch_one(_READ_ACCOUNT + session.for_update, owner)
    if row is None:
        raise NotFound("credits account", owner)
    if row[1] + amount > AMOUNT_MAX:
        raise InvalidInput.of("amount", f"would make the balance exceed {AMOUNT_MAX}")
    row = await session.fetch_one(
        "UPDATE credits SET granted = granted + ?, balance = balance + ? WHERE owner = ? "
        "RETURNING owner, balance, granted, spent, refills_at",
        *(amount, amount, owner),
    )
    if row is None:
        raise NotFound("credits account", owner)
    return CreditBalance(*row)


async def balances(session: Session, owners: Sequence[str]) -> tuple[CreditBalance, ...]:
    """Return the accounts of those owners that have one, in order of owner."""
    if not owners:
        return ()
    asked: tuple[Any, ...] = padded(owners)
    rows = await session.fetch(
        "SELECT owner, balance, granted, spent, refills_at FROM credits "  # noqa: S608
        f"WHERE owner IN ({marks(len(asked))}) ORDER BY owner",
        *asked,
    )
    return tuple(CreditBalance(*row) for row in rows)
