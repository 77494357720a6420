from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils.dateparse import parse_datetime
from django.utils.timezone import is_aware
from typing_extensions import override

from routing.models import Policy, Project
from routing.services.keys import KeyRefused, create_key


class Command(BaseCommand):
    help = "Makes an API key for /v1/ and prints it: it is shown this once."

    @override
    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("project", help="organization/project, by their slugs")
        parser.add_argument("name", help="where the key is used")
        parser.add_argument("--policy", default="", help="name of a routing policy")
        parser.add_argument("--expires-at", default="", help="such as 2027-01-31T00:00:00Z")

    @override
    def handle(self, *args: Any, **options: Any) -> None:
        try:
            key, plaintext = create_key(
                project=_project(options["project"]),
                name=options["name"],
                policy=_policy(options["policy"]),
                expires_at=_moment(options["expires_at"]),
            )
        except KeyRefused as exc:
            raise CommandError(str(exc)) from None
        self.stderr.write(f"key {key.start} of {options['project']}; it is not shown again:")
        self.stdout.write(plaintext)


def _project(path: str) -> Project:
    organization, _, slug = path.rpartition("/")
    rows = Project.objects.filter(slug=slug, organization__slug=organization)
    if project := rows.first():
        return project
    known = Project.objects.values_list("organization__slug", "slug")
    raise CommandError(
        f"no project {path!r}; there are {', '.join('/'.join(pair) for pair in known) or 'none'}"
    )


def _policy(name: str) -> Policy | None:
    if not name:
        return None
    if policy := Policy.objects.filter(name=name, archived_at=None).first():
        return policy
    known = Policy.objects.filter(archived_at=None).values_list("name", flat=True)
    raise CommandError(f"no policy {name!r}; there are {', '.join(known) or 'none'}")


def _moment(text: str) -> Any:
    if not text:
        return None
    try:
        moment = parse_datetime(text)
    except ValueError:
        moment = None
    if moment is None or not is_aware(moment):
        raise CommandError("--expires-at needs a date and time with zone: 2027-01-31T00:00:00Z")
    return moment
