"""The ``credits`` command of keys and identities."""

from __future__ import annotations

from typing import Annotated, Protocol

import typer

from ..client import Call
from ..wire.limits import CreditsView
from .records import RecordId, article, credit_text
from .session import Session, client_command


class SetCredits(Protocol):
    """Describes a change of credits."""

    def __call__(self, id: str, *, balance: int | None = None, add: int | None = None) -> Call[CreditsView]:  # noqa: A002
        """Return the call."""
        ...


def add_credits_command(app: typer.Typer, word: str, describe: SetCredits) -> None:
    """Add the command for the records that people call ``word``."""

    @client_command(app, "credits", f"Set the credits of {article(word)}, or add to them.")
    def credits(  # noqa: A001
        session: Session,
        id: RecordId,  # noqa: A002
        balance: Annotated[int | None, typer.Option("--set", min=0, help="Make this the balance.")] = None,
        add: Annotated[int | None, typer.Option(min=1, help="Add so many.")] = None,
    ) -> None:
        if (balance is None) == (add is None):
            raise typer.BadParameter("give either --set or --add")
        session.show(describe(id, balance=balance, add=add), lambda view: session.out.line(credit_text(view) or ""))
