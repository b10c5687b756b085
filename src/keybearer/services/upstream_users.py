"""Who somebody that an upstream provider vouches for is here: by their link, by their verified address, or new.

An address finds a user only where the provider is trusted for it, only if it is verified on both sides (or whoever
registered it first would own what its owner does later), and never one with power over Keybearer.
Spec: DESIGN §7, RFC 9700 §4, OIDC Core §5.7 (only issuer and subject identify), ASVS 6.8.
"""

from __future__ import annotations

from typing import Final

from ..core.artefacts import Artefact, ArtefactKind
from ..core.assurance import FEDERATED
from ..core.credential import new_id
from ..core.errors import Conflict
from ..core.instant import Instant
from ..core.records import State
from ..core.upstreams import Upstream
from ..core.users import Factors, User, factors_id
from ..ports import Query, UnitOfWork
from ..wire.users import LinkSpec
from . import sign_in as signing_in
from . import user_links
from .authority import Authority, Caller, Deed
from .people import insert_user
from .provider_claims import Person
from .second_factor import methods_of
from .sign_in import NeedsSecondFactor, SignInRefused, SignInStep, Visit

AMR: Final = (FEDERATED,)


async def sign_in(
    authority: Authority, upstream: Upstream, person: Person, state: str, until: Instant, visit: Visit
) -> SignInStep:
    """Begin a session of whoever this is, or ask for the second factor that they have here.

    ``state`` is good once; it is remembered ``until`` it is over. Raises ``SignInRefused``.
    """
    user, is_linked = await _user_of(authority, upstream, person, visit)
    if user.state is not State.ENABLED:
        raise SignInRefused(f"{user.state} user")
    link = None if is_linked else LinkSpec(person.issuer, person.subject)
    caller = Caller(actor=user.id, permissions=frozenset(), source=visit.source)

    async def use_up(uow: UnitOfWork) -> None:
        now = authority.clock.now()
        await uow.add_artefact(Artefact(ArtefactKind.UPSTREAM_STATE, state, now, until, subject=user.id))

    held = await authority.store.get(Factors, factors_id(user.id))
    if held.has_second_factor:
        try:
            await authority.store.transact(use_up)
        except Conflict:
            raise SignInRefused("this answer was used before") from None
        ticket = signing_in.issue_ticket(authority, held, AMR, link=link, email=user.email)
        return NeedsSecondFactor(ticket, methods_of(held))

    async def check(uow: UnitOfWork, factors: Factors, _now: Instant) -> Factors | None:
        if factors.has_second_factor:
            return None
        await use_up(uow)
        if link is not None:
            await user_links.add_verified(uow, authority, caller, user.id, user.email, link)
        return factors

    return await signing_in.complete(authority, user.id, AMR, visit, check, authenticated_at=person.authenticated_at)


async def _user_of(authority: Authority, upstream: Upstream, person: Person, visit: Visit) -> tuple[User, bool]:
    """Return the user, and whether they are linked already."""
    linked = await user_links.find(authority.store, person.issuer, person.subject)
    if linked is not None:
        return linked, True
    if not person.email:
        raise SignInRefused("unknown, and without a verified address")
    found = await authority.store.page(User, Query({"email": person.email}, limit=1))
    if not found:
        if not upstream.creates_users:
            raise SignInRefused("unknown, and this provider makes no users")
        return await _create(authority, upstream, person, visit), True
    user = found[0]
    if not upstream.links_by_email or not user_links.may_be_found(user):
        raise SignInRefused("unknown, and not to be found by the address")
    return user, False


async def _create(authority: Authority, upstream: Upstream, person: Person, visit: Visit) -> User:
    public_id = new_id(authority.clock.now())

    async def work(uow: UnitOfWork) -> User:
        now = authority.clock.now()
        user, _ = await insert_user(uow, authority, public_id, person.email, person.name, verified=True)
        await user_links.insert_link(uow, user.id, LinkSpec(person.issuer, person.subject), now)
        caller = Caller(actor=user.id, permissions=frozenset(), source=visit.source)
        Deed(uow, caller, now).note("user.create", user.id, details={"upstream_id": upstream.id})
        return user

    try:
        return await authority.store.transact(work)
    except Conflict:
        raise SignInRefused("the address was taken meanwhile") from None
