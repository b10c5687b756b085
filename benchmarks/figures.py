"""A figure: what was measured, how it spreads over the rounds, and how it stands against its baseline and its goal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from time import thread_time_ns


@dataclass(frozen=True, slots=True)
class Spread:
    """The median of several rounds, and the extremes."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Return the spread of some rounds."""
        return cls(median(values), min(values), max(values))

    def __str__(self) -> str:
        return f"{shown(self.median)} ({shown(self.low)}–{shown(self.high)})"


def ratios(subject: Sequence[float], baseline: Sequence[float]) -> Spread:
    """Return how the subject stands against the baseline, round by round: neighbours in time share their noise."""
    return Spread.of([one / other for one, other in zip(subject, baseline, strict=True)])


@dataclass(frozen=True, slots=True)
class Goal:
    """A bound for a figure or, where it says so, for its ratio to the baseline."""

    text: str
    at_most: float | None = None
    at_least: float | None = None
    of_ratio: bool = False

    def is_met(self, value: float) -> bool:
        """Tell whether a measured value keeps the bound."""
        return (self.at_most is None or value <= self.at_most) and (self.at_least is None or value >= self.at_least)


@dataclass(frozen=True, slots=True)
class Figure:
    """One row of the table."""

    what: str
    unit: str
    value: Spread
    baseline: str = ""
    ratio: Spread | None = None
    goal: Goal | None = None
    note: str = ""

    @property
    def verdict(self) -> str:
        """``met``, ``missed``, or nothing where there is no goal."""
        if self.goal is None:
            return ""
        judged = self.ratio if self.goal.of_ratio else self.value
        return "met" if judged is not None and self.goal.is_met(judged.median) else "missed"


def shown(number: float) -> str:
    """Return a number with three significant digits or more."""
    if number == 0:
        return "0"
    if abs(number) >= 1000:
        return f"{number:,.0f}"
    return f"{number:.{0 if abs(number) >= 100 else 1 if abs(number) >= 10 else 2 if abs(number) >= 1 else 3}f}"


def microseconds_each(work: Callable[[], object], *, repeats: int, loops: int) -> list[float]:
    """Return the processor time of one call, once per short repeat, without the cost of calling nothing.

    Processor time, because others share the machine: a repeat that was interrupted is not a slow one.
    """
    rounds = range(loops)

    def nothing() -> None:
        return None

    empty = min(_elapsed(nothing, rounds) for _ in range(5))
    return [max(0.0, _elapsed(work, rounds) - empty) / loops / 1000 for _ in range(repeats)]


def _elapsed(work: Callable[[], object], rounds: range) -> int:
    start = thread_time_ns()
    for _ in rounds:
        work()
    return thread_time_ns() - start
