"""The hub's own broker with a real worker on a real Postgres."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import psycopg
import pytest
from kombu import Connection

from dashboard import broker
from dashboard.launch.embedded_postgres import EmbeddedPostgres
from dashboard.pgmq_transport import NotifyWaiter
from routing.services import stopping
from tests.support.running_hub import ROOT, data_folder

pytestmark = pytest.mark.e2e

# When a message counts as its worker's that died. Too soon, a busy machine gets one twice.
REDELIVER_SOON_S, REDELIVER_LATE_S = 5, 120
SENDERS = 8
WORKER = (
    *(sys.executable, "-m", "celery", "-A", "tests.support.broker_app", "--quiet", "worker"),
    *("--pool", "prefork", "--concurrency", "2", "--loglevel", "WARNING"),
    *("--without-gossip", "--without-mingle", "--without-heartbeat"),
)


@dataclass
class Station:
    postgres: EmbeddedPostgres
    environment: dict[str, str]

    def send(self, *numbers: int, seconds: float = 0.0) -> float:
        """When the last one was in the queue, in Unix seconds."""
        program = (
            "import time; from tests.support.broker_app import note\n"
            f"for number in {list(numbers)}: note.delay(number, {seconds})\n"
            "print(time.time())"
        )
        command = [sys.executable, "-c", program]
        done = subprocess.run(
            command, cwd=ROOT, env=self.environment, check=True, stdout=subprocess.PIPE
        )
        return float(done.stdout)

    @contextmanager
    def worker(self, redeliver_s: int = REDELIVER_SOON_S) -> Iterator[subprocess.Popen[bytes]]:
        environment = {**self.environment, "BROKER_TEST_REDELIVER_S": str(redeliver_s)}
        process = subprocess.Popen(WORKER, cwd=ROOT, env=environment, process_group=0)
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def begun(self) -> set[int]:
        with psycopg.connect(self.postgres.url) as connection:
            return {number for (number,) in connection.execute("select number from begun")}

    def noted(self) -> dict[int, int]:
        """How often each number was noted."""
        with psycopg.connect(self.postgres.url) as connection:
            return dict(
                connection.execute("select number, count(*) from noted group by 1").fetchall()
            )

    def latest(self) -> float:
        with psycopg.connect(self.postgres.url) as connection:
            row = connection.execute("select max(at) from noted").fetchone()
        assert row is not None
        return float(row[0])


def eventually(condition: Callable[[], bool], timeout_s: float) -> bool:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.05)
    return condition()


@pytest.fixture
def station() -> Iterator[Station]:
    with data_folder() as folder, (folder / "log").open("wb") as log:
        postgres = EmbeddedPostgres(folder / "pg", log=log)
        postgres.start()
        try:
            options = broker.transport_options("pgmq://", postgres.url)
            assert broker.install_schema("pgmq://", options)
            assert not broker.install_schema("pgmq://", options)
            with psycopg.connect(postgres.url) as connection:
                connection.execute("create table begun (number int)")
                connection.execute("create table noted (number int, at double precision)")
            environment = {
                "PATH": os.environ["PATH"],
                "PYTHONPATH": str(ROOT),
                "BROKER_TEST_DATABASE_URL": postgres.url,
            }
            yield Station(postgres, environment)
        finally:
            postgres.stop()


def test_it_runs_each_task_once_and_soon(station: Station) -> None:
    with station.worker(REDELIVER_LATE_S):
        station.send(0)
        assert eventually(lambda: station.noted() == {0: 1}, 30)
        sent_at = station.send(1)
        assert eventually(lambda: 1 in station.noted(), 30)
        assert station.latest() - sent_at < 5  # sooner than the poll that is its safety net
        station.send(*range(2, 42))
        assert eventually(lambda: len(station.noted()) == 42, 30)
        assert set(station.noted().values()) == {1}


# The transport hides these itself, by a filter that threads take from each other.
@pytest.mark.filterwarnings(r"ignore::UserWarning:kombu\.transport\.pgmq")
def test_many_processes_may_send_their_first_message_at_once(station: Station) -> None:
    options = broker.transport_options("pgmq://", station.postgres.url)

    def send(number: int) -> None:
        name = broker.transport("pgmq://")
        with Connection("pgmq://", transport=name, transport_options=options) as connection:
            connection.SimpleQueue("many").put(number)

    with ThreadPoolExecutor(SENDERS) as at_once:
        list(at_once.map(send, range(SENDERS)))
    with psycopg.connect(station.postgres.url) as connection:
        assert connection.execute("select count(*) from pgmq.q_many").fetchone() == (SENDERS,)
        made = "select count(*) from pg_trigger where tgrelid = 'pgmq.q_many'::regclass"
        assert connection.execute(made).fetchone() == (1,)


def test_a_worker_that_is_told_to_stop_waits_no_longer(station: Station) -> None:
    waiter = NotifyWaiter(station.postgres.url)
    waiter.register("celery")
    timer = threading.Timer(0.3, stopping.say)
    timer.start()
    try:
        with pytest.raises(TimeoutError):
            waiter.wait(60)
    finally:
        timer.join()
        stopping.forget()
        waiter.close()


def test_the_worker_goes_on_after_postgres_was_killed(station: Station) -> None:
    with station.worker() as worker:
        station.send(*range(20), seconds=0.1)
        assert eventually(lambda: bool(station.noted()), 30)
        assert station.postgres.process is not None
        station.postgres.process.kill()
        station.postgres.process.wait()
        time.sleep(1)
        station.postgres.start()
        station.send(*range(20, 30))
        assert eventually(lambda: len(station.noted()) == 30, 60), station.noted()
        assert worker.poll() is None


def test_tasks_of_a_killed_worker_are_delivered_again(station: Station) -> None:
    with station.worker() as worker:
        station.send(*range(6), seconds=1.5)
        assert eventually(lambda: bool(station.begun()), 30)
        os.killpg(worker.pid, signal.SIGKILL)
    assert len(station.noted()) < 6
    with station.worker():
        assert eventually(lambda: len(station.noted()) == 6, 30), station.noted()


def test_a_clean_stop_finishes_the_running_task(station: Station) -> None:
    with station.worker(REDELIVER_LATE_S) as worker:
        station.send(1, seconds=1.5)
        assert eventually(lambda: 1 in station.begun(), 30)
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(20) == 0
        assert station.noted() == {1: 1}


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://127.0.0.1/0", {"visibility_timeout": 3600, "unacked_restore_throttle": 1}),
        ("amqp://127.0.0.1//", {}),
    ],
)
def test_other_brokers_get_their_own_options(url: str, expected: dict[str, int]) -> None:
    assert broker.transport_options(url, "postgresql:///x") == expected
    assert not broker.install_schema(url, expected)


def test_a_broker_url_with_a_host_is_not_pointed_at_the_hubs_database() -> None:
    options = broker.transport_options("pgmq://me@127.0.0.1:1/other", "postgresql:///x")
    assert options["conn_string"] == "postgresql://me@127.0.0.1:1/other"


def test_redelivery_is_later_than_the_longest_task() -> None:
    assert broker.REDELIVER_AFTER_S > broker.LONGEST_TASK_S
