"""The shipped endpoints of all kinds but chat, asked for real at the played providers."""

from __future__ import annotations

import io
import wave
from functools import cache
from typing import Any

import httpx
import msgspec

from routing.adapters.base import ChatCall, Reply, Upload
from routing.adapters.quirks import quirks_from
from routing.adapters.registry import adapter_for
from routing.core.catalog import Endpoint
from routing.core.charges import Charge
from routing.core.pricing import PriceSheet, charge
from routing.simulator.journal import Row
from routing.simulator.server import ThreadedSimulator
from routing.simulator.world import CATALOG_DIR, read_documents
from tests.routing import factories

Record = dict[str, Any]


@cache
def catalog() -> list[Record]:
    return [dict(document) for document in read_documents(CATALOG_DIR)]


def records(of: str) -> list[Record]:
    return [row for document in catalog() for row in document.get(of, ())]


@cache
def providers() -> dict[str, Record]:
    return {row["slug"]: row for row in records("providers")}


@cache
def models() -> dict[str, Record]:
    return {row["name"]: row for row in records("models")}


def kind_of(record: Record) -> str:
    return str(models()[record["model"]].get("kind", "chat"))


def shipped(kind: str) -> list[Record]:
    return [row for row in records("endpoints") if kind_of(row) == kind]


def name_of(record: Record) -> str:
    return f"{record['provider']}:{record['upstream_model']}"


def record_of(slug: str, upstream_model: str) -> Record:
    return next(
        row
        for row in records("endpoints")
        if (row["provider"], row["upstream_model"]) == (slug, upstream_model)
    )


def sheet_of(record: Record) -> PriceSheet:
    rows = enumerate(record["prices"], 1)
    return PriceSheet(
        factories.price(
            row["meter"],
            row["usd"],
            number,
            service_tier=row.get("service_tier", ""),
            min_input_tokens=row.get("min_input_tokens", 0),
        )
        for number, row in rows
    )


def endpoint_of(record: Record, base_url: str = "", number: int = 1, **quirks: Any) -> Endpoint:
    spec = providers()[record["provider"]]
    home = factories.provider(
        record["provider"],
        number,
        base_url,
        quirks_from({**spec["quirks"], **quirks}),
        dialect=spec["dialect"],
    )
    model = msgspec.structs.replace(factories.model(record["model"], number), kind=kind_of(record))
    made = factories.endpoint(
        record["provider"],
        number,
        of=model,
        at=home,
        context_window=record.get("context_window"),
        capabilities=frozenset(record["capabilities"]),
    )
    return msgspec.structs.replace(
        made, upstream_model=record["upstream_model"], prices=sheet_of(record)
    )


def endpoints_of(simulator: ThreadedSimulator, *chat_models: str) -> list[Endpoint]:
    """All that is not chat, and the chat models that are named as their providers do."""
    return [
        endpoint_of(record, simulator.base_url(record["provider"]), number)
        for number, record in enumerate(records("endpoints"), 1)
        if kind_of(record) != "chat" or record["upstream_model"] in chat_models
    ]


def call_of(kind: str, upload: Upload | None = None, **body: Any) -> ChatCall:
    return ChatCall(
        {"model": "asked", **body}, stream=False, wants_usage=False, kind=kind, upload=upload
    )


class Desk:
    """Sends what an adapter built to a played provider and lets the adapter read the answer."""

    def __init__(self, simulator: ThreadedSimulator, record: Record) -> None:
        self.simulator = simulator
        self.endpoint = endpoint_of(record, simulator.base_url(record["provider"]))
        self.adapter = adapter_for(self.endpoint.provider.dialect, self.endpoint.kind)
        self.sent = httpx.Response(0)
        self.dropped: tuple[str, ...] = ()

    def send(self, call: ChatCall, secret: str = "") -> httpx.Response:
        slug = self.endpoint.provider.slug
        built = self.adapter.build(call, self.endpoint, secret or f"sim-{slug}-key")
        self.dropped = built.dropped
        url = self.endpoint.provider.base_url + built.path
        with httpx.Client(timeout=10, trust_env=False) as client:
            return client.post(url, headers=list(built.headers), content=built.body)

    def ask(self, upload: Upload | None = None, **body: Any) -> Reply:
        call = call_of(self.endpoint.kind, upload, **body)
        response = self.send(call)
        headers = [(k.lower(), v) for k, v in response.headers.raw]
        if response.status_code != 200:
            raise self.adapter.read_error(
                self.endpoint, response.status_code, headers, response.content
            )
        return self.adapter.read_reply(call, self.endpoint, headers, response.content)

    def bill(self, reply: Reply) -> Charge:
        return charge(reply.usage, self.endpoint.prices, factories.NOON)

    @property
    def row(self) -> Row:
        """What the provider wrote down of the last request."""
        return self.simulator.journal()[-1]


def wav(seconds: float, rate_hz: int = 8000) -> bytes:
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes(bytes(2 * round(seconds * rate_hz)))
    return out.getvalue()


def recording(seconds: float = 12.4) -> Upload:
    return Upload("speech.wav", "audio/wav", wav(seconds))
