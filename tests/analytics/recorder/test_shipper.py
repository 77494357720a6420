"""The recorder against a real spool folder and a real Postgres."""

from __future__ import annotations

import logging
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.db import connection

from analytics.models import Attempt, DirtyBucket, FillState, RequestLog
from analytics.queries.types import floor_to_cell
from analytics.recorder.reader import Batch
from analytics.recorder.shipper import BATCH_ROWS, Shipper, SpoolTaken, lock_folder
from analytics.recorder.store import BadRows, DatabaseAway, Store
from routing.core.record import Outcome
from routing.core.usage import Usage
from tests.analytics.conftest import Clock, rows_of
from tests.analytics.records import NOON, Told
from tests.analytics.spooling import Writer

pytestmark = pytest.mark.usefixtures("clean_log")


def drain(shipper: Shipper, clock: Clock) -> None:
    """Two rounds, so that locks are asked and batches are due."""
    for _ in range(3):
        clock.now += 2
        shipper.step()


def step_until_gone(path: Path, shipper: Shipper, clock: Clock) -> None:
    """And not one step further."""
    for _ in range(10):
        if not path.exists():
            return
        clock.now += 2
        shipper.step()
    pytest.fail(f"{path.name} is still there")


def left_in(spool: Path) -> list[str]:
    return sorted(path.name for path in spool.iterdir() if path.suffix == ".spool")


def test_what_was_written_arrives_whole(spool: Path, shipper: Shipper, clock: Clock) -> None:
    told = Told()
    writer = Writer(spool)
    writer.write(told.intent(), told.progress(10), told.finish(), told.done())
    drain(shipper, clock)
    attempt, request = Attempt.objects.get(), RequestLog.objects.get()
    assert attempt.request_id == request.request_id == told.id
    assert attempt.day == NOON.date()
    assert attempt.cost_usd == Decimal("0.00042")
    assert attempt.lines == [
        {"meter": "input", "quantity": 800, "price_id": 1, "amount_usd": "0.00012"},
        {"meter": "output", "quantity": 500, "price_id": 2, "amount_usd": "0.0003"},
    ]
    assert attempt.usage_raw == '{"prompt_tokens":1000,"completion_tokens":500}'
    assert (attempt.input_total, attempt.cache_read, attempt.reasoning) == (1000, 200, None)
    assert request.received_at == NOON
    assert request.decision[0] == "balanced"
    writer.die()


def test_a_segment_of_a_living_process_stays_and_a_closed_one_goes(
    spool: Path, shipper: Shipper, clock: Clock
) -> None:
    told = Told()
    writer = Writer(spool)
    writer.write(told.intent(), told.finish(), told.done())
    drain(shipper, clock)
    assert writer.path.name in left_in(spool)
    writer.close()
    drain(shipper, clock)
    assert left_in(spool) == []


def test_a_name_that_comes_again_is_read_again(spool: Path, shipper: Shipper, clock: Clock) -> None:
    """A task that opens a spool, closes it and opens the next within one look at the folder."""
    for _ in range(3):
        told = Told()
        writer = Writer(spool)
        writer.write(told.intent(), told.finish(), told.done())
        writer.close()
        step_until_gone(writer.path, shipper, clock)
    assert RequestLog.objects.count() == 3
    assert left_in(spool) == []


def test_shipping_twice_changes_nothing(spool: Path, store: Store, clock: Clock) -> None:
    told = Told()
    writer = Writer(spool)
    writer.write(told.intent(), told.finish(), told.done())
    for _ in range(2):
        shipper = Shipper(spool, store, clock)
        drain(shipper, clock)
        writer.path.with_suffix(".spool.ckpt").unlink(missing_ok=True)  # as if it had been lost
    assert (Attempt.objects.count(), RequestLog.objects.count()) == (1, 1)
    writer.die()


def test_open_requests_survive_a_restart_of_the_recorder(
    spool: Path, store: Store, clock: Clock
) -> None:
    open_one, ended = Told(), Told()
    writer = Writer(spool)
    writer.write(open_one.intent(), open_one.progress(400))
    writer.write(ended.intent(), ended.finish(), ended.done())
    drain(Shipper(spool, store, clock), clock)  # its checkpoint is behind the open intent
    writer.die()
    drain(Shipper(spool, store, clock), clock)
    crashed = Attempt.objects.get(request_id=open_one.id)
    assert (crashed.outcome, crashed.output_total) == ("crashed", 100)
    assert Attempt.objects.count() == RequestLog.objects.count() == 2
    assert left_in(spool) == []


class FailsAt:
    """A store whose COMMIT goes wrong: before it counts, or after it counted unseen."""

    def __init__(self, store: Store, moment: str) -> None:
        self._store = store
        self._moment = moment
        self.failures = 1

    def ship(self, rows: Any) -> None:
        if self._moment == "before" and self.failures:
            self.failures -= 1
            raise DatabaseAway("cut before COMMIT")
        self._store.ship(rows)
        if self._moment == "after" and self.failures:
            self.failures -= 1
            raise DatabaseAway("cut after COMMIT")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_commit_that_fails_or_is_not_heard_of_loses_and_doubles_nothing(
    spool: Path, store: Store, clock: Clock, moment: str
) -> None:
    told = Told()
    writer = Writer(spool)
    writer.write(told.intent(), told.finish(), told.done())
    failing: Any = FailsAt(store, moment)
    shipper = Shipper(spool, failing, clock)
    clock.now += 2
    shipper.step()
    clock.now += 2
    shipper.step()
    assert not writer.path.with_suffix(".spool.ckpt").exists()
    drain(shipper, clock)
    assert failing.failures == 0
    assert (Attempt.objects.count(), RequestLog.objects.count()) == (1, 1)
    assert writer.path.with_suffix(".spool.ckpt").exists()
    writer.die()


def test_a_dead_process_is_settled_exactly_once(
    spool: Path, transactional_db: None, store: Store, clock: Clock, world: Any
) -> None:
    told = [Told(model_id=world.model.pk) for _ in range(50)]
    writer = Writer(spool)
    for one in told:
        writer.write(one.intent(endpoint_id=world.at_swift.pk), one.progress(400))
    drain(Shipper(spool, store, clock), clock)
    assert Attempt.objects.count() == 0  # alive: they may still end
    writer.die()
    for _ in range(2):
        drain(Shipper(spool, store, clock), clock)
    crashed = list(Attempt.objects.all())
    assert len(crashed) == RequestLog.objects.count() == 50
    wanted = Decimal("0.15") * 100 / 10**6 + Decimal("0.60") * 100 / 10**6
    assert {row.cost_usd for row in crashed} == {wanted}
    assert {row.cost_status for row in crashed} == {"estimated"}


def test_a_rotated_segment_goes_and_its_open_requests_go_on(
    spool: Path, shipper: Shipper, clock: Clock
) -> None:
    told = Told()
    first = Writer(spool)
    first.write(told.intent())
    second = first.rotate(told.intent())
    drain(shipper, clock)
    assert left_in(spool) == [second.path.name]
    second.write(told.finish(), told.done())
    drain(shipper, clock)
    assert Attempt.objects.get().outcome == "ok"
    second.die()


def test_a_process_that_died_while_rotating_left_two_segments_of_one_life(
    spool: Path, shipper: Shipper, clock: Clock
) -> None:
    told, other = Told(), Told()
    first = Writer(spool)
    first.write(told.intent(), other.intent())
    second = Writer(spool, number=2, process_id=first.process_id)
    second.write(told.intent(), told.finish(), told.done())
    second.die()
    first.die()
    drain(shipper, clock)
    outcomes = dict(Attempt.objects.values_list("request_id", "outcome"))
    assert outcomes == {told.id: "ok", other.id: "crashed"}
    assert left_in(spool) == []


def test_a_damaged_frame_is_set_aside_with_an_alarm_and_the_next_ones_arrive(
    spool: Path, shipper: Shipper, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    told = Told()
    writer = Writer(spool)
    broken = bytearray(writer.frame(b"x" * 40))
    broken[20] ^= 0xFF
    writer.put(bytes(broken))
    writer.write(told.intent(), told.finish(), told.done())
    with caplog.at_level(logging.ERROR):
        drain(shipper, clock)
    assert Attempt.objects.count() == 1
    assert "ALARM" in caplog.text
    (kept,) = (spool / "quarantine").iterdir()
    assert kept.read_bytes() == bytes(broken)
    writer.die()


def test_a_good_frame_that_is_no_record_is_set_aside(
    spool: Path, shipper: Shipper, clock: Clock
) -> None:
    writer = Writer(spool)
    writer.put(writer.frame(b"\x01\x02"))
    writer.write(Told().finish())  # an end whose beginning is missing
    drain(shipper, clock)
    assert len(list((spool / "quarantine").iterdir())) == 2
    writer.die()


def test_a_row_that_can_never_be_stored_does_not_stop_the_others(
    spool: Path, shipper: Shipper, clock: Clock
) -> None:
    writer = Writer(spool)
    good, bad = [Told() for _ in range(5)], Told()
    for one in good[:3]:
        writer.write(one.intent(), one.finish(), one.done())
    writer.write(bad.intent(), bad.finish(usage=Usage(input_total=2**63)), bad.done())
    for one in good[3:]:
        writer.write(one.intent(), one.finish(), one.done())
    drain(shipper, clock)
    assert (Attempt.objects.count(), RequestLog.objects.count()) == (5, 6)
    (kept,) = (spool / "quarantine").iterdir()
    assert str(bad.id) in kept.name
    writer.die()


def test_when_most_rows_are_refused_the_database_is_at_fault(
    spool: Path, store: Store, clock: Clock
) -> None:
    class RefusesAll:
        def ship(self, rows: Any) -> None:
            raise BadRows("column does not exist")

        def close(self) -> None:
            """Nothing is open."""

    writer = Writer(spool)
    for _ in range(15):
        told = Told()
        writer.write(told.intent(), told.finish(), told.done())
    confused: Any = RefusesAll()
    shipper = Shipper(spool, confused, clock)
    for _ in range(3):
        clock.now += 2
        shipper.step()
    assert not (spool / "quarantine").exists()
    drain(Shipper(spool, store, clock), clock)
    assert Attempt.objects.count() == 15
    writer.die()


def test_a_file_that_is_no_segment_is_set_aside(
    spool: Path, shipper: Shipper, clock: Clock
) -> None:
    spool.mkdir()
    (spool / "gateway-1-1.spool").write_bytes(b"nonsense" * 100)
    drain(shipper, clock)
    assert [path.name for path in (spool / "quarantine").iterdir()] == ["gateway-1-1.spool"]


def test_the_torn_end_of_a_crash_is_kept_and_the_rest_arrives(
    spool: Path, shipper: Shipper, clock: Clock
) -> None:
    told = Told()
    writer = Writer(spool)
    writer.write(told.intent(), told.finish(), told.done())
    writer.put(writer.frame(b"y" * 100)[:50])
    writer.die()
    drain(shipper, clock)
    assert Attempt.objects.count() == 1
    assert [path.suffix for path in (spool / "quarantine").iterdir()] == [".torn"]


def test_a_missing_postgres_is_told_once_and_nothing_is_lost(
    spool: Path, clean_log: None, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    told = Told()
    writer = Writer(spool)
    writer.write(told.intent(), told.finish(), told.done())
    params = dict(connection.get_connection_params())
    away = Store({**params, "port": "1"})
    shipper = Shipper(spool, away, clock)
    with caplog.at_level(logging.WARNING):
        for _ in range(4):
            clock.now += 2
            waits_s = shipper.step()
    assert waits_s == 1.0  # after 0.2 and 0.5: it backs off
    assert caplog.text.count("Postgres does not take rows") == 1
    away._params = Store(params)._params
    with caplog.at_level(logging.WARNING):
        drain(shipper, clock)
    assert caplog.text.count("Postgres takes rows again") == 1
    assert Attempt.objects.count() == 1
    shipper.close()
    writer.die()


def test_memory_is_bounded_while_postgres_is_away(spool: Path, clock: Clock) -> None:
    writer = Writer(spool)
    for _ in range(BATCH_ROWS // 2 + 500):
        told = Told()
        writer.write(told.intent(), told.finish(), told.done())
    shipper = Shipper(spool, Store({"host": "127.0.0.1", "port": "1"}), clock)
    for _ in range(5):
        clock.now += 2
        shipper.step()
    assert len(shipper._batch.rows) <= BATCH_ROWS + 1
    shipper.close()
    writer.die()


def test_a_postgres_that_says_nothing_is_left_after_the_deadline(store: Store) -> None:
    store._deadline_s = 0.3
    store._params["options"] = "-c statement_timeout=0 -c client_connection_check_interval=50"
    with pytest.raises(DatabaseAway):
        store._guarded(lambda open_: open_.execute("SELECT pg_sleep(20)"))
    store._deadline_s = 20
    store.ship(rows_of([]))  # a new connection, as if nothing had been


def test_a_locked_log_is_waited_for_without_end(spool: Path, store: Store, clock: Clock) -> None:
    told = Told()
    writer = Writer(spool)
    writer.write(told.intent(), told.finish(), told.done())
    store._params["options"] = "-c lock_timeout=200"
    shipper = Shipper(spool, store, clock)
    params = {
        name: value
        for name, value in connection.get_connection_params().items()
        if name not in ("context", "cursor_factory")
    }
    with psycopg.connect(**params) as other:
        other.execute("LOCK TABLE attempt IN ACCESS EXCLUSIVE MODE")
        clock.now += 2
        shipper.step()
        clock.now += 2
        assert shipper.step() > 0.1
    drain(shipper, clock)
    assert Attempt.objects.count() == 1
    writer.die()


def test_rows_of_a_bucket_that_is_over_mark_it_dirty(
    spool: Path, shipper: Shipper, clock: Clock
) -> None:
    told = Told()
    writer = Writer(spool)
    writer.write(told.intent(), told.finish(), told.done())
    drain(shipper, clock)
    starts = set(DirtyBucket.objects.values_list("bucket_start", flat=True))
    assert starts == {floor_to_cell(NOON)}
    writer.die()


def test_rows_of_a_day_that_retention_dropped_are_set_aside(
    spool: Path, shipper: Shipper, clock: Clock
) -> None:
    FillState.objects.create(
        name="cells",
        state="done",
        end=NOON,
        updated_at=NOON,
        kept_from=NOON.date().replace(day=21),
    )
    told = Told()
    writer = Writer(spool)
    writer.write(told.intent(), told.finish(), told.done())
    drain(shipper, clock)
    assert Attempt.objects.count() == 0
    assert len(list((spool / "quarantine").iterdir())) == 2
    writer.die()


def test_a_request_without_attempts_is_a_row_too(
    spool: Path, shipper: Shipper, clock: Clock
) -> None:
    told = Told()
    writer = Writer(spool)
    refused = told.done(
        outcome=Outcome.BLOCKED, attempts=0, endpoint_id=None, model_id=None, http_status=403
    )
    writer.write(refused)
    drain(shipper, clock)
    assert RequestLog.objects.get().outcome == "blocked"
    writer.die()


def test_one_recorder_per_spool_folder(spool: Path) -> None:
    held = lock_folder(spool)
    assert held > 0
    with pytest.raises(SpoolTaken):
        lock_folder(spool)


def test_a_drain_ships_what_is_there_and_says_when_it_could_not(
    spool: Path, store: Store, clean_log: None
) -> None:
    told = Told()
    writer = Writer(spool)
    writer.write(told.intent(), told.finish(), told.done())
    away = Shipper(spool, Store({"host": "127.0.0.1", "port": "1"}))
    assert not away.drain(patience_s=0)
    shipper = Shipper(spool, store)
    assert shipper.drain(patience_s=5)
    assert Attempt.objects.count() == 1
    writer.die()


def test_an_empty_batch_is_not_worth_a_transaction() -> None:
    assert not Batch().is_worth_shipping
