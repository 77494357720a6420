"""Prints a new API key of the hub that the environment points at. `python -m bench.make_key`."""

from __future__ import annotations

import django


def main() -> None:
    django.setup()
    from routing.models import Organization, Project
    from routing.services import keys, limits

    organization, _ = Organization.objects.get_or_create(slug="bench", defaults={"name": "Bench"})
    project, _ = Project.objects.get_or_create(
        organization=organization, slug="bench", defaults={"name": "Bench"}
    )
    key, secret = keys.create_key(project=project, name="bench")
    limits.set_limit(
        # Far above what is sent, so that nothing is refused and all of the counting is done.
        key=key,
        requests_per_minute=100_000_000,
        tokens_per_minute=1_000_000_000_000,
        concurrent_requests=100_000,
    )
    print(secret)


if __name__ == "__main__":
    main()
