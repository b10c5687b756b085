"""Options that several commands share, and what is made of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from ..wire.keys import RestrictionsSpec
from . import values

Texts = list[str] | None

Limits = Annotated[
    Texts, typer.Option("--limit", metavar="NAME=N/PERIOD", help="Rate limit: requests=100/1m[,burst=20][,manual].")
]
Quotas = Annotated[Texts, typer.Option("--quota", metavar="NAME=N/UNIT", help="Quota: calls=10000/month[,manual].")]
Credits = Annotated[str | None, typer.Option("--credits", metavar="N", help="Prepaid credits: 500[,refill=500/month].")]
Meta = Annotated[Texts, typer.Option("--meta", metavar="NAME=VALUE", help="Metadata.")]
Permissions = Annotated[Texts, typer.Option("--permission", "-p", metavar="NAME", help="Permission, as orders:read.")]
Tags = Annotated[Texts, typer.Option("--tag", help="Tag.")]
StateFilter = Annotated[str | None, typer.Option("--state", help="enabled, disabled, revoked or deleted.")]
NameFilter = Annotated[str | None, typer.Option("--name", help="Only with this name.")]
ProjectFilter = Annotated[str | None, typer.Option("--project", help="Only of this project.")]

Ips = Annotated[Texts, typer.Option("--ip", metavar="NETWORK", help="Only from this address or network.")]
Origins = Annotated[Texts, typer.Option("--origin", help="Only from this web origin, as https://*.example.com.")]
Referrers = Annotated[Texts, typer.Option("--referrer", help="Only from pages at this address.")]
AllowApis = Annotated[Texts, typer.Option("--allow-api", metavar="API", help="Only at this API (id or identifier).")]
Methods = Annotated[Texts, typer.Option("--method", help="Only this HTTP method.")]
Paths = Annotated[Texts, typer.Option("--path", help="Only this path; /orders/* means all below.")]
Androids = Annotated[Texts, typer.Option("--android", metavar="PACKAGE=SHA256", help="Only from this Android app.")]
Ioses = Annotated[Texts, typer.Option("--ios", metavar="BUNDLE", help="Only from the iOS app with this bundle id.")]


def restrictions(
    ip: Texts,
    origin: Texts,
    referrer: Texts,
    allow_api: Texts,
    method: Texts,
    path: Texts,
    android: Texts,
    ios: Texts,
) -> RestrictionsSpec:
    """Return the restrictions that the options name."""
    return RestrictionsSpec(
        ip_networks=ip or [],
        origins=origin or [],
        referrers=referrer or [],
        android_apps=values.each("--android", android, values.android_app),
        ios_bundle_ids=ios or [],
        apis=allow_api or [],
        methods=[name.upper() for name in method or ()],
        paths=path or [],
    )


def metadata(texts: Sequence[str] | None) -> dict[str, Any]:
    """Return the metadata that the options name."""
    return dict(values.each("--meta", texts, values.pair))


def changes(given: Mapping[str, object], clear: Sequence[str] | None, emptied: Mapping[str, object]) -> dict[str, Any]:
    """Return what an update changes: what was given, and what ``--clear`` names, set to what ``emptied`` says."""
    found: dict[str, Any] = {name: value for name, value in given.items() if value is not None and value != []}
    for name in clear or ():
        field = name.replace("-", "_")
        if field not in emptied:
            raise typer.BadParameter(f"{name!r} is not one of {', '.join(emptied)}", param_hint="--clear")
        if field in found:
            raise typer.BadParameter(f"{name!r} cannot be given and cleared at once", param_hint="--clear")
        found[field] = emptied[field]
    if not found:
        raise typer.BadParameter("nothing to change was given")
    return found
