"""Records and works to try stores with, and the engines themselves."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from keybearer.core.audit_chain import AuditDraft
from keybearer.core.instant import DAY, Instant
from keybearer.core.records import (
    Api,
    ApiKey,
    CredentialKind,
    CreditPolicy,
    Environment,
    Identity,
    Plan,
    Project,
    Quota,
    Record,
    SecretVersion,
)
from keybearer.ports import Charge, CreditTake, QuotaTake, Store, UnitOfWork

AUDIT_KEY = b"a" * 32
NOW = Instant(1_700_000_000_000_000)  # 2023-11-14T22:13:20Z, a Tuesday


class HandClock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.at = NOW

    def now(self) -> Instant:
        return self.at

    def monotonic_ns(self) -> int:
        return self.at * 1000


@dataclass
class Engine:
    """One kind of store on one database; `open` gives another node on it."""

    name: str
    make: Callable[[], Any]
    clock: HandClock
    opened: list[Any]
    address: str = ""

    async def open(self) -> Any:
        store = self.make()
        await store.open()
        self.opened.append(store)
        return store


def project(number: int = 1, **changes: Any) -> Project:
    return Project(**{"id": f"proj_{number:04}", "created_at": NOW, "updated_at": NOW, "name": "Shop", **changes})


def plan(number: int = 1, **changes: Any) -> Plan:
    return Plan(**{"id": f"plan_{number:04}", "created_at": NOW, "updated_at": NOW, "name": "Gold", **changes})


def api(number: int = 1, **changes: Any) -> Api:
    given = {"id": f"api_{number:04}", "identifier": f"https://api.example/{number}", "name": "API"}
    return Api(**{**given, "created_at": NOW, "updated_at": NOW, **changes})


def identity(number: int = 1, **changes: Any) -> Identity:
    given = {"id": f"idn_{number:04}", "project_id": "proj_0001", "external_id": f"user-{number}"}
    return Identity(**{**given, "created_at": NOW, "updated_at": NOW, **changes})


def key(number: int = 1, **changes: Any) -> ApiKey:
    given: dict[str, Any] = {
        "id": f"key_{number:04}",
        "created_at": NOW,
        "updated_at": NOW,
        "project_id": "proj_0001",
        "kind": CredentialKind.SECRET_KEY,
        "environment": Environment.LIVE,
        "prefix": "kb_sk_live",
        "name": "server",
        "versions": (SecretVersion(1, b"d" * 32, NOW, pepper_id="p1"),),
    }
    return ApiKey(**{**given, **changes})


async def insert(store: Store, *records: Record) -> None:
    """Insert records in one work, with one event each."""

    async def work(unit: UnitOfWork) -> None:
        for record in records:
            await unit.insert(record)
            unit.emit("record.created", record.id)

    await store.transact(work)


async def grant(store: Store, owner: str, amount: int, policy: CreditPolicy | None = None, now: Instant = NOW) -> None:
    """Set an account."""
    await store.transact(lambda unit: unit.set_credits(owner, amount, policy or CreditPolicy(), now))


def spend(
    request_id: str | None = None,
    *,
    owner: str = "key:key_0001",
    cost: int = 1,
    policy: CreditPolicy | None = None,
    quotas: tuple[Quota, ...] = (),
    quota_cost: int = 1,
    now: Instant = NOW,
    with_credits: bool = True,
) -> Charge:
    """A charge of one account and some quotas."""
    return Charge(
        key_id="key_0001",
        request_id=request_id,
        credits=(CreditTake(owner, policy or CreditPolicy(), cost),) if with_credits else (),
        quotas=tuple(QuotaTake(owner, quota, quota_cost) for quota in quotas),
        now=now,
    )


def draft(number: int = 1, **changes: Any) -> AuditDraft:
    given = {"actor": "user:1", "action": "key.revoke", "target": f"key_{number:04}", "project_id": "proj_0001"}
    return AuditDraft(**{"at": NOW, **given, **changes})


async def do(store: Store, work: Callable[[UnitOfWork], Awaitable[Any]]) -> Any:
    """Run a work."""
    return await store.transact(work)


def days(number: float) -> Instant:
    """The instant so many days after NOW."""
    return Instant(NOW + int(number * DAY))
