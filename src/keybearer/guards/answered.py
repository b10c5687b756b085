"""What the authority answered, as the guard works with it."""

from __future__ import annotations

from ipaddress import ip_network

from ..core.instant import SECOND
from ..core.records import NO_RESTRICTIONS, AndroidApp, Api, BoundLimit, Permission, Restrictions, State, Take
from ..core.remembered import Remembered
from ..wire.base import to_instant
from ..wire.keys import RestrictionsSpec
from ..wire.records import ApiView
from ..wire.verify import StandingView
from .caller import Caller
from .memory import Entry


def entry_of(caller: Caller, standing: StandingView) -> Entry:
    """Return a yes of the authority as it is remembered."""
    spec = standing.restrictions
    restrictions = NO_RESTRICTIONS if spec is None else _restrictions(spec)
    depends_on = frozenset(standing.depends_on)
    remembered = Remembered(
        kind=caller.kind,
        depends_on=depends_on,
        api_ids=frozenset(standing.api_ids),
        permissions=caller.permissions,
        restrictions=restrictions,
        networks=tuple(ip_network(network) for network in restrictions.ip_networks),
        is_restricted=spec is not None,
        until=None if standing.until is None else to_instant(standing.until),
        source_until=None if standing.source_until is None else to_instant(standing.source_until),
        acr=caller.acr or "",
        authenticated_at=None if caller.authenticated_at is None else to_instant(caller.authenticated_at),
    )
    takes = tuple(
        Take(BoundLimit(one.bucket, one.name, one.limit, one.burst, one.emission_ns, True), 1)
        for one in standing.limits
    )
    return Entry(caller, remembered, depends_on, takes, standing.ask)


def _restrictions(spec: RestrictionsSpec) -> Restrictions:
    return Restrictions(
        ip_networks=tuple(spec.ip_networks),
        origins=tuple(spec.origins),
        referrers=tuple(spec.referrers),
        android_apps=tuple(AndroidApp(app.package, app.certificate_sha256) for app in spec.android_apps),
        ios_bundle_ids=tuple(spec.ios_bundle_ids),
        apis=tuple(spec.apis),
        methods=tuple(spec.methods),
        paths=tuple(spec.paths),
    )


def api_of(view: ApiView) -> Api:
    """Return an API as the core knows it."""
    return Api(
        id=view.id,
        created_at=to_instant(view.created_at),
        updated_at=to_instant(view.updated_at),
        state=State(view.state),
        revision=view.revision,
        identifier=view.identifier,
        name=view.name,
        permissions=tuple(
            Permission(one.name, one.description, one.read_only, one.restricted) for one in view.permissions
        ),
        accepts=tuple(view.accepts),
        token_format=view.token_format,
        token_in=None if view.token_in is None else view.token_in * SECOND,
        key_header=view.key_header,
        allow_publishable_in_query=view.allow_publishable_in_query,
        token_cookie=view.token_cookie,
        default_plan_id=view.default_plan_id,
    )
