"""Hard filters: what an endpoint must fulfil. Each exclusion has a stable code."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal, InvalidOperation

from routing.core.catalog import Endpoint, PolicyDocument
from routing.core.decision import Exclusion
from routing.core.errors import HubError
from routing.core.moment import Moment
from routing.core.request import NO_PREFERENCES, ProviderPreferences, RequestFacts
from routing.core.usage import Meter

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
        """Only those that this request and policy give something to check."""
        facts, document = self.facts, self.document
        wanted = facts.preferences
        checks: list[Check] = [_unroutable]
        if (
            facts.pinned_provider
            or wanted is not NO_PREFERENCES
            or document.only
            or document.ignore
        ):
            checks.append(self._unwanted_provider)
        if self.price_caps:
            checks.append(self._too_dear)
        checks.append(self._too_small)
        if facts.needs or wanted.require_parameters:
            checks.append(self._unable)
        if wanted is not NO_PREFERENCES or document.quantizations or document.regions:
            checks.append(self._wrong_kind)
        return checks

    def _unwanted_provider(self, endpoint: Endpoint) -> Verdict | None:
        slug, wanted, document = endpoint.provider.slug, self.facts.preferences, self.document
        pinned = self.facts.pinned_provider
        if pinned and slug != pinned:
            return Exclusion.NOT_PINNED, f"the request asks for {pinned}"
        if _not_in(slug, wanted.only) or _not_in(slug, document.only):
            return Exclusion.NOT_IN_ONLY, "not in `only`"
        if slug in wanted.ignore or slug in document.ignore:
            return Exclusion.IGNORED, "in `ignore`"
        if wanted.allow_fallbacks is False and _not_in(slug, wanted.order):
            return Exclusion.FALLBACKS_OFF, "not in `order`, and fallbacks are off"
        return None

    def _too_dear(self, endpoint: Endpoint) -> Verdict | None:
        rows = endpoint.prices.at(self.moment.utc, self.facts.input_tokens, self.facts.service_tier)
        for meter, cap in self.price_caps:
            row = rows.get(meter)
            if row is not None and row.unit_price_usd > cap:
                price = f"{row.unit_price_usd.normalize():f}"
                return Exclusion.MAX_PRICE, f"{meter} {price} USD per 1M > {cap}"
        return None

    def _too_small(self, endpoint: Endpoint) -> Verdict | None:
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
            return Exclusion.MISSING_CAPABILITY, ", ".join(sorted(missing))
        if self.facts.preferences.require_parameters:
            refused = self.facts.parameters & endpoint.unsupported_parameters
            if refused:
                return Exclusion.PARAMETER_UNSUPPORTED, ", ".join(sorted(refused))
        return None

    def _wrong_kind(self, endpoint: Endpoint) -> Verdict | None:
        wanted, document = self.facts.preferences, self.document
        if wanted.data_collection == "deny":  # fail closed: the catalog records no promise yet
            return Exclusion.DATA_POLICY, "not known to keep no prompts"
        if _not_in(endpoint.quantization, wanted.quantizations or document.quantizations):
            return Exclusion.QUANTIZATION, endpoint.quantization or "not stated"
        if _not_in(endpoint.region, document.regions):
            return Exclusion.REGION, endpoint.region or "not stated"
        return None


def _unroutable(endpoint: Endpoint) -> Verdict | None:
    if endpoint.status == "retired":
        return Exclusion.RETIRED, "the provider no longer serves it"
    if not endpoint.credentials:
        return Exclusion.NO_CREDENTIAL, f"no key for {endpoint.provider.name}"
    if not endpoint.prices and not endpoint.is_free:
        return Exclusion.NO_PRICE, "an endpoint without a price is not routed to"
    return None


def _not_in(value: str, listed: tuple[str, ...]) -> bool:
    """An empty list asks for nothing."""
    return bool(listed) and value not in listed


def _price_caps(
    wanted: ProviderPreferences, document: PolicyDocument
) -> tuple[tuple[Meter, Decimal], ...]:
    """The request's cap, else the policy's, in USD per 1M tokens."""
    if wanted is NO_PREFERENCES and document.max_price_input is document.max_price_output is None:
        return ()
    caps = (
        (Meter.INPUT, wanted.max_price_prompt or document.max_price_input),
        (Meter.OUTPUT, wanted.max_price_completion or document.max_price_output),
    )
    return tuple((meter, _usd(cap)) for meter, cap in caps if cap is not None)


def _usd(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:
        raise HubError(
            400, "invalid_price", f"'{text[:40]}' is not a price in US dollars"
        ) from None
