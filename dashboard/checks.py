"""What a wrong setting looks like, said at the start and not at the first use."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal, InvalidOperation
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register

from dashboard.env import env_str
from routing.gateway.upstream.guard import AllowList

GOOD_BROKERS = frozenset({"pgmq", "redis", "rediss", "amqp", "amqps", "pyamqp", "sqs", "memory"})
LOSSY_BROKERS = ("sqla+", "filesystem")
DATABASES = frozenset({"postgresql", "postgres"})

Problems = Iterator[CheckMessage]


def settings_problems() -> Problems:
    for rule in RULES:
        yield from rule()


@register
def check_settings(app_configs: Sequence[Any] | None, **_options: Any) -> list[CheckMessage]:
    return list(settings_problems())


def _database() -> Problems:
    scheme = urlsplit(settings.DATABASE_URL).scheme
    if scheme not in DATABASES:
        yield Error(
            f"DATABASE_URL begins with {scheme!r}",
            hint="Panelboard needs Postgres: postgresql://user:password@host:5432/name",
            id="panelboard.E001",
        )


def _broker() -> Problems:
    scheme = urlsplit(settings.CELERY_BROKER_URL).scheme
    if scheme.startswith(LOSSY_BROKERS):
        yield Error(
            f"CELERY_BROKER_URL names a broker that loses tasks ({scheme})",
            hint="leave it unset to use Postgres itself, or use redis:// or amqp://",
            id="panelboard.E003",
        )
    elif scheme not in GOOD_BROKERS:
        yield Error(
            f"CELERY_BROKER_URL begins with {scheme!r}, which no broker answers to",
            hint="leave it unset to use Postgres itself, or use redis:// or amqp://",
            id="panelboard.E002",
        )


def _private_upstreams() -> Problems:
    for entry in settings.PANELBOARD_PRIVATE_UPSTREAMS:
        try:
            AllowList.parse([entry])
        except ValueError as exc:
            yield Error(
                f"PANELBOARD_PRIVATE_UPSTREAMS: {exc}",
                hint="networks, addresses and host names, separated by commas",
                id="panelboard.E004",
            )


def _probe_budget() -> Problems:
    text = settings.PANELBOARD_PROBE_DAILY_USD
    try:
        amount = Decimal(text)
    except InvalidOperation:
        amount = Decimal("NaN")
    if not amount.is_finite() or amount < 0:
        yield Error(
            f"PANELBOARD_PROBE_DAILY_USD is {text!r}",
            hint="an amount in USD such as 1.00; 0 switches probes off",
            id="panelboard.E005",
        )


def _spool() -> Problems:
    folder = Path(settings.PANELBOARD_SPOOL_DIR)
    nearest = next(path for path in (folder, *folder.parents) if path.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        yield Error(
            f"the spool folder {folder} cannot be written to",
            hint="let the hub's account own it, or set PANELBOARD_SPOOL_DIR to another folder",
            id="panelboard.E006",
        )


def _hosts() -> Problems:
    public = [host for host in settings.ALLOWED_HOSTS if not _is_this_machine(host)]
    if settings.DEBUG and public:
        yield Error(
            f"PANELBOARD_DEBUG is on for hosts that others reach: {', '.join(public)}",
            hint="debug pages show settings and code: switch it off",
            id="panelboard.E007",
        )
    if public and not settings.SESSION_COOKIE_SECURE:
        yield Warning(
            "log-in cookies may travel unencrypted: PANELBOARD_HTTPS is off",
            hint="put a proxy with TLS in front and set PANELBOARD_HTTPS=1",
            id="panelboard.W001",
        )
    if not public and not _is_this_machine(env_str("HOST", "127.0.0.1")):
        yield Warning(
            "HOST opens the hub to others, and PANELBOARD_ALLOWED_HOSTS names this machine alone",
            hint="add the name by which others reach it, or its pages answer with 400",
            id="panelboard.W002",
        )


def _is_this_machine(host: str) -> bool:
    bare = host.strip("[]").lower()
    if bare == "localhost" or bare.endswith(".localhost"):
        return True
    try:
        return ip_address(bare).is_loopback
    except ValueError:
        return False


RULES: tuple[Callable[[], Problems], ...] = (
    _database,
    _broker,
    _private_upstreams,
    _probe_budget,
    _spool,
    _hosts,
)
