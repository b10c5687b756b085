"""Credits of keys and identities: given, set, taken away, and shown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from ..core.errors import Conflict, InvalidInput
from ..core.instant import Instant
from ..core.records import ApiKey, CreditPolicy, Identity
from ..ports import CreditBalance, Store, UnitOfWork
from ..wire.limits import CreditsSpec, CreditsView, SetCredits
from .authority import Authority, Caller, Deed
from .limits import credits_view, to_policy
from .standing import WORDS, project_of, require_live

Holder = TypeVar("Holder", ApiKey, Identity)


def account_of(holder: ApiKey | Identity) -> str:
    """Return the name of the account that a key or identity takes its credits from."""
    return f"{'key' if isinstance(holder, ApiKey) else 'identity'}:{holder.id}"


async def read_balances(store: Store, holders: Sequence[ApiKey | Identity]) -> dict[str, CreditBalance]:
    """Return the balances of those that have credits, by id of the holder."""
    accounts = {account_of(holder): holder.id for holder in holders if holder.credits is not None}
    if not accounts:
        return {}
    return {accounts[balance.owner]: balance for balance in await store.balances(list(accounts))}


async def write(
    uow: UnitOfWork, holder: ApiKey | Identity, before: CreditPolicy | None, spec: CreditsSpec, now: Instant
) -> CreditBalance:
    """Give credits to ``holder``, or change how those it has refill: their balance is then left alone."""
    account, policy = account_of(holder), to_policy(spec)
    amount = spec.balance if before is None else (await uow.add_credits(account, 0, now)).balance
    return await uow.set_credits(account, amount, policy, now)


async def change_balance(
    authority: Authority, caller: Caller, kind: type[Holder], holder_id: str, body: SetCredits
) -> CreditsView:
    """Set the balance or add to it. Raises ``Conflict`` for a holder without credits."""
    if (body.balance is None) == (body.add is None):
        raise InvalidInput.of("balance", "give exactly one of 'balance' (to set) and 'add' (to grant more)")

    async def work(uow: UnitOfWork) -> CreditsView:
        holder = await uow.get(kind, holder_id)
        require_live(holder)
        if holder.credits is None:
            raise Conflict(f"This {WORDS[kind]} has no credits; give it some with 'credits' in an update.")
        now = authority.clock.now()
        account = account_of(holder)
        if body.add is not None:
            balance = await uow.add_credits(account, body.add, now)
        else:
            balance = await uow.set_credits(account, body.balance or 0, holder.credits, now)
        # Balances are read durably at each charge: no cache needs to hear of this.
        Deed(uow, caller, now).note(
            f"{WORDS[kind]}.credits",
            holder.id,
            project_id=project_of(holder),
            details={"add": body.add} if body.add is not None else {"balance": body.balance},
            event=False,
        )
        view = credits_view(holder.credits, balance)
        if view is None:
            raise AssertionError("a holder with credits has a view of them")
        return view

    return await authority.change(caller, work)
