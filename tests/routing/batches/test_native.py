"""Batches that a provider takes as a whole, and which ones go there."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from anthropic.types.messages import MessageBatch
from asgiref.sync import sync_to_async
from openai.types import Batch

from routing.batches import native_visit
from routing.core.record import Intent, RequestDone
from routing.models import NativeBatch
from routing.services.database_work import DatabaseUnavailable
from routing.simulator.server import ThreadedSimulator
from tests.routing.batches.native_world import CHAT, CLAUDE, billed, booked, finished
from tests.routing.batches.world import World, line, run_sql


async def test_lines_that_name_one_provider_go_there_as_one_batch_at_its_price(
    native: World, simulator: ThreadedSimulator
) -> None:
    names = [f"n{n}" for n in range(30)]
    lines = (line(name, model=f"{CHAT}:openai", max_tokens=5) for name in names)
    batch = await finished(native, await native.begin(*lines))
    assert batch["status"] == "completed"
    assert batch["request_counts"] == {"total": 30, "completed": 30, "failed": 0}
    answers = await native.content(batch["output_file_id"])
    assert [one["custom_id"] for one in answers] == names
    assert {one["response"]["body"]["object"] for one in answers} == {"chat.completion"}
    rows = simulator.journal()
    assert len(rows) == 30
    assert {row.service_tier for row in rows} == {"batch"}
    assert booked(native) == billed(simulator) > 0
    intents = native.spool.of(Intent)
    assert {(one.kind, one.service_tier, one.surface) for one in intents} == {
        ("batch", "batch", "chat")
    }
    ids = {one["response"]["request_id"] for one in answers}
    assert len(ids) == len({one.request_id for one in native.spool.of(RequestDone)}) == 30
    assert simulator.violations() == []


async def test_anthropics_batches_answer_chat_and_messages_lines(
    native: World, simulator: ThreadedSimulator
) -> None:
    chat = await native.begin(*(line(f"c{n}", model=f"{CLAUDE}:anthropic") for n in range(5)))
    asked = (
        line(f"m{n}", url="/v1/messages", model=f"{CLAUDE}:anthropic", max_tokens=9)
        for n in range(5)
    )
    messages = await native.begin(*asked, url="/v1/messages")
    first, second = await finished(native, chat), await finished(native, messages)
    answers = await native.content(first["output_file_id"])
    assert {one["response"]["body"]["object"] for one in answers} == {"chat.completion"}
    assert [one["custom_id"] for one in answers] == [f"c{n}" for n in range(5)]
    whole = await native.content(second["output_file_id"])
    assert {one["response"]["body"]["type"] for one in whole} == {"message"}
    assert {row.service_tier for row in simulator.journal()} == {"batch"}
    assert booked(native) == billed(simulator) > 0
    assert simulator.violations() == []


async def test_built_in_tools_run_line_by_line_in_the_words_of_the_line(
    native: World, simulator: ThreadedSimulator
) -> None:
    asked = (
        line(
            f"r{n}",
            url="/v1/responses",
            model=f"{CHAT}:{provider}",
            input="hi",
            messages=None,
            tools=[{"type": "web_search"}],
        )
        for n, provider in enumerate(("openai", "plain"))
    )
    batch = await finished(native, await native.begin(*asked, url="/v1/responses"))
    assert batch["request_counts"] == {"total": 2, "completed": 1, "failed": 1}
    (answer,) = await native.content(batch["output_file_id"])
    kinds = [item["type"] for item in answer["response"]["body"]["output"]]
    assert kinds == ["web_search_call", "web_search_call", "message"]
    (refused,) = await native.content(batch["error_file_id"])
    assert "tools.web_search" in str(refused)


@pytest.mark.parametrize(
    "models",
    [(f"{CHAT}:plain", f"{CHAT}:plain"), (CHAT, CHAT), (f"{CHAT}:openai", f"{CHAT}:plain")],
    ids=["a provider without batches", "no provider", "two providers"],
)
async def test_other_batches_are_run_line_by_line(
    native: World, simulator: ThreadedSimulator, models: tuple[str, str]
) -> None:
    lines = (line(f"n{n}", model=model, max_tokens=5) for n, model in enumerate(models))
    batch = await finished(native, await native.begin(*lines))
    assert batch["request_counts"]["completed"] == 2
    assert {row.service_tier for row in simulator.journal()} == {""}
    assert not await sync_to_async(NativeBatch.objects.exists)()


async def test_off_keeps_a_batch_at_the_hub_and_native_refuses_what_cannot_go(
    native: World, simulator: ThreadedSimulator
) -> None:
    kept = await native.begin(line("a", model=f"{CHAT}:openai"), batch="off")
    assert (await finished(native, kept))["status"] == "completed"
    assert {row.service_tier for row in simulator.journal()} == {""}
    refused = await finished(native, await native.begin(line("a", model=CHAT), batch="native"))
    assert refused["status"] == "failed"
    assert refused["errors"]["data"][0]["code"] == "no_native_batch"
    assert not Batch.model_validate(refused, strict=True).model_extra


async def test_a_line_that_the_provider_refuses_is_an_error_and_costs_nothing(
    native: World, simulator: ThreadedSimulator
) -> None:
    model = f"{CHAT}:openai"
    good, bad = line("a", model=model, max_tokens=5), line("b", model=model, max_tokens=10**9)
    batch = await finished(native, await native.begin(good, bad))
    assert batch["request_counts"] == {"total": 2, "completed": 1, "failed": 1}
    (failed,) = await native.content(batch["error_file_id"])
    assert failed["custom_id"] == "b"
    assert failed["response"]["status_code"] == 400
    assert booked(native) == billed(simulator) > 0


async def test_a_batch_that_was_submitted_as_its_worker_died_is_found_again(
    native: World, simulator: ThreadedSimulator
) -> None:
    batch_id = await native.begin(line("a", model=f"{CHAT}:openai", max_tokens=5))
    while not await run_sql("SELECT 1 FROM routing_nativebatch WHERE state = 'running'"):
        await native.work(turn_s=0.3)
    await run_sql("UPDATE routing_nativebatch SET state = 'submitting', native_id = ''")
    batch = await finished(native, batch_id)
    assert batch["request_counts"]["completed"] == 1
    assert len(simulator.journal()) == 1


async def test_answers_that_are_taken_over_twice_are_written_down_under_the_same_key(
    native: World, simulator: ThreadedSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The recorder stores an attempt by its request's id and its number: the second counts not."""
    keep, calls = native_visit._keep_lines, []

    def away_at_first(ended: Any, cursor: Any) -> None:
        calls.append(ended)
        if len(calls) == 1:
            raise DatabaseUnavailable("gone just now")
        keep(ended, cursor)

    monkeypatch.setattr(native_visit, "_keep_lines", away_at_first)
    batch_id = await native.begin(line("a", model=f"{CLAUDE}:anthropic", max_tokens=5))
    batch = await finished(native, batch_id)
    assert batch["request_counts"]["completed"] == 1
    written = native.spool.finishes
    assert len(calls) == len(written) == 2
    assert len({(one.request_id, one.attempt_no, one.cost_usd) for one in written}) == 1
    assert written[0].cost_usd == billed(simulator) > 0


async def test_cancelling_is_passed_on_to_the_provider(
    native: World, simulator: ThreadedSimulator
) -> None:
    batch_id = await native.begin(
        *(line(f"n{n}", model=f"{CLAUDE}:anthropic", max_tokens=5) for n in range(3))
    )
    while not await run_sql("SELECT 1 FROM routing_nativebatch"):
        await native.work(turn_s=0.05)
    await native.client.post(f"/v1/batches/{batch_id}/cancel")
    batch = await finished(native, batch_id)
    assert batch["status"] == "cancelled"
    assert booked(native) == billed(simulator)


async def test_what_the_played_providers_say_is_what_they_publish(
    native: World, simulator: ThreadedSimulator
) -> None:
    async with httpx.AsyncClient(base_url=simulator.base_url("openai")) as client:
        client.headers["authorization"] = "Bearer sim-openai-key"
        text = line("a", model="gpt-oss-120b").encode()
        file = await client.post(
            "/files", files={"file": ("f.jsonl", text)}, data={"purpose": "batch"}
        )
        body = {
            "input_file_id": file.json()["id"],
            "endpoint": "/v1/chat/completions",
            "completion_window": "24h",
        }
        made = (await client.post("/batches", json=body)).json()
        assert not Batch.model_validate(made, strict=True).model_extra
    async with httpx.AsyncClient(base_url=simulator.base_url("anthropic")) as client:
        client.headers.update({"x-api-key": "sim-anthropic-key", "anthropic-version": "2023-06-01"})
        params = {
            "model": "claude-x",
            "max_tokens": 5,
            "messages": [{"role": "user", "content": "hi"}],
        }
        body = {"requests": [{"custom_id": "a", "params": params}]}
        made = (await client.post("/v1/messages/batches", json=body)).json()
        assert not MessageBatch.model_validate(made).model_extra
