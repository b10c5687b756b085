"""One request at one door: read it, verify what it carries, and say yes with headers or no with an answer."""

from __future__ import annotations

from typing import Final, NamedTuple

from ..client.errors import Unreachable
from ..core.errors import Rejected
from ..http.carriage import Missing, Place
from ..http.client_address import TrustedProxies
from ..http.refusals import rate_limit_header
from .answers import UNAVAILABLE, Headers, Refused, refused
from .caller import Caller
from .guard import Admitted, ApiRules, Guard, Steps
from .incoming import Incoming, Read, read
from .rule import Rule


class Passed(NamedTuple):
    """A request that may pass: who calls, and headers for the answer that the application will give."""

    caller: Caller
    headers: Headers


_NO_STORE: Final = (b"cache-control", b"no-store")


class Gate:
    """Lets requests through to what a guard protects."""

    def __init__(self, guard: Guard) -> None:
        self.guard = guard
        self._proxies = TrustedProxies(guard.trusted_proxies)

    def at_once(self, incoming: Incoming, wanted: Rule) -> Passed | None:
        """Let a request pass whose credential is remembered, ``None`` where more has to be done; raises ``Refused``."""
        guard = self.guard
        rules = guard.recall_rules()
        if rules is None:
            return None
        found = self._read(incoming, wanted, rules)
        admitted = guard.recall(found.credential, wanted, found.where)
        return None if admitted is None else self._passed(admitted, found)

    def steps(self, incoming: Incoming, wanted: Rule) -> Steps[Passed]:
        """Let any request pass, yielding what the authority must be asked; raises ``Refused``."""
        guard = self.guard
        try:
            rules = yield from guard.rules_steps()
        except Unreachable:
            raise Refused(UNAVAILABLE) from None
        found = self._read(incoming, wanted, rules)
        try:
            admitted = yield from guard.steps(found.credential, wanted, found.where)
        except Unreachable:
            raise Refused(UNAVAILABLE) from None
        except Rejected as rejection:
            raise Refused(refused(rejection, wanted, rules, dpop=found.where.dpop is not None)) from None
        return self._passed(admitted, found)

    def check(self, incoming: Incoming, wanted: Rule) -> Passed:
        """Let a request pass, blocking where that is needed; raises ``Refused``."""
        passed = self.at_once(incoming, wanted)
        return self.guard.run(self.steps(incoming, wanted)) if passed is None else passed

    async def acheck(self, incoming: Incoming, wanted: Rule) -> Passed:
        """Let a request pass, awaiting where that is needed; raises ``Refused``."""
        passed = self.at_once(incoming, wanted)
        return await self.guard.arun(self.steps(incoming, wanted)) if passed is None else passed

    def _read(self, incoming: Incoming, wanted: Rule, rules: ApiRules) -> Read:
        try:
            return read(incoming, rules.api, self._proxies)
        except Rejected as rejection:
            self.guard.metrics.refused.add()
            dpop = any(name == b"dpop" or value[:5].lower() == b"dpop " for name, value in incoming.headers)
            answer = refused(rejection, wanted, rules, dpop=dpop)
            raise Refused(answer, is_anonymous=isinstance(rejection, Missing)) from None

    def _passed(self, admitted: Admitted, found: Read) -> Passed:
        headers: Headers = []
        if admitted.limits:
            headers.append((b"ratelimit", rate_limit_header(admitted.limits)))
        if found.place is Place.QUERY:
            self.guard.metrics.in_query.add()
            headers.append(_NO_STORE)
        return Passed(admitted.caller, headers)
