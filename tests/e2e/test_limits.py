"""Rate limits of a key, as its client meets them."""

from __future__ import annotations

import time
from collections.abc import Iterator

import openai
import pytest
from openai import OpenAI

from tests.support.hub_tools import MODEL
from tests.support.running_hub import RunningHub

pytestmark = pytest.mark.e2e

NEW_KEY = """
from django.db import transaction
from routing.models import Project
from routing.services import keys, limits
with transaction.atomic():
    project = Project.objects.get(slug="default")
    key, plaintext = keys.create_key(project=project, name="two a minute")
    limits.set_limit(key=key, requests_per_minute=2)
print(plaintext)
"""
HELLO = [{"role": "user", "content": "hi"}]


@pytest.fixture(scope="module")
def limited(hub: RunningHub) -> Iterator[OpenAI]:
    """A client whose key may send two requests a minute."""
    key = hub.manage("shell", "--verbosity", "0", "-c", NEW_KEY).strip().splitlines()[-1]
    with OpenAI(base_url=f"{hub.url}/v1", api_key=key, max_retries=0) as opened:
        _wait_until_known(opened)
        yield opened


def _wait_until_known(client: OpenAI) -> None:
    deadline = time.monotonic() + 10
    while True:
        try:
            client.models.list()
        except openai.AuthenticationError:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        else:
            return


def test_a_key_at_its_limit_is_told_when_to_come_back(limited: OpenAI) -> None:
    remaining = []
    for _ in range(2):
        raw = limited.chat.completions.with_raw_response.create(
            model=MODEL, messages=HELLO, max_tokens=5
        )
        assert raw.headers["x-ratelimit-limit-requests"] == "2"
        remaining.append(raw.headers["x-ratelimit-remaining-requests"])
    assert remaining == ["1", "0"]
    with pytest.raises(openai.RateLimitError) as refused:
        limited.chat.completions.create(model=MODEL, messages=HELLO, max_tokens=5)
    headers = refused.value.response.headers
    assert refused.value.code == "rate_limit_exceeded"
    assert "two a minute" in refused.value.message
    assert 0 < float(headers["retry-after"]) <= 61
    assert headers["x-ratelimit-remaining-requests"] == "0"
