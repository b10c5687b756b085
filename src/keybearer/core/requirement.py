"""What a guard asks of a credential: the other half of every decision."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

from .permissions import Demand
from .records import AndroidApp, Api, CredentialKind


class NamedCost(NamedTuple):
    """A limit that this request names, and how many units it takes."""

    name: str
    cost: int = 1


class Requirement(NamedTuple):
    """What must hold for a request to pass; what is ``None`` or empty was not asked.

    ``key_thumbprint`` and ``certificate_thumbprint`` are of keys that the sender proved to have (RFC 9449,
    RFC 8705).
    ``acr_values`` (one must be met) and ``max_age`` (microseconds) are about how and when a user signed in (RFC 9470).
    ``client_ip`` comes from the caller or from trusted proxies only. ``cost`` is what automatic limits and quotas take,
    ``credit_cost`` what credits take.
    """

    accept: frozenset[CredentialKind] | None = None
    api: Api | None = None
    demand: Demand | None = None
    client_ip: IPv4Address | IPv6Address | None = None
    origin: str | None = None
    referrer: str | None = None
    android_app: AndroidApp | None = None
    ios_bundle_id: str | None = None
    method: str | None = None
    path: str | None = None
    limits: tuple[NamedCost, ...] = ()
    cost: int = 1
    credit_cost: int = 1
    request_id: str | None = None
    tags: tuple[str, ...] = ()
    key_thumbprint: str = ""
    certificate_thumbprint: str = ""
    acr_values: tuple[str, ...] = ()
    max_age: int | None = None


ANYTHING = Requirement()
"""Only that the credential itself is good; the digest, state and expiry checks still run."""
