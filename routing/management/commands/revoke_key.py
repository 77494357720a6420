from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from typing_extensions import override

from routing.core.tokens import API_KEY_PREFIX, ID_LENGTH
from routing.models import ApiKey
from routing.services.keys import revoke_key

START_LENGTH = len(API_KEY_PREFIX) + ID_LENGTH


class Command(BaseCommand):
    help = "Revokes an API key for good: every gateway process refuses it within a second."

    @override
    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("key", help=f"its first {START_LENGTH} characters, or all of it")

    @override
    def handle(self, *args: Any, **options: Any) -> None:
        start = options["key"][:START_LENGTH]
        rows = list(ApiKey.objects.filter(start=start)[:2]) if len(start) == START_LENGTH else []
        if len(rows) != 1:
            raise CommandError(
                f"{len(rows)} keys begin with {start!r}: give the first {START_LENGTH} characters "
                "as the admin shows them"
            )
        was_revoked = rows[0].revoked_at is not None
        key = revoke_key(rows[0])
        word = "was revoked already" if was_revoked else "is revoked"
        self.stdout.write(f"{key.name} ({key.start}) {word}, {key.revoked_at:%Y-%m-%d %H:%M} UTC")
