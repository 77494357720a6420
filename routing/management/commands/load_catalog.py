from __future__ import annotations

import os
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from typing_extensions import override

from routing.catalog.document import CatalogInvalid
from routing.catalog.files import SHIPPED, read
from routing.services import catalog
from routing.services.credentials import CredentialRefused, import_from_environment


class Command(BaseCommand):
    help = (
        "Loads providers, models, endpoints, prices and credentials from a catalog file, or from "
        "every .json file of a folder. All of it or nothing; loading the same again changes nothing."
    )

    @override
    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "path", nargs="?", type=Path, default=SHIPPED, help="default: the shipped catalog"
        )
        parser.add_argument("--dry-run", action="store_true", help="say what would change")
        parser.add_argument(
            "--environment-keys",
            action="store_true",
            help="also store each provider key found under its conventional environment variable",
        )

    @override
    def handle(self, *args: Any, **options: Any) -> None:
        try:
            documents = read(options["path"])
            if options["dry_run"]:
                self.stdout.write(f"{catalog.preview(documents)}\nnothing was written: --dry-run")
                return
            self.stdout.write(str(catalog.load_all(documents)))
            if options["environment_keys"]:
                self._store_environment_keys()
        except (CatalogInvalid, CredentialRefused) as exc:
            raise CommandError(f"nothing was loaded:\n{exc}") from None

    def _store_environment_keys(self) -> None:
        stored = import_from_environment(os.environ)
        names = ", ".join(credential.provider.slug for credential in stored)
        self.stdout.write(f"keys from the environment: {names or 'none'}")
