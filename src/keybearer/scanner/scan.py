"""One scan: what is found goes to the matcher in batches, and on to the report with what the matcher says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from ..core.errors import KeybearerError
from .reading import Event, Progress
from .sightings import MAY_BE_LIVE, Matcher, Sighting, State, Trouble, Verdict

BATCH: Final = 500
CLEAN, LEAKED, INCOMPLETE = 0, 1, 2


@dataclass(slots=True)
class Summary:
    """What a scan has seen: sources, bytes, findings by state, wrong checksums, and what could not be read."""

    sources: int = 0
    size: int = 0
    states: Counter[str] = field(default_factory=Counter)
    near_misses: int = 0
    troubles: int = 0
    notes: list[str] = field(default_factory=list)

    @property
    def findings(self) -> int:
        """All findings, whatever their state."""
        return sum(self.states.values())

    def exit_code(self, *, any_finding: bool = False) -> int:
        """Return 1 when something found opens doors, or may; else 2 when not all could be searched; else 0."""
        live = sum(self.states[state.value] for state in MAY_BE_LIVE)
        if live or (any_finding and self.findings):
            return LEAKED
        return INCOMPLETE if self.troubles else CLEAN


class Report(Protocol):
    """Where findings go, as they are found."""

    def found(self, sighting: Sighting, verdict: Verdict) -> None:
        """Take a finding."""
        ...

    def trouble(self, trouble: Trouble) -> None:
        """Take what could not be searched."""
        ...

    def end(self, summary: Summary) -> None:
        """End the report."""
        ...


class Scan:
    """Takes the events of all sources, in any order."""

    def __init__(self, matcher: Matcher, report: Report, *, act: bool = False) -> None:
        self._matcher = matcher
        self._report = report
        self._act = act
        self._waiting: list[Sighting] = []
        self.summary = Summary()

    def take(self, event: Event) -> None:
        """Take what happened while a source was searched."""
        if isinstance(event, Sighting):
            self._waiting.append(event)
            if len(self._waiting) >= BATCH:
                self.flush()
        elif isinstance(event, Trouble):
            self.summary.troubles += 1
            self._report.trouble(event)
        else:
            self._count(event)

    def _count(self, progress: Progress) -> None:
        self.summary.size += progress.size
        self.summary.near_misses += progress.near_misses

    def flush(self) -> None:
        """Ask about what waits, and report it. Where nobody answers, it is reported as unchecked, and that is said."""
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return
        verdicts: Sequence[Verdict]
        try:
            verdicts = self._matcher.check(waiting, act=self._act)
        except KeybearerError as error:
            self.take(Trouble("authority", f"{len(waiting)} findings could not be checked: {error}"))
            verdicts = [Verdict(State.UNCHECKED, kind=one.rule, credential_id=one.credential_id) for one in waiting]
        for sighting, verdict in zip(waiting, verdicts, strict=True):
            self.summary.states[verdict.state.value] += 1
            self._report.found(sighting, verdict)

    def end(self) -> Summary:
        """Ask about the rest, and end the report."""
        self.flush()
        self._report.end(self.summary)
        return self.summary
