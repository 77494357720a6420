"""Batches as the played providers show them while time passes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from routing.simulator.batches.book import Batch, Script
from routing.simulator.server import ThreadedSimulator
from routing.simulator.service import Options


@pytest.fixture(scope="module")
def played() -> Iterator[ThreadedSimulator]:
    """The shipped catalog."""
    with ThreadedSimulator(None, Options(speed=0)) as running:
        yield running


@pytest.mark.parametrize(
    ("fields", "states"),
    [
        ({}, ["validating", "in_progress", "completed"]),
        ({"script": Script(end="expired")}, ["validating", "in_progress", "expired"]),
        ({"problem": "no"}, ["validating", "in_progress", "failed"]),
        ({"cancelled": True}, ["cancelling", "cancelling", "cancelled"]),
    ],
)
def test_a_batch_passes_through_its_states(fields: dict[str, Any], states: list[str]) -> None:
    batch = Batch("b", "openai", created_at=0.0, due_at=10.0, lines=[], asked={}, **fields)
    seen = [batch.state(1.0), batch.state(5.0)]
    batch.has_ended = True
    assert [*seen, batch.state(11.0)] == states


def client_of(played: ThreadedSimulator, slug: str) -> httpx.Client:
    headers = {"authorization": f"Bearer {played.key(slug)}"}
    if slug == "gemini":
        headers = {"x-goog-api-key": played.key(slug)}
    return httpx.Client(base_url=played.base_url(slug), headers=headers)


def test_gemini_takes_a_file_in_two_steps_and_gives_the_answers_as_a_file(
    played: ThreadedSimulator,
) -> None:
    asked = {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}
    text = json.dumps({"key": "a", "request": asked}).encode()
    with client_of(played, "gemini") as client:
        root = played.base_url("gemini").removesuffix("/v1beta")
        begun = client.post(
            f"{root}/upload/v1beta/files",
            headers={
                "x-goog-upload-protocol": "resumable",
                "x-goog-upload-command": "start",
                "x-goog-upload-header-content-length": str(len(text)),
            },
            json={"file": {"displayName": "x"}},
        )
        step = {"x-goog-upload-command": "upload, finalize", "x-goog-upload-offset": "0"}
        # The address is all that the second step needs.
        done = httpx.post(begun.headers["x-goog-upload-url"], headers=step, content=text)
        assert done.headers["x-goog-upload-status"] == "final"
        name = done.json()["file"]["name"]
        body = {"batch": {"displayName": "x", "inputConfig": {"fileName": name}}}
        made = client.post("/models/gemini-2.5-flash:batchGenerateContent", json=body).json()
        ended = client.get(f"/{made['name']}").json()
        assert ended["metadata"]["state"] == "BATCH_STATE_SUCCEEDED"
        assert ended["metadata"]["batchStats"]["successfulRequestCount"] == "1"
        file = ended["response"]["responsesFile"]
        found = client.get(f"{root}/download/v1beta/{file}:download?alt=media")
        assert found.headers["content-type"] == "application/octet-stream"
        assert json.loads(found.text)["key"] == "a"


def test_mistral_runs_one_model_for_all_lines_of_a_job(played: ThreadedSimulator) -> None:
    text = json.dumps({"custom_id": "a", "body": {"messages": [{"role": "user", "content": "x"}]}})
    with client_of(played, "mistral") as client:
        file = client.post(
            "/files", files={"file": ("f.jsonl", text)}, data={"purpose": "batch"}
        ).json()
        job = {"input_files": [file["id"]], "endpoint": "/v1/chat/completions"}
        refused = client.post("/batch/jobs", json=job)
        assert refused.status_code == 422
        made = client.post("/batch/jobs", json={**job, "model": "mistral-small-2603"}).json()
        ended = client.get(f"/batch/jobs/{made['id']}").json()
        assert (ended["status"], ended["succeeded_requests"]) == ("SUCCESS", 1)
        answer = json.loads(client.get(f"/files/{ended['output_file']}/content").text)
        assert answer["response"]["body"]["model"] == "mistral-small-2603"


def test_how_a_batch_ends_can_be_told_over_http(played: ThreadedSimulator) -> None:
    told = httpx.post(
        f"{played.root_url()}/_control/batches", json={"provider": "groq", "end": "expired"}
    )
    assert told.json()["end"] == "expired"
    assert played.in_loop(lambda service: service.batches.scripts.pop().provider) == "groq"
    wrong = httpx.post(f"{played.root_url()}/_control/batches", json={"end": "never"})
    assert wrong.status_code == 400
