"""Wrong fields, collected: one answer names all of them, each with what to write instead."""

from __future__ import annotations

from ..core.errors import FieldProblem, InvalidInput


class Problems:
    """Collect wrong fields; ``settle`` raises ``InvalidInput`` if there are any."""

    def __init__(self) -> None:
        self.found: list[FieldProblem] = []

    def add(self, field: str, message: str) -> None:
        """Note that ``field`` is wrong; ``message`` says what it should be."""
        self.found.append(FieldProblem(field, message))

    def absorb(self, error: InvalidInput) -> None:
        """Take over the problems of an error raised deeper down."""
        self.found.extend(error.problems)

    def settle(self) -> None:
        """Raise ``InvalidInput`` with everything that was noted, if anything was."""
        if self.found:
            raise InvalidInput(*self.found)
