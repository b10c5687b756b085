"""Keys that another system made: how they are declared, looked up and checked until their first use re-hashes them.

A foreign key has no id of ours inside, so it is found by a *lookup*: a text computed from the key, stored beside its
record. Which ways of looking up exist in this installation is known (``foreign_schemes``), so an unknown text costs
one hash per scheme in use, and nothing at all where nothing was imported. A stored hash is never accepted as a key,
because what is presented is always hashed again.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Iterable
from typing import Final, NamedTuple

from ..core import credential
from ..core.errors import InvalidInput
from ..core.instant import Instant
from ..core.records import SecretVersion
from ..ports import Keyring
from ..wire.keys import ImportedSecret

_SHAPE: Final = re.compile(r"[\x21-\x7e]{8,512}")
_SEAM: Final = re.compile(r"[A-Za-z0-9]+_([A-Za-z0-9]{4,64})_([A-Za-z0-9]{8,128})", re.ASCII)
_BCRYPT: Final = re.compile(r"\$2[abxy]\$(?:0[4-9]|1[0-6])\$[./A-Za-z0-9]{53}", re.ASCII)
_BCRYPT_INPUT: Final = 72
SLOW_SCHEMES: Final = frozenset({"bcrypt", "pbkdf2-sha256", "pbkdf2-sha512"})
"""Schemes that take milliseconds on purpose: checked in a thread, and only until the first use."""


class UnverifiedForeignKey(NamedTuple):
    """A text that may be a key of another system; it claims no id that we could read."""


class ForeignFormat:
    """Take any printable text as a possible foreign key; whether one exists, the store says."""

    def parse(self, text: str) -> UnverifiedForeignKey | None:
        """Return the unverified key, or ``None`` for texts that no key can be."""
        return UnverifiedForeignKey() if _SHAPE.fullmatch(text) else None


FORMAT: Final = ForeignFormat()


def native_lookup(pepper_id: str, digest: bytes) -> tuple[str, str]:
    """Return ``(scheme, lookup)`` of a foreign key that is stored under our own pepper."""
    scheme = f"hmac-sha256:{pepper_id}"
    return scheme, f"{scheme}:{digest.hex()}"


def lookups(text: str, schemes: Iterable[str], keyring: Keyring) -> tuple[str, ...]:
    """Return every lookup under which this text might be stored, one per scheme in use.

    Those that only the whole key has come first, so that no key which merely begins like it stands in its way.
    """
    found = []
    for scheme in sorted(schemes, key=_vagueness):
        lookup = _lookup(text, scheme, keyring)
        if lookup is not None:
            found.append(lookup)
    return tuple(found)


def _vagueness(scheme: str) -> tuple[int, int, str]:
    kind, _, parameter = scheme.partition(":")
    return (2, -int(parameter), scheme) if kind == "start" else (1 if kind == "seam" else 0, 0, scheme)


def _lookup(text: str, scheme: str, keyring: Keyring) -> str | None:
    kind, _, parameter = scheme.partition(":")
    if kind == "hmac-sha256":
        return f"{scheme}:{keyring.digest(parameter, text).hex()}" if parameter in keyring.pepper_ids else None
    if kind in ("sha256", "sha512"):
        return f"{kind}:{hashlib.new(kind, text.encode()).hexdigest()}"
    if kind == "import-hmac":
        secret = keyring.import_secret(parameter)
        return None if secret is None else f"{scheme}:{hmac.digest(secret, text.encode(), 'sha256').hex()}"
    if kind == "seam":
        match = _SEAM.fullmatch(text)
        return f"seam:{match[1]}" if match else None
    if kind == "start":
        return f"{scheme}:{text[: int(parameter)]}" if len(text) >= int(parameter) else None
    return None


def matches(version: SecretVersion, text: str, keyring: Keyring) -> bool:
    """Tell whether the presented text is the secret of this version, in constant time per scheme."""
    data = text.encode()
    scheme = version.scheme
    if scheme == "hmac-sha256":
        digest = keyring.digest(version.pepper_id, text)
    elif scheme in ("sha256", "sha512"):
        digest = hashlib.new(scheme, data).digest()
    elif scheme == "import-hmac":
        secret = keyring.import_secret(version.parameters["secret_name"])
        if secret is None:
            return False
        digest = hmac.digest(secret, data, "sha256")
    elif scheme == "seam":
        match = _SEAM.fullmatch(text)
        if match is None:
            return False
        digest = hashlib.sha256(match[2].encode()).digest()
    elif scheme == "bcrypt":
        import bcrypt  # only installations with such imports pay for it

        return bcrypt.checkpw(data[:_BCRYPT_INPUT], version.digest)
    elif scheme in ("pbkdf2-sha256", "pbkdf2-sha512"):
        salt = base64.b64decode(version.parameters["salt"])
        iterations = int(version.parameters["iterations"])
        digest = hashlib.pbkdf2_hmac(scheme.removeprefix("pbkdf2-"), data, salt, iterations, len(version.digest))
    else:
        return False
    return hmac.compare_digest(digest, version.digest)


class DeclaredSecret(NamedTuple):
    """How an imported secret is stored: its version, its lookup, and the scheme that finds it."""

    version: SecretVersion
    lookup: str
    scheme: str


def declare(secret: ImportedSecret, keyring: Keyring, now: Instant) -> DeclaredSecret:
    """Return how to store an imported secret; raises ``InvalidInput`` naming the field that is wrong.

    Raw keys and keys in Keybearer's own shape differ: the latter carry an id and checksum of ours and are refused.
    """
    if secret.scheme == "raw":
        if credential.looks_like_one(secret.value):
            raise InvalidInput.of("secret.value", "this is a Keybearer key already; create a key instead")
        if _SHAPE.fullmatch(secret.value) is None:
            raise InvalidInput.of("secret.value", "a key has 8 to 512 printable ASCII characters without spaces")
        pepper_id = keyring.active_pepper_id
        digest = keyring.digest(pepper_id, secret.value)
        scheme, lookup = native_lookup(pepper_id, digest)
        return DeclaredSecret(SecretVersion(1, digest, now, "hmac-sha256", pepper_id), lookup, scheme)
    if secret.scheme in ("sha256", "unkey", "sha512"):
        name = "sha512" if secret.scheme == "sha512" else "sha256"
        encoding = "base64" if secret.scheme == "unkey" else secret.encoding
        digest = _decode(secret.value, encoding, 64 if name == "sha512" else 32)
        return DeclaredSecret(SecretVersion(1, digest, now, name), f"{name}:{digest.hex()}", name)
    if secret.scheme == "hmac-sha256":
        if not secret.secret_name:
            raise InvalidInput.of("secret.secret_name", "name the keyring's import secret that made these digests")
        if keyring.import_secret(secret.secret_name) is None:
            known = ", ".join(keyring.import_secret_names) or "none"
            raise InvalidInput.of("secret.secret_name", f"the keyring has no such import secret (it has: {known})")
        digest = _decode(secret.value, secret.encoding, 32)
        scheme = f"import-hmac:{secret.secret_name}"
        version = SecretVersion(1, digest, now, "import-hmac", parameters={"secret_name": secret.secret_name})
        return DeclaredSecret(version, f"{scheme}:{digest.hex()}", scheme)
    if secret.scheme == "seam":
        if not secret.short_token:
            raise InvalidInput.of("secret.short_token", "the short token in the middle of the key is needed")
        digest = _decode(secret.value, secret.encoding, 32)
        return DeclaredSecret(SecretVersion(1, digest, now, "seam"), f"seam:{secret.short_token}", "seam")
    return _declare_salted(secret, now)


def _declare_salted(secret: ImportedSecret, now: Instant) -> DeclaredSecret:
    if not secret.start:
        raise InvalidInput.of("secret.start", "a salted hash cannot be searched: give the first 8 to 32 characters")
    scheme = f"start:{len(secret.start)}"
    lookup = f"{scheme}:{secret.start}"
    if secret.scheme == "bcrypt":
        if _BCRYPT.fullmatch(secret.value) is None:
            raise InvalidInput.of("secret.value", "this is not a bcrypt hash ($2b$…, cost 4 to 16)")
        return DeclaredSecret(SecretVersion(1, secret.value.encode(), now, "bcrypt"), lookup, scheme)
    if secret.salt is None or secret.iterations is None:
        raise InvalidInput.of("secret.salt", "PBKDF2 needs 'salt' (base64) and 'iterations'")
    salt = _base64(secret.salt, "secret.salt")
    digest = _decode(secret.value, secret.encoding, None)
    if not 16 <= len(digest) <= 128:
        raise InvalidInput.of("secret.value", "a PBKDF2 digest has 16 to 128 bytes")
    parameters = {"salt": base64.b64encode(salt).decode(), "iterations": str(secret.iterations)}
    return DeclaredSecret(SecretVersion(1, digest, now, secret.scheme, parameters=parameters), lookup, scheme)


def _decode(value: str, encoding: str, length: int | None) -> bytes:
    if encoding == "base64":
        digest = _base64(value, "secret.value")
    else:
        try:
            digest = bytes.fromhex(value)
        except ValueError as error:
            raise InvalidInput.of("secret.value", "this is not hexadecimal") from error
    if length is not None and len(digest) != length:
        raise InvalidInput.of("secret.value", f"a digest of this scheme has {length} bytes, not {len(digest)}")
    return digest


def _base64(value: str, field: str) -> bytes:
    padded = value.replace("-", "+").replace("_", "/") + "=" * (-len(value) % 4)
    try:
        return base64.b64decode(padded, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidInput.of(field, "this is not base64") from error
