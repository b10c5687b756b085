"""What a key stands on: its project and the APIs that the project may call, read before the change itself.

These reads are not locked. That is safe because verify reads the same records again each time: a key that was made
while its API was being taken away from the project opens nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..core.errors import NotFound
from ..core.permissions import holds
from ..core.records import Api, Identity, Project, State
from .authority import Authority, Caller


@dataclass(frozen=True, slots=True)
class Ground:
    """A project and, by id, the APIs that are enabled for it and not deleted."""

    project: Project
    apis: Mapping[str, Api]

    def declares(self, permission: str) -> bool:
        """Tell whether an API of the project has this permission or, for a wildcard, one that it covers."""
        held = frozenset((permission,))
        return any(holds(held, declared.name) for api in self.apis.values() for declared in api.permissions)

    def is_read_only(self, permission: str) -> bool:
        """Tell whether every API of the project that has this permission calls it read-only."""
        found = [p.read_only for api in self.apis.values() for p in api.permissions if p.name == permission]
        return bool(found) and all(found)

    def names(self) -> list[str]:
        """Return all permissions that may be given to keys of the project."""
        return sorted({p.name for api in self.apis.values() for p in api.permissions})


async def read_ground(authority: Authority, caller: Caller, project_id: str) -> Ground:
    """Return what keys of a project stand on; raises ``NotFound`` for projects that the caller does not see."""
    if caller.project_id not in (None, project_id):
        raise NotFound("project", project_id)
    project = await authority.store.get(Project, project_id)
    if project.state is State.DELETED:
        raise NotFound("project", project_id)
    apis = {}
    for api_id in project.enabled_apis:
        try:
            api = await authority.store.get(Api, api_id)
        except NotFound:
            continue
        if api.state is not State.DELETED:
            apis[api.id] = api
    return Ground(project, apis)


async def read_identity(authority: Authority, project_id: str, identity_id: str) -> Identity | None:
    """Return an identity that keys of the project may belong to, or ``None``."""
    try:
        identity = await authority.store.get(Identity, identity_id)
    except NotFound:
        return None
    return identity if identity.project_id == project_id and identity.state is not State.DELETED else None
