"""A key's restrictions: from what people write to the one form that verify compares with."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from ipaddress import IPv4Network, IPv6Network, collapse_addresses, ip_address, ip_network
from typing import Final

from ..core.records import NO_RESTRICTIONS, AndroidApp, Api, Restrictions
from ..core.sources import is_ambiguous_path, origin_of
from ..wire.keys import AndroidAppSpec, RestrictionsSpec
from .problems import Problems
from .text import shown

_HOST: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*", re.ASCII)
_PACKAGE: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]*(?:\.[A-Za-z][A-Za-z0-9_]*)+", re.ASCII)
_BUNDLE_ID: Final = re.compile(r"[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+", re.ASCII)
_CERTIFICATE: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_NOTHING: Final = RestrictionsSpec()
_PATH: Final = re.compile(r"/[\x21-\x29\x2b-\x3e\x40-\x7e]*", re.ASCII)  # printable, without "*" and "?"


def to_restrictions(
    problems: Problems, spec: RestrictionsSpec, apis: Mapping[str, Api], path: str = "restrictions"
) -> Restrictions:
    """Return restrictions in normal form, noting every entry that is wrong; ``apis`` are those the project may call."""

    if spec == _NOTHING:
        return NO_RESTRICTIONS

    def each(name: str, texts: Iterable[str]) -> Iterable[tuple[str, str]]:
        return ((f"{path}.{name}[{index}]", text) for index, text in enumerate(texts))

    networks = _distinct(_network(problems, at, text) for at, text in each("ip_networks", spec.ip_networks))
    _refuse_all_addresses(problems, f"{path}.ip_networks", networks)
    return Restrictions(
        ip_networks=networks,
        origins=_distinct(_origin(problems, at, text) for at, text in each("origins", spec.origins)),
        referrers=_distinct(_referrer(problems, at, text) for at, text in each("referrers", spec.referrers)),
        android_apps=tuple(
            _android_app(problems, f"{path}.android_apps[{index}]", app) for index, app in enumerate(spec.android_apps)
        ),
        ios_bundle_ids=_distinct(
            _matching(problems, at, text, _BUNDLE_ID, "com.example.app")
            for at, text in each("ios_bundle_ids", spec.ios_bundle_ids)
        ),
        apis=_distinct(_api(problems, at, text, apis) for at, text in each("apis", spec.apis)),
        methods=_distinct(spec.methods),
        paths=_distinct(_path(problems, at, text) for at, text in each("paths", spec.paths)),
    )


def restrictions_spec(restrictions: Restrictions) -> RestrictionsSpec:
    """Return restrictions as they travel."""
    if restrictions is NO_RESTRICTIONS:
        return RestrictionsSpec()
    return RestrictionsSpec(
        ip_networks=list(restrictions.ip_networks),
        origins=list(restrictions.origins),
        referrers=list(restrictions.referrers),
        android_apps=[AndroidAppSpec(app.package, app.certificate_sha256) for app in restrictions.android_apps],
        ios_bundle_ids=list(restrictions.ios_bundle_ids),
        apis=list(restrictions.apis),
        methods=list(restrictions.methods),
        paths=list(restrictions.paths),
    )


def _distinct(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(texts))


def _refuse_all_addresses(problems: Problems, at: str, texts: Iterable[str]) -> None:
    """Note networks that only together hold every address, such as 0.0.0.0/1 and 128.0.0.0/1."""
    fours: list[IPv4Network] = []
    sixes: list[IPv6Network] = []
    for text in texts:
        try:
            network = ip_network(text)
        except ValueError:
            return  # noted already
        if network.prefixlen == 0:
            return
        if isinstance(network, IPv4Network):
            fours.append(network)
        else:
            sixes.append(network)
    wholes: list[IPv4Network | IPv6Network] = [*collapse_addresses(fours), *collapse_addresses(sixes)]
    if any(whole.prefixlen == 0 for whole in wholes):
        problems.add(at, "together these hold every address and so restrict nothing; leave them out")


def _network(problems: Problems, at: str, text: str) -> str:
    if "%" in text:
        problems.add(at, "a network has no zone; leave out what follows the '%'")
        return text
    try:
        loose = ip_network(text, strict=False)
    except ValueError:
        problems.add(at, f"{shown(text)} is not a network; write an address or CIDR such as '203.0.113.0/24'")
        return text
    try:
        network = ip_network(text)
    except ValueError:
        problems.add(at, f"{shown(text)} has bits set beyond its prefix; write '{loose}'")
        return text
    if network.prefixlen == 0:
        problems.add(at, f"{shown(text)} holds every address and so restricts nothing; leave it out")
    if isinstance(network, IPv6Network) and network.network_address.ipv4_mapped is not None:
        inner = f"{network.network_address.ipv4_mapped}/{max(0, network.prefixlen - 96)}"
        problems.add(at, f"IPv4 addresses are compared as such; write '{inner}'")
    return str(network)


def _origin(problems: Problems, at: str, text: str) -> str:
    scheme, separator, rest = text.partition("://")
    scheme = scheme.lower()
    if not separator or scheme not in ("http", "https"):
        problems.add(at, f"{shown(text)} is not an origin; write one such as 'https://app.example.com'")
        return text
    host = re.split(r"[/?#]", rest, maxsplit=1)[0]
    if host != rest:
        problems.add(at, f"an origin has no path, query or fragment; write '{scheme}://{host}'")
        return text
    return _origin_of_host(problems, at, text, scheme, host)


def _origin_of_host(problems: Problems, at: str, text: str, scheme: str, host: str) -> str:
    wild = host.startswith("*.")
    bare = host.removeprefix("*.").lower()
    try:
        origin = None if "@" in bare or "*" in bare else origin_of(f"{scheme}://{bare}")
    except UnicodeError:
        origin = None
    name = "" if origin is None else origin.partition("://")[2]
    name = name.partition("]")[0] + "]" if name.startswith("[") else name.partition(":")[0]
    if origin is None or not (_is_ipv6(name) or _HOST.fullmatch(name)):
        problems.add(
            at,
            f"{shown(text)} is not an origin; write one such as 'https://app.example.com' or 'https://*.example.com' "
            "(international names in their xn-- form)",
        )
        return text
    if not wild:
        return origin
    if "." not in name or name.rpartition(".")[2].isdigit() or name.startswith("["):
        problems.add(at, f"{shown(text)} would let in too much; a '*.' must stand before a name such as 'example.com'")
    return f"{scheme}://*.{origin.partition('://')[2]}"


def _is_ipv6(name: str) -> bool:
    if not (name.startswith("[") and name.endswith("]")):
        return False
    try:
        return ip_address(name[1:-1]).version == 6
    except ValueError:
        return False


def _referrer(problems: Problems, at: str, text: str) -> str:
    scheme, separator, rest = text.partition("://")
    host, slash, path = rest.partition("/")
    if not slash:
        return _origin(problems, at, text)
    if not separator or scheme.lower() not in ("http", "https"):
        problems.add(at, f"{shown(text)} is not a referrer; write one such as 'https://example.com/shop/*'")
        return text
    return _origin_of_host(problems, at, text, scheme.lower(), host) + _path(problems, at, slash + path)


def _path(problems: Problems, at: str, text: str) -> str:
    stem = text.removesuffix("/*") or "/"
    if not text.startswith("/") or _PATH.fullmatch(stem) is None:
        problems.add(
            at, f"{shown(text)} is not a path; write one such as '/v1/orders' or '/v1/*' (a '*' only at the end)"
        )
    elif is_ambiguous_path(stem):
        problems.add(
            at, f"{shown(text)} can be read in two ways; write it without '.', '..', '//', ';', '#' or encoded marks"
        )
    return text


def _android_app(problems: Problems, at: str, app: AndroidAppSpec) -> AndroidApp:
    certificate = app.certificate_sha256.replace(":", "").lower()
    if _CERTIFICATE.fullmatch(certificate) is None:
        problems.add(f"{at}.certificate_sha256", "must be the SHA-256 of the signing certificate: 64 hex digits")
    return AndroidApp(_matching(problems, f"{at}.package", app.package, _PACKAGE, "com.example.app"), certificate)


def _matching(problems: Problems, at: str, text: str, shape: re.Pattern[str], example: str) -> str:
    if shape.fullmatch(text) is None:
        problems.add(at, f"{shown(text)} should look like '{example}'")
    return text


def _api(problems: Problems, at: str, text: str, apis: Mapping[str, Api]) -> str:
    for api in apis.values():
        if text in (api.id, api.identifier):
            return api.id
    problems.add(at, f"the project has no enabled API {shown(text)}; enable it for the project first")
    return text
