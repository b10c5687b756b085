"""The gate: what a person is told for each refusal of Keybearer, and when tokens are renewed."""

from __future__ import annotations

import time
from typing import Any

import pytest

from examples.qa.gate import Gate, NotSignedIn, Refused
from examples.qa.site.authority import CannotBeReached
from examples.qa.site.sessions import Session, Tokens
from keybearer.core.secret import Secret
from keybearer.guards import Caller, Code, Rejected, Rule, Unreachable


class Guard:
    """Answers as it is told, and remembers what it was asked."""

    def __init__(self, answer: Caller | Exception) -> None:
        self.answer = answer
        self.asked: list[tuple[str, Rule]] = []

    async def averify(self, credential: str, rule: Rule) -> Caller:
        self.asked.append((credential, rule))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class Authority:
    """Renews tokens, or does not."""

    def __init__(self, renewed: Tokens | Exception | None = None) -> None:
        self.tokens = renewed
        self.asked = 0

    async def renewed(self, _tokens: Tokens) -> Tokens | None:
        self.asked += 1
        if isinstance(self.tokens, Exception):
            raise self.tokens
        return self.tokens


def tokens(name: str, lasts: float = 600.0) -> Tokens:
    return Tokens(Secret(name), Secret("refresh"), None, time.monotonic() + lasts, frozenset())


def session(lasts: float = 600.0) -> Session:
    return Session(Secret("id"), time.monotonic() + 600, person_id="user_1", tokens=tokens("old", lasts))


def caller(user_id: str | None = "user_1") -> Caller:
    return Caller(
        kind="access_token",  # type: ignore[arg-type]
        credential_id="at_1",
        project_id="proj_1",
        permissions=frozenset({"qa:vote"}),
        user_id=user_id,
    )


def gate(guard: Guard, authority: Authority | None = None) -> Any:
    return Gate(guard, authority or Authority())  # type: ignore[arg-type]


async def allowed(answer: Caller | Exception, permission: str = "qa:vote") -> str:
    return str((await gate(Guard(answer)).allowed(session(), permission)).user_id)


@pytest.mark.anyio
async def test_who_may_is_named() -> None:
    guard = Guard(caller())
    assert (await gate(guard).allowed(session(), "qa:vote")).user_id == "user_1"
    assert guard.asked[0][0] == "old"


@pytest.mark.anyio
@pytest.mark.parametrize("user_id", [None, "user_2"])
async def test_a_token_of_somebody_else_is_nobodys(user_id: str | None) -> None:
    with pytest.raises(NotSignedIn):
        await allowed(caller(user_id))


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("refusal", "permission", "status", "text"),
    [
        (Rejected(Code.INSUFFICIENT_PERMISSIONS), "qa:vote", 403, "You did not let this site vote in your name."),
        (Rejected(Code.INSUFFICIENT_PERMISSIONS), "qa:moderate", 403, "Only moderators may do this."),
        (Rejected(Code.RATE_LIMITED, retry_after=2_500_000), "qa:vote", 429, "Try again in 3 seconds."),
        (Unreachable("down"), "qa:vote", 503, "Keybearer cannot be asked for now, so nobody may write."),
    ],
    ids=["permission", "moderator", "limit", "unreachable"],
)
async def test_a_refusal_is_told(refusal: Exception, permission: str, status: int, text: str) -> None:
    with pytest.raises(Refused) as caught:
        await allowed(refusal, permission)
    assert (caught.value.status, str(caught.value)) == (status, text)
    assert caught.value.headers == ({"retry-after": "3"} if status == 429 else {})


@pytest.mark.anyio
async def test_a_withdrawn_leave_ends_the_session() -> None:
    ended = session()
    with pytest.raises(NotSignedIn) as caught:
        await gate(Guard(Rejected(Code.REVOKED))).allowed(ended, "qa:vote")
    assert not caught.value.again
    assert ended.tokens is None


@pytest.mark.anyio
async def test_moderators_must_have_signed_in_lately() -> None:
    guard, kept = Guard(Rejected(Code.INSUFFICIENT_AUTHENTICATION)), session()
    with pytest.raises(NotSignedIn) as caught:
        await gate(guard).allowed(kept, "qa:moderate")
    assert caught.value.again
    assert kept.tokens is not None
    assert guard.asked[0][1].max_age == 900 * 1_000_000


@pytest.mark.anyio
async def test_tokens_that_are_almost_over_are_renewed_once() -> None:
    guard, authority, old = Guard(caller()), Authority(tokens("new")), session(lasts=5)
    the_gate = gate(guard, authority)
    for _ in range(2):
        assert (await the_gate.allowed(old, "qa:vote")).user_id == "user_1"
    assert [credential for credential, _ in guard.asked] == ["new", "new"]
    assert authority.asked == 1
    with pytest.raises(NotSignedIn):
        await gate(guard, Authority(None)).allowed(session(lasts=5), "qa:vote")


@pytest.mark.anyio
async def test_what_is_shown_hangs_on_what_somebody_holds_now() -> None:
    assert await gate(Guard(caller())).holds(session(), "qa:vote")
    assert not await gate(Guard(caller())).holds(session(), "qa:moderate")
    assert not await gate(Guard(Rejected(Code.REVOKED))).holds(session(), "qa:vote")
    assert not await gate(Guard(Unreachable("down"))).holds(session(), "qa:vote")


@pytest.mark.anyio
async def test_nobody_is_signed_out_because_keybearer_is_away() -> None:
    kept = session(lasts=5)
    with pytest.raises(CannotBeReached):
        await gate(Guard(caller()), Authority(CannotBeReached())).allowed(kept, "qa:vote")
    assert kept.tokens is not None
