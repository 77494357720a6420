"""The price history: read-only; new rows are proposed, held ones are decided."""

from __future__ import annotations

import datetime as dt
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from typing_extensions import override

from routing.admin.base import HistoryAdmin, ModelForm, person
from routing.catalog.document import WEEKDAYS
from routing.core.usage import Meter
from routing.models import Price
from routing.services.prices import (
    BY_HAND,
    Outcome,
    PriceRefused,
    Quote,
    approve_price,
    check_quote,
    propose_price,
    reject_price,
)


class NewPriceForm(ModelForm[Price]):
    """A dated row, entered by hand."""

    meter = forms.ChoiceField(choices=[(meter.value, meter.value) for meter in Meter])
    unit_price_usd = forms.DecimalField(
        label="US dollars",
        min_value=0,
        max_digits=24,
        decimal_places=12,
        help_text="per 1,000,000 for token meters, per piece otherwise",
    )
    utc_from = forms.TimeField(
        label="From, UTC",
        required=False,
        help_text="with an end: a daily window; may pass midnight",
    )
    utc_until = forms.TimeField(label="Until, UTC", required=False)
    days = forms.MultipleChoiceField(
        choices=[(name, name) for name in WEEKDAYS],
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text="none ticked means every day",
    )

    class Meta:
        model = Price
        fields = (
            "endpoint",
            "meter",
            "unit_price_usd",
            "effective_from",
            "min_input_tokens",
            "service_tier",
            "source_url",
            "note",
        )

    @override
    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        if not self.errors:
            try:
                check_quote(self.quote())
            except PriceRefused as exc:
                raise forms.ValidationError(str(exc)) from None
        return data

    def quote(self) -> Quote:
        data = self.cleaned_data
        return Quote(
            meter=data["meter"],
            usd=data["unit_price_usd"],
            source=BY_HAND,
            effective_from=data["effective_from"],
            checked_on=timezone.now().date(),
            min_input_tokens=data.get("min_input_tokens") or 0,
            service_tier=data.get("service_tier") or "",
            utc_from_minute=_minute(data.get("utc_from")),
            utc_until_minute=_minute(data.get("utc_until")),
            weekdays=sum(1 << WEEKDAYS.index(day) for day in data.get("days") or ()),
            source_url=data.get("source_url") or "",
            note=data.get("note") or "",
        )


def _minute(clock: dt.time | None) -> int | None:
    return None if clock is None else clock.hour * 60 + clock.minute


@admin.register(Price)
class PriceAdmin(HistoryAdmin[Price]):
    list_display = ("endpoint", "meter", "usd", "effective_from", "state", "source", "note")
    list_select_related = ("endpoint__model", "endpoint__provider")
    list_filter = ("state", "meter", "source", "endpoint__provider")
    search_fields = ("endpoint__model__name", "endpoint__provider__name")
    ordering = ("-effective_from", "-pk")
    autocomplete_fields = ("endpoint",)
    actions = ("approve", "reject")

    @override
    def get_form(
        self, request: HttpRequest, obj: Price | None = None, change: bool = False, **kwargs: Any
    ) -> type[ModelForm[Price]]:
        if obj is None:
            kwargs["form"] = NewPriceForm
        return super().get_form(request, obj, change=change, **kwargs)

    @override
    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        return {"effective_from": timezone.now(), **super().get_changeform_initial_data(request)}

    @override
    def has_change_permission(self, request: HttpRequest, obj: Price | None = None) -> bool:
        return False

    def has_decide_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("routing.change_price")

    @override
    def save_model(
        self, request: HttpRequest, obj: Price, form: ModelForm[Price], change: bool
    ) -> None:
        assert isinstance(form, NewPriceForm)
        proposal = propose_price(endpoint=obj.endpoint, quote=form.quote())
        if proposal.outcome is Outcome.UNCHANGED:
            row = Price.objects.filter(endpoint=obj.endpoint, meter=obj.meter).latest("pk")
            self.message_user(
                request, "This price is in force already: nothing was added.", messages.WARNING
            )
        else:
            row = proposal.row
        if proposal.outcome is Outcome.HELD:
            self.message_user(
                request, f"It waits for approval: {proposal.reason}.", messages.WARNING
            )
        obj.__dict__.update(row.__dict__)

    @admin.display(description="USD", ordering="unit_price_usd")
    def usd(self, row: Price) -> str:
        return f"{row.unit_price_usd.normalize():f}"

    @admin.action(description="Approve pending prices", permissions=["decide"])
    def approve(self, request: HttpRequest, rows: QuerySet[Price]) -> None:
        self._decide(request, rows, approve_price, "approved")

    @admin.action(description="Reject pending prices", permissions=["decide"])
    def reject(self, request: HttpRequest, rows: QuerySet[Price]) -> None:
        self._decide(request, rows, reject_price, "rejected")

    def _decide(self, request: HttpRequest, rows: QuerySet[Price], decide: Any, word: str) -> None:
        done = 0
        for row in rows:
            try:
                decide(row, decided_by=person(request).get_username())
            except PriceRefused as exc:
                self.message_user(request, f"{row}: {exc}", messages.WARNING)
            else:
                self.log_change(request, row, word)
                done += 1
        if done:
            self.message_user(request, f"{done} prices {word}", messages.SUCCESS)
