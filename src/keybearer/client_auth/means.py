"""What the methods of client authentication work with, and what each of them is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from cryptography import x509

from ..core.clients import Client, ClientAuthMethod
from ..core.instant import Instant
from ..formats.assertion import is_first_use, is_for, is_timely
from ..ports import Keyring, Store
from .presented import Presented

Keys = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Means:
    """Engines and facts.

    ``audiences`` are what a client assertion may be for, ``find_client`` finds a client by the id of its record,
    ``keys_of`` its JWKs, fetched if need be (``True``: again), ``open_secret`` the readable client secret of
    ``client_secret_jwt``.
    """

    keyring: Keyring
    store: Store
    now: Instant
    audiences: frozenset[str]
    find_client: Callable[[str], Awaitable[Client | None]]
    keys_of: Callable[[Client, bool], Awaitable[Keys]]
    open_secret: Callable[[Client, bytes], str]
    authorities: Sequence[x509.Certificate] = ()

    async def accept(self, claims: Mapping[str, Any] | None, client: Client) -> bool:
        """Tell whether verified claims prove the client, here, now and for the first time. Spec: RFC 7523 §3."""
        return (
            claims is not None
            and claims.get("iss") == claims.get("sub") == client.client_id
            and is_for(claims, self.audiences)
            and is_timely(claims, self.now)
            and await is_first_use(self.store, client.id, claims, self.now)
        )


class Method(Protocol):
    """One way in which a client proves who it is."""

    @property
    def method(self) -> ClientAuthMethod:
        """Its name in a client's ``token_endpoint_auth_method``."""
        ...

    def is_used(self, presented: Presented) -> bool:
        """Tell whether the request carries a proof of this kind, and no other."""
        ...

    async def proves(self, presented: Presented, client: Client, means: Means) -> bool:
        """Tell whether the request is the client's."""
        ...
