"""``POST /oauth/token`` at once: client credentials of clients that show their secret.

Every other request is left to ``oauth.py``, and so is every refusal but of a client that asks too often. See ADR 6.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ..core.oauth_error import OAuthError
from ..core.requirement import Requirement
from ..core.standing import Standing
from ..grants import Issued
from ..http.client_address import TrustedProxies
from ..ports import NotReady
from ..services.authority import Authority
from ..services.client_authentication import ClientAuthentication
from ..services.client_credentials import ClientCredentialsAtOnce, Leave
from ..services.key_sets import KeySets
from ..services.token_endpoint import PATH as _PATH
from ..verify import Verifier
from .forms import FormsAtOnce
from .oauth_answers import answer, refusal
from .reply import BOOT, EdgeRequest, Later, Repeat, Reply, Steps, next_number

PATH: Final = _PATH.encode()
MAX_KNOWN: Final = 8192
_NOTHING: Final = Requirement()


class ClientCredentialsEdge:
    """Answers token requests. ``count`` hears the status of each answer."""

    def __init__(
        self,
        authority: Authority,
        verifier: Verifier,
        proxies: TrustedProxies,
        count: Callable[[int], None] = lambda status: None,
    ) -> None:
        self._records = authority.records
        self._verifier = verifier
        self._count = count
        self._forms = FormsAtOnce(authority.settings, verifier.engines.throttle, proxies)
        authentication = ClientAuthentication(authority, verifier.engines.throttle, KeySets(authority))
        self._endpoint = ClientCredentialsAtOnce(authority, verifier, authentication)
        # Most requests of a client differ in nothing that counts, such as a trace id.
        self._known: dict[bytes, tuple[Leave, Standing]] = {}

    def at_once(self, request: EdgeRequest) -> Reply | Later | None:
        """Answer, or begin to."""
        try:
            said = self._forms.what_counts(request)
            if said is None:
                return None
            mark, source = said
            known = self._known.get(mark)
            if known is not None and self._verifier.stands(known[1]):
                leave, standing = known[0]._replace(source=source), known[1]
            else:
                asked = self._forms.read(request)
                if asked is None:
                    return None
                view = self._records.view_now()
                found = self._endpoint.leave_now(asked)
                if found is None:
                    return None
                leave, standing = found, Standing(None, _NOTHING, (), view, found.until)
                if len(self._known) >= MAX_KNOWN:
                    self._known.clear()
                self._known[mark] = (leave, standing)
        except (NotReady, OAuthError):
            return None
        repeat = None
        if request.repeats:
            here = Standing(None, Requirement(client_ip=source), (), standing.view, standing.until)
            repeat = Repeat(lambda: self._once_more(leave, here))
        return self._issue(leave, request.request_id, repeat)

    def steps(self, request: EdgeRequest) -> Steps | None:
        """Leave the rest to the application."""
        return None

    def _once_more(self, leave: Leave, standing: Standing) -> Reply | Later | None:
        """Answer the same request, if everything still stands; ``None`` to look at it anew."""
        try:
            if self._verifier.verify_again(standing) is None:
                return None
        except NotReady:
            return None
        return self._issue(leave, f"req_{BOOT}{next_number():x}", None)

    def _issue(self, leave: Leave, request_id: str, repeat: Repeat | None) -> Reply | Later | None:
        try:
            issued = self._endpoint.draft(leave)
        except NotReady:
            return None
        except OAuthError as error:
            return self._counted(refusal(error, request_id))
        if issued.opaque is None:
            try:
                said = self._endpoint.answer_now(issued)
            except NotReady:
                pass
            else:
                return self._counted(answer(said, request_id))._replace(again=repeat)
        return Later(self._answer(issued, request_id), repeat)

    async def _answer(self, issued: Issued, request_id: str) -> Reply:
        try:
            reply = answer(await self._endpoint.answer(issued), request_id)
        except Exception as error:
            reply = refusal(error, request_id)
        return self._counted(reply)

    def _counted(self, reply: Reply) -> Reply:
        self._count(reply.status)
        return reply
