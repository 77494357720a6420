"""What a server loads: `dashboard.asgi:application`."""

from __future__ import annotations

import os

from django.conf import settings
from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "dashboard.settings")
django_application = get_asgi_application()

from dashboard.application import Application  # noqa: E402 - Django's apps must be ready first

application = Application(settings.HUB, django_application)  # type: ignore[arg-type]
