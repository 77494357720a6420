from __future__ import annotations

import pytest

from dashboard.launch.upstreams import Switched, switch_on
from routing.catalog import files
from routing.models import Credential, Provider
from routing.services import catalog, credentials

pytestmark = pytest.mark.django_db
SIMULATOR_URL = "http://127.0.0.1:9470"


@pytest.fixture(autouse=True)
def shipped_catalog() -> None:
    catalog.load_all(files.read(files.SHIPPED))


def switch(simulator: str = "auto", **environment: str) -> Switched:
    return switch_on(environment, simulator=simulator, simulator_url=SIMULATOR_URL)


def provider(slug: str) -> Provider:
    return Provider.objects.get(slug=slug)


def live(slug: str) -> dict[str, str]:
    """Secret by origin, of the credentials in use."""
    rows = Credential.objects.filter(provider__slug=slug, disabled_at=None)
    return {row.origin: credentials.reveal(row) for row in rows}


def test_without_a_key_the_simulator_answers_for_all() -> None:
    switched = switch()
    assert switched.real == ()
    assert len(switched.simulated) == Provider.objects.count()
    assert provider("groq").simulated_base_url == f"{SIMULATOR_URL}/groq/openai/v1"
    assert provider("groq").is_simulated
    assert live("groq") == {"simulator": "sim-groq-key"}


def test_a_key_switches_its_provider_on_and_the_simulator_off() -> None:
    switch()
    switched = switch(TOGETHER_API_KEY="together-secret-0123456789")
    assert switched == Switched(real=("together",), simulated=())
    assert live("together") == {"environment": "together-secret-0123456789"}
    assert live("groq") == {}
    assert not Provider.objects.exclude(simulated_base_url="").exists()


def test_the_simulator_can_stay_on_for_the_others() -> None:
    switched = switch("on", TOGETHER_API_KEY="together-secret-0123456789")
    assert switched.real == ("together",)
    assert provider("together").simulated_base_url == ""
    assert provider("groq").is_simulated


def test_the_simulator_can_be_switched_off() -> None:
    switch()
    assert switch("off") == Switched(real=(), simulated=())
    assert live("groq") == {}


def test_a_key_that_is_not_set_any_more_is_not_used_any_more() -> None:
    switch(TOGETHER_API_KEY="together-secret-0123456789")
    switched = switch()
    assert switched.real == ()
    assert live("together") == {"simulator": "sim-together-key"}
    row = Credential.objects.get(provider__slug="together", origin="environment")
    assert "not set any more" in row.disabled_reason


def test_a_key_stored_in_the_admin_is_never_sent_to_the_simulator() -> None:
    switch()
    credentials.store_credential(
        provider=provider("openai"), name="team", secret="openai-secret-0123456789"
    )
    switched = switch()
    assert switched.real == ("openai",)
    assert provider("openai").simulated_base_url == ""
    assert provider("groq").is_simulated


def test_a_provider_of_ones_own_is_never_simulated() -> None:
    Provider.objects.create(
        slug="own", name="Own", dialect="openai_compat", base_url="https://llm.example.com/v1"
    )
    assert "own" not in switch().simulated
    assert provider("own").simulated_base_url == ""


def test_doing_it_twice_changes_nothing() -> None:
    first = switch()
    rows = list(Credential.objects.order_by("pk").values())
    assert switch() == first
    assert list(Credential.objects.order_by("pk").values()) == rows
