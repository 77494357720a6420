from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import OperationalError, connection
from typing_extensions import override

from dashboard import broker
from dashboard.launch import first_run, upstreams
from dashboard.launch.errors import LaunchError
from routing.catalog import files
from routing.catalog.document import CatalogInvalid
from routing.services import catalog, policies
from routing.services.credentials import CredentialRefused

ONE_AT_A_TIME = 0x70616E656C  # an advisory lock of ours: hosts that share a database take turns


class Command(BaseCommand):
    help = (
        "Makes everything ready that the processes need: tables, broker, shipped catalog, provider "
        "keys of the environment, the first admin and keys. Doing it again changes nothing."
    )

    @override
    def handle(self, *args: Any, **options: Any) -> None:
        try:
            self._prepare()
        except OperationalError as exc:
            raise CommandError(f"the database does not answer: {str(exc).strip()}") from None
        except (LaunchError, CatalogInvalid, CredentialRefused) as exc:
            raise CommandError(str(exc)) from None

    def _prepare(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute("set statement_timeout = 0")  # a migration may take its time
            cursor.execute("set lock_timeout = '60s'")
            cursor.execute("select pg_advisory_lock(%s)", [ONE_AT_A_TIME])
        call_command("migrate", interactive=False, verbosity=0)
        broker.install_schema(settings.CELERY_BROKER_URL, settings.CELERY_BROKER_TRANSPORT_OPTIONS)
        loaded = str(catalog.load_all(files.read(files.SHIPPED)))
        self.stdout.write(f"catalog: {'; '.join(loaded.splitlines())}")
        policies.ensure_default()
        self._switch_on()

    def _switch_on(self) -> None:
        simulator_url = f"http://127.0.0.1:{settings.SIMULATOR_PORT}"
        switched = upstreams.switch_on(
            os.environ, simulator=settings.PANELBOARD_SIMULATOR, simulator_url=simulator_url
        )
        self.stdout.write(
            f"providers: {', '.join(switched.real) or 'none'} with a key, "
            f"{len(switched.simulated)} simulated"
        )
        first_run.ensure(
            Path(settings.DATA_DIR) / "first-run.json",
            url=settings.PANELBOARD_URL,
            simulator_url=simulator_url,
            switched=switched,
        )
