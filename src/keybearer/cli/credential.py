"""``keybearer verify``, ``refund`` and ``whoami``: what one credential opens, and what that took."""

from __future__ import annotations

from typing import Annotated

import typer

from ..client import calls
from ..core.records import CredentialKind
from ..wire.verify import RefundResponse, VerifyResponse, Whoami
from . import output, values
from .options import Texts
from .records import RecordId, limit_lines
from .session import FAILED, WRONG_USAGE, Session, Yes, client_command, read_secret


def add_verify(app: typer.Typer) -> None:
    """Add the command; it stands alone and under ``keys``."""

    @client_command(app, "verify")
    def verify(
        session: Session,
        api: Annotated[str | None, typer.Option("--api", help="At this API (id or identifier).")] = None,
        permission: Annotated[
            Texts,
            typer.Option(
                "--permission",
                "-p",
                metavar="NAME",
                help="With this permission; several are all needed. Or an expression: 'a:read and (b:read or b:go)'.",
            ),
        ] = None,
        accept: Annotated[
            list[CredentialKind] | None, typer.Option("--accept", help="Only this kind of credential.")
        ] = None,
        limit: Annotated[
            Texts, typer.Option("--limit", metavar="NAME[=COST]", help="Take from this limit too.")
        ] = None,
        cost: Annotated[int, typer.Option(min=0, help="What it takes from the automatic limits; 0 only looks.")] = 1,
        credits: Annotated[int | None, typer.Option(min=0, help="What it costs in credits.")] = None,  # noqa: A002
        client_ip: Annotated[str | None, typer.Option(help="From this address.")] = None,
        origin: Annotated[str | None, typer.Option(help="From this web origin.")] = None,
        referrer: Annotated[str | None, typer.Option(help="From this page.")] = None,
        android: Annotated[
            str | None, typer.Option("--android", metavar="PACKAGE=SHA256", help="From this Android app.")
        ] = None,
        ios: Annotated[
            str | None, typer.Option("--ios", metavar="BUNDLE", help="From the iOS app with this bundle id.")
        ] = None,
        method: Annotated[str | None, typer.Option(help="With this HTTP method.")] = None,
        target: Annotated[str | None, typer.Option("--target", metavar="URL", help="For this URL or path.")] = None,
        request_id: Annotated[str | None, typer.Option(help="Charge this request once.")] = None,
        tag: Annotated[Texts, typer.Option("--tag", help="Count it under this tag.")] = None,
    ) -> None:
        """Ask whether the credential on standard input opens a door; exit code 1 when it does not.

        With --key-stdin the first line is the key to ask with, the second the credential to ask about.
        """
        credential = read_secret("Credential: ")
        if not credential:
            session.fail("there is no credential on standard input.", WRONG_USAGE)
        call = calls.verify(
            credential,
            api=api,
            permissions=wanted_permissions(permission),
            accept=accept or None,
            limits=dict(values.each("--limit", limit, values.named_cost)),
            cost=cost,
            credits=credits,
            client_ip=client_ip,
            origin=origin,
            referrer=referrer,
            android_app=values.maybe("--android", android, values.android_app),
            ios_bundle_id=ios,
            method=method and method.upper(),
            url=target,
            request_id=request_id,
            tags=tag or (),
        )
        if not session.show(call, lambda answer: show_verdict(session, answer)).valid:
            raise typer.Exit(FAILED)


def wanted_permissions(texts: Texts) -> list[str] | str | None:
    """Return permissions that are all needed or, where one text holds more than a name, an expression."""
    if texts and any(" " in text.strip() or "(" in text for text in texts):
        if len(texts) > 1:
            raise typer.BadParameter(
                "an expression stands alone; join it with 'and' to the others", param_hint="--permission"
            )
        return texts[0]
    return texts


def add_refund(app: typer.Typer) -> None:
    """Add the command; it stands alone and under ``keys``."""

    @client_command(app, "refund")
    def refund(
        session: Session,
        id: RecordId,  # noqa: A002
        request_id: Annotated[str, typer.Option(help="The --request-id that the verify was asked with.")],
    ) -> None:
        """Give back what one verify took from limits, quotas and credits, because it was not used; once, within a day.

        Says whether anything was given back now; exit code 1 when not.
        """

        def render(answer: RefundResponse) -> None:
            if answer.refunded:
                session.out.line("given back")
            else:
                session.out.note("Nothing was given back: no such charge is known, or it was given back before.")

        if not session.show(calls.refund(id, request_id), render).refunded:
            raise typer.Exit(FAILED)


def show_verdict(session: Session, answer: VerifyResponse) -> None:
    """Print a verify answer."""
    principal, credential = answer.principal, answer.credential
    is_token = answer.kind is CredentialKind.ACCESS_TOKEN
    session.out.details(
        [
            ("answer", output.state(answer.code.value)),
            ("why", answer.message),
            ("missing", answer.missing),
            ("retry after", output.span(answer.retry_after) if answer.retry_after is not None else None),
            ("kind", answer.kind and answer.kind.value),
            ("project", principal and f"{principal.project_id} ({principal.project_name})"),
            ("owner", principal and principal.owner),
            ("identity", principal and principal.identity and principal.identity.external_id),
            ("user", principal and principal.user_id),
            ("client", principal and principal.client_id),
            (
                "token" if is_token else "key",
                credential and f"{credential.id} ({credential.name}), {credential.environment.value}",
            ),
            ("secret", None if is_token else credential and credential.version),
            ("expires", credential and output.when(credential.expires_at)),
            ("permissions", answer.permissions),
            ("credits", answer.credits and f"{answer.credits.remaining} left"),
            ("metadata", output.metadata(answer.metadata or {})),
        ]
    )
    if answer.limits:
        session.out.line("")
        session.out.table(
            ("limit", "left", "of", "full again", ""),
            [
                (
                    limit.name,
                    limit.remaining,
                    limit.limit,
                    f"in {output.brief(limit.reset_in)}",
                    "exceeded" * limit.exceeded,
                )
                for limit in answer.limits
            ],
        )


def add_own(app: typer.Typer) -> None:
    """Add the commands about the caller's own key."""

    @client_command(app, "whoami")
    def whoami(session: Session) -> None:
        """Show the key, or after `login` the token, that this command uses."""

        def render(me: Whoami) -> None:
            is_token = me.kind is CredentialKind.ACCESS_TOKEN
            session.out.details(
                [
                    ("token" if is_token else "key", f"{me.id} ({me.name})"),
                    ("user", me.user_id),
                    ("kind", f"{me.kind.value}, {me.environment.value}"),
                    ("secret", None if is_token else me.version),
                    ("project", f"{me.project_id} ({me.project_name})"),
                    ("owner", me.owner),
                    ("permissions", me.permissions),
                    ("expires", output.when(me.expires_at)),
                    ("this secret ends", output.when(me.version_expires_at)),
                    ("limits", limit_lines(me.limits, me.quotas)),
                    ("credits", me.credits and f"{me.credits.remaining} left"),
                ]
            )

        session.show(calls.whoami(), render)

    @client_command(app, "revoke-mine")
    def revoke_mine(
        session: Session,
        reason: Annotated[str, typer.Option(help="Why; kept in the audit log.")] = "",
        wait: Annotated[bool, typer.Option("--wait", help="Return when every node refuses it.")] = False,
        yes: Yes = False,
    ) -> None:
        """Burn the key that this command uses, for good."""
        session.confirm("Revoke the very key that this command uses? This cannot be undone.", yes)
        call = calls.revoke_mine(reason=reason, wait=wait)
        session.show(call, lambda burnt: session.out.line(f"{output.clean(burnt.id)} revoked"))
