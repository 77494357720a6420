"""What the providers saw and billed: one row for each request for an answer, readable while it runs.

A row is born when the request was read in full and updated until it ended. The file gets one line
at birth and one at the end (never fsynced: it is evidence for tests, not a ledger).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from decimal import Decimal
from io import BufferedWriter
from pathlib import Path

import msgspec

from routing.simulator.prices import Tally, plain

MAX_ROWS = 50_000
MAX_FILE_BYTES = 32 * 2**20  # then it is moved aside, and the one before is dropped


class Row(msgspec.Struct):
    seq: int
    time: float  # Unix seconds at which the request was accepted
    provider: str
    request_id: str  # the caller's x-request-id, "" when it sent none
    inference_id: str  # what settlement is asked by
    model: str = ""  # as sent
    stream: bool = False
    status: int = 0  # of the answer; 0 while there is none
    accepted: bool = True  # the whole request was read
    input_tokens: int = 0  # cache tokens included
    cached_tokens: int = 0
    cache_write_5m_tokens: int = 0
    cache_write_1h_tokens: int = 0
    output_tokens: int = 0  # produced and billed, reasoning included
    reasoning_tokens: int = 0
    pieces: dict[str, int] = {}  # by meter: images, seconds of audio and what else is no token
    cost_usd: str = "0"  # usage x catalog prices, exact
    chunks: int = 0  # content chunks written
    closed_by: str = ""  # server | client | fault | shutdown; "" while it runs
    fault: str = ""
    violations: list[str] = []
    service_tier: str = ""
    ended_at: float | None = None


class Violation(msgspec.Struct, frozen=True):
    """Something the hub must never send."""

    seq: int  # of the row, 0 when the request was not for a chat
    time: float
    provider: str
    request_id: str
    problem: str


class Journal:
    def __init__(self, file: Path | None = None) -> None:
        self.rows: OrderedDict[int, Row] = OrderedDict()
        self.violations: list[Violation] = []
        self._by_inference_id: dict[str, Row] = {}
        self._seq = 0
        self._path = file
        self._file: BufferedWriter | None = None
        if file is not None:
            self._restore(file)
            self._file = _opened(file)

    def begin(self, now: float, provider: str, request_id: str, inference_id: str) -> Row:
        self._seq += 1
        row = Row(self._seq, now, provider, request_id, inference_id)
        self._add(row)
        return row

    def accept(self, row: Row) -> None:
        """The row's model and mode are known: write its first line."""
        self._write(row)

    def bill(self, row: Row, tally: Tally, cost_usd: Decimal) -> None:
        row.input_tokens = tally.input_total
        row.cached_tokens = tally.cache_read
        row.cache_write_5m_tokens = tally.cache_write_5m
        row.cache_write_1h_tokens = tally.cache_write_1h
        row.output_tokens = tally.output_total
        row.reasoning_tokens = tally.reasoning
        row.pieces = tally.pieces
        row.cost_usd = plain(cost_usd)

    def end(self, row: Row, now: float, closed_by: str) -> None:
        row.closed_by = closed_by
        row.ended_at = now
        self._write(row)

    def note_violation(self, violation: Violation) -> None:
        self.violations.append(violation)
        del self.violations[:-MAX_ROWS]

    def since(self, seq: int, provider: str = "") -> list[Row]:
        return [
            row
            for row in self.rows.values()
            if row.seq > seq and (not provider or row.provider == provider)
        ]

    def by_inference_id(self, inference_id: str) -> Row | None:
        return self._by_inference_id.get(inference_id)

    def clear(self) -> None:
        """Forget ended rows and violations; running requests stay. The file is left alone."""
        self.violations.clear()
        for seq, row in list(self.rows.items()):
            if row.closed_by:
                self._drop(seq)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _add(self, row: Row) -> None:
        self.rows[row.seq] = row
        self._by_inference_id[row.inference_id] = row
        if len(self.rows) > MAX_ROWS:
            self._drop(next(iter(self.rows)))

    def _drop(self, seq: int) -> None:
        row = self.rows.pop(seq)
        if self._by_inference_id.get(row.inference_id) is row:
            del self._by_inference_id[row.inference_id]

    def _write(self, row: Row) -> None:
        if self._file is None or self._path is None:
            return
        self._file.write(msgspec.json.encode(row) + b"\n")
        self._file.flush()
        if self._file.tell() > MAX_FILE_BYTES:
            self._file.close()
            self._path.replace(self._path.with_suffix(".old"))
            self._file = _opened(self._path)

    def _restore(self, file: Path) -> None:
        """After a restart settlement still knows the requests that had ended."""
        if not file.exists():
            return
        with file.open("rb") as lines:
            for row in _readable(lines):
                self._seq = max(self._seq, row.seq)
                if row.closed_by:
                    self._add(row)


def _opened(file: Path) -> BufferedWriter:
    file.parent.mkdir(parents=True, exist_ok=True)
    return file.open("ab")


def _readable(lines: Iterable[bytes]) -> Iterable[Row]:
    decoder = msgspec.json.Decoder(Row)
    for line in lines:
        try:
            yield decoder.decode(line)
        except msgspec.DecodeError:
            continue  # the line that a crash cut off
