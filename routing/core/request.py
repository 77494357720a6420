"""What a policy needs to know of a request: facts, without the prompt."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from routing.core.usage import Meter

SAYS = " says "  # in a need: the dialect, and what can be said in that one only
DEFAULT_OUTPUT_TOKENS = 512  # expected when neither the client nor history says


class ProviderPreferences(msgspec.Struct, frozen=True):
    """The `provider` object of a request body, field for field as OpenRouter names them."""

    order: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    allow_fallbacks: bool | None = None
    require_parameters: bool = False
    data_collection: str = ""  # allow | deny
    quantizations: tuple[str, ...] = ()
    sort: str = ""  # price | throughput | latency
    max_price_prompt: str | None = None  # USD per 1M tokens, decimal string
    max_price_completion: str | None = None
    preferred_min_throughput: float | None = None  # output tokens per second
    preferred_max_latency: float | None = None  # seconds to first token
    zdr: bool = False  # zero data retention
    enforce_distillable_text: bool = False
    sort_partition: str = ""  # "none": fallback models are sorted together with the first
    max_price_request: str | None = None  # USD per request
    max_price_image: str | None = None  # USD per image
    # (percentile, figure), such as (90, 1.5): 9 of 10 requests are expected to be better. All hold.
    throughput_cutoffs: tuple[tuple[float, float], ...] = ()
    latency_cutoffs: tuple[tuple[float, float], ...] = ()
    hedge: bool | None = None  # a second attempt beside a late first one; None: as the policy says
    hedge_after_ms: float | None = None


NO_PREFERENCES = ProviderPreferences()


class RequestFacts(msgspec.Struct, frozen=True):
    requested_model: str  # as the client wrote it, suffix included
    model: str  # canonical name after resolution
    objective: str = ""  # from a suffix or `sort`; "" leaves it to the policy
    pinned_provider: str = ""  # from `:<provider>`
    policy_name: str = ""  # from `:<policy-name>`
    input_tokens: int = 0  # estimate, for price and window
    output_tokens: int = DEFAULT_OUTPUT_TOKENS  # expected, bounded by max_tokens
    max_output_tokens: int | None = None  # the client's hard cap
    stream: bool = False
    # capabilities without which the answer would be wrong, and words (see `needing`)
    needs: frozenset[str] = frozenset()
    parameters: frozenset[str] = frozenset()  # top-level fields sent, for require_parameters
    service_tier: str = ""
    preferences: ProviderPreferences = NO_PREFERENCES
    fallback_models: tuple[str, ...] = ()  # canonical names from `models`
    kind: str = "chat"  # key of routing.core.kinds.KINDS
    pieces: tuple[tuple[Meter, int], ...] = ()  # expected quantities that are not tokens
    window_tokens: int | None = None  # what a window must hold, where that is not all the input
    tags: frozenset[str] = frozenset()  # that the client or the key put on the request
    conversation: str = ""  # what the requests of one conversation have in common
    key_id: int = 0  # the caller's, for draws that stay the same


def needing(facts: RequestFacts, dialect: str, words: Iterable[str]) -> RequestFacts:
    """`facts` of a request that says what only endpoints speaking `dialect` understand."""
    said = {f"{dialect}{SAYS}{word}" for word in words}
    return msgspec.structs.replace(facts, needs=facts.needs | said)


def needs_other_words(facts: RequestFacts, dialect: str) -> bool:
    """Whether a request says what cannot be said in `dialect`."""
    return any(SAYS in need and need.partition(SAYS)[0] != dialect for need in facts.needs)
