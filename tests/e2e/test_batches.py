"""Batches through OpenAI's own client, and through worker processes that are killed meanwhile.

`make batches` runs the long form: 10,000 lines, and a worker killed every 10 s.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any
from uuid import UUID

import openai
import pytest
from openai import OpenAI
from openai.types import Batch, FileObject

from routing.core.ids import unix_ms_of
from tests.support.hub_tools import MODEL, SimulatorControl, money
from tests.support.running_hub import ROOT, RunningHub, data_folder, own_environment

pytestmark = pytest.mark.e2e

LINES = int(os.environ.get("PANELBOARD_TEST_BATCH_LINES", "400"))
KILL_EVERY_S = float(os.environ.get("PANELBOARD_TEST_KILL_EVERY_S", "1"))
MOST_KILLS = int(os.environ.get("PANELBOARD_TEST_KILLS", "2"))
WORKERS = 4
QUEUE = "batches"
ENDED = {"completed", "failed", "expired", "cancelled"}
IN_THE_LOG = """
import json
from django.db import connection
with connection.cursor() as cursor:
    cursor.execute("select request_id::text, attempt_no, outcome, cost_usd::text"
                   " from attempt where kind = 'batch'")
    attempts = cursor.fetchall()
    cursor.execute("select request_id::text, outcome from request_log where kind = 'batch'")
    requests = cursor.fetchall()
print(json.dumps({"attempts": attempts, "requests": requests}))
"""


@pytest.fixture(scope="module")
def batch_hub() -> Iterator[RunningHub]:
    """Without probes, and with a queue for batches that its own worker does not serve."""
    own = {
        "PANELBOARD_PROBE_DAILY_USD": "0",
        "PANELBOARD_BATCH_RUNNERS": str(WORKERS),
        "PANELBOARD_BATCH_QUEUE": QUEUE,
    }
    with data_folder() as folder:
        running = RunningHub(folder, own)
        running.start()
        yield running
        running.stop()
        assert "Traceback" not in running.output, running.output


@pytest.fixture(scope="module")
def batch_client(batch_hub: RunningHub) -> Iterator[OpenAI]:
    url = f"{batch_hub.url}/v1"
    with OpenAI(base_url=url, api_key=batch_hub.api_key, max_retries=2) as opened:
        yield opened


class WorkerProcess:
    """A Celery worker in a process group of its own, so that it can be killed with its child."""

    def __init__(self, hub: RunningHub, number: int) -> None:
        self._hub = hub
        self._number = number
        self._process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        quietly = ("-W", "ignore:You're running the worker with superuser privileges")
        command = [
            *(sys.executable, *quietly, "-m", "celery", "-A", "dashboard", "--quiet", "worker"),
            *("--pool", "prefork", "--concurrency", "1", "--queues", QUEUE),
            *("--hostname", f"batches{self._number}@localhost"),
            *("--without-gossip", "--without-mingle", "--without-heartbeat"),
        ]
        first_run = self._hub.first_run
        environment = {
            **own_environment(self._hub.data, self._hub.environment),
            "PANELBOARD_URL": str(first_run["url"]),
        }
        with (self._hub.data / f"worker-{self._number}.log").open("ab") as log:
            return subprocess.Popen(
                command,
                cwd=ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def kill(self) -> None:
        """SIGKILL to the worker and to its child, at once."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def kill_and_replace(self) -> None:
        self.kill()
        self._process = self._start()


@contextmanager
def workers(hub: RunningHub) -> Iterator[list[WorkerProcess]]:
    started = [WorkerProcess(hub, number) for number in range(WORKERS)]
    try:
        yield started
    finally:
        for worker in started:
            worker.kill()


@pytest.fixture
def batch_workers(batch_hub: RunningHub) -> Iterator[list[WorkerProcess]]:
    with workers(batch_hub) as started:
        yield started


def tokens_of(number: int) -> int:
    return 3 + number % 7


def chat_line(number: int, **body: Any) -> str:
    """An answer tells by its length which line it belongs to."""
    asked = {
        "model": MODEL,
        "messages": [{"role": "user", "content": f"Say something about number {number}."}],
        "max_tokens": tokens_of(number),
        **body,
    }
    line = {
        "custom_id": f"line-{number}",
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": asked,
    }
    return json.dumps(line) + "\n"


def upload(client: OpenAI, text: str) -> FileObject:
    return client.files.create(file=("lines.jsonl", text.encode()), purpose="batch")


def start(client: OpenAI, text: str, endpoint: Any = "/v1/chat/completions") -> Batch:
    return client.batches.create(
        input_file_id=upload(client, text).id, endpoint=endpoint, completion_window="24h"
    )


def ended(client: OpenAI, batch: Batch, within_s: float = 90) -> Batch:
    deadline = time.monotonic() + within_s
    while batch.status not in ENDED:
        assert time.monotonic() < deadline, batch
        time.sleep(0.25)
        batch = client.batches.retrieve(batch.id)
    return batch


def content(client: OpenAI, file_id: str | None) -> list[dict[str, Any]]:
    assert file_id is not None
    return [json.loads(line) for line in client.files.content(file_id).text.splitlines()]


def kill_one_after_another(
    client: OpenAI, batch: Batch, batch_workers: list[WorkerProcess]
) -> tuple[Batch, int]:
    """The batch at its end, and how many workers were killed while it ran."""
    deadline = time.monotonic() + 120 + LINES / 20
    kill_at, killed = None, 0
    turn = itertools.cycle(batch_workers)
    while batch.status not in ENDED:
        assert time.monotonic() < deadline, batch
        time.sleep(0.2)
        batch = client.batches.retrieve(batch.id)
        counts = batch.request_counts
        assert counts is not None
        is_busy = batch.status == "in_progress" and 0 < counts.completed < counts.total
        if kill_at is None and is_busy:
            kill_at = time.monotonic() + KILL_EVERY_S
        is_time = kill_at is not None and time.monotonic() >= kill_at
        if is_busy and is_time and killed < MOST_KILLS:
            next(turn).kill_and_replace()
            killed += 1
            kill_at = time.monotonic() + KILL_EVERY_S
    return batch, killed


def in_the_log(hub: RunningHub, count: int, since_ms: int) -> dict[str, list[list[Any]]]:
    """The rows of batches since a moment, once the recorder has shipped as many as there must be.

    An id tells when its request began, so that those of other tests are left out.
    """
    deadline = time.monotonic() + 60
    while True:
        printed = hub.manage("shell", "--verbosity", "0", "-c", IN_THE_LOG)
        every: dict[str, list[list[Any]]] = json.loads(printed.strip().splitlines()[-1])
        found = {
            kind: [row for row in rows if unix_ms_of(UUID(row[0])) >= since_ms]
            for kind, rows in every.items()
        }
        if len(found["requests"]) >= count:
            return found
        assert time.monotonic() < deadline, f"{len(found['requests'])} of {count} in the log"
        time.sleep(1)


def test_every_line_is_asked_answered_and_charged_once_though_workers_are_killed(
    batch_hub: RunningHub, batch_client: OpenAI, batch_workers: list[WorkerProcess]
) -> None:
    text = "".join(map(chat_line, range(LINES)))
    with SimulatorControl(batch_hub.simulator_url) as simulator:
        simulator.http.delete("/_control/journal")
        began, began_ms = time.monotonic(), int(time.time() * 1000)
        batch, killed = kill_one_after_another(
            batch_client, start(batch_client, text), batch_workers
        )
        took_s = time.monotonic() - began
        journal = [row for row in simulator.journal() if row["accepted"]]
    print(f"\n{LINES} lines in {took_s:.0f} s ({LINES / took_s:.0f}/s), {killed} workers killed")
    assert batch.status == "completed", batch
    assert batch.error_file_id is None
    assert killed >= 1
    answers = content(batch_client, batch.output_file_id)
    assert [answer["custom_id"] for answer in answers] == [f"line-{n}" for n in range(LINES)]
    assert_answers_belong_to_their_lines(answers)
    ids = {answer["response"]["request_id"] for answer in answers}
    assert len(ids) == LINES
    assert Counter(row["request_id"].rpartition("-")[0] for row in journal) == Counter(ids)
    log = in_the_log(batch_hub, LINES, began_ms)
    assert Counter(row[0] for row in log["requests"]) == Counter(ids)
    assert Counter(row[0] for row in log["attempts"]) == Counter(ids)
    assert {row[2] for row in log["attempts"]} == {"ok"}
    charged = sum((Decimal(row[3]) for row in log["attempts"]), Decimal(0))
    assert charged == sum((money(row["cost_usd"]) for row in journal), Decimal(0)) > 0


def assert_answers_belong_to_their_lines(answers: list[dict[str, Any]]) -> None:
    for number, answer in enumerate(answers):
        body = answer["response"]["body"]
        assert answer["response"]["status_code"] == 200
        assert body["usage"]["completion_tokens"] == tokens_of(number)


def strictly(kind: type[Any], value: Any) -> None:
    """As OpenAI publishes it, and nothing that it does not know."""
    checked = kind.model_validate(value, strict=True)
    assert not checked.model_extra, checked.model_extra


def test_the_whole_flow_works_with_openais_client_and_fits_its_types(
    batch_client: OpenAI, batch_workers: list[WorkerProcess]
) -> None:
    text = "".join(map(chat_line, range(4))) + chat_line(4, model="no/such-model")
    raw_file = batch_client.files.with_raw_response.create(
        file=("five.jsonl", text.encode()), purpose="batch"
    )
    strictly(FileObject, raw_file.http_response.json())
    file = raw_file.parse()
    assert (file.bytes, file.filename) == (len(text.encode()), "five.jsonl")
    assert batch_client.files.content(file.id).content == text.encode()
    assert file.id in [one.id for one in batch_client.files.list(purpose="batch")]
    batch = batch_client.batches.create(
        input_file_id=file.id,
        endpoint="/v1/chat/completions",
        completion_window="24h",
        metadata={"for": "a test"},
    )
    with pytest.raises(openai.ConflictError):
        batch_client.files.delete(file.id)
    batch = ended(batch_client, batch)
    raw = batch_client.batches.with_raw_response.retrieve(batch.id)
    strictly(Batch, raw.http_response.json())
    assert batch.metadata == {"for": "a test"}
    assert batch.request_counts is not None
    assert batch.request_counts.to_dict() == {"total": 5, "completed": 4, "failed": 1}
    assert batch.usage is not None
    assert batch.usage.output_tokens == sum(map(tokens_of, range(4)))
    answers = content(batch_client, batch.output_file_id)
    assert [answer["custom_id"] for answer in answers] == [f"line-{n}" for n in range(4)]
    (refused,) = content(batch_client, batch.error_file_id)
    assert refused["custom_id"] == "line-4"
    assert refused["response"]["status_code"] == 404
    assert refused["response"]["body"]["error"]["code"] == "model_not_found"
    assert batch.id in [one.id for one in batch_client.batches.list(limit=5)]
    assert batch_client.files.delete(file.id).deleted
    with pytest.raises(openai.NotFoundError):
        batch_client.files.retrieve(file.id)
