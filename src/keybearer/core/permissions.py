"""Permissions: their names, wildcards, and the expressions that a guard may demand.

A permission is ``resource:action`` (``orders:read``); a holder may have ``orders:*`` or ``*``. A demand is a list, all
of which must be held, or an expression with ``and``, ``or`` and parentheses.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from .errors import InvalidInput

MAX_EXPRESSION: Final = 1024
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(?::[A-Za-z0-9][A-Za-z0-9._/-]*)*", re.ASCII)
_HELD: Final = re.compile(r"\*|[A-Za-z0-9][A-Za-z0-9._-]*(?::(?:\*|[A-Za-z0-9][A-Za-z0-9._/-]*))*", re.ASCII)
_TOKEN: Final = re.compile(r"\s*(\(|\)|[^\s()]+)")
MAX_NAME: Final = 128


def is_name(text: str) -> bool:
    """Tell whether this is a permission that can be demanded (no wildcard)."""
    return len(text) <= MAX_NAME and _NAME.fullmatch(text) is not None


def is_holdable(text: str) -> bool:
    """Tell whether this is a permission that can be held; a ``*`` may stand alone or as a whole segment at the end."""
    return len(text) <= MAX_NAME and _HELD.fullmatch(text) is not None and "*" not in text[:-1]


def holds(held: frozenset[str], name: str) -> bool:
    """Tell whether a holder of ``held`` has the permission ``name``, directly or through a wildcard."""
    if name in held or "*" in held:
        return True
    end = name.rfind(":")
    while end != -1:
        if name[: end + 1] + "*" in held:
            return True
        end = name.rfind(":", 0, end)
    return False


def covers(held: frozenset[str], wanted: str) -> bool:
    """Tell whether a holder of ``held`` could hand on ``wanted``, which may itself be a wildcard."""
    if wanted in held or "*" in held:
        return True
    if wanted == "*":
        return False
    return holds(held, wanted.removesuffix(":*") + ":x") if wanted.endswith(":*") else holds(held, wanted)


@dataclass(frozen=True, slots=True)
class Demand:
    """What a guard demands: ``missing(held)`` returns the names that would have satisfied it, empty when it is met."""

    names: tuple[str, ...]
    _missing: Callable[[frozenset[str]], tuple[str, ...]]

    def missing(self, held: frozenset[str]) -> tuple[str, ...]:
        """Return the permissions that are lacking; an empty tuple means that the demand is met."""
        return self._missing(held)


def all_of(names: Iterable[str]) -> Demand:
    """Return the demand that every one of these permissions is held."""
    wanted = tuple(dict.fromkeys(names))
    for index, name in enumerate(wanted):
        if not is_name(name):
            raise InvalidInput.of(f"permissions[{index}]", f"{name[:40]!r} is not a permission name like 'orders:read'")

    def missing(held: frozenset[str]) -> tuple[str, ...]:
        return tuple(name for name in wanted if not holds(held, name))

    return Demand(wanted, missing)


_Node = Callable[[frozenset[str]], tuple[str, ...]]


class _Parser:
    """Recursive descent over ``or`` < ``and`` < parentheses; depth is bounded by the length of the expression."""

    MAX_DEPTH = 32

    def __init__(self, text: str) -> None:
        self.tokens = _TOKEN.findall(text)
        self.position = 0
        self.names: list[str] = []

    def fail(self, message: str) -> InvalidInput:
        return InvalidInput.of("permissions", message)

    def peek(self) -> str | None:
        return self.tokens[self.position] if self.position < len(self.tokens) else None

    def take(self) -> str:
        token = self.peek()
        if token is None:
            raise self.fail("the expression ends where a permission was expected")
        self.position += 1
        return token

    def parse(self) -> Demand:
        node = self.any_of(0)
        if self.peek() is not None:
            raise self.fail(f"{self.peek()!r} was not expected; join permissions with 'and' or 'or'")
        return Demand(tuple(dict.fromkeys(self.names)), node)

    def any_of(self, depth: int) -> _Node:
        nodes = [self.every_of(depth)]
        while self.peek() in ("or", "OR"):
            self.take()
            nodes.append(self.every_of(depth))
        if len(nodes) == 1:
            return nodes[0]

        def missing(held: frozenset[str]) -> tuple[str, ...]:
            lacking = [node(held) for node in nodes]
            return () if not all(lacking) else min(lacking, key=len)

        return missing

    def every_of(self, depth: int) -> _Node:
        nodes = [self.single(depth)]
        while self.peek() in ("and", "AND"):
            self.take()
            nodes.append(self.single(depth))
        if len(nodes) == 1:
            return nodes[0]
        return lambda held: tuple(dict.fromkeys(name for node in nodes for name in node(held)))

    def single(self, depth: int) -> _Node:
        token = self.take()
        if token == "(":
            if depth >= self.MAX_DEPTH:
                raise self.fail(f"parentheses may be nested {self.MAX_DEPTH} deep at most")
            node = self.any_of(depth + 1)
            if self.peek() != ")":
                raise self.fail("a ')' is missing")
            self.take()
            return node
        if token == ")" or token.lower() in ("and", "or") or not is_name(token):
            raise self.fail(f"{token[:40]!r} stands where a permission like 'orders:read' was expected")
        self.names.append(token)
        return lambda held: () if holds(held, token) else (token,)


@lru_cache(maxsize=1024)
def parse(expression: str) -> Demand:
    """Return the demand that an expression such as ``a:read and (b:write or admin:all)`` states.

    Raises ``InvalidInput`` naming what was not expected. Parsed expressions are remembered, 1,024 at most.
    """
    if len(expression) > MAX_EXPRESSION:
        raise InvalidInput.of("permissions", f"an expression may have {MAX_EXPRESSION} characters at most")
    return _Parser(expression).parse()
