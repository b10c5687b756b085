"""``RemoteVerifier``: verify over HTTP for a guard, so that ignoring the result still fails closed."""

from __future__ import annotations

import msgspec

from ..core.errors import Code, Rejected
from ..core.secret import Secret
from ..wire.verify import CredentialView, PrincipalView, VerifyRequest, VerifyResponse
from .authority import Authority
from .call import Call, revealed
from .drivers import AsyncDriver, SyncDriver
from .errors import Unreachable
from .operation import D, Resource, operation


class Verifier(Resource[D]):
    """Verify, and raise unless the answer is a whole, consistent yes."""

    @operation
    def verify(self, credential: str | Secret, requirement: VerifyRequest | None = None) -> Call[VerifyResponse]:
        """Return the answer of a valid credential.

        ``requirement`` says what else must hold; its own ``credential`` is not looked at. Raises ``Rejected`` with the
        code for a credential that is refused (``retry_after`` in microseconds, as everywhere in the core), and
        ``Unreachable`` for everything else that is not a yes: no answer, an error, an answer that does not fit.
        """
        wanted = requirement or VerifyRequest(credential="-")
        body = _with_credential(wanted, revealed(credential))
        return Call(
            "POST",
            "/v1/verify",
            VerifyResponse,
            body=body,
            idempotent=body.request_id is not None,
            check=require_yes,
            fail_closed=True,
        )


class RemoteVerifier(Verifier[SyncDriver]):
    """Verify with a :class:`Keybearer`."""

    def __init__(self, client: Authority[SyncDriver]) -> None:
        super().__init__(client._driver)


class AsyncRemoteVerifier(Verifier[AsyncDriver]):
    """Verify with an :class:`AsyncKeybearer`."""

    def __init__(self, client: Authority[AsyncDriver]) -> None:
        super().__init__(client._driver)


def require_yes(answer: VerifyResponse) -> VerifyResponse:
    """Return a yes that names whom it is for; raise ``Rejected`` for a no and ``Unreachable`` for neither."""
    if answer.valid is not (answer.code is Code.VALID):
        raise Unreachable("The answer contradicts itself; it counts as none.")
    if not answer.valid:
        raise Rejected(
            answer.code,
            answer.message or "The credential was refused.",
            missing=answer.missing,
            retry_after=None if answer.retry_after is None else answer.retry_after * 1_000_000,
        )
    if not isinstance(answer.credential, CredentialView) or not isinstance(answer.principal, PrincipalView):
        raise Unreachable("The answer says yes without saying to whom; it counts as none.")
    return answer


def _with_credential(requirement: VerifyRequest, credential: str) -> VerifyRequest:
    return msgspec.structs.replace(requirement, credential=credential)
