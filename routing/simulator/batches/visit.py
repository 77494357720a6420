"""One request about files or batches."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import msgspec

from routing.simulator.asks import Refusal
from routing.simulator.batches.book import Batch, Book, Line
from routing.simulator.batches.work import work_out
from routing.simulator.http11 import Exchange, Request
from routing.simulator.world import Provider

TAKES_S = 3.0  # at the real thing it would be minutes or hours


class Visit(msgspec.Struct):
    """One request about files or batches."""

    service: Any
    exchange: Exchange
    provider: Provider
    id: str
    what: str

    @property
    def request(self) -> Request:
        return self.exchange.request

    @property
    def book(self) -> Book:
        found: Book = self.service.batches
        return found

    def batch(self) -> Batch:
        """As it is now. Raises Refusal 404."""
        found = self.book.batches.get(self.id)
        if found is None or found.provider != self.provider.slug:
            raise Refusal(404, f"No batch found with id '{self.id}'.", code="not_found")
        if not found.has_ended and self.service.wall() >= found.due_at:
            work_out(self.service, self.exchange, self.provider, found)
        return found

    def cancelled(self) -> Batch:
        """Unless it has ended. Raises Refusal 404."""
        found = self.batch()
        found.cancelled = found.cancelled or not found.has_ended
        return found

    @property
    def now(self) -> float:
        found: float = self.service.wall()
        return found

    def all_batches(self) -> list[Batch]:
        return self.book.of(self.provider)


Handler = Callable[[Visit], Any]
Table = dict[tuple[str, bool, str], Handler]  # by method, whether an id is named, and what of it


def batches_table(
    create: Handler, show_all: Handler, show: Callable[[Visit, Batch], dict[str, Any]]
) -> Table:
    """Where one is made, looked at and cancelled at addresses of its own, and always shown."""
    return {
        ("POST", False, ""): create,
        ("GET", False, ""): show_all,
        ("GET", True, ""): lambda visit: show(visit, visit.batch()),
        ("POST", True, "cancel"): lambda visit: show(visit, visit.cancelled()),
    }


def begin(visit: Visit, batch_id: str, lines: list[Line], asked: dict[str, Any]) -> Batch:
    service = visit.service
    speed, now = service.options.speed, service.wall()
    script = visit.book.script_for(visit.provider)
    takes_s = TAKES_S / speed if speed else 0.0
    due_at = now + (takes_s if script.takes_s is None else script.takes_s)
    batch = Batch(batch_id, visit.provider.slug, now, due_at, lines, asked, script)
    if script.end == "failed":
        batch.problem = script.problem
    visit.book.keep_batch(batch)
    return batch


def iso(unix_s: float) -> str:
    return dt.datetime.fromtimestamp(unix_s, dt.UTC).isoformat().replace("+00:00", "Z")


class Given(msgspec.Struct, frozen=True):
    """An answer with headers of its own."""

    body: Any
    headers: list[tuple[bytes, bytes]]
