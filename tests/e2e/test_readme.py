"""The README's quick start, run as a new user would paste it, with other ports only."""

import json
import os
import queue
import re
import shutil
import signal
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.shop import Shop
from tests.support.authority import ADMIN_EMAIL, Authority, keybearer_command
from tests.support.nginx import find_nginx
from tests.support.ports import free_port
from tests.support.visitor import Visitor

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
MARK = "@@ block "


def blocks(language: str, document: str = README) -> list[str]:
    """The fenced blocks of a document in one language."""
    return [text for found, text in FENCE.findall(document) if found == language]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What a new user has, without downloading it again: scripts, configuration and an environment."""
    stamped = 'source scripts/lib.sh; is_stamped runtime.lock && [[ -x "$VENV/bin/keybearer" ]]'
    if subprocess.run(["bash", "-c", stamped], cwd=ROOT).returncode:
        pytest.skip("the environment in .venv is not that of requirements/; scripts/test makes it")
    folder = tmp_path / "keybearer"
    folder.mkdir()
    for name in ("scripts", ".venv"):
        (folder / name).symlink_to(ROOT / name)
    shutil.copytree(ROOT / "deploy", folder / "deploy")
    return folder


@pytest.fixture
def pasted(checkout: Path) -> list[str]:
    """What the terminal shows, block by block."""
    if find_nginx() is None:
        pytest.skip("nginx is not installed")
    ports = {"8080": str(free_port()), "8081": str(free_port()), "8088": str(free_port())}

    def with_ports(text: str) -> str:
        for usual, free in ports.items():
            text = re.sub(rf"\b{usual}\b", free, text)
        return text

    configuration = checkout / "deploy/nginx/keybearer.conf"
    configuration.write_text(with_ports(configuration.read_text()))
    script = "set -euo pipefail\n" + "".join(
        f"echo '{MARK}{number}'\n{with_ports(block)}" for number, block in enumerate(blocks("sh"))
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("KEYBEARER_")}
    # The two defaults that name port 8080 without saying so in the README.
    environment |= {"KEYBEARER_PORT": ports["8080"], "KEYBEARER_URL": f"http://127.0.0.1:{ports['8080']}"}
    shown = checkout.parent / "shown.txt"
    with open(shown, "wb") as output:
        process = subprocess.Popen(
            ["bash", "-c", script],
            cwd=checkout,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        try:
            status = process.wait(100)
        finally:
            for pid in nginx_pids(checkout):
                os.kill(pid, signal.SIGTERM)
            if group_exists(process.pid):
                os.killpg(process.pid, signal.SIGKILL)
    text = shown.read_text()
    assert status == 0, text
    return [part.partition("\n")[2] for part in text.split(MARK)[1:]]


def nginx_pids(checkout: Path) -> list[int]:
    file = checkout / "demo/nginx.pid"
    return [int(file.read_text())] if file.exists() else []


def group_exists(leader: int) -> bool:
    try:
        os.killpg(leader, 0)
    except ProcessLookupError:
        return False
    return True


def test_the_quick_start_does_what_it_says(pasted: list[str], checkout: Path) -> None:
    start, root_key, make, verify, site, curls, rotate, revoke, token, clean_up = pasted
    assert (start, root_key) == ("", "")
    assert "https://site.example" in make
    answer = json.loads(verify)
    assert verify.startswith('{"valid":true,"code":"VALID"')
    assert answer["principal"]["project_name"] == "Web shop"
    assert answer["limits"][0]["remaining"] == 4
    assert site == ""
    assert re.findall(r"^HTTP/1.1 (\d+)", curls, re.MULTILINE) == ["401", "200"]
    assert "<h1>Only for key holders</h1>" in curls
    assert re.findall(r"^(\d{3})$", curls, re.MULTILINE) == ["200", "200", "200", "429", "429"]
    assert "<h1>Only for key holders</h1>" in rotate
    assert re.findall(r"^HTTP/1.1 (\d+)", revoke, re.MULTILINE) == ["401"]
    for code in ("VALID", "RATE_LIMITED", "REVOKED"):
        assert code in revoke
    assert "<h1>Only for key holders</h1>" in token
    assert re.findall(r"^HTTP/1.1 (\d+)", token, re.MULTILINE) == ["401"]
    assert "rror" not in clean_up
    assert not (checkout / "demo").exists()


def test_what_follows_the_quick_start_works_too(
    authority: Callable[..., Authority], monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = Shop(authority())
    document = (ROOT / "docs/quickstart.md").read_text()
    environment = os.environ | {
        "KEYBEARER_URL": shop.node.url,
        "KEYBEARER_KEY": shop.node.root_key,
        "PROJECT": shop.project["id"],
        "PATH": f"{Path(keybearer_command()).parent}:{os.environ['PATH']}",
    }
    script = "set -euo pipefail\n" + "\n".join(blocks("sh", document)) + '\necho "$CLIENT_SECRET"\n'
    done = subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    publishable, service_key = re.findall(r"kb_[sp]k_live_\w+", done.stdout)
    assert shop.verify(publishable, origin="https://www.shop.example", permissions=["pages:read"])["valid"]
    assert shop.call("GET", f"/v1/projects/{shop.project['id']}")["plan_id"].startswith("plan_")
    code, application = blocks("python", document)
    found: dict[str, Any] = {"service_key": service_key, "presented_key": shop.key("pages:read")[1]}
    exec(code.replace("http://127.0.0.1:8080", shop.node.url), found)
    assert found["project"] == shop.project["id"]
    secret = re.findall(r"kb_cs_\w+", done.stdout)[0]
    monkeypatch.setenv("CLIENT_SECRET", secret)
    monkeypatch.setenv("CLIENT_ID", f"client_{secret.split('_')[2]}")
    monkeypatch.setenv("AUTHLIB_INSECURE_TRANSPORT", "")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    _sign_in_to(application.replace("http://127.0.0.1:8080", shop.node.url).replace("8765", str(free_port())), shop)


def _sign_in_to(application: str, shop: Shop) -> None:
    """Run the example of an application, with a person who opens the address that it prints, and agrees."""
    printed: queue.Queue[tuple[str, ...]] = queue.Queue()
    found: dict[str, Any] = {"print": lambda *words: printed.put(words)}
    with ThreadPoolExecutor(1) as pool, Visitor() as visitor:
        running = pool.submit(exec, application, found)
        address = visitor.arrives(printed.get(timeout=20)[1], found["HERE"])
        assert httpx.get(address, trust_env=False).status_code == 200
        running.result(30)
    assert printed.get_nowait() == (ADMIN_EMAIL, "allowed", "openid email offline_access pages:read pages:write")
    assert shop.verify(found["renewed"]["access_token"], permissions=["pages:write"])["valid"]
    assert found["renewed"]["access_token"] != found["tokens"]["access_token"]


@pytest.mark.parametrize("name", ["verify.md", "api.md"])
def test_the_examples_for_curl_work(authority: Callable[..., Authority], name: str) -> None:
    shop = Shop(authority())
    key_id, secret = shop.key("pages:read")
    environment = os.environ | {"KEYBEARER_KEY": shop.node.root_key, "KEY": secret, "KEY_ID": key_id}
    for block in blocks("sh", (ROOT / "docs" / name).read_text()):
        script = block.replace("http://127.0.0.1:8080", shop.node.url)
        done = subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True, timeout=30)
        answer = json.loads(done.stdout)
        assert "status" not in answer, answer
        assert answer.get("code", "VALID") == "VALID"


def test_the_readme_names_the_commands_of_a_developer() -> None:
    development = README.partition("## Development")[2]
    (shown,) = (text for text in blocks("console") if text in development)
    commands = [line.removeprefix("$ ").partition("#")[0].split() for line in shown.splitlines()]
    assert ["scripts/test"] in commands
    for command in commands:
        assert os.access(ROOT / command[0], os.X_OK), command


def test_every_link_leads_somewhere() -> None:
    for document in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", document.read_text()):
            if "://" not in target:
                assert (document.parent / target).exists(), f"{document.name}: {target}"
