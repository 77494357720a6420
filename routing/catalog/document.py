"""What a catalog file may say, record by record. Reading one collects every problem it finds."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from typing_extensions import override

FORMAT = "panelboard-catalog/1"
MOST_PROBLEMS_SHOWN = 20

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
Text = Annotated[str, msgspec.Meta(max_length=300)]
Label = Annotated[str, msgspec.Meta(min_length=1, max_length=120)]
Count = Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)]
Slug = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9-]{0,49}$")]
Moment = Annotated[dt.datetime, msgspec.Meta(tz=True)]
Amount = Annotated[str, msgspec.Meta(pattern=r"^[0-9]{1,12}(\.[0-9]{1,12})?$")]
Clock = Annotated[str, msgspec.Meta(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")]
Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
WEEKDAYS: tuple[Weekday, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    pass


class Listing(Record, frozen=True):
    path: str
    kind: str  # routing.services.listings.KINDS
    needs_key: bool = True


class Promises(Record, frozen=True):
    """A provider's own words about prompts and answers; what is not said is not promised."""

    trains_on_prompts: bool | None = None
    retention_days: Annotated[float, msgspec.Meta(ge=0)] | None = None  # 0: keeps nothing
    source_url: Text = ""
    checked_on: dt.date | None = None


class ProviderRecord(Record, frozen=True):
    slug: Slug
    name: Label
    dialect: str
    base_url: str
    homepage: Text = ""
    key_env: tuple[Name, ...] = ()
    quirks: dict[str, Any] = {}
    listing: dict[str, Any] = {}
    data_policy: dict[str, Any] = {}  # Promises
    lifecycle: Literal["active", "paused", "retired"] = "active"
    source: Text = ""
    checked_on: dt.date | None = None


class ModelRecord(Record, frozen=True):
    name: Name
    kind: str = "chat"  # routing.core.kinds.KINDS
    title: Annotated[str, msgspec.Meta(max_length=200)] = ""
    maker: Annotated[str, msgspec.Meta(max_length=120)] = ""
    description: str = ""
    input_modalities: tuple[str, ...] = ("text",)
    output_modalities: tuple[str, ...] = ("text",)
    released_on: dt.date | None = None
    aliases: tuple[Name, ...] = ()
    source: Text = ""
    checked_on: dt.date | None = None


class PriceRecord(Record, frozen=True):
    """`usd` is a decimal string, per 1,000,000 for MILLION_METERS, else per piece.

    Six decimals at most for the former, twelve for the latter.
    """

    meter: str
    usd: Amount
    effective_from: Moment
    source: Annotated[str, msgspec.Meta(min_length=1, max_length=60)]
    min_input_tokens: Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)] = 0
    service_tier: Annotated[str, msgspec.Meta(max_length=20)] = ""
    utc_from: Clock | None = None
    utc_until: Clock | None = None
    weekdays: tuple[Weekday, ...] = ()
    source_url: Text = ""
    note: Annotated[str, msgspec.Meta(max_length=300)] = ""


class EndpointRecord(Record, frozen=True):
    provider: Slug
    model: Name
    upstream_model: Name
    region: Annotated[str, msgspec.Meta(max_length=40)] = ""
    quantization: Annotated[str, msgspec.Meta(max_length=20)] = ""
    context_window: Count | None = None
    max_output_tokens: Count | None = None
    capabilities: tuple[str, ...] = ()
    free: bool = False
    status: Literal["active", "deprecated", "paused", "retired"] | None = None
    retires_on: dt.date | None = None
    source: Text = ""
    checked_on: dt.date | None = None
    prices: tuple[PriceRecord, ...] = ()


class CredentialRecord(Record, frozen=True):
    """Where the secret is found; a secret itself is never written into a catalog file."""

    provider: Slug
    name: Label
    env: str = ""
    file: str = ""


class Problem(msgspec.Struct, frozen=True):
    where: str  # "groq.json: endpoints[3] groq openai/gpt-oss-120b"
    field: str
    message: str

    @override
    def __str__(self) -> str:
        return ": ".join(part for part in (self.where, self.field, self.message) if part)


class CatalogInvalid(ValueError):
    """Nothing was loaded. Each problem names the record and the field."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        lines = [str(problem) for problem in self.problems[:MOST_PROBLEMS_SHOWN]]
        if more := len(self.problems) - len(lines):
            lines.append(f"... and {more} more")
        super().__init__("\n".join(lines))


R = TypeVar("R", bound=Record)


class Catalog(msgspec.Struct, frozen=True):
    """Each record comes with the words that name its place in a file."""

    providers: tuple[tuple[str, ProviderRecord], ...]
    models: tuple[tuple[str, ModelRecord], ...]
    endpoints: tuple[tuple[str, EndpointRecord], ...]
    credentials: tuple[tuple[str, CredentialRecord], ...]


_HEADER = {"format", "checked_on", "source", "note"}
_LISTS = ("providers", "models", "endpoints", "credentials")


def parse(documents: Iterable[tuple[str, object]]) -> Catalog:
    """Documents as (name, decoded JSON), merged. Raises CatalogInvalid with all problems found."""
    problems: list[Problem] = []
    usable = [
        (name, frame)
        for name, document in documents
        if (frame := _checked_frame(name, document, problems)) is not None
    ]
    catalog = Catalog(
        providers=_records("providers", ProviderRecord, usable, problems),
        models=_records("models", ModelRecord, usable, problems),
        endpoints=_records("endpoints", EndpointRecord, usable, problems),
        credentials=_records("credentials", CredentialRecord, usable, problems),
    )
    if problems:
        raise CatalogInvalid(problems)
    return catalog


def _checked_frame(
    name: str, document: object, problems: list[Problem]
) -> Mapping[str, Any] | None:
    if not isinstance(document, Mapping):
        problems.append(Problem(name, "", "a catalog file holds one JSON object"))
        return None
    if document.get("format") != FORMAT:
        problems.append(Problem(name, "format", f"must be {FORMAT!r}"))
    problems.extend(
        Problem(name, str(key), f"is not a part of a catalog; there are {', '.join(_LISTS)}")
        for key in document
        if key not in _HEADER and key not in _LISTS
    )
    for key in _LISTS:
        if not isinstance(document.get(key, []), list):
            problems.append(Problem(name, key, "must be a list"))
            return None
    return document


def _records(
    key: str,
    kind: type[R],
    documents: Iterable[tuple[str, Mapping[str, Any]]],
    problems: list[Problem],
) -> tuple[tuple[str, R], ...]:
    found: list[tuple[str, R]] = []
    for name, document in documents:
        for index, data in enumerate(document.get(key, [])):
            where = f"{name}: {key}[{index}]{_label(data)}"
            try:
                found.append((where, msgspec.convert(data, kind)))
            except msgspec.ValidationError as exc:
                problems.append(Problem(where, *_field_and_message(str(exc))))
    return tuple(found)


def _label(data: object) -> str:
    """What a person calls the record: its slug, or provider and model."""
    if not isinstance(data, Mapping):
        return ""
    names = [data[key] for key in ("slug", "provider", "model", "name") if key in data]
    return "".join(f" {str(name)[:80]}" for name in names)


def _field_and_message(text: str) -> tuple[str, str]:
    """msgspec ends a message with the path: "Expected `str`, got `int` - at `$.prices[0].usd`"."""
    message, separator, path = text.rpartition(" - at `$")
    if not separator:
        return "", text
    return path.strip("`.").removeprefix("."), message
