"""Redirect URIs: what may be registered, and when a presented one is a registered one.

Compared byte for byte; only the port of a loopback address may differ. Spec: RFC 9700 §2.1, RFC 8252 §7.3, ASVS 10.4.1.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urlsplit

MAX_LENGTH: Final = 2000

_LOOPBACK: Final = re.compile(r"(http://(?:127\.0\.0\.1|\[::1\]|localhost))(?::[0-9]{1,5})?((?:/[^#]*)?)", re.ASCII)
_PRINTABLE: Final = re.compile(r"[\x21-\x7e]+", re.ASCII)
_HOST: Final = re.compile(r"[a-z0-9_](?:[a-z0-9._-]*[a-z0-9_])?\.?|[0-9a-f:.]+", re.ASCII)
_SCHEME: Final = re.compile(r"[a-z][a-z0-9+-]*(?:\.[a-z0-9+-]+)+", re.ASCII)


def matches(registered: str, presented: str) -> bool:
    """Tell whether a presented redirect URI is this registered one."""
    if registered == presented:
        return True
    ours, theirs = _LOOPBACK.fullmatch(registered), _LOOPBACK.fullmatch(presented)
    return ours is not None and theirs is not None and ours.groups() == theirs.groups()


def problem_of(uri: str) -> str | None:
    """Return what is wrong with a redirect URI that somebody wants to register, or ``None``."""
    if len(uri) > MAX_LENGTH or _PRINTABLE.fullmatch(uri) is None or any(c in uri for c in '"<>\\^`{|}'):
        return f"must be an absolute URI of at most {MAX_LENGTH} ASCII characters"
    try:
        parts = urlsplit(uri)
        _ = parts.port
    except ValueError:
        return "is not a URI"
    if "#" in uri:
        return "must not have a fragment"
    if "*" in uri:
        return "must be exact: there are no wildcards"
    if any(segment in ("..", ".") or ";" in segment for segment in parts.path.lower().replace("%2e", ".").split("/")):
        return "must not have '.', '..' or ';' in its path"
    if parts.scheme in ("http", "https"):
        if "@" in parts.netloc or _HOST.fullmatch(parts.hostname or "") is None:
            return "needs a host in plain letters (xn--… where it has others), and no user name"
        if parts.scheme == "http" and _LOOPBACK.fullmatch(uri) is None:
            return "must use https, except on a loopback address"
        return None
    if parts.netloc:
        return "of an app's own scheme has no host: write com.example.app:/path"
    if _SCHEME.fullmatch(parts.scheme) is None:
        return "needs https, or an app's own scheme that is a reversed domain name, such as com.example.app:/callback"
    return None


def host_of(uri: str) -> str:
    """Return what a user can recognise of a redirect URI: its host, or the scheme of an app."""
    parts = urlsplit(uri)
    return parts.netloc if parts.scheme in ("http", "https") else f"{parts.scheme}:"
