"""Routes found at once where a path has no parameters; all others are tried in their order."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.routing import Match, Route, Router
from starlette.types import Receive, Scope, Send


class PlainPathsFirst(Router):
    """Answers as a router without redirects does, but knows a plain path without trying the routes before it."""

    def __init__(self, routes: Sequence[Route]) -> None:
        super().__init__(routes, redirect_slashes=False)
        self._plain: dict[str, Route] = {}
        for number, route in enumerate(routes):
            # A path that a route with parameters takes first stays with that route.
            if not route.param_convertors and not any(other.path_regex.match(route.path) for other in routes[:number]):
                self._plain[route.path] = route

    async def app(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand a request over to its route."""
        route = self._plain.get(scope.get("path", "")) if not scope.get("root_path") else None
        match, found = (Match.NONE, {}) if route is None else route.matches(scope)
        if route is None or match is not Match.FULL:
            await super().app(scope, receive, send)
            return
        scope.setdefault("router", self)
        scope["route"] = route
        scope.update(found)
        await route.handle(scope, receive, send)
