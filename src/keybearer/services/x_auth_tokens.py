"""Tokens at the X-Auth-Token service once they are out: shown to those who may know, traded for themselves, revoked.

A caller shows a token of its own (``X-Auth-Token``). It may know of that token; of those of its project when it acts
for the project itself; and of others' with ``keybearer:verify``, as at introspection. Asking takes nothing from limits.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from ..core import own_api
from ..core.decide_token import decide_token
from ..core.errors import Code, NotFound, NotPermitted, Rejected
from ..core.records import NO_RESTRICTIONS, CredentialKind
from ..core.requirement import Requirement
from ..core.tokens import TokenRecord
from ..ports import UnitOfWork
from .authority import Authority, Caller
from .own_tokens import find_access_token
from .revocation import revoke_token
from .x_auth import Address, Claim, XAuth, is_scoped_to

_ACCEPT: Final = frozenset({CredentialKind.ACCESS_TOKEN})


class XAuthTokens:
    """Looks tokens up and revokes them; one object serves a process."""

    def __init__(self, authority: Authority, x_auth: XAuth) -> None:
        self._authority = authority
        self._x_auth = x_auth

    async def caller(self, text: str, source: Address | None) -> TokenRecord:
        """Return the token that a caller shows of itself, good from its address; raises ``Rejected``."""
        self._x_auth.slow_down(source)
        record = await find_access_token(self._authority, text) if text else None
        if record is None:
            raise self._x_auth.failed(source)
        # For which API, path and method its key may be used is for that API to say.
        here = replace(record.restrictions, apis=(), methods=(), paths=())
        self._decide(record, replace(record, restrictions=here), source)
        return record

    async def subject(self, text: str, caller: TokenRecord) -> TokenRecord:
        """Return the token that is asked about; raises ``NotFound`` for one that is not good, or not the caller's to
        know of.

        A bad one is not counted against the caller's address: a service asks about whatever strangers send it.
        """
        record = await find_access_token(self._authority, text)
        if record is None:
            raise _unknown()
        # Where it is used, the API sees; here it is only asked about.
        bare = replace(record, restrictions=NO_RESTRICTIONS, networks=(), is_restricted=False)
        try:
            self._decide(record, bare, None)
        except Rejected:
            raise _unknown() from None
        if not self._may_know(caller, record):
            raise _unknown()
        return record

    async def traded(self, claim: Claim, source: Address | None) -> TokenRecord:
        """Return the token of the claim, for which it is traded: one token is for one project and one API already.

        What could come of it anew would live no longer and reach no further; that it is the same one has it end with
        itself. Raises ``Rejected``, also for another project or API.
        """
        record = await self.caller(claim.secret.reveal(), source)
        if not is_scoped_to(record, claim):
            raise Rejected(Code.API_NOT_ALLOWED)
        return record

    async def revoke(self, caller: TokenRecord, subject: TokenRecord, source: Address | None, request_id: str) -> None:
        """Refuse a token from now on: the caller's own, or another of the same key, client and user."""
        mine, token = caller.token, subject.token
        owner = (token.key_id, token.client_id, token.user_id)
        if mine.id != token.id and owner != (mine.key_id, mine.client_id, mine.user_id):
            raise NotPermitted("This token was issued to somebody else.")
        by = Caller(
            actor=mine.key_id or mine.user_id or mine.client_id,
            permissions=frozenset(),
            project_id=caller.project.id,
            source=None if source is None else str(source),
            request_id=request_id,
        )

        async def work(uow: UnitOfWork) -> None:
            await revoke_token(uow, by, token.id, token.expires_at, token.project_id, self._authority.clock.now())

        await self._authority.store.transact(work)

    def _decide(self, record: TokenRecord, as_if: TokenRecord, source: Address | None) -> None:
        """Raise ``Rejected`` unless the token is good; one that is bound to a key never is, without a proof."""
        requirement = Requirement(accept=_ACCEPT, api=record.api, client_ip=source)
        decide_token(as_if, requirement, self._authority.clock.now())

    def _may_know(self, caller: TokenRecord, subject: TokenRecord) -> bool:
        if caller.token.id == subject.token.id:
            return True
        same_project = caller.project.id == subject.project.id
        if caller.token.user_id is None and same_project:
            return True
        is_service = caller.token.api_id == self._authority.own_api_id and own_api.may(
            caller.permissions, own_api.VERIFY
        )
        return is_service and (same_project or caller.project.id == self._authority.own_project_id)


def _unknown() -> NotFound:
    return NotFound("good token in", "X-Subject-Token")
