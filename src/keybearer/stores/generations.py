"""A bounded cache in two generations, which knows what each entry depends on.

A hit in the old generation moves the entry to the young one; when the young one is full it becomes the old one and
what nobody asked for since is dropped. That is close to least-recently-used, at the price of a dictionary lookup.
"""

from __future__ import annotations

from typing import Generic, Protocol, TypeVar


class Cacheable(Protocol):
    """What says how old it is and what it depends on (see ``core.records.CredentialRecord``)."""

    @property
    def seq(self) -> int:
        """The head of the event log at the moment of reading, or earlier."""
        ...

    @property
    def depends_on(self) -> frozenset[str]:
        """The ids whose events make it stale."""
        ...


C = TypeVar("C", bound=Cacheable)


class Generation(Generic[C]):
    """Entries by cache key, and for every id they depend on, which cache keys that are."""

    __slots__ = ("dependents", "entries")

    def __init__(self) -> None:
        self.entries: dict[str, C] = {}
        self.dependents: dict[str, set[str]] = {}

    def put(self, cache_key: str, record: C) -> None:
        """Keep a record under a cache key."""
        self.entries[cache_key] = record
        for record_id in record.depends_on:
            if record_id != cache_key:
                self.dependents.setdefault(record_id, set()).add(cache_key)

    def drop(self, record_id: str, before: int) -> None:
        """Forget every entry that depends on this id and was read before event ``before``."""
        for cache_key in (record_id, *self.dependents.get(record_id, ())):
            entry = self.entries.get(cache_key)
            if entry is not None and entry.seq < before:
                del self.entries[cache_key]


class RecordCache(Generic[C]):
    """At most ``capacity`` records (give or take the last generation)."""

    def __init__(self, capacity: int) -> None:
        self._half = max(1, capacity // 2)
        self._enabled = capacity > 0
        self._young: Generation[C] = Generation()
        self._old: Generation[C] = Generation()

    def __len__(self) -> int:
        return len(self._young.entries) + len(self._old.entries)

    def get(self, cache_key: str) -> C | None:
        """Return the record kept under this cache key."""
        record = self._young.entries.get(cache_key)
        if record is not None:
            return record
        record = self._old.entries.get(cache_key)
        if record is not None:
            self.put(cache_key, record)
        return record

    def put(self, cache_key: str, record: C) -> None:
        """Keep a record, making room if necessary."""
        if not self._enabled:
            return
        if len(self._young.entries) >= self._half:
            self._old, self._young = self._young, Generation()
        self._young.put(cache_key, record)

    def drop(self, record_id: str, before: int) -> None:
        """Forget whatever depends on this id and was read before event ``before``."""
        self._young.drop(record_id, before)
        self._old.drop(record_id, before)

    def clear(self) -> None:
        """Forget everything."""
        self._young, self._old = Generation(), Generation()
