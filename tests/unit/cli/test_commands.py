"""Every client command: what it asks the server, and what it prints."""

# ruff: noqa: E501 (the table of commands reads better with a line for each)

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support import answers
from tests.support.answers import (
    API,
    CHAIN,
    CLIENT,
    CREDITS,
    DELIVERY,
    ENTRY,
    FACTORS,
    GRANT,
    IDENTITY,
    INCIDENT,
    ISSUED,
    ISSUED_CLIENT,
    ISSUED_WEBHOOK,
    KEY_VIEW,
    LEAK_POLICY,
    LINK,
    PLAN,
    PROJECT,
    ROUTE,
    SENT,
    SESSION,
    SIGNING_KEY,
    UPSTREAM,
    UPSTREAM_SECRET,
    URL_REPORT,
    USAGE,
    USER,
    WEBHOOK,
    WHOAMI,
    YES,
)


def page(*items: object, cursor: str | None = None) -> dict[str, object]:
    return {"items": list(items), "next_cursor": cursor}


COMMANDS: list[tuple[str, object, str, object, str]] = [
    ("apis create --identifier urn:x --name X -p a:read", API, "POST /v1/apis", ..., "https://orders.example"),
    (
        "apis create --identifier urn:x --name X -p a:read=Look --restricted a:own",
        API,
        "POST /v1/apis",
        {"identifier": "urn:x", "name": "X", "permissions": [{"name": "a:read", "description": "Look"}, {"name": "a:own", "restricted": True}]},
        "orders:read",
    ),
    ("apis update api_1 --clear default-plan-id", API, "PATCH /v1/apis/api_1", {"default_plan_id": None}, "Orders"),
    ("apis list --name Orders", page(API), "GET /v1/apis?name=Orders&limit=50", None, "api_1  Orders"),
    ("apis show api_1", API, "GET /v1/apis/api_1", None, "orders:read (read only)"),
    ("apis disable api_1", API, "POST /v1/apis/api_1/disable", None, "api_1 disabled"),
    ("projects create --name Shop --api api_1", PROJECT, "POST /v1/projects", {"name": "Shop", "enabled_apis": ["api_1"]}, "proj_1"),
    ("projects update proj_1 --brand shop", PROJECT, "PATCH /v1/projects/proj_1", {"brand": "shop"}, "Shop"),
    ("projects list", page(PROJECT), "GET /v1/projects?limit=50", None, "proj_1  Shop"),
    ("projects enable-api proj_1 urn:x", PROJECT, "PUT /v1/projects/proj_1/apis/urn%3Ax", None, "api_1"),
    ("projects disable-api proj_1 urn:x", PROJECT, "DELETE /v1/projects/proj_1/apis/urn%3Ax", None, "api_1"),
    ("projects delete proj_1", PROJECT, "DELETE /v1/projects/proj_1", None, "proj_1 deleted"),
    ("plans create --name F --limit r=100/1m,burst=20 --quota c=5/month", PLAN, "POST /v1/plans", ..., "requests=100/1m,burst=20"),
    ("plans update plan_1 --clear limits", PLAN, "PATCH /v1/plans/plan_1", {"limits": []}, "calls=1000/month"),
    ("plans list", page(PLAN), "GET /v1/plans?limit=50", None, "requests=100/1m,burst=20; calls=1000/month"),
    (
        "identities create --project p --external-id 7 --credits 5,refill=5/day",
        IDENTITY,
        "POST /v1/identities",
        {"project_id": "p", "external_id": "7", "credits": {"balance": 5, "refill": {"amount": 5, "per": "day"}}},
        "7 left (3 spent of 10)",
    ),
    ("identities update idn_1 --name N", IDENTITY, "PATCH /v1/identities/idn_1", {"name": "N"}, "customer-7"),
    ("identities list --project p", page(IDENTITY), "GET /v1/identities?project_id=p&limit=50", None, "customer-7"),
    ("identities credits idn_1 --add 5", CREDITS, "PUT /v1/identities/idn_1/credits", {"add": 5}, "7 left"),
    ("keys list --project p --tag a", page(KEY_VIEW), "GET /v1/keys?project_id=p&tag=a&limit=50", None, "web shop  sk live"),
    ("keys show key_1", KEY_VIEW, "GET /v1/keys/key_1", None, "ip 10.0.0.0/8"),
    (
        "keys update key_1 --clear owner --clear expires-at --meta n=3 --meta ok=true --meta s=x",
        KEY_VIEW,
        "PATCH /v1/keys/key_1",
        {"owner": None, "expires_at": None, "metadata": {"n": 3, "ok": True, "s": "x"}},
        "team=shop",
    ),
    ("keys enable key_1", KEY_VIEW, "POST /v1/keys/key_1/enable", None, "key_0000000000000001 enabled"),
    ("keys disable key_1", KEY_VIEW, "POST /v1/keys/key_1/disable", None, "disabled"),
    ("keys delete key_1", KEY_VIEW, "DELETE /v1/keys/key_1", None, "deleted; 'undelete' brings it back"),
    ("keys undelete key_1", KEY_VIEW, "POST /v1/keys/key_1/undelete", None, "brought back"),
    ("keys revoke key_1 --reason leaked --wait", KEY_VIEW, "POST /v1/keys/key_1/revoke", {"wait": True, "reason": "leaked"}, "revoked"),
    ("keys revoke-version key_1 2", KEY_VIEW, "POST /v1/keys/key_1/versions/2/revoke", {}, "secret 2 revoked"),
    ("keys rotate key_1 --grace 12h --quiet 5m", ISSUED, "POST /v1/keys/key_1/rotate", {"grace_in": 43200, "quiet_in": 300}, answers.KEY),
    ("keys rotate key_1 --grace 0 --expires-at never", ISSUED, "POST /v1/keys/key_1/rotate", {"grace_in": 0, "expires_at": None}, answers.KEY),
    ("keys credits key_1 --set 0", CREDITS, "PUT /v1/keys/key_1/credits", {"balance": 0}, "7 left"),
    ("users create --email ada@example.com --invite -p orders:approve --link crm=4711 --claim given_name=Ada", USER, "POST /v1/users", ..., "ada@example.com"),
    ("users update user_1 --email-not-verified --clear permissions", USER, "PATCH /v1/users/user_1", {"email_verified": False, "permissions": []}, "orders:approve"),
    ("users update user_1 --claim address={\"locality\":\"London\"} --claim phone_number=+4420 --claim phone_number_verified=false", USER, "PATCH /v1/users/user_1", {"claims": {"address": {"locality": "London"}, "phone_number": "+4420", "phone_number_verified": False}}, "ada@example.com"),
    ("users list --email ada@example.com", page(USER), "GET /v1/users?email=ada%40example.com&limit=50", None, "user_1  ada@example.com  yes"),
    ("users show user_1", USER, "GET /v1/users/user_1", None, "given_name=Ada"),
    ("users disable user_1", USER, "POST /v1/users/user_1/disable", None, "user_1 disabled"),
    ("users factors user_1", FACTORS, "GET /v1/users/user_1/factors", None, "laptop, last used - (synced)"),
    ("users reset-second-factor user_1", FACTORS, "POST /v1/users/user_1/reset-second-factor", None, "recovery codes"),
    ("users send-link user_1 --kind password_reset", SENT, "POST /v1/users/user_1/send-link", {"kind": "password_reset"}, "sent to ada@example.com"),
    ("users links user_1", page(LINK), "GET /v1/users/user_1/links?limit=50", None, "4711"),
    ("users link user_1 --issuer crm --subject 4711", LINK, "POST /v1/users/user_1/links", {"issuer": "crm", "subject": "4711"}, "lnk_1 linked"),
    ("users unlink user_1 lnk_1", LINK, "DELETE /v1/users/user_1/links/lnk_1", None, "lnk_1 removed"),
    ("users end-sessions user_1", {"ended": 3}, "POST /v1/users/user_1/end-sessions", None, "3 ended"),
    ("sessions list --user user_1", page(SESSION), "GET /v1/sessions?user_id=user_1&limit=50", None, "sess_1  user_1"),
    ("sessions show sess_1", SESSION, "GET /v1/sessions/sess_1", None, "pwd otp mfa"),
    ("sessions end sess_1", SESSION, "POST /v1/sessions/sess_1/end", None, "sess_1 ended"),
    ("upstreams create --name Example --issuer https://accounts.example.com --client-id keybearer --links-by-email", UPSTREAM, "POST /v1/upstreams", {"name": "Example", "issuer": "https://accounts.example.com", "client_id": "keybearer", "links_by_email": True}, "https://keys.example.com/sign-in/callback"),
    ("upstreams update idp_1 --scope openid --no-creates-users --clear client-secret", UPSTREAM, "PATCH /v1/upstreams/idp_1", {"scopes": ["openid"], "creates_users": False, "client_secret": None}, "idp_1"),
    ("upstreams list --issuer https://accounts.example.com", page(UPSTREAM), "GET /v1/upstreams?issuer=https%3A%2F%2Faccounts.example.com&limit=50", None, "idp_1  Example"),
    ("upstreams show idp_1", UPSTREAM, "GET /v1/upstreams/idp_1", None, "links by e-mail"),
    ("incidents list --status open --for-key key_1", page(INCIDENT), "GET /v1/incidents?key_id=key_1&status=open&limit=50", None, "secret_key"),
    ("incidents show inc_1", INCIDENT, "GET /v1/incidents/inc_1", None, "access.log:7:3"),
    ("incidents acknowledge inc_1", INCIDENT, "POST /v1/incidents/inc_1/acknowledge", {}, "inc_1 open"),
    ("incidents resolve inc_1 --note over", INCIDENT, "POST /v1/incidents/inc_1/resolve", {"note": "over"}, "inc_1 open"),
    ("incidents reopen inc_1", INCIDENT, "POST /v1/incidents/inc_1/reopen", {}, "inc_1 open"),
    ("leak-policies show proj_1", LEAK_POLICY, "GET /v1/leaks/policies/proj_1", None, "this project"),
    ("leak-policies set proj_1 --measure live.secret_key=rotate --measure test.secret_key=default --grace 12h --in-urls alert", LEAK_POLICY, "PATCH /v1/leaks/policies/proj_1", {"measures": {"live.secret_key": "rotate", "test.secret_key": None}, "grace_in": 43200, "in_urls": "alert"}, "12h"),
    ("incidents in-urls --since 7d --project proj_1", URL_REPORT, "GET /v1/leaks/urls?start=-604800s&project_id=proj_1", None, "192.0.2.1"),
    ("webhooks create --project proj_1 --name pager --to https://p.example --event incident.opened", ISSUED_WEBHOOK, "POST /v1/webhooks", {"project_id": "proj_1", "name": "pager", "url": "https://p.example", "events": ["incident.opened"]}, "whsec_c2VjcmV0"),
    ("webhooks create --project proj_1 --name pager --to https://p.example --secret-only", ISSUED_WEBHOOK, "POST /v1/webhooks", {"project_id": "proj_1", "name": "pager", "url": "https://p.example"}, "whsec_c2VjcmV0"),
    ("webhooks update hook_1 --to https://q.example --event ping", WEBHOOK, "PATCH /v1/webhooks/hook_1", {"url": "https://q.example", "events": ["ping"]}, "pager"),
    ("webhooks list --project proj_1", page(WEBHOOK), "GET /v1/webhooks?project_id=proj_1&limit=50", None, "hook_1"),
    ("webhooks show hook_1", WEBHOOK, "GET /v1/webhooks/hook_1", None, "signing secrets"),
    ("webhooks rotate hook_1 --grace 1h", ISSUED_WEBHOOK, "POST /v1/webhooks/hook_1/rotate", {"grace_in": 3600}, "whsec_c2VjcmV0"),
    ("webhooks ping hook_1", DELIVERY, "POST /v1/webhooks/hook_1/ping", None, "msg_1"),
    ("webhooks deliveries hook_1 --status dead", page(DELIVERY), "GET /v1/webhooks/hook_1/deliveries?status=dead&limit=50", None, "it answered 503"),
    ("webhooks redeliver hook_1 msg_1", DELIVERY, "POST /v1/webhooks/hook_1/deliveries/msg_1/redeliver", None, "msg_1"),
    ("routes list --name maps", page(ROUTE), "GET /v1/routes?name=maps&limit=50", None, "rte_1  maps  GET */maps"),
    ("routes show rte_1", ROUTE, "GET /v1/routes/rte_1", None, "maps-key (query)"),
    ("routes disable rte_1", ROUTE, "POST /v1/routes/rte_1/disable", None, "rte_1 disabled"),
    ("secrets list", page(UPSTREAM_SECRET), "GET /v1/secrets?limit=50", None, "sec_1  maps-key  2"),
    ("secrets show sec_1", UPSTREAM_SECRET, "GET /v1/secrets/sec_1", None, "maps-key"),
    ("secrets update sec_1 --description Maps", UPSTREAM_SECRET, "PATCH /v1/secrets/sec_1", {"description": "Maps"}, "Maps"),
    ("upstreams disable idp_1", UPSTREAM, "POST /v1/upstreams/idp_1/disable", None, "idp_1 disabled"),
    (
        "clients create --project p --name Shop --redirect https://shop.example/callback --set access_token_in=300 --set contacts=[\"a@example.com\"]",
        ISSUED_CLIENT,
        "POST /v1/clients",
        {"project_id": "p", "name": "Shop", "redirect_uris": ["https://shop.example/callback"], "access_token_in": 300, "contacts": ["a@example.com"]},
        "kb_cs_0000000000000001_SECRET",
    ),
    ("clients update client_1 --scope orders:read --set tls-client-auth-san-ip=192.0.2.1", CLIENT, "PATCH /v1/clients/client_1", {"scopes": ["orders:read"], "tls_client_auth_san_ip": "192.0.2.1"}, "orders:write (optional)"),
    ("clients rotate client_1 --grace 1h", ISSUED_CLIENT, "POST /v1/clients/client_1/rotate", {"grace_in": 3600}, "kb_cs_0000000000000001_SECRET"),
    ("clients list --project proj_1", page(CLIENT), "GET /v1/clients?project_id=proj_1&limit=50", None, "client_1  Shop"),
    ("grants list --user user_1", page(GRANT), "GET /v1/grants?user_id=user_1&limit=50", None, "openid orders:read"),
    ("grants narrow grant_1 --scope openid", GRANT, "PATCH /v1/grants/grant_1", {"scopes": ["openid"]}, "grant_1"),
    ("grants revoke grant_1", GRANT, "POST /v1/grants/grant_1/revoke", ..., "grant_1 revoked"),
    ("signing-keys list", page(SIGNING_KEY), "GET /v1/signing-keys?limit=50", None, "ES256"),
    ("signing-keys rotate --at-once", SIGNING_KEY, "POST /v1/signing-keys/rotate", ..., "next"),
    ("whoami", WHOAMI, "GET /v1/whoami", None, "keybearer:admin"),
    ("revoke-mine --reason lost", {"id": "key_1", "revoked": True}, "POST /v1/revoke-mine", {"reason": "lost"}, "key_1 revoked"),
    ("usage --by hour,code --since 7d --for-key k", USAGE, "GET /v1/usage?start=-604800s&group_by=hour%2Ccode&key_id=k&limit=1000", None, "█" * 20),
    ("usage --since 2027-01-31 --until now --by project", USAGE, "GET /v1/usage?start=2027-01-31T00%3A00%3A00%2B00%3A00&end=now&group_by=project_id&limit=1000", None, "20"),
    ("audit list --action key.revoke", page(ENTRY), "GET /v1/audit?action=key.revoke&limit=50", None, "key.create"),
    ("audit verify", CHAIN, "GET /v1/audit/verification", None, "3:" + "ab" * 32),
]  # fmt: skip


@pytest.mark.parametrize(("line", "answer", "request_line", "body", "shown"), COMMANDS, ids=[c[0] for c in COMMANDS])
def test_commands(
    run: Callable[..., Any], line: str, answer: object, request_line: str, body: object, shown: str
) -> None:
    result = run(*line.split(), answers=[answer])
    assert result.exit_code == 0, result.stderr
    request = result.recorder.request
    assert f"{request.method} {request.url.raw_path.decode()}" == request_line
    if body is not ...:
        assert (json.loads(request.content) if request.content else None) == body
    assert shown in result.stdout

    as_json = run(*line.split(), "--json", answers=[answer])
    assert as_json.exit_code == 0
    assert json.loads(as_json.stdout) == answer


def test_a_providers_secret_comes_on_standard_input_alone(run: Callable[..., Any]) -> None:
    named = ["--name", "Example", "--issuer", "https://accounts.example.com", "--client-id", "keybearer"]
    result = run("upstreams", "create", *named, "--client-secret-stdin", answers=[UPSTREAM], stdin="hush\n")
    assert json.loads(result.recorder.request.content)["client_secret"] == "hush"
    assert "hush" not in result.stdout + result.stderr


def test_an_upstream_secret_comes_from_standard_input_and_is_never_shown(run: Callable[..., Any]) -> None:
    result = run("secrets", "create", "maps-key", answers=[UPSTREAM_SECRET], stdin="hush-hush\n")
    assert "hush" not in result.output
    result = run("secrets", "rotate", "sec_1", answers=[UPSTREAM_SECRET], stdin="hush-hush\n")
    assert "hush" not in result.output


def test_a_route_is_made_from_a_file(run: Callable[..., Any], tmp_path: Path) -> None:
    file = tmp_path / "route.toml"
    file.write_text('name = "maps"\nupstream = "https://maps.example.com"\npublic = true\n')
    assert "maps-key (query)" in run("routes", "create", "--from", str(file), answers=[ROUTE]).output
    file.write_text("retries = 2\n")
    assert "rte_1" in run("routes", "update", "rte_1", "--from", str(file), answers=[ROUTE]).output
    file.write_text("retries = 9\n")
    assert run("routes", "update", "rte_1", "--from", str(file), answers=[]).exit_code == 2


def test_a_field_that_clients_do_not_have_is_refused_before_anything_is_sent(
    run: Callable[..., Any], tmp_path: Path
) -> None:
    for value, said in (
        ("no_such=1", "no_such"),
        ("access_token_in=soon", "access_token_in"),
        ("jwks", "write name=value"),
        (f"jwks=@{tmp_path}/none.json", "cannot be read"),
    ):
        result = run("clients", "update", "client_1", "--set", value)
        assert result.exit_code == 2, value
        assert said in " ".join(result.stderr.split()), result.stderr
    assert run("clients", "update", "client_1").exit_code == 2
    assert run("grants", "narrow", "grant_1").exit_code == 2
    (tmp_path / "keys.json").write_text('{"keys": []}')
    result = run("clients", "update", "client_1", "--set", f"jwks=@{tmp_path}/keys.json", answers=[CLIENT])
    assert result.recorder.body == {"jwks": {"keys": []}}


def test_a_user_who_cannot_sign_in_yet_is_pointed_out(run: Callable[..., Any]) -> None:
    assert "users send-link user_1" in run("users", "create", "--email", "a@example.com", answers=[USER]).stderr
    for more in ("--invite", "--quiet", "--json"):
        assert run("users", "create", "--email", "a@example.com", more, answers=[USER]).stderr == ""


def test_a_users_password_comes_on_standard_input_alone(run: Callable[..., Any]) -> None:
    result = run(
        *["users", "create", "--email", "a@example.com", "--password-stdin"], answers=[USER], stdin=" a long one \n"
    )
    assert result.exit_code == 0, result.stderr
    assert result.recorder.body == {"email": "a@example.com", "password": " a long one "}
    result = run("users", "set-password", "user_1", answers=[FACTORS], stdin="another one\n")
    assert result.recorder.body == {"password": "another one"}
    assert "another one" not in result.stdout + result.stderr


def test_create_takes_every_setting(run: Callable[..., Any]) -> None:
    result = run(
        *("keys", "create", "--project", "p", "--name", "n", "--kind", "publishable_key", "--env", "test"),
        *("--owner", "ann", "--identity", "i", "--plan", "pl", "-p", "a:read", "--expires-in", "30d", "--tag", "t"),
        *("--limit", "requests=100/1m", "--quota", "calls=5/day,manual", "--credits", "9", "--meta", "k=v"),
        *("--ip", "10.0.0.0/8", "--origin", "https://*.a.example", "--referrer", "https://a.example/x"),
        *("--allow-api", "urn:x", "--method", "get", "--path", "/a/*", "--android", "com.a=" + "ab" * 32, "--ios", "b"),
        answers=[ISSUED],
    )
    assert result.exit_code == 0, result.stderr
    assert result.recorder.body == {
        "project_id": "p",
        "name": "n",
        "kind": "publishable_key",
        "environment": "test",
        "owner": "ann",
        "identity_id": "i",
        "plan_id": "pl",
        "permissions": ["a:read"],
        "restrictions": {
            "ip_networks": ["10.0.0.0/8"],
            "origins": ["https://*.a.example"],
            "referrers": ["https://a.example/x"],
            "android_apps": [{"package": "com.a", "certificate_sha256": "ab" * 32}],
            "ios_bundle_ids": ["b"],
            "apis": ["urn:x"],
            "methods": ["GET"],
            "paths": ["/a/*"],
        },
        "limits": [{"name": "requests", "limit": 100, "period_in": 60, "burst": None, "automatic": True}],
        "quotas": [{"name": "calls", "limit": 5, "per": "day", "automatic": False}],
        "credits": {"balance": 9, "refill": None},
        "expires_in": 2592000,
        "tags": ["t"],
        "metadata": {"k": "v"},
    }


def test_the_secret_stands_alone_on_its_line(run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    result = run("keys", "create", "--project", "p", "--name", "n", answers=[ISSUED])
    assert result.stdout == answers.KEY + "\n"
    assert "shown only now" in result.stderr
    assert answers.KEY not in result.stderr
    result = run("keys", "create", "--project", "p", "--name", "n", "--secret-only", answers=[ISSUED])
    assert (result.stdout, result.stderr) == (answers.KEY + "\n", "")


def test_a_rotation_says_until_when_the_old_secret_works(run: Callable[..., Any]) -> None:
    first = {**KEY_VIEW["versions"][0], "state": "retiring", "expires_at": "2030-01-01T12:00:00Z"}  # type: ignore[index]
    second = {**KEY_VIEW["versions"][0], "number": 2}  # type: ignore[index]
    issued = {**ISSUED, "key": {**KEY_VIEW, "versions": [first, second]}}
    result = run("keys", "rotate", "key_1", answers=[issued])
    assert "Secret 1 works on until 2030-01-01 12:00:00 UTC" in result.stderr
    assert result.stdout.count("\n") == 1
    assert "works on" not in run("keys", "rotate", "key_1", "--secret-only", answers=[issued]).stderr


def test_verify_reads_the_credential_from_stdin(run: Callable[..., Any]) -> None:
    options = ["--api", "urn:x", "-p", "a:read", "--limit", "heavy=3", "--method", "get", "--target", "/a"]
    for command in (["verify"], ["keys", "verify"]):
        result = run(*command, *options, answers=[YES], stdin="presented\n")
        assert result.exit_code == 0
        assert result.recorder.body == {
            "credential": "presented",
            "api": "urn:x",
            "permissions": ["a:read"],
            "limits": [{"name": "heavy", "cost": 3}],
            "method": "GET",
            "url": "/a",
        }
        assert "VALID" in result.stdout
        assert "requests  99" in result.stdout
        assert "presented" not in result.stdout + result.stderr


def test_verify_can_speak_for_an_app_and_ask_for_an_expression(run: Callable[..., Any]) -> None:
    options = ["--android", "com.a=" + "ab" * 32, "--ios", "com.a", "-p", "a:read or (a:write and a:list)"]
    result = run("verify", *options, answers=[YES], stdin="presented\n")
    assert result.exit_code == 0, result.stderr
    assert result.recorder.body == {
        "credential": "presented",
        "permissions": "a:read or (a:write and a:list)",
        "android_app": {"package": "com.a", "certificate_sha256": "ab" * 32},
        "ios_bundle_id": "com.a",
    }
    result = run("verify", "-p", "a:read or a:write", "-p", "a:list", stdin="presented\n")
    assert result.exit_code == 2
    assert "join it with 'and'" in result.stderr


def test_refund_says_whether_anything_was_given_back(run: Callable[..., Any]) -> None:
    for command in (["refund"], ["keys", "refund"]):
        result = run(*command, "key_1", "--request-id", "order-7", answers=[{"refunded": True}])
        assert (result.exit_code, result.stdout) == (0, "given back\n")
        assert result.recorder.body == {"key_id": "key_1", "request_id": "order-7"}
    result = run("refund", "key_1", "--request-id", "order-7", answers=[{"refunded": False}])
    assert (result.exit_code, result.stdout) == (1, "")
    assert "Nothing was given back" in result.stderr


@pytest.mark.parametrize("facet", ["source", "tag"])
def test_usage_by_what_not_every_request_has_says_so(run: Callable[..., Any], facet: str) -> None:
    answer = {**answers.USAGE, "group_by": [facet], "groups": [], "total": 0}
    assert "are not among them" in run("usage", "--by", facet, answers=[answer]).stderr
    assert "are not among them" not in run("usage", answers=[answers.USAGE]).stderr


def test_a_total_of_some_groups_is_not_that_of_all(run: Callable[..., Any]) -> None:
    assert "30 in all since" in run("usage", answers=[answers.USAGE]).stderr
    assert "30 in these groups since" in run("usage", answers=[{**answers.USAGE, "truncated": True}]).stderr


def test_verify_of_a_refused_credential_exits_with_1(run: Callable[..., Any]) -> None:
    no = {"valid": False, "code": "INSUFFICIENT_PERMISSIONS", "missing": ["a:write"]}
    result = run("verify", answers=[no], stdin="presented\n")
    assert result.exit_code == 1
    assert "a:write" in result.stdout
    assert run("verify", answers=[no], stdin="").exit_code == 2


def test_the_key_may_come_on_stdin_before_the_credential(run: Callable[..., Any]) -> None:
    result = run("verify", "--key-stdin", answers=[YES], stdin="my-key\npresented\n", key=None)
    assert result.exit_code == 0
    assert result.recorder.request.headers["authorization"] == "Bearer my-key"
    assert result.recorder.body == {"credential": "presented"}


def test_lists_take_pages_until_there_are_enough(run: Callable[..., Any]) -> None:
    pages = [page(KEY_VIEW, KEY_VIEW, cursor="c1"), page(KEY_VIEW, cursor="c2")]
    result = run("keys", "list", "-n", "3", answers=pages)
    assert [request.url.query.decode() for request in result.recorder.requests] == ["limit=3", "cursor=c1&limit=1"]
    assert result.stdout.count("web shop") == 3
    assert "more than these 3" in result.stderr
    result = run("keys", "list", "--all", "--json", answers=[*pages, page(KEY_VIEW)])
    assert json.loads(result.stdout) == page(KEY_VIEW, KEY_VIEW, KEY_VIEW, KEY_VIEW)


def test_an_empty_list_says_so(run: Callable[..., Any]) -> None:
    result = run("keys", "list", answers=[page()])
    assert (result.exit_code, result.stdout) == (0, "")
    assert "none" in result.stderr


def test_json_keeps_what_this_version_does_not_know(run: Callable[..., Any]) -> None:
    answer = {**KEY_VIEW, "new": {"a": [1]}}
    assert json.loads(run("keys", "show", "k", "--json", answers=[answer]).stdout) == answer
    assert json.loads(run("keys", "list", "--json", answers=[page(answer)]).stdout) == page(answer)


def test_a_broken_audit_log_exits_with_1(run: Callable[..., Any]) -> None:
    result = run("audit", "verify", answers=[{**CHAIN, "intact": False, "broken_at": 2, "message": "Rewritten."}])
    assert result.exit_code == 1
    assert "BROKEN at entry 2: Rewritten." in result.stdout


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("apis create --identifier urn:x --name X", API),
        ("projects create --name X", PROJECT),
        ("plans create --name X", PLAN),
        ("identities create --project p --external-id 7", IDENTITY),
    ],
)
def test_quiet_prints_the_id_for_scripts(run: Callable[..., Any], line: str, answer: dict[str, object]) -> None:
    assert run(*line.split(), "-q", answers=[answer]).stdout == f"{answer['id']}\n"
