"""The side-by-side page and the stream of one column."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.http import StreamingHttpResponse
from django.test import AsyncClient, Client

from dashboard import runtime
from dashboard.views import playground
from routing.models import ApiKey, Endpoint
from tests.dashboard.conftest import Enter
from tests.dashboard.world import World

FRAMES = [
    b'data: {"choices":[{"delta":{"content":"Hi"}}]}\n\n',
    b'event: panelboard\ndata: {"ttft_ms":12.5,"cost_usd":"0.0001"}\n\n',
]


class Gateway:
    """Stands for the process's gateway: remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, int, dict[str, Any]]] = []
        self.unknown_times = 0

    def stream(
        self, project_id: int, endpoint_id: int, body: dict[str, Any]
    ) -> AsyncIterator[bytes]:
        if self.unknown_times:
            self.unknown_times -= 1
            raise LookupError(project_id)
        self.asked.append((project_id, endpoint_id, body))
        return self._frames()

    async def _frames(self) -> AsyncIterator[bytes]:
        for frame in FRAMES:
            yield frame


@pytest.fixture
def gateway(monkeypatch: pytest.MonkeyPatch) -> Gateway:
    stand_in = Gateway()
    monkeypatch.setattr(runtime, "playground_stream", stand_in.stream)
    monkeypatch.setattr(playground, "SNAPSHOT_POLL_S", 0.001)
    monkeypatch.setattr(playground, "SNAPSHOT_WAIT_S", 0.02)
    return stand_in


@pytest.fixture
def asked(empty_hub: World) -> dict[str, Any]:
    endpoint = Endpoint.objects.get(provider__slug="groq", model__name="openai/gpt-oss-120b")
    return {"endpoint_id": endpoint.pk, "prompt": "Hello", "max_tokens": 64}


def send(person: Any, body: object) -> tuple[int, bytes, Any]:
    async def go() -> tuple[int, bytes, Any]:
        client = AsyncClient()
        await client.aforce_login(person)
        answer = await client.post(
            "/playground/stream/", json.dumps(body), content_type="application/json"
        )
        if isinstance(answer, StreamingHttpResponse):
            return answer.status_code, b"".join([part async for part in answer]), answer
        return answer.status_code, answer.content, answer

    return async_to_sync(go)()


def test_a_column_streams_what_the_gateway_gives(
    empty_hub: World, gateway: Gateway, asked: dict[str, Any]
) -> None:
    status, body, answer = send(empty_hub.member, {**asked, "system": "Be brief"})
    assert status == 200
    assert body == b"".join(FRAMES)
    assert answer["Content-Type"] == "text/event-stream"
    assert answer["X-Accel-Buffering"] == "no"
    project_id, endpoint_id, sent = gateway.asked[0]
    assert project_id in (empty_hub.project.pk, empty_hub.batch_project.pk)
    assert endpoint_id == asked["endpoint_id"]
    assert sent == {
        "messages": [
            {"role": "system", "content": "Be brief"},
            {"role": "user", "content": "Hello"},
        ],
        "max_tokens": 64,
    }


def test_the_first_run_makes_the_projects_key_and_waits_until_gateways_know_it(
    empty_hub: World, gateway: Gateway, asked: dict[str, Any]
) -> None:
    gateway.unknown_times = 3
    status, _, _ = send(empty_hub.owner, {**asked, "project": empty_hub.project.pk})
    assert status == 200
    assert ApiKey.objects.filter(project=empty_hub.project, kind="playground").count() == 1


def test_a_gateway_that_never_learns_is_said_so(
    empty_hub: World, gateway: Gateway, asked: dict[str, Any]
) -> None:
    gateway.unknown_times = 10**6
    status, body, _ = send(empty_hub.owner, asked)
    assert status == 503
    assert "Try again shortly" in body.decode()


def test_without_a_gateway_the_answer_says_how_to_start_one(
    empty_hub: World, asked: dict[str, Any]
) -> None:
    status, body, _ = send(empty_hub.owner, asked)
    assert status == 503
    assert "./panelboard up" in body.decode()


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"prompt": ""}, "prompt"),
        ({"prompt": "x" * 20_001}, "prompt"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": "many"}, "max_tokens"),
        ({"endpoint_id": None}, "endpoint_id"),
    ],
)
def test_bad_input_names_the_field(
    empty_hub: World,
    gateway: Gateway,
    asked: dict[str, Any],
    change: dict[str, Any],
    field: str,
) -> None:
    status, body, _ = send(empty_hub.owner, {**asked, **change})
    assert status == 400
    assert json.loads(body)["error"]["message"].startswith(f"{field}: ")
    assert gateway.asked == []


@pytest.mark.parametrize("body", ["not an object", [1], None])
def test_a_body_that_is_no_object_is_refused(
    empty_hub: World, gateway: Gateway, body: object
) -> None:
    assert send(empty_hub.owner, body)[0] == 400


def test_a_foreign_project_is_not_there(
    empty_hub: World, gateway: Gateway, asked: dict[str, Any]
) -> None:
    status, _, _ = send(empty_hub.owner, {**asked, "project": empty_hub.other_project.pk})
    assert status == 404
    assert gateway.asked == []


def test_a_billing_viewer_cannot_spend(
    empty_hub: World, gateway: Gateway, asked: dict[str, Any]
) -> None:
    assert send(empty_hub.biller, asked)[0] == 403


def test_a_stream_needs_the_forms_token(empty_hub: World, asked: dict[str, Any]) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(empty_hub.owner)
    answer = client.post("/playground/stream/", json.dumps(asked), "application/json")
    assert answer.status_code == 403
    assert "This form is too old" in answer.content.decode()


def test_the_page_offers_the_cheapest_pair_first(empty_hub: World, enter: Enter) -> None:
    page = enter(empty_hub.owner).get("/playground/").content.decode()
    stage = page[page.index('class="stage"') :]
    assert stage.count("data-endpoint=") == 2
    assert "Novita" in stage


def test_the_columns_are_in_the_address(empty_hub: World, enter: Enter) -> None:
    address = (
        "/playground/?endpoint=groq~openai-gpt-oss-120b&endpoint=together~openai-gpt-oss-120b"
        "&endpoint=novita~openai-gpt-oss-120b"
    )
    page = enter(empty_hub.owner).get(address).content.decode()
    assert page[page.index('class="stage"') :].count("data-endpoint=") == 3
