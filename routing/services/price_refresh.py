"""Asks a provider's model listing for prices and proposes what changed.

Nothing is routed by a listing: known endpoints get dated rows, and large jumps wait for a person.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
from collections import Counter
from collections.abc import Iterator
from typing import Any

import msgspec
import orjson
from django.conf import settings
from django.utils import timezone

from routing.adapters.base import Headers
from routing.adapters.quirks import quirks_from
from routing.adapters.wire import request_headers
from routing.core.deadlines import Deadlines
from routing.core.errors import UpstreamError
from routing.core.kinds import CHAT
from routing.gateway.upstream.base import UpstreamRequest
from routing.gateway.upstream.guard import AllowList
from routing.gateway.upstream.registry import make_upstream
from routing.models import Credential, Endpoint, Provider
from routing.services.credentials import CredentialUnreadable, reveal
from routing.services.listings import ListedPrice, ListingUnreadable, parse
from routing.services.prices import Outcome, PriceRefused, Quote, propose_price

log = logging.getLogger(__name__)

DEADLINES = Deadlines(first_content_s=30.0, idle_s=15.0, progress_s=30.0, total_s=60.0)
MOST_BYTES = 64 * 2**20  # the longest known listing has 22,000 models
BY_CANONICAL_NAME = frozenset({"hf_router"})  # kinds that name models as the catalog does


class RefreshFailed(Exception):
    """The listing could not be read; prices stay as they are."""


class RefreshReport(msgspec.Struct, frozen=True):
    added: int = 0
    held: int = 0
    unchanged: int = 0


def refreshable() -> list[Provider]:
    """Active providers whose listing tells prices and can be asked now."""
    rows = Provider.objects.filter(lifecycle=Provider.Lifecycle.ACTIVE).exclude(listing={})
    return [row for row in rows if not _needs_key(row) or _credential(row) is not None]


def refresh(provider: Provider, *, now: dt.datetime | None = None) -> RefreshReport:
    """Raises RefreshFailed with the reason. Running it again adds nothing."""
    moment = now or timezone.now()
    kind = str(provider.listing.get("kind", ""))
    try:
        listed = parse(kind, _fetch(provider), provider.slug)
    except ListingUnreadable as exc:
        raise RefreshFailed(f"{provider.slug}: {exc}") from None
    tally = Counter(
        outcome
        for endpoint, price in _matched(provider, kind, listed)
        if (outcome := _propose(endpoint, price, kind, moment)) is not None
    )
    return RefreshReport(
        added=tally[Outcome.ADDED], held=tally[Outcome.HELD], unchanged=tally[Outcome.UNCHANGED]
    )


def _matched(
    provider: Provider, kind: str, listed: list[ListedPrice]
) -> Iterator[tuple[Endpoint, ListedPrice]]:
    """A listed model without an endpoint is not ours to sell; it is passed over."""
    by_name: dict[str, list[Endpoint]] = {}
    rows = provider.endpoints.exclude(status=Endpoint.Status.RETIRED)
    for endpoint in rows.select_related("model", "provider"):
        is_canonical = kind in BY_CANONICAL_NAME
        name = endpoint.model.name if is_canonical else endpoint.upstream_model
        by_name.setdefault(name, []).append(endpoint)
    for price in listed:
        for endpoint in by_name.get(price.upstream_model, ()):
            if price.usd or endpoint.model.kind == CHAT:  # elsewhere zero means "no such meter"
                yield endpoint, price


def _propose(
    endpoint: Endpoint, price: ListedPrice, kind: str, moment: dt.datetime
) -> Outcome | None:
    source = f"{'simulated ' if endpoint.provider.is_simulated else ''}listing of {kind}"
    quote = Quote(
        meter=price.meter,
        usd=price.usd,
        source=source[:60],
        effective_from=moment,
        checked_on=moment.date(),
        min_input_tokens=price.min_input_tokens,
        utc_from_minute=price.utc_from_minute,
        utc_until_minute=price.utc_until_minute,
        source_url=_address(endpoint.provider)[:300],
    )
    try:
        proposal = propose_price(endpoint=endpoint, quote=quote)
    except PriceRefused as exc:
        log.warning("%s: the listed %s price was refused: %s", endpoint, price.meter, exc)
        return None
    if proposal.outcome is Outcome.HELD:
        log.warning("%s: %s waits for approval: %s", endpoint, price.meter, proposal.reason)
    return proposal.outcome


def _fetch(provider: Provider) -> Any:
    try:
        body = asyncio.run(_read(_address(provider), _headers(provider)))
        return orjson.loads(body)
    except (UpstreamError, CredentialUnreadable) as exc:
        raise RefreshFailed(f"{provider.slug}: {exc}") from None
    except orjson.JSONDecodeError:
        raise RefreshFailed(f"{provider.slug}: the listing is not JSON") from None


async def _read(url: str, headers: Headers) -> bytes:
    """Through the guarded upstream client: no redirects, checked addresses, bounded size."""
    client = make_upstream(
        settings.PANELBOARD_UPSTREAM, AllowList.parse(settings.PANELBOARD_PRIVATE_UPSTREAMS)
    )
    try:
        answer = await client.send(UpstreamRequest("GET", url, headers, b"", DEADLINES))
        try:
            if answer.status != 200:
                raise RefreshFailed(f"{url}: the listing answers with status {answer.status}")
            return await answer.read(MOST_BYTES)
        finally:
            await answer.aclose()
    finally:
        await client.aclose()


def _address(provider: Provider) -> str:
    return provider.active_base_url.rstrip("/") + str(provider.listing.get("path", "/models"))


def _headers(provider: Provider) -> Headers:
    quirks = quirks_from(provider.quirks)
    credential = _credential(provider)
    secret = reveal(credential) if credential is not None and _needs_key(provider) else ""
    headers = request_headers(quirks, quirks.auth, secret, stream=False)
    return [(name, value) for name, value in headers if name != b"content-type"]


def _needs_key(provider: Provider) -> bool:
    return bool(provider.listing.get("needs_key", True))


def _credential(provider: Provider) -> Credential | None:
    """As in the snapshot: the simulator's key for the simulator, a real one for the provider."""
    rows = provider.credentials.filter(disabled_at=None).select_related("provider").order_by("pk")
    simulator = Credential.Origin.SIMULATOR
    if provider.is_simulated:
        return rows.filter(origin=simulator).first()
    return rows.exclude(origin=simulator).first()
