"""The person behind a request: which projects they see, read once per request."""

from __future__ import annotations

from dataclasses import dataclass

from django.http import HttpRequest

from analytics.queries.types import Scope
from routing.selectors import team
from routing.selectors.projects import ProjectFacts, projects_seen_by


@dataclass(frozen=True, slots=True)
class Person:
    name: str
    sees_everything: bool
    request_projects: tuple[ProjectFacts, ...]  # whose single requests they may read
    spend_projects: tuple[ProjectFacts, ...]  # whose sums they may read

    @property
    def sending_projects(self) -> tuple[ProjectFacts, ...]:
        """That new requests and keys can be booked to."""
        return tuple(
            row for row in self.request_projects if row.sends_requests and not row.is_archived
        )

    @property
    def sees_requests(self) -> bool:
        return self.sees_everything or bool(self.request_projects)

    @property
    def sees_spend(self) -> bool:
        return self.sees_everything or bool(self.spend_projects)

    @property
    def request_scope(self) -> Scope:
        return self._scope(self.request_projects)

    @property
    def spend_scope(self) -> Scope:
        return self._scope(self.spend_projects)

    def _scope(self, projects: tuple[ProjectFacts, ...]) -> Scope:
        if self.sees_everything:
            return Scope(project_ids=None)
        return Scope(project_ids=frozenset(project.id for project in projects))


ANONYMOUS = Person(name="", sees_everything=False, request_projects=(), spend_projects=())


def person_of(request: HttpRequest) -> Person:
    """Costs one query the first time; further calls on the same request are free."""
    known: Person | None = getattr(request, "panelboard_person", None)
    if known is None:
        known = _read(request)
        request.panelboard_person = known  # type: ignore[attr-defined]
    return known


def _read(request: HttpRequest) -> Person:
    user = request.user
    if not user.is_authenticated:
        return ANONYMOUS
    projects = projects_seen_by(user)
    return Person(
        name=user.get_username(),
        sees_everything=team.sees_everything(user),
        request_projects=tuple(row for row in projects if row.sees_requests),
        spend_projects=tuple(projects),
    )
