"""What a guard counts, to be read or shown to Prometheus. Counting takes no lock and loses nothing."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

NAMES: Final = {
    "local": "Accepted from memory, without asking.",
    "online": "Questions that the authority answered.",
    "refused": "Refused, for whatever reason.",
    "unreachable": "Questions that got no answer.",
    "stale": "Accepted though the view was stale, because on_stale allows it.",
    "in_query": "Publishable keys that came in a URL.",
}


class Counter:
    """One number that only grows; ``add`` is one step of the interpreter, so threads need no lock."""

    __slots__ = ("_count", "add")

    def __init__(self) -> None:
        self._count = count()
        self.add = self._count.__next__

    @property
    def value(self) -> int:
        """How often it was counted."""
        return int(repr(self._count)[6:-1])


class Metrics:
    """The counters of one guard in this process."""

    def __init__(self) -> None:
        self.local = Counter()
        self.online = Counter()
        self.refused = Counter()
        self.unreachable = Counter()
        self.stale = Counter()
        self.in_query = Counter()

    def __iter__(self) -> Iterator[tuple[str, int]]:
        return iter([(name, getattr(self, name).value) for name in NAMES])

    def register(self, registry: object = None) -> None:
        """Show the counters as ``keybearer_guard_total{outcome=…}`` in a registry of ``prometheus_client``, which the
        application must have installed; without one given, in the default registry.
        """
        from prometheus_client import REGISTRY
        from prometheus_client.core import CounterMetricFamily

        metrics = self

        class Collector:
            def collect(self) -> Iterator[CounterMetricFamily]:
                family = CounterMetricFamily("keybearer_guard", "What the guard did.", labels=["outcome"])
                for name, value in metrics:
                    family.add_metric([name], value)
                yield family

        (registry or REGISTRY).register(Collector())  # type: ignore[attr-defined]
