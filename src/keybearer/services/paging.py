"""One page of a list, and how it is cut: one record more than asked for tells whether there is another page."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Generic, TypeVar

from ..core.errors import InvalidInput
from ..core.records import Environment, KeyKind, R, State
from ..ports import Query, Store

T = TypeVar("T")
MAX_PAGE = 200
_CHOICES: Final[dict[str, type[StrEnum]]] = {"state": State, "kind": KeyKind, "environment": Environment}
"""Filters that have few values: a misspelt one must not look like an empty list."""


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some items; ``after`` is where the next page begins, ``None`` on the last."""

    items: list[T]
    after: str | None = None


@dataclass(frozen=True, slots=True)
class PageQuery:
    """Which part of a list is wanted: only records whose fields equal ``where``, from behind ``after`` on."""

    where: Mapping[str, str]
    after: str | None = None
    limit: int = 50

    def narrowed(self, **fixed: str | None) -> PageQuery:
        """Return the query with fields that the caller cannot choose; ``None`` fixes nothing."""
        return PageQuery({**self.where, **{k: v for k, v in fixed.items() if v is not None}}, self.after, self.limit)


async def read_page(store: Store, kind: type[R], query: PageQuery) -> Page[R]:
    """Return one page of records in order of id."""
    if not 1 <= query.limit <= MAX_PAGE:
        raise InvalidInput.of("limit", f"must lie between 1 and {MAX_PAGE}")
    for name, choices in _CHOICES.items():
        if query.where.get(name) is not None and query.where[name] not in list(choices):
            raise InvalidInput.of(name, f"must be one of {', '.join(choices)}")
    found = await store.page(kind, Query(query.where, query.after, query.limit + 1))
    return cut(found, query.limit, lambda record: record.id)


def cut(found: Sequence[T], limit: int, position: Callable[[T], str]) -> Page[T]:
    """Return the first ``limit`` items, and where to go on if there are more."""
    items = list(found[:limit])
    return Page(items, position(items[-1]) if len(found) > limit else None)
