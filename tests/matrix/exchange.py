"""Requests of one cell, with what the provider received and what the hub said beside the answer."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.matrix.asked import Asked, Body, Said
from tests.matrix.surfaces import Surface

STRICT = {"require_parameters": True}
RECEIVED_WITHIN_S = 2.0


class Refusal(Exception):
    """An error in the dialect's own envelope."""

    def __init__(self, status: int, code: str, text: str) -> None:
        super().__init__(f"{status} {code}: {text[:300]}")
        self.status, self.code, self.text = status, code, text


@dataclass(frozen=True)
class Upstream:
    """The endpoint that a cell's requests go to."""

    provider: str
    model: str


@dataclass
class Exchange:
    http: httpx.Client  # of the hub
    control: httpx.Client  # of the provider simulator
    surface: Surface
    upstream: Upstream
    strict: bool = False  # sends `require_parameters`
    dropped: set[str] = field(default_factory=set)  # what the hub said it left out
    _headers: Mapping[str, str] = field(default_factory=dict)

    def ask(self, asked: Asked, then: Sequence[Body] = ()) -> Said:
        """Raises Refusal."""
        body = self.surface.body(self.upstream.model, asked, then)
        body["provider"] = {"only": [self.upstream.provider], **(STRICT if self.strict else {})}
        answer = self.http.post(self.surface.path, json=body)
        self._headers = answer.headers
        self.dropped.update(filter(None, self._header("x-panelboard-dropped-params").split(",")))
        if answer.is_error:
            code = self.surface.error_code(answer.json())
            raise Refusal(answer.status_code, code, answer.text)
        if asked.stream:
            return self.surface.read_stream(list(_events(answer.text)))
        return self.surface.read(answer.json())

    def answer(self, asked: Asked, first: Said, results: Sequence[str]) -> Said:
        """The next turn, with what came of the calls."""
        turn = [*first.turn, *self.surface.results(first.calls, results)]
        return self.ask(asked, turn)

    def refused(self, asked: Asked) -> Refusal:
        try:
            said = self.ask(asked)
        except Refusal as refusal:
            return refusal
        raise AssertionError(f"no error, but an answer: {said.text[:100]!r} {said.error}")

    def received(self) -> Body:
        """The body of the last request, as the provider got it."""
        sent_id = self._header("x-request-id")
        deadline = time.monotonic() + RECEIVED_WITHIN_S
        while True:
            rows = self.control.get("/_control/requests").json()["requests"]
            for row in rows:
                if row["headers"].get("x-request-id", "").startswith(sent_id):
                    body: Body = row["body"]
                    return body
            assert time.monotonic() < deadline, f"the provider did not receive {sent_id}"

    @contextmanager
    def fault(self, name: str, **options: Any) -> Iterator[None]:
        to = {"provider": self.upstream.provider, "model": self.upstream.model}
        rule = {"fault": name, **to, **options}
        self.control.post("/_control/faults", json=rule).raise_for_status()
        try:
            yield
        finally:
            self.control.delete("/_control/faults").raise_for_status()

    def _header(self, name: str) -> str:
        return str(self._headers.get(name, ""))


def _events(text: str) -> Iterator[tuple[str, str]]:
    for block in text.split("\n\n"):
        fields = [line.partition(": ") for line in block.split("\n") if not line.startswith(":")]
        data = "\n".join(value for name, _, value in fields if name == "data")
        if data:
            yield next((value for name, _, value in fields if name == "event"), ""), data
