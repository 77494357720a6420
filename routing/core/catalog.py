"""The picture of the world that a gateway process routes from: immutable, replaced whole."""

from __future__ import annotations

import datetime as dt
from typing import Any

import msgspec
from typing_extensions import override

from routing.core.limits import Limits
from routing.core.policies import NO_RULE, PolicyDocument, matching_rule, merged
from routing.core.pricing import PriceSheet
from routing.core.request import RequestFacts

__all__ = [
    "CAPABILITIES",
    "EMPTY_POLICY",
    "NO_PROMISES",
    "NO_STATS",
    "Caller",
    "Credential",
    "DataPolicy",
    "Endpoint",
    "Model",
    "Policy",
    "PolicyDocument",
    "Provider",
    "Snapshot",
    "Stats",
    "empty_snapshot",
    "is_named",
]


class DataPolicy(msgspec.Struct, frozen=True):
    """What a provider promises about prompts and answers; None where no promise is recorded."""

    trains_on_prompts: bool | None = None
    retention_days: float | None = None  # 0: keeps nothing once the answer is sent


NO_PROMISES = DataPolicy()


class Provider(msgspec.Struct, frozen=True):
    id: int
    slug: str
    name: str
    dialect: str  # key of routing.adapters.registry
    base_url: str  # where requests go now: the real address, or the simulator's
    simulated: bool
    quirks: Any  # routing.adapters.quirks.Quirks; opaque to the core
    settlement_path: str = ""  # "" when the provider cannot be asked for a request's cost
    data_policy: DataPolicy = NO_PROMISES
    also_speaks: frozenset[str] = frozenset()  # dialects that it takes as they are, beside its own

    def speaks(self, dialect: str) -> bool:
        return dialect == self.dialect or dialect in self.also_speaks


class Model(msgspec.Struct, frozen=True):
    id: int
    name: str  # canonical id, `org/Name` as on the Hugging Face Hub where one exists
    maker: str
    created: int  # Unix seconds, as in OpenAI's model object
    input_modalities: tuple[str, ...] = ("text",)
    output_modalities: tuple[str, ...] = ("text",)
    kind: str = "chat"  # key of routing.core.kinds.KINDS
    is_distillable: bool | None = None  # whether its licence lets answers train other models


class Credential(msgspec.Struct, frozen=True):
    id: int
    provider_id: int
    secret: str

    @override
    def __repr__(self) -> str:
        return f"Credential(id={self.id}, secret=***)"


class Stats(msgspec.Struct, frozen=True):
    """Measured on recent traffic and probes; None where there is nothing to measure from."""

    ttft_p50_ms: float | None = None
    ttft_p95_ms: float | None = None
    speed_p50_tps: float | None = None  # output tokens per second after the first chunk
    success_rate: float | None = None  # 0..1
    n: int = 0
    weight: float | None = None  # observations, decayed by their age; None: as many as `n`
    speed_p95_tps: float | None = None  # that 95 of 100 answers reach
    cached_share: float | None = None  # of the input tokens, read from the provider's cache
    valid_share: float | None = None  # of answers with tool calls or a schema: of sound form
    valid_n: int = 0  # that it rests on
    valid_weight: float = 0.0  # the same, decayed by their age

    @property
    def evidence(self) -> float:
        return float(self.n) if self.weight is None else self.weight


NO_STATS = Stats()


class Endpoint(msgspec.Struct, frozen=True):
    """A model at a provider: the unit that is routed to, priced and compared."""

    id: int
    provider: Provider
    model: Model
    upstream_model: str
    prices: PriceSheet
    capabilities: frozenset[str] = frozenset()  # see CAPABILITIES
    context_window: int | None = None  # tokens
    max_output_tokens: int | None = None
    region: str = ""
    quantization: str = ""
    is_free: bool = False
    status: str = "active"  # active | deprecated | retired
    credentials: tuple[Credential, ...] = ()
    unsupported_parameters: frozenset[str] = frozenset()  # dropped there, for require_parameters
    stats: Stats = NO_STATS

    @property
    def key(self) -> str:
        """Stable, readable name: `groq:openai/gpt-oss-120b`."""
        return f"{self.provider.slug}:{self.model.name}"

    def is_named(self, names: tuple[str, ...]) -> bool:
        """By the provider's slug, which covers all it offers, or with quantization or region:
        `slug/fp8`, `slug/eu`."""
        return bool(names) and is_named(self.provider.slug, self.quantization, self.region, names)

    def place_in(self, order: tuple[str, ...]) -> int:
        """Endpoints that are not named come after all that are."""
        return next((i for i, name in enumerate(order) if self.is_named((name,))), len(order))

    @property
    def kind(self) -> str:
        return self.model.kind


def is_named(slug: str, quantization: str, region: str, names: tuple[str, ...]) -> bool:
    return slug in names or f"{slug}/{quantization}" in names or f"{slug}/{region}" in names


CAPABILITIES = frozenset(
    {
        "tools",
        "tool_choice_required",
        "parallel_tools",
        "json_mode",
        "structured_output",
        "vision",
        "audio_in",
        "reasoning",
        "logprobs",
        "seed",
        "prompt_cache",
        "n",
        "dimensions",  # embeddings of a wanted length
        "timestamps",  # transcriptions that say when what was said
        "translation",  # recordings told in English
        "image_url",  # images given by address, not only as base64
        "stream",  # images, transcripts and speech as events while they are made
    }
)


class Policy(msgspec.Struct, frozen=True):
    id: int
    name: str
    version: int
    document: PolicyDocument
    variants: tuple[PolicyDocument, ...] = ()  # the settings while each of the rules holds

    def __post_init__(self) -> None:
        """Raises msgspec.ValidationError where a rule changes what is no setting."""
        if len(self.variants) != len(self.document.rules):
            variants = tuple(merged(self.document, rule) for rule in self.document.rules)
            msgspec.structs.force_setattr(self, "variants", variants)

    def rule_for(self, facts: RequestFacts, utc: dt.datetime) -> int:
        """The index of the rule that holds for a request, or -1."""
        return matching_rule(self.document, facts, utc) if self.document.rules else NO_RULE

    def settings(self, rule: int) -> PolicyDocument:
        return self.document if rule == NO_RULE else self.variants[rule]


class Caller(msgspec.Struct, frozen=True):
    """Who asks: the owner of an API key."""

    key_id: int
    key_name: str
    project_id: int
    organization_id: int
    policy: Policy | None = None  # the key's, else the project's, else None for the hub's default
    kind: str = "traffic"  # traffic | probe | playground
    expires_at: float | None = None  # Unix seconds
    limits: Limits | None = None  # None: not limited, so nothing is asked


class Snapshot(msgspec.Struct, frozen=True):
    version: int
    models: dict[str, Model]  # by canonical name
    endpoints_of: dict[str, tuple[Endpoint, ...]]  # by canonical model name
    endpoints: dict[int, Endpoint]
    providers: dict[str, Provider]  # by slug
    policies: dict[str, Policy]  # by name
    callers: dict[bytes, Caller]  # by HMAC-SHA256 digest of the API key
    default_policy: Policy
    aliases: dict[str, str] = {}  # lower-cased or short model name -> canonical name
    resting_providers: frozenset[str] = frozenset()  # slugs that exist, and are not routed to


EMPTY_POLICY = Policy(id=0, name="balanced", version=0, document=PolicyDocument())


def empty_snapshot() -> Snapshot:
    return Snapshot(
        version=0,
        models={},
        endpoints_of={},
        endpoints={},
        providers={},
        policies={},
        callers={},
        default_policy=EMPTY_POLICY,
    )
