"""``keybearer users`` and ``sessions``: who may sign in, and who is signed in."""

from __future__ import annotations

from typing import Annotated

import typer

from ..client import calls
from ..wire.users import FactorsView, LinkKind, LinkView, SessionView, UserView
from . import options, output, values
from .imports import add_import
from .options import Meta, StateFilter, Texts
from .records import Quiet, RecordId, add_lifecycle, common_details, created, group
from .session import All, Max, Session, Yes, client_command, read_password

app = group("users", "Users: the people that tokens act for.")
sessions = group("sessions", "Sessions: who is signed in, and where.")

Claims = Annotated[Texts, typer.Option("--claim", metavar="NAME=VALUE", help="An OpenID claim, as given_name=Ada.")]
UserPermissions = Annotated[
    Texts, typer.Option("--permission", "-p", metavar="NAME", help="A restricted permission that they hold.")
]
Links = Annotated[Texts, typer.Option("--link", metavar="ISSUER=SUBJECT", help="Who they are elsewhere, as crm=4711.")]
Verified = Annotated[
    bool | None,
    typer.Option("--email-verified/--email-not-verified", help="Whether the address is known to be theirs."),
]
UserId = Annotated[str, typer.Argument(metavar="USER", help="Id of the user.")]


def _claims(texts: Texts) -> dict[str, object]:
    return dict(values.each("--claim", texts, values.claim))


def _show(session: Session, user: UserView) -> None:
    head, *rest = common_details(user)
    session.out.details(
        [
            head,
            ("email", f"{user.email}{'' if user.email_verified else ' (not verified)'}"),
            ("name", user.name),
            ("permissions", user.permissions),
            ("claims", output.metadata(user.claims)),
            *rest,
            ("metadata", output.metadata(user.metadata)),
        ]
    )


def _show_factors(session: Session, held: FactorsView) -> None:
    passkeys = [
        f"{one.name}, last used {output.ago(one.last_used_at)}{' (synced)' if one.backed_up else ''}"
        for one in held.passkeys
    ]
    changed = f"changed {output.ago(held.password_changed_at)}" if held.has_password else "none"
    session.out.details(
        [
            ("user", held.user_id),
            ("password", changed),
            ("authenticator", "yes" if held.has_totp else "no"),
            ("passkeys", passkeys or "none"),
            ("recovery codes", str(held.recovery_codes)),
            ("failures", f"{held.failures} in a row, the last {output.ago(held.failed_at)}" if held.failures else None),
        ]
    )


@client_command(app, "create")
def create(
    session: Session,
    email: Annotated[str, typer.Option(help="Their address; they sign in with it.")],
    name: Annotated[str, typer.Option(help="Their name.")] = "",
    invite: Annotated[bool, typer.Option("--invite", help="Send a link to choose a password.")] = False,
    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="Read a password from standard input.")
    ] = False,
    email_verified: Verified = None,
    permission: UserPermissions = None,
    claim: Claims = None,
    link: Links = None,
    meta: Meta = None,
    quiet: Quiet = False,
) -> None:
    """Make a user."""
    call = calls.users.create(
        email=email,
        name=name,
        password=read_password("Password: ") if password_stdin else None,
        email_verified=bool(email_verified),
        invite=invite,
        claims=_claims(claim),
        permissions=permission or (),
        links=values.each("--link", link, values.link),
        metadata=options.metadata(meta),
    )
    user = session.show(call, created(session, quiet, _show))
    if not (invite or password_stdin or link or quiet or session.as_json):
        note = f"They cannot sign in yet: invite them with 'keybearer users send-link {output.clean(user.id)}'."
        session.out.note(note)


@client_command(app, "update")
def update(
    session: Session,
    id: RecordId,  # noqa: A002
    email: Annotated[str | None, typer.Option(help="Their new address.")] = None,
    name: Annotated[str | None, typer.Option(help="Their name.")] = None,
    email_verified: Verified = None,
    permission: UserPermissions = None,
    claim: Claims = None,
    meta: Meta = None,
    clear: Annotated[Texts, typer.Option(metavar="FIELD", help="Clear permissions, claims or metadata.")] = None,
) -> None:
    """Change a user. Permissions, claims and metadata replace what was there."""
    given = {
        "email": email,
        "name": name,
        "email_verified": email_verified,
        "permissions": permission or None,
        "claims": _claims(claim) or None,
        "metadata": options.metadata(meta) or None,
    }
    call = calls.users.update(id, **options.changes(given, clear, {"permissions": [], "claims": {}, "metadata": {}}))
    session.show(call, lambda user: _show(session, user))


@client_command(app, "list")
def list_users(
    session: Session,
    email: Annotated[str | None, typer.Option(help="Only with this address.")] = None,
    state: StateFilter = None,
    at_most: Max = 50,
    everything: All = False,
) -> None:
    """List users, oldest first."""

    def render(found: list[UserView]) -> None:
        rows = [
            (one.id, one.email, "yes" if one.email_verified else "no", one.name, output.state(one.state.value))
            for one in found
        ]
        session.out.table(("id", "email", "verified", "name", "state"), rows, flexible=("email", "name"))

    session.show_list(calls.users.list(email=email, state=state), at_most, everything, render)  # type: ignore[arg-type]


@client_command(app, "factors")
def factors(session: Session, id: RecordId) -> None:  # noqa: A002
    """Show what a user can sign in with."""
    session.show(calls.users.factors(id), lambda held: _show_factors(session, held))


@client_command(app, "set-password")
def set_password(session: Session, id: RecordId, yes: Yes = False) -> None:  # noqa: A002
    """Set a user's password, read from standard input. All their sessions end."""
    session.confirm(f"Set the password of {id} and end all their sessions?", yes)
    call = calls.users.set_password(id, read_password("Password: "))
    session.show(call, lambda held: session.out.line(f"{held.user_id} has a new password"))


@client_command(app, "reset-second-factor")
def reset_second_factor(session: Session, id: RecordId, yes: Yes = False) -> None:  # noqa: A002
    """Take away a user's authenticator, recovery codes and passkeys. All their sessions end."""
    session.confirm(f"Take away every second factor and passkey of {id}?", yes)
    session.show(calls.users.reset_second_factor(id), lambda held: _show_factors(session, held))


@client_command(app, "send-link")
def send_link(
    session: Session,
    id: RecordId,  # noqa: A002
    kind: Annotated[str, typer.Option(help="invitation, password_reset or email_verification.")] = "invitation",
) -> None:
    """Send a user a link by mail."""
    kinds: dict[str, LinkKind] = {one: one for one in ("invitation", "password_reset", "email_verification")}
    if kind not in kinds:
        raise typer.BadParameter(f"write one of {', '.join(kinds)}", param_hint="--kind")
    session.show(calls.users.send_link(id, kinds[kind]), lambda sent: session.out.line(f"sent to {sent.email}"))


@client_command(app, "links")
def list_links(session: Session, id: RecordId, at_most: Max = 50, everything: All = False) -> None:  # noqa: A002
    """List who a user is elsewhere."""

    def render(found: list[LinkView]) -> None:
        rows = [(one.id, one.issuer, one.subject) for one in found]
        session.out.table(("id", "issuer", "subject"), rows, flexible=("issuer", "subject"))

    session.show_list(calls.users.links(id), at_most, everything, render)


@client_command(app, "link")
def link(
    session: Session,
    id: RecordId,  # noqa: A002
    issuer: Annotated[str, typer.Option(help="The other system: its URL, or any name you give it.")],
    subject: Annotated[str, typer.Option(help="Their id there.")],
) -> None:
    """Say who a user is elsewhere."""
    call = calls.users.add_link(id, issuer=issuer, subject=subject)
    session.show(call, lambda made: session.out.line(f"{made.id} linked"))


@client_command(app, "unlink")
def unlink(
    session: Session,
    id: RecordId,  # noqa: A002
    link_id: Annotated[str, typer.Argument(metavar="LINK", help="Id of the link.")],
) -> None:
    """Forget who a user is elsewhere."""
    session.show(calls.users.remove_link(id, link_id), lambda gone: session.out.line(f"{gone.id} removed"))


@client_command(app, "end-sessions")
def end_sessions(session: Session, id: RecordId, yes: Yes = False) -> None:  # noqa: A002
    """End every session of a user."""
    session.confirm(f"End every session of {id}?", yes)
    session.show(calls.users.end_sessions(id), lambda done: session.out.line(f"{done.ended} ended"))


def _show_session(session: Session, one: SessionView) -> None:
    session.out.details(
        [
            ("id", one.id),
            ("user", one.user_id),
            ("live", "yes" if one.is_live else "no"),
            ("signed in", output.when(one.authenticated_at)),
            ("by", " ".join(one.amr)),
            ("level", one.acr),
            ("last seen", output.when(one.seen_at)),
            ("ends", output.when(one.expires_at)),
            ("ended", output.when(one.revoked_at)),
            ("from", one.source),
            ("browser", one.user_agent),
        ]
    )


@client_command(sessions, "list")
def list_sessions(
    session: Session,
    user: Annotated[str | None, typer.Option("--user", help="Only of this user.")] = None,
    state: StateFilter = None,
    at_most: Max = 50,
    everything: All = False,
) -> None:
    """List sessions, oldest first."""

    def render(found: list[SessionView]) -> None:
        rows = [
            (
                one.id,
                one.user_id,
                output.ago(one.authenticated_at),
                output.ago(one.seen_at),
                one.source,
                one.user_agent,
                output.state("active" if one.is_live else "ended"),
            )
            for one in found
        ]
        columns = ("id", "user", "signed in", "seen", "from", "browser", "state")
        session.out.table(columns, rows, flexible=("browser",))

    pages = calls.sessions.list(user_id=user, state=state)  # type: ignore[arg-type]
    session.show_list(pages, at_most, everything, render)


@client_command(sessions, "show")
def show_session(session: Session, id: RecordId) -> None:  # noqa: A002
    """Show one session."""
    session.show(calls.sessions.get(id), lambda one: _show_session(session, one))


@client_command(sessions, "end")
def end_session(session: Session, id: RecordId, yes: Yes = False) -> None:  # noqa: A002
    """End a session for good."""
    session.confirm(f"End session {id}?", yes)
    session.show(calls.sessions.end(id), lambda one: session.out.line(f"{one.id} ended"))


add_lifecycle(app, "user", calls.users, _show, "Their sessions end, and their tokens are refused.")
add_import(app, "user", lambda client: client.users.import_users)
