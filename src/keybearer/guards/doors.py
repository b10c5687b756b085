"""Which rule holds for which path, and what is open to everybody; written by the application as a short table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ..core.sources import is_ambiguous_path, path_matches
from .answers import AMBIGUOUS, Refused
from .rule import Rule, rule

Demanded = str | Iterable[str] | Rule | None


def to_rule(demanded: Demanded) -> Rule:
    """Return the rule that an application wrote in any of its ways."""
    if isinstance(demanded, Rule):
        return demanded
    return rule(demanded if demanded is None or isinstance(demanded, str) else tuple(demanded))


class Doors:
    """The doors of an application.

    ``rules`` maps ``/path``, ``/below/*`` or ``POST /path`` to what is asked there; the first that fits holds, and
    ``default`` for all others. ``public`` are paths, written alike, where nobody is asked for anything.
    """

    def __init__(self, default: Demanded, rules: Mapping[str, Demanded], public: Iterable[str]) -> None:
        self._default = to_rule(default)
        self._rules = [(*_place(place), to_rule(demanded)) for place, demanded in rules.items()]
        self._public = [_place(place) for place in public]

    def rule_for(self, method: str, path: str) -> Rule | None:
        """Return what is asked at a path as it was sent, ``None`` for a public one.

        Raises ``Refused`` for a path that could be read in several ways, where it depends on the path.
        """
        if not self._rules and not self._public:
            return self._default
        if is_ambiguous_path(path):
            raise Refused(AMBIGUOUS)
        for only, pattern in self._public:
            if only in ("", method) and path_matches(pattern, path):
                return None
        for only, pattern, wanted in self._rules:
            if only in ("", method) and path_matches(pattern, path):
                return wanted
        return self._default


def _place(text: str) -> tuple[str, str]:
    method, _, path = text.rpartition(" ")
    if not path.startswith("/"):
        raise ValueError(f"{text!r} is no place: write '/path', '/below/*' or 'POST /path'")
    return method.upper(), path
