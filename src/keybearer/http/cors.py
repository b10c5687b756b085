"""Cross-origin resource sharing: the pages of which sites may read what a guarded API answers, refusals among it.

CORS keeps nobody out who is not a browser, and a simple request arrives whatever is said here: the credential decides
who may call, CORS only who may read along. So the policy is one value, written by the operator, and pure.
Spec: Fetch §3.2 (CORS protocol), §3.2.5 (credentials).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from ..core.errors import InvalidInput
from ..core.sources import exact_origin, origin_matches

ANY: Final = "*"
EXPOSED: Final = ("WWW-Authenticate", "Retry-After", "RateLimit", "RateLimit-Policy", "DPoP-Nonce", "X-Request-Id")
"""What a script must read to understand a refusal; without leave it sees but a handful of harmless headers."""
SAID: Final = frozenset(
    b"access-control-" + name
    for name in (
        *(b"allow-origin", b"allow-credentials", b"allow-methods", b"allow-headers", b"expose-headers", b"max-age"),
        b"allow-private-network",
    )
)
"""What whoever applies a policy takes from the answers of an upstream: two voices make a browser refuse."""

Headers = tuple[tuple[bytes, bytes], ...]
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)
_VARY: Final = (b"vary", b"Origin")
_PREFLIGHT_VARY: Final = (b"vary", b"Origin, Access-Control-Request-Method, Access-Control-Request-Headers")


@dataclass(frozen=True, slots=True)
class CorsPolicy:
    """The pages of which origins may read answers, and what their scripts may send.

    ``origins`` are exact (``https://app.example.com``), or all below a name (``https://*.example.com``), or ``*`` alone
    for everybody, which is right where credentials travel in headers that a page must know. ``with_cookies`` lets the
    browser add cookies by itself: then only exact origins will do. ``max_age`` is how many seconds a browser may
    remember a preflight. Raises ``InvalidInput`` for a policy that says more than its author can mean.
    """

    origins: tuple[str, ...]
    methods: tuple[str, ...] = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
    headers: tuple[str, ...] = ("Authorization", "Content-Type", "DPoP", "X-Api-Key")
    exposed: tuple[str, ...] = EXPOSED
    max_age: int = 600
    with_cookies: bool = False

    def __post_init__(self) -> None:
        """Refuse what browsers would ignore, or what would let strangers read with a user's cookies."""
        if not self.origins:
            raise InvalidInput.of("origins", "name at least one origin, or leave the policy out")
        for origin in self.origins:
            self._check_origin(origin)
        for field, names in (("methods", self.methods), ("headers", self.headers), ("exposed", self.exposed)):
            wrong = next((name for name in names if name == ANY or _TOKEN.fullmatch(name) is None), None)
            if wrong is not None:
                raise InvalidInput.of(field, f"{wrong!r} is not a name; list them, '*' never means Authorization")
        if not 0 <= self.max_age <= 86_400:
            raise InvalidInput.of("max_age", "must be from 0 to 86,400 seconds")

    def _check_origin(self, origin: str) -> None:
        if origin == ANY:
            if self.with_cookies or len(self.origins) > 1:
                raise InvalidInput.of("origins", "'*' stands alone, and never where cookies count")
            return
        scheme, wild, name = origin.partition("://*.")
        if wild and (self.with_cookies or "." not in name):
            raise InvalidInput.of("origins", f"{origin!r} lets in too much; name the origins one by one")
        plain = f"{scheme}://{name}" if wild else origin
        if "*" in plain or exact_origin(plain) != plain:
            raise InvalidInput.of(
                "origins", f"{origin!r} is not an origin; write one such as 'https://app.example.com'"
            )

    @property
    def is_for_all(self) -> bool:
        """Tell whether every page may read, so that no answer depends on who asks."""
        return self.origins == (ANY,)

    def allows(self, origin: str | None) -> bool:
        """Tell whether a page of this origin may read. ``null`` is nobody: any sandboxed frame can send it."""
        if self.is_for_all:
            return True
        sender = None if origin is None else exact_origin(origin)
        return sender is not None and any(origin_matches(pattern, sender) for pattern in self.origins)

    def of_answer(self, headers: Iterable[tuple[bytes, bytes]]) -> Headers:
        """Return what an answer to a request with these headers needs, whatever its status."""
        found = [value for name, value in headers if name == b"origin"]
        if len(found) > 1 or not self.allows(found[0].decode("latin-1") if found else None):
            return () if self.is_for_all else (_VARY,)
        said = self._permission(found)
        if self.exposed:
            said.append((b"access-control-expose-headers", ", ".join(self.exposed).encode()))
        return tuple(said)

    def of_preflight(self, method: str, headers: Sequence[tuple[bytes, bytes]]) -> Headers | None:
        """Return the headers of the 204 that answers a preflight, or ``None`` when the request is none.

        Preflights carry no credential, so they are answered before any is looked for; a refused one says nothing.
        Spec: Fetch §3.2.2.
        """
        fields = {name: value.decode("latin-1") for name, value in headers}
        if method != "OPTIONS" or b"origin" not in fields or b"access-control-request-method" not in fields:
            return None
        origins = [value for name, value in headers if name == b"origin"]
        if len(origins) > 1 or not self.allows(fields[b"origin"]):
            return (_PREFLIGHT_VARY,)
        said = [one for one in self._permission(origins) if one[0] != b"vary"]
        said += [
            (b"access-control-allow-methods", ", ".join(self.methods).encode()),
            (b"access-control-allow-headers", ", ".join(self.headers).encode()),
            (b"access-control-max-age", b"%d" % self.max_age),
            _PREFLIGHT_VARY,
        ]
        return tuple(said)

    def _permission(self, origins: list[bytes]) -> list[tuple[bytes, bytes]]:
        if self.is_for_all:
            return [(b"access-control-allow-origin", b"*")]
        said = [(b"access-control-allow-origin", origins[0]), _VARY]
        if self.with_cookies:
            said.append((b"access-control-allow-credentials", b"true"))
        return said


FOR_ALL: Final = CorsPolicy((ANY,))
"""Every page may read, and no browser adds a cookie: for APIs whose credentials stand in headers."""
