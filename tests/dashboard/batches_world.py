"""Batches in every state, as the workers leave them."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from uuid import UUID

from routing.core.ids import uuid7
from routing.models import (
    ApiKey,
    Batch,
    BatchFile,
    BatchLine,
    Endpoint,
    NativeBatch,
)
from tests.dashboard.world import World


def add_batches(world: World) -> dict[str, str]:
    """Their ids as clients see them, by what is to be seen of each."""
    made = {
        "completed": _completed(world),
        "failed": _failed(world),
        "running": _running(world),
        "fresh": batch(world.batch_key, world.now, 4),
        "old": _old(world),
        "others": batch(world.other_key, world.now, 5, model="secret/model"),
    }
    return {name: f"batch_{one.pk.hex}" for name, one in made.items()}


def batch(key: ApiKey, now: dt.datetime, number: int, **fields: object) -> Batch:
    made_at = now - dt.timedelta(hours=10 - number)
    return Batch.objects.create(
        id=_id(made_at, number),
        project=key.project,
        key=key,
        endpoint="/v1/chat/completions",
        completion_window="24h",
        input_file_id=_file(key, made_at, f"lines-{number}.jsonl", "batch", 40 + number).pk,
        created_at=made_at,
        expires_at=made_at + dt.timedelta(hours=24),
        served_at=made_at,
        **fields,
    )


def _completed(world: World) -> Batch:
    key, at = world.batch_key, world.now - dt.timedelta(hours=8)
    return batch(
        key,
        world.now,
        1,
        status="completed",
        model="openai/gpt-oss-120b:groq",
        total=12_000,
        completed=11_990,
        failed=10,
        cost_usd=Decimal("3.2175"),
        usage={"input_tokens": 4_100_000, "output_tokens": 910_000},
        metadata={"job": "nightly summaries"},
        in_progress_at=at,
        completed_at=at + dt.timedelta(hours=1),
        output_file_id=_file(key, at, "batch_output.jsonl", "batch_output", 60).pk,
        error_file_id=_file(key, at, "batch_error.jsonl", "batch_output", 61).pk,
    )


def _failed(world: World) -> Batch:
    errors = [
        {
            "code": "invalid_json_line",
            "message": "The line is not valid JSON: Input data was truncated",
            "param": None,
            "line": 1_204,
        },
        {
            "code": "mismatched_url",
            "message": "'url' is /v1/embeddings, and the batch was made for /v1/chat/completions",
            "param": "url",
            "line": 1_205,
        },
        {
            "code": "too_many_requests",
            "message": "The file has more than 50000 lines. Make several batches of it",
            "param": None,
            "line": None,
        },
    ]
    return batch(world.batch_key, world.now, 2, status="failed", errors=errors, failed_at=world.now)


def _running(world: World) -> Batch:
    one = batch(
        world.batch_key,
        world.now,
        3,
        status="in_progress",
        model="openai/gpt-oss-120b:groq",
        total=200,
        in_progress_at=world.now - dt.timedelta(hours=7),
        metadata={"job": "evaluation"},
    )
    endpoint = Endpoint.objects.get(provider__slug="groq", model__name="openai/gpt-oss-120b")
    NativeBatch.objects.create(
        batch=one,
        tag=_id(world.now, 90),
        endpoint=endpoint,
        state=NativeBatch.State.RUNNING,
        native_id="batch_there",
        completed=118,
        failed=2,
        next_at=world.now,
    )
    BatchLine.objects.create(
        batch=one,
        number=1,
        custom_id="a",
        chunk=0,
        offset=0,
        length=1,
        state=BatchLine.State.DONE,
        status_code=400,
        cost_usd=Decimal("0.25"),
        simulated=True,
    )
    return one


def _old(world: World) -> Batch:
    """It ended before the hub kept what batches cost."""
    return batch(
        world.batch_key,
        world.now,
        0,
        status="completed",
        model="openai/gpt-oss-120b",
        total=3,
        completed=3,
        completed_at=world.now - dt.timedelta(hours=9),
    )


def _file(key: ApiKey, at: dt.datetime, name: str, purpose: str, number: int) -> BatchFile:
    return BatchFile.objects.create(
        id=_id(at, number),
        project=key.project,
        filename=name,
        purpose=purpose,
        status=BatchFile.Status.PROCESSED,
        size_bytes=2_400_000,
        lines=12_000,
        created_at=at,
        expires_at=at + dt.timedelta(days=30),
    )


def _id(at: dt.datetime, number: int) -> UUID:
    return uuid7(int(at.timestamp() * 1000), lambda bits: number)
