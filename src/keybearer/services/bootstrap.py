"""The first start: Keybearer's own API and project, the root key, the first administrator. It eats its own food.

Both records have fixed ids, so that of two nodes that start at once only one can make them.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from typing import Final

from ..core import own_api
from ..core.artefacts import ArtefactKind
from ..core.clients import CLIENT_ID, Client, ClientAuthMethod, GrantType
from ..core.credential import mint, new_id
from ..core.email_address import normalise
from ..core.errors import Conflict, InvalidInput, NotFound
from ..core.instant import DAY
from ..core.lifecycle import touch
from ..core.records import API_ID, KEY_ID, PROJECT_ID, Api, ApiKey, CredentialKind, Environment, Project
from ..formats.api_key import prefix_for
from ..ports import UnitOfWork
from ..wire.keys import IssuedKey
from .apis import synchronise_own
from .authority import SYSTEM, Authority, Deed
from .key_views import key_view
from .keys import new_version
from .mail_links import Purpose, issue
from .passwords import check_choice
from .people import insert_user
from .problems import Problems
from .sign_in import find_by_email
from .text import MAX_SHOWN, check_text, shown

FIRST_ADMINISTRATOR: Final = "administrator@localhost"
"""Who the first administrator is where nobody was named; they give themselves an address after the first sign-in."""
FIRST_LINK_IN: Final = 1 * DAY
OWN_API_ID: Final = API_ID + "0" * 16
OWN_PROJECT_ID: Final = PROJECT_ID + "0" * 16
COMMAND_LINE_ID: Final = CLIENT_ID + "0000keybearercli"
"""The client that the command line is (``client/device_login.py``)."""


@dataclass(frozen=True, slots=True)
class Administrator:
    """The first administrator: a user who may do everything. ``encoded`` is the hash of their password, if any."""

    email: str
    encoded: str = ""


async def initialise(
    authority: Authority, admin_email: str = "", *, administrator: Administrator | None = None
) -> IssuedKey | None:
    """Make the authority's own records and its root key; ``None`` when they are there already.

    The key is shown this once. Also brings the own API's permissions up to those of this version. The ``administrator``
    is made in the same transaction.
    """
    check_email(admin_email)
    try:
        await authority.store.get(Project, OWN_PROJECT_ID)
    except NotFound:
        try:
            issued = await _begin(authority, admin_email, administrator)
            await _ensure_command_line(authority)
            return issued
        except Conflict:
            pass  # another node was faster: the key is shown there
    await synchronise(authority)
    return None


async def synchronise(authority: Authority) -> None:
    """Bring the own API's permissions up to those of this version; for every start after the first."""
    await synchronise_own(replace(authority, own_project_id=OWN_PROJECT_ID, own_api_id=OWN_API_ID))
    await _ensure_command_line(authority)


async def _ensure_command_line(authority: Authority) -> None:
    """Make the client that ``keybearer login`` is, or bring its scopes up to those of this version."""
    scopes = (*(permission.name for permission in own_api.PERMISSIONS), "openid", "offline_access")
    try:
        stored = await authority.store.get(Client, COMMAND_LINE_ID)
    except NotFound:
        stored = None
    if stored is not None and stored.scopes == scopes:
        return
    now = authority.clock.now()
    client = Client(
        id=COMMAND_LINE_ID,
        created_at=now,
        updated_at=now,
        project_id=OWN_PROJECT_ID,
        name="Keybearer command line",
        token_endpoint_auth_method=ClientAuthMethod.NONE,
        grant_types=(GrantType.DEVICE_CODE, GrantType.REFRESH_TOKEN),
        scopes=scopes,
    )

    async def work(uow: UnitOfWork) -> None:
        if stored is None:
            await uow.insert(client)
        else:
            await uow.update(touch(await uow.get(Client, client.id), now, scopes=scopes))
        action = "client.create" if stored is None else "client.update"
        Deed(uow, SYSTEM, now).note(action, client.id, project_id=client.project_id)

    with contextlib.suppress(Conflict):  # another node was faster
        await authority.store.transact(work)


async def issue_root_key(authority: Authority, admin_email: str = "") -> IssuedKey:
    """Make another root key, for an operator who lost the first; whoever can open the database and keyring may."""
    check_email(admin_email)
    project = await authority.store.get(Project, OWN_PROJECT_ID)
    return await authority.store.transact(lambda uow: _root_key(uow, authority, project, admin_email))


async def prepare_administrator(authority: Authority, email: str, password: str | None) -> Administrator:
    """Return the first administrator with the password hashed.

    Raises ``InvalidInput`` for what is no address, or a password that may not be chosen.
    """
    address = normalise(email)
    if address is None:
        raise InvalidInput.of("admin-email", f"{shown(email)} is no address such as ada@example.com")
    if password is None:
        return Administrator(address)
    settings = authority.settings
    check_choice(settings, password, has_second_factor=False, context=(address,), field="admin-password")
    return Administrator(address, await authority.passwords.hash(password))


async def sign_in_link(authority: Authority, email: str) -> str:
    """Return a link that signs a user in once, within a day: for the operator, who can open the database anyway.

    Raises ``NotFound`` when nobody has this address.
    """
    user = await find_by_email(authority, email)
    if user is None:
        raise NotFound("user", email[:MAX_SHOWN])

    async def work(uow: UnitOfWork) -> str:
        purpose, kind = Purpose(user.email), ArtefactKind.SIGN_IN_LINK
        link = await issue(uow, authority, kind, purpose, user_id=user.id, lifetime_in=FIRST_LINK_IN)
        now = authority.clock.now()
        Deed(uow, SYSTEM, now).note("user.send_link", user.id, details={"kind": kind, "by": "operator"}, event=False)
        return link

    return await authority.store.transact(work)


async def _begin(authority: Authority, admin_email: str, administrator: Administrator | None) -> IssuedKey:
    now = authority.clock.now()
    api = Api(
        id=OWN_API_ID,
        created_at=now,
        updated_at=now,
        identifier=own_api.IDENTIFIER,
        name="Keybearer",
        permissions=own_api.PERMISSIONS,
        accepts=own_api.ACCEPTS,
    )
    project = Project(id=OWN_PROJECT_ID, created_at=now, updated_at=now, name="Keybearer", enabled_apis=(api.id,))

    async def work(uow: UnitOfWork) -> IssuedKey:
        await uow.insert(api)
        await uow.insert(project)
        deed = Deed(uow, SYSTEM, now)
        deed.note("api.create", api.id, details={"identifier": api.identifier})
        deed.note("project.create", project.id, project_id=project.id)
        if administrator is not None:
            await _insert_administrator(uow, authority, administrator)
        return await _root_key(uow, authority, project, admin_email)

    return await authority.store.transact(work)


async def _insert_administrator(uow: UnitOfWork, authority: Authority, administrator: Administrator) -> None:
    now = authority.clock.now()
    permissions = (own_api.ADMIN,)
    user, factors = await insert_user(
        uow, authority, new_id(now), administrator.email, verified=True, permissions=permissions
    )
    if administrator.encoded:
        changes = {"password_hash": administrator.encoded, "password_changed_at": now, "password_is_long": True}
        await uow.update(touch(factors, now, **changes))
    Deed(uow, SYSTEM, now).note("user.create", user.id, details={"permissions": list(permissions)})


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
