"""``POST /oauth/introspect`` at once: for clients that show their secret, and for service keys, about access tokens.

Everything else is left to ``oauth.py``, which answers the same: refresh tokens, answers as a JWT, other proofs of a
client, and all that is wrong with a request, but for a key that was refused and so was counted. See ADR 6.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import Final, NamedTuple

from ..client_auth.client_secret import living
from ..core.errors import Rejected
from ..core.instant import Instant
from ..core.oauth_error import OAuthError
from ..core.requirement import Requirement
from ..core.secret import Secret
from ..core.standing import Standing
from ..core.tokens import TokenRecord
from ..formats import jwt, opaque, refresh_token
from ..http.client_address import Address, TrustedProxies
from ..ports import NotReady
from ..services.authority import Authority
from ..services.client_authentication import ClientAuthentication, OAuthRequest
from ..services.introspection import PATH as _PATH
from ..services.introspection import Introspection, refused, requirement_for
from ..services.issue import TAG_PURPOSE
from ..services.jwt_tokens import JwtReader
from ..services.key_sets import KeySets
from ..token_finder import TokenFinder
from ..verify import Verifier
from .forms import FormsAtOnce
from .known_callers import KnownCallers
from .oauth_answers import JSON_HEADERS, encode, refusal
from .reply import BOOT, Again, EdgeRequest, Reply, Steps, next_number

PATH: Final = _PATH.encode()
MAX_ANSWERS: Final = 20_000
_INACTIVE: Final = encode({"active": False})


class _Asker(NamedTuple):
    """Whose tokens may be known (``None``: everybody's), and what that hangs on, if it may be remembered."""

    project_id: str | None
    standing: Standing | None


class IntrospectionEdge:
    """Answers introspection requests. ``count`` hears the status of each answer."""

    def __init__(
        self,
        authority: Authority,
        verifier: Verifier,
        proxies: TrustedProxies,
        count: Callable[[int], None] = lambda status: None,
    ) -> None:
        self._authority = authority
        self._records = authority.records
        self._verifier = verifier
        self._authentication = ClientAuthentication(authority, verifier.engines.throttle, KeySets(authority))
        tag_key = authority.keyring.derived(TAG_PURPOSE)
        self._introspection = Introspection(authority, verifier, self._authentication, tag_key)
        self._count = count
        self._finder = TokenFinder(authority.records, authority.keyring, JwtReader(authority))
        self._callers = KnownCallers(verifier)
        self._known: dict[bytes, TokenRecord] = {}
        self._answers: dict[str, tuple[TokenRecord, bytes]] = {}
        self._forms = FormsAtOnce(authority.settings, verifier.engines.throttle, proxies)

    def at_once(self, request: EdgeRequest) -> Reply | None:
        """Answer, if nothing has to be waited for."""
        try:
            asked = self._forms.read(request, takes_bearer=True)
            if asked is None or asked.accepts_jwt:
                return None
            view = self._records.view_now()
            text = asked.form.need("token")
            if asked.bearer is None:
                asker = self._client(asked, view)
                record = self._find(text)
            else:
                # The key comes last: once it is counted, there must be nothing left to wait for.
                record = self._find(text)
                asker = self._service_key(asked.bearer, request, asked.source, view)
        except Rejected as rejection:
            return self._counted(refusal(refused(rejection), request.request_id))
        except _Refused as refused_key:
            return self._counted(refusal(refused_key.error, request.request_id))
        except (NotReady, OAuthError, _Unusual):
            return None
        body, again = _INACTIVE, None
        if record is not None and asker.project_id in (None, record.project.id):
            body = self._said(record)
            if request.repeats and body is not _INACTIVE:
                again = self._again(record, body, asker, view)
        return self._counted(Reply(200, JSON_HEADERS, body, ((b"x-request-id", request.request_id.encode()),), again))

    def steps(self, request: EdgeRequest) -> Steps | None:
        """Leave the rest to the application."""
        return None

    def _counted(self, reply: Reply) -> Reply:
        self._count(reply.status)
        return reply

    def _find(self, text: str) -> TokenRecord | None:
        """Return the access token of this text; raises ``NotReady``, and ``_Unusual`` for a refresh token."""
        # As in ``Verifier``: a text was the token of this very record, and still is while the cache answers with it.
        mark = sha256(text.encode(errors="surrogatepass")).digest()
        known = self._known.get(mark)
        if known is not None and self._finder.is_current(known):
            return known
        if refresh_token.parse(text) is not None:
            raise _Unusual
        try:
            unverified = opaque.FORMAT.parse(text) or jwt.FORMAT.parse(text)
            record = None if unverified is None else self._finder.find_now(unverified, text)
        except Rejected:
            return None
        if record is not None:
            if len(self._known) >= MAX_ANSWERS:
                self._known.clear()
            self._known[mark] = record
        return record

    # Who asks.

    def _client(self, asked: OAuthRequest, view: int) -> _Asker:
        known = self._authentication.client_now(asked)
        if known is None:
            raise _Unusual
        client = known.client
        ends = [secret.expires_at for secret in living(client, self._authority.clock.now())]
        until = min((end for end in ends if end is not None), default=None)
        standing = None
        record = self._records.find_client_now(client.id)
        if record is not None and record.client is client:
            standing = Standing(None, Requirement(client_ip=asked.source), (), view, until)
        return _Asker(client.project_id, standing)

    def _service_key(self, key: Secret, request: EdgeRequest, source: Address | None, view: int) -> _Asker:
        """Return who asks with a service key; raises ``Rejected`` and ``_Refused``, both counted, and ``NotReady``."""
        verifier = self._verifier
        authorization = next(value for name, value in request.headers if name == b"authorization")
        caller = self._callers.recall(authorization)
        if caller is not None and caller.principal is not None and verifier.stands(caller):
            project_id = self._introspection.asker_with(caller.principal).project_id
            verifier.used_again(caller)
            requirement = Requirement(api=caller.requirement.api, client_ip=source)
            standing = Standing(caller.principal, requirement, (), view, caller.until)
            return _Asker(project_id, standing if caller.view == view else None)
        own = self._records.api(self._authority.own_api_id)
        verified = verifier.verify_now(key.reveal(), requirement_for(own, source))
        try:
            asker = self._introspection.asker_with(verified.principal)
        except OAuthError as error:
            raise _Refused(error) from None
        self._callers.remember(authorization, own, verified)
        return _Asker(asker.project_id, None)

    # What is said.

    def _said(self, record: TokenRecord) -> bytes:
        """Return what is known of a token, which is the same for one record until it ends."""
        said = self._introspection.of_token(record)
        if not said["active"]:
            return _INACTIVE
        known = self._answers.get(record.id)
        if known is None or known[0] is not record:
            if len(self._answers) >= MAX_ANSWERS:
                self._answers.clear()
            known = self._answers[record.id] = (record, encode(said))
        return known[1]

    def _again(self, record: TokenRecord, body: bytes, asker: _Asker, view: int) -> Again | None:
        """Return what lets the same request be answered again."""
        basis = asker.standing
        if basis is None or self._records.view_now() != view or not self._finder.is_current(record):
            return None
        until = record.ends_at if basis.until is None else Instant(min(basis.until, record.ends_at))
        head = b"%sx-request-id: req_%s" % (JSON_HEADERS.lines, BOOT.encode())
        rest = b"\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)
        count = self._count

        def render(_states: object) -> bytes:
            count(200)
            return b"%s%x%s" % (head, next_number(), rest)

        return Again(Standing(basis.principal, basis.requirement, (), view, until), render)


class _Unusual(Exception):
    """The application has to look at this request."""


class _Refused(Exception):
    """A key was verified, and counted, but may not ask."""

    def __init__(self, error: OAuthError) -> None:
        super().__init__()
        self.error = error
