from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from typing_extensions import override

from routing.services import credentials
from routing.services.credentials import CredentialUnreadable


class Command(BaseCommand):
    help = (
        "Encrypts every provider credential with the active key of the key ring. To change keys: "
        "add one to the data folder's secrets.json and make it active, restart, run this, run it "
        "with --check, then take the old key out."
    )

    @override
    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--check", action="store_true", help="fail while a credential needs another key"
        )

    @override
    def handle(self, *args: Any, **options: Any) -> None:
        active = settings.PANELBOARD_ACTIVE_KEY_ID
        if options["check"]:
            left = [f"{row.provider.slug}/{row.name}" for row in credentials.outdated()]
            if left:
                raise CommandError(f"not encrypted with {active!r} yet: {', '.join(left)}")
            self.stdout.write(f"every credential is encrypted with {active!r}")
            return
        try:
            self.stdout.write(f"{credentials.rotate()} credentials now encrypted with {active!r}")
        except CredentialUnreadable as exc:
            raise CommandError(str(exc)) from None
