"""What one endpoint of the management API is: routes, strict decoding and the OpenAPI document all come from this."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ..core.errors import InvalidInput
from ..services.authority import Authority, Caller
from ..services.paging import PageQuery


@dataclass(frozen=True, slots=True)
class Parameter:
    """One query parameter."""

    name: str
    description: str
    kind: str = "string"


LIMIT = Parameter("limit", "How many items a page has, 1 to 200; 50 without it.", "integer")
CURSOR = Parameter("cursor", "Where the page begins: the `next_cursor` of the page before.")


@dataclass(frozen=True, slots=True)
class Call:
    """One authenticated, decoded call of an operation."""

    authority: Authority
    caller: Caller
    path: Mapping[str, str]
    query: Mapping[str, str]
    body: Any
    after: str | None

    def number(self, name: str, default: int) -> int:
        """Return a query parameter that is a whole number."""
        text = self.query.get(name)
        if text is None:
            return default
        if not (text.isascii() and text.isdecimal()) or len(text) > 12:
            raise InvalidInput.of(name, "this is not a whole number")
        return int(text)

    def page(self, *filters: str) -> PageQuery:
        """Return the page that is asked for, with the filters that were given."""
        where = {name: self.query[name] for name in filters if name in self.query}
        return PageQuery(where, self.after, self.number("limit", 50))


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One endpoint. ``permission`` is documentation and is checked in the use case; ``filters`` make it a list.

    ``max_body`` is the largest body where that is more than the settings allow all others.
    """

    method: str
    path: str
    operation_id: str
    summary: str
    tag: str
    handler: Callable[[Call], Awaitable[Any]]
    response: Any
    body: Any = None
    optional_body: bool = False
    permission: str = ""
    parameters: tuple[Parameter, ...] = ()
    status: int = 200
    max_body: int = 0

    @property
    def changes(self) -> bool:
        """Tell whether the operation changes something, and so may carry an ``Idempotency-Key``."""
        return self.method != "GET"
