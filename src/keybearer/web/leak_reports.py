"""The endpoints that take reports of leaks from outside. Each can be switched off, and is not there then."""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ..core.errors import ConfigurationError
from ..http.client_address import TrustedProxies
from ..services import leak_reports
from ..services.authority import Authority
from ..services.github_keys import GithubKeys
from ..services.leak_reports import GITHUB, GITLAB, POSSESSION
from ..wire.leaks import GithubFinding, GitlabToken, ReportedLeaks, ReportLeaks, RevocableTypes
from .bodies import decode_json
from .dispatch import SECURITY_HEADERS, body_of, request_id_of, response_of
from .problem import HttpProblem, reply_for

MAX_BODY: Final = 1_048_576
PATH: Final = "/v1/leaks/report"
GITHUB_PATH: Final = "/v1/leaks/reports/github"
GITLAB_PATH: Final = "/v1/leaks/reports/gitlab"
_LATER: Final = (b"retry-after", b"60")
_ENCODER: Final = msgspec.json.Encoder()
_REPORT: Final = msgspec.json.Decoder(ReportLeaks)
_GITHUB: Final = msgspec.json.Decoder(Annotated[list[GithubFinding], Meta(max_length=1000)])
_GITLAB: Final = msgspec.json.Decoder(Annotated[list[GitlabToken], Meta(max_length=1000)])


class LeakReportEndpoints:
    """ASGI endpoints; those that the settings do not name are not routed."""

    def __init__(self, authority: Authority, proxies: TrustedProxies) -> None:
        self._authority = authority
        self._proxies = proxies
        self._possession = leak_reports.Possession(authority)
        self._github_keys = GithubKeys(authority)
        settings = authority.settings
        self._token = leak_reports.load_token(settings.leak_report_token_file)
        self._is_on = frozenset(settings.leak_reports)
        if GITLAB in self._is_on and self._token is None:
            raise ConfigurationError("leak_reports has gitlab: leak_report_token_file must hold what GitLab sends.")

    def routes(self) -> list[Route]:
        """Return the routes of what is switched on."""
        found = {
            POSSESSION: [Route(PATH, self.report, methods=["POST"])],
            GITHUB: [Route(GITHUB_PATH, self.github, methods=["POST"])],
            GITLAB: [
                Route(GITLAB_PATH, self.gitlab, methods=["POST"]),
                Route(GITLAB_PATH + "/types", self.gitlab_types, methods=["GET"]),
            ],
        }
        return [route for name, routes in found.items() if name in self._is_on for route in routes]

    async def report(self, request: Request) -> Response:
        """Take a report from anybody. The answer is the same whatever is in it, and comes before it is looked at."""
        try:
            source = self._source(request)
            if not self._possession.may_report(source):
                raise HttpProblem(429, "Too many reports came from this network; wait a minute.", _LATER)
            body = await body_of(request, MAX_BODY)
            asked = decode_json(_REPORT, request.scope["headers"], body)
            caller = leak_reports.reporter(POSSESSION, source, request_id_of(request))
            if not self._possession.take(caller, asked):
                raise HttpProblem(503, "Too many reports wait; try again.", _LATER)
            return self._json(request, ReportedLeaks(len(asked.findings)), 202)
        except Exception as error:
            return response_of(reply_for(error, request_id_of(request)))

    async def github(self, request: Request) -> Response:
        """Take a message of GitHub's secret scanning: believed for its signature over the very bytes that came."""
        try:
            source = self._admitted(request)
            body = await body_of(request, MAX_BODY)
            identifier = request.headers.get("github-public-key-identifier", "")
            signature = request.headers.get("github-public-key-signature", "")
            if not await self._github_keys.is_signed(body, identifier, signature):
                raise self._refused(request, "The signature is not GitHub's.")
            found = decode_json(_GITHUB, request.scope["headers"], body)
            caller = leak_reports.reporter(GITHUB, source, request_id_of(request))
            return self._json(request, await leak_reports.from_github(self._authority, caller, found))
        except Exception as error:
            return response_of(reply_for(error, request_id_of(request)))

    async def gitlab(self, request: Request) -> Response:
        """Take tokens that GitLab wants revoked. 204: all of them were taken."""
        try:
            source = self._admitted(request)
            self._need_token(request)
            found = decode_json(_GITLAB, request.scope["headers"], await body_of(request, MAX_BODY))
            caller = leak_reports.reporter(GITLAB, source, request_id_of(request))
            await leak_reports.from_gitlab(self._authority, caller, found)
            return Response(b"", 204, {**SECURITY_HEADERS, "x-request-id": request_id_of(request)})
        except Exception as error:
            return response_of(reply_for(error, request_id_of(request)))

    async def gitlab_types(self, request: Request) -> Response:
        """Tell GitLab what can be revoked here."""
        try:
            self._admitted(request)
            self._need_token(request)
            return self._json(request, RevocableTypes(list(leak_reports.TYPES)))
        except Exception as error:
            return response_of(reply_for(error, request_id_of(request)))

    def _need_token(self, request: Request) -> None:
        if self._token is None or not leak_reports.holds(request.headers.get("authorization", ""), self._token):
            raise self._refused(request, "Send the secret that is shared with this authority in Authorization.")

    def _refused(self, request: Request, why: str) -> HttpProblem:
        """Count a bad credential of the request's address, and return what it is told."""
        throttle, address = self._authority.throttle, self._address(request)
        if throttle is not None and address is not None:
            throttle.failed(address)
        return HttpProblem(401, why)

    def _admitted(self, request: Request) -> str | None:
        """Return where a request comes from; raises ``HttpProblem`` 429 for an address that failed too often."""
        throttle, address = self._authority.throttle, self._address(request)
        if throttle is not None and address is not None and throttle.retry_in(address):
            raise HttpProblem(429, "Too many bad credentials came from this address.", _LATER)
        return None if address is None else str(address)

    def _address(self, request: Request) -> Any:
        peer = request.client.host if request.client else None
        return self._proxies.client_address(peer, request.scope["headers"])

    def _source(self, request: Request) -> str | None:
        address = self._address(request)
        return None if address is None else str(address)

    def _json(self, request: Request, content: object, status: int = 200) -> Response:
        headers = {**SECURITY_HEADERS, "content-type": "application/json", "x-request-id": request_id_of(request)}
        return Response(_ENCODER.encode(content), status, headers)
