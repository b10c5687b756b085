"""What the tests of several processes run in each: `child.py ENGINE ADDRESS COMMAND …`."""

import asyncio
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from keybearer.core.errors import Code
from keybearer.core.quota import CalendarUnit
from keybearer.core.records import CreditPolicy
from keybearer.ports import UnitOfWork
from tests.contract.making import AUDIT_KEY, days, draft, spend


def make(engine: str, address: str) -> Any:
    """The store on an address."""
    if engine == "sqlite":
        from keybearer.stores.sqlite import SqliteStore

        return SqliteStore(address, AUDIT_KEY)
    from keybearer.stores.postgresql import PostgresqlStore

    return PostgresqlStore(address, AUDIT_KEY, pool_size=4)


async def spend_all(store: Any, count: int, number: str, refill: str) -> None:
    """Take one credit so often; say how often it went well."""
    policy, now = CreditPolicy(), days(0)
    if refill == "refilled":
        policy, now = CreditPolicy(600, CalendarUnit.DAY), days(1)
    spent = 0

    async def take(index: int) -> None:
        nonlocal spent
        charged = await store.charge(spend(f"{number}-{index}", policy=policy, now=now))
        spent += charged.code is Code.VALID

    for start in range(0, count, 10):
        await asyncio.gather(*(take(start + offset) for offset in range(10)))
    print(spent)


async def append(store: Any, count: int, number: str) -> None:
    """Append an event and an audit entry so often."""

    async def work(unit: UnitOfWork) -> None:
        unit.emit("key.updated", number)
        unit.audit(draft())

    for _ in range(0, count, 5):
        await asyncio.gather(*(store.transact(work) for _ in range(5)))


async def main(engine: str, address: str, command: str, *arguments: str) -> None:
    store = make(engine, address)
    print("started", flush=True)
    sys.stdin.readline()
    await store.open()
    if command == "open":
        print("opened")
    elif command == "spend":
        await spend_all(store, int(arguments[0]), *arguments[1:])
    elif command == "append":
        await append(store, int(arguments[0]), *arguments[1:])
    await store.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
