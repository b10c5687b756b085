"""What upstream OpenID providers say of themselves: their metadata, found by their issuer and kept for a while.

A visitor who presses a button again and again makes this authority ask a provider once in a while, no more.
Spec: OIDC Discovery §4.3, RFC 8414 §3.3, RFC 9207 §2.4.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from ..core.errors import KeybearerError, Unreachable
from ..core.instant import MINUTE, SECOND, Instant
from ..formats.jws import InvalidJws, json_object
from .authority import Authority
from .client_rules import is_web
from .key_sets import Keys, KeySets

PATH: Final = "/.well-known/openid-configuration"
KEPT_IN: Final = 10 * MINUTE
NOT_AGAIN_IN: Final = 10 * SECOND
MAX_PROVIDERS: Final = 1000
MAX_URL: Final = 2000


class ProviderUnusable(KeybearerError):
    """The provider does not answer, or says what cannot be trusted; ``detail`` says which, for the operator."""

    def __init__(self, detail: str) -> None:
        super().__init__("The provider cannot be used now.", detail=detail)


class Provider(NamedTuple):
    """The metadata of one provider, as far as it is needed here. An endpoint is empty when the provider has none.

    ``sends_iss``: it names itself in every answer.
    """

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str
    sends_iss: bool
    auth_methods: tuple[str, ...]

    @property
    def signs_in(self) -> bool:
        """Whether people can sign in there."""
        return bool(self.authorization_endpoint and self.token_endpoint)


class _Kept(NamedTuple):
    provider: Provider | None
    why_not: str
    asked_at: Instant


class Providers:
    """Finds providers and their keys. One object serves a process."""

    def __init__(self, authority: Authority, key_sets: KeySets | None = None) -> None:
        self._authority = authority
        self._key_sets = key_sets or KeySets(authority)
        self._kept: dict[str, _Kept] = {}
        self._asking: dict[str, asyncio.Lock] = {}

    async def of(self, issuer: str) -> Provider:
        """Return a provider; raises ``ProviderUnusable``."""
        if len(self._asking) >= MAX_PROVIDERS:
            self._asking.clear()
            self._kept.clear()
        async with self._asking.setdefault(issuer, asyncio.Lock()):
            now = self._authority.clock.now()
            kept = self._kept.get(issuer)
            if kept is None or now >= kept.asked_at + (KEPT_IN if kept.provider is not None else NOT_AGAIN_IN):
                try:
                    kept = _Kept(await self._ask(issuer), "", now)
                except ProviderUnusable as unusable:
                    kept = _Kept(None, unusable.detail or "", now)
                self._kept[issuer] = kept
        if kept.provider is None:
            raise ProviderUnusable(kept.why_not)
        return kept.provider

    async def keys(self, provider: Provider, *, afresh: bool = False) -> Keys:
        """Return the keys that a provider signs with, none when they cannot be had."""
        return await self._key_sets.at(provider.jwks_uri, afresh)

    async def _ask(self, issuer: str) -> Provider:
        fetcher = self._authority.fetcher
        if fetcher is None:
            raise ProviderUnusable("this authority reaches nobody")
        try:
            fetched = await fetcher.get(issuer.rstrip("/") + PATH)
            said = json_object(fetched.body, "metadata") if fetched.status == 200 else None
        except (Unreachable, InvalidJws) as error:
            raise ProviderUnusable(f"{error.public} {error.detail or ''}".strip()) from None
        if said is None:
            raise ProviderUnusable(f"the metadata is answered with status {fetched.status}")
        return understood(issuer, said)


def understood(issuer: str, said: Mapping[str, Any]) -> Provider:
    """Return the provider that a metadata document describes; raises ``ProviderUnusable``.

    The document must name exactly the issuer that it was looked up for, or another provider could speak for it.
    """
    if said.get("issuer") != issuer:
        raise ProviderUnusable("the metadata is another issuer's")
    endpoints = {}
    for name in ("authorization_endpoint", "token_endpoint", "jwks_uri", "userinfo_endpoint"):
        value = said.get(name, "")
        if value == "" and name != "jwks_uri":
            endpoints[name] = ""
        elif isinstance(value, str) and _is_endpoint(value):
            endpoints[name] = value
        else:
            raise ProviderUnusable(f"{name} is no https URL")
    return Provider(
        issuer=issuer,
        sends_iss=said.get("authorization_response_iss_parameter_supported") is True,
        auth_methods=_texts(said.get("token_endpoint_auth_methods_supported")) or ("client_secret_basic",),
        **endpoints,
    )


def _is_endpoint(url: str) -> bool:
    return len(url) <= MAX_URL and url.isascii() and url.isprintable() and " " not in url and is_web(url)


def _texts(value: object) -> tuple[str, ...]:
    return tuple(one for one in value if isinstance(one, str)) if isinstance(value, list) else ()
