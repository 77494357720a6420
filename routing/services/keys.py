"""API keys of the data plane: made, shown once, revoked."""

from __future__ import annotations

import datetime as dt

from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone

from routing.core.tokens import API_KEY_PREFIX
from routing.models import ApiKey, Organization, Policy, Project
from routing.services.tokens import mint

HUB_ORGANIZATION = "hub"
MEASUREMENTS_PROJECT = "measurements"


class KeyRefused(ValueError):
    """The key cannot be made as asked; the message says what to change."""


def create_key(
    *,
    project: Project,
    name: str,
    created_by: User | None = None,
    policy: Policy | None = None,
    expires_at: dt.datetime | None = None,
    kind: str = ApiKey.Kind.TRAFFIC,
) -> tuple[ApiKey, str]:
    """The plaintext is returned here and nowhere else: it is not stored."""
    check_key(project, name, expires_at)
    token, digest = mint(API_KEY_PREFIX)
    key = ApiKey.objects.create(
        project=project,
        name=name.strip(),
        kind=kind,
        start=token.start,
        last4=token.last4,
        digest=digest,
        policy=policy,
        created_by=created_by,
        expires_at=expires_at,
    )
    return key, token.plaintext


def check_key(project: Project, name: str, expires_at: dt.datetime | None) -> None:
    """Raises KeyRefused where `create_key` would."""
    if not name.strip():
        raise KeyRefused("a key needs a name that tells where it is used")
    if project.archived_at is not None:
        raise KeyRefused(f"project {project.slug} is archived: restore it or choose another")
    if expires_at is not None and expires_at <= timezone.now():
        raise KeyRefused("the expiry date lies in the past")


def revoke_key(key: ApiKey) -> ApiKey:
    """Final. Every gateway process refuses the key within a second."""
    if key.revoked_at is None:
        key.revoked_at = timezone.now()
        key.save(update_fields=["revoked_at"])
    return key


def internal_key(*, project: Project, kind: str) -> ApiKey:
    """The project's key for the hub's own calls. Nobody knows its plaintext, so no client can use it."""
    with transaction.atomic():
        Project.objects.select_for_update().get(pk=project.pk)
        found = ApiKey.objects.filter(project=project, kind=kind, revoked_at=None).first()
        if found is not None:
            return found
        key, _ = create_key(project=project, name=f"hub {kind}", kind=kind)
        return key


def probe_key() -> ApiKey:
    """What probes are recorded under: a key of the hub's own project."""
    organization, _ = Organization.objects.get_or_create(
        slug=HUB_ORGANIZATION, defaults={"name": "Hub"}
    )
    project, _ = Project.objects.get_or_create(
        organization=organization, slug=MEASUREMENTS_PROJECT, defaults={"name": "Measurements"}
    )
    return internal_key(project=project, kind=ApiKey.Kind.PROBE)
