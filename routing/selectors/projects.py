"""What a person has: their projects, and the API keys in them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

from django.db.models import F, Q

from routing.models import ApiKey, Project
from routing.selectors import team


@dataclass(frozen=True, slots=True)
class ProjectFacts:
    id: int
    slug: str
    name: str
    organization: str
    is_archived: bool
    sees_requests: bool  # a billing viewer sees sums alone
    sends_requests: bool
    manages_keys: bool  # of everybody; a member manages their own


@dataclass(frozen=True, slots=True)
class KeyFacts:
    id: int
    name: str
    hint: str
    project: str
    created_by: str
    created_at: dt.datetime
    expires_at: dt.datetime | None
    revoked_at: dt.datetime | None
    may_revoke: bool
    project_id: int


def projects_seen_by(user: team.Person) -> list[ProjectFacts]:
    """One query. Archived ones too, because past bills name them."""
    rows = team.projects_of(user)
    if team.sees_everything(user):
        return [_project_facts(row, team.Role.OWNER) for row in rows]
    with_role = rows.annotate(role=F("organization__memberships__role"))
    return [_project_facts(row, row.role) for row in with_role]


def _project_facts(row: Project, role: str) -> ProjectFacts:
    return ProjectFacts(
        id=row.pk,
        slug=row.slug,
        name=row.name,
        organization=row.organization.name,
        is_archived=row.archived_at is not None,
        sees_requests=team.allows(role, team.Action.SEE_REQUESTS),
        sends_requests=team.allows(role, team.Action.SEND_REQUESTS),
        manages_keys=team.allows(role, team.Action.MANAGE_KEYS),
    )


def keys_of(projects: Sequence[ProjectFacts], user_id: int) -> list[KeyFacts]:
    """One query: the traffic keys of these projects, those in use first, then newest first."""
    manages = {project.id for project in projects if project.manages_keys}
    rows = (
        ApiKey.objects.filter(
            project_id__in=[project.id for project in projects], kind=ApiKey.Kind.TRAFFIC
        )
        .select_related("project", "created_by")
        .order_by(F("revoked_at").desc(nulls_first=True), "-created_at")
    )
    return [
        KeyFacts(
            id=row.pk,
            name=row.name,
            hint=f"{row.start}…{row.last4}",
            project=row.project.name,
            created_by=row.created_by.get_username() if row.created_by else "",
            created_at=row.created_at,
            expires_at=row.expires_at,
            revoked_at=row.revoked_at,
            may_revoke=row.project_id in manages or row.created_by_id == user_id,
            project_id=row.project_id,
        )
        for row in rows
    ]


def keys_seen_in(projects: Sequence[ProjectFacts]) -> list[tuple[int, str]]:
    """One query: ids and names of keys that requests are booked to, for a filter."""
    wanted = ApiKey.objects.filter(project_id__in=[project.id for project in projects])
    return list(wanted.order_by("name", "pk").values_list("pk", "name"))


def has_traffic_key(projects: Sequence[ProjectFacts]) -> bool:
    ids = [project.id for project in projects]
    return ApiKey.objects.filter(
        project_id__in=ids, kind=ApiKey.Kind.TRAFFIC, revoked_at=None
    ).exists()


def revocable_key(key_id: int, projects: Sequence[ProjectFacts], user_id: int) -> ApiKey | None:
    """The key if this person may revoke it, else None: other organizations' keys do not exist here."""
    own = Q(created_by_id=user_id, project_id__in=[project.id for project in projects])
    managed = Q(project_id__in=[project.id for project in projects if project.manages_keys])
    return ApiKey.objects.filter(own | managed, pk=key_id, kind=ApiKey.Kind.TRAFFIC).first()


def project(project_id: int) -> Project:
    return Project.objects.select_related("organization").get(pk=project_id)
