"""A full disk: nothing is acknowledged that was not kept, nobody is let in for it, and room makes all well."""

import os
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.e2e.shop import Shop
from tests.e2e.verifying import ask
from tests.support.authority import Authority

Full = Callable[[Authority], Iterator[None]]


@contextmanager
def volume_full(node: Authority) -> Iterator[None]:
    """The volume of the data directory has no byte left."""
    filler = node.data / "filler"
    with open(filler, "wb", buffering=0) as file:
        for size in (65536, 4096, 1):
            try:
                while True:
                    file.write(b"\0" * size)
            except OSError:
                continue
    try:
        yield
    finally:
        filler.unlink()


@contextmanager
def files_may_not_grow(node: Authority) -> Iterator[None]:
    """The operating system lets the server's files grow no further (RLIMIT_FSIZE), as a quota would."""
    process = psutil.Process(node.pid)
    before = process.rlimit(psutil.RLIMIT_FSIZE)
    process.rlimit(psutil.RLIMIT_FSIZE, (1024, before[1]))
    try:
        yield
    finally:
        process.rlimit(psutil.RLIMIT_FSIZE, before)


@pytest.fixture
def small_volume(tmp_path: Path) -> Iterator[Path]:
    """A volume of four megabytes."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small volume")
    folder = tmp_path / "small"
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", folder], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"a small volume cannot be mounted here: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.fixture(params=[volume_full, files_may_not_grow])
def node_and_full(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Authority, Full]]:
    home = request.getfixturevalue("small_volume") if request.param is volume_full else tmp_path
    node = Authority(data=home / "data", logs=tmp_path / "logs")
    node.init()
    node.start()
    yield node, request.param
    node.stop()


def names(shop: Shop) -> set[str]:
    found, cursor = set(), None
    while True:
        page = shop.call("GET", "/v1/projects", params={"limit": 100} | ({"cursor": cursor} if cursor else {}))
        found |= {item["name"] for item in page["items"]}
        cursor = page["next_cursor"]
        if cursor is None:
            return found


def test_a_full_disk_denies_and_recovers(node_and_full: tuple[Authority, Full]) -> None:
    node, full = node_and_full
    shop = Shop(node)
    _, credential = shop.key("pages:read")
    revoked_id, revoked = shop.key("pages:read")
    shop.call("POST", f"/v1/keys/{revoked_id}/revoke", {})
    prepaid_id, prepaid = shop.key(credits={"balance": 1000})
    assert shop.verify(credential)["valid"]
    kept, refused = set(), set()
    paid: Counter[str] = Counter()
    with full(node):
        for number in range(400):
            name = f"project {number}"
            status = shop.send("POST", "/v1/projects", {"name": name, "metadata": {"x": "y" * 3000}}).status_code
            assert status in (201, 503)
            (kept if status == 201 else refused).add(name)
            if len(refused) >= 10:
                break
        assert len(refused) >= 10
        answers = ask(node, credential, times=50)
        assert set(answers) <= {"VALID", "HTTP 503"}
        assert set(ask(node, revoked, times=20)) <= {"REVOKED", "HTTP 503"}
        paid += ask(node, prepaid, times=20)
        assert set(paid) <= {"VALID", "HTTP 503"}
        time.sleep(1.5)  # usage is flushed, and has to wait
        assert node.is_running
        assert shop.send("GET", "/healthz").status_code == 200
    until = time.monotonic() + 10
    while (again := shop.send("POST", "/v1/projects", {"name": "room again"})).status_code != 201:
        assert again.status_code == 503
        assert time.monotonic() < until
        time.sleep(0.2)
    assert kept <= names(shop)
    assert not refused & names(shop)
    node.kill9()
    node.start()
    assert kept | {"room again"} <= names(shop)
    assert not refused & names(shop)
    assert ask(node, credential, times=20) == {"VALID": 20}
    assert ask(node, revoked, times=20) == {"REVOKED": 20}
    spent = shop.call("GET", f"/v1/keys/{prepaid_id}")["credits"]["spent"]
    assert spent == paid["VALID"]
    assert shop.call("GET", "/v1/audit/verification")["intact"]


def test_a_full_disk_at_start_is_one_clear_line(small_volume: Path, tmp_path: Path) -> None:
    node = Authority(data=small_volume / "data", logs=tmp_path / "logs")
    node.data.mkdir()
    with volume_full(node):
        done = node.run("serve", "--data", str(node.data), "--port", str(node.port))
    assert done.returncode in (1, 2)
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert done.stderr.count("\n") == 1
    node.init()
    node.start()
    assert node.stop() == 0
