"""Keys of other systems: each declared hash is found and matched, and no stored hash is ever a key."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
from typing import Any

import bcrypt
import pytest

from keybearer.core import credential
from keybearer.core.errors import Code, InvalidInput, Rejected
from keybearer.core.instant import Instant
from keybearer.core.records import CredentialKind, Environment, KeyKind
from keybearer.formats import UnverifiedForeignKey, UnverifiedKey, api_key, foreign, parse
from keybearer.keyring import FileKeyring, new_document
from keybearer.wire.keys import ImportedSecret

NOW = Instant(1_795_000_000_000_000)
OLD = b"the secret under which another system made its hashes"
RING = FileKeyring({**new_document(), "import_secrets": {"legacy": base64.b64encode(OLD).decode()}}, "test")
KEY = "sk_5fJq2LZ8hTnV0wYx"
SEAM = "seam_apikey1_" + "Ab12Cd34"
LONG = "longTokenThatIsTheSecretPart0123"


def sha(name: str) -> bytes:
    return hashlib.new(name, KEY.encode()).digest()


SALT = os.urandom(16)
DECLARED: list[tuple[str, str, dict[str, Any]]] = [
    ("raw", KEY, {"value": KEY}),
    ("sha256", KEY, {"value": sha("sha256").hex()}),
    ("sha256", KEY, {"value": base64.b64encode(sha("sha256")).decode(), "encoding": "base64"}),
    ("unkey", KEY, {"value": base64.b64encode(sha("sha256")).decode()}),
    ("sha512", KEY, {"value": sha("sha512").hex()}),
    ("hmac-sha256", KEY, {"value": hmac.digest(OLD, KEY.encode(), "sha256").hex(), "secret_name": "legacy"}),
    ("bcrypt", KEY, {"value": bcrypt.hashpw(KEY.encode(), bcrypt.gensalt(4)).decode(), "start": KEY[:8]}),
    (
        "pbkdf2-sha256",
        KEY,
        {
            "value": hashlib.pbkdf2_hmac("sha256", KEY.encode(), SALT, 1000).hex(),
            "salt": base64.b64encode(SALT).decode(),
            "iterations": 1000,
            "start": KEY[:10],
        },
    ),
    (
        "pbkdf2-sha512",
        KEY,
        {
            "value": hashlib.pbkdf2_hmac("sha512", KEY.encode(), SALT, 10).hex(),
            "salt": base64.b64encode(SALT).decode(),
            "iterations": 10,
            "start": KEY[:8],
        },
    ),
    (
        "seam",
        f"seam_Ab12Cd34_{LONG}",
        {"value": hashlib.sha256(LONG.encode()).hexdigest(), "short_token": "Ab12Cd34"},
    ),
]


@pytest.mark.parametrize(("scheme", "key", "fields"), DECLARED)
def test_a_declared_key_is_found_and_matched(scheme: str, key: str, fields: dict[str, Any]) -> None:
    declared = foreign.declare(ImportedSecret(scheme=scheme, **fields), RING, NOW)
    assert declared.lookup in foreign.lookups(key, [declared.scheme], RING)
    assert foreign.matches(declared.version, key, RING)
    for wrong in (key + "x", key[:-1], key.swapcase(), " " + key):
        assert not foreign.matches(declared.version, wrong, RING)


@pytest.mark.parametrize(("scheme", "key", "fields"), DECLARED)
def test_a_stored_hash_is_not_a_key(scheme: str, key: str, fields: dict[str, Any]) -> None:
    declared = foreign.declare(ImportedSecret(scheme=scheme, **fields), RING, NOW)
    digest = declared.version.digest
    for stolen in (digest.hex(), base64.b64encode(digest).decode(), declared.lookup, fields["value"]):
        if stolen != key:
            assert not foreign.matches(declared.version, stolen, RING)


@pytest.mark.parametrize(
    ("scheme", "fields", "field"),
    [
        ("raw", {"value": "short"}, "secret.value"),
        ("raw", {"value": "has a space in it"}, "secret.value"),
        ("raw", {"value": credential.mint("kb_sk_live", credential.new_id(NOW)).reveal()}, "secret.value"),
        ("sha256", {"value": "zz"}, "secret.value"),
        ("sha256", {"value": "ab" * 31}, "secret.value"),
        ("sha512", {"value": "ab" * 32}, "secret.value"),
        ("unkey", {"value": "not base64!"}, "secret.value"),
        ("hmac-sha256", {"value": "ab" * 32}, "secret.secret_name"),
        ("hmac-sha256", {"value": "ab" * 32, "secret_name": "other"}, "secret.secret_name"),
        ("bcrypt", {"value": "$2b$04$" + "a" * 53}, "secret.start"),
        ("bcrypt", {"value": "$2b$31$" + "a" * 53, "start": "12345678"}, "secret.value"),
        ("pbkdf2-sha256", {"value": "ab" * 32, "start": "12345678"}, "secret.salt"),
        ("pbkdf2-sha256", {"value": "ab", "start": "12345678", "salt": "AA==", "iterations": 1}, "secret.value"),
        ("seam", {"value": "ab" * 32}, "secret.short_token"),
    ],
)
def test_what_cannot_be_stored_is_refused_by_field(scheme: str, fields: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        foreign.declare(ImportedSecret(scheme=scheme, **fields), RING, NOW)
    assert caught.value.problems[0].field == field


def test_a_long_key_matches_its_bcrypt_as_the_other_system_made_it() -> None:
    long = "k" * 100
    stored = bcrypt.hashpw(long[:72].encode(), bcrypt.gensalt(4)).decode()
    declared = foreign.declare(ImportedSecret(scheme="bcrypt", value=stored, start=long[:8]), RING, NOW)
    assert foreign.matches(declared.version, long, RING)


def test_unknown_schemes_find_nothing() -> None:
    assert foreign.lookups(KEY, ["hmac-sha256:gone", "import-hmac:gone", "other"], RING) == ()


def test_the_prefix_picks_the_format() -> None:
    for kind in KeyKind:
        for environment in Environment:
            prefix = api_key.prefix_for("acme", CredentialKind(kind), environment)
            text = credential.mint(prefix, "A" * 16).reveal()
            assert parse(text) == UnverifiedKey("key_" + "A" * 16)
    assert parse(KEY) == UnverifiedForeignKey()


@pytest.mark.parametrize(
    "junk", ["", "short", "with space in it", "é" * 20, "x" * 513, "tab\tinside-it", "nul\0inside-it"]
)
def test_what_no_key_can_be_is_malformed(junk: str) -> None:
    with pytest.raises(Rejected) as caught:
        parse(junk)
    assert caught.value.code is Code.MALFORMED


def test_a_wrong_checksum_is_never_tried_as_a_foreign_key() -> None:
    text = credential.mint("kb_sk_live", credential.new_id(NOW)).reveal()
    wrong = text[:-1] + ("a" if text[-1] != "a" else "b")
    with pytest.raises(Rejected) as caught:
        parse(wrong)
    assert "checksum" in str(caught.value)
