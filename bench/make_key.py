"""Prints a new API key of the hub that the environment points at. `python -m bench.make_key`."""

from __future__ import annotations

import django


def main() -> None:
    django.setup()
    from routing.models import Organization, Project
    from routing.services import keys

    organization, _ = Organization.objects.get_or_create(slug="bench", defaults={"name": "Bench"})
    project, _ = Project.objects.get_or_create(
        organization=organization, slug="bench", defaults={"name": "Bench"}
    )
    print(keys.create_key(project=project, name="bench")[1])


if __name__ == "__main__":
    main()
