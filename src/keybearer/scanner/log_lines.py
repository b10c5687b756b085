"""When a line of a log was written, and for which client: for the line around a credential only.

The formats of Apache and nginx (common, combined and error logs, JSON, and others by their own ``log_format`` notation)
and whatever begins with an instant. What is not understood is left empty, never guessed at.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from functools import lru_cache
from ipaddress import ip_address
from typing import Any, Final, NamedTuple


class Context(NamedTuple):
    """What a line says about itself: an instant as RFC 3339, and the address of the client."""

    at: str | None = None
    client_ip: str | None = None


Reader = Callable[[str], Context | None]
NOTHING: Final = Context()
_NAMES: Final = "JanFebMarAprMayJunJulAugSepOctNovDec"
_MONTHS: Final = {_NAMES[at : at + 3]: at // 3 + 1 for at in range(0, 36, 3)}
_COMMON: Final = re.compile(r"(?:\S+:\d+ )?(\S+) \S+ [^\[]{0,256}\[([^\]]{20,32})\]")
_CLF_TIME: Final = re.compile(r"(\d\d)/([A-Z][a-z]{2})/(\d{4}):(\d\d):(\d\d):(\d\d)(?:\.\d+)? ([+-])(\d\d)(\d\d)")
_ISO: Final = re.compile(
    r"(\d{4})[-/](\d\d)[-/](\d\d)[T ](\d\d):(\d\d):(\d\d)(?:[.,](\d{1,9}))? ?(Z|[+-]\d\d:?\d\d(?!\d))?"
)
_NGINX_ERROR: Final = re.compile(r"\d{4}/\d\d/\d\d \d\d:\d\d:\d\d \[[a-z]+\] ")
_NGINX_CLIENT: Final = re.compile(r", client: ([0-9A-Fa-f:.]+)")
_APACHE_ERROR: Final = re.compile(r"\[[A-Z][a-z]{2} ([A-Z][a-z]{2}) (\d\d) (\d\d):(\d\d):(\d\d)(?:\.(\d+))? (\d{4})\] ")
_APACHE_CLIENT: Final = re.compile(r"\[(?:client|remote) ([^\]]+)\]")
_TIME_NAMES: Final = ("time", "timestamp", "@timestamp", "ts", "date", "datetime", "time_iso8601", "time_local")
_CLIENT_NAMES: Final = ("client_ip", "remote_addr", "remote_ip", "client", "ip", "clientip", "remote_address")
_NESTED: Final = ("request", "http", "req")
_YEARS: Final = range(1970, 2200)
"""What else a line says is no time at which it was written."""
_MAX_EPOCH: Final = 7_258_118_400
_LARGEST: Final = 2**63


@lru_cache(maxsize=1)
def read(text: bytes, reader: Reader | None = None) -> Context:
    """Return what a line says about itself, by its own format or by the one that was declared for it.

    The last line is kept: one may hold hundreds of credentials.
    """
    line = text.decode("utf-8", "replace")
    if reader is not None:
        found = reader(line)
        if found is not None:
            return found
    if line.lstrip().startswith("{"):
        return _json(line) or _plain(line)
    return _common(line) or _apache_error(line) or _plain(line)


def address(text: object) -> str | None:
    """Return an address without its port, or ``None`` for whatever is none. The zone of an address (``%eth0``) is free
    text, which may be anything, and makes it none. Spec: RFC 4007 §11.
    """
    if not isinstance(text, str) or "%" in text:
        return None
    for candidate in (text, text.rpartition(":")[0].strip("[]")):
        try:
            return str(ip_address(candidate))
        except ValueError:
            continue
    return None


def instant(value: object) -> str | None:
    """Return an instant as RFC 3339; without a time zone when the text names none."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        # Of JSON, a number may be larger than any float.
        return _epoch(float(value)) if abs(value) <= _LARGEST else None
    if not isinstance(value, str):
        return None
    return _clf(value) or _iso(value) or (_epoch(float(value)) if re.fullmatch(r"\d{9,11}(\.\d+)?", value) else None)


def _epoch(seconds: float) -> str | None:
    if seconds > _MAX_EPOCH:
        seconds /= 1000
    if not 0 < seconds < _MAX_EPOCH:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _clf(text: str) -> str | None:
    match = _CLF_TIME.search(text)
    if match is None or match[2] not in _MONTHS or int(match[3]) not in _YEARS:
        return None
    ahead = timedelta(hours=int(match[8]), minutes=int(match[9]))
    try:
        zone = timezone(ahead if match[7] == "+" else -ahead)
        day, hour, minute, second = (int(match[number]) for number in (1, 4, 5, 6))
        found = datetime(int(match[3]), _MONTHS[match[2]], day, hour, minute, second, tzinfo=zone)
    except ValueError:
        return None
    return found.isoformat().replace("+00:00", "Z")


def _iso(text: str) -> str | None:
    match = _ISO.search(text)
    if match is None or int(match[1]) not in _YEARS:
        return None
    zone = match[8] or ""
    if len(zone) == 5:
        zone = f"{zone[:3]}:{zone[3:]}"
    fraction = f".{match[7]}" if match[7] else ""
    found = f"{match[1]}-{match[2]}-{match[3]}T{match[4]}:{match[5]}:{match[6]}"
    try:
        datetime.fromisoformat(found)
    except ValueError:
        return None
    return found + fraction + zone


def _common(line: str) -> Context | None:
    match = _COMMON.match(line)
    at = _clf(match[2]) if match is not None else None
    return Context(at, address(match[1])) if match is not None and at is not None else None


def _apache_error(line: str) -> Context | None:
    match = _APACHE_ERROR.match(line)
    if match is None or match[1] not in _MONTHS:
        return None
    fraction = f".{match[6]}" if match[6] else ""
    at = f"{match[7]}-{_MONTHS[match[1]]:02}-{match[2]}T{match[3]}:{match[4]}:{match[5]}{fraction}"
    client = _APACHE_CLIENT.search(line)
    return Context(at, address(client[1]) if client else None)


def _plain(line: str) -> Context:
    client = _NGINX_CLIENT.search(line) if _NGINX_ERROR.match(line) else None
    return Context(_iso(line[:128]), address(client[1]) if client else None)


def _json(line: str) -> Context | None:
    try:
        document = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(document, dict):
        return None
    members: dict[str, Any] = {}
    for inner in _NESTED:
        if isinstance(document.get(inner), dict):
            members |= document[inner]
    members |= document
    at = next((found for name in _TIME_NAMES if (found := instant(members.get(name)))), None)
    client = next((found for name in _CLIENT_NAMES if (found := address(members.get(name)))), None)
    return Context(at, client)
