"""The doors of the API: what each asks of who comes. This is all of the guarding that there is."""

from __future__ import annotations

from typing import Any

from fastapi import Depends, HTTPException

from keybearer.guards import Caller, Rule
from keybearer.guards.fastapi import Guarded

from .. import permissions


class Doors:
    """One dependency for each permission; FastAPI shows them in the OpenAPI document.

    Reading is open to applications with a key, and to people's tokens. Writing is done by people: a key names nobody.
    """

    def __init__(self, guarded: Guarded) -> None:
        self.read = Depends(guarded(permissions.READ))
        self.ask = _person(guarded, permissions.ASK)
        self.answer = _person(guarded, permissions.ANSWER)
        self.vote = _person(guarded, permissions.VOTE)
        self.comment = _person(guarded, permissions.COMMENT)
        self.edit = _person(guarded, permissions.EDIT)
        self.moderate = _person(guarded, permissions.MODERATE)


def _person(guarded: Guarded, permission: str) -> Any:  # FastAPI takes a dependency for a default of any type
    """Return a dependency that gives the id of the person whose token was sent."""
    door = guarded(Rule(permission, accept=["access_token"]))

    async def person(caller: Caller = Depends(door)) -> str:  # noqa: B008
        if caller.user_id is None:  # an application that acts for itself
            raise HTTPException(403, "Only people write here.")
        return caller.user_id

    return Depends(person)
