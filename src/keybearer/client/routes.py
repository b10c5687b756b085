"""The routes of the gateway."""

# ruff: noqa: A002 (parameters have the names of the wire: id)

from __future__ import annotations

from collections.abc import Sequence

from msgspec import UNSET, UnsetType

from ..core.records import CredentialKind
from ..wire.routes import BffSpec, CorsSpec, CreateRoute, InjectionSpec, RouteView, UpdateRoute
from .call import Call, Duration, Pages, listed, seconds
from .operation import D, operation, series
from .records import Records, StateName, given_list


class Routes(Records[D, RouteView]):
    """Which requests go to which upstream, and through which door."""

    _path = "/v1/routes"
    _view = RouteView

    @operation
    def create(
        self,
        *,
        name: str,
        upstream: str,
        host: str = "",
        path: str = "/",
        methods: Sequence[str] = (),
        strip_path: bool = False,
        preserve_host: bool = False,
        public: bool = False,
        api: str | None = None,
        permissions: str = "",
        cost: int = 1,
        accepts: Sequence[CredentialKind] = (),
        acr_values: Sequence[str] = (),
        inject: Sequence[InjectionSpec] = (),
        identity_headers: bool = True,
        phantom_token: bool = False,
        connect_in: Duration = 5,
        response_in: Duration = 60,
        idle_in: Duration = 300,
        retries: int = 1,
        max_body: int = 10_485_760,
        max_connections: int = 100,
        cors: CorsSpec | None = None,
        bff: BffSpec | None = None,
        session: str = "",
        idempotency_key: str | None = None,
    ) -> Call[RouteView]:
        """Make a route. Without ``public``, credentials for ``api`` are needed."""
        body = CreateRoute(
            name=name,
            upstream=upstream,
            host=host,
            path=path,
            methods=listed(methods),
            strip_path=strip_path,
            preserve_host=preserve_host,
            public=public,
            api=api,
            permissions=permissions,
            cost=cost,
            accepts=list(accepts),
            acr_values=listed(acr_values),
            inject=list(inject),
            identity_headers=identity_headers,
            phantom_token=phantom_token,
            connect_in=seconds(connect_in) or 0,
            response_in=seconds(response_in) or 0,
            idle_in=seconds(idle_in) or 0,
            retries=retries,
            max_body=max_body,
            max_connections=max_connections,
            cors=cors,
            bff=bff,
            session=session,
        )
        return self._create(body, idempotency_key)

    @operation
    def update(
        self,
        id: str,
        *,
        name: str | UnsetType = UNSET,
        upstream: str | UnsetType = UNSET,
        host: str | UnsetType = UNSET,
        path: str | UnsetType = UNSET,
        methods: Sequence[str] | UnsetType = UNSET,
        strip_path: bool | UnsetType = UNSET,
        preserve_host: bool | UnsetType = UNSET,
        public: bool | UnsetType = UNSET,
        api: str | UnsetType | None = UNSET,
        permissions: str | UnsetType = UNSET,
        cost: int | UnsetType = UNSET,
        accepts: Sequence[CredentialKind] | UnsetType = UNSET,
        acr_values: Sequence[str] | UnsetType = UNSET,
        inject: Sequence[InjectionSpec] | UnsetType = UNSET,
        identity_headers: bool | UnsetType = UNSET,
        phantom_token: bool | UnsetType = UNSET,
        connect_in: Duration | UnsetType = UNSET,
        response_in: Duration | UnsetType = UNSET,
        idle_in: Duration | UnsetType = UNSET,
        retries: int | UnsetType = UNSET,
        max_body: int | UnsetType = UNSET,
        max_connections: int | UnsetType = UNSET,
        cors: CorsSpec | UnsetType | None = UNSET,
        bff: BffSpec | UnsetType | None = UNSET,
        session: str | UnsetType = UNSET,
    ) -> Call[RouteView]:
        """Change what is given; lists replace what was there."""
        body = UpdateRoute(
            name=name,
            upstream=upstream,
            host=host,
            path=path,
            methods=given_list(methods),
            strip_path=strip_path,
            preserve_host=preserve_host,
            public=public,
            api=api,
            permissions=permissions,
            cost=cost,
            accepts=given_list(accepts),
            acr_values=given_list(acr_values),
            inject=given_list(inject),
            identity_headers=identity_headers,
            phantom_token=phantom_token,
            connect_in=_span(connect_in),
            response_in=_span(response_in),
            idle_in=_span(idle_in),
            retries=retries,
            max_body=max_body,
            max_connections=max_connections,
            cors=cors,
            bff=bff,
            session=session,
        )
        return self._update(id, body)

    @series
    def list(
        self,
        *,
        name: str | None = None,
        state: StateName | None = None,
        page_size: int | None = None,
        cursor: str | None = None,
    ) -> Pages[RouteView]:
        """Iterate over routes, oldest first, through all pages. Deleted ones only with ``state="deleted"``."""
        return self._pages(name=name, state=state, limit=page_size, cursor=cursor)


def _span(span: Duration | UnsetType) -> int | UnsetType:
    return UNSET if isinstance(span, UnsetType) else seconds(span) or 0
