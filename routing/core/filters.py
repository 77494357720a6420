"""Hard filters: what an endpoint must fulfil. Each exclusion has a stable code.

The policy and the request both filter; neither can let through what the other keeps out.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal, InvalidOperation

from routing.core.catalog import Endpoint, PolicyDocument
from routing.core.decision import Exclusion
from routing.core.errors import HubError
from routing.core.moment import Moment
from routing.core.request import NO_PREFERENCES, SAYS, ProviderPreferences, RequestFacts
from routing.core.usage import TOKEN_METERS, Meter

UNKNOWN_QUANTIZATION = "unknown"  # in a list: endpoints whose quantization is not stated

Verdict = tuple[Exclusion, str]  # the code, and what exactly was missing
Check = Callable[[Endpoint], Verdict | None]


class HardFilters:
    """Those that this request and policy give something to check."""

    __slots__ = ("checks", "document", "facts", "moment", "price_caps")

    def __init__(self, facts: RequestFacts, document: PolicyDocument, moment: Moment) -> None:
        self.facts = facts
        self.document = document
        self.moment = moment
        self.price_caps = _price_caps(facts.preferences, document)
        self.checks = self._checks()

    def exclude(self, endpoint: Endpoint) -> Verdict | None:
        for check in self.checks:
            verdict = check(endpoint)
            if verdict is not None:
                return verdict
        return None

    def _checks(self) -> list[Check]:
        facts, document = self.facts, self.document
        has_wishes = facts.preferences is not NO_PREFERENCES
        parts: tuple[tuple[object, Check], ...] = (
            (facts.pinned_provider, self._not_pinned),
            (has_wishes or document.only or document.ignore, self._unwanted_provider),
            (self.price_caps, self._too_dear),
            (facts.needs, self._unable),
            (has_wishes or document.require_parameters, self._deaf_to_parameters),
            (has_wishes or document.data_collection or document.zdr, self._too_curious),
            (has_wishes or document.quantizations or document.regions, self._wrong_kind),
        )
        return [self._unfit, *(check for wanted, check in parts if wanted)]

    def _not_pinned(self, endpoint: Endpoint) -> Verdict | None:
        pinned = self.facts.pinned_provider
        if endpoint.provider.slug != pinned:
            return Exclusion.NOT_PINNED, f"the request asks for {pinned}"
        return None

    def _unwanted_provider(self, endpoint: Endpoint) -> Verdict | None:
        wanted, document = self.facts.preferences, self.document
        if _unlisted(endpoint, wanted.only) or _unlisted(endpoint, document.only):
            return Exclusion.NOT_IN_ONLY, "not in `only`"
        if endpoint.is_named(wanted.ignore) or endpoint.is_named(document.ignore):
            return Exclusion.IGNORED, "in `ignore`"
        if wanted.allow_fallbacks is False and _unlisted(endpoint, wanted.order):
            return Exclusion.FALLBACKS_OFF, "not in `order`, and fallbacks are off"
        return None

    def _too_dear(self, endpoint: Endpoint) -> Verdict | None:
        rows = endpoint.prices.at(self.moment.utc, self.facts.input_tokens, self.facts.service_tier)
        for meter, cap in self.price_caps:
            row = rows.get(meter)
            if row is not None and row.unit_price_usd > cap:
                per = "1M" if meter in TOKEN_METERS else meter
                price = f"{row.unit_price_usd.normalize():f}"
                return Exclusion.MAX_PRICE, f"{meter} {price} USD per {per} > {cap:f}"
        return None

    def _unfit(self, endpoint: Endpoint) -> Verdict | None:
        """What is asked of every endpoint for every request."""
        if endpoint.status == "retired":
            return Exclusion.RETIRED, "the provider no longer serves it"
        if not endpoint.credentials:
            return Exclusion.NO_CREDENTIAL, f"no key for {endpoint.provider.name}"
        if not endpoint.prices.rows and not endpoint.is_free:
            return Exclusion.NO_PRICE, "an endpoint without a price is not routed to"
        wanted, window = self.facts.max_output_tokens or 0, endpoint.context_window
        read = self.facts.window_tokens
        asked = (self.facts.input_tokens if read is None else read) + wanted
        if window is not None and asked > window:
            return Exclusion.CONTEXT_WINDOW, f"about {asked} tokens > {window}"
        most = endpoint.max_output_tokens
        if most is not None and wanted > most:
            return Exclusion.MAX_OUTPUT, f"max_tokens {wanted} > {most}"
        return None

    def _unable(self, endpoint: Endpoint) -> Verdict | None:
        missing = self.facts.needs - endpoint.capabilities
        if missing:
            return _lacking(missing, endpoint)
        return None

    def _deaf_to_parameters(self, endpoint: Endpoint) -> Verdict | None:
        if self.facts.preferences.require_parameters or self.document.require_parameters:
            refused = self.facts.parameters & endpoint.unsupported_parameters
            if refused:
                return Exclusion.PARAMETER_UNSUPPORTED, ", ".join(sorted(refused))
        return None

    def _too_curious(self, endpoint: Endpoint) -> Verdict | None:
        """Fails closed: a promise that is not recorded is none."""
        wanted, document, promised = (
            self.facts.preferences,
            self.document,
            endpoint.provider.data_policy,
        )
        if "deny" in (wanted.data_collection, document.data_collection):
            if promised.trains_on_prompts is None:
                return Exclusion.DATA_POLICY, "not known to leave prompts out of training"
            if promised.trains_on_prompts:
                return Exclusion.DATA_POLICY, "may train on prompts"
        if wanted.zdr or document.zdr:
            if promised.retention_days is None:
                return Exclusion.DATA_POLICY, "not known to keep no prompts"
            if promised.retention_days > 0:
                return Exclusion.DATA_POLICY, f"keeps prompts for {promised.retention_days:g} days"
        if wanted.enforce_distillable_text and endpoint.model.is_distillable is not True:
            return Exclusion.DISTILLATION, "not known to allow training on its answers"
        return None

    def _wrong_kind(self, endpoint: Endpoint) -> Verdict | None:
        wanted, document = self.facts.preferences, self.document
        stated = endpoint.quantization or UNKNOWN_QUANTIZATION
        if _not_in(stated, wanted.quantizations) or _not_in(stated, document.quantizations):
            return Exclusion.QUANTIZATION, endpoint.quantization or "not stated"
        if _not_in(endpoint.region, document.regions):
            return Exclusion.REGION, endpoint.region or "not stated"
        return None


def _lacking(missing: frozenset[str], endpoint: Endpoint) -> Verdict | None:
    """A need may be for words of a dialect: then whoever speaks it has all that is asked."""
    unsaid = {need.partition(SAYS)[::2] for need in missing if SAYS in need}
    foreign = sorted(words for dialect, words in unsaid if not endpoint.provider.speaks(dialect))
    if foreign:
        return Exclusion.OTHER_DIALECT, ", ".join(foreign)
    lacking = sorted(need for need in missing if SAYS not in need)
    return (Exclusion.MISSING_CAPABILITY, ", ".join(lacking)) if lacking else None


def _unlisted(endpoint: Endpoint, names: tuple[str, ...]) -> bool:
    """An empty list asks for nothing."""
    return bool(names) and not endpoint.is_named(names)


def _not_in(value: str, listed: tuple[str, ...]) -> bool:
    return bool(listed) and value not in listed


def _price_caps(
    wanted: ProviderPreferences, document: PolicyDocument
) -> tuple[tuple[Meter, Decimal], ...]:
    """The lower of the request's and the policy's; token prices in USD per 1M."""
    if wanted is NO_PREFERENCES and not document.has_max_price:
        return ()
    pairs = (
        (Meter.INPUT, wanted.max_price_prompt, document.max_price_input),
        (Meter.OUTPUT, wanted.max_price_completion, document.max_price_output),
        (Meter.REQUEST, wanted.max_price_request, document.max_price_request),
        (Meter.IMAGE, wanted.max_price_image, document.max_price_image),
    )
    return tuple(
        (meter, min(_usd(cap) for cap in caps if cap is not None))
        for meter, *caps in pairs
        if any(cap is not None for cap in caps)
    )


def _usd(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:
        raise HubError(
            400, "invalid_price", f"'{text[:40]}' is not a price in US dollars"
        ) from None
