"""Rules for the secrets of other vendors, in the TOML of gitleaks, so that one scan serves both.

Understood are ``id``, ``regex``, ``keywords``, ``entropy``, ``secretGroup``, and allow lists (``regexes`` with
``regexTarget``, ``stopwords``, ``paths``), of a rule and of the file. A rule that needs anything else (``path``,
``required``, ``commits``, ``extend``…) is not used, and that is said. Patterns run in RE2, whose syntax gitleaks uses
and whose time is linear, whatever a rule says.
"""

from __future__ import annotations

import math
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from ..core.errors import ConfigurationError
from ..core.secret import Secret
from . import log_lines
from .sightings import Place, Sighting

AROUND: Final = 4096
"""Bytes before and behind a keyword in which the pattern of its rule may match."""

MAX_FILE: Final = 4 << 20
MAX_PER_RULE: Final = 100_000
_KNOWN: Final = frozenset(
    {"id", "description", "regex", "keywords", "entropy", "secretGroup", "tags", "allowlist", "allowlists"}
)
_KNOWN_ALLOWLIST: Final = frozenset({"description", "condition", "regexes", "regexTarget", "stopwords", "paths"})
_KNOWN_TOP: Final = frozenset({"title", "minVersion", "rules", "allowlist", "allowlists"})
_ALLOWED_HERE: Final = b"gitleaks:allow"


@dataclass(frozen=True, slots=True)
class AllowList:
    """What is no finding though a rule matches: any of these, or with ``needs_all`` each kind that is given."""

    regexes: tuple[Any, ...] = ()
    target: str = "secret"
    stopwords: tuple[str, ...] = ()
    paths: tuple[Any, ...] = ()
    needs_all: bool = False

    def allows(self, secret: bytes, match: bytes, line: bytes, path: str) -> bool:
        """Tell whether a match is none."""
        target = {"match": match, "line": line}.get(self.target, secret)
        low = secret.decode("utf-8", "replace").lower()
        answers = []
        if self.regexes:
            answers.append(any(pattern.search(target) for pattern in self.regexes))
        if self.stopwords:
            answers.append(any(word in low for word in self.stopwords))
        if self.paths:
            answers.append(any(pattern.search(path.encode()) for pattern in self.paths))
        return bool(answers) and (all(answers) if self.needs_all else any(answers))


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule; ``group`` is the group of the pattern that is the secret, 0 for the first that matched."""

    id: str
    pattern: Any
    keywords: tuple[bytes, ...] = ()
    entropy: float = 0.0
    group: int = 0
    allow: tuple[AllowList, ...] = ()


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules of a file; ``refused`` says which of its parts are not used, and why."""

    rules: tuple[Rule, ...]
    allow: tuple[AllowList, ...] = ()
    refused: tuple[str, ...] = ()
    source: str = ""

    def __reduce__(self) -> tuple[Any, ...]:
        return load, (self.source,)


def load(path: str) -> Rules:
    """Read a file of rules; raises ``ConfigurationError`` when it is none, or RE2 is not installed."""
    try:
        import re2  # noqa: F401
    except ImportError:
        raise ConfigurationError("Rules need the extra keybearer[leaks], which is not installed.") from None
    try:
        if Path(path).stat().st_size > MAX_FILE:
            raise ConfigurationError(f"The rules {path} are larger than {MAX_FILE >> 20} MiB.")
        document = tomllib.loads(Path(path).read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"The rules {path} cannot be read: {error}.") from error
    refused = [f"{name!r} of the file is not understood" for name in sorted(document.keys() - _KNOWN_TOP)]
    rules = []
    tables = document.get("rules", [])
    if not isinstance(tables, list):
        raise ConfigurationError(f"The rules {path} have no [[rules]].")
    for number, table in enumerate(tables, 1):
        try:
            rules.append(_rule(table))
        except (ValueError, TypeError, AttributeError) as error:
            name = table.get("id") if isinstance(table, dict) else None
            refused.append(f"rule {name or number}: {error}")
    try:
        allow = _allow_lists(document)
    except (ValueError, TypeError, AttributeError) as error:
        raise ConfigurationError(f"The allow list of the rules {path} is not understood: {error}.") from error
    return Rules(tuple(rules), allow, tuple(refused), path)


def _rule(table: Mapping[str, Any]) -> Rule:
    unknown = sorted(table.keys() - _KNOWN)
    if unknown:
        raise ValueError(f"{', '.join(unknown)} is not understood")
    if not table.get("id") or not table.get("regex"):
        raise ValueError("it needs an id and a regex")
    pattern = _compiled(table["regex"])
    group = int(table.get("secretGroup", 0))
    if not 0 <= group <= pattern.groups:
        raise ValueError(f"the pattern has no group {group}")
    return Rule(
        id=str(table["id"]),
        pattern=pattern,
        keywords=tuple(str(word).lower().encode() for word in table.get("keywords", ()) if word),
        entropy=float(table.get("entropy", 0.0)),
        group=group,
        allow=_allow_lists(table),
    )


def _allow_lists(table: Mapping[str, Any]) -> tuple[AllowList, ...]:
    found = [*table.get("allowlists", ())]
    if "allowlist" in table:
        found.append(table["allowlist"])
    return tuple(_allow_list(one) for one in found)


def _allow_list(table: Mapping[str, Any]) -> AllowList:
    unknown = sorted(table.keys() - _KNOWN_ALLOWLIST)
    if unknown:
        raise ValueError(f"{', '.join(unknown)} of an allow list is not understood")
    target = table.get("regexTarget", "secret") or "secret"
    if target not in ("secret", "match", "line"):
        raise ValueError(f"regexTarget {target!r} is not understood")
    return AllowList(
        regexes=tuple(_compiled(text) for text in table.get("regexes", ())),
        target=target,
        stopwords=tuple(str(word).lower() for word in table.get("stopwords", ())),
        paths=tuple(_compiled(text) for text in table.get("paths", ())),
        needs_all=str(table.get("condition", "OR")).upper() in ("AND", "&&"),
    )


def _compiled(text: str) -> Any:
    import re2

    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1  # bytes are bytes
    options.log_errors = False
    try:
        return re2.compile(text.encode(), options)
    except re2.error as error:
        raise ValueError(f"RE2 does not take its pattern: {error}") from None


@dataclass(frozen=True, slots=True)
class RuleMatch:
    """What a rule matched, and where; the text is the line around it."""

    rule: str
    secret: Secret
    start: int
    end: int
    line: int
    column: int
    text: bytes = field(repr=False)

    def sighting(self, place: Place, reader: log_lines.Reader | None) -> Sighting:
        """Return what a scan says about it."""
        context = log_lines.read(self.text, reader) if place.kind != "git" else log_lines.NOTHING
        where = Place(
            place.kind, place.name, self.line, self.column, context.at or place.at, context.client_ip, place.commit
        )
        return Sighting(self.secret, self.rule, where, "plain", is_foreign=True)


class RuleSearch:
    """Search one stream with rules, piece by piece; like ``Search``."""

    def __init__(self, rules: Rules, path: str = "") -> None:
        self._rules = rules
        self._path = path
        self._data = b""
        self._base = self._checked = self._lines = 0
        self._counts: Counter[str] = Counter()
        self._seen: set[tuple[str, int]] = set()

    def feed(self, block: bytes) -> Iterator[RuleMatch]:
        """Take the next piece; yields what is certain by now."""
        self._data += block
        return self._search(len(self._data) - 2 * AROUND)

    def settle(self) -> Iterator[RuleMatch]:
        """Yield all that is in what was given, as if it ended here."""
        return self._search(len(self._data))

    def _search(self, limit: int) -> Iterator[RuleMatch]:
        checked = self._checked - self._base
        if limit <= checked:
            return
        data, low = self._data, self._data.lower()
        for rule in self._rules.rules:
            for begin, end in _windows(low, rule, checked, limit):
                yield from self._matches(rule, begin, end)
        self._checked = self._base + limit
        dropped = max(0, limit - 3 * AROUND)
        if dropped:
            self._lines += data.count(b"\n", 0, dropped)
            self._data = data[dropped:]
            self._base += dropped
            self._seen = {one for one in self._seen if one[1] >= self._base}

    def _matches(self, rule: Rule, begin: int, end: int) -> Iterator[RuleMatch]:
        data = self._data
        for match in rule.pattern.finditer(data[begin:end]):
            start, stop = match.span(_group_of(rule, match))
            at = begin + start
            secret = data[at : begin + stop]
            if not secret or (rule.id, self._base + at) in self._seen:
                continue
            line_start = data.rfind(b"\n", 0, at) + 1
            line_end = data.find(b"\n", begin + stop)
            text = data[line_start : line_end if line_end >= 0 else len(data)]
            if rule.entropy and entropy(secret) <= rule.entropy:
                continue
            if _ALLOWED_HERE in text or any(
                one.allows(secret, match[0], text, self._path) for one in (*rule.allow, *self._rules.allow)
            ):
                continue
            self._seen.add((rule.id, self._base + at))
            self._counts[rule.id] += 1
            if self._counts[rule.id] > MAX_PER_RULE:
                continue
            yield RuleMatch(
                rule.id,
                Secret(secret.decode("utf-8", "surrogateescape")),
                self._base + at,
                self._base + begin + stop,
                self._lines + data.count(b"\n", 0, at) + 1,
                len(data[line_start:at].decode("utf-8", "replace")) + 1,
                text,
            )


def _group_of(rule: Rule, match: Any) -> int:
    if rule.group:
        return rule.group
    return next((number for number, text in enumerate(match.groups(), 1) if text), 0)


def _windows(low: bytes, rule: Rule, checked: int, limit: int) -> Sequence[tuple[int, int]]:
    """Return where the pattern of a rule is tried: near its keywords, merged where they overlap; else everywhere."""
    if not rule.keywords:
        return ((max(0, checked - AROUND), len(low)),)
    found: list[int] = []
    for word in rule.keywords:
        at = low.find(word, max(0, checked - len(word)))
        while 0 <= at < limit:
            found.append(at)
            at = low.find(word, at + AROUND // 2)
    windows: list[tuple[int, int]] = []
    for at in sorted(found):
        begin, end = max(0, at - AROUND), at + AROUND
        if windows and begin <= windows[-1][1]:
            windows[-1] = (windows[-1][0], end)
        else:
            windows.append((begin, end))
    return windows


def entropy(secret: bytes) -> float:
    """Return Shannon's entropy of the bytes, in bits each."""
    total = len(secret)
    return -sum(count / total * math.log2(count / total) for count in Counter(secret).values())
