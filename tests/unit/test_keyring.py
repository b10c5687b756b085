"""The keyring: strong keys, a file that only its owner reads, and nothing of it ever shown."""

from __future__ import annotations

import base64
import hmac
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from keybearer.core.errors import ConfigurationError
from keybearer.keyring import FileKeyring, new_document, open_keyring

STRONG = base64.b64encode(bytes(range(32))).decode()


def document(**changes: object) -> dict[str, object]:
    return {"root": STRONG, "peppers": [{"id": "p1", "key": STRONG}], **changes}


def test_digests_are_hmac_sha256_under_the_pepper() -> None:
    ring = FileKeyring(document(), "x")
    assert ring.digest("p1", "kb") == hmac.digest(bytes(range(32)), b"kb", "sha256")
    assert ring.fingerprint("p1") == ring.fingerprint("p1")
    assert len({ring.derived(purpose) for purpose in ("audit", "cursor", "seal")}) == 3
    with pytest.raises(ConfigurationError):
        ring.digest("p2", "kb")


def test_the_first_pepper_is_the_active_one() -> None:
    other = base64.b64encode(os.urandom(32)).decode()
    ring = FileKeyring(document(peppers=[{"id": "new", "key": other}, {"id": "old", "key": STRONG}]), "x")
    assert ring.active_pepper_id == "new"
    assert ring.pepper_ids == ("new", "old")
    assert ring.digest("new", "a") != ring.digest("old", "a")


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        document(root=base64.b64encode(b"short").decode()),
        document(root=base64.b64encode(b"a" * 32).decode()),
        document(root="not base64!"),
        document(peppers=[]),
        document(peppers=[{"id": "p1", "key": base64.b64encode(b"weak").decode()}]),
        document(peppers=[{"id": "p1", "key": STRONG}, {"id": "p1", "key": STRONG}]),
        document(peppers="p1"),
        document(import_secrets={"a": "not base64!"}),
    ],
)
def test_a_weak_or_garbled_keyring_refuses_to_start(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        FileKeyring(wrong, "the keyring")
    assert "the keyring" in str(caught.value)
    assert STRONG not in str(caught.value)


def test_a_new_keyring_is_made_once_and_for_its_owner_only(tmp_path: Path) -> None:
    first = open_keyring(tmp_path, {}, create=True)
    path = tmp_path / "keyring.json"
    assert path.stat().st_mode & 0o777 == 0o600
    assert open_keyring(tmp_path, {}, create=True).digest(first.active_pepper_id, "a") == first.digest(
        first.active_pepper_id, "a"
    )
    assert [entry.name for entry in tmp_path.iterdir()] == ["keyring.json"]
    for key in (json.loads(path.read_text())["root"], json.loads(path.read_text())["peppers"][0]["key"]):
        assert key not in repr(first)


def test_a_keyring_that_others_can_read_is_refused(tmp_path: Path) -> None:
    open_keyring(tmp_path, {}, create=True)
    (tmp_path / "keyring.json").chmod(0o644)
    with pytest.raises(ConfigurationError, match="chmod 600"):
        open_keyring(tmp_path, {}, create=True)


def test_where_it_comes_from(tmp_path: Path) -> None:
    assert open_keyring(tmp_path, {"KEYBEARER_KEYRING": json.dumps(document())}, create=False).pepper_ids == ("p1",)
    named = tmp_path / "elsewhere.json"
    with pytest.raises(ConfigurationError, match="does not exist"):
        open_keyring(tmp_path, {"KEYBEARER_KEYRING_FILE": str(named)}, create=True)
    named.write_text(json.dumps(document()))
    named.chmod(0o600)
    assert open_keyring(tmp_path, {"KEYBEARER_KEYRING_FILE": str(named)}, create=False).pepper_ids == ("p1",)
    for garbled in ("{", "[]", '"x"'):
        with pytest.raises(ConfigurationError):
            open_keyring(tmp_path, {"KEYBEARER_KEYRING": garbled}, create=False)
    with pytest.raises(ConfigurationError):
        open_keyring(tmp_path / "empty", {}, create=False)


START = """
import sys
from pathlib import Path
from keybearer.keyring import open_keyring
print(open_keyring(Path(sys.argv[1]), {}, create=True).active_pepper_id)
"""


def test_of_several_first_starts_one_keyring_wins(tmp_path: Path) -> None:
    starting = [
        subprocess.Popen([sys.executable, "-c", START, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        for _ in range(6)
    ]
    peppers = {process.communicate(timeout=60)[0].strip() for process in starting}
    assert len(peppers) == 1
    assert peppers != {""}


def test_fresh_documents_differ() -> None:
    assert new_document()["root"] != new_document()["root"]
