"""``keybearer upstreams``: other OpenID providers whose users may sign in."""

from __future__ import annotations

from typing import Annotated

import typer

from ..client import calls
from ..wire.upstreams import DEFAULT_SCOPES, UpstreamView
from . import options, output
from .options import StateFilter, Texts
from .records import Quiet, RecordId, add_lifecycle, common_details, created, group
from .session import All, Max, Session, client_command, read_secret

app = group("upstreams", "Upstream providers: other OpenID providers whose users may sign in.")

Scopes = Annotated[
    Texts, typer.Option("--scope", metavar="NAME", help=f"What is asked for; default: {' '.join(DEFAULT_SCOPES)}.")
]
CreatesUsers = Annotated[
    bool | None,
    typer.Option("--creates-users/--no-creates-users", help="Whether the unknown become users."),
]
LinksByEmail = Annotated[
    bool | None,
    typer.Option("--links-by-email/--no-links-by-email", help="Whether a verified address finds a user who exists."),
]
SecretStdin = Annotated[bool, typer.Option("--client-secret-stdin", help="Read the client secret from standard input.")]


def _show(session: Session, upstream: UpstreamView) -> None:
    head, *rest = common_details(upstream)
    session.out.details(
        [
            head,
            ("name", upstream.name),
            ("issuer", upstream.issuer),
            ("client id", upstream.client_id),
            ("client secret", "yes" if upstream.has_secret else "none"),
            ("scopes", " ".join(upstream.scopes)),
            ("creates users", "yes" if upstream.creates_users else "no"),
            ("links by e-mail", "yes" if upstream.links_by_email else "no"),
            ("redirect URI", upstream.redirect_uri),
            *rest,
        ]
    )


@client_command(app, "create")
def create(
    session: Session,
    name: Annotated[str, typer.Option(help="What people call it; it stands on the button of the sign-in page.")],
    issuer: Annotated[str, typer.Option(help="Its issuer URL, as https://accounts.example.com; never changes.")],
    client_id: Annotated[str, typer.Option(help="The client that this authority is there.")],
    client_secret_stdin: SecretStdin = False,
    scope: Scopes = None,
    creates_users: CreatesUsers = None,
    links_by_email: LinksByEmail = None,
    quiet: Quiet = False,
) -> None:
    """Register a provider. The redirect URI that is shown must be registered there."""
    call = calls.upstreams.create(
        name=name,
        issuer=issuer,
        client_id=client_id,
        client_secret=read_secret("Client secret: ") if client_secret_stdin else None,
        scopes=scope or DEFAULT_SCOPES,
        creates_users=bool(creates_users),
        links_by_email=bool(links_by_email),
    )
    session.show(call, created(session, quiet, _show))


@client_command(app, "update")
def update(
    session: Session,
    id: RecordId,  # noqa: A002
    name: Annotated[str | None, typer.Option(help="What people call it.")] = None,
    client_id: Annotated[str | None, typer.Option(help="The client that this authority is there.")] = None,
    client_secret_stdin: SecretStdin = False,
    scope: Scopes = None,
    creates_users: CreatesUsers = None,
    links_by_email: LinksByEmail = None,
    clear: Annotated[Texts, typer.Option(metavar="FIELD", help="Clear client-secret.")] = None,
) -> None:
    """Change a provider. Scopes replace what was there."""
    given = {
        "name": name,
        "client_id": client_id,
        "client_secret": read_secret("Client secret: ") if client_secret_stdin else None,
        "scopes": scope or None,
        "creates_users": creates_users,
        "links_by_email": links_by_email,
    }
    call = calls.upstreams.update(id, **options.changes(given, clear, {"client_secret": None}))
    session.show(call, lambda upstream: _show(session, upstream))


@client_command(app, "list")
def list_upstreams(
    session: Session,
    issuer: Annotated[str | None, typer.Option(help="Only with this issuer.")] = None,
    state: StateFilter = None,
    at_most: Max = 50,
    everything: All = False,
) -> None:
    """List providers, oldest first."""

    def render(found: list[UpstreamView]) -> None:
        rows = [(one.id, one.name, one.issuer, output.state(one.state.value)) for one in found]
        session.out.table(("id", "name", "issuer", "state"), rows, flexible=("name", "issuer"))

    session.show_list(calls.upstreams.list(issuer=issuer, state=state), at_most, everything, render)  # type: ignore[arg-type]


add_lifecycle(app, "provider", calls.upstreams, _show, "Nobody can sign in with it any more; sessions go on.")
