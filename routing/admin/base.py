"""What the admin pages share. django-unfold gives the look and carries no types of its own."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, TypeVar

from django.contrib.auth.models import AnonymousUser, User
from django.db.models import Model
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from typing_extensions import override

if TYPE_CHECKING:
    from django.contrib.admin import ModelAdmin, TabularInline
    from django.forms import ModelForm
else:
    from django import forms
    from unfold import admin as unfold
    from unfold import widgets

    class _Generic:
        """Lets a class name the model it is for, which Django's own classes take from stubs alone."""

        def __class_getitem__(cls, of: object) -> type:
            return cls

    class ModelAdmin(_Generic, unfold.ModelAdmin):
        pass

    class TabularInline(_Generic, unfold.TabularInline):
        pass

    class ModelForm(_Generic, forms.ModelForm):
        """Gives declared fields the look that fields of the model have anyway."""

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            for field in self.fields.values():
                if (look := _LOOKS.get(type(field.widget))) is not None:
                    field.widget = look(attrs=field.widget.attrs)
                    field.widget.is_required = field.required
                    if isinstance(field, forms.ChoiceField):
                        field.widget.choices = field.choices

    _LOOKS = {
        forms.TextInput: widgets.UnfoldAdminTextInputWidget,
        forms.NumberInput: widgets.UnfoldAdminIntegerFieldWidget,
        forms.TimeInput: widgets.UnfoldAdminSingleTimeWidget,
        forms.PasswordInput: widgets.UnfoldAdminPasswordWidget,
        forms.Select: widgets.UnfoldAdminSelectWidget,
        forms.CheckboxInput: widgets.UnfoldBooleanSwitchWidget,
        forms.CheckboxSelectMultiple: widgets.UnfoldAdminCheckboxSelectMultipleWidget,
    }


__all__ = [
    "EditedHereAdmin",
    "HistoryAdmin",
    "ModelAdmin",
    "ModelForm",
    "ReadOnlyInline",
    "TabularInline",
]

M = TypeVar("M", bound=Model)
EDITED_HERE = "admin"


class HistoryAdmin(ModelAdmin[M]):
    """Rows that the rest of the hub refers to for ever: never deleted."""

    @override
    def has_delete_permission(self, request: HttpRequest, obj: M | None = None) -> bool:
        return False


class EditedHereAdmin(ModelAdmin[M]):
    """Catalog facts: a change marks the row, so that loading a catalog leaves it alone.

    `switches` are fields that catalog files respect anyway, such as a pause.
    """

    switches: frozenset[str] = frozenset()

    @override
    def save_model(self, request: HttpRequest, obj: M, form: ModelForm[M], change: bool) -> None:
        if set(form.changed_data) - self.switches - {"source"}:
            obj.source = EDITED_HERE  # type: ignore[attr-defined]
        super().save_model(request, obj, form, change)


class ReadOnlyInline(TabularInline[Model, Model]):
    extra = 0
    can_delete = False

    @override
    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> Any:
        return self.fields or ()

    @override
    def has_add_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    @override
    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


def person(request: HttpRequest) -> User:
    assert not isinstance(request.user, AnonymousUser)  # the admin asked already
    return request.user


def shown_once(
    request: HttpRequest, context: dict[str, Any], *, secret: str, name: str, use: str, obj: Model
) -> HttpResponse:
    """The only page that ever shows a new token. Like all of the admin it is not cached."""
    meta = obj._meta
    return TemplateResponse(
        request,
        "admin/shown_once.html",
        {
            **context,
            "title": f"New {meta.verbose_name}",
            "secret": secret,
            "name": name,
            "use": use,
            "opts": meta,
            "list_url": reverse(f"admin:{meta.app_label}_{meta.model_name}_changelist"),
        },
    )


def each(names: Iterable[str]) -> str:
    found = list(names)
    return ", ".join(found[:5]) + (f" and {len(found) - 5} more" if len(found) > 5 else "")
