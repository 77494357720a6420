"""Records as the recorder reads them, and what Postgres makes of their text."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics.models import Attempt, RequestLog
from analytics.recorder import told
from analytics.recorder.rows import ATTEMPT, REQUEST, attempt_row, request_row
from analytics.recorder.shipper import Shipper
from analytics.recorder.store import Store
from routing.core.charges import ChargeLine
from routing.core.record import Record, encode, encode_lines
from routing.core.usage import Meter, Usage
from tests.analytics.conftest import rows_of
from tests.analytics.records import Told
from tests.analytics.spooling import Writer

MOST = 2**63 - 1
MOST_USD = Decimal("999999999999.999999999999")
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
AMOUNTS = st.decimals(0, MOST_USD, places=12)


def read(*records: Record) -> list[Record]:
    return [told.decode(encode(record)) for record in records]


@pytest.mark.parametrize(("kind", "base"), told.BASES.items())
def test_each_has_the_fields_of_its_record_in_their_order(kind: type, base: type) -> None:
    names = [field.name for field in msgspec.structs.fields(kind)]
    assert names == [field.name for field in msgspec.structs.fields(base)]


def test_what_was_read_makes_the_rows_that_the_records_make() -> None:
    one = Told()
    records = (one.intent(), one.progress(9), one.finish(), one.done())
    ours, theirs = rows_of(read(*records)), rows_of(records)
    assert ours == theirs
    assert [len(row) for row in ours.attempts] == [len(ATTEMPT.columns)]
    assert [len(row) for row in ours.requests] == [len(REQUEST.columns)]


def test_every_value_stands_under_the_name_of_its_field() -> None:
    one = Told()
    intent, finish, done = one.intent(), one.finish(), one.done()
    attempt = dict(zip(ATTEMPT.columns, attempt_row(intent, finish, 5.0), strict=True))
    plain = {"request_id", "e2e_ms", "cost_usd", "lines", "usage_raw", "dropped_params", "usage"}
    for record in (intent, finish):
        for name in set(record.__struct_fields__) - plain:
            assert attempt[name] == getattr(record, name), name
    for name in set(finish.usage.__struct_fields__) - {"source"}:
        assert attempt[name] == getattr(finish.usage, name), name
    request = dict(zip(REQUEST.columns, request_row(done), strict=True))
    for name in set(done.__struct_fields__) - {"request_id", "decision"}:
        assert request[name] == getattr(done, name), name


@pytest.mark.parametrize("bad", ["outcome", "request_id"])
def test_what_is_no_record_is_refused(bad: str) -> None:
    fields = msgspec.msgpack.decode(encode(Told().finish()))
    fields[1 + told.Finish.__struct_fields__.index(bad)] = 5
    with pytest.raises(msgspec.ValidationError):
        told.decode(msgspec.msgpack.encode(fields))


@pytest.mark.parametrize("quantity", [0, 1, MOST])
@pytest.mark.parametrize("usd", [Decimal(0), Decimal("1E-12"), Decimal("1E+3"), MOST_USD])
def test_extremes_of_quantities_and_money_arrive(store: Store, quantity: int, usd: Decimal) -> None:
    one = Told()
    usage = Usage(input_total=quantity, reasoning=0, characters=quantity, provider_cost_usd=usd)
    lines = encode_lines((ChargeLine(Meter.INPUT, quantity, 1, usd),))
    finish = one.finish(usage=usage, cost_usd=usd, lines=lines, ttft_ms=1e-300, headers_ms=1e300)
    store.ship(rows_of(read(one.intent(), finish, one.done())))
    attempt = Attempt.objects.get()
    assert (attempt.request_id, attempt.cost_usd, attempt.provider_cost_usd) == (one.id, usd, usd)
    assert (attempt.input_total, attempt.reasoning, attempt.cache_read) == (quantity, 0, None)
    assert (attempt.characters, attempt.pixels) == (quantity, None)
    assert (attempt.ttft_ms, attempt.headers_ms) == (1e-300, 1e300)
    assert Decimal(attempt.lines[0]["amount_usd"]) == usd
    assert RequestLog.objects.get().request_id == one.id


@settings(max_examples=40, deadline=None)
@given(text=TEXTS, usd=AMOUNTS)
def test_any_text_and_amount_reads_back_as_it_was(text: str, usd: Decimal) -> None:
    one = Told(requested_model=text)
    finish = one.finish(
        error_message=text, usage_raw=text.encode(), dropped_params=(text,), cost_usd=usd
    )
    rows = rows_of(read(one.intent(), finish, one.done()))
    attempt = dict(zip(ATTEMPT.columns, rows.attempts[0], strict=True))
    wanted = text.replace("\0", "\ufffd")
    for name in ("requested_model", "error_message", "usage_raw", "dropped_params"):
        assert attempt[name] == wanted
    assert Decimal(attempt["cost_usd"]) == usd


@pytest.mark.parametrize(
    "field",
    ["error_code", "error_message", "response_model", "provider_request_id", "finish_reason"],
)
def test_a_nul_in_any_text_from_outside_becomes_a_mark(store: Store, field: str) -> None:
    one, outside = Told(), {field: "a\0\u00fc"}
    finish = msgspec.structs.replace(one.finish(), **outside)
    store.ship(rows_of(read(one.intent(), finish, one.done())))
    assert getattr(Attempt.objects.get(), field) == "a\ufffd\u00fc"


def test_an_id_that_is_none_is_set_aside_alone(spool: Path, store: Store) -> None:
    one, good = Told(), Told()
    intent = msgspec.structs.replace(one.intent(), request_id=one.id.bytes[:-1])
    writer = Writer(spool)
    place = writer.offset
    writer.write(intent, good.intent(), good.finish(), good.done())
    shipper = Shipper(spool, store)
    assert shipper.drain(patience_s=5)
    assert Attempt.objects.get().request_id == good.id
    name = f"{writer.path.name}.{place}.frame"
    assert [path.name for path in (spool / "quarantine").iterdir()] == [name]
    writer.die()
