"""Which addresses a provider may have. Only the catalog and the admin name them, never a request."""

from __future__ import annotations

from ipaddress import ip_address

from django.conf import settings

from routing.gateway.upstream.guard import (
    AllowList,
    Forbidden,
    Target,
    check_address,
    parse_target,
)

SETTING = "PANELBOARD_PRIVATE_UPSTREAMS"
PRIVATE_SUFFIXES = (".localhost", ".local", ".internal", ".lan", ".home.arpa")
MOST_CHARACTERS = 300


class AddressRefused(ValueError):
    """The message says what to change, the address or the setting."""


def checked_base_url(url: str) -> str:
    """The address without a trailing slash. Raises AddressRefused.

    Nothing is resolved: the same guard judges the addresses of a name again at each connection.
    """
    if len(url) > MOST_CHARACTERS or "?" in url:
        raise AddressRefused(f"must be at most {MOST_CHARACTERS} characters without a query")
    try:
        target = parse_target(url)
        _check(target, AllowList.parse(settings.PANELBOARD_PRIVATE_UPSTREAMS))
    except (Forbidden, ValueError) as exc:
        raise AddressRefused(str(exc)) from None
    return url.rstrip("/")


def _check(target: Target, allow: AllowList) -> None:
    try:
        address = ip_address("127.0.0.1" if target.host == "localhost" else target.host)
    except ValueError:
        _check_name(target, allow)
    else:
        check_address(target, address, allow)


def _check_name(target: Target, allow: AllowList) -> None:
    if allow.names(target.host):
        return
    if "." not in target.host or target.host.endswith(PRIVATE_SUFFIXES):
        raise AddressRefused(f"{target.host} is a private name: add it to {SETTING} to allow it")
    if target.scheme != "https" or target.port != 443:
        raise AddressRefused(
            f"{target.authority} is not https on port 443: add {target.host} to {SETTING} if it is meant"
        )
