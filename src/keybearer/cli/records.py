"""The commands that every kind of record has: show, enable, disable, delete, undelete."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, TypeVar

import typer

from ..client.drivers import Describing
from ..client.records import Records
from ..wire.limits import CreditsView, QuotaSpec, RateLimitSpec
from ..wire.records import RecordView
from . import output
from .session import Session, Yes, client_command

V = TypeVar("V", bound=RecordView)
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but its id.")]
RecordId = Annotated[str, typer.Argument(metavar="ID", help="Its id.")]


def group(name: str, about: str) -> typer.Typer:
    """Return the group of commands about one kind of record."""
    return typer.Typer(name=name, help=about, no_args_is_help=True, rich_markup_mode=None)


def add_lifecycle(
    app: typer.Typer,
    word: str,
    records: Records[Describing, V],
    render: Callable[[Session, V], None],
    consequence: str,
) -> None:
    """Add the common commands for the records that people call ``word``."""

    def shown(session: Session, verb: str) -> Callable[[V], None]:
        def done(record: V) -> None:
            session.out.line(f"{record.id} {verb}")

        return done

    @client_command(app, "show", f"Show one {word}.")
    def show(session: Session, id: RecordId) -> None:  # noqa: A002
        session.show(records.get(id), lambda record: render(session, record))

    @client_command(app, "enable", f"Enable a disabled {word}.")
    def enable(session: Session, id: RecordId) -> None:  # noqa: A002
        session.show(records.enable(id), shown(session, "enabled"))

    @client_command(app, "disable", f"Disable {article(word)}. {consequence}")
    def disable(session: Session, id: RecordId) -> None:  # noqa: A002
        session.show(records.disable(id), shown(session, "disabled"))

    @client_command(app, "delete", f"Delete {article(word)}; for 30 days it can be brought back. {consequence}")
    def delete(session: Session, id: RecordId, yes: Yes = False) -> None:  # noqa: A002
        session.confirm(f"Delete {word} {id}? {consequence}", yes)
        session.show(records.delete(id), shown(session, "deleted; 'undelete' brings it back for 30 days"))

    @client_command(app, "undelete", f"Bring a deleted {word} back.")
    def undelete(session: Session, id: RecordId) -> None:  # noqa: A002
        session.show(records.undelete(id), shown(session, "brought back"))


def created(session: Session, quiet: bool, render: Callable[[Session, V], None]) -> Callable[[V], None]:
    """Return how a new record is shown."""

    def show(record: V) -> None:
        if quiet:
            session.out.line(output.clean(record.id))
        else:
            render(session, record)

    return show


def article(word: str) -> str:
    """Return a word with its indefinite article."""
    # "User" begins with a vowel to the eye only.
    return f"{'an' if word[0] in 'aeioAEIO' else 'a'} {word}"


def limit_lines(limits: list[RateLimitSpec], quotas: list[QuotaSpec]) -> list[str]:
    """Return a line for each limit and quota, as they are written on the command line."""
    lines = []
    for limit in limits:
        burst = f",burst={limit.burst}" if limit.burst not in (None, limit.limit) else ""
        manual = "" if limit.automatic else ",manual"
        lines.append(f"{limit.name}={limit.limit}/{output.span(limit.period_in)}{burst}{manual}")
    lines += [f"{q.name}={q.limit}/{q.per.value}{'' if q.automatic else ',manual'}" for q in quotas]
    return lines


def credit_text(credits: CreditsView | None) -> str | None:  # noqa: A002
    """Return how credits stand."""
    if credits is None:
        return None
    text = f"{credits.balance} left ({credits.spent} spent of {credits.granted})"
    if credits.refill is not None:
        text += f", back to {credits.refill.amount} each {credits.refill.per.value} ({output.ago(credits.refills_at)})"
    return text


def common_details(record: RecordView) -> list[tuple[str, Any]]:
    """Return what every record shows."""
    return [
        ("id", record.id),
        ("state", output.state(record.state.value)),
        ("created", output.when(record.created_at)),
        ("changed", output.when(record.updated_at)),
        ("deleted", output.when(record.deleted_at)),
    ]
