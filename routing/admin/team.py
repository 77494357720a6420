"""Organizations, projects, members, and the tokens that act for them."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from typing_extensions import override

from routing.admin.base import HistoryAdmin, ModelForm, TabularInline, each, person, shown_once
from routing.models import AccessToken, ApiKey, Membership, Organization, Project
from routing.services.keys import KeyRefused, check_key, create_key, revoke_key
from routing.services.tokens import SCOPES, create_access_token, revoke_access_token


class MembershipInline(TabularInline[Membership, Organization]):
    model = Membership
    extra = 0
    autocomplete_fields = ("user",)


class ProjectInline(TabularInline[Project, Organization]):
    model = Project
    extra = 0
    fields = ("name", "slug", "policy")
    prepopulated_fields = {"slug": ("name",)}
    show_change_link = True
    can_delete = False


@admin.register(Organization)
class OrganizationAdmin(HistoryAdmin[Organization]):
    list_display = ("name", "slug", "project_count", "member_count", "created_at")
    search_fields = ("name", "slug")
    prepopulated_fields = {"slug": ("name",)}
    inlines = (MembershipInline, ProjectInline)

    @override
    def get_queryset(self, request: HttpRequest) -> QuerySet[Organization]:
        rows: QuerySet[Organization] = super().get_queryset(request)
        return rows.annotate(
            n_projects=Count("projects", distinct=True),
            n_members=Count("memberships", distinct=True),
        )

    @admin.display(description="Projects", ordering="n_projects")
    def project_count(self, row: Organization) -> int:
        return int(row.n_projects)  # type: ignore[attr-defined]

    @admin.display(description="Members", ordering="n_members")
    def member_count(self, row: Organization) -> int:
        return int(row.n_members)  # type: ignore[attr-defined]


@admin.register(Project)
class ProjectAdmin(HistoryAdmin[Project]):
    list_display = ("name", "organization", "policy", "key_count", "archived_at")
    list_select_related = ("organization", "policy")
    list_filter = ("organization",)
    search_fields = ("name", "slug", "organization__name")
    prepopulated_fields = {"slug": ("name",)}
    readonly_fields = ("archived_at",)
    actions = ("archive", "restore")

    @override
    def get_queryset(self, request: HttpRequest) -> QuerySet[Project]:
        rows: QuerySet[Project] = super().get_queryset(request)
        live = Q(api_keys__revoked_at=None)
        return rows.annotate(n_keys=Count("api_keys", filter=live))

    @admin.display(description="Live keys", ordering="n_keys")
    def key_count(self, row: Project) -> int:
        return int(row.n_keys)  # type: ignore[attr-defined]

    @admin.action(description="Archive: its keys stop working", permissions=["change"])
    def archive(self, request: HttpRequest, rows: QuerySet[Project]) -> None:
        self._set_archived(request, rows, "archived")

    @admin.action(description="Restore", permissions=["change"])
    def restore(self, request: HttpRequest, rows: QuerySet[Project]) -> None:
        self._set_archived(request, rows, "restored")

    def _set_archived(self, request: HttpRequest, rows: QuerySet[Project], word: str) -> None:
        moment = timezone.now() if word == "archived" else None
        for row in rows:
            row.archived_at = moment
            row.save(update_fields=["archived_at"])
            self.log_change(request, row, word)
        self.message_user(request, f"{word}: {each(row.name for row in rows)}", messages.SUCCESS)


class KeyForm(ModelForm[ApiKey]):
    class Meta:
        model = ApiKey
        fields = ("project", "name", "policy", "expires_at")

    @override
    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        project = data.get("project") or getattr(self.instance, "project", None)
        if not self.errors and project is not None and not self.instance.pk:
            try:
                check_key(project, data["name"], data.get("expires_at"))
            except KeyRefused as exc:
                raise forms.ValidationError(str(exc)) from None
        return data


class _TokenAdmin(HistoryAdmin[Any]):
    """Made through the service; the plaintext is shown by the answer to the form, and only there."""

    actions: tuple[str, ...] = ("revoke",)
    use = ""

    @override
    def get_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return (*self.add_fields, *(self.facts if obj else ()))

    @override
    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return (*self.fixed, *self.facts) if obj else ()

    add_fields: tuple[str, ...] = ()
    fixed: tuple[str, ...] = ()  # not to be changed once it exists
    facts: tuple[str, ...] = ("start", "last4", "created_by", "created_at", "revoked_at")

    @admin.display(description="Token")
    def token(self, row: Any) -> str:
        return f"{row.start}…{row.last4}"

    @admin.display(description="Live", boolean=True)
    def is_live(self, row: Any) -> bool:
        is_expired = row.expires_at is not None and row.expires_at <= timezone.now()
        return row.revoked_at is None and not is_expired

    @override
    def save_model(
        self, request: HttpRequest, obj: Any, form: ModelForm[Any], change: bool
    ) -> None:
        if change:
            super().save_model(request, obj, form, change)
            return
        row, plaintext = self.create(request, obj)
        obj.__dict__.update(row.__dict__)
        request.new_plaintext = plaintext  # type: ignore[attr-defined]

    def create(self, request: HttpRequest, obj: Any) -> tuple[Any, str]:
        raise TypeError(f"{type(self).__name__} makes no tokens")

    @override
    def response_add(
        self, request: HttpRequest, obj: Any, post_url_continue: str | None = None
    ) -> HttpResponse:
        return shown_once(
            request,
            self.admin_site.each_context(request),
            secret=request.new_plaintext,  # type: ignore[attr-defined]
            name=obj.name,
            use=self.use,
            obj=obj,
        )


@admin.register(ApiKey)
class ApiKeyAdmin(_TokenAdmin):
    form = KeyForm
    use = "Send it to /v1/ as the API key of any OpenAI client."
    add_fields = ("project", "name", "policy", "expires_at")
    fixed = ("project",)
    list_display = ("name", "project", "kind", "token", "policy", "is_live", "created_at")
    list_select_related = ("project__organization", "policy")
    list_filter = ("kind", "project")
    search_fields = ("name", "start", "project__name")
    autocomplete_fields = ("project",)

    @override
    def create(self, request: HttpRequest, obj: ApiKey) -> tuple[ApiKey, str]:
        return create_key(
            project=obj.project,
            name=obj.name,
            policy=obj.policy,
            expires_at=obj.expires_at,
            created_by=person(request),
        )

    @admin.action(description="Revoke: final, within a second", permissions=["change"])
    def revoke(self, request: HttpRequest, rows: QuerySet[ApiKey]) -> None:
        for row in rows:
            revoke_key(row)
            self.log_change(request, row, "revoked")
        self.message_user(request, f"revoked: {each(row.name for row in rows)}", messages.SUCCESS)


class AccessTokenForm(ModelForm[AccessToken]):
    scopes = forms.MultipleChoiceField(
        choices=[(scope, scope) for scope in sorted(SCOPES)],
        widget=forms.CheckboxSelectMultiple,
    )

    class Meta:
        model = AccessToken
        fields = ("organization", "name", "scopes", "expires_at")


@admin.register(AccessToken)
class AccessTokenAdmin(_TokenAdmin):
    form = AccessTokenForm
    use = "Send it to /api/v1/ as: Authorization: Bearer <token>."
    add_fields = ("organization", "name", "scopes", "expires_at")
    fixed = ("organization", "scopes")
    list_display = ("name", "organization", "scopes", "token", "is_live", "created_at")
    list_select_related = ("organization",)
    list_filter = ("organization",)
    search_fields = ("name", "start", "organization__name")

    @override
    def create(self, request: HttpRequest, obj: AccessToken) -> tuple[AccessToken, str]:
        return create_access_token(
            organization=obj.organization,
            name=obj.name,
            scopes=obj.scopes,
            expires_at=obj.expires_at,
            created_by=person(request),
        )

    @admin.action(description="Revoke", permissions=["change"])
    def revoke(self, request: HttpRequest, rows: QuerySet[AccessToken]) -> None:
        for row in rows:
            revoke_access_token(token=row)
            self.log_change(request, row, "revoked")
        self.message_user(request, f"revoked: {each(row.name for row in rows)}", messages.SUCCESS)
