"""The real gateway and its real upstream client before the played providers: routing, failing over,
metering, billing and refusing take the same path as chat."""

from __future__ import annotations

import base64
import struct
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import httpx
import orjson
import pytest
from openai import AsyncOpenAI, BadRequestError

from routing.core.charges import CostStatus
from routing.core.kinds import KINDS
from routing.core.record import Outcome
from routing.simulator.server import ThreadedSimulator
from tests.routing.factories import policy
from tests.routing.gateway.played import AUTH, PlayedHub
from tests.routing.gateway.scripted import TOKEN
from tests.routing.kinds.support import endpoints_of, wav

BGE = "BAAI/bge-m3"  # at novita and at ovhcloud
RULES = policy(objective="ordered", order=("novita", "fireworks", "ovhcloud", "openai", "groq"))


class Hub(PlayedHub):
    def __init__(self, simulator: ThreadedSimulator) -> None:
        super().__init__(simulator, endpoints_of(simulator, "gpt-4o-mini"), RULES)
        self.http = httpx.AsyncClient(transport=httpx.ASGITransport(self.app()))
        self.client = AsyncOpenAI(
            api_key=TOKEN.decode(), base_url="http://hub/v1", http_client=self.http, max_retries=0
        )

    async def post(self, path: str, **body: Any) -> httpx.Response:
        return await self.http.post(f"http://hub/v1{path}", json=body, headers=AUTH)


@pytest.fixture
async def hub(simulator: ThreadedSimulator) -> AsyncIterator[Hub]:
    hub = Hub(simulator)
    await hub.gateway.start()
    yield hub
    await hub.client.close()
    await hub.gateway.stop(drain_s=0)
    assert simulator.violations() == []


async def test_openais_client_asks_for_base64_and_gets_the_numbers(hub: Hub) -> None:
    answer = await hub.client.embeddings.create(model=BGE, input=["a", "b"])
    raw = await hub.post("/embeddings", model=BGE, input=["a", "b"], encoding_format="base64")
    for vector, sent in zip(answer.data, raw.json()["data"], strict=True):
        data = base64.b64decode(sent["embedding"])
        assert vector.embedding == list(struct.unpack(f"<{len(data) // 4}f", data))
    assert raw.headers["x-panelboard-provider"] == "novita"
    assert hub.cost() == hub.billed() > 0
    assert {intent.surface for intent in hub.spool.intents} == {"embeddings"}


async def test_a_broken_provider_is_left_for_the_next(hub: Hub) -> None:
    hub.simulator.add_fault("status", provider="novita", status=500)
    answer = await hub.post("/embeddings", model=BGE, input="x")
    assert answer.status_code == 200
    assert answer.headers["x-panelboard-attempts"] == "2"
    assert answer.headers["x-panelboard-provider"] == "ovhcloud"
    assert [finish.outcome for finish in hub.spool.finishes] == [Outcome.PROVIDER_ERROR, Outcome.OK]
    assert hub.cost() == hub.billed() == Decimal("0.00000001")


async def test_an_answer_cut_off_is_left_for_the_next(hub: Hub) -> None:
    hub.simulator.add_fault("cut", provider="novita")
    answer = await hub.post("/embeddings", model=BGE, input="x")
    assert answer.headers["x-panelboard-provider"] == "ovhcloud"


async def test_another_model_may_take_over(hub: Hub) -> None:
    hub.simulator.add_fault("status", provider="openai", status=503)
    answer = await hub.post(
        "/audio/speech",
        model="openai/tts-1",
        models=["canopylabs/orpheus-v1-english"],
        input="hello",
        voice="autumn",
        response_format="wav",
    )
    assert answer.headers["x-panelboard-provider"] == "groq"
    assert answer.headers["content-type"] == "audio/wav"
    assert answer.content[:4] == b"RIFF"
    assert hub.cost() == hub.billed() == Decimal("0.00011")


async def test_the_cheaper_of_two_hosts_is_taken_when_asked_for(hub: Hub) -> None:
    answer = await hub.post(
        "/rerank", model="Qwen/Qwen3-Reranker-8B:cheapest", query="a", documents=["a", "b"]
    )
    assert answer.headers["x-panelboard-provider"] == "novita"
    (intent,) = hub.spool.intents
    assert intent.surface == "rerank"
    assert hub.cost() == hub.billed() > 0


async def test_an_image_is_booked_by_the_piece(hub: Hub) -> None:
    answer = await hub.client.images.generate(model="x-ai/grok-imagine-image", prompt="x", n=2)
    assert answer.data is not None
    assert len(answer.data) == 2
    (finish,) = hub.spool.finishes
    assert (finish.usage.images, finish.cost_usd) == (2, Decimal("0.04"))
    assert finish.cost_status == CostStatus.METERED


async def test_a_recording_is_booked_by_the_second(hub: Hub) -> None:
    answer = await hub.client.audio.transcriptions.create(
        model="whisper-large-v3-turbo", file=("a.wav", wav(61.2)), response_format="verbose_json"
    )
    assert answer.duration == 61.2
    (finish,) = hub.spool.finishes
    assert finish.usage.audio_seconds == 62
    assert finish.cost_usd == 62 * Decimal("0.000011111111")
    assert hub.cost() == hub.billed()


async def test_plain_text_comes_as_text(hub: Hub) -> None:
    text = await hub.client.audio.transcriptions.create(
        model="whisper-1", file=("a.wav", wav(4)), response_format="text"
    )
    assert len(str(text).split()) == 10


async def test_an_estimate_is_booked_as_one(hub: Hub) -> None:
    await hub.post("/embeddings", model="google/gemini-embedding-001", input="x" * 40)
    (finish,) = hub.spool.finishes
    assert finish.cost_status == CostStatus.ESTIMATED
    assert hub.cost() == hub.billed() == Decimal("0.0000015")


async def test_what_the_provider_cannot_take_is_told(hub: Hub) -> None:
    answer = await hub.post(
        "/images/generations", model="x-ai/grok-imagine-image", prompt="x", style="vivid"
    )
    assert answer.headers["x-panelboard-dropped-params"] == "style"


async def test_a_need_that_nobody_meets_is_refused(hub: Hub) -> None:
    answer = await hub.post("/embeddings", model=BGE, input="x", dimensions=8)
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "no_endpoint")
    assert "missing_capability" in answer.json()["error"]["message"]
    assert hub.simulator.journal() == []


async def test_many_short_texts_fit_though_their_sum_does_not(hub: Hub) -> None:
    answer = await hub.post("/embeddings", model="BAAI/bge-base-en-v1.5", input=["word " * 20] * 50)
    assert answer.status_code == 200
    too_long = await hub.post("/embeddings", model="BAAI/bge-base-en-v1.5", input="word " * 1000)
    assert too_long.status_code == 404
    assert "context_window" in too_long.json()["error"]["message"]


@pytest.mark.parametrize("kind", [kind for kind in KINDS.values() if kind.name != "chat"])
async def test_a_model_asked_at_the_wrong_path_names_the_right_one(hub: Hub, kind: Any) -> None:
    name = next(m.name for m in hub.gateway.snapshot.models.values() if m.kind == kind.name)
    with pytest.raises(BadRequestError, match=f"POST {kind.path}"):
        await hub.client.chat.completions.create(
            model=name, messages=[{"role": "user", "content": "x"}]
        )
    assert hub.spool.done.requested_model == name
    assert hub.spool.done.http_status == 400


async def test_a_refused_request_is_in_the_log_with_its_model(hub: Hub) -> None:
    answer = await hub.post("/embeddings", model=BGE, input="")
    assert answer.status_code == 400
    done = hub.spool.done
    assert (done.surface, done.requested_model, done.outcome) == (
        "embeddings",
        BGE,
        Outcome.USER_ERROR,
    )


async def test_the_listing_says_kinds_and_prices(hub: Hub) -> None:
    headers = {"authorization": f"Bearer {TOKEN.decode()}"}
    listed = orjson.loads((await hub.http.get("http://hub/v1/models", headers=headers)).content)
    rows = {row["id"]: row for row in listed["data"]}
    assert rows[BGE]["kind"] == "embedding"
    assert rows["openai/whisper-1"]["providers"][0]["pricing"] == {"audio_second": 0.0001}
    assert rows["openai/tts-1"]["providers"][0]["pricing"] == {"character": 15}
