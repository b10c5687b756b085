"""How Keystone shows a token: the project's credential is the user, permissions are roles, the API's the catalogue."""

from __future__ import annotations

from datetime import UTC
from typing import Final

from ...core.instant import Instant
from ...core.records import Api, Project
from ...services.x_auth import DEFAULT_DOMAIN, Described
from ...services.x_auth_catalog import entries_of, url_for
from ...wire.base import moment
from ...wire.x_auth import Endpoint, InDomain, Named, Service, TokenAnswer, TokenView, UserView

_DOMAIN: Final = Named(DEFAULT_DOMAIN, "Default")


def token_view(described: Described, method: str, *, with_catalog: bool) -> TokenAnswer:
    """Return the body of an answer about a token."""
    view = TokenView(
        methods=[method],
        user=UserView(described.user_id, described.user_name, _DOMAIN),
        project=project_view(described.project),
        is_domain=False,
        roles=[Named(name, name) for name in described.permissions],
        audit_ids=[described.token_id],
        issued_at=_instant(described.issued_at),
        expires_at=_instant(described.expires_at),
    )
    if with_catalog:
        view.catalog = catalog_view(described.api, described.project)
    return TokenAnswer(view)


def project_view(project: Project) -> InDomain:
    """Return a project."""
    return InDomain(project.id, project.name, _DOMAIN)


def catalog_view(api: Api | None, project: Project) -> list[Service]:
    """Return the services of an API by type, each with its endpoints in all regions."""
    services: dict[str, Service] = {}
    for number, entry in enumerate(() if api is None else entries_of(api)):
        # Made of what it stands for, so that it stays the same: clients cache by it.
        place = f"{'' if api is None else api.id}-{entry.type}"
        endpoint = Endpoint(f"{place}-{number}", "public", entry.region, entry.region, url_for(entry, project.id))
        services.setdefault(entry.type, Service(place, entry.type, entry.name, [])).endpoints.append(endpoint)
    return list(services.values())


def _instant(at: Instant) -> str:
    return moment(at).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
