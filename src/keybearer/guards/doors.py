"""Which rule holds for which path, and what is open to everybody; written by the application as a short table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ..core.sources import is_ambiguous_path, path_matches, spelt_alike
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
        """Return what is asked at a path as it was sent, ``None`` for a public one; who may ``GET`` may ``HEAD``.

        Raises ``Refused`` for a path that could be read in several ways, where it depends on the path.
        Spec: RFC 3986 §6.2.2.2, RFC 9110 §9.3.2.
        """
        if not self._rules and not self._public:
            return self._default
        spelt = spelt_alike(path)
        if is_ambiguous_path(path) or is_ambiguous_path(spelt):
            raise Refused(AMBIGUOUS)
        methods = ("", method, "GET") if method == "HEAD" else ("", method)
        for only, pattern in self._public:
            if only in methods and path_matches(pattern, spelt):
                return None
        for only, pattern, wanted in self._rules:
            if only in methods and path_matches(pattern, spelt):
                return wanted
        return self._default


def _place(text: str) -> tuple[str, str]:
    method, _, path = text.rpartition(" ")
    if not path.startswith("/"):
        raise ValueError(f"{text!r} is no place: write '/path', '/below/*' or 'POST /path'")
    return method.upper(), spelt_alike(path)
