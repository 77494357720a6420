"""The query parameters of each resource. An unknown one is refused, never ignored."""

from __future__ import annotations

import datetime as dt
from typing import Any

from django.utils import timezone
from rest_framework import serializers
from rest_framework.request import Request
from typing_extensions import override

from analytics.queries.types import Filters, Period, Scope, ceil_to_cell
from routing.core.record import Outcome
from routing.models import ApiKey, Model, Project, Provider

DIMENSIONS = ("day", "provider", "model", "project", "key")
KINDS = ("all", "traffic", "playground", "batch", "probe", "shadow", "replay")
MAX_DAYS = 400


class StrictQuery(serializers.Serializer[Any]):
    """Knows `format`, which the content negotiation reads, besides its own fields."""

    @override
    def to_internal_value(self, data: Any) -> Any:
        unknown = sorted(set(data) - set(self.fields) - {"format"})
        if unknown:
            known = ", ".join([*self.fields, "format"])
            raise serializers.ValidationError(
                dict.fromkeys(unknown, f"Unknown parameter. There are: {known}.")
            )
        return super().to_internal_value(data)


class PeriodQuery(StrictQuery):
    start = serializers.DateTimeField(
        required=False,
        default_timezone=dt.UTC,
        help_text="RFC 3339, inclusive, on a quarter of an hour.",
    )
    end = serializers.DateTimeField(
        required=False,
        default_timezone=dt.UTC,
        help_text="RFC 3339, exclusive, on a quarter of an hour.",
    )
    provider = serializers.SlugField(required=False, default="", help_text="Slug of a provider.")
    model = serializers.CharField(
        required=False, default="", help_text="Canonical name, such as openai/gpt-oss-120b."
    )
    project = serializers.SlugField(required=False, help_text="Slug of a project.")
    key = serializers.IntegerField(required=False, help_text="Id of an API key.")
    cursor = serializers.CharField(
        required=False, default="", help_text="`next_cursor` of the page before."
    )

    def validate_start(self, value: dt.datetime) -> dt.datetime:
        return _on_a_quarter(value)

    def validate_end(self, value: dt.datetime) -> dt.datetime:
        return _on_a_quarter(value)

    def validate_provider(self, value: str) -> str:
        return _in_catalog(Provider, slug=value)

    def validate_model(self, value: str) -> str:
        return _in_catalog(Model, name=value)

    @override
    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        start, end = attrs.get("start"), attrs.get("end")
        if start and end and not start < end:
            raise serializers.ValidationError({"end": "Must be later than start."})
        if start and end and end - start > dt.timedelta(days=MAX_DAYS):
            raise serializers.ValidationError({"end": f"At most {MAX_DAYS} days after start."})
        return attrs


class UsageQuery(PeriodQuery):
    group_by = serializers.CharField(
        required=False,
        default="day",
        help_text=f"One or more of {', '.join(DIMENSIONS)}, separated by commas.",
    )
    kind = serializers.ChoiceField(
        choices=KINDS, required=False, default="all", help_text="Whose requests; all by default."
    )
    limit = serializers.IntegerField(
        required=False, default=1000, min_value=1, max_value=10_000, help_text="Rows of a page."
    )

    def validate_group_by(self, value: str) -> tuple[str, ...]:
        names = tuple(dict.fromkeys(name.strip() for name in value.split(",") if name.strip()))
        unknown = [name for name in names if name not in DIMENSIONS]
        if unknown or not names:
            raise serializers.ValidationError(
                f"Unknown: {', '.join(unknown) or 'nothing'}. There are: {', '.join(DIMENSIONS)}."
            )
        return names


class RequestsQuery(PeriodQuery):
    outcome = serializers.ChoiceField(
        choices=[outcome.value for outcome in Outcome], required=False, default=""
    )
    kind = serializers.ChoiceField(choices=KINDS, required=False, default="all")
    limit = serializers.IntegerField(required=False, default=50, min_value=1, max_value=500)


class NoQuery(StrictQuery):
    """For resources without parameters."""


def _in_catalog(model: type[Provider] | type[Model], **wanted: str) -> str:
    (name,) = wanted.values()
    if name and not model._default_manager.filter(**wanted).exists():
        raise serializers.ValidationError(f"There is no {model._meta.verbose_name} {name}.")
    return name


def _on_a_quarter(value: dt.datetime) -> dt.datetime:
    value = value.astimezone(dt.UTC)
    if ceil_to_cell(value) != value:
        nearest = ceil_to_cell(value).isoformat().replace("+00:00", "Z")
        raise serializers.ValidationError(
            f"Figures come in quarters of an hour: use one, such as {nearest}."
        )
    return value


def read(query: type[StrictQuery], request: Request) -> dict[str, Any]:
    """Raises ValidationError naming each wrong parameter."""
    given = {name: values[-1] for name, values in request.query_params.lists()}
    for name, values in request.query_params.lists():
        if name == "group_by":
            given[name] = ",".join(values)
    found = query(data=given)
    found.is_valid(raise_exception=True)
    return dict(found.validated_data)


def filters_of(found: dict[str, Any], scope: Scope, default_start: dt.datetime) -> Filters:
    """Raises ValidationError for a project or key that the token's organization does not have."""
    end = found.get("end") or ceil_to_cell(timezone.now())
    start = found.get("start") or min(default_start, end)
    return Filters(
        scope=scope,
        period=Period(start, end),
        provider=found["provider"],
        model=found["model"],
        project_id=_project(found.get("project"), scope),
        key_id=_key(found.get("key"), scope),
        kind=found.get("kind", "all"),
        outcome=found.get("outcome", ""),
    )


def _project(slug: str | None, scope: Scope) -> int | None:
    if slug is None:
        return None
    rows = Project.objects.filter(id__in=scope.project_ids or (), slug=slug)
    found = rows.values_list("id", flat=True).first()
    if found is None:
        raise serializers.ValidationError({"project": f"There is no project {slug}."})
    return found


def _key(key_id: int | None, scope: Scope) -> int | None:
    if key_id is None:
        return None
    if not ApiKey.objects.filter(id=key_id, project_id__in=scope.project_ids or ()).exists():
        raise serializers.ValidationError({"key": f"There is no key {key_id}."})
    return key_id
