"""A process that writes until it is killed: `writer.py ENGINE ADDRESS FIRST WRITERS [COUNT]`.

Prints `record ID` and `charge ID` after each acknowledgement, and nothing before.
"""

import asyncio
import os
import sys
from itertools import count
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from keybearer.core.errors import Code, Unavailable
from keybearer.ports import UnitOfWork
from tests.contract.child import make
from tests.contract.making import draft, project, spend


async def insert(unit: UnitOfWork, number: int) -> None:
    await unit.insert(project(number))
    unit.emit("project.created", project(number).id)
    unit.audit(draft(number))


async def main(engine: str, address: str, first: str, writers: str, limit: str = "") -> None:
    store = make(engine, address)
    await store.open()
    numbers = count(int(first))
    last = int(first) + int(limit) if limit else None

    async def write() -> None:
        while True:
            number = next(numbers)
            if number == last:
                return
            record = project(number)

            try:
                await store.transact(lambda unit, number=number: insert(unit, number))
                os.write(1, f"record {record.id}\n".encode())
                charged = await store.charge(spend(record.id))
                if charged.code is Code.VALID:
                    os.write(1, f"charge {record.id}\n".encode())
            except Unavailable:
                await asyncio.sleep(0.02)

    await asyncio.gather(*(write() for _ in range(int(writers))))
    await store.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
