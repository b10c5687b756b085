"""How limits, durations, instants and the like are written on the command line; ``ValueError`` says what to write."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import typer

from ..core.quota import CalendarUnit
from ..wire.keys import AndroidAppSpec
from ..wire.limits import CreditsSpec, QuotaSpec, RateLimitSpec, RefillSpec
from ..wire.users import LinkSpec

T = TypeVar("T")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800, "y": 31_536_000}
_LONG = {"second": "s", "sec": "s", "minute": "m", "min": "m", "hour": "h", "day": "d", "week": "w", "year": "y"}
_PART = re.compile(r"(\d{1,9})([smhdwy])", re.ASCII)
_TRUE = {"true": True, "false": False}


def duration(text: str) -> int:
    """Return the seconds of ``30d``, ``12h``, ``1h30m`` or ``90`` (seconds)."""
    if text.isascii() and text.isdigit():
        return int(text)
    if not re.fullmatch(rf"(?:{_PART.pattern})+", text, re.ASCII):
        raise ValueError(f"{text!r} is not a duration; write such as 30d, 12h, 1h30m or 90 (seconds)")
    return sum(int(number) * _UNITS[unit] for number, unit in _PART.findall(text))


def instant(text: str) -> datetime:
    """Return the instant of ``2027-01-31`` (the start of that day in UTC) or ``2027-01-31T12:00:00Z``."""
    try:
        value = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a time; write such as 2027-01-31 or 2027-01-31T12:00:00Z") from None
    return value if value.tzinfo else value.replace(tzinfo=UTC)


def period(text: str) -> int:
    """Return the seconds of ``1m``, ``m`` or ``minute``."""
    text = _LONG.get(text.removesuffix("s") if len(text) > 1 else text, text)
    return duration(f"1{text}" if text in _UNITS else text)


def rate_limit(text: str) -> RateLimitSpec:
    """Return the limit of ``name=100/1m``, optionally with ``,burst=20``, and ``,manual`` for requests that name it."""
    example = f"{text!r} is not a limit; write such as requests=100/1m or requests=100/1m,burst=20"
    first, *options = text.split(",")
    name, _, rate = first.partition("=")
    amount, _, per = rate.partition("/")
    if not name or not _is_number(amount) or not per:
        raise ValueError(example)
    burst, automatic = None, True
    for option in options:
        key, _, value = option.strip().partition("=")
        if key == "burst" and _is_number(value):
            burst = int(value)
        elif option.strip() == "manual":
            automatic = False
        else:
            raise ValueError(example)
    try:
        return RateLimitSpec(name=name, limit=int(amount), period_in=period(per), burst=burst, automatic=automatic)
    except ValueError:
        raise ValueError(example) from None


def quota(text: str) -> QuotaSpec:
    """Return the quota of ``name=10000/month``, with ``,manual`` if only for requests that name it."""
    first, *options = text.split(",")
    name, _, rate = first.partition("=")
    amount, _, per = rate.partition("/")
    if not name or not _is_number(amount) or per not in list(CalendarUnit) or options not in ([], ["manual"]):
        units = ", ".join(CalendarUnit)
        raise ValueError(f"{text!r} is not a quota; write such as calls=10000/month (one of {units})")
    return QuotaSpec(name=name, limit=int(amount), per=CalendarUnit(per), automatic=not options)


def prepaid(text: str) -> CreditsSpec:
    """Return the credits of ``500``, or ``500,refill=500/month``."""
    first, _, rest = text.partition(",")
    kind, _, rate = rest.partition("=")
    amount, _, per = rate.partition("/")
    if not _is_number(first) or (
        rest and (kind != "refill" or not _is_number(amount) or per not in list(CalendarUnit))
    ):
        raise ValueError(f"{text!r} are no credits; write such as 500 or 500,refill=500/month")
    return CreditsSpec(int(first), RefillSpec(int(amount), CalendarUnit(per)) if rest else None)


def pair(text: str) -> tuple[str, Any]:
    """Return the entry of ``name=value``: true, false and numbers are taken as such, the rest as text."""
    name, separator, value = text.partition("=")
    if not name or not separator:
        raise ValueError(f"{text!r} is no entry; write name=value")
    if re.fullmatch(r"-?(?:0|[1-9]\d{0,15})", value, re.ASCII):
        return name, int(value)
    return name, _TRUE.get(value, value)


def claim(text: str) -> tuple[str, Any]:
    """Return the claim of ``name=value``, where ``{…}`` is a JSON object, such as an address; else like ``pair``."""
    name, value = pair(text)
    if not isinstance(value, str) or not value.startswith("{"):
        return name, value
    try:
        return name, json.loads(value)
    except ValueError:
        raise ValueError(f"the value of {name} begins like a JSON object and is none") from None


def worded(text: str) -> tuple[str, str]:
    """Return a name and what it says to people, of ``name`` or ``name=words``."""
    name, _, words = text.partition("=")
    return name.strip(), words.strip()


def field(text: str) -> tuple[str, Any]:
    """Return the field of ``name=value``, where the value is JSON, text, or ``@file`` with JSON in it."""
    name, separator, value = text.partition("=")
    if not name or not separator:
        raise ValueError(f"{text!r} is no field; write name=value, as access_token_in=300")
    path = Path(value[1:]) if value.startswith("@") else None
    try:
        return name.replace("-", "_"), json.loads(value if path is None else path.read_bytes())
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from None
    except ValueError:
        if path is not None:
            raise ValueError(f"{path} is not JSON") from None
        return name.replace("-", "_"), value


def link(text: str) -> LinkSpec:
    """Return the link of ``issuer=subject``."""
    issuer, separator, subject = text.partition("=")
    if not issuer or not separator or not subject:
        raise ValueError(f"{text!r} is no link; write issuer=subject, as crm=4711")
    return LinkSpec(issuer, subject)


def truth(text: str) -> bool:
    """Return the truth of ``true`` or ``false``."""
    if text.lower() not in _TRUE:
        raise ValueError(f"{text!r} is neither true nor false")
    return _TRUE[text.lower()]


def named_cost(text: str) -> tuple[str, int]:
    """Return the cost of ``name`` (1) or ``name=5``."""
    name, separator, amount = text.partition("=")
    if not name or (separator and not _is_number(amount)):
        raise ValueError(f"{text!r} is no cost; write name or name=5")
    return name, int(amount) if separator else 1


def android_app(text: str) -> AndroidAppSpec:
    """Return the app of ``com.example.app=SHA256`` (hex, with or without colons)."""
    package, separator, certificate = text.partition("=")
    if not separator or not re.fullmatch(r"[0-9A-Fa-f:]{64,95}", certificate):
        raise ValueError(f"{text!r} is no app; write com.example.app=<SHA-256 of its signing certificate in hex>")
    return AndroidAppSpec(package, certificate)


def one(option: str, text: str, read: Callable[[str], T]) -> T:
    """Read the value of an option; what is wrong with it becomes a usage error."""
    try:
        return read(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=option) from None


def each(option: str, texts: Sequence[str] | None, read: Callable[[str], T]) -> list[T]:
    """Read the values of an option that may be given several times."""
    return [one(option, text, read) for text in texts or ()]


def maybe(option: str, text: str | None, read: Callable[[str], T]) -> T | None:
    """Read the value of an option if it was given."""
    return None if text is None else one(option, text, read)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 15
