"""What a server loads for a gateway of its own: `dashboard.gateway_asgi:application`.

Without Django, which would be more than half of the process's memory.
"""

from __future__ import annotations

import logging.config

from dashboard.application import Application
from dashboard.hub_settings import HubSettings
from dashboard.logs import logging_of

hub = HubSettings.from_environment()
logging.config.dictConfig(logging_of(hub.log_level))

application = Application(hub)
