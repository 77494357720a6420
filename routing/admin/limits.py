"""Rate limits: each save is a new row, so that the list is the history."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.db.models import Max, QuerySet
from django.http import HttpRequest
from django.utils.functional import cached_property
from typing_extensions import override

from routing.admin.base import HistoryAdmin, ModelForm, person
from routing.models import Limit
from routing.services import limits
from routing.services.limits import CAPS


class LimitForm(ModelForm[Limit]):
    class Meta:
        model = Limit
        fields = ("key", "project", *CAPS, "note")

    @cached_property
    def caps(self) -> dict[str, int | None]:
        return {name: self.cleaned_data.get(name) for name in CAPS}

    @override
    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        if not self.errors:
            found = limits.check(key=data.get("key"), project=data.get("project"), caps=self.caps)
            for field, message in found:
                self.add_error(field or None, message)
        return data


@admin.register(Limit)
class LimitAdmin(HistoryAdmin[Limit]):
    form = LimitForm
    fields = ("key", "project", *CAPS, "note")
    list_display = ("subject", "sentence", "holds", "note", "created_by", "created_at")
    list_select_related = ("key__project", "project", "created_by")
    list_filter = ("project",)
    search_fields = ("key__name", "project__name", "project__slug", "note")
    autocomplete_fields = ("key", "project")

    @override
    def get_queryset(self, request: HttpRequest) -> QuerySet[Limit]:
        rows: QuerySet[Limit] = super().get_queryset(request)
        return rows.annotate(
            newest_of_key=Max("key__limits__pk"), newest_of_project=Max("project__limits__pk")
        )

    @override
    def has_change_permission(self, request: HttpRequest, obj: Limit | None = None) -> bool:
        return False

    @admin.display(description="Of")
    def subject(self, row: Limit) -> str:
        if row.key is not None:
            return f"key {row.key.name} of {row.key.project}"
        return f"project {row.project}"

    @admin.display(description="In words")
    def sentence(self, row: Limit) -> str:
        return limits.explain(row)

    @admin.display(description="Holds now", boolean=True)
    def holds(self, row: Limit) -> bool:
        return row.pk in (row.newest_of_key, row.newest_of_project)  # type: ignore[attr-defined]

    @override
    def save_model(
        self, request: HttpRequest, obj: Limit, form: ModelForm[Limit], change: bool
    ) -> None:
        assert isinstance(form, LimitForm)
        saved = limits.set_limit(
            key=obj.key, project=obj.project, user=person(request), note=obj.note, **form.caps
        )
        obj.__dict__.update(saved.__dict__)
        self.message_user(
            request, f"Live within 2 seconds: {limits.explain(saved)}", messages.SUCCESS
        )
        for warning in limits.warnings(key=obj.key, caps=form.caps):
            self.message_user(request, warning, messages.WARNING)
