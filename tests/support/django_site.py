"""A Django site of one module, for a process of its own: settings, views, REST framework; both WSGI and ASGI.

Run as ``python -m tests.support.django_site PORT URL KEY``: it serves WSGI with threads until it is ended.
"""

from __future__ import annotations

import json
import sys
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from django.conf import settings


def configure(url: str, key: str) -> None:
    settings.configure(
        ALLOWED_HOSTS=["*"],
        SECRET_KEY="only for tests",
        ROOT_URLCONF="tests.support.django_urls",
        INSTALLED_APPS=["rest_framework"],
        MIDDLEWARE=["keybearer.guards.django.GuardMiddleware"],
        REST_FRAMEWORK={
            "UNAUTHENTICATED_USER": None,
            "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
        },
        KEYBEARER={
            "url": url,
            "key": key,
            "api": "https://site.example",
            "rules": {"/pages/*": "pages:read"},
            "public": ["/health", "/decorated/*", "/rest/*"],
        },
        USE_TZ=True,
    )
    import django

    django.setup()


def seen(request: Any) -> dict[str, Any]:
    """Who calls, and every header that reached the view."""
    caller = request.caller
    return {
        "caller": None if caller is None else caller.credential_id,
        "headers": [[name, str(value)] for name, value in request.META.items() if name.startswith("HTTP_")]
        + [[name, value] for name, value in request.headers.items()],
    }


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def main() -> None:
    port, url, key = sys.argv[1:]
    configure(url, key)
    from django.core.wsgi import get_wsgi_application

    with make_server("127.0.0.1", int(port), get_wsgi_application(), _Server, _Quiet) as server:
        print(json.dumps({"ready": True}), flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
