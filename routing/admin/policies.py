"""Routing policies: a typed form, validated and explained by the service that saves it."""

from __future__ import annotations

import json
from typing import Any

import msgspec
from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from typing_extensions import override

from routing.admin.base import HistoryAdmin, ModelForm, ReadOnlyInline, person
from routing.core.catalog import PolicyDocument
from routing.core.objectives import OBJECTIVES
from routing.models import Policy, PolicyVersion
from routing.services import policies
from routing.services.policies import PolicyInvalid
from routing.services.policy_rules import MOST_ATTEMPTS

LISTS = ("order", "only", "ignore", "quantizations", "regions")
PRICES = ("max_price_input", "max_price_output")
SLUGS = "provider slugs, separated by commas"
OWN_FIELDS = frozenset({"objective", "weights", "allow_fallbacks", "max_attempts", *LISTS, *PRICES})


class PolicyForm(ModelForm[Policy]):
    objective = forms.ChoiceField(
        choices=[(name, name) for name in OBJECTIVES if name != "preferred"], initial="balanced"
    )
    order = forms.CharField(required=False, help_text=f"{SLUGS}: tried in this order")
    only = forms.CharField(required=False, help_text=f"{SLUGS}; empty means all")
    ignore = forms.CharField(required=False, help_text=SLUGS)
    weights = forms.CharField(
        required=False, help_text='for the objective "weighted": groq=3, together=1'
    )
    max_price_input = forms.CharField(required=False, help_text="US dollars per 1M input tokens")
    max_price_output = forms.CharField(required=False, help_text="US dollars per 1M output tokens")
    quantizations = forms.CharField(required=False, help_text="fp8, bf16, ...; empty means all")
    regions = forms.CharField(required=False, help_text="empty means all")
    more = forms.JSONField(
        required=False,
        widget=forms.Textarea(attrs={"rows": 8}),
        help_text=(
            "every other setting as JSON: slo, canary, stable_by, data_collection, zdr, "
            "require_parameters, max_price_request, max_price_image, shadow, "
            "exploration, sticky_s, rules"
        ),
    )
    allow_fallbacks = forms.BooleanField(required=False, initial=True)
    max_attempts = forms.IntegerField(min_value=1, max_value=MOST_ATTEMPTS, initial=3)
    make_default = forms.BooleanField(
        required=False, help_text="for requests whose key and project have no policy of their own"
    )

    class Meta:
        model = Policy
        fields = ("name", "description")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk and self.instance.current:
            self.initial.update(_as_fields(self.instance.current.document))
            self.initial["make_default"] = self.instance.is_default

    @override
    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        if self.errors:
            return data
        try:
            policies.check(data.get("name") or self.instance.name, self.document())
        except PolicyInvalid as exc:
            for field, message in exc.problems:
                self.add_error(self._place_of(field), message)
        return data

    def _place_of(self, field: str) -> str | None:
        if field in PolicyDocument.__struct_fields__ and field not in OWN_FIELDS:
            return "more"
        return field if field in self.fields else None

    def document(self) -> dict[str, Any]:
        data = self.cleaned_data
        return {
            **(data["more"] or {}),
            "objective": data["objective"],
            **{name: _split(data[name]) for name in LISTS},
            **{name: data[name].strip() or None for name in PRICES},
            "weights": _weights(data["weights"]),
            "allow_fallbacks": data["allow_fallbacks"],
            "max_attempts": data["max_attempts"],
        }

    def clean_more(self) -> dict[str, Any]:
        more: Any = self.cleaned_data["more"] or {}
        if not isinstance(more, dict):
            raise forms.ValidationError('write an object such as {"zdr": true}')
        if twice := sorted(OWN_FIELDS & more.keys()):
            raise forms.ValidationError(f"{', '.join(twice)}: use the field of that name")
        return more

    def clean_weights(self) -> str:
        text: str = self.cleaned_data["weights"]
        try:
            _weights(text)
        except ValueError:
            raise forms.ValidationError("write shares as groq=3, together=1") from None
        return text


def _as_fields(document: dict[str, Any]) -> dict[str, Any]:
    typed = msgspec.convert(document, PolicyDocument)
    return {
        "objective": "ordered" if typed.objective == "preferred" else typed.objective,
        **{name: ", ".join(getattr(typed, name)) for name in LISTS},
        **{name: getattr(typed, name) or "" for name in PRICES},
        "weights": ", ".join(f"{slug}={share}" for slug, share in typed.weights.items()),
        "allow_fallbacks": typed.allow_fallbacks,
        "max_attempts": typed.max_attempts,
        "more": _more(typed),
    }


def _more(typed: PolicyDocument) -> dict[str, Any]:
    """The settings without a field of their own, as far as they differ from the defaults."""
    plain, usual = msgspec.to_builtins(typed), msgspec.to_builtins(PolicyDocument())
    return {
        name: value
        for name, value in plain.items()
        if name not in OWN_FIELDS and value != usual[name]
    }


def _split(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _weights(text: str) -> dict[str, int]:
    pairs = [part.partition("=") for part in _split(text)]
    return {slug.strip(): int(share) for slug, _, share in pairs}


class VersionInline(ReadOnlyInline):
    model = PolicyVersion
    fk_name = "policy"
    verbose_name_plural = "versions"
    fields = ("version", "created_at", "created_by", "sentence")

    @admin.display(description="In words")
    def sentence(self, row: PolicyVersion) -> str:
        return policies.explain(row.document)


@admin.register(Policy)
class PolicyAdmin(HistoryAdmin[Policy]):
    form = PolicyForm
    inlines = (VersionInline,)
    list_display = ("name", "is_default", "current_version", "sentence", "archived_at")
    list_select_related = ("current",)
    search_fields = ("name", "description")
    actions = ("archive",)

    @override
    def get_readonly_fields(
        self, request: HttpRequest, obj: Policy | None = None
    ) -> tuple[str, ...]:
        return ("name", "sentence", "as_json", "exploring") if obj else ()

    @override
    def get_fieldsets(self, request: HttpRequest, obj: Policy | None = None) -> Any:
        now = [("Now", {"fields": ("sentence", "as_json", "exploring")})] if obj else []
        return [
            (None, {"fields": ("name", "description", "make_default")}),
            *now,
            ("Which endpoint first", {"fields": ("objective", "order", "weights")}),
            (
                "Which endpoints at all",
                {"fields": ("only", "ignore", *PRICES, "quantizations", "regions")},
            ),
            ("When one fails", {"fields": ("allow_fallbacks", "max_attempts")}),
            ("More", {"fields": ("more",)}),
        ]

    @admin.display(description="Exploring")
    def exploring(self, row: Policy) -> SafeString:
        page = reverse("policy", args=[row.name])
        return format_html('<a href="{}">its share and what it costs</a>', page)

    @admin.display(description="Version")
    def current_version(self, row: Policy) -> int | None:
        return row.current.version if row.current else None

    @admin.display(description="In words")
    def sentence(self, row: Policy) -> str:
        return policies.explain(row.current.document) if row.current else ""

    @admin.display(description="As JSON")
    def as_json(self, row: Policy) -> SafeString:
        document = row.current.document if row.current else {}
        return format_html("<pre>{}</pre>", json.dumps(document, indent=2))

    @override
    def save_model(
        self, request: HttpRequest, obj: Policy, form: ModelForm[Policy], change: bool
    ) -> None:
        assert isinstance(form, PolicyForm)
        before = obj.current_id
        version = policies.save_policy(
            name=obj.name,
            document=form.document(),
            user=person(request),
            description=obj.description,
            is_default=form.cleaned_data["make_default"],
        )
        obj.__dict__.update(Policy.objects.get(pk=version.policy_id).__dict__)
        self._tell(request, version, is_new=version.pk != before)

    def _tell(self, request: HttpRequest, version: PolicyVersion, *, is_new: bool) -> None:
        review = policies.review(version.document)
        what = f"Version {version.version} is live" if is_new else "The rules are unchanged"
        self.message_user(
            request,
            f"{what}: {review.sentence} It leaves {review.endpoints_left} endpoints "
            f"of {review.models_left} models.",
            messages.SUCCESS,
        )
        for warning in review.warnings:
            self.message_user(request, warning, messages.WARNING)

    @admin.action(description="Archive: keep the history, route no more", permissions=["change"])
    def archive(self, request: HttpRequest, rows: QuerySet[Policy]) -> None:
        for row in rows:
            try:
                policies.archive_policy(row)
            except PolicyInvalid as exc:
                self.message_user(request, str(exc), messages.ERROR)
            else:
                self.log_change(request, row, "archived")
                self.message_user(request, f"{row.name} is archived", messages.SUCCESS)
