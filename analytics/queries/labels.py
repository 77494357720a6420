"""What groups are called. The log keeps ids alone: names come from the catalog of today."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django.db.models import F, Manager, QuerySet, Value
from django.db.models.functions import Concat

from routing.core.record import Outcome
from routing.models import ApiKey, Endpoint, Model, Project, Provider


@dataclass(frozen=True, slots=True)
class Label:
    id: int
    slug: str
    label: str


_NONE = {
    "provider": "No provider answered",
    "endpoint": "No endpoint answered",
    "model": "Unknown model",
    "project": "Unknown project",
    "key": "Unknown key",
}
_GONE = -1  # its endpoint is no longer in the catalog
_OUTCOME_IDS = {outcome.value: number for number, outcome in enumerate(Outcome, start=1)}


def labels_of(dimension: str, keys: Iterable[Any]) -> dict[Any, Label]:
    """For every key one label: also for none (0) and for what is no longer in the catalog."""
    return labels_of_each({dimension: keys})[dimension]


def labels_of_each(keys: Mapping[str, Iterable[Any]]) -> dict[str, dict[Any, Label]]:
    """`labels_of` several dimensions, by one query."""
    wanted = {dimension: set(found) for dimension, found in keys.items()}
    read = _read({name: ids for name, ids in wanted.items() if name != "outcome"})
    return {
        dimension: {
            key: _outcome(key)
            if dimension == "outcome"
            else read[dimension].get(key) or _missing(dimension, key)
            for key in several
        }
        for dimension, several in wanted.items()
    }


def _read(wanted: Mapping[str, set[int]]) -> dict[str, dict[int, Label]]:
    found: defaultdict[str, dict[int, Label]] = defaultdict(dict)
    parts = [_named(dimension, ids - {0}) for dimension, ids in wanted.items() if ids - {0}]
    for dimension, id_, slug, label in parts[0].union(*parts[1:], all=True) if parts else ():
        found[dimension][id_] = Label(id_, slug, label)
    return found


def _missing(dimension: str, key: int) -> Label:
    if key == _GONE:
        return Label(key, "", f"A {dimension} that was removed")
    return Label(key, "", _NONE[dimension] if key == 0 else f"{dimension} {key} (removed)")


def _outcome(value: str) -> Label:
    return Label(_OUTCOME_IDS.get(value, 0), value, value.replace("_", " "))


def _named(dimension: str, ids: set[int]) -> QuerySet[Any, Any]:
    manager, slug, label = _NAMES[dimension]
    named: QuerySet[Any, Any] = (
        manager.filter(id__in=ids).order_by().annotate(of=Value(dimension), as_slug=slug)
    )
    labelled: QuerySet[Any, Any] = named.annotate(as_label=label)
    return labelled.values_list("of", "id", "as_slug", "as_label")


_NAMES: dict[str, tuple[Manager[Any], Any, Any]] = {
    "provider": (Provider.objects, F("slug"), F("name")),
    "model": (Model.objects, F("slug"), F("name")),
    "project": (Project.objects, F("slug"), F("name")),
    "key": (ApiKey.objects, F("start"), F("name")),
    "endpoint": (
        Endpoint.objects,
        Concat("provider__slug", Value(":"), "model__name"),
        Concat("model__name", Value(" at "), "provider__name"),
    ),
}
