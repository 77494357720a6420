"""Who belongs where, and what they may do there. Superusers and staff see every organization."""

from __future__ import annotations

from enum import StrEnum

from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.db.models import QuerySet

from routing.models import Membership, Organization, Project

Person = AbstractBaseUser | AnonymousUser
Role = Membership.Role


class Action(StrEnum):
    SEE_SPEND = "see spend"
    SEE_REQUESTS = "see requests"
    SEND_REQUESTS = "send requests"
    MANAGE_KEYS = "manage keys of everybody"
    MANAGE_TEAM = "manage projects and members"
    MANAGE_OWNERS = "manage owners"


_EVERYBODY = frozenset(Role)
_ROLES: dict[Action, frozenset[Role]] = {
    Action.SEE_SPEND: _EVERYBODY,
    Action.SEE_REQUESTS: _EVERYBODY - {Role.BILLING_VIEWER},
    Action.SEND_REQUESTS: _EVERYBODY - {Role.BILLING_VIEWER},
    Action.MANAGE_KEYS: frozenset({Role.OWNER, Role.ADMIN}),
    Action.MANAGE_TEAM: frozenset({Role.OWNER, Role.ADMIN}),
    Action.MANAGE_OWNERS: frozenset({Role.OWNER}),
}


def projects_of(user: Person) -> QuerySet[Project]:
    """Projects whose spend the person may see; archived ones too, because past bills name them."""
    rows = Project.objects.select_related("organization")
    if sees_everything(user):
        return rows
    if not user.is_authenticated:
        return rows.none()
    return rows.filter(organization__memberships__user_id=user.pk)


def organizations_of(user: Person) -> QuerySet[Organization]:
    if sees_everything(user):
        return Organization.objects.all()
    if not user.is_authenticated:
        return Organization.objects.none()
    return Organization.objects.filter(memberships__user_id=user.pk)


def can(user: Person, action: Action, organization: Organization) -> bool:
    """One query, none for superusers."""
    if getattr(user, "is_superuser", False):
        return True
    if not user.is_authenticated:
        return False
    membership = Membership.objects.filter(organization=organization, user_id=user.pk).first()
    return membership is not None and allows(membership.role, action)


def allows(role: str, action: Action) -> bool:
    return Role(role) in _ROLES[action]


def sees_everything(user: Person) -> bool:
    return bool(
        user.is_authenticated
        and getattr(user, "is_active", False)
        and (getattr(user, "is_superuser", False) or getattr(user, "is_staff", False))
    )
