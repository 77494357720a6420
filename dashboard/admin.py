"""Users and groups in the admin's look; what has no use here is taken out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.apps import apps
from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group, User
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

if TYPE_CHECKING:
    UserBase = DjangoUserAdmin[User]
    GroupBase = DjangoGroupAdmin
else:
    from unfold.admin import ModelAdmin

    class UserBase(DjangoUserAdmin, ModelAdmin):
        pass

    class GroupBase(DjangoGroupAdmin, ModelAdmin):
        pass


# The schedule is code (dashboard.schedule), and results are not kept.
RESTYLED_OR_UNUSED: tuple[str, ...] = ("auth", "django_celery_beat", "django_celery_results")
for label in RESTYLED_OR_UNUSED:
    for model in apps.get_app_config(label).get_models():
        if admin.site.is_registered(model):
            admin.site.unregister(model)


@admin.register(User)
class UserAdmin(UserBase):
    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm


@admin.register(Group)
class GroupAdmin(GroupBase):
    pass
