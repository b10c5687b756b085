"""The first start: Keybearer's own API, its own project, and the root key. The authority eats its own food.

Both records have fixed ids, so that of two nodes that start at once only one can make them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from ..core import own_api
from ..core.credential import mint, new_id
from ..core.errors import Conflict, NotFound
from ..core.records import API_ID, KEY_ID, PROJECT_ID, Api, ApiKey, CredentialKind, Environment, Project
from ..formats.api_key import prefix_for
from ..ports import UnitOfWork
from ..wire.keys import IssuedKey
from .apis import synchronise_own
from .authority import SYSTEM, Authority, Deed
from .key_views import key_view
from .keys import new_version
from .problems import Problems
from .text import check_text

OWN_API_ID: Final = API_ID + "0" * 16
OWN_PROJECT_ID: Final = PROJECT_ID + "0" * 16


async def initialise(authority: Authority, admin_email: str = "") -> IssuedKey | None:
    """Make the authority's own records and its root key; ``None`` when they are there already.

    The key is shown this once. Also brings the own API's permissions up to those of this version.
    """
    check_email(admin_email)
    try:
        await authority.store.get(Project, OWN_PROJECT_ID)
    except NotFound:
        try:
            return await _begin(authority, admin_email)
        except Conflict:
            pass  # another node was faster: the key is shown there
    await synchronise(authority)
    return None


async def synchronise(authority: Authority) -> None:
    """Bring the own API's permissions up to those of this version; for every start after the first."""
    await synchronise_own(replace(authority, own_project_id=OWN_PROJECT_ID, own_api_id=OWN_API_ID))


async def issue_root_key(authority: Authority, admin_email: str = "") -> IssuedKey:
    """Make another root key, for an operator who lost the first; whoever can open the database and keyring may."""
    check_email(admin_email)
    project = await authority.store.get(Project, OWN_PROJECT_ID)
    return await authority.store.transact(lambda uow: _root_key(uow, authority, project, admin_email))


async def _begin(authority: Authority, admin_email: str) -> IssuedKey:
    now = authority.clock.now()
    api = Api(
        id=OWN_API_ID,
        created_at=now,
        updated_at=now,
        identifier=own_api.IDENTIFIER,
        name="Keybearer",
        permissions=own_api.PERMISSIONS,
        accepts=(CredentialKind.SECRET_KEY,),
    )
    project = Project(id=OWN_PROJECT_ID, created_at=now, updated_at=now, name="Keybearer", enabled_apis=(api.id,))

    async def work(uow: UnitOfWork) -> IssuedKey:
        await uow.insert(api)
        await uow.insert(project)
        deed = Deed(uow, SYSTEM, now)
        deed.note("api.create", api.id, details={"identifier": api.identifier})
        deed.note("project.create", project.id, project_id=project.id)
        return await _root_key(uow, authority, project, admin_email)

    return await authority.store.transact(work)


async def _root_key(uow: UnitOfWork, authority: Authority, project: Project, admin_email: str) -> IssuedKey:
    now = authority.clock.now()
    prefix = prefix_for(project.brand, CredentialKind.SECRET_KEY, Environment.LIVE)
    public_id = new_id(now)
    credential = mint(prefix, public_id)
    key = ApiKey(
        id=KEY_ID + public_id,
        created_at=now,
        updated_at=now,
        project_id=project.id,
        kind=CredentialKind.SECRET_KEY,
        environment=Environment.LIVE,
        prefix=prefix,
        name="root",
        versions=(new_version(authority, credential, 1, now),),
        owner=admin_email or None,
        permissions=(own_api.ADMIN,),
        created_by=SYSTEM.actor,
    )
    await uow.insert(key)
    Deed(uow, SYSTEM, now).note(
        "key.create", key.id, project_id=project.id, details={"permissions": list(key.permissions)}
    )
    return IssuedKey(key_view(key, now), credential.reveal())


def check_email(admin_email: str) -> None:
    """Raise ``InvalidInput`` for what cannot be an email address; empty is allowed."""
    problems = Problems()
    check_text(problems, admin_email, "admin_email")
    local, at, domain = admin_email.rpartition("@")
    if admin_email and (not local or not at or not domain or len(admin_email) > 254 or " " in admin_email):
        problems.add("admin_email", "should look like 'ada@example.com'")
    problems.settle()
