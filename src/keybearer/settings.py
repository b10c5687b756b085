"""The settings of one process: frozen, read once at start from flags and ``KEYBEARER_…`` variables."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from .core.email_address import normalise
from .core.errors import ConfigurationError

LOOPBACK = ("127.0.0.0/8", "::1/128")
LOGO_SUFFIXES = (".svg", ".png", ".webp")
MAX_LOGO = 262_144
_COLOUR = re.compile(r"#[0-9a-fA-F]{6}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What an operator can set. Durations are in seconds, sizes in bytes. ``docs/settings.md`` is drawn from this."""

    data: Path = Path("keybearer-data")
    """Where the keyring and, on SQLite, the database live."""
    database: str = ""
    """A ``postgresql://…`` or ``sqlite:///path`` URL; empty means SQLite in the data directory."""
    issuer: str = ""
    """The public URL of this authority; empty means ``http://host:port``."""
    host: str = "127.0.0.1"
    """The address to listen on."""
    port: int = 8080
    """The port to listen on; 0 takes a free one."""
    ext_authz_port: int = 0
    """The port on which Envoy asks over gRPC (``pip install 'keybearer[envoy]'``); 0 leaves this off."""
    workers: int = 1
    """Processes behind the one port; they share limits and the revocation promise."""
    trusted_proxies: tuple[str, ...] = LOOPBACK
    """Networks whose ``X-Forwarded-For``, forward-auth and ext_authz requests are believed; empty means nobody."""
    cache_entries: int = 100_000
    """How many records a process keeps."""
    view_lifetime: float = 0.9
    """How long a cached record may be trusted after the database vouched for the event head: so long a revoke may take
    to be known everywhere."""
    poll_interval: float = 0.2
    """How often a process asks the database for the event head."""
    usage_flush_interval: float = 1.0
    """How often usage and last uses are written, all together."""
    sweep_interval: float = 60.0
    """How often what nobody needs any more is removed, in small batches."""
    max_body: int = 65_536
    """The largest body of a request."""
    max_import_body: int = 268_435_456
    """The largest body of an import of keys."""
    max_import_lines: int = 500_000
    """The most keys in one import."""
    request_timeout: float = 30.0
    """How long a request may take to arrive whole; a slower client is closed."""
    shutdown_timeout: float = 10.0
    """How long open requests may go on after SIGTERM."""
    max_connections: int = 10_000
    """The most connections of one process; more are answered 503."""
    max_event_streams: int = 500
    """The most guards that follow the event log at one process."""
    failures_per_minute: int = 120
    """Bad credentials that one client address may present a minute before it is slowed down; 0 switches this off."""
    session_in: int = 604_800
    """How long a sign-in lasts at most, however much it is used."""
    session_idle_in: int = 86_400
    """How long a sign-in may lie unused before it ends."""
    open_registration: bool = False
    """Whether anybody may register; without it people are invited, imported or created."""
    password_threads: int = 2
    """How many passwords are hashed at once; each takes 19 MiB and a processor while it runs."""
    password_blocklist: str = ""
    """A file of passwords that nobody may choose, one a line, besides those that Keybearer knows."""
    mail: str = "file"
    """Where mail goes: ``file`` (to ``outbox`` in the data directory), ``console``, or a server:
    ``smtp://user:password@host:587`` (STARTTLS), ``smtps://…`` (TLS), ``smtp+plain://relay:25`` (neither, no password).
    """
    mail_from: str = ""
    """The address that mail comes from; empty means ``keybearer@`` and the issuer's host."""
    client_registration: str = "off"
    """Who may register OAuth clients at ``/oauth/register``: ``off``, ``token`` (keys that may) or ``open`` (all)."""
    client_metadata_documents: bool = False
    """Whether a client may be the https URL of its own description, a Client ID Metadata Document."""
    client_registrations_per_day: int = 1000
    """How many clients strangers may register a day; one address may register a tenth of them."""
    registered_clients_need_pkce: bool = True
    """Whether clients that registered themselves and keep a secret need PKCE too; others always do."""
    token_requests_per_minute: int = 0
    """Token requests that one OAuth client may make a minute, over all processes of a machine; 0 means no limit."""
    assertion_audience: str = "issuer"
    """What a client's assertion must be for: ``issuer`` alone, as FAPI 2.0 has it, or ``token_endpoint``: the URL of
    the token endpoint too, which many libraries still write."""
    x_auth: bool = False
    """Whether ``/auth/v1.0`` and ``/v3`` hand out tokens as OpenStack's Swift and Keystone do, for their clients."""
    refresh_grace: float = 20.0
    """How long the refresh token before the newest is answered with the same successor, for answers that got lost."""
    dpop_nonces: bool = False
    """Whether every DPoP proof at the token endpoint must carry a nonce of this authority (RFC 9449 §8)."""
    client_certificate_header: str = ""
    """The header in which trusted proxies hand over a TLS client's certificate (RFC 9440, or PEM with percent
    escapes as nginx writes it); empty: none is believed."""
    client_ca: str = ""
    """A PEM file of the certificate authorities that vouch for clients with ``tls_client_auth``; empty: nobody does.
    Where this server ends TLS itself, certificates that clients signed themselves must stand in it too."""
    tls_certificate: str = ""
    """A PEM file with this server's certificate and those between it and its authority; with it, it speaks https."""
    tls_key: str = ""
    """The PEM file with the private key of ``tls_certificate``."""
    fetch_networks: tuple[str, ...] = ()
    """Networks that are not public and may still be asked for what clients and providers publish, and be told of
    logouts."""
    fetch_ca: str = ""
    """A PEM file of certificate authorities that are believed when others are asked, besides the public ones."""
    leak_reports: tuple[str, ...] = ("possession",)
    """From whom reports of leaked credentials are taken: ``possession`` (anybody who has the whole secret), ``github``
    (its secret-scanning messages), ``gitlab`` (its token revocations); empty: nobody."""
    github_keys_url: str = "https://api.github.com/meta/public_keys/secret_scanning"
    """Where the keys are that GitHub signs its messages with."""
    leak_report_token_file: str = ""
    """A file that holds the secret which GitLab sends with what it wants revoked: 32 characters or more."""
    gateway_port: int = 0
    """The port of the gateway; 0: there is none here."""
    gateway_host: str = "127.0.0.1"
    """The address that the gateway listens on."""
    gateway_routes: str = ""
    """A TOML file of routes, besides those of the management API; read at the start."""
    gateway_networks: tuple[str, ...] = ()
    """Networks that are not public and in which routes of the management API may have upstreams; those of the file may
    have them anywhere."""
    brand_name: str = "Keybearer"
    """What the pages, authenticator apps and passkeys call this authority."""
    brand_logo: str = ""
    """A picture for the head of the pages: the path of a ``.svg``, ``.png`` or ``.webp`` file."""
    brand_colour: str = ""
    """The colour of buttons and links on the pages, such as ``#1f4fd8``."""
    brand_support_url: str = ""
    """Where the pages' link *Help* leads."""
    brand_privacy_url: str = ""
    """Where the pages' link *Privacy* leads."""
    brand_terms_url: str = ""
    """Where the pages' link *Terms* leads."""
    log_format: str = "auto"
    """``json``, ``text``, or ``auto`` (text on a terminal)."""
    log_level: str = "info"
    """``debug``, ``info``, ``warning`` or ``error``."""
    access_log: bool = False
    """Log a line for every answer: route, status and request id, never what the client wrote."""

    @property
    def proxies(self) -> tuple[IPv4Network | IPv6Network, ...]:
        """The trusted proxies as networks."""
        return tuple(ip_network(text) for text in self.trusted_proxies)

    @property
    def fetchable(self) -> tuple[IPv4Network | IPv6Network, ...]:
        """The networks that may be asked although they are not public."""
        return tuple(ip_network(text) for text in self.fetch_networks)

    @property
    def reachable(self) -> tuple[IPv4Network | IPv6Network, ...]:
        """The networks in which routes of the management API may have upstreams although they are not public."""
        return tuple(ip_network(text) for text in self.gateway_networks)

    @property
    def database_url(self) -> str:
        """The database, with the default filled in."""
        return self.database or f"sqlite:///{self.data / 'keybearer.db'}"

    @property
    def issuer_url(self) -> str:
        """The issuer, with the default filled in. Never taken from a request (SECURITY-BAR 23)."""
        if self.issuer:
            return self.issuer
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"

    @property
    def scheme(self) -> str:
        """What this server speaks itself: ``https`` with a certificate, else ``http``."""
        return "https" if self.tls_certificate else "http"


def load(overrides: Mapping[str, Any] | None = None, environment: Mapping[str, str] | None = None) -> Settings:
    """Return the settings: flags first, then ``KEYBEARER_…`` variables, then defaults.

    Raises ``ConfigurationError`` naming the variable that is wrong.
    """
    env = os.environ if environment is None else environment
    values: dict[str, Any] = {}
    for item in fields(Settings):
        name = f"KEYBEARER_{item.name.upper()}"
        if name in env:
            values[item.name] = _convert(name, env[name], item.default)
    values.update({key: value for key, value in (overrides or {}).items() if value is not None})
    if "data" in values:
        values["data"] = Path(values["data"])
    settings = Settings(**values)
    _check(settings)
    return settings


_KINDS: Final[dict[type, str]] = {bool: "true or false", int: "a whole number", float: "a number"}


def _convert(name: str, text: str, default: object) -> object:
    try:
        if isinstance(default, bool):
            return {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}[text.strip().lower()]
        if isinstance(default, tuple):
            return tuple(part.strip() for part in text.split(",") if part.strip())
        if isinstance(default, int | float):
            return type(default)(text)
    except (KeyError, ValueError) as error:
        raise ConfigurationError(f"{name} is {text!r}; write {_KINDS[type(default)]}.") from error
    return text


BOUNDS: Final[dict[str, tuple[float, float]]] = {
    "port": (0, 65_535),
    "ext_authz_port": (0, 65_535),
    "gateway_port": (0, 65_535),
    "workers": (1, 64),
    "view_lifetime": (0.1, 0.9),
    "poll_interval": (0.01, 0.5),
    "max_body": (1024, 16 * 1024 * 1024),
    "cache_entries": (0, 10_000_000),
    "usage_flush_interval": (0.01, 60),
    "sweep_interval": (0.1, 86_400),
    "max_import_body": (1024, 4 * 1024 * 1024 * 1024),
    "max_import_lines": (1, 10_000_000),
    "request_timeout": (0.1, 3600),
    "shutdown_timeout": (0, 3600),
    "max_connections": (1, 1_000_000),
    "max_event_streams": (0, 100_000),
    "failures_per_minute": (0, 1_000_000),
    "session_in": (60, 365 * 86_400),
    "session_idle_in": (60, 365 * 86_400),
    "password_threads": (1, 64),
    "client_registrations_per_day": (0, 1_000_000),
    "token_requests_per_minute": (0, 100_000_000),
    "refresh_grace": (10, 30),
}
"""The least and the most that a setting may be."""


def _check(settings: Settings) -> None:
    try:
        _ = settings.proxies
    except ValueError as error:
        raise ConfigurationError(f"KEYBEARER_TRUSTED_PROXIES: {error}; use networks such as 10.0.0.0/8.") from error
    try:
        urlsplit(settings.database_url)
    except ValueError as error:
        # The text may hold a password, and so may what the parser says about it.
        raise ConfigurationError("--database is not a URL; write postgresql://user@host/name.") from error
    _check_fetching(settings)
    scheme = settings.database_url.partition(":")[0]
    if scheme not in ("sqlite", "postgresql", "postgres"):
        raise ConfigurationError(f"--database must begin with sqlite:/// or postgresql://, not {scheme!r}.")
    if settings.issuer:
        parts = urlsplit(settings.issuer)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise ConfigurationError("--issuer must be an http(s) URL without query and fragment.")
    for name, (low, high) in BOUNDS.items():
        if not low <= getattr(settings, name) <= high:
            raise ConfigurationError(f"{name} must lie between {low} and {high} (KEYBEARER_{name.upper()}).")
    if settings.ext_authz_port and settings.ext_authz_port == settings.port:
        raise ConfigurationError("ext_authz_port must be another port than port.")
    _check_tls(settings)
    _check_people(settings)
    _check_brand(settings)
    unknown = set(settings.leak_reports) - {"possession", "github", "gitlab"}
    if unknown:
        raise ConfigurationError(f"leak_reports are possession, github and gitlab, not {min(unknown)!r}.")
    if settings.assertion_audience not in ("issuer", "token_endpoint"):
        raise ConfigurationError("assertion_audience must be issuer or token_endpoint.")
    if settings.client_registration not in ("off", "token", "open"):
        raise ConfigurationError("client_registration must be off, token or open.")
    if settings.log_format not in ("auto", "json", "text"):
        raise ConfigurationError("log_format must be auto, json or text.")
    if settings.log_level.lower() not in ("debug", "info", "warning", "error"):
        raise ConfigurationError("log_level must be debug, info, warning or error.")
    if not settings.host.strip() or not settings.gateway_host.strip():
        raise ConfigurationError("host is empty; to listen on every address, say 0.0.0.0 or ::.")


def _check_fetching(settings: Settings) -> None:
    try:
        _ = settings.fetchable
    except ValueError as error:
        raise ConfigurationError(f"KEYBEARER_FETCH_NETWORKS: {error}; use networks such as 10.0.0.0/8.") from error
    try:
        _ = settings.reachable
    except ValueError as error:
        raise ConfigurationError(f"KEYBEARER_GATEWAY_NETWORKS: {error}; use networks such as 10.0.0.0/8.") from error
    if not settings.fetch_ca:
        return
    import ssl  # loaded when it is needed: start-up is short

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=settings.fetch_ca)
    except OSError as error:  # an SSLError is one
        raise ConfigurationError(f"fetch_ca: {settings.fetch_ca} is no PEM file of certificates: {error}.") from error


def _check_tls(settings: Settings) -> None:
    if bool(settings.tls_certificate) != bool(settings.tls_key):
        raise ConfigurationError("tls_certificate and tls_key come together.")
    if not settings.tls_certificate:
        return
    import ssl  # loaded when it is needed: start-up is short

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(settings.tls_certificate, settings.tls_key)
    except OSError as error:  # an SSLError is one
        raise ConfigurationError(f"tls_certificate and tls_key are no certificate and its key: {error}.") from error


def _check_people(settings: Settings) -> None:
    if settings.password_blocklist and not Path(settings.password_blocklist).is_file():
        raise ConfigurationError(f"password_blocklist: there is no file {settings.password_blocklist}.")
    if settings.mail_from and normalise(settings.mail_from) is None:
        raise ConfigurationError("mail_from should be an address such as keys@example.com.")
    if settings.mail in ("file", "console"):
        return
    try:
        parts = urlsplit(settings.mail)
        _ = parts.port
    except ValueError as error:
        raise ConfigurationError("mail: the port of the server is none.") from error
    # Whatever is wrong, the text must not quote the setting, which may hold a password.
    if parts.scheme not in ("smtp", "smtps", "smtp+plain") or not parts.hostname:
        raise ConfigurationError("mail must be file, console, or smtp://, smtps:// or smtp+plain:// and a host.")
    if parts.scheme == "smtp+plain" and (parts.username or parts.password):
        raise ConfigurationError("mail: a password is not sent over smtp+plain; use smtp:// or smtps://.")


def _check_brand(settings: Settings) -> None:
    if not 0 < len(settings.brand_name.strip()) <= 60 or not settings.brand_name.isprintable():
        raise ConfigurationError("brand_name must have 1 to 60 printable characters.")
    if settings.brand_colour and _COLOUR.fullmatch(settings.brand_colour) is None:
        raise ConfigurationError("brand_colour must be a colour such as #1f4fd8.")
    if settings.brand_logo:
        logo = Path(settings.brand_logo)
        if logo.suffix.lower() not in LOGO_SUFFIXES or not logo.is_file() or logo.stat().st_size > MAX_LOGO:
            raise ConfigurationError(
                f"brand_logo must be a {', '.join(LOGO_SUFFIXES)} file of at most {MAX_LOGO:,} bytes."
            )
    for name in ("brand_support_url", "brand_privacy_url", "brand_terms_url"):
        url = getattr(settings, name)
        if url and not url.startswith(("https://", "http://", "mailto:")):
            raise ConfigurationError(f"{name} must begin with https://, http:// or mailto:.")
