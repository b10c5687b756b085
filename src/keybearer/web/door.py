"""The door that an operator put before a site: which API, which permissions, and what else a credential must have.

Written as a query, ``api=https://site.example&permissions=pages:read``: in the URL of forward-auth, in a header or in
the route of Envoy.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final, NamedTuple
from urllib.parse import parse_qsl

from ..core import permissions
from ..core.errors import InvalidInput
from ..core.instant import SECOND
from ..core.permissions import Demand

PARAMETERS: Final = frozenset({"api", "permissions", "cost", "acr_values", "max_age"})


class Door(NamedTuple):
    """What the operator configured."""

    api: str | None
    demand: Demand | None
    cost: int
    acr_values: tuple[str, ...] = ()
    max_age: int | None = None


@lru_cache(maxsize=256)
def door_of(query: bytes) -> Door:
    """Return what a query demands; raises ``InvalidInput`` for parameters that are unknown, empty or come twice."""
    try:
        pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True, max_num_fields=20)
    except ValueError:
        raise InvalidInput.of("query", "forward-auth takes 20 parameters at most") from None
    given = dict(pairs)
    if len(given) != len(pairs):
        raise InvalidInput.of("query", "each parameter may stand here once")
    unknown = set(given) - PARAMETERS
    if unknown:
        raise InvalidInput.of(min(unknown), "forward-auth takes api, permissions, cost, acr_values and max_age")
    cost = _number_in(given, "cost")
    max_age = _number_in(given, "max_age")
    empty = next((name for name, value in given.items() if not value), None)
    if empty is not None:
        # A variable that the proxy's configuration left empty must not open the door.
        raise InvalidInput.of(empty, "this is empty; leave the parameter out if it shall not be looked at")
    demand = permissions.parse(given["permissions"]) if "permissions" in given else None
    return Door(
        given.get("api"),
        demand,
        1 if cost is None else cost,
        tuple(given.get("acr_values", "").split()),
        None if max_age is None else max_age * SECOND,
    )


def _number_in(given: dict[str, str], name: str) -> int | None:
    text = given.get(name)
    if text is None or text == "":
        return None
    if not (text.isascii() and text.isdecimal()) or len(text) > 9:
        raise InvalidInput.of(name, "this is not a whole number")
    return int(text)
