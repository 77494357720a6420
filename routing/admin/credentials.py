"""Provider credentials: written here, readable nowhere."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from typing_extensions import override

from routing.admin.base import ModelAdmin, ModelForm, each, person
from routing.models import Credential
from routing.services import credentials
from routing.services.credentials import CredentialRefused, checked_secret


class CredentialForm(ModelForm[Credential]):
    secret = forms.CharField(
        widget=forms.PasswordInput(attrs={"autocomplete": "off"}),
        help_text="The provider's key. It is encrypted at once and never shown again.",
    )

    class Meta:
        model = Credential
        fields = ("provider", "name")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk:
            self.fields["secret"].label = "New secret"
            self.fields["secret"].help_text = "Replaces the stored key and enables it."

    @override
    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        if "secret" in data and not self.errors:
            try:
                checked_secret(data["secret"])
            except CredentialRefused as exc:
                self.add_error("secret", str(exc))
        return data


@admin.register(Credential)
class CredentialAdmin(ModelAdmin[Credential]):
    form = CredentialForm
    list_display = ("provider", "name", "ends_with", "origin", "is_enabled", "sealed_with")
    list_select_related = ("provider",)
    list_filter = ("origin", "provider")
    search_fields = ("name", "provider__name")
    actions = ("disable", "enable")

    @override
    def get_readonly_fields(
        self, request: HttpRequest, obj: Credential | None = None
    ) -> tuple[str, ...]:
        # the secret is sealed for this provider and name
        facts = ("ends_with", "origin", "created_at", "disabled_at", "disabled_reason")
        return ("provider", "name", *facts) if obj else ()

    @admin.display(description="Ends with")
    def ends_with(self, row: Credential) -> str:
        return f"…{row.last4}"

    @admin.display(description="Enabled", boolean=True)
    def is_enabled(self, row: Credential) -> bool:
        return row.disabled_at is None

    @admin.display(description="Sealed with")
    def sealed_with(self, row: Credential) -> str:
        return credentials.key_id_of(row)

    @override
    def save_model(
        self, request: HttpRequest, obj: Credential, form: ModelForm[Credential], change: bool
    ) -> None:
        row = credentials.store_credential(
            provider=obj.provider, name=obj.name, secret=form.cleaned_data["secret"]
        )
        obj.__dict__.update(row.__dict__)

    @admin.action(description="Disable: no request uses it", permissions=["change"])
    def disable(self, request: HttpRequest, rows: QuerySet[Credential]) -> None:
        for row in rows:
            credentials.disable_credential(row, reason=f"by {person(request).get_username()}")
            self.log_change(request, row, "disabled")
        self.message_user(request, f"disabled: {each(str(row) for row in rows)}", messages.SUCCESS)

    @admin.action(description="Enable", permissions=["change"])
    def enable(self, request: HttpRequest, rows: QuerySet[Credential]) -> None:
        for row in rows:
            credentials.enable_credential(row)
            self.log_change(request, row, "enabled")
        self.message_user(request, f"enabled: {each(str(row) for row in rows)}", messages.SUCCESS)
