"""What one door of the application asks of who comes: permissions, kinds, how surely and lately somebody signed in."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from ..core import permissions as expressions
from ..core.instant import SECOND
from ..core.permissions import Demand
from ..core.records import CredentialKind


class Rule:
    """One rule, equal only to itself: what passed it once is remembered by it. Made by :func:`rule`."""

    __slots__ = ("accept", "acr_values", "cost", "credits", "demand", "expression", "limits", "max_age", "needs_clock")

    def __init__(
        self,
        permissions: str | Iterable[str] | None = None,
        *,
        accept: Iterable[CredentialKind | str] | None = None,
        acr_values: Iterable[str] = (),
        max_age: int | None = None,
        cost: int = 1,
        limits: Iterable[tuple[str, int]] = (),
        credits: int | None = None,  # noqa: A002 — the name on the wire
    ) -> None:
        text = permissions if permissions is None or isinstance(permissions, str) else " and ".join(permissions)
        self.expression: str | None = text or None
        self.demand: Demand | None = expressions.parse(text) if text else None
        self.accept = None if accept is None else frozenset(CredentialKind(kind) for kind in accept)
        self.acr_values = tuple(acr_values)
        self.max_age = None if max_age is None else max_age * SECOND
        self.cost = cost
        self.limits = tuple(limits)
        self.credits = credits
        self.needs_clock = self.max_age is not None

    @property
    def asks_more(self) -> bool:
        """Whether it asks for anything but permissions."""
        others = (self.accept is not None, self.acr_values, self.limits, self.credits is not None)
        return any(others) or self.max_age is not None or self.cost != 1

    def __repr__(self) -> str:
        return f"Rule({self.expression!r})"


@lru_cache(maxsize=1024)
def rule(permissions: str | tuple[str, ...] | None) -> Rule:
    """Return the rule that asks for permissions alone, the same each time.

    ``permissions`` is one name, an expression with ``and``, ``or`` and parentheses, or names that are all needed;
    ``None`` asks for any good credential. Raises ``InvalidInput`` for what cannot be read.
    """
    return Rule(permissions)


ANYBODY = rule(None)
"""Any good credential for this API."""
