"""A person's own API keys: listed, made (shown once), revoked."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.models import User
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from dashboard import key_limits
from dashboard.access import MAY_SEND, access
from dashboard.forms import KeyForm
from dashboard.people import person_of
from dashboard.views import common
from routing.selectors.projects import keys_of, project, revocable_key
from routing.services import keys as key_service


@access(MAY_SEND)
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def keys(request: HttpRequest) -> HttpResponse:
    person = person_of(request)
    projects = person.sending_projects
    form = KeyForm(request.POST if request.method == "POST" else None, projects)
    plaintext = _create(request, form) if request.method == "POST" and form.is_valid() else ""
    found = keys_of(person.request_projects, _user(request).pk)
    return common.plain_page(
        request,
        "pages/keys.html",
        {
            "form": KeyForm(None, projects) if plaintext else form,
            "plaintext": plaintext,
            "made_name": form.cleaned_data["name"] if plaintext else "",
            "rows": key_limits.with_limits(found),
            "limits_url": key_limits.admin_url(_user(request)),
            "base_url": request.build_absolute_uri("/v1"),
            "now": common.now(),
        },
        status=400 if form.errors else 200,
    )


def _create(request: HttpRequest, form: KeyForm) -> str:
    try:
        _, plaintext = key_service.create_key(
            project=project(form.cleaned_data["project"]),
            name=form.cleaned_data["name"],
            created_by=_user(request),
            expires_at=form.expires_at,
        )
    except key_service.KeyRefused as refused:
        form.add_error(None, str(refused))
        return ""
    return plaintext


@access(MAY_SEND)
@require_POST
def revoke(request: HttpRequest, key_id: int) -> HttpResponse:
    key = revocable_key(key_id, person_of(request).request_projects, _user(request).pk)
    if key is None:
        raise Http404("There is no such key among those you may revoke.")
    key_service.revoke_key(key)
    messages.success(request, f"“{key.name}” is revoked. The hub refuses it within a second.")
    return redirect("keys")


def _user(request: HttpRequest) -> User:
    user = request.user
    assert isinstance(user, User)  # the policy lets no one else through
    return user
