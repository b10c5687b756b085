"""The secrets that upstreams are shown: opened while the view of the records is fresh, and never sent in their absence.

Spec: APISIX CVE-2022-29266 (a secret that is missing closes the route).
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import quote

from ..core.errors import Unavailable
from ..core.records import State
from ..core.routes import Injection, InjectionPlace, Route
from ..core.secret import Secret
from ..core.upstream_secrets import UpstreamSecret
from ..services.authority import Authority
from ..services.upstream_secrets import reveal
from .fresh import fresh
from .message import HeaderList
from .redaction import spellings


class Shown(NamedTuple):
    """What a route's upstream is shown, and how that may come back; holds secrets, so it is never logged."""

    fields: HeaderList
    query: dict[str, str]
    spelt: frozenset[bytes]

    def __repr__(self) -> str:
        return "Shown(redacted)"


NOTHING = Shown([], {}, frozenset())


class UpstreamSecrets:
    """Opens secrets; what was opened counts as long as the very record is in the fresh catalogue."""

    def __init__(self, authority: Authority) -> None:
        self._authority = authority
        self._catalogue: object = None
        self._opened: dict[str, tuple[UpstreamSecret, Secret]] = {}
        self._shown: dict[tuple[Injection, ...], Shown] = {}

    async def shown_on(self, route: Route) -> Shown:
        """Return what the upstream of a route is shown; raises ``Unavailable`` when a secret is not there."""
        if not route.inject:
            return NOTHING
        records = self._authority.records
        catalogue = await fresh(records, records.upstream_secrets)
        if catalogue is not self._catalogue:
            self._catalogue = catalogue
            self._shown.clear()
            self._opened = {name: kept for name, kept in self._opened.items() if catalogue.get(name) == kept[0]}
        known = self._shown.get(route.inject)
        if known is None:
            known = self._shown[route.inject] = self._show(route, catalogue)
        return known

    async def secret(self, name: str) -> Secret:
        """Return one secret by its name; raises ``Unavailable``."""
        records = self._authority.records
        return self._open((await fresh(records, records.upstream_secrets)).get(name), name)

    def _show(self, route: Route, catalogue: Mapping[str, UpstreamSecret]) -> Shown:
        fields: HeaderList = []
        query: dict[str, str] = {}
        spelt: set[bytes] = set()
        for injection in route.inject:
            text = self._open(catalogue.get(injection.secret), injection.secret)
            secret = text.reveal()
            spelt |= spellings(secret)
            if injection.place is InjectionPlace.QUERY:
                query[quote(injection.name, safe="")] = quote(secret, safe="")
            elif injection.place is InjectionPlace.BEARER:
                fields.append((b"authorization", b"Bearer " + secret.encode()))
            elif injection.place is InjectionPlace.BASIC:
                pair = f"{injection.name}:{secret}"
                spelt |= spellings(pair)
                fields.append((b"authorization", b"Basic " + b64encode(pair.encode())))
            else:
                fields.append((injection.name.lower().encode(), secret.encode()))
        return Shown(fields, query, frozenset(spelt))

    def _open(self, record: UpstreamSecret | None, name: str) -> Secret:
        if record is None or record.state is not State.ENABLED:
            raise Unavailable("This route is not ready.", detail=f"there is no upstream secret {name!r}")
        known = self._opened.get(name)
        if known is None or known[0] != record:
            known = self._opened[name] = (record, reveal(self._authority.keyring, record))
        return known[1]
