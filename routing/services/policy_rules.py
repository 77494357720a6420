"""What makes a policy wrong, and what makes it doubtful, in words that say what to change.

A problem stops the policy from being saved; a warning is shown beside it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from difflib import get_close_matches
from typing import Any

import msgspec
from django.utils import timezone

from routing.core.catalog import PolicyDocument
from routing.core.objectives import OBJECTIVES
from routing.core.pricing import Price as PriceRow
from routing.core.pricing import PriceSheet
from routing.core.usage import Meter
from routing.models import Endpoint, Price, Provider
from routing.services.prices import core_row

MOST_ATTEMPTS = 5
MOST_PRICE_DECIMALS = 6
LARGEST_WEIGHT = 1_000_000
MEASURED_OBJECTIVES = ("fastest", "lowest-latency")
GENERAL = ""  # the field of a problem that belongs to the whole policy

Found = Iterator[tuple[str, str]]
Doubts = Iterator[str]


class Offer(msgspec.Struct, frozen=True):
    """An endpoint that can be routed to, as far as policies look at it."""

    provider: str
    model: str
    quantization: str
    region: str
    is_measured: bool
    input_usd: Decimal | None
    output_usd: Decimal | None


class Known(msgspec.Struct, frozen=True):
    providers: frozenset[str]
    offers: tuple[Offer, ...]


def known_now() -> Known:
    """Three queries."""
    return Known(
        providers=frozenset(Provider.objects.values_list("slug", flat=True)),
        offers=tuple(_offers()),
    )


def converted(document: Mapping[str, Any]) -> PolicyDocument | tuple[str, str]:
    """The typed document, or what is wrong with its form as (field, message)."""
    unknown = [str(key) for key in document if key not in PolicyDocument.__struct_fields__]
    if unknown:
        return unknown[0], _unknown("setting", unknown[0], PolicyDocument.__struct_fields__)
    try:
        return msgspec.convert(document, PolicyDocument)
    except msgspec.ValidationError as exc:
        message, _, path = str(exc).rpartition(" - at `$.")
        return (path.rstrip("`").split("[")[0], message) if message else (GENERAL, str(exc))


def problems(document: PolicyDocument, known: Known) -> list[tuple[str, str]]:
    found = [problem for rule in _RULES for problem in rule(document, known)]
    return found or list(_leaves_nothing(document, known))


def warnings(document: PolicyDocument, known: Known) -> list[str]:
    left = offers_left(document, known)
    return (
        [warning for doubt in _DOUBTS for warning in doubt(document, known, left)] if left else []
    )


def offers_left(document: PolicyDocument, known: Known) -> list[Offer]:
    return [offer for offer in known.offers if all(keeps(document, offer) for _, keeps in _FILTERS)]


# --- rules ------------------------------------------------------------------------------------------


def _objective(document: PolicyDocument, known: Known) -> Found:
    if document.objective not in OBJECTIVES:
        yield "objective", _unknown("objective", document.objective, tuple(OBJECTIVES))


def _provider_names(document: PolicyDocument, known: Known) -> Found:
    for field in ("order", "only", "ignore", "weights"):
        for slug in getattr(document, field):
            if slug not in known.providers:
                yield field, _unknown("provider", slug, tuple(known.providers))


def _repeated(document: PolicyDocument, known: Known) -> Found:
    for field in ("order", "only", "ignore", "quantizations", "regions"):
        for value, count in Counter(getattr(document, field)).items():
            if count > 1:
                yield field, f"{value} is named {count} times"


def _contradictions(document: PolicyDocument, known: Known) -> Found:
    for slug in document.only:
        if slug in document.ignore:
            yield "ignore", f"{slug} is both in only and in ignore: take it out of one"
    for field in ("order", "weights"):
        for slug in getattr(document, field):
            if slug in document.ignore:
                yield field, f"{slug} can never be reached: it is in ignore"
            elif document.only and slug not in document.only:
                yield field, f"{slug} can never be reached: it is not in only"


def _weights(document: PolicyDocument, known: Known) -> Found:
    is_weighted = document.objective == "weighted"
    if document.weights and not is_weighted:
        yield "weights", 'weights have a meaning only with the objective "weighted"'
    if is_weighted and not any(document.weights.values()):
        yield "weights", 'the objective "weighted" needs at least one provider with a share'
    for slug, weight in document.weights.items():
        if not 0 <= weight <= LARGEST_WEIGHT:
            yield "weights", f"the share of {slug} must be between 0 and {LARGEST_WEIGHT}"


def _order(document: PolicyDocument, known: Known) -> Found:
    if document.objective in ("ordered", "preferred") and not document.order:
        yield "order", f'the objective "{document.objective}" needs an order of providers'


def _max_prices(document: PolicyDocument, known: Known) -> Found:
    for field in ("max_price_input", "max_price_output"):
        text = getattr(document, field)
        if text is not None and (message := _wrong_price(text)):
            yield field, message


def _wrong_price(text: str) -> str:
    if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]+)?", text):
        return f'{text[:40]!r} is not a price: write US dollars per 1M tokens such as "0.60"'
    decimals = len(text.partition(".")[2])
    if decimals > MOST_PRICE_DECIMALS:
        return f"{text[:40]} has more than {MOST_PRICE_DECIMALS} decimals"
    return ""


def _attempts(document: PolicyDocument, known: Known) -> Found:
    if not 1 <= document.max_attempts <= MOST_ATTEMPTS:
        yield "max_attempts", f"must be between 1 and {MOST_ATTEMPTS}"


def _kinds(document: PolicyDocument, known: Known) -> Found:
    for field, attribute in (("quantizations", "quantization"), ("regions", "region")):
        existing = {getattr(offer, attribute) for offer in known.offers} - {""}
        for value in getattr(document, field):
            if known.offers and value not in existing:
                yield field, _unknown(attribute, value, tuple(existing))


_RULES: tuple[Callable[[PolicyDocument, Known], Found], ...] = (
    _objective,
    _provider_names,
    _repeated,
    _contradictions,
    _weights,
    _order,
    _max_prices,
    _attempts,
    _kinds,
)


def _leaves_nothing(document: PolicyDocument, known: Known) -> Found:
    """Only once there is something to route to: a policy may be written before the catalog."""
    left: Sequence[Offer] = known.offers
    for field, keeps in _FILTERS:
        kept = [offer for offer in left if keeps(document, offer)]
        if left and not kept:
            yield field, f"this leaves no endpoint for any model{_nearest(field, document, left)}"
            return
        left = kept


def _nearest(field: str, document: PolicyDocument, left: Sequence[Offer]) -> str:
    attribute = {"max_price_input": "input_usd", "max_price_output": "output_usd"}.get(field)
    if attribute is None:
        return ""
    offer = min(left, key=lambda offer: getattr(offer, attribute))
    price = f"{getattr(offer, attribute).normalize():f}"
    return f": the cheapest one left is {price} ({offer.provider}, {offer.model})"


def _at_most(limit: str | None, price: Decimal | None) -> bool:
    """As the planner does: an endpoint without this price passes. A wrong limit is told elsewhere."""
    try:
        return limit is None or price is None or price <= Decimal(limit)
    except InvalidOperation:
        return True


_FILTERS: tuple[tuple[str, Callable[[PolicyDocument, Offer], bool]], ...] = (
    ("only", lambda document, offer: not document.only or offer.provider in document.only),
    ("ignore", lambda document, offer: offer.provider not in document.ignore),
    (
        "quantizations",
        lambda document, offer: (
            not document.quantizations or offer.quantization in document.quantizations
        ),
    ),
    ("regions", lambda document, offer: not document.regions or offer.region in document.regions),
    (
        "max_price_input",
        lambda document, offer: _at_most(document.max_price_input, offer.input_usd),
    ),
    (
        "max_price_output",
        lambda document, offer: _at_most(document.max_price_output, offer.output_usd),
    ),
)


# --- doubts -------------------------------------------------------------------------------------------


def _no_fallback(document: PolicyDocument, known: Known, left: Sequence[Offer]) -> Doubts:
    """Told of models that would have a fallback without this policy."""
    if not document.allow_fallbacks or document.max_attempts == 1:
        yield "one attempt only: when it fails, the request fails"
        return
    per_model = Counter(offer.model for offer in left)
    without = Counter(offer.model for offer in known.offers)
    alone = sorted(model for model, n in per_model.items() if n == 1 < without[model])
    if alone:
        named = ", ".join(alone[:3]) + (" ..." if len(alone) > 3 else "")
        yield f"{len(alone)} of {len(per_model)} models keep one endpoint, without fallback: {named}"


def _unmeasured(document: PolicyDocument, known: Known, left: Sequence[Offer]) -> Doubts:
    missing = sum(not offer.is_measured for offer in left)
    if document.objective in MEASURED_OBJECTIVES and missing:
        yield f"{missing} of {len(left)} endpoints have no measurement yet and come last"


def _unused_order(document: PolicyDocument, known: Known, left: Sequence[Offer]) -> Doubts:
    if document.order and document.objective not in ("ordered", "preferred"):
        yield f'the order is used by ":preferred" alone; the objective is {document.objective}'


def _unnamed_in_weights(document: PolicyDocument, known: Known, left: Sequence[Offer]) -> Doubts:
    if document.objective == "weighted":
        named = {slug for slug, weight in document.weights.items() if weight}
        models = {offer.model for offer in left}
        reached = {offer.model for offer in left if offer.provider in named}
        if models - reached:
            yield f"{len(models - reached)} models are at no provider with a share: fallbacks only"


_DOUBTS: tuple[Callable[[PolicyDocument, Known, Sequence[Offer]], Doubts], ...] = (
    _no_fallback,
    _unmeasured,
    _unused_order,
    _unnamed_in_weights,
)


# --- the catalog as policies see it ---------------------------------------------------------------------


def _offers() -> Iterator[Offer]:
    now = timezone.now()
    sheets = _sheets()
    rows = Endpoint.objects.filter(
        provider__lifecycle=Provider.Lifecycle.ACTIVE,
        status__in=(Endpoint.Status.ACTIVE, Endpoint.Status.DEPRECATED),
    ).select_related("provider", "model", "stats")
    for row in rows:
        sheet = sheets.get(row.pk)
        if sheet is None and not row.is_free:
            continue
        rates = sheet.at(now) if sheet else {}
        yield Offer(
            provider=row.provider.slug,
            model=row.model.name,
            quantization=row.quantization,
            region=row.region,
            is_measured=hasattr(row, "stats") and row.stats.n > 0,
            input_usd=_usd(rates, Meter.INPUT),
            output_usd=_usd(rates, Meter.OUTPUT),
        )


def _sheets() -> dict[int, PriceSheet]:
    rows: dict[int, list[PriceRow]] = {}
    wanted = Price.objects.filter(state=Price.State.APPROVED, meter__in=(Meter.INPUT, Meter.OUTPUT))
    for row in wanted:
        rows.setdefault(row.endpoint_id, []).append(core_row(row))
    return {endpoint_id: PriceSheet(found) for endpoint_id, found in rows.items()}


def _usd(rates: Mapping[Meter, PriceRow], meter: Meter) -> Decimal | None:
    row = rates.get(meter)
    return row.unit_price_usd if row else None


def _unknown(what: str, name: str, existing: Sequence[str]) -> str:
    near = get_close_matches(name, existing, n=3, cutoff=0.5)
    hint = (
        f"did you mean {', '.join(near)}?" if near else f"there are {', '.join(sorted(existing))}"
    )
    return f"unknown {what} {name[:60]!r}; {hint if existing else 'none exists yet'}"
