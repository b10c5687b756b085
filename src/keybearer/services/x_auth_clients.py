"""The client that stands for the X-Auth-Token service in a project: tokens that come from API keys are issued to it.

It is made with the first such token. Who may change the project's clients finds it among them: disabled, it switches
the service off for the keys of this project; its ``access_token_in`` is how long their tokens live.
"""

from __future__ import annotations

import contextlib
from typing import Final

from ..core.clients import Client, ClientAuthMethod, ClientOrigin, GrantType, x_auth_id
from ..core.errors import Conflict
from ..core.instant import HOUR
from ..core.records import Project
from ..ports import UnitOfWork
from .authority import SYSTEM, Authority, Deed
from .known_clients import KnownClient, KnownClients

TOKEN_IN: Final = 1 * HOUR


async def service_client(authority: Authority, known: KnownClients, project: Project) -> KnownClient | None:
    """Return the client of a project, made if need be; ``None`` when the project is not enabled."""
    found = await known.find(x_auth_id(project.id))
    if found is None:
        await _make(authority, project)
        await authority.records.refresh()  # another node may have made it
        found = await known.find(x_auth_id(project.id))
    return found


async def _make(authority: Authority, project: Project) -> None:
    now = authority.clock.now()
    client = Client(
        id=x_auth_id(project.id),
        created_at=now,
        updated_at=now,
        project_id=project.id,
        name="X-Auth-Token service",
        # Anybody can say that they are this client, so there is nothing for it at the token endpoint: it can ask nobody
        # for consent, and no refresh token is ever issued to it.
        token_endpoint_auth_method=ClientAuthMethod.NONE,
        grant_types=(GrantType.REFRESH_TOKEN,),
        access_token_in=TOKEN_IN,
        origin=ClientOrigin.X_AUTH,
    )

    async def work(uow: UnitOfWork) -> None:
        await uow.insert(client)
        Deed(uow, SYSTEM, now).note("client.create", client.id, project_id=project.id, details={"by": "x-auth"})

    with contextlib.suppress(Conflict):  # another request was faster
        await authority.store.transact(work)
