"""``keybearer clients``, ``grants`` and ``signing-keys``."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar

import msgspec
import typer
from msgspec import UNSET

from ..client import calls
from ..client.clients import IssuedClient
from ..core.clients import ClientAuthMethod, GrantType
from ..wire.clients import ClientView, CreateClient, UpdateClient
from ..wire.grants import GrantView, UpdateGrant
from ..wire.signing_keys import SigningKeyView
from . import options, output, values
from .options import Limits, Meta, NameFilter, ProjectFilter, Quotas, StateFilter, Texts
from .records import RecordId, add_lifecycle, common_details, group, limit_lines
from .session import All, Max, Session, Yes, client_command

clients = group("clients", "Clients: the applications that ask for tokens.")
grants = group("grants", "Grants: what users allowed clients.")
signing_keys = group("signing-keys", "Signing keys: what tokens are signed with.")
GROUPS = (clients, grants, signing_keys)

B = TypeVar("B", CreateClient, UpdateClient)

Auth = Annotated[ClientAuthMethod | None, typer.Option("--auth", help="How it proves itself; default: basic.")]
GrantTypes = Annotated[
    list[str] | None,
    typer.Option("--grant", metavar="GRANT", help="A grant it may use, as client_credentials, device_code."),
]
Redirects = Annotated[Texts, typer.Option("--redirect", metavar="URI", help="A redirect URI, compared exactly.")]
Logouts = Annotated[Texts, typer.Option("--logout-redirect", metavar="URI", help="Where sign-out may lead back.")]
Notices = Annotated[
    str | None, typer.Option("--backchannel-logout", metavar="URI", help="Where it is told that a session ended.")
]
ClientScopes = Annotated[Texts, typer.Option("--scope", metavar="NAME", help="A scope that it may ask for.")]
Optional = Annotated[Texts, typer.Option("--optional", metavar="NAME", help="A scope that users may deselect.")]
JwksUri = Annotated[str | None, typer.Option("--jwks-uri", help="Where its public keys are.")]
FirstParty = Annotated[bool | None, typer.Option("--first-party/--third-party", help="First parties need no consent.")]
Pkce = Annotated[bool | None, typer.Option("--pkce/--no-pkce", help="Whether PKCE is required; default: yes.")]
Dpop = Annotated[bool | None, typer.Option("--dpop/--no-dpop", help="Whether its tokens are bound by DPoP.")]
Par = Annotated[bool | None, typer.Option("--par/--no-par", help="Whether its requests must be pushed.")]
Fields = Annotated[
    Texts,
    typer.Option(
        "--set",
        metavar="FIELD=VALUE",
        help="Any other field of the REST API, JSON or text, as access_token_in=300; jwks=@keys.json reads a file.",
    ),
]
SecretOnly = Annotated[bool, typer.Option("--secret-only", help="Print nothing but the client secret.")]


def _grant(text: str) -> GrantType:
    for grant in GrantType:
        if text in (grant.value, grant.value.rpartition(":")[2], grant.value.rpartition(":")[2].replace("-", "_")):
            return grant
    names = ", ".join(grant.value.rpartition(":")[2].replace("-", "_") for grant in GrantType)
    raise ValueError(f"there is no grant {text!r}; use one of {names}")


def _with_fields(body: B, fields: Texts) -> B:
    """Return what is sent, with what ``--set`` says."""
    given = dict(values.each("--set", fields, values.field))
    try:
        return msgspec.convert({**msgspec.to_builtins(body), **given}, type(body))
    except msgspec.ValidationError as error:
        raise typer.BadParameter(str(error), param_hint="--set") from None


def _show_client(session: Session, client: ClientView) -> None:
    head, *rest = common_details(client)
    session.out.details(
        [
            head,
            ("name", client.name),
            ("project", client.project_id),
            ("proves itself by", client.token_endpoint_auth_method.value),
            ("secrets", [_secret_line(secret) for secret in client.secrets]),
            ("grants", [grant.value for grant in client.grant_types]),
            ("redirects", client.redirect_uris),
            ("logout redirects", client.post_logout_redirect_uris),
            ("told of logouts at", client.backchannel_logout_uri),
            ("scopes", _scope_lines(client)),
            ("requires", _requirements(client)),
            ("first party", "yes: no consent is asked" if client.is_first_party else None),
            ("access token", output.span(client.access_token_in)),
            ("refresh token", f"{output.span(client.refresh_token_in)}, idle {output.span(client.refresh_idle_in)}"),
            ("limits", limit_lines(client.limits, client.quotas)),
            ("origin", client.origin.value),
            *rest,
            ("metadata", output.metadata(client.metadata)),
        ]
    )


def _secret_line(secret: Any) -> str:
    if secret.revoked_at is not None:
        return f"{secret.number}: revoked"
    return f"{secret.number}" if secret.expires_at is None else f"{secret.number}: ends {output.ago(secret.expires_at)}"


def _scope_lines(client: ClientView) -> list[str]:
    return [f"{scope}{' (optional)' if scope in client.optional_scopes else ''}" for scope in client.scopes]


def _requirements(client: ClientView) -> str | None:
    asked = {
        "PKCE": client.require_pkce,
        "pushed requests": client.require_pushed_authorization_requests,
        "DPoP": client.dpop_bound_access_tokens,
        "mutual TLS": client.tls_client_certificate_bound_access_tokens,
    }
    return ", ".join(name for name, holds in asked.items() if holds) or None


def _show_issued(session: Session, issued: IssuedClient, note: str, secret_only: bool) -> None:
    if issued.client_secret is None:
        if not secret_only:
            session.out.note(f"{note} {issued.client.id}; it has no secret.", "bold")
        session.out.line(issued.client.id)
        return
    if not secret_only:
        session.out.note(f"{note} {issued.client.id}. Its secret is shown only now:", "bold")
    session.out.line(output.clean(issued.client_secret.reveal()))


@client_command(clients, "create")
def create_client(
    session: Session,
    project: Annotated[str, typer.Option("--project", help="Id of the project that it belongs to.")],
    name: Annotated[str, typer.Option(help="What people call it; users read this when they consent.")],
    auth: Auth = None,
    grant: GrantTypes = None,
    redirect: Redirects = None,
    logout_redirect: Logouts = None,
    backchannel_logout: Notices = None,
    scope: ClientScopes = None,
    optional: Optional = None,
    jwks_uri: JwksUri = None,
    first_party: FirstParty = None,
    pkce: Pkce = None,
    dpop: Dpop = None,
    par: Par = None,
    limit: Limits = None,
    quota: Quotas = None,
    meta: Meta = None,
    fields: Fields = None,
    secret_only: SecretOnly = False,
) -> None:
    """Register a client and print its secret, this once.

    Without --grant it may use authorization codes and refresh tokens, and needs --redirect.
    """
    body = CreateClient(
        project_id=project,
        name=name,
        redirect_uris=[*(redirect or ())],
        post_logout_redirect_uris=[*(logout_redirect or ())],
        backchannel_logout_uri=backchannel_logout or "",
        scopes=[*(scope or ())],
        optional_scopes=[*(optional or ())],
        jwks_uri=jwks_uri or "",
        is_first_party=bool(first_party),
        require_pkce=pkce is not False,
        dpop_bound_access_tokens=bool(dpop),
        require_pushed_authorization_requests=bool(par),
        limits=values.each("--limit", limit, values.rate_limit),
        quotas=values.each("--quota", quota, values.quota),
        metadata=options.metadata(meta),
    )
    if auth is not None:
        body.token_endpoint_auth_method = auth
    if grant:
        body.grant_types = values.each("--grant", grant, _grant)
    body = _with_fields(body, fields)
    session.show(calls.clients.create(body), lambda issued: _show_issued(session, issued, "Created", secret_only))


@client_command(clients, "update")
def update_client(
    session: Session,
    id: RecordId,  # noqa: A002
    name: Annotated[str | None, typer.Option(help="What people call it.")] = None,
    grant: GrantTypes = None,
    redirect: Redirects = None,
    logout_redirect: Logouts = None,
    backchannel_logout: Notices = None,
    scope: ClientScopes = None,
    optional: Optional = None,
    jwks_uri: JwksUri = None,
    first_party: FirstParty = None,
    pkce: Pkce = None,
    dpop: Dpop = None,
    par: Par = None,
    limit: Limits = None,
    quota: Quotas = None,
    meta: Meta = None,
    fields: Fields = None,
) -> None:
    """Change a client. Lists replace what was there."""
    given = {
        "name": name,
        "grant_types": values.each("--grant", grant, _grant) or None,
        "redirect_uris": redirect or None,
        "post_logout_redirect_uris": logout_redirect or None,
        "backchannel_logout_uri": backchannel_logout,
        "scopes": scope or None,
        "optional_scopes": optional or None,
        "jwks_uri": jwks_uri,
        "is_first_party": first_party,
        "require_pkce": pkce,
        "dpop_bound_access_tokens": dpop,
        "require_pushed_authorization_requests": par,
        "limits": values.each("--limit", limit, values.rate_limit) or None,
        "quotas": values.each("--quota", quota, values.quota) or None,
        "metadata": options.metadata(meta) or None,
    }
    body = UpdateClient(**{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]
    body = _with_fields(body, fields)
    if not msgspec.to_builtins(body):
        raise typer.BadParameter("nothing to change was given")
    session.show(calls.clients.update(id, body), lambda client: _show_client(session, client))


@client_command(clients, "list")
def list_clients(
    session: Session,
    project: ProjectFilter = None,
    name: NameFilter = None,
    state: StateFilter = None,
    at_most: Max = 50,
    everything: All = False,
) -> None:
    """List clients, oldest first."""

    def render(found: list[ClientView]) -> None:
        rows = [
            (
                one.id,
                one.name,
                one.project_id,
                one.token_endpoint_auth_method.value,
                output.state(one.state.value),
                output.ago(one.created_at),
            )
            for one in found
        ]
        session.out.table(("id", "name", "project", "auth", "state", "created"), rows, flexible=("name",))

    pages = calls.clients.list(project_id=project, name=name, state=state)  # type: ignore[arg-type]
    session.show_list(pages, at_most, everything, render)


@client_command(clients, "rotate")
def rotate_client(
    session: Session,
    id: RecordId,  # noqa: A002
    grace: Annotated[str, typer.Option("--grace", help="How long the old secret still works, as 1d or 0s.")] = "1d",
    secret_only: SecretOnly = False,
) -> None:
    """Give a client a new secret and print it, this once."""
    call = calls.clients.rotate(id, grace_in=values.one("--grace", grace, values.duration))
    session.show(call, lambda issued: _show_issued(session, issued, "Rotated", secret_only))


@client_command(clients, "revoke")
def revoke_client(session: Session, id: RecordId, yes: Yes = False) -> None:  # noqa: A002
    """Refuse a client for good, with all its tokens."""
    session.confirm(f"Revoke {id} for good, with all its tokens?", yes)
    session.show(calls.clients.revoke(id), lambda client: session.out.line(f"{client.id} revoked"))


add_lifecycle(clients, "client", calls.clients, _show_client, "All its tokens are refused.")


def _show_grant(session: Session, grant: GrantView) -> None:
    head, *rest = common_details(grant)
    session.out.details(
        [
            head,
            ("user", grant.user_id),
            ("client", grant.client_id),
            ("project", grant.project_id),
            ("scopes", grant.scopes),
            ("APIs", grant.resources),
            ("ends", output.when(grant.expires_at)),
            ("revoked", output.when(grant.revoked_at)),
            ("limits", limit_lines(grant.limits, grant.quotas)),
            *rest,
        ]
    )


@client_command(grants, "show")
def show_grant(session: Session, id: RecordId) -> None:  # noqa: A002
    """Show what a user allowed a client."""
    session.show(calls.grants.get(id), lambda grant: _show_grant(session, grant))


@client_command(grants, "list")
def list_grants(
    session: Session,
    user: Annotated[str | None, typer.Option("--user", help="Only of this user.")] = None,
    client: Annotated[str | None, typer.Option("--client", help="Only to this client.")] = None,
    project: ProjectFilter = None,
    state: StateFilter = None,
    at_most: Max = 50,
    everything: All = False,
) -> None:
    """List what users allowed clients, oldest first."""

    def render(found: list[GrantView]) -> None:
        rows = [
            (
                one.id,
                one.user_id,
                one.client_id,
                " ".join(one.scopes),
                output.state(one.state.value),
                output.ago(one.created_at),
            )
            for one in found
        ]
        session.out.table(("id", "user", "client", "scopes", "state", "created"), rows, flexible=("scopes",))

    pages = calls.grants.list(user_id=user, client_id=client, project_id=project, state=state)  # type: ignore[arg-type]
    session.show_list(pages, at_most, everything, render)


@client_command(grants, "narrow")
def narrow_grant(
    session: Session,
    id: RecordId,  # noqa: A002
    scope: Annotated[Texts, typer.Option("--scope", metavar="NAME", help="A scope that stays; the others go.")] = None,
    expires_at: Annotated[str | None, typer.Option("--expires-at", help="When it ends, in RFC 3339.")] = None,
    limit: Limits = None,
    quota: Quotas = None,
) -> None:
    """Take scopes away from a grant, end it sooner, or limit its tokens; tokens already out feel it at once."""
    body = UpdateGrant(
        scopes=[*scope] if scope else UNSET,
        expires_at=values.maybe("--expires-at", expires_at, values.instant) or UNSET,
        limits=values.each("--limit", limit, values.rate_limit) or UNSET,
        quotas=values.each("--quota", quota, values.quota) or UNSET,
    )
    if not msgspec.to_builtins(body):
        raise typer.BadParameter("nothing to change was given")
    session.show(calls.grants.update(id, body), lambda grant: _show_grant(session, grant))


@client_command(grants, "revoke")
def revoke_grant(
    session: Session,
    id: RecordId,  # noqa: A002
    wait: Annotated[bool, typer.Option("--wait", help="Return when every node refuses its tokens.")] = False,
    yes: Yes = False,
) -> None:
    """Revoke what a user allowed a client, with every token that it gave."""
    session.confirm(f"Revoke {id}, with every token that it gave?", yes)
    session.show(calls.grants.revoke(id, wait=wait), lambda grant: session.out.line(f"{grant.id} revoked"))


def _show_signing_key(session: Session, key: SigningKeyView) -> None:
    head, *rest = common_details(key)
    session.out.details(
        [
            head,
            ("algorithm", key.algorithm),
            ("phase", key.phase.value),
            ("signs from", output.when(key.activates_at)),
            ("signs until", output.when(key.retires_at)),
            ("published until", output.when(key.ends_at)),
            ("revoked", output.when(key.revoked_at)),
            *rest,
        ]
    )


@client_command(signing_keys, "list")
def list_signing_keys(session: Session, state: StateFilter = None, at_most: Max = 50, everything: All = False) -> None:
    """List signing keys, oldest first."""

    def render(found: list[SigningKeyView]) -> None:
        now = datetime.now(UTC)
        rows = [
            (
                one.id,
                one.algorithm,
                one.phase.value,
                output.state(one.state.value),
                output.ago(one.activates_at, now),
                output.ago(one.retires_at, now),
            )
            for one in found
        ]
        session.out.table(("id", "algorithm", "phase", "state", "signs from", "signs until"), rows)

    pages = calls.signing_keys.list(state=state)  # type: ignore[arg-type]
    session.show_list(pages, at_most, everything, render)


@client_command(signing_keys, "show")
def show_signing_key(session: Session, id: RecordId) -> None:  # noqa: A002
    """Show a signing key: its public half."""
    session.show(calls.signing_keys.get(id), lambda key: _show_signing_key(session, key))


@client_command(signing_keys, "rotate")
def rotate_signing_key(
    session: Session,
    algorithm: Annotated[str, typer.Option(help="ES256, RS256 or EdDSA.")] = "ES256",
    at_once: Annotated[bool, typer.Option("--at-once", help="Sign with it now, before caches have seen it.")] = False,
) -> None:
    """Make the next signing key: published now, signing in a day."""
    call = calls.signing_keys.rotate(algorithm=algorithm, at_once=at_once)
    session.show(call, lambda key: _show_signing_key(session, key))


@client_command(signing_keys, "revoke")
def revoke_signing_key(session: Session, id: RecordId, yes: Yes = False) -> None:  # noqa: A002
    """Refuse a signing key, and every JWT that it signed, for good."""
    session.confirm(f"Revoke {id}? Every JWT that it signed is refused at once.", yes)
    session.show(calls.signing_keys.revoke(id), lambda key: session.out.line(f"{key.id} revoked"))
