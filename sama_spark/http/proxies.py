"""Which proxy a URL needs, by HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, and NO_PROXY in all its forms."""

from __future__ import annotations

import base64
import re
import urllib.request
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.parse import unquote, urlsplit

_PORTS = {"http": 80, "https": 443}


class ProxyUnusable(Exception):
    """The environment names a proxy that cannot be used. The text leaves the proxy out: it may hold a password."""


@dataclass(frozen=True)
class Proxy:
    """A proxy's address without its login, and the header that logs in."""

    url: str
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)


def proxy_for(url: str) -> Proxy | None:
    """Return the proxy for `url`, None for a direct connection.

    Raises:
        ProxyUnusable: the variable cannot be understood, or names a SOCKS proxy.
    """
    parts = urlsplit(url)
    known = urllib.request.getproxies()
    kind = parts.scheme if known.get(parts.scheme) else "all"
    text = known.get(kind, "").strip()
    host, port = parts.hostname or "", parts.port or _PORTS.get(parts.scheme, 0)
    # Windows and macOS have settings outside of the environment, which `proxy_bypass` knows.
    if not text or _is_excepted(host, port, known.get("no", "")) or urllib.request.proxy_bypass(host):
        return None
    return _read(text, f"{kind.upper()}_PROXY")


def _read(text: str, variable: str) -> Proxy:
    scheme, separator, rest = text.partition("://")
    if not separator:
        scheme, rest = "http", text
    scheme = scheme.lower()
    if scheme.startswith("socks"):
        raise ProxyUnusable(f"{variable} names a SOCKS proxy, and only http and https proxies are supported")
    # From the right: a password may hold any of @ : / # as it is.
    login, _, place = rest.rpartition("@")
    try:
        where, usual_port = urlsplit(f"//{place}"), _PORTS[scheme]
        host, port = where.hostname or "", where.port or usual_port
        if ":" in host:
            host = f"[{ip_address(host)}]"
        if not re.fullmatch(r"[\w.:\[\]-]+", host, re.ASCII):
            raise ValueError
    except (ValueError, KeyError):
        raise ProxyUnusable(
            f"{variable} cannot be read: it has to be like http://user:password@host:port, "
            "user and password percent-encoded"
        ) from None
    if not login:
        return Proxy(f"{scheme}://{host}:{port}")
    user, _, password = login.partition(":")
    token = base64.b64encode(f"{unquote(user)}:{unquote(password)}".encode(errors="replace")).decode()
    return Proxy(f"{scheme}://{host}:{port}", (("proxy-authorization", f"Basic {token}"),))


def _is_excepted(host: str, port: int, exceptions: str) -> bool:
    """Return True if NO_PROXY names the host: by name, domain, address or range, with or without a port."""
    name, address = _plain(host), address_of(host)
    for entry in re.split(r"[,\s]+", exceptions.strip()):
        if entry == "*":
            return True
        place, its_port = _split_port(entry)
        if not place or (its_port is not None and its_port != port):
            continue
        if address is not None:
            if _is_within(address, place):
                return True
        elif f".{name}".endswith(f".{_plain(place)}"):
            return True
    return False


def _split_port(entry: str) -> tuple[str, int | None]:
    bracketed = re.fullmatch(r"\[([^\]]*)\](/[0-9]+)?(?::([0-9]+))?", entry)
    if bracketed:
        return bracketed[1] + (bracketed[2] or ""), int(bracketed[3]) if bracketed[3] else None
    place, separator, port = entry.partition(":")
    if separator and port.isascii() and port.isdigit():
        return place, int(port)
    return entry, None  # a name, or with more colons an IPv6 address


def _plain(name: str) -> str:
    return name.removeprefix("*").strip(".").lower()


def address_of(text: str) -> IPv4Address | IPv6Address | None:
    """Return the IP address that a text writes, None for a name. IPv4 within IPv6 becomes IPv4."""
    try:
        found = ip_address(text.partition("%")[0].rstrip("."))
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found


def _is_within(address: IPv4Address | IPv6Address, place: str) -> bool:
    single = address_of(place)
    if single is not None:
        return address == single
    try:
        return address in ip_network(place, strict=False)
    except ValueError:
        return False
