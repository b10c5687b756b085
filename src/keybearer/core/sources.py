"""Where a request may come from: networks, web origins, referrers, apps, methods and paths of a key's restrictions."""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final
from urllib.parse import quote, unquote_to_bytes, urlsplit

from .records import AndroidApp, Network, Restrictions

Address = IPv4Address | IPv6Address

_AMBIGUOUS: Final = re.compile(
    r"//|[\x00-\x20\x7f-\U0010ffff\\#;?]"
    r"|%(?![0-9a-f]{2})"  # also %u002e
    r"|%(?:[01][0-9a-f]|7f)"  # control characters
    r"|%(?:2e|2f|5c|23|3b|3f)"  # . / \ # ; ?
    r"|%25(?:2e|2f|5c|23|3b|3f|00|25)"  # the same, for who decodes twice
    r"|%(?:c[01]|e0%[89]|f0%8|f[5-9a-f])"  # UTF-8 that is longer than it may be
    r"|%ef%bc%(?:8e|8f|bc)|%ef%b9%(?:92|a8)|%e2%80%a[456]",  # what compatibility forms make of . / and \
    re.IGNORECASE | re.ASCII,
)


_AS_IT_IS: Final = "/:@!$&'()*+,;=-._~"
_COMPARED: Final = re.compile(r"[A-Za-z0-9/:@!$&'()*+,;=._~-]*")


def in_networks(address: IPv4Address | IPv6Address, networks: Iterable[Network]) -> bool:
    """Tell whether the address lies in one of the networks; an IPv4-mapped IPv6 address counts as IPv4."""
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return any(address.version == network.version and address in network for network in networks)


def counted_as(source: str | None) -> str:
    """Return a source as it is counted: IPv6 by its /64, since one client commands that many addresses."""
    try:
        found = ip_address(source or "")
    except ValueError:
        return ""
    return str(ip_network((found, 64), strict=False)) if found.version == 6 else str(found)


def origin_of(url: str) -> str | None:
    """Return ``scheme://host[:port]`` of an absolute URL in lower case without a default port, or ``None``."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
        return None
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    suffix = "" if port is None or port == (443 if parts.scheme == "https" else 80) else f":{port}"
    return f"{parts.scheme}://{host}{suffix}"


def exact_origin(text: str) -> str | None:
    """Return an origin that is written as one, without path, query or fragment, or ``None``: ``null`` is nobody's."""
    return None if set("/?#") & set(text.partition("://")[2]) else origin_of(text)


def origin_matches(pattern: str, origin: str) -> bool:
    """Tell whether an origin is the pattern, or a true subdomain of a pattern like ``https://*.example.com``."""
    if pattern == origin:
        return True
    scheme, separator, host = pattern.partition("://*")
    return bool(separator) and origin.startswith(scheme + "://") and _is_subdomain(origin[len(scheme) + 3 :], host)


def _is_subdomain(host: str, suffix: str) -> bool:
    label = host.removesuffix(suffix)
    return host.endswith(suffix) and bool(label) and all(c.isalnum() or c in "-." for c in label)


def referrer_matches(pattern: str, referrer: str) -> bool:
    """Tell whether a referrer's origin matches and, where the pattern has a path, its path begins with that path.

    Browsers often send only the origin (``strict-origin-when-cross-origin``): a pattern with a path then refuses.
    """
    referrer_origin = origin_of(referrer)
    scheme, _, rest = pattern.partition("://")
    host, slash, path = rest.partition("/")
    if referrer_origin is None or not origin_matches(f"{scheme}://{host}", referrer_origin):
        return False
    wanted = slash + path
    if wanted in ("", "/", "/*"):
        return True
    return path_matches(wanted, urlsplit(referrer).path or "/")


def path_matches(pattern: str, path: str) -> bool:
    """Tell whether a path is the pattern, or lies below a pattern that ends in ``/*``.

    A path that a server might read in two ways (dot segments, doubled slashes, encoded separators, NUL) never matches.
    Spec: CVE-2019-9901, CVE-2026-48020 (a path normalised after the decision).
    """
    if is_ambiguous_path(path):
        return False
    if pattern.endswith("/*"):
        return path.startswith(pattern[:-1]) or path == pattern[:-2]
    return path == pattern


def is_ambiguous_path(path: str) -> bool:
    """Tell whether another program might read this path as a different one.

    Anything a server may cut off, decode, or normalise once more counts: separators and dots in percent-encoding, once
    or twice, in overlong UTF-8 or other widths, control characters, parameters behind ``;``, fragments, double slashes.
    """
    if not path.startswith("/") or _AMBIGUOUS.search(path) is not None:
        return True
    return any(segment in (".", "..") for segment in path.split("/"))


def spelt_alike(path: str) -> str:
    """Return a path in the one spelling by which paths are compared: whoever decodes it reads the same of both.

    ``/%61dmin`` is ``/admin``, ``/caf%c3%a9`` is ``/caf%C3%A9``. Spec: RFC 3986 §6.2.2.
    """
    return path if _COMPARED.fullmatch(path) else quote(unquote_to_bytes(path), safe=_AS_IT_IS)


def application_allowed(
    restrictions: Restrictions,
    *,
    origin: str | None,
    referrer: str | None,
    android_app: AndroidApp | None,
    ios_bundle_id: str | None,
) -> bool:
    """Tell whether the request comes from one of the applications that the key is tied to."""
    if _site_allowed(restrictions, origin, referrer or None):
        return True
    if android_app is not None and any(_same_app(app, android_app) for app in restrictions.android_apps):
        return True
    return ios_bundle_id is not None and ios_bundle_id in restrictions.ios_bundle_ids


def _site_allowed(restrictions: Restrictions, origin: str | None, referrer: str | None) -> bool:
    """Tell whether the request comes from a page of one of the sites that the key is tied to.

    Browsers send ``Origin`` with what scripts fetch from elsewhere, and ``Referer`` alone with scripts, pictures and
    styles: either tells the site. Where both come they agree, or the request was led astray on its way (a redirect
    makes the origin ``null``) and is nobody's. Spec: Fetch §3.1, Referrer Policy §8.3.
    """
    site = origin_of(referrer) if origin is None and referrer is not None else exact_origin(origin or "")
    if site is None or (referrer is not None and origin_of(referrer) != site):
        return False
    return any(origin_matches(pattern, site) for pattern in restrictions.origins) or any(
        referrer_matches(pattern, referrer or site) for pattern in restrictions.referrers
    )


def _same_app(known: AndroidApp, claimed: AndroidApp) -> bool:
    return known.package == claimed.package and hmac.compare_digest(
        known.certificate_sha256, claimed.certificate_sha256
    )
