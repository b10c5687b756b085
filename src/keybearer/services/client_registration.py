"""Dynamic registration: clients that register, read, change and remove themselves. Off unless the settings say so.

Open to all, or to holders of a key with ``keybearer:clients.register``. Strangers' clients belong to a project of their
own, which the operator gives APIs, or none. How many register a day is bounded, for each address and altogether, so
that nobody can fill the disk. Spec: RFC 7591, RFC 7592, OIDC Registration.
"""

from __future__ import annotations

import contextlib
import hmac
from dataclasses import replace
from typing import Any, Final

import msgspec

from ..core import credential, scopes
from ..core.clients import (
    CLIENT_ID,
    SECRET_METHODS,
    Client,
    ClientAuthMethod,
    ClientOrigin,
    GrantType,
    SubjectType,
)
from ..core.errors import Code, Conflict, FieldProblem, NotFound, Unreachable
from ..core.instant import HOUR, MINUTE, SECOND, Instant
from ..core.lifecycle import Change, change, touch
from ..core.oauth_error import (
    AccessDenied,
    InvalidClientMetadata,
    InvalidRedirectUri,
    InvalidToken,
    TooManyRequests,
)
from ..core.own_api import is_own
from ..core.quota import CalendarUnit
from ..core.records import PROJECT_ID, Project, Quota, State
from ..core.secret import Secret
from ..core.sources import counted_as
from ..core.tokens import IDENTITY_SCOPES
from ..ports import Charge, QuotaTake, UnitOfWork
from ..wire.registration import ClientInformation, ClientMetadata
from .authority import SYSTEM, Authority, Caller, Deed
from .client_rules import check_client
from .clients import new_secret
from .grounds import Ground, read_ground
from .metadata import endpoint
from .problems import Problems
from .text import check_metadata, check_text

PERMISSION: Final = "keybearer:clients.register"
PREFIX: Final = "kb_ra"
PATH: Final = "/oauth/register"
PROJECT: Final = PROJECT_ID + "0" * 15 + "1"
"""The project of clients that registered themselves; its id is fixed, so that two nodes cannot make two."""

UPDATES_PER_DAY: Final = 100
"""How often a client may replace its registration: each time is an entry in the logs, and may be a fetch."""

GRANTS: Final = frozenset({GrantType.AUTHORIZATION_CODE, GrantType.REFRESH_TOKEN, GrantType.DEVICE_CODE})
"""What strangers' clients may use: grants in which a user decides. Nobody vouches for what they do by themselves."""

_OWNER: Final = "registration"
_COPIED: Final = (
    "client_uri",
    "logo_uri",
    "policy_uri",
    "tos_uri",
    "jwks",
    "jwks_uri",
    "backchannel_logout_uri",
    "backchannel_logout_session_required",
    "sector_identifier_uri",
    "userinfo_signed_response_alg",
    "introspection_signed_response_alg",
    "request_object_signing_alg",
    "token_endpoint_auth_signing_alg",
    "require_auth_time",
    "require_pushed_authorization_requests",
    "require_signed_request_object",
    "dpop_bound_access_tokens",
    "tls_client_certificate_bound_access_tokens",
    "tls_client_auth_subject_dn",
    "tls_client_auth_san_dns",
    "tls_client_auth_san_uri",
    "tls_client_auth_san_ip",
    "tls_client_auth_san_email",
)


async def register(
    authority: Authority, caller: Caller | None, source: str, asked: ClientMetadata
) -> ClientInformation:
    """Register a client. ``caller`` holds a key that may; ``None`` is a stranger, where that is open.

    Raises ``AccessDenied``, ``InvalidClientMetadata``, ``InvalidRedirectUri`` and ``TooManyRequests``.
    """
    settings = authority.settings
    if settings.client_registration == "off" or (caller is None and settings.client_registration != "open"):
        raise AccessDenied("Clients do not register themselves here without a key that may.")
    by = caller or Caller(actor="stranger", permissions=frozenset(), source=source)
    if caller is None:
        await take_share(authority, source)
    project_id = PROJECT if caller is None or caller.project_id is None else caller.project_id
    ground = await ground_of(authority, project_id)
    now = authority.clock.now()
    client = replace(
        client_from(authority, asked, ground),
        id=CLIENT_ID + credential.new_id(now),
        created_at=now,
        updated_at=now,
        origin=ClientOrigin.REGISTERED,
    )
    check(client, ground)
    await check_sector(authority, client)
    secret: Secret | None = None
    if client.token_endpoint_auth_method in SECRET_METHODS:
        secret, stored = new_secret(authority, client, 1, now)
        client = replace(client, secrets=(stored,))
    token, client = _with_registration_token(authority, client)

    async def work(uow: UnitOfWork) -> None:
        await uow.insert(client)
        Deed(uow, by, now).note(
            "client.register", client.id, project_id=client.project_id, details={"scopes": list(client.scopes)}
        )

    await authority.store.transact(work)
    return _information(authority, client, secret, token)


async def authenticate(authority: Authority, client_id: str, text: str) -> Client:
    """Return the client whose registration access token this is; raises ``InvalidToken``. Spec: RFC 7592 §3."""
    parts = credential.split(text)
    refusal = InvalidToken("The registration access token is not good.")
    if parts is None or parts[0] != PREFIX or CLIENT_ID + parts[1] != client_id:
        raise refusal
    try:
        client = await authority.store.get(Client, client_id)
    except NotFound:
        raise refusal from None
    presented = authority.keyring.digest(client.registration_pepper_id or authority.keyring.active_pepper_id, text)
    if not hmac.compare_digest(presented, client.registration_digest) or client.state is not State.ENABLED:
        raise refusal
    return client


def read(authority: Authority, client: Client) -> ClientInformation:
    """Return a client's own registration. Spec: RFC 7592 §2.1."""
    return _information(authority, client, None, None)


async def update(authority: Authority, client: Client, asked: ClientMetadata) -> ClientInformation:
    """Replace a client's registration with what it sends; what it leaves out is reset. Spec: RFC 7592 §2.2."""
    if asked.client_id != client.id:
        raise InvalidClientMetadata("client_id must be the one that was registered.")
    await _take_update(authority, client)
    ground = await ground_of(authority, client.project_id)
    wanted = client_from(authority, asked, ground)
    method = wanted.token_endpoint_auth_method
    needs_another = method in SECRET_METHODS and (not client.secrets or method is ClientAuthMethod.SECRET_JWT)
    if needs_another and method is not client.token_endpoint_auth_method:
        raise InvalidClientMetadata("token_endpoint_auth_method cannot change to one that needs another secret.")
    await check_sector(authority, wanted)
    by = Caller(actor=client.id, permissions=frozenset(), project_id=client.project_id)

    async def work(uow: UnitOfWork) -> Client:
        now = authority.clock.now()
        stored = await uow.get(Client, client.id)
        changed = replace(
            wanted,
            id=stored.id,
            created_at=stored.created_at,
            updated_at=stored.updated_at,
            state=stored.state,
            revision=stored.revision,
            origin=stored.origin,
            secrets=stored.secrets,
            registration_digest=stored.registration_digest,
            registration_pepper_id=stored.registration_pepper_id,
            limits=stored.limits,
            quotas=stored.quotas,
            is_first_party=stored.is_first_party,
        )
        check(changed, ground)
        changed = touch(changed, now)
        await uow.update(changed)
        Deed(uow, by, now).note("client.update", client.id, project_id=client.project_id)
        return changed

    return _information(authority, await authority.store.transact(work), None, None)


async def remove(authority: Authority, client: Client) -> None:
    """Delete a client at its own wish, with all its tokens. Spec: RFC 7592 §2.3."""
    by = Caller(actor=client.id, permissions=frozenset(), project_id=client.project_id)

    async def work(uow: UnitOfWork) -> None:
        now = authority.clock.now()
        stored = await uow.get(Client, client.id)
        deleted = change(stored, Change.DELETE, now)
        if deleted is not stored:
            await uow.update(deleted)
            Deed(uow, by, now).note("client.delete", client.id, project_id=client.project_id)

    await authority.store.transact(work)


async def take_share(authority: Authority, source: str) -> None:
    """Count a registration; raises ``TooManyRequests`` when the day has had its share."""
    settings = authority.settings
    if settings.client_registrations_per_day == 0:
        raise AccessDenied("No more clients may register themselves here.")
    day = Quota("registrations", settings.client_registrations_per_day, CalendarUnit.DAY)
    own = Quota("registrations", max(1, settings.client_registrations_per_day // 10), CalendarUnit.DAY)
    takes = (QuotaTake(_OWNER, day, 1), QuotaTake(f"{_OWNER}:{counted_as(source)}", own, 1))
    charged = await authority.store.charge(Charge(_OWNER, None, (), takes, authority.clock.now()))
    if charged.code is not Code.VALID:
        retry_in = max((state.retry_in for state in charged.quotas if state.exceeded), default=HOUR)
        raise TooManyRequests("Too many clients registered today; try again later.", retry_in)


async def _take_update(authority: Authority, client: Client) -> None:
    """Count a change of a registration; raises ``TooManyRequests`` when the client has changed too often today."""
    take = QuotaTake(f"{_OWNER}:{client.id}", Quota("updates", UPDATES_PER_DAY, CalendarUnit.DAY), 1)
    charged = await authority.store.charge(Charge(_OWNER, None, (), (take,), authority.clock.now()))
    if charged.code is not Code.VALID:
        retry_in = max((state.retry_in for state in charged.quotas if state.exceeded), default=HOUR)
        raise TooManyRequests("This registration changed too often today; try again later.", retry_in)


async def ground_of(authority: Authority, project_id: str) -> Ground:
    """Return the project of clients that registered themselves, made where it is missing, or a key's own."""
    try:
        return await read_ground(authority, SYSTEM, project_id)
    except NotFound:
        if project_id != PROJECT:
            raise
    now = authority.clock.now()
    project = Project(id=PROJECT, created_at=now, updated_at=now, name="Registered clients")

    async def work(uow: UnitOfWork) -> None:
        await uow.insert(project)
        Deed(uow, SYSTEM, now).note("project.create", project.id, project_id=project.id)

    with contextlib.suppress(Conflict):  # another registration was faster
        await authority.store.transact(work)
    return await read_ground(authority, SYSTEM, project_id)


def client_from(authority: Authority, asked: ClientMetadata, ground: Ground) -> Client:
    """Return the client that the metadata describes, with the defaults of the specifications."""
    problems = Problems()
    check_text(problems, asked)
    if asked.jwks is not None:
        check_metadata(problems, asked.jwks, "jwks")
    _raise(problems.found)
    if asked.software_statement is not None:
        raise InvalidClientMetadata("software_statement is not taken here; send the metadata itself.")
    if asked.response_types is not None and any(kind != "code" for kind in asked.response_types):
        raise InvalidClientMetadata("response_types may only be code.")
    method = _of(
        ClientAuthMethod, asked.token_endpoint_auth_method or "client_secret_basic", "token_endpoint_auth_method"
    )
    allowed = [
        permission.name
        for api in ground.apis.values()
        for permission in api.permissions
        if not is_own(permission.name) and not permission.restricted
    ]
    known = [*sorted(IDENTITY_SCOPES), *allowed]
    wanted = list(scopes.parse(asked.scope)) if asked.scope else known
    settings = authority.settings
    now = Instant(0)
    return Client(
        id="",
        created_at=now,
        updated_at=now,
        project_id=ground.project.id,
        name=asked.client_name or "(unnamed client)",
        token_endpoint_auth_method=method,
        grant_types=tuple(
            _of(GrantType, text, "grant_types") for text in asked.grant_types or [GrantType.AUTHORIZATION_CODE.value]
        ),
        redirect_uris=tuple(dict.fromkeys(asked.redirect_uris)),
        post_logout_redirect_uris=tuple(dict.fromkeys(asked.post_logout_redirect_uris)),
        # What is not known here is left out, and the client is told (RFC 7591 §3.2.1).
        scopes=tuple(scope for scope in wanted if scope in known),
        contacts=tuple(asked.contacts),
        subject_type=_of(SubjectType, asked.subject_type, "subject_type"),
        id_token_signed_response_alg=asked.id_token_signed_response_alg or "RS256",
        authorization_signed_response_alg=asked.authorization_signed_response_alg or "RS256",
        default_max_age=None if asked.default_max_age is None else asked.default_max_age * SECOND,
        require_pkce=settings.registered_clients_need_pkce or method is ClientAuthMethod.NONE,
        access_token_in=10 * MINUTE,
        **{name: getattr(asked, name) for name in _COPIED},
    )


def _of(kind: Any, text: str, field: str) -> Any:
    try:
        return kind(text)
    except ValueError:
        names = ", ".join(one.value for one in kind)
        raise InvalidClientMetadata(f"{field} has {text[:60]!r}; it may be {names}.") from None


async def check_sector(authority: Authority, client: Client) -> None:
    """Raise ``InvalidClientMetadata`` unless the sector's document lists every redirect URI.

    Else a client could join the sector of others, and see their users by the same name. Spec: OIDC Registration §5.
    """
    uri = client.sector_identifier_uri
    if not uri:
        return
    problem = InvalidClientMetadata("sector_identifier_uri must be a JSON array that has every redirect URI.")
    if authority.fetcher is None:
        raise problem
    try:
        fetched = await authority.fetcher.get(uri)
        listed = msgspec.json.decode(fetched.body, type=list[str])
    except (Unreachable, msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise problem from None
    if fetched.status != 200 or not set(client.redirect_uris) <= set(listed):
        raise problem


def check(client: Client, ground: Ground) -> None:
    """Raise ``InvalidClientMetadata`` or ``InvalidRedirectUri`` for what is wrong with a client."""
    problems = Problems()
    check_client(problems, client, tuple(ground.apis.values()))
    _raise(problems.found)
    beyond = [grant.value for grant in client.grant_types if grant not in GRANTS]
    if ground.project.id == PROJECT and beyond:
        raise InvalidClientMetadata(f"grant_types: {beyond[0]} is for clients that an operator registered.")


def _raise(found: list[FieldProblem]) -> None:
    for problem in found:
        is_redirect = problem.field.startswith("redirect_uris")
        raise (InvalidRedirectUri if is_redirect else InvalidClientMetadata)(f"{problem.field}: {problem.message}")


def _with_registration_token(authority: Authority, client: Client) -> tuple[Secret, Client]:
    token = credential.mint(PREFIX, client.id.removeprefix(CLIENT_ID))
    pepper_id = authority.keyring.active_pepper_id
    digest = authority.keyring.digest(pepper_id, token.reveal())
    return token, replace(client, registration_digest=digest, registration_pepper_id=pepper_id)


def _information(
    authority: Authority, client: Client, secret: Secret | None, token: Secret | None
) -> ClientInformation:
    """Return a registration as it travels. Secrets are in the first answer alone."""
    return ClientInformation(
        client_id=client.id,
        client_id_issued_at=client.created_at // SECOND,
        client_secret=None if secret is None else secret.reveal(),
        client_secret_expires_at=0 if client.secrets else None,
        registration_access_token=None if token is None else token.reveal(),
        registration_client_uri=endpoint(authority.settings, f"{PATH}/{client.id}"),
        redirect_uris=list(client.redirect_uris),
        response_types=["code"],
        grant_types=[grant.value for grant in client.grant_types],
        token_endpoint_auth_method=client.token_endpoint_auth_method.value,
        client_name=client.name,
        contacts=list(client.contacts),
        scope=scopes.text_of(client.scopes),
        post_logout_redirect_uris=list(client.post_logout_redirect_uris),
        subject_type=client.subject_type.value,
        id_token_signed_response_alg=client.id_token_signed_response_alg,
        authorization_signed_response_alg=client.authorization_signed_response_alg,
        default_max_age=None if client.default_max_age is None else client.default_max_age // SECOND,
        **{name: getattr(client, name) for name in _COPIED if name != "jwks"},
        jwks=None if client.jwks is None else dict(client.jwks),
    )
