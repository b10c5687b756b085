"""Readers of lines whose format is declared as nginx (``$remote_addr [$time_local]``) or Apache (``%h %t``) has it."""

from __future__ import annotations

import re
from functools import cache
from typing import Final

from ..core.errors import InvalidInput
from .log_lines import Context, Reader, address, instant

NAMED: Final = {
    "common": '%h %l %u %t "%r" %>s %b',
    "combined": '%h %l %u %t "%r" %>s %b "%{Referer}i" "%{User-Agent}i"',
    "vhost_combined": '%v:%p %h %l %u %t "%r" %>s %O "%{Referer}i" "%{User-Agent}i"',
}
"""Formats that have a name everywhere."""

MAX_LENGTH: Final = 4096
_NGINX: Final = re.compile(r"\$\{?([a-z0-9_]+)\}?")
_APACHE: Final = re.compile(r"%[<>!0-9,]*(?:\{([^}]*)\}(\^t[io]|[A-Za-z])|\^?([A-Za-z%]))")
_TIMES: Final = frozenset({"time_local", "time_iso8601", "msec"})
_CLIENTS: Final = ("realip_remote_addr", "remote_addr", "http_x_real_ip", "http_x_forwarded_for")


@cache
def reader_of(declared: str) -> Reader:
    """Return what reads lines of a format; raises ``InvalidInput`` when it says neither a time nor an address."""
    text = NAMED.get(declared, declared)
    if len(text) > MAX_LENGTH:
        raise InvalidInput.of("log_format", f"at most {MAX_LENGTH} characters")
    fields = _nginx_fields(text) if "$" in text else _apache_fields(text)
    pattern, groups, last = [], [], 0
    for start, end, kind in fields:
        pattern.append(re.escape(text[last:start]))
        following = text[end : end + 1]
        last = end
        if kind == "literal":
            pattern.append("%")
            continue
        # A field ends where the text behind it begins; the time of Apache brings its brackets along.
        until = f"[^{re.escape(following)}]*" if following and following not in "%$" else r"\S*"
        until = r"\[[^\]]*\]" if kind == "bracketed" else until
        if kind:
            groups.append("at" if kind == "bracketed" else kind)
            pattern.append(f"({until})")
        else:
            pattern.append(until)
    pattern.append(re.escape(text[last:]))
    if not groups:
        raise InvalidInput.of("log_format", "this names neither a time nor a client's address, as $remote_addr or %h")
    # What is behind the last field of interest need not fit.
    return _reader(_up_to_last(pattern), groups)


def _up_to_last(pattern: list[str]) -> re.Pattern[str]:
    while pattern and not pattern[-1].startswith("("):
        pattern.pop()
    return re.compile("".join(pattern))


def _reader(pattern: re.Pattern[str], groups: list[str]) -> Reader:
    def read(line: str) -> Context | None:
        match = pattern.match(line)
        if match is None:
            return None
        at = client = None
        for kind, text in zip(groups, match.groups(), strict=True):
            if kind == "at":
                at = at or instant(text)
            else:
                client = client or address(text.partition(",")[0].strip())
        return Context(at, client)

    return read


def _nginx_fields(text: str) -> list[tuple[int, int, str]]:
    return [
        (found.start(), found.end(), "at" if found[1] in _TIMES else "client" if found[1] in _CLIENTS else "")
        for found in _NGINX.finditer(text)
    ]


def _apache_fields(text: str) -> list[tuple[int, int, str]]:
    return [(found.start(), found.end(), _apache_kind(found)) for found in _APACHE.finditer(text)]


def _apache_kind(found: re.Match[str]) -> str:
    letter, argument = found[2] or found[3], found[1]
    if letter == "%":
        return "literal"
    if letter in ("h", "a"):
        return "client"
    if letter == "t":
        return "bracketed" if argument is None else "at"
    return "client" if letter == "i" and (argument or "").lower() in ("x-real-ip", "x-forwarded-for") else ""
