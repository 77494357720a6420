from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from rest_framework.test import APIClient

from routing.models import Organization
from routing.services.tokens import SCOPES, create_access_token
from tests.analytics.conftest import World

ClientOf = Callable[..., APIClient]


@pytest.fixture
def client_of(db: None) -> ClientOf:
    def make(organization: Organization, *scopes: str) -> APIClient:
        _, plaintext = create_access_token(
            organization=organization, name="test", scopes=scopes or SCOPES
        )
        client = APIClient()
        client.credentials(HTTP_AUTHORIZATION=f"Bearer {plaintext}")
        return client

    return make


@pytest.fixture
def api(world: World, client_of: ClientOf) -> APIClient:
    return client_of(world.acme)


def body_of(response: Any, status: int = 200) -> Any:
    assert response.status_code == status, response.content
    return response.json()


def problem_of(response: Any, status: int) -> Any:
    body = body_of(response, status)
    assert response["content-type"] == "application/problem+json"
    assert body["status"] == status
    assert {"type", "title", "code", "detail"} <= set(body)
    return body
