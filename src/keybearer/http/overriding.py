"""Headers by which a server behind the guard may take a request for another one: a method, or a target, in a header.

A key that may go anywhere still may; one that is restricted is refused where it is not certain where it goes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_METHODS: Final = (b"x-http-method-override", b"x-http-method", b"x-method-override")
_URLS: Final = (b"x-original-url", b"x-rewrite-url")
OVERRIDING: Final = frozenset((*_METHODS, *_URLS))


def unless_overridden(
    fields: Mapping[bytes, bytes], uri: str, path: str | None, method: str | None
) -> tuple[str | None, str | None]:
    """Return path and method, or ``None`` for what some server behind us would take from another header."""
    for name in _METHODS:
        value = fields.get(name)
        if value is not None and value.decode("latin-1").upper() != method:
            method = None
    for name in _URLS:
        value = fields.get(name)
        if value is not None and _without_host(value.decode("latin-1")) != uri:
            path = None
    return path, method


def _without_host(url: str) -> str:
    """Return the target of a URL, which some proxies write with scheme and host."""
    if url.startswith("/"):
        return url
    _, _, rest = url.partition("://")
    return "/" + rest.partition("/")[2]
