"""Which upstream client the hub uses."""

from __future__ import annotations

from collections.abc import Callable

from routing.gateway.upstream.base import UpstreamClient
from routing.gateway.upstream.fast import FastUpstream
from routing.gateway.upstream.guard import AllowList
from routing.gateway.upstream.httpx_client import HttpxUpstream

UPSTREAMS: dict[str, Callable[[AllowList], UpstreamClient]] = {
    "fast": FastUpstream,
    "httpx": HttpxUpstream,
}


def make_upstream(kind: str, allow: AllowList, proxy: str | None = None) -> UpstreamClient:
    """`kind` is one of UPSTREAMS. Raises ValueError; only httpx goes through a proxy."""
    if kind not in UPSTREAMS:
        raise ValueError(f"no upstream client {kind!r}; choose one of {', '.join(UPSTREAMS)}")
    if proxy is None:
        return UPSTREAMS[kind](allow)
    if kind != "httpx":
        raise ValueError("a proxy needs the httpx client: set PANELBOARD_UPSTREAM=httpx")
    return HttpxUpstream(allow, proxy=proxy)
