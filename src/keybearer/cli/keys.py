"""``keybearer keys``: the life of API keys."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer
from msgspec import UNSET, UnsetType

from ..client import IssuedKey, calls
from ..core.lifecycle import VersionState
from ..core.records import Environment, KeyKind
from ..wire.keys import KeyView, RestrictionsSpec
from . import options, output, values
from .credits import add_credits_command
from .imports import add_import
from .key_details import details, rows
from .options import (
    AllowApis,
    Androids,
    Credits,
    Ioses,
    Ips,
    Limits,
    Meta,
    Methods,
    NameFilter,
    Origins,
    Paths,
    Permissions,
    ProjectFilter,
    Quotas,
    Referrers,
    StateFilter,
    Tags,
    Texts,
)
from .records import RecordId, add_lifecycle, group
from .session import All, Max, Session, Yes, client_command

app = group("keys", "API keys: create, change, rotate, revoke, import.")

ExpiresIn = Annotated[str | None, typer.Option(metavar="DURATION", help="Expires after this time, as 30d or 12h.")]
ExpiresAt = Annotated[
    str | None, typer.Option(metavar="TIME", help="Expires then: 2027-01-31 or 2027-01-31T12:00:00Z.")
]
SecretOnly = Annotated[bool, typer.Option("--secret-only", help="Print nothing but the secret.")]
Wait = Annotated[bool, typer.Option("--wait", help="Return when every node refuses it.")]
Reason = Annotated[str, typer.Option(help="Why; kept in the audit log.")]
Kind = Annotated[KeyKind, typer.Option("--kind", help="What kind of key.")]
Env = Annotated[Environment, typer.Option("--environment", "--env", help="Live or test.")]
EMPTIED: dict[str, Any] = {
    "owner": None,
    "identity_id": None,
    "plan_id": None,
    "credits": None,
    "expires_at": None,
    "permissions": [],
    "restrictions": RestrictionsSpec(),
    "limits": [],
    "quotas": [],
    "tags": [],
    "metadata": {},
}
CLEAR_HELP = f"Clear a field: {', '.join(EMPTIED).replace('_', '-')}."


def _show_secret(session: Session, issued: IssuedKey, note: str, secret_only: bool) -> None:
    # The secret alone on its line, by plain print: no table may wrap it and no terminal width can cut it.
    if not secret_only:
        session.out.note(note.format(f"{issued.key.id} ({output.clean(issued.key.name)})"), "bold")
        for version in issued.key.versions:
            if version.state is VersionState.RETIRING:
                session.out.note(f"Secret {version.number} works on until {output.when(version.expires_at)}.")
    session.out.line(output.clean(issued.credential.reveal()))


@client_command(app, "create")
def create(
    session: Session,
    project: Annotated[str, typer.Option("--project", help="Id of the project that will call with it.")],
    name: Annotated[str, typer.Option(help="What people call it.")],
    kind: Kind = KeyKind.SECRET_KEY,
    environment: Env = Environment.LIVE,
    owner: Annotated[str | None, typer.Option(help="Who answers for it.")] = None,
    identity: Annotated[str | None, typer.Option("--identity", help="Id of an identity to share limits with.")] = None,
    plan: Annotated[str | None, typer.Option("--plan", help="Id of a plan of its own.")] = None,
    permission: Permissions = None,
    expires_in: ExpiresIn = None,
    expires_at: ExpiresAt = None,
    limit: Limits = None,
    quota: Quotas = None,
    credits: Credits = None,  # noqa: A002
    tag: Tags = None,
    meta: Meta = None,
    ip: Ips = None,
    origin: Origins = None,
    referrer: Referrers = None,
    allow_api: AllowApis = None,
    method: Methods = None,
    path: Paths = None,
    android: Androids = None,
    ios: Ioses = None,
    secret_only: SecretOnly = False,
) -> None:
    """Create a key and print its secret, this once.

    A publishable key needs --origin, --referrer, --ip, --android or --ios.
    """
    session.show(
        calls.keys.create(
            project_id=project,
            name=name,
            kind=kind,
            environment=environment,
            owner=owner,
            identity_id=identity,
            plan_id=plan,
            permissions=permission or (),
            restrictions=options.restrictions(ip, origin, referrer, allow_api, method, path, android, ios),
            limits=values.each("--limit", limit, values.rate_limit),
            quotas=values.each("--quota", quota, values.quota),
            credits=values.maybe("--credits", credits, values.prepaid),
            expires_in=values.maybe("--expires-in", expires_in, values.duration),
            expires_at=values.maybe("--expires-at", expires_at, values.instant),
            tags=tag or (),
            metadata=options.metadata(meta),
        ),
        lambda issued: _show_secret(session, issued, "Created {}. Its secret is shown only now:", secret_only),
    )


@client_command(app, "list")
def list_keys(
    session: Session,
    project: ProjectFilter = None,
    identity: Annotated[str | None, typer.Option("--identity", help="Only of this identity.")] = None,
    plan: Annotated[str | None, typer.Option("--plan", help="Only with this plan of their own.")] = None,
    kind: Annotated[KeyKind | None, typer.Option(help="Only of this kind.")] = None,
    environment: Annotated[
        Environment | None, typer.Option("--environment", "--env", help="Only live or test.")
    ] = None,
    owner: Annotated[str | None, typer.Option(help="Only of this owner.")] = None,
    name: NameFilter = None,
    tag: Annotated[str | None, typer.Option(help="Only with this tag.")] = None,
    state: StateFilter = None,
    at_most: Max = 50,
    everything: All = False,
) -> None:
    """List keys, oldest first."""
    pages = calls.keys.list(
        project_id=project,
        identity_id=identity,
        plan_id=plan,
        kind=kind,
        environment=environment,
        owner=owner,
        name=name,
        tag=tag,
        state=state,  # type: ignore[arg-type]
    )
    session.show_list(pages, at_most, everything, lambda keys: rows(session.out, keys))


@client_command(app, "update")
def update(
    session: Session,
    id: RecordId,  # noqa: A002
    name: Annotated[str | None, typer.Option(help="What people call it.")] = None,
    owner: Annotated[str | None, typer.Option(help="Who answers for it.")] = None,
    identity: Annotated[str | None, typer.Option("--identity", help="Id of an identity to share limits with.")] = None,
    plan: Annotated[str | None, typer.Option("--plan", help="Id of a plan of its own.")] = None,
    permission: Permissions = None,
    expires_in: ExpiresIn = None,
    expires_at: ExpiresAt = None,
    limit: Limits = None,
    quota: Quotas = None,
    credits: Credits = None,  # noqa: A002
    tag: Tags = None,
    meta: Meta = None,
    ip: Ips = None,
    origin: Origins = None,
    referrer: Referrers = None,
    allow_api: AllowApis = None,
    method: Methods = None,
    path: Paths = None,
    android: Androids = None,
    ios: Ioses = None,
    clear: Annotated[Texts, typer.Option(metavar="FIELD", help=CLEAR_HELP)] = None,
) -> None:
    """Change a key. Lists (permissions, limits, tags…) and all restrictions together replace what was there."""
    wanted = options.restrictions(ip, origin, referrer, allow_api, method, path, android, ios)
    moment = values.maybe("--expires-at", expires_at, values.instant)
    if expires_in is not None:
        if moment is not None:
            raise typer.BadParameter("give --expires-in or --expires-at, not both")
        moment = datetime.now(UTC) + timedelta(seconds=values.one("--expires-in", expires_in, values.duration))
    given = {
        "name": name,
        "owner": owner,
        "identity_id": identity,
        "plan_id": plan,
        "permissions": permission,
        "restrictions": None if wanted == RestrictionsSpec() else wanted,
        "limits": values.each("--limit", limit, values.rate_limit),
        "quotas": values.each("--quota", quota, values.quota),
        "credits": values.maybe("--credits", credits, values.prepaid),
        "expires_at": moment,
        "tags": tag,
        "metadata": options.metadata(meta) or None,
    }
    call = calls.keys.update(id, **options.changes(given, clear, EMPTIED))
    session.show(call, lambda key: details(session.out, key))


@client_command(app, "rotate")
def rotate(
    session: Session,
    id: RecordId,  # noqa: A002
    grace: Annotated[
        str, typer.Option(metavar="DURATION", help="How long the old secret still works; 0: not at all.")
    ] = "1d",
    quiet: Annotated[
        str | None, typer.Option(metavar="DURATION", help="End the old secret early once unused for this long.")
    ] = None,
    expires_at: Annotated[str | None, typer.Option(metavar="TIME", help="New expiry of the key, or 'never'.")] = None,
    secret_only: SecretOnly = False,
    yes: Yes = False,
) -> None:
    """Give a key a new secret and print it, this once. The old secret works on for the grace."""
    grace_in = values.one("--grace", grace, values.duration)
    expiry: datetime | UnsetType | None = UNSET
    if expires_at is not None:
        expiry = None if expires_at == "never" else values.one("--expires-at", expires_at, values.instant)
    if grace_in == 0:
        session.confirm(f"Rotate {id} without grace? Whoever has the old secret is refused at once.", yes)
    session.show(
        calls.keys.rotate(
            id, grace_in=grace_in, quiet_in=values.maybe("--quiet", quiet, values.duration), expires_at=expiry
        ),
        lambda issued: _show_secret(session, issued, "Rotated {}. Its new secret is shown only now:", secret_only),
    )


def _done(session: Session, text: str) -> None:
    session.out.line(text)


@client_command(app, "revoke")
def revoke(session: Session, id: RecordId, reason: Reason = "", wait: Wait = False, yes: Yes = False) -> None:  # noqa: A002
    """Refuse a key from now on, for good."""
    session.confirm(f"Revoke {id}? This cannot be undone.", yes)
    session.show(calls.keys.revoke(id, reason=reason, wait=wait), lambda key: _done(session, f"{key.id} revoked"))


@client_command(app, "revoke-version")
def revoke_version(
    session: Session,
    id: RecordId,  # noqa: A002
    number: Annotated[int, typer.Argument(metavar="NUMBER", help="Which of its secrets; see 'keys show'.")],
    reason: Reason = "",
    wait: Wait = False,
    yes: Yes = False,
) -> None:
    """Refuse one secret of a key from now on, for good; its other secrets work on."""
    session.confirm(f"Revoke secret {number} of {id}? This cannot be undone.", yes)
    call = calls.keys.revoke_version(id, number, reason=reason, wait=wait)
    session.show(call, lambda key: _done(session, f"{key.id} secret {number} revoked"))


def _show(session: Session, key: KeyView) -> None:
    details(session.out, key)


add_lifecycle(app, "key", calls.keys, _show, "Whoever presents it is refused.")
add_credits_command(app, "key", calls.keys.set_credits)
add_import(app, "key", lambda client: client.keys.import_keys)
