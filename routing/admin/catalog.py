"""Providers, models and endpoints."""

from __future__ import annotations

from typing import Any

import msgspec
from django import forms
from django.contrib import admin, messages
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest
from typing_extensions import override

from routing.adapters.quirks import quirks_from
from routing.adapters.registry import DIALECTS
from routing.admin.base import EditedHereAdmin, HistoryAdmin, ModelForm, ReadOnlyInline, each
from routing.catalog.document import Listing, Promises
from routing.core.catalog import CAPABILITIES
from routing.models import Endpoint, Model, Price, Provider
from routing.services.addresses import AddressRefused, checked_base_url
from routing.services.catalog_rules import model_slug, unknown
from routing.services.listings import KINDS


class ProviderForm(ModelForm[Provider]):
    dialect = forms.ChoiceField(choices=[(name, name) for name in sorted(DIALECTS)])

    class Meta:
        model = Provider
        fields = (
            "slug",
            "name",
            "dialect",
            "base_url",
            "homepage",
            "lifecycle",
            "key_env",
            "quirks",
            "listing",
            "data_policy",
            "source",
            "checked_on",
        )

    def clean_data_policy(self) -> dict[str, Any]:
        promises: dict[str, Any] = self.cleaned_data["data_policy"] or {}
        try:
            msgspec.convert(promises, Promises)
        except msgspec.ValidationError as exc:
            raise forms.ValidationError(str(exc)) from None
        return promises

    def clean_base_url(self) -> str:
        try:
            return checked_base_url(self.cleaned_data["base_url"])
        except AddressRefused as exc:
            raise forms.ValidationError(str(exc)) from None

    def clean_quirks(self) -> dict[str, Any]:
        quirks: dict[str, Any] = self.cleaned_data["quirks"] or {}
        try:
            quirks_from(quirks)
        except msgspec.ValidationError as exc:
            raise forms.ValidationError(str(exc)) from None
        return quirks

    def clean_listing(self) -> dict[str, Any]:
        listing: dict[str, Any] = self.cleaned_data["listing"] or {}
        if not listing:
            return listing
        try:
            kind = msgspec.convert(listing, Listing).kind
        except msgspec.ValidationError as exc:
            raise forms.ValidationError(str(exc)) from None
        if kind not in KINDS:
            raise forms.ValidationError(unknown("listing kind", kind, KINDS))
        return listing


@admin.register(Provider)
class ProviderAdmin(EditedHereAdmin[Provider], HistoryAdmin[Provider]):
    form = ProviderForm
    switches = frozenset({"lifecycle"})
    list_display = (
        "name",
        "slug",
        "dialect",
        "lifecycle",
        "served_by",
        "endpoint_count",
        "has_key",
    )
    list_filter = ("lifecycle", "dialect")
    search_fields = ("name", "slug")
    actions = ("pause", "resume", "follow_catalog")

    @override
    def get_readonly_fields(
        self, request: HttpRequest, obj: Provider | None = None
    ) -> tuple[str, ...]:
        # credentials are sealed for the slug, so it never changes
        return ("slug", "simulated_base_url") if obj else ()

    @override
    def get_queryset(self, request: HttpRequest) -> QuerySet[Provider]:
        rows: QuerySet[Provider] = super().get_queryset(request)
        usable = Q(credentials__disabled_at=None)
        return rows.annotate(
            n_endpoints=Count("endpoints", distinct=True),
            n_keys=Count("credentials", filter=usable, distinct=True),
        )

    @admin.display(description="Served by")
    def served_by(self, row: Provider) -> str:
        return "simulator" if row.is_simulated else "provider"

    @admin.display(description="Endpoints", ordering="n_endpoints")
    def endpoint_count(self, row: Provider) -> int:
        return int(row.n_endpoints)  # type: ignore[attr-defined]

    @admin.display(description="Key", boolean=True)
    def has_key(self, row: Provider) -> bool:
        return bool(row.n_keys)  # type: ignore[attr-defined]

    @admin.action(description="Pause: route nothing there", permissions=["change"])
    def pause(self, request: HttpRequest, rows: QuerySet[Provider]) -> None:
        _set(self, request, rows, "lifecycle", Provider.Lifecycle.PAUSED)

    @admin.action(description="Resume", permissions=["change"])
    def resume(self, request: HttpRequest, rows: QuerySet[Provider]) -> None:
        _set(self, request, rows, "lifecycle", Provider.Lifecycle.ACTIVE)

    @admin.action(description="Follow catalog files again", permissions=["change"])
    def follow_catalog(self, request: HttpRequest, rows: QuerySet[Provider]) -> None:
        _set(self, request, rows, "source", "")


class NamedModelForm(ModelForm[Model]):
    class Meta:
        model = Model
        fields = (
            "name",
            "title",
            "maker",
            "description",
            "input_modalities",
            "output_modalities",
            "released_on",
            "aliases",
            "source",
            "checked_on",
        )

    def clean_name(self) -> str:
        name: str = self.cleaned_data["name"]
        slug = model_slug(name)
        if not slug or any(character.isspace() for character in name):
            raise forms.ValidationError("write it as org/Name, without blanks")
        if Model.objects.filter(slug=slug).exclude(pk=self.instance.pk).exists():
            raise forms.ValidationError(f"another model already has the address {slug}")
        return name


@admin.register(Model)
class ModelModelAdmin(EditedHereAdmin[Model], HistoryAdmin[Model]):
    form = NamedModelForm
    list_display = ("name", "title", "maker", "endpoint_count", "released_on", "checked_on")
    list_filter = ("maker",)
    search_fields = ("name", "title", "maker")
    actions = ("follow_catalog",)

    @override
    def get_queryset(self, request: HttpRequest) -> QuerySet[Model]:
        rows: QuerySet[Model] = super().get_queryset(request)
        return rows.annotate(n_endpoints=Count("endpoints"))

    @admin.display(description="Endpoints", ordering="n_endpoints")
    def endpoint_count(self, row: Model) -> int:
        return int(row.n_endpoints)  # type: ignore[attr-defined]

    @override
    def save_model(
        self, request: HttpRequest, obj: Model, form: ModelForm[Model], change: bool
    ) -> None:
        obj.slug = model_slug(obj.name)
        super().save_model(request, obj, form, change)

    @admin.action(description="Follow catalog files again", permissions=["change"])
    def follow_catalog(self, request: HttpRequest, rows: QuerySet[Model]) -> None:
        _set(self, request, rows, "source", "")


class EndpointForm(ModelForm[Endpoint]):
    capabilities = forms.MultipleChoiceField(
        choices=[(name, name) for name in sorted(CAPABILITIES)],
        required=False,
        widget=forms.CheckboxSelectMultiple,
    )

    class Meta:
        model = Endpoint
        fields = (
            "provider",
            "model",
            "upstream_model",
            "region",
            "quantization",
            "context_window",
            "max_output_tokens",
            "capabilities",
            "is_free",
            "status",
            "retires_on",
            "source",
            "checked_on",
        )


class PriceInline(ReadOnlyInline):
    model = Price
    verbose_name_plural = "price history"
    fields = ("meter", "unit_price_usd", "effective_from", "state", "source", "note")
    ordering = ("meter", "-effective_from")


@admin.register(Endpoint)
class EndpointAdmin(EditedHereAdmin[Endpoint], HistoryAdmin[Endpoint]):
    form = EndpointForm
    inlines = (PriceInline,)
    switches = frozenset({"status"})
    list_display = ("model", "provider", "upstream_model", "region", "status", "is_free")
    list_select_related = ("model", "provider")
    list_filter = ("status", "provider", "is_free")
    search_fields = ("model__name", "provider__name", "provider__slug", "upstream_model")
    autocomplete_fields = ("model", "provider")
    actions = ("pause", "resume", "follow_catalog")

    @admin.action(description="Pause: route nothing there", permissions=["change"])
    def pause(self, request: HttpRequest, rows: QuerySet[Endpoint]) -> None:
        _set(self, request, rows, "status", Endpoint.Status.PAUSED)

    @admin.action(description="Resume", permissions=["change"])
    def resume(self, request: HttpRequest, rows: QuerySet[Endpoint]) -> None:
        _set(self, request, rows, "status", Endpoint.Status.ACTIVE)

    @admin.action(description="Follow catalog files again", permissions=["change"])
    def follow_catalog(self, request: HttpRequest, rows: QuerySet[Endpoint]) -> None:
        _set(self, request, rows, "source", "")


def _set(
    page: admin.ModelAdmin[Any], request: HttpRequest, rows: QuerySet[Any], field: str, value: str
) -> None:
    names = [str(row) for row in rows]
    rows.model.objects.filter(pk__in=[row.pk for row in rows]).update(**{field: value})
    for row in rows.model.objects.filter(pk__in=[row.pk for row in rows]):
        page.log_change(request, row, f"{field} set to {value or 'the catalog'}")
    page.message_user(
        request, f"{field} is now {value or 'the catalog'}: {each(names)}", messages.SUCCESS
    )
