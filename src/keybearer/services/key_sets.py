"""The public keys of others: a client's own, or those that its ``jwks_uri`` points at, kept for a while.

Fetched again when no key fits, as after a rotation, but not more often than once in a while, so that bad assertions
cannot make this authority hammer a server. Spec: RFC 7517 §5, OIDC Core §10.1.1.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from ..core.clients import Client
from ..core.errors import Unreachable
from ..core.instant import MINUTE, SECOND, Instant
from ..formats.jws import InvalidJws, json_object
from .authority import Authority

MAX_KEYS: Final = 50
MAX_SETS: Final = 5_000
KEPT_IN: Final = 10 * MINUTE
NOT_AGAIN_IN: Final = 30 * SECOND

Keys = Sequence[Mapping[str, Any]]


class _Kept(NamedTuple):
    keys: Keys
    fetched_at: Instant
    tried_at: Instant


class KeySets:
    """Finds the keys of clients and issuers. One object serves a process."""

    def __init__(self, authority: Authority) -> None:
        self._authority = authority
        self._kept: dict[str, _Kept] = {}
        self._fetching: dict[str, asyncio.Lock] = {}

    async def of_client(self, client: Client, afresh: bool = False) -> Keys:
        """Return the keys of a client, none when they cannot be had."""
        if client.jwks_uri:
            return await self.at(client.jwks_uri, afresh)
        return keys_in(client.jwks or {})

    async def at(self, uri: str, afresh: bool = False) -> Keys:
        """Return the keys behind a URL: those that are kept, unless they are old or wanted ``afresh``."""
        authority = self._authority
        if authority.fetcher is None:
            return ()
        if len(self._fetching) >= MAX_SETS:
            self._fetching.clear()
            self._kept.clear()
        async with self._fetching.setdefault(uri, asyncio.Lock()):
            now = authority.clock.now()
            kept = self._kept.get(uri)
            if kept is not None:
                is_young = not afresh and now - kept.fetched_at < KEPT_IN
                if is_young or now - kept.tried_at < NOT_AGAIN_IN:
                    return kept.keys
            try:
                fetched = await authority.fetcher.get(uri, accept="application/jwk-set+json, application/json")
                keys = keys_in(json_object(fetched.body, "key set")) if fetched.status == 200 else None
            except (Unreachable, InvalidJws):
                keys = None
            if keys is not None:
                self._kept[uri] = _Kept(keys, now, now)
                return keys
            # What does not answer is not asked at every request; what was known of it goes on for its time.
            is_known = kept is not None and now - kept.fetched_at < KEPT_IN
            self._kept[uri] = kept._replace(tried_at=now) if kept is not None and is_known else _Kept((), now, now)
            return self._kept[uri].keys


def keys_in(document: Mapping[str, Any]) -> Keys:
    """Return the keys of a JWK Set; what is no key is left out, and so is what comes after the first fifty."""
    keys = document.get("keys")
    return [key for key in keys[:MAX_KEYS] if isinstance(key, dict)] if isinstance(keys, list) else ()
