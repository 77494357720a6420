from __future__ import annotations

import asyncio
import datetime as dt
from typing import Any

import msgspec
import pytest
from asgiref.sync import sync_to_async
from openai.types import Batch

from routing.batches import ending, lines
from routing.batches.native import NativeBatches
from routing.models import BatchLine, Endpoint, Model, Provider
from routing.services import batch_work, keys, stopping
from tests.routing.batches.world import World, echo, line, make_key, run_sql, status, until

DUE_NOW = "UPDATE routing_batchline SET not_before = now()"


def contents(lines: list[dict[str, Any]]) -> dict[str, str]:
    return {
        one["custom_id"]: one["response"]["body"]["choices"][0]["message"]["content"]
        for one in lines
    }


def codes(lines: list[dict[str, Any]]) -> dict[str, str]:
    return {one["custom_id"]: one["error"]["code"] for one in lines}


async def test_a_batch_is_answered_in_the_order_of_its_input(world: World) -> None:
    names = [f"n{n}" for n in range(40)]
    batch_id = await world.begin(*map(line, names), metadata={"for": "x"})
    await world.work()
    batch = await world.batch(batch_id)
    assert not Batch.model_validate(batch, strict=True).model_extra
    assert batch["status"] == "completed"
    assert batch["request_counts"] == {"total": 40, "completed": 40, "failed": 0}
    assert batch["metadata"] == {"for": "x"}
    assert batch["error_file_id"] is None
    answers = await world.content(batch["output_file_id"])
    assert [one["custom_id"] for one in answers] == names
    assert contents(answers) == dict(zip(names, names, strict=True))
    assert sorted(world.provider.asked) == sorted(names)
    file = (await world.client.get(f"/v1/files/{batch['output_file_id']}")).json()
    assert file["purpose"] == "batch_output"
    assert batch["usage"]["input_tokens"] == 400
    assert batch["usage"]["total_tokens"] == 560


async def test_each_line_is_booked_to_the_key_as_a_batch(world: World) -> None:
    await world.begin(line("a"), line("b"))
    await world.work()
    assert len(world.charged) == 2
    assert {(one.kind, one.key_id, one.surface) for one in world.ended} == {
        ("batch", world.key.pk, "chat")
    }
    assert {one.request_id for one in world.charged} == {one.request_id for one in world.ended}
    cost_usd = sum(one.cost_usd for one in world.charged)
    stored = await run_sql("SELECT cost_usd, simulated FROM routing_batch")
    assert stored == [(cost_usd, False)]


async def test_a_batch_with_an_answer_of_unknown_cost_has_no_cost(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep = lines.keep

    def as_before_costs_were_kept(cursor: Any, ended: Any) -> set[int]:
        old = [one for one in ended if one.try_no == 1 and one.line_id % 2]
        without = [msgspec.structs.replace(one, cost=None) for one in old]
        return keep(cursor, [one for one in ended if one not in old] + without)

    monkeypatch.setattr(lines, "keep", as_before_costs_were_kept)
    batch_id = await world.begin(line("a"), line("b"))
    await world.work()
    assert (await world.batch(batch_id))["request_counts"]["completed"] == 2
    assert len(world.charged) == 2
    assert await run_sql("SELECT cost_usd FROM routing_batch") == [(None,)]


async def test_lines_that_fail_for_good_stand_in_the_error_file(world: World) -> None:
    world.provider.answer = lambda prompt: status(400)
    batch_id = await world.begin(line("a"), line("b", model="no/such"))
    await world.work()
    batch = await world.batch(batch_id)
    assert batch["status"] == "completed"
    assert batch["request_counts"] == {"total": 2, "completed": 0, "failed": 2}
    assert batch["output_file_id"] is None
    failed = await world.content(batch["error_file_id"])
    assert [one["response"]["status_code"] for one in failed] == [400, 404]
    assert failed[1]["response"]["body"]["error"]["code"] == "model_not_found"
    assert world.provider.asked == ["a"]


async def test_what_may_pass_is_tried_again_later(world: World) -> None:
    world.provider.answer = lambda prompt: status(503)
    batch_id = await world.begin(line("a"))
    await world.work(turn_s=2)
    batch = await world.batch(batch_id)
    assert batch["status"] == "in_progress"
    waiting = await sync_to_async(BatchLine.objects.get)()
    assert (waiting.state, waiting.try_no) == ("waiting", 1) or waiting.try_no == 2
    world.provider.answer = None
    await run_sql(DUE_NOW)
    await world.work()
    batch = await world.batch(batch_id)
    assert batch["request_counts"] == {"total": 1, "completed": 1, "failed": 0}
    assert len(world.charged) == 1


async def test_a_line_is_not_tried_for_ever(world: World) -> None:
    world.provider.answer = lambda prompt: status(503)
    batch_id = await world.begin(line("a"))
    while (await world.batch(batch_id))["status"] != "completed":
        await run_sql(DUE_NOW)
        await world.work(turn_s=0.5)
    batch = await world.batch(batch_id)
    assert batch["status"] == "completed"
    (failed,) = await world.content(batch["error_file_id"])
    assert failed["response"]["status_code"] == 502
    assert len({one.request_id for one in world.ended}) == 6


async def test_a_batch_for_another_endpoint_than_its_lines_fails_with_their_numbers(
    world: World,
) -> None:
    batch_id = await world.begin(line("a"), line("b"), url="/v1/embeddings")
    await world.work()
    batch = await world.batch(batch_id)
    assert not Batch.model_validate(batch, strict=True).model_extra
    assert batch["status"] == "failed"
    assert [(one["line"], one["code"]) for one in batch["errors"]["data"]] == [
        (1, "mismatched_url"),
        (2, "mismatched_url"),
    ]
    assert world.provider.asked == []
    assert await sync_to_async(BatchLine.objects.count)() == 0


async def test_cancelling_stops_new_lines_at_once_and_keeps_what_was_answered(world: World) -> None:
    batch_id = await world.begin(*(line(f"n{n}") for n in range(20)))

    def cancel_after_four(prompt: str) -> Any:
        if len(world.provider.asked) == 4:
            world.provider.open.clear()
        return echo(prompt)

    world.provider.answer = cancel_after_four
    worker = asyncio.create_task(world.work())
    await until(lambda: len(world.provider.asked) >= 4)
    answer = await world.client.post(f"/v1/batches/{batch_id}/cancel")
    assert answer.json()["status"] == "cancelling"
    world.provider.open.set()
    await worker
    batch = await world.batch(batch_id)
    assert not Batch.model_validate(batch, strict=True).model_extra
    assert batch["status"] == "cancelled"
    asked = len(world.provider.asked)
    assert asked < 20
    assert batch["request_counts"] == {"total": 20, "completed": asked, "failed": 0}
    assert len(world.charged) == asked
    left = await world.content(batch["error_file_id"])
    assert set(codes(left).values()) == {"batch_cancelled"}
    assert len(left) == 20 - asked
    again = await world.client.post(f"/v1/batches/{batch_id}/cancel")
    assert again.json()["status"] == "cancelled"


async def test_a_batch_that_has_ended_cannot_be_cancelled(world: World) -> None:
    batch_id = await world.begin(line("a"))
    await world.work()
    answer = await world.client.post(f"/v1/batches/{batch_id}/cancel")
    assert answer.status_code == 409
    assert answer.json()["error"]["code"] == "batch_not_cancellable"


async def test_a_batch_whose_time_is_over_expires_with_what_it_has(world: World) -> None:
    batch_id = await world.begin(line("a"), line("b"))
    world.provider.answer = lambda prompt: echo(prompt) if prompt == "a" else status(503)
    await world.work(turn_s=2)
    await run_sql("UPDATE routing_batch SET expires_at = now()")
    await world.work()
    batch = await world.batch(batch_id)
    assert batch["status"] == "expired"
    assert batch["request_counts"] == {"total": 2, "completed": 1, "failed": 1}
    assert codes(await world.content(batch["error_file_id"])) == {"b": "batch_expired"}
    assert contents(await world.content(batch["output_file_id"])) == {"a": "a"}


async def test_a_revoked_key_ends_its_batch_without_asking_anyone(world: World) -> None:
    batch_id = await world.begin(line("a"))
    await sync_to_async(keys.revoke_key)(world.key)
    world.gateway.snapshot.callers.clear()
    _, token = await sync_to_async(make_key)("default")
    await world.work()
    async with world.serving(), world.client_of(token) as client:
        batch = (await client.get(f"/v1/batches/{batch_id}")).json()
        text = (await client.get(f"/v1/files/{batch['error_file_id']}/content")).text
    assert batch["status"] == "completed"
    assert '"status_code":401' in text
    assert world.provider.asked == []


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"endpoint": "/v1/files"}, "endpoint"),
        ({"completion_window": "1h"}, "completion_window"),
        ({"input_file_id": ""}, "input_file_id"),
        ({"metadata": {"a": 1}}, "metadata.a"),
        ({"metadata": {str(n): "" for n in range(17)}}, "metadata"),
        ({"output_expires_after": {"anchor": "created_at", "seconds": 5}}, "output_expires"),
        ({"batch": "perhaps"}, "batch"),
    ],
)
async def test_a_wrong_field_is_named(world: World, change: dict[str, Any], param: str) -> None:
    file = (await world.upload(line("a"))).json()
    body = {
        "input_file_id": file["id"],
        "endpoint": "/v1/chat/completions",
        "completion_window": "24h",
        **change,
    }
    answer = await world.client.post("/v1/batches", json=body)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"].startswith(param)


async def test_an_output_file_is_no_input(world: World) -> None:
    batch_id = await world.begin(line("a"))
    await world.work()
    output = (await world.batch(batch_id))["output_file_id"]
    body = {
        "input_file_id": output,
        "endpoint": "/v1/chat/completions",
        "completion_window": "24h",
    }
    answer = await world.client.post("/v1/batches", json=body)
    assert answer.json()["error"]["code"] == "invalid_input_file"


async def test_a_file_in_use_cannot_be_deleted_until_the_batch_has_ended(world: World) -> None:
    batch_id = await world.begin(line("a"))
    file_id = (await world.batch(batch_id))["input_file_id"]
    assert (await world.client.delete(f"/v1/files/{file_id}")).status_code == 409
    await world.work()
    assert (await world.client.delete(f"/v1/files/{file_id}")).status_code == 200


async def test_batches_are_listed_page_by_page_and_to_their_own_project(world: World) -> None:
    made = [await world.begin(line("a")) for _ in range(3)]
    first = (await world.client.get("/v1/batches", params={"limit": 2})).json()
    assert [batch["id"] for batch in first["data"]] == [made[2], made[1]]
    rest = {"limit": 2, "after": first["last_id"]}
    second = (await world.client.get("/v1/batches", params=rest)).json()
    assert ([batch["id"] for batch in second["data"]], second["has_more"]) == ([made[0]], False)
    _, token = await sync_to_async(make_key)("other")
    async with world.serving(), world.client_of(token) as stranger:
        assert (await stranger.get("/v1/batches")).json()["data"] == []
        assert (await stranger.get(f"/v1/batches/{made[0]}")).status_code == 404
        assert (await stranger.post(f"/v1/batches/{made[0]}/cancel")).status_code == 404


async def test_progress_is_seen_while_it_runs(world: World) -> None:
    batch_id = await world.begin(*(line(f"n{n}") for n in range(6)))
    world.provider.answer = lambda prompt: echo(prompt) if prompt in ("n0", "n1") else status(503)
    await world.work(turn_s=1)
    batch = await world.batch(batch_id)
    assert batch["status"] == "in_progress"
    assert batch["request_counts"] == {"total": 6, "completed": 2, "failed": 0}


async def test_messages_and_completions_are_answered_in_their_own_dialect(world: World) -> None:
    asked = line("a", url="/v1/messages", max_tokens=5)
    messages_id = await world.begin(asked, url="/v1/messages")
    prompt = line("b", url="/v1/completions", prompt="once upon").replace("messages", "unused")
    completions_id = await world.begin(prompt, url="/v1/completions")
    await world.work()
    message = await world.content((await world.batch(messages_id))["output_file_id"])
    assert message[0]["response"]["body"]["type"] == "message"
    completion = await world.content((await world.batch(completions_id))["output_file_id"])
    assert completion[0]["response"]["body"]["object"] == "text_completion"


async def test_two_batches_share_a_worker(world: World) -> None:
    first = await world.begin(*(line(f"a{n}") for n in range(24)))
    second = await world.begin(*(line(f"b{n}") for n in range(24)))
    world.provider.answers_after_s = 0.03
    await world.work()
    for batch_id in (first, second):
        assert (await world.batch(batch_id))["status"] == "completed"
    assert any(name.startswith("b") for name in world.provider.asked[:24])


async def test_a_place_is_offered_only_while_there_is_work(world: World) -> None:
    assert await sync_to_async(batch_work.offer_places)() == []
    await world.begin(line("a"))
    offered = await sync_to_async(batch_work.offer_places)()
    assert [slot for slot, _ in offered] == [1]
    assert await sync_to_async(batch_work.offer_places)() == []
    await run_sql("UPDATE routing_batchrunner SET taken_until = now() - interval '1 second'")
    ((slot, token),) = await sync_to_async(batch_work.offer_places)()
    assert (slot, token) != offered[0]
    assert await sync_to_async(batch_work.take_turn)(*offered[0]) is False


async def test_a_line_is_never_hedged(world: World) -> None:
    wish = {"hedge": {"after_ms": 1}}
    batch_id = await world.begin(line("a", provider=wish))
    world.provider.answers_after_s = 0.1
    await world.work()
    batch = await world.batch(batch_id)
    assert batch["request_counts"] == {"total": 1, "completed": 1, "failed": 0}
    assert world.provider.asked == ["a"]
    assert len(world.charged) == 1


async def test_large_answers_are_read_a_few_at_a_time(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ending, "READ_AT_ONCE_BYTES", 700)  # less than two answers
    names = [f"n{n}" for n in range(5)]
    batch_id = await world.begin(*map(line, names))
    await world.work()
    batch = await world.batch(batch_id)
    answers = await world.content(batch["output_file_id"])
    assert [one["custom_id"] for one in answers] == names


async def test_lines_do_not_wait_for_a_batch_on_its_way_to_a_provider(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrived = asyncio.Event()

    async def slow(_: NativeBatches) -> bool:
        await arrived.wait()
        return False

    batch_id = await world.begin(line("a"), line("b"), batch="off")
    monkeypatch.setattr(NativeBatches, "step", slow)
    working = asyncio.create_task(world.work(turn_s=0.3))
    await until(lambda: len(world.ended) == 2)
    arrived.set()
    await working
    monkeypatch.undo()
    await world.work()
    assert (await world.batch(batch_id))["status"] == "completed"


async def test_a_worker_that_is_told_to_stop_leaves_the_rest_to_the_next(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def endless(_: NativeBatches) -> bool:
        await asyncio.Event().wait()
        return False

    batch_id = await world.begin(line("a"), line("b"), batch="off")
    monkeypatch.setattr(NativeBatches, "step", endless)
    working = asyncio.create_task(world.work())
    await until(lambda: len(world.ended) == 2)
    stopping.say()
    try:
        await working
    finally:
        stopping.forget()
    monkeypatch.undo()
    await world.work()
    assert (await world.batch(batch_id))["status"] == "completed"


async def test_old_batches_are_forgotten_with_all_that_is_known_of_them(world: World) -> None:
    batch_id = await world.begin(line("a"))
    await world.work()
    await run_sql(
        "INSERT INTO routing_nativebatch (batch_id, tag, endpoint_id, state, native_id, completed,"
        " failed, is_cancelled, next_at, tries) SELECT id, gen_random_uuid(), %s, 'over', 'x', 0, 0,"
        " false, now(), 1 FROM routing_batch",
        await sync_to_async(any_endpoint)(),
    )
    later = dt.datetime.now(dt.UTC) + dt.timedelta(days=200)
    await sync_to_async(batch_work.forget_expired)(later)
    assert (await world.client.get(f"/v1/batches/{batch_id}")).status_code == 404
    assert await run_sql("SELECT 1 FROM routing_nativebatch") == []


def any_endpoint() -> int:
    provider = Provider.objects.create(slug="p", name="P", dialect="openai_compat", base_url="u")
    model = Model.objects.create(name="m/m", slug="m-m")
    return Endpoint.objects.create(provider=provider, model=model, upstream_model="m").pk
