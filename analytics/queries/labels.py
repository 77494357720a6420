"""What groups are called. The log keeps ids alone: names come from the catalog of today."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

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
    wanted = set(keys)
    if dimension == "outcome":
        return {key: _outcome(key) for key in wanted}
    found = {label.id: label for label in _LOOKUPS[dimension](wanted - {0})} if wanted else {}
    return {key: found.get(key) or _missing(dimension, key) for key in wanted}


def _missing(dimension: str, key: int) -> Label:
    if key == _GONE:
        return Label(key, "", f"A {dimension} that was removed")
    return Label(key, "", _NONE[dimension] if key == 0 else f"{dimension} {key} (removed)")


def _outcome(value: str) -> Label:
    return Label(_OUTCOME_IDS.get(value, 0), value, value.replace("_", " "))


def _providers(ids: set[int]) -> Iterable[Label]:
    rows = Provider.objects.filter(id__in=ids).values_list("id", "slug", "name")
    return (Label(*row) for row in rows)


def _models(ids: set[int]) -> Iterable[Label]:
    rows = Model.objects.filter(id__in=ids).values_list("id", "slug", "name")
    return (Label(*row) for row in rows)


def _projects(ids: set[int]) -> Iterable[Label]:
    rows = Project.objects.filter(id__in=ids).values_list("id", "slug", "name")
    return (Label(*row) for row in rows)


def _keys(ids: set[int]) -> Iterable[Label]:
    rows = ApiKey.objects.filter(id__in=ids).values_list("id", "start", "name")
    return (Label(*row) for row in rows)


def _endpoints(ids: set[int]) -> Iterable[Label]:
    rows = Endpoint.objects.filter(id__in=ids).values_list(
        "id", "provider__slug", "model__name", "provider__name"
    )
    return (
        Label(id_, f"{provider}:{model}", f"{model} at {name}")
        for id_, provider, model, name in rows
    )


_LOOKUPS: dict[str, Callable[[set[int]], Iterable[Label]]] = {
    "provider": _providers,
    "model": _models,
    "project": _projects,
    "key": _keys,
    "endpoint": _endpoints,
}
