"""``keybearer leaks pattern`` and ``leaks digests export``: what other scanners, and scans elsewhere, need to know."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated

import typer

from ..core.errors import InvalidInput
from ..scanner import id_filter
from ..scanner.id_filter import Entry
from ..scanner.patterns import EXPORTS, checked_brands
from .session import WRONG_USAGE, Session, client_command

digests = typer.Typer(name="digests", no_args_is_help=True, help="Filters for scans elsewhere.", rich_markup_mode=None)


class Scanner(StrEnum):
    """The scanners that rules are written for."""

    GITLEAKS = "gitleaks"
    TRUFFLEHOG = "trufflehog"
    GITHUB = "github"


def pattern(
    scanner: Annotated[Scanner, typer.Option("--for", help="Whose rules to write.")] = Scanner.GITLEAKS,
    brand: Annotated[
        list[str] | None, typer.Option("--brand", help="Only keys of this brand; every brand if none.")
    ] = None,
) -> None:
    """Print Keybearer's formats as rules for another scanner."""
    try:
        print(EXPORTS[scanner.value](checked_brands(brand or [])), end="")
    except InvalidInput as error:
        print(f"keybearer: {error}", file=sys.stderr)
        raise typer.Exit(WRONG_USAGE) from None


@client_command(digests, "export")
def export(session: Session) -> None:
    """Print a filter for 'leaks scan --filter': every key and client by its public id, and where it stands now.

    It has no secret and no digest: what matches it has a known id and a right checksum, and that is all.
    """
    count = 0
    for line in id_filter.lines(_entries(session)):
        sys.stdout.write(line.decode())
        count += 1
    session.out.note(f"{count - 1} keys and clients. Names of projects and keys are in it; secrets are not.")


def _entries(session: Session) -> Iterator[Entry]:
    client = session.client
    names = {one.id: one.name for state in (None, "deleted") for one in client.projects.list(state=state)}
    for state in (None, "deleted"):
        for key in client.keys.list(state=state):
            standing = "expired" if key.expired and key.state.value == "enabled" else _standing(key.state.value)
            yield Entry(
                id=key.id.partition("_")[2],
                kind=key.kind.value,
                state=standing,
                project_id=key.project_id,
                project_name=names.get(key.project_id, ""),
                key_id=key.id,
                key_name=key.name,
                environment=key.environment.value,
            )
        for one in client.clients.list(state=state):
            yield Entry(
                id=one.id.partition("_")[2],
                kind="client_secret",
                state=_standing(one.state.value),
                project_id=one.project_id,
                project_name=names.get(one.project_id, ""),
                key_id=one.id,
                key_name=one.name,
            )


def _standing(state: str) -> str:
    return "live" if state == "enabled" else state
