"""A token in a cookie goes to no upstream: neither behind a public route, nor behind a route for another API.

Browsers send the cookies of a host to all its routes. Spec: RFC 6265 §8.6, CWE-200.
"""

from __future__ import annotations

from pathlib import Path

import httpx

from tests.e2e.shop import API, Shop
from tests.support import hostile_requests as hostile
from tests.support.authority import Authority
from tests.support.hostile_sending import send
from tests.support.ports import free_port
from tests.support.raw_upstream import RawUpstream

OTHER = "https://other.example"
ROUTES = """
[[routes]]
name = "site"
upstream = "http://127.0.0.1:{port}"
api = "{api}"

[[routes]]
name = "static"
path = "/static"
upstream = "http://127.0.0.1:{port}"
public = true

[[routes]]
name = "other"
path = "/other"
upstream = "http://127.0.0.1:{port}"
api = "{other}"
"""


def token_of(shop: Shop) -> bytes:
    """An access token for the site."""
    client_id, secret = shop.client(grant_types=["client_credentials"], token_endpoint_auth_method="client_secret_post")
    form = {"grant_type": "client_credentials", "client_id": client_id, "client_secret": secret, "resource": API}
    answer = httpx.post(f"{shop.node.url}/oauth/token", data=form, trust_env=False)
    return bytes(answer.json()["access_token"].encode())


def test_a_token_in_a_cookie_reaches_no_upstream(tmp_path: Path) -> None:
    upstream, port = RawUpstream(), free_port()
    file = tmp_path / "routes.toml"
    file.write_text(ROUTES.format(port=upstream.port, api=API, other=OTHER))
    settings = {"KEYBEARER_GATEWAY_PORT": str(port), "KEYBEARER_GATEWAY_ROUTES": str(file)}
    node = Authority(tmp_path / "data", tmp_path / "logs", environment=settings)
    node.init()
    node.start()
    try:
        shop = Shop(node, token_cookie="__Host-token")
        other = shop.call("POST", "/v1/apis", {"identifier": OTHER, "name": "Other"})
        shop.call("PATCH", f"/v1/projects/{shop.project['id']}", {"enabled_apis": [shop.api["id"], other["id"]]})
        bearer = b"Authorization: Bearer " + shop.key()[1].encode()
        tokens = [token_of(shop)]
        shop.call("PATCH", f"/v1/apis/{shop.api['id']}", {"token_format": "jwt"})
        tokens.append(token_of(shop))
        for token in tokens:
            cookie = b"Cookie: theme=dark; __Host-token=%b; jwt=eyJhbGciOiJub25lIn0.e30." % token
            for path, more in ((b"/x", ()), (b"/static/x", ()), (b"/other/x", (bearer,))):
                answer = send(port, hostile.request("x", cookie, *more, target=path, authorized=False))
                assert answer.startswith(b"HTTP/1.1 200"), path
        sent = [one.field("cookie") for one in upstream.received]
        assert sent == [[b"theme=dark; jwt=eyJhbGciOiJub25lIn0.e30."]] * 6
    finally:
        node.stop()
        upstream.stop()
