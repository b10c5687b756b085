"""Slowing down sources of bad credentials: GCRA per source address, in bounded memory.

IPv6 sources count by their /64, since one client commands that many addresses. Only the source is slowed, never the key
that was tried, so nobody can lock an owner out. Spec: DESIGN §3.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from ..core.quota import gcra

MAX_SOURCES: Final = 100_000
MINUTE_NS: Final = 60_000_000_000


class FailureThrottle:
    """Implements ``ports.Throttle``: ``per_minute`` failures at once, then as many a minute; 0 switches it off."""

    def __init__(self, per_minute: int, monotonic_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self._burst = per_minute
        self._emission_ns = MINUTE_NS // per_minute if per_minute else 0
        self._monotonic_ns = monotonic_ns
        self._arrivals: dict[int, int] = {}

    def retry_in(self, source: IPv4Address | IPv6Address) -> int:
        """Return 0 when the source may try, else the microseconds until it may."""
        if not self._arrivals:
            return 0
        arrival = self._arrivals.get(_network(source))
        if arrival is None:
            return 0
        admitted, _, _, _, retry_in = gcra(arrival, self._monotonic_ns(), self._emission_ns, self._burst, 1)
        return 0 if admitted else -(-retry_in // 1000)

    def failed(self, source: IPv4Address | IPv6Address) -> None:
        """Count one failed attempt."""
        if not self._burst:
            return
        now = self._monotonic_ns()
        if len(self._arrivals) >= MAX_SOURCES:
            self._arrivals = {network: tat for network, tat in self._arrivals.items() if tat > now}
            if len(self._arrivals) >= MAX_SOURCES:
                self._arrivals.pop(next(iter(self._arrivals)))
        network = _network(source)
        _, arrival, _, _, _ = gcra(self._arrivals.get(network, 0), now, self._emission_ns, self._burst, 1)
        self._arrivals[network] = arrival


def _network(source: IPv4Address | IPv6Address) -> int:
    if isinstance(source, IPv6Address):
        return (int(source) >> 64) + (1 << 64)
    return int(source)
