"""What makes a policy wrong, and what makes it doubtful, in words that say what to change.

A problem stops the policy from being saved; a warning is shown beside it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec

from routing.core.catalog import PolicyDocument, is_named
from routing.core.filters import UNKNOWN_QUANTIZATION
from routing.core.objectives import OBJECTIVES
from routing.core.policies import Canary, Rule, Shadow, merged
from routing.services import policy_parts
from routing.services.catalog_rules import unknown
from routing.services.policy_offers import Known, Offer

MOST_ATTEMPTS = 5
PRICE_FIELDS = {  # what the price is per, and the most decimals
    "max_price_input": ("1M tokens", 6),
    "max_price_output": ("1M tokens", 6),
    "max_price_request": ("request", 12),
    "max_price_image": ("image", 12),
}
LARGEST_WEIGHT = 1_000_000
MEASURED_OBJECTIVES = ("fastest", "lowest-latency", "slo-cheapest")
DRAWING_OBJECTIVES = ("balanced", "weighted")
GENERAL = ""  # the field of a problem that belongs to the whole policy

Found = Iterator[tuple[str, str]]
Doubts = Iterator[str]


def converted(document: Mapping[str, Any]) -> PolicyDocument | tuple[str, str]:
    """The typed document, or what is wrong with its form as (field, message)."""
    strangers = [str(key) for key in document if key not in PolicyDocument.__struct_fields__]
    if strangers:
        return strangers[0], unknown("setting", strangers[0], PolicyDocument.__struct_fields__)
    try:
        return msgspec.convert(document, PolicyDocument)
    except msgspec.ValidationError as exc:
        message, _, path = str(exc).rpartition(" - at `$.")
        return (path.rstrip("`").split("[")[0], message) if message else (GENERAL, str(exc))


def problems(document: PolicyDocument, known: Known) -> list[tuple[str, str]]:
    found = [problem for rule in _RULES for problem in rule(document, known)]
    return found or list(_leaves_nothing(document, known)) or _problems_of_rules(document, known)


def _problems_of_rules(document: PolicyDocument, known: Known) -> list[tuple[str, str]]:
    """Each rule's conditions, and the settings as they are while it holds."""
    models = frozenset(offer.model for offer in known.offers)
    found: list[tuple[str, str]] = []
    for i, rule in enumerate(document.rules):
        name = rule.name or f"rule {i + 1}"
        messages = [
            *policy_parts.problems_of_rule(rule, models),
            *_problems_of_settings(document, rule, known),
        ]
        found += [("rules", f"{name}: {message}") for message in messages]
    return found


def _problems_of_settings(document: PolicyDocument, rule: Rule, known: Known) -> Iterator[str]:
    settings = settings_under(document, rule)
    if isinstance(settings, str):
        yield settings
        return
    for field, message in problems(settings, known):
        if field in rule.then or not policy_parts.is_unused(settings, field):
            yield f"{field}: {message}"


def settings_under(document: PolicyDocument, rule: Rule) -> PolicyDocument | str:
    """The settings while the rule holds, or what is wrong with what it changes."""
    strangers = [name for name in rule.then if name not in PolicyDocument.__struct_fields__]
    if strangers:
        return unknown("setting", strangers[0], PolicyDocument.__struct_fields__)
    try:
        return merged(document, rule)
    except msgspec.ValidationError as exc:
        return str(exc).replace("$.", "")


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
        yield "objective", unknown("objective", document.objective, tuple(OBJECTIVES))


def _provider_names(document: PolicyDocument, known: Known) -> Found:
    for field in ("order", "only", "ignore", "weights"):
        for slug in getattr(document, field):
            if slug.partition("/")[0] not in known.providers:
                yield field, unknown("provider", slug, tuple(known.providers))


def _repeated(document: PolicyDocument, known: Known) -> Found:
    for field in ("order", "only", "ignore", "quantizations", "regions"):
        for value, count in Counter(getattr(document, field)).items():
            if count > 1:
                yield field, f"{value} is named {count} times"


def _contradictions(document: PolicyDocument, known: Known) -> Found:
    for slug in document.only:
        if slug in document.ignore:
            yield "ignore", f"{slug} is both in only and in ignore: take it out of one"
    for field, slugs in _named_first(document):
        for slug in slugs:
            provider = slug.partition("/")[0]
            if provider in document.ignore:
                yield field, f"{slug} can never be reached: it is in ignore"
            elif document.only and not _reaches(document.only, provider):
                yield field, f"{slug} can never be reached: it is not in only"


def _named_first(document: PolicyDocument) -> Iterator[tuple[str, Iterable[str]]]:
    yield "order", document.order
    yield "weights", document.weights
    for field in ("canary", "shadow"):
        part: Canary | Shadow | None = getattr(document, field)
        if part is not None:
            yield field, (part.provider,)


def _reaches(only: Iterable[str], provider: str) -> bool:
    return any(name.partition("/")[0] == provider for name in only)


def _weights(document: PolicyDocument, known: Known) -> Found:
    is_weighted = document.objective == "weighted"
    if document.weights and not policy_parts.is_used(document, "weighted"):
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
    for field, (unit, most_decimals) in PRICE_FIELDS.items():
        text = getattr(document, field)
        if text is not None and (message := wrong_price(text, unit, most_decimals)):
            yield field, message


def wrong_price(text: str, unit: str, most_decimals: int) -> str:
    """What is wrong with it, or ""."""
    if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]+)?", text):
        return f'{text[:40]!r} is not a price: write US dollars per {unit} such as "0.60"'
    decimals = len(text.partition(".")[2])
    if decimals > most_decimals:
        return f"{text[:40]} has more than {most_decimals} decimals"
    return ""


def _attempts(document: PolicyDocument, known: Known) -> Found:
    if not 1 <= document.max_attempts <= MOST_ATTEMPTS:
        yield "max_attempts", f"must be between 1 and {MOST_ATTEMPTS}"


def _copies(document: PolicyDocument, known: Known) -> Found:
    for field in ("canary", "shadow"):
        part: Canary | Shadow | None = getattr(document, field)
        if part is not None and part.provider not in known.providers:
            yield field, unknown("provider", part.provider, tuple(known.providers))
    if document.shadow is not None:
        message = wrong_price(document.shadow.max_usd_per_day, "day", 6)
        if message:
            yield "shadow", message
    if document.hedge is not None:
        message = wrong_price(document.hedge.max_usd_per_day, "day", 6)
        if message:
            yield "hedge", message


def _kinds(document: PolicyDocument, known: Known) -> Found:
    for field, attribute in (("quantizations", "quantization"), ("regions", "region")):
        existing = {getattr(offer, attribute) for offer in known.offers} - {""}
        if attribute == "quantization":
            existing.add(UNKNOWN_QUANTIZATION)
        for value in getattr(document, field):
            if known.offers and value not in existing:
                yield field, unknown(attribute, value, tuple(existing))


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
    policy_parts.choices,
    policy_parts.service_level,
    policy_parts.shares,
    policy_parts.ways_to_try,
    policy_parts.learning,
    _copies,
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


def _is_named(offer: Offer, names: tuple[str, ...]) -> bool:
    return is_named(offer.provider, offer.quantization, offer.region, names)


def _quantization(offer: Offer) -> str:
    return offer.quantization or UNKNOWN_QUANTIZATION


_FILTERS: tuple[tuple[str, Callable[[PolicyDocument, Offer], bool]], ...] = (
    ("only", lambda document, offer: not document.only or _is_named(offer, document.only)),
    ("ignore", lambda document, offer: not _is_named(offer, document.ignore)),
    (
        "quantizations",
        lambda document, offer: (
            not document.quantizations or _quantization(offer) in document.quantizations
        ),
    ),
    ("regions", lambda document, offer: not document.regions or offer.region in document.regions),
    (
        "data_collection",
        lambda document, offer: (
            document.data_collection != "deny" or offer.data_policy.trains_on_prompts is False
        ),
    ),
    ("zdr", lambda document, offer: not document.zdr or offer.data_policy.retention_days == 0),
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
    if document.order and not policy_parts.is_used(document, "ordered", "preferred"):
        yield f'the order is used by ":preferred" alone; the objective is {document.objective}'


def _unnamed_in_weights(document: PolicyDocument, known: Known, left: Sequence[Offer]) -> Doubts:
    if document.objective == "weighted":
        named = {slug for slug, weight in document.weights.items() if weight}
        models = {offer.model for offer in left}
        reached = {offer.model for offer in left if offer.provider in named}
        if models - reached:
            yield f"{len(models - reached)} models are at no provider with a share: fallbacks only"


def _nothing_drawn(document: PolicyDocument, known: Known, left: Sequence[Offer]) -> Doubts:
    if (
        document.stable_by
        and document.canary is None
        and not policy_parts.is_used(document, *DRAWING_OBJECTIVES)
    ):
        yield f"stable_by changes nothing: the objective {document.objective} draws nothing"


_DOUBTS: tuple[Callable[[PolicyDocument, Known, Sequence[Offer]], Doubts], ...] = (
    _no_fallback,
    _unmeasured,
    _unused_order,
    _unnamed_in_weights,
    _nothing_drawn,
)
