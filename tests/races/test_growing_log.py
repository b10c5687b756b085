"""A log that grows while it is read: who asks waits for what was there, not for what is still to come."""

import itertools

import pytest

from keybearer.stores.cached import CachedRecords
from keybearer.stores.memory import MemoryStore
from tests.contract.making import AUDIT_KEY, insert, project


class Restless:
    """A doorbell that has always been rung for an event later than any that was read."""

    def __init__(self) -> None:
        self._heads = itertools.count(1_000)

    def head(self) -> int:
        return next(self._heads)

    def ring(self, head: int) -> None:
        """Go on as before."""


@pytest.mark.anyio
async def test_a_view_is_brought_up_to_date_however_fast_the_log_grows() -> None:
    store = MemoryStore(AUDIT_KEY)
    await store.open()
    records = CachedRecords(store, store, doorbell=Restless())
    for number in range(3):
        await insert(store, project(number))
        if number == 0:
            await records._catch_up()  # the first catalogue is read the slow way
        await records.refresh()
        assert records.applied == number + 1
    await store.close()
