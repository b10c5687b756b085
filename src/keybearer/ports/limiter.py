"""Limiters: rate limits that are exact under concurrency, and the throttle of bad credentials."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple, Protocol

from ..core.quota import LimitState
from ..core.records import Take


class Taken(NamedTuple):
    """All limits of a request, taken together or (``admitted`` false) not at all."""

    admitted: bool
    states: tuple[LimitState, ...]
    retry_in: int = 0


class Limiter(Protocol):
    """Rate limits. All takes of a request are atomic; a refusal takes nothing."""

    async def take(self, takes: Sequence[Take]) -> Taken:
        """Take all or nothing; raises ``Unavailable`` when the limiter cannot answer."""
        ...

    async def give_back(self, takes: Sequence[Take]) -> None:
        """Undo an admitted ``take`` whose request was refused later, or was a repetition."""
        ...


class ImmediateLimiter(Limiter, Protocol):
    """A limiter that answers at once, fit for the event loop."""

    def take_now(self, takes: Sequence[Take]) -> Taken:
        """Like ``take``."""
        ...

    def give_back_now(self, takes: Sequence[Take]) -> None:
        """Like ``give_back``."""
        ...


class Throttle(Protocol):
    """Slows down sources that present bad credentials, before any lookup (DESIGN §3)."""

    def retry_in(self, source: IPv4Address | IPv6Address) -> int:
        """Return 0 when the source may try, else the microseconds until it may."""
        ...

    def failed(self, source: IPv4Address | IPv6Address) -> None:
        """Count one failed attempt."""
        ...
