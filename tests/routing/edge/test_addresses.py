from __future__ import annotations

import pytest
from pytest_django import Settings

from routing.services.addresses import AddressRefused, checked_base_url


@pytest.mark.parametrize(
    "url", ["https://api.example.com/v1", "https://api.example.com/v1/", "https://93.184.216.34/v1"]
)
def test_public_https_is_allowed(url: str) -> None:
    assert checked_base_url(url) == url.rstrip("/")


@pytest.mark.parametrize(
    "url",
    [
        "http://api.example.com/v1",
        "https://api.example.com:8443/v1",
        "http://127.0.0.1:8000/v1",
        "http://localhost:8000/v1",
        "https://10.0.0.7/v1",
        "https://[::1]/v1",
        "https://[::ffff:127.0.0.1]/v1",
        "http://vllm:8000/v1",
        "https://vllm.internal/v1",
    ],
)
def test_private_and_unencrypted_addresses_name_the_setting_that_allows_them(url: str) -> None:
    with pytest.raises(AddressRefused, match="PANELBOARD_PRIVATE_UPSTREAMS"):
        checked_base_url(url)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8000/v1", "http://localhost:8000/v1", "http://vllm:8000/v1"]
)
def test_the_setting_allows_them(url: str, settings: Settings) -> None:
    settings.PANELBOARD_PRIVATE_UPSTREAMS = ["127.0.0.0/8", "vllm"]
    assert checked_base_url(url) == url


@pytest.mark.parametrize("url", ["http://169.254.169.254/latest", "http://0.0.0.0/v1"])
def test_metadata_services_are_never_allowed(url: str, settings: Settings) -> None:
    settings.PANELBOARD_PRIVATE_UPSTREAMS = ["0.0.0.0/0"]
    with pytest.raises(AddressRefused):
        checked_base_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "api.example.com/v1",
        "ftp://api.example.com",
        "https://user:secret@api.example.com/v1",
        "https://api.example.com/v1?key=1",
        "https://api.example.com/#x",
        "https://2130706433/v1",
        "https://exa mple.com",
        "https://" + "a" * 400 + ".com",
    ],
)
def test_unusual_addresses_are_refused(url: str) -> None:
    with pytest.raises(AddressRefused):
        checked_base_url(url)
