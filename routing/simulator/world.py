"""The providers that are played: read from catalog documents, one path prefix each."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from routing.simulator.personas import Persona, persona_of
from routing.simulator.prices import PriceRow, row_from
from routing.simulator.profiles import PROFILES, Profile

CATALOG_DIR = Path(__file__).resolve().parent.parent / "catalog" / "data"
DIALECTS = ("openai_compat", "anthropic", "gemini")
RECORDS = frozenset({"providers", "models", "endpoints"})
CREATED_FALLBACK = 1_790_000_000


class BadCatalog(ValueError):
    """The catalog cannot be played; the message says which record and why."""


class Traits(msgspec.Struct, frozen=True):
    """The part of a quirk record that shows on the provider's side of the wire."""

    chat_path: str = "/chat/completions"
    responses_path: str = ""
    models_path: str = "/models"
    auth: str = "bearer"
    usage_mode: str = "include_usage"
    usage_paths: tuple[str, ...] = ("usage",)
    input_includes_cache: bool = True
    output_includes_reasoning: bool = True
    cost_path: str = ""
    cost_scale: int = 1
    max_tokens_field: str = "max_tokens"
    developer_role: bool = False
    content_parts: str = "all"
    tool_choice_allowed: tuple[str, ...] = ("none", "auto", "required", "named")
    tool_choice_map: dict[str, str] = {}
    tools_with_response_format: bool = True
    response_format_style: str = "openai"
    drop_params: tuple[str, ...] = ()
    rename_params: dict[str, str] = {}
    strict_unknown: bool = False
    stop_max: int | None = None
    n_max: int | None = None
    reasoning_field_in: str = "reasoning_content"
    reasoning_field_out: str = "reasoning_content"
    done_required: bool = True
    ignore_leading_blank: bool = False
    ratelimit_headers: dict[str, str] = {}
    request_id_headers: tuple[str, ...] = ("x-request-id",)
    settlement_path: str = ""
    batches: str = ""
    embeddings_path: str = "/embeddings"
    rerank_path: str = "/rerank"
    images_path: str = "/images/generations"
    transcriptions_path: str = "/audio/transcriptions"
    translations_path: str = "/audio/translations"
    speech_path: str = "/audio/speech"
    embeddings_base64: bool = False
    transcription_style: str = "openai"
    audio_least_s: int = 0
    kind_drop_params: dict[str, tuple[str, ...]] = {}


class Endpoint(msgspec.Struct):
    upstream_model: str
    model: str  # canonical name
    capabilities: frozenset[str]
    context_window: int | None
    max_output_tokens: int | None
    is_free: bool
    title: str
    maker: str
    created: int
    input_modalities: tuple[str, ...]
    prices: tuple[PriceRow, ...]
    quantization: str = ""
    kind: str = "chat"

    def can(self, capability: str) -> bool:
        return capability in self.capabilities

    @property
    def caches_prompts(self) -> bool:
        return self.can("prompt_cache") or any(row.meter == "cache_read" for row in self.prices)

    @property
    def sees_images(self) -> bool:
        return "vision" in self.capabilities or "image" in self.input_modalities


class Provider(msgspec.Struct, frozen=True):
    slug: str
    name: str
    dialect: str
    base_path: str  # path of the real base URL, no trailing slash
    key: str
    traits: Traits
    persona: Persona
    profile: Profile
    listing_kind: str
    listing_path: str
    listing_needs_key: bool
    endpoints: dict[str, Endpoint]  # by upstream model id

    @property
    def settlement_path(self) -> str:
        return self.base_path + (self.traits.settlement_path or "/settlement")


World = dict[str, Provider]  # by slug


def read_documents(path: Path) -> list[dict[str, Any]]:
    """All catalog documents of a file or folder. Raises BadCatalog with the file's name."""
    files = sorted(path.glob("*.json")) if path.is_dir() else [path]
    documents = []
    for file in files:
        try:
            document = json.loads(file.read_bytes())
        except (OSError, ValueError) as exc:
            raise BadCatalog(f"{file}: cannot be read as JSON: {exc}") from None
        if isinstance(document, dict) and RECORDS & document.keys():
            documents.append(document)
    if not documents:
        raise BadCatalog(f"{path}: no catalog document found; give a catalog file or folder")
    return documents


def build_world(
    documents: Iterable[Mapping[str, Any]], keys: Mapping[str, str] | None = None
) -> World:
    """`keys` replaces the default credential `sim-<slug>-key` of the providers it names."""
    documents = list(documents)
    models = {m["name"]: m for document in documents for m in document.get("models", ())}
    world = {
        row["slug"]: _provider(row, (keys or {}).get(row["slug"]))
        for document in documents
        for row in document.get("providers", ())
    }
    for document in documents:
        for row in document.get("endpoints", ()):
            _add_endpoint(world, row, models)
    return world


def _provider(row: Mapping[str, Any], key: str | None) -> Provider:
    slug, dialect = row["slug"], row.get("dialect", "openai_compat")
    if dialect not in DIALECTS:
        raise BadCatalog(f"provider {slug}: dialect {dialect!r} is not one of {DIALECTS}")
    try:
        traits = msgspec.convert(row.get("quirks") or {}, Traits)
    except msgspec.ValidationError as exc:
        raise BadCatalog(f"provider {slug}: quirks: {exc}") from None
    listing = row.get("listing") or {}
    persona = persona_of(slug, dialect)
    return Provider(
        slug=slug,
        name=row.get("name", slug),
        dialect=dialect,
        base_path=urlsplit(row["base_url"]).path.rstrip("/"),
        key=key or f"sim-{slug}-key",
        traits=traits,
        persona=persona,
        profile=PROFILES[persona.profile],
        listing_kind=listing.get("kind", ""),
        listing_path=(listing.get("path") or traits.models_path).partition("?")[0],
        listing_needs_key=bool(listing.get("needs_key", True)),
        endpoints={},
    )


def _add_endpoint(world: World, row: Mapping[str, Any], models: Mapping[str, Any]) -> None:
    provider = world.get(row["provider"])
    if provider is None:
        raise BadCatalog(f"endpoint {row['model']}: provider {row['provider']!r} is not listed")
    if row.get("status") == "retired":
        return
    model = models.get(row["model"], {})
    # The same model in another region is the same id on the wire: the first row speaks for it.
    provider.endpoints.setdefault(
        row["upstream_model"],
        Endpoint(
            upstream_model=row["upstream_model"],
            model=row["model"],
            capabilities=frozenset(row.get("capabilities", ())),
            context_window=row.get("context_window"),
            max_output_tokens=row.get("max_output_tokens"),
            is_free=bool(row.get("free", False)),
            title=model.get("title", row["model"]),
            maker=model.get("maker", ""),
            created=_created(model),
            input_modalities=tuple(model.get("input_modalities", ("text",))),
            prices=tuple(row_from(price) for price in row.get("prices", ())),
            quantization=row.get("quantization", ""),
            kind=model.get("kind", "chat"),
        ),
    )


def _created(model: Mapping[str, Any]) -> int:
    try:
        day = dt.date.fromisoformat(model.get("released_on") or "")
    except ValueError:
        return CREATED_FALLBACK
    return int(dt.datetime(day.year, day.month, day.day, tzinfo=dt.UTC).timestamp())
