"""Where the hub may connect to: the guard against server-side request forgery.

Every address that a name resolves to is judged, and the connection goes to the judged address
itself, so a name that changes its answer in between gains nothing.

never     unspecified, link-local, multicast, reserved, and the metadata services of clouds
listed    loopback, private and other non-public addresses, plain http, ports other than 443:
          only when the allow-list names the host or the address
allowed   everything public, by https on port 443
"""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import NamedTuple

from routing.core.errors import ConnectFailed

Address = IPv4Address | IPv6Address
Resolver = Callable[[str], list[str]]
"""Blocking; host name -> addresses as text. Raises OSError."""

_URL = re.compile(
    r"(?P<scheme>https?)://"
    r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<name>[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?\.?))"
    r"(?::(?P<port>[0-9]{1,5}))?"
    r"(?P<target>(?:/[!$-;=?-\[\]_a-z~]*)?(?:\?[!$-;=?-\[\]_a-z~]*)?)",
    re.ASCII,
)
_NUMERIC_LAST_LABEL = re.compile(r"(?:^|\.)(?:[0-9]+|0[xX][0-9A-Fa-f]*)$")
_DEFAULT_PORTS = {"http": 80, "https": 443}

_NEVER_V4 = tuple(
    map(
        IPv4Network,
        (
            "0.0.0.0/8",
            "169.254.0.0/16",
            "192.0.0.0/24",  # protocol assignments; a cloud's metadata service among them
            "100.100.100.200/32",  # metadata service inside a shared range
            "168.63.129.16/32",  # metadata service inside a public range
            "224.0.0.0/4",
            "240.0.0.0/4",
        ),
    )
)
_NEVER_V6 = tuple(map(IPv6Network, ("fd00:ec2::254/128", "fd20:ce::254/128")))  # metadata services
_GLOBAL_V6 = IPv6Network("2000::/3")
_UNIQUE_LOCAL_V6 = IPv6Network("fc00::/7")
_NAT64 = IPv6Network("64:ff9b::/96")
_LISTING_HINT = "add it to PANELBOARD_PRIVATE_UPSTREAMS if it is meant"


class Forbidden(ConnectFailed):
    """The guard refused: nothing was sent, and trying again will not help."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.code = "forbidden_address"


class Target(NamedTuple):
    """A URL taken apart once; everything sent is rebuilt from these parts."""

    scheme: str
    host: str  # lower case, no trailing dot, no brackets
    port: int
    path: str  # with query

    @property
    def authority(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"


class AllowList(NamedTuple):
    """What an operator has named in the instance's own settings; never editable in the pages."""

    networks: tuple[IPv4Network | IPv6Network, ...] = ()
    hosts: frozenset[str] = frozenset()
    suffixes: tuple[str, ...] = ()

    @classmethod
    def parse(cls, entries: Iterable[str]) -> AllowList:
        """Each entry is a network (`10.0.0.0/8`), an address, a host name or `*.suffix`."""
        networks, hosts, suffixes = [], set(), []
        for entry in (raw.strip().lower() for raw in entries if raw.strip()):
            if entry.startswith("*."):
                suffixes.append(_checked_name(entry[2:], entry))
            elif network := _network_of(entry):
                networks.append(network)
            else:
                hosts.add(_checked_name(entry.removesuffix("."), entry))
        return cls(tuple(networks), frozenset(hosts), tuple(f".{s}" for s in suffixes))

    def names(self, host: str) -> bool:
        return host in self.hosts or host.endswith(self.suffixes)

    def contains(self, address: Address) -> bool:
        return any(address in network for network in self.networks)


def _network_of(entry: str) -> IPv4Network | IPv6Network | None:
    try:
        return ip_network(entry.strip("[]"))
    except ValueError:
        if "/" in entry:
            raise ValueError(
                f"allow-list entry {entry!r}: not a network (host bits set?); "
                "write it like 10.0.0.0/8, 127.0.0.1, host.internal or *.internal"
            ) from None
        return None


def _checked_name(name: str, entry: str) -> str:
    if not re.fullmatch(r"[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?", name) or ".." in name:
        raise ValueError(
            f"allow-list entry {entry!r}: neither a network nor a host name; "
            "write it like 10.0.0.0/8, 127.0.0.1, host.internal or *.internal"
        )
    return name


def parse_target(url: str) -> Target:
    """The only URL parser in front of a socket. Raises Forbidden for anything unusual."""
    found = _URL.fullmatch(url)
    if found is None:
        raise Forbidden(
            f"{url[:200]!r} is not a plain http(s) URL: no user-info, no fragment, "
            "no spaces, control characters or backslashes, ASCII only"
        )
    scheme = found["scheme"]
    port = int(found["port"]) if found["port"] else _DEFAULT_PORTS[scheme]
    if not 0 < port < 65536:
        raise Forbidden(f"port {port} does not exist")
    path = found["target"] or "/"
    return Target(scheme, _host_of(found), port, path if path[0] == "/" else "/" + path)


def _host_of(found: re.Match[str]) -> str:
    if found["v6"]:
        return str(_literal(found["v6"], IPv6Address))
    name = found["name"].lower().removesuffix(".")
    if ".." in name or len(name) > 253:
        raise Forbidden(f"{name[:80]!r} is not a host name")
    if _NUMERIC_LAST_LABEL.search(name):
        return str(_literal(name, IPv4Address))  # refuses decimal, octal, hex and short spellings
    return name


def _literal(text: str, kind: type[Address]) -> Address:
    try:
        return kind(text)
    except ValueError:
        raise Forbidden(f"{text!r} is not an address in its usual spelling") from None


def check_address(target: Target, address: Address, allow: AllowList) -> Address:
    """The address to connect to: an IPv4 address wrapped in IPv6 is unwrapped. Raises Forbidden."""
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if _is_never_allowed(address):
        raise Forbidden(f"{target.host}: {address} is never connected to")
    if allow.names(target.host) or allow.contains(address):
        return address
    if not address.is_global and address not in _NAT64:
        raise Forbidden(f"{target.host}: {address} is not public; {_LISTING_HINT}")
    if target.scheme != "https" or target.port != 443:
        raise Forbidden(f"{target.authority}: not https on port 443; {_LISTING_HINT}")
    return address


def check_literal(target: Target, allow: AllowList) -> None:
    """Judges an address written in the URL itself; a name passes. Raises Forbidden."""
    with suppress(ValueError):
        check_address(target, ip_address(target.host), allow)


def _is_never_allowed(address: Address) -> bool:
    if isinstance(address, IPv4Address):
        return any(address in network for network in _NEVER_V4)
    usable = address in _GLOBAL_V6 or address in _UNIQUE_LOCAL_V6 or address in _NAT64
    if not (usable or address.is_loopback):
        return True
    if any(address in network for network in _NEVER_V6):
        return True
    return any(_is_never_allowed(v4) or not v4.is_global for v4 in _embedded_v4(address))


def _embedded_v4(address: IPv6Address) -> list[IPv4Address]:
    """IPv4 addresses that a gateway on the way may unpack: 6to4, Teredo, NAT64, ISATAP."""
    found = []
    if address.sixtofour is not None:
        found.append(address.sixtofour)
    if address.teredo is not None:
        found.extend(address.teredo)
    low = int(address) & 0xFFFFFFFF
    if address in _NAT64 or (int(address) >> 32) & 0xFDFFFFFF == 0x5EFE:
        found.append(IPv4Address(low))
    return found


def system_resolver(host: str) -> list[str]:
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class _Answer(NamedTuple):
    addresses: list[str]
    answered_at: float
    fresh_until: float


class Guard:
    """Resolves and judges. One per client; its event loop's clock decides about the cache."""

    FRESH_S = 5.0
    STALE_S = 60.0  # the last good answer outlives a dead resolver this long
    LOOKUP_S = 2.0
    MAX_NAMES = 1024

    def __init__(self, allow: AllowList, resolver: Resolver = system_resolver) -> None:
        self.allow = allow
        self._resolver = resolver
        self._answers: dict[str, _Answer] = {}
        self._lookups: dict[str, asyncio.Future[list[str]]] = {}
        # Threads of its own: a hung resolver must not use up the loop's default executor.
        self._threads = ThreadPoolExecutor(8, thread_name_prefix="resolver")

    async def addresses(self, target: Target) -> list[str]:
        """All addresses of the target, every one judged. Raises ConnectFailed or Forbidden."""
        texts = await self._resolve(target.host)
        return [str(check_address(target, _parsed(text), self.allow)) for text in texts]

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _resolve(self, host: str) -> list[str]:
        try:
            return [str(ip_address(host))]
        except ValueError:
            pass
        loop = asyncio.get_running_loop()
        known = self._answers.get(host)
        if known is not None and loop.time() < known.fresh_until:
            return known.addresses
        try:
            async with asyncio.timeout(self.LOOKUP_S):
                found = await asyncio.shield(self._lookup(host))
        except (OSError, UnicodeError, RuntimeError) as problem:  # TimeoutError is an OSError
            return self._last_good(host, loop.time(), problem)
        now = loop.time()
        self._remember(host, _Answer(found, now, now + self.FRESH_S))
        return found

    def _lookup(self, host: str) -> asyncio.Future[list[str]]:
        """One look-up at a time per name, shared by all who wait for it."""
        running = self._lookups.get(host)
        if running is None:
            loop = asyncio.get_running_loop()
            running = loop.run_in_executor(self._threads, self._resolver, host)
            self._lookups[host] = running
            running.add_done_callback(lambda done: self._lookup_done(host, done))
        return running

    def _lookup_done(self, host: str, done: asyncio.Future[list[str]]) -> None:
        self._lookups.pop(host, None)
        if not done.cancelled():
            done.exception()  # whoever still waits has it; nobody may be left

    def _last_good(self, host: str, now: float, problem: Exception) -> list[str]:
        known = self._answers.get(host)
        if known is None or now - known.answered_at > self.STALE_S:
            reason = str(problem) or f"no answer within {self.LOOKUP_S:g} s"
            raise ConnectFailed(f"{host}: cannot resolve the name ({reason})") from problem
        self._remember(host, known._replace(fresh_until=now + self.FRESH_S))
        return known.addresses

    def _remember(self, host: str, answer: _Answer) -> None:
        if len(self._answers) >= self.MAX_NAMES:
            self._answers.clear()
        self._answers[host] = answer


def _parsed(text: str) -> Address:
    try:
        return ip_address(text)
    except ValueError:
        raise Forbidden(f"{text!r} is not an address") from None
