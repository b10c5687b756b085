"""``keybearer usage`` and ``audit``: what was called how often, and who did what."""

from __future__ import annotations

from typing import Annotated, get_args

import typer

from ..client import calls
from ..client.authority import UsageGroup
from ..wire.listing import AuditVerification, AuditView, UsageReport
from . import output, values
from .options import ProjectFilter
from .records import group
from .session import FAILED, All, Max, Session, client_command

audit = group("audit", "The audit log: who did what, and whether it is whole.")
GROUPS: tuple[UsageGroup, ...] = get_args(UsageGroup)
_SHORT = {"project": "project_id", "key": "key_id", "api": "api_id"}
BUCKETS = ("minute", "hour", "day")
BAR_WIDTH = 20


def add_usage(app: typer.Typer) -> None:
    """Add the command."""

    @client_command(app, "usage")
    def usage(
        session: Session,
        by: Annotated[
            str, typer.Option(help="Group by, with commas: minute, hour or day; project, key, api, code, source, tag.")
        ] = "code",
        since: Annotated[str, typer.Option(metavar="WHEN", help="From: 24h (ago), or 2027-01-31.")] = "24h",
        until: Annotated[str | None, typer.Option(metavar="WHEN", help="Until; default: now.")] = None,
        project: ProjectFilter = None,
        key: Annotated[
            str | None, typer.Option("--for-key", metavar="ID", help="Only of the key with this id.")
        ] = None,
        api: Annotated[
            str | None, typer.Option("--api", metavar="API", help="Only at this API (id or identifier).")
        ] = None,
        code: Annotated[str | None, typer.Option(help="Only with this outcome, as VALID or RATE_LIMITED.")] = None,
        source: Annotated[str | None, typer.Option(help="Only from this address.")] = None,
        tag: Annotated[str | None, typer.Option(help="Only with this tag.")] = None,
        at_most: Max = 1000,
    ) -> None:
        """Count verified and refused requests."""
        call = calls.usage(
            start=moment("--since", since),
            end=None if until is None else moment("--until", until),
            group_by=groups(by),
            project_id=project,
            key_id=key,
            api_id=api,
            code=code,
            source=source,
            tag=tag,
            limit=at_most,
        )
        session.show(call, lambda report: show_usage(session, report))


def groups(text: str) -> list[UsageGroup]:
    """Return what to group by."""
    names = [_SHORT.get(name.strip(), name.strip()) for name in text.split(",") if name.strip()]
    found = [known for name in names for known in GROUPS if known == name]
    if len(found) < len(names):
        raise typer.BadParameter(f"{text!r}: use {', '.join(GROUPS)}", param_hint="--by")
    return found


def moment(option: str, text: str) -> str:
    """Return the instant of ``24h`` (so long ago), ``now`` or a date, as the API takes it."""
    if text == "now":
        return text
    if text[:1].isdigit() and "-" not in text:
        return f"-{values.one(option, text, values.duration)}s"
    return values.one(option, text, values.instant).isoformat()


def show_usage(session: Session, report: UsageReport) -> None:
    """Print counts as a table with a bar for each."""
    most = max((view.count for view in report.groups), default=0)
    # What fits 80 columns: with three groups there is no room for the relative time and a long bar.
    roomy = len(report.group_by) < 3
    columns: list[str] = []
    for name in report.group_by:
        columns += _time_columns(roomy) if name in BUCKETS else [name.removesuffix("_id")]
    rows: list[list[object]] = []
    for view in report.groups:
        row: list[object] = []
        for name in report.group_by:
            if name in BUCKETS:
                row += [f"{view.at:%Y-%m-%d %H:%M}" if view.at else "-", output.ago(view.at)][
                    : len(_time_columns(roomy))
                ]
            else:
                value = getattr(view, name, None) or "-"
                row.append(output.state(value) if name == "code" else value)
        rows.append([*row, f"{view.count}", bar(view.count, most, BAR_WIDTH if roomy else BAR_WIDTH // 4)])
    if rows:
        session.out.table([*columns, "count", ""], rows, flexible=("project", "key", "api", "source", "tag"))
    which = "in these groups" if report.truncated else "in all"
    session.out.note(f"{report.total} {which} since {report.start:%Y-%m-%d %H:%M} UTC.{_uncounted(report)}")
    if report.truncated:
        session.out.note("There are more groups than these: --max N.")


def _uncounted(report: UsageReport) -> str:
    if "source" in report.group_by:
        return " Requests whose client_ip was not told are not among them."
    if "tag" in report.group_by:
        return " Requests without a tag are not among them."
    return ""


def _time_columns(roomy: bool) -> list[str]:
    return ["time (utc)", "when"] if roomy else ["time (utc)"]


def bar(count: int, most: int, width: int = BAR_WIDTH) -> str:
    """Return a bar of up to ``width`` characters; whatever happened at all can be seen."""
    return "█" * max(1, round(width * count / most)) if count and most else ""


@client_command(audit, "list")
def list_entries(
    session: Session,
    actor: Annotated[str | None, typer.Option(help="Only what this key id did.")] = None,
    action: Annotated[str | None, typer.Option(help="Only this, as key.revoke.")] = None,
    target: Annotated[str | None, typer.Option(help="Only what was done to this id.")] = None,
    project: ProjectFilter = None,
    oldest_first: Annotated[bool, typer.Option("--oldest-first", help="Not the newest first.")] = False,
    at_most: Max = 50,
    everything: All = False,
) -> None:
    """List who did what, the newest first."""

    def render(found: list[AuditView]) -> None:
        rows = [
            (entry.seq, output.ago(entry.at), entry.actor or "-", entry.action, entry.target or "-", entry.outcome)
            for entry in found
        ]
        columns = ("seq", "when", "actor", "action", "target", "outcome")
        session.out.table(columns, rows, flexible=("actor", "target"))

    pages = calls.audit.list(actor=actor, action=action, target=target, project_id=project, oldest_first=oldest_first)
    session.show_list(pages, at_most, everything, render)


@client_command(audit, "verify")
def verify(
    session: Session,
    expected: Annotated[
        str | None, typer.Option(metavar="SEQ:DIGEST", help="What an earlier check printed: notices a cut-off end too.")
    ] = None,
) -> None:
    """Check the whole chain of the audit log; exit code 1 when it is broken. Keep what it prints elsewhere."""

    def render(found: AuditVerification) -> None:
        if found.intact:
            session.out.line(f"whole: {found.entries} entries")
            session.out.line(f"{found.seq}:{output.clean(found.digest)}")
        else:
            session.out.line(f"BROKEN at entry {found.broken_at}: {output.clean(found.message)}")

    if not session.show(calls.audit.verify(expected=expected), render).intact:
        raise typer.Exit(FAILED)
