"""Leaks: which kinds of credential can get out, what is done about each, and what was done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from .instant import DAY
from .records import Environment, Record

POLICY_ID: Final = "leakp_"
DEFAULT_GRACE_IN: Final = DAY
"""How long a leaked secret that is rotated still works, unless a policy says otherwise."""


class LeakKind(StrEnum):
    """The kinds of credential that can be found where they do not belong."""

    SECRET_KEY = "secret_key"
    PUBLISHABLE_KEY = "publishable_key"
    ACCESS_TOKEN = "access_token"
    REFRESH_TOKEN = "refresh_token"
    CLIENT_SECRET = "client_secret"


class LeakState(StrEnum):
    """Where a credential stands that was found. ``unknown`` is also whatever has the id of one but not its secret."""

    LIVE = "live"
    REVOKED = "revoked"
    EXPIRED = "expired"
    DISABLED = "disabled"
    DELETED = "deleted"
    UNKNOWN = "unknown"


class Measure(StrEnum):
    """What a policy has done about a leaked credential.

    ``rotate`` lets the leaked secret end after a grace, so that its owner can fetch another meanwhile.
    """

    REVOKE = "revoke"
    DISABLE = "disable"
    ROTATE = "rotate"
    ALERT = "alert"
    IGNORE = "ignore"


class Done(StrEnum):
    """What was done about a leaked credential."""

    NONE = "none"
    REVOKED = "revoked"
    DISABLED = "disabled"
    ROTATED = "rotated"
    ALERTED = "alerted"


KEYS: Final = frozenset({LeakKind.SECRET_KEY, LeakKind.PUBLISHABLE_KEY})
TOKENS: Final = frozenset({LeakKind.ACCESS_TOKEN, LeakKind.REFRESH_TOKEN})
"""Tokens are short-lived and are got again by themselves: they can be revoked, not switched off or rotated."""

_LIVE: Final[Mapping[LeakKind, Measure]] = {
    LeakKind.SECRET_KEY: Measure.REVOKE,
    LeakKind.PUBLISHABLE_KEY: Measure.ALERT,
    LeakKind.ACCESS_TOKEN: Measure.REVOKE,
    LeakKind.REFRESH_TOKEN: Measure.REVOKE,
    LeakKind.CLIENT_SECRET: Measure.REVOKE,
}
_TEST: Final[Mapping[LeakKind, Measure]] = {
    **_LIVE,
    LeakKind.SECRET_KEY: Measure.ALERT,
    LeakKind.CLIENT_SECRET: Measure.ALERT,
}
DEFAULT_MEASURES: Final[Mapping[Environment, Mapping[LeakKind, Measure]]] = {
    Environment.LIVE: _LIVE,
    Environment.TEST: _TEST,
}
"""What holds where no policy says anything (see ADR 17)."""

DEFAULT_IN_URLS: Final = Measure.IGNORE
"""Credentials in URLs are counted always, and are an incident only where a policy wants that."""


def rule_name(environment: Environment, kind: LeakKind) -> str:
    """Return what a policy calls one of its rules, such as ``live.secret_key``."""
    return f"{environment.value}.{kind.value}"


def suits(kind: LeakKind, measure: Measure) -> bool:
    """Tell whether a measure can be taken about a kind of credential."""
    return kind not in TOKENS or measure not in (Measure.DISABLE, Measure.ROTATE)


@dataclass(frozen=True, slots=True, kw_only=True)
class LeakPolicy(Record):
    """What is done about the leaked credentials of one project; that of the authority's own project is all others'
    default.

    ``measures`` are by ``rule_name``; ``in_urls`` is what a credential in a URL leads to, ``alert`` or ``ignore``.
    """

    project_id: str
    measures: Mapping[str, Measure] = field(default_factory=dict)
    grace_in: int | None = None
    in_urls: Measure | None = None


@dataclass(frozen=True, slots=True)
class Rules:
    """What holds for one project, all defaults filled in."""

    measures: Mapping[str, Measure]
    grace_in: int
    in_urls: Measure

    def measure(self, environment: Environment, kind: LeakKind) -> Measure:
        """Return what is done about a kind of credential."""
        return self.measures[rule_name(environment, kind)]


def rules_of(*policies: LeakPolicy | None) -> Rules:
    """Return what holds where these policies apply, each before those behind it."""
    measures = {rule_name(env, kind): one for env, kinds in DEFAULT_MEASURES.items() for kind, one in kinds.items()}
    grace_in, in_urls = int(DEFAULT_GRACE_IN), DEFAULT_IN_URLS
    for policy in reversed(policies):
        if policy is not None:
            measures |= policy.measures
            grace_in = grace_in if policy.grace_in is None else policy.grace_in
            in_urls = in_urls if policy.in_urls is None else policy.in_urls
    return Rules(measures, grace_in, in_urls)
