"""``keybearer login`` and ``logout``: a person signs in with a browser anywhere, and the command line acts for them.

The tokens lie in a file that only its owner can read, one entry for each Keybearer. Spec: RFC 8628, RFC 9700 §4.14.
"""

from __future__ import annotations

import os
import secrets
import time
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
import typer

from ..client import ClientError
from ..client.connection import connect
from ..client.device_login import DeviceLogin, LoginRefused, Tokens
from ..core.secret import Secret
from .output import Printer, clean
from .session import DEFAULT_URL, FAILED, UNREACHABLE, WRONG_USAGE, AllowHttp, NoColor, Url

FILE: Final = "login.json"
SCOPES: Final = ("keybearer:admin", "openid", "offline_access")

Scopes = Annotated[
    list[str] | None,
    typer.Option("--scope", metavar="NAME", help="What the command line may do; default: all that you may."),
]


def login(
    url: Url = DEFAULT_URL, scope: Scopes = None, allow_http: AllowHttp = False, no_color: NoColor = False
) -> None:
    """Sign in with a browser, on this or another machine. Commands then need no KEYBEARER_KEY."""
    out = Printer(color=not no_color)
    device = _device(out, url, allow_http)
    try:
        started = device.start(" ".join(scope or SCOPES))
        out.line(f"Open {clean(started.verification_uri)} and enter the code:\n\n    {clean(started.user_code)}\n")
        if started.verification_uri_complete:
            out.note(f"Or open {clean(started.verification_uri_complete)}")
        out.note("Waiting for you to confirm …")
        tokens = device.wait(started)
        keep(url, tokens)
    except KeyboardInterrupt:
        out.note("keybearer: nothing was done.", "red")
        raise typer.Exit(FAILED) from None
    except ClientError as error:
        out.note(f"keybearer: {clean(error)}", "red")
        raise typer.Exit(FAILED if isinstance(error, LoginRefused) else UNREACHABLE) from None
    finally:
        device.close()
    out.note(f"Signed in at {url}. It may: {clean(tokens.scope)}", "green")
    if not any(name.startswith("keybearer:") for name in tokens.scope.split()):
        out.note(
            "You hold no permission of Keybearer itself, which most commands need: ask an administrator.", "yellow"
        )


def logout(url: Url = DEFAULT_URL, allow_http: AllowHttp = False, no_color: NoColor = False) -> None:
    """Sign out: the tokens are revoked at the server and forgotten here."""
    out = Printer(color=not no_color)
    tokens = kept(url)
    if tokens is None:
        out.note(f"You are not signed in at {url}.")
        return
    device = _device(out, url, allow_http)
    try:
        device.revoke(tokens)
    except ClientError as error:
        out.note(f"keybearer: {clean(error)} The tokens are forgotten here, and end by themselves.", "red")
    finally:
        device.close()
    keep(url, None)
    out.note("Signed out.", "green")


def access_token(url: str) -> Secret | None:
    """Return a fresh access token for this Keybearer, or ``None`` without a sign-in; refreshes and keeps it.

    Raises ``ClientError``.
    """
    tokens = kept(url)
    if tokens is None or tokens.is_fresh(time.time()):
        return None if tokens is None else tokens.access_token
    device = DeviceLogin(url)
    try:
        tokens = device.refresh(tokens)
    except LoginRefused:
        keep(url, None)
        return None
    finally:
        device.close()
    keep(url, tokens)
    return tokens.access_token


def path() -> Path:
    """Return where sign-ins are kept. Spec: XDG Base Directory."""
    root = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path(root) / "keybearer" / FILE


def kept(url: str) -> Tokens | None:
    """Return the tokens of this Keybearer, or ``None``; a file that others can read counts as none."""
    found = _read().get(url.rstrip("/"))
    if not isinstance(found, dict):
        return None
    try:
        refresh = found.get("refresh_token")
        return Tokens(
            access_token=Secret(str(found["access_token"])),
            ends_at=int(found["ends_at"]),
            refresh_token=None if refresh is None else Secret(str(refresh)),
            scope=str(found.get("scope", "")),
        )
    except (KeyError, ValueError, TypeError):
        return None


def keep(url: str, tokens: Tokens | None) -> None:
    """Write the tokens of this Keybearer, or forget them; the file is replaced whole."""
    everything = _read()
    everything.pop(url.rstrip("/"), None)
    if tokens is not None:
        everything[url.rstrip("/")] = {
            "access_token": tokens.access_token.reveal(),
            "ends_at": tokens.ends_at,
            "refresh_token": None if tokens.refresh_token is None else tokens.refresh_token.reveal(),
            "scope": tokens.scope,
        }
    target = path()
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    beside = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(msgspec.json.encode(everything))
    beside.replace(target)


def _read() -> dict[str, Any]:
    target = path()
    try:
        if target.stat().st_mode & 0o077:
            return {}
        found = msgspec.json.decode(target.read_bytes())
    except (OSError, msgspec.DecodeError):
        return {}
    return found if isinstance(found, dict) else {}


def _device(out: Printer, url: str, allow_http: bool) -> DeviceLogin:
    try:
        return DeviceLogin(connect(url, None, allow_http=allow_http).url)
    except ValueError as error:
        out.note(f"keybearer: {error}", "red")
        raise typer.Exit(WRONG_USAGE) from None
