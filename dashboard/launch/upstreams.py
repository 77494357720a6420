"""Which providers are real and which the simulator answers for, decided anew at every start."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from routing.catalog import files
from routing.catalog.document import parse
from routing.models import Credential, Provider
from routing.services import credentials

SIMULATOR_CREDENTIAL = "simulator"
NOT_SET_ANY_MORE = "its environment variable is not set any more"
SIMULATOR_IS_OFF = "the provider simulator does not answer for this provider"


@dataclass(frozen=True, slots=True)
class Switched:
    real: tuple[str, ...]  # slugs of providers with a key of the operator's
    simulated: tuple[str, ...]


def switch_on(environment: Mapping[str, str], *, simulator: str, simulator_url: str) -> Switched:
    """Store the keys of the environment, and let the simulator stand in where it may.

    `simulator` is auto, on or off: by itself it is on when the environment has no provider key.
    A provider with a key of its own is never simulated. Doing it twice changes nothing.
    """
    stored = credentials.import_from_environment(environment)
    _disable_vanished({row.pk for row in stored})
    runs = simulator == "on" or (simulator == "auto" and not stored)
    paths = _simulated_paths() if runs else {}
    real: list[str] = []
    simulated: list[str] = []
    for provider in Provider.objects.order_by("slug"):
        if _has_own_key(provider):
            real.append(provider.slug)
            _make_real(provider)
        elif provider.slug in paths:
            simulated.append(provider.slug)
            _simulate(provider, f"{simulator_url}/{provider.slug}{paths[provider.slug]}")
        else:
            _make_real(provider)
    return Switched(tuple(real), tuple(simulated))


def _disable_vanished(stored: set[int]) -> None:
    vanished = Credential.objects.filter(
        origin=Credential.Origin.ENVIRONMENT, disabled_at=None
    ).exclude(pk__in=stored)
    for credential in vanished:
        credentials.disable_credential(credential, reason=NOT_SET_ANY_MORE)


def _simulated_paths() -> dict[str, str]:
    """Path of the base URL by slug, of the providers that the simulator knows."""
    shipped = parse(files.read(files.SHIPPED))
    return {row.slug: urlsplit(row.base_url).path.rstrip("/") for _, row in shipped.providers}


def _has_own_key(provider: Provider) -> bool:
    rows = provider.credentials.filter(disabled_at=None)
    return rows.exclude(origin=Credential.Origin.SIMULATOR).exists()


def _simulate(provider: Provider, address: str) -> None:
    credentials.store_credential(
        provider=provider,
        name=SIMULATOR_CREDENTIAL,
        secret=f"sim-{provider.slug}-key",
        origin=Credential.Origin.SIMULATOR,
    )
    _set_address(provider, address)


def _make_real(provider: Provider) -> None:
    for row in provider.credentials.filter(origin=Credential.Origin.SIMULATOR, disabled_at=None):
        credentials.disable_credential(row, reason=SIMULATOR_IS_OFF)
    _set_address(provider, "")


def _set_address(provider: Provider, address: str) -> None:
    if provider.simulated_base_url != address:
        provider.simulated_base_url = address
        provider.save(update_fields=["simulated_base_url"])
