from __future__ import annotations

from django.apps import AppConfig
from typing_extensions import override


class DashboardConfig(AppConfig):
    name = "dashboard"

    @override
    def ready(self) -> None:
        from dashboard import access, celery, checks  # noqa: F401  # they register themselves
