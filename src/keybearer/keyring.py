"""The keyring: peppers and other keys that live outside the database, in a file only its owner can read.

Spec: DESIGN §2 (peppers live outside the database; several may be active; start-up refuses a weak one).
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from .core.errors import ConfigurationError

FILE_NAME: Final = "keyring.json"
KEY_LENGTH: Final = 32


class FileKeyring:
    """Implements ``ports.Keyring`` from a JSON document.

    ``{"root": KEY, "peppers": [{"id": "p1", "key": KEY}, …], "import_secrets": {"name": KEY}}`` with keys in base64 of
    32 bytes or more; the first pepper is the active one. No key is ever shown again.
    """

    def __init__(self, document: Mapping[str, Any], source: str) -> None:
        try:
            root = _key(document["root"], f"{source}: root")
            peppers = {
                str(item["id"]): _key(item["key"], f"{source}: pepper {item['id']}") for item in document["peppers"]
            }
            imports = document.get("import_secrets", {})
            self._imports = {str(name): base64.b64decode(text, validate=True) for name, text in imports.items()}
        except (KeyError, TypeError, AttributeError, binascii.Error) as error:
            raise ConfigurationError(f"{source} is not a keyring: it lacks or garbles {error}.") from error
        if not peppers:
            raise ConfigurationError(f"{source} has no pepper; it needs at least one.")
        if len(peppers) != len(document["peppers"]):
            raise ConfigurationError(f"{source} has two peppers with the same id.")
        self._root = root
        # A keyed HMAC is copied for each digest: that saves the key schedule on the hot path.
        self._peppers = {pepper_id: HMAC(key, SHA256()) for pepper_id, key in peppers.items()}
        self.pepper_ids: tuple[str, ...] = tuple(peppers)
        self.active_pepper_id: str = self.pepper_ids[0]
        self.import_secret_names: tuple[str, ...] = tuple(self._imports)

    def __repr__(self) -> str:
        return f"FileKeyring(peppers={list(self.pepper_ids)})"

    def digest(self, pepper_id: str, text: str) -> bytes:
        """Return HMAC-SHA-256 of the text under a pepper."""
        keyed = self._peppers.get(pepper_id)
        if keyed is None:
            raise ConfigurationError(f"The keyring has no pepper {pepper_id!r}, but a stored digest needs it.")
        mac = keyed.copy()
        mac.update(text.encode())
        return mac.finalize()

    def derived(self, purpose: str) -> bytes:
        """Return a 32-byte key for one purpose. Spec: RFC 5869."""
        return HKDF(algorithm=SHA256(), length=KEY_LENGTH, salt=None, info=f"keybearer/{purpose}".encode()).derive(
            self._root
        )

    def import_secret(self, name: str) -> bytes | None:
        """Return the HMAC secret of another system, or ``None``."""
        return self._imports.get(name)

    def fingerprint(self, pepper_id: str) -> bytes:
        """Return what the database remembers of a pepper, to notice a wrong keyring at start-up."""
        return self.digest(pepper_id, "keybearer pepper fingerprint")


def _key(text: str, name: str) -> bytes:
    key = base64.b64decode(text, validate=True)
    if len(key) < KEY_LENGTH or len(set(key)) < 16:
        raise ConfigurationError(
            f"{name} is weak: it needs {KEY_LENGTH} random bytes in base64, for instance from "
            "`head -c 32 /dev/urandom | base64`."
        )
    return key


def new_document() -> dict[str, Any]:
    """Return a new keyring document with fresh random keys."""
    return {
        "root": base64.b64encode(secrets.token_bytes(KEY_LENGTH)).decode(),
        "peppers": [
            {"id": f"p{secrets.token_hex(4)}", "key": base64.b64encode(secrets.token_bytes(KEY_LENGTH)).decode()}
        ],
        "import_secrets": {},
    }


def open_keyring(data: Path, environment: Mapping[str, str] | None = None, *, create: bool) -> FileKeyring:
    """Return the keyring from ``KEYBEARER_KEYRING`` (JSON), ``KEYBEARER_KEYRING_FILE``, or the data directory.

    With ``create`` a missing file in the data directory is made, readable by its owner only. Raises
    ``ConfigurationError`` for a weak, garbled, missing or world-readable keyring.
    """
    env = os.environ if environment is None else environment
    if env.get("KEYBEARER_KEYRING"):
        return FileKeyring(_parse(env["KEYBEARER_KEYRING"], "KEYBEARER_KEYRING"), "KEYBEARER_KEYRING")
    named = env.get("KEYBEARER_KEYRING_FILE")
    path = Path(named) if named else data / FILE_NAME
    if not path.exists():
        if named or not create:
            raise ConfigurationError(f"The keyring {path} does not exist.")
        _write_new(path)
    try:
        mode = path.stat().st_mode
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"The keyring {path} cannot be read: {error}.") from error
    if mode & 0o077:
        raise ConfigurationError(f"The keyring {path} can be read by others; run `chmod 600 {path}`.")
    return FileKeyring(_parse(text, str(path)), str(path))


def _parse(text: str, source: str) -> Mapping[str, Any]:
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        # The decoder's message would quote a part of the document.
        raise ConfigurationError(f"{source} is not JSON (line {error.lineno}).") from None
    if not isinstance(document, dict):
        raise ConfigurationError(f"{source} is not a JSON object.")
    return document


def _write_new(path: Path) -> None:
    # Written beside and linked into place, so that of two processes that start at once, one keyring wins whole.
    beside = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(new_document(), file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(beside, path)
        except FileExistsError:
            return
        directory = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    finally:
        os.unlink(beside)
