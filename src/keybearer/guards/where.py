"""From where and for what a request came, and what a rule asks of it."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from typing import Final, NamedTuple

from ..core.instant import SECOND
from ..core.records import AndroidApp, Api
from ..core.requirement import Requirement
from ..wire.keys import AndroidAppSpec
from ..wire.verify import CreditCost, LimitCost, VerifyRequest
from .rule import Rule


class Where(NamedTuple):
    """From where and for what a request came, as far as it is known; what is restricted and not stated is refused.

    ``path`` is as it was sent, without the query; ``url`` is the whole URL, which only a proof of possession needs.
    """

    client_ip: IPv4Address | IPv6Address | None = None
    origin: str | None = None
    referrer: str | None = None
    android_app: AndroidApp | None = None
    ios_bundle_id: str | None = None
    method: str | None = None
    path: str | None = None
    url: str | None = None
    dpop: str | None = None
    certificate_thumbprint: str | None = None


NOWHERE: Final = Where()


def requirement(wanted: Rule, where: Where, api: Api) -> Requirement:
    """Return what must hold, for a decision made here."""
    return Requirement(
        accept=wanted.accept,
        api=api,
        demand=wanted.demand,
        client_ip=where.client_ip,
        origin=where.origin,
        referrer=where.referrer,
        android_app=where.android_app,
        ios_bundle_id=where.ios_bundle_id,
        method=where.method,
        path=where.path,
        acr_values=wanted.acr_values,
        max_age=wanted.max_age,
    )


def question(credential: str, wanted: Rule, where: Where, api: str) -> VerifyRequest:
    """Return what must hold, for a decision of the authority's."""
    app = where.android_app
    return VerifyRequest(
        credential=credential,
        accept=None if wanted.accept is None else sorted(wanted.accept),
        api=api,
        permissions=wanted.expression,
        limits=[LimitCost(name, cost) for name, cost in wanted.limits],
        cost=wanted.cost,
        credits=None if wanted.credits is None else CreditCost(wanted.credits),
        client_ip=None if where.client_ip is None else str(where.client_ip),
        origin=where.origin,
        referrer=where.referrer,
        android_app=None if app is None else AndroidAppSpec(app.package, app.certificate_sha256),
        ios_bundle_id=where.ios_bundle_id,
        method=where.method,
        url=where.url if where.dpop is not None else where.path,
        dpop=where.dpop,
        certificate_thumbprint=where.certificate_thumbprint,
        acr_values=list(wanted.acr_values),
        max_age=None if wanted.max_age is None else wanted.max_age // SECOND,
        remember=True,
    )
