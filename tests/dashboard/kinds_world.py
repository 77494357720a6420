"""Models of every kind, and traffic to them, beside the chat models of the small hub."""

from __future__ import annotations

import datetime as dt
from typing import Any
from uuid import UUID

import msgspec
from typing_extensions import override

from routing.core import pricing
from routing.core.charges import CostStatus
from routing.core.kinds import KINDS
from routing.core.record import Finish, Intent, Outcome, RequestDone, encode_lines
from routing.core.usage import Usage
from routing.models import Endpoint
from routing.services import catalog
from tests.dashboard.small_catalog import catalog_document, endpoint_row, model_row
from tests.dashboard.world import Traffic, World

# model, kind, meters with their prices by provider
_SERVED: tuple[tuple[str, str, dict[str, dict[str, str]]], ...] = (
    ("acme/embed-1", "embedding", {"groq": {"input": "0.02"}, "novita": {"input": "0.05"}}),
    ("acme/embed-2", "embedding", {"groq": {"input": "0.13"}}),
    ("acme/rank-1", "rerank", {"groq": {"search": "0.002"}, "novita": {"input": "0.05"}}),
    ("acme/paint-1", "image", {"together": {"image": "0.003"}, "novita": {"pixel": "0.0013"}}),
    ("acme/hear-1", "transcription", {"groq": {"audio_second": "0.000011111111"}}),
    ("acme/speak-1", "speech", {"groq": {"character": "15"}}),
)
USAGES: dict[str, Usage] = {
    "embedding": Usage(input_total=1200, output_total=0),
    "rerank": Usage(input_total=300, output_total=0, searches=1),
    "image": Usage(input_total=0, output_total=0, images=2, pixels=2_097_152),
    "transcription": Usage(input_total=0, output_total=0, audio_seconds=14),
    "speech": Usage(input_total=0, output_total=0, characters=1),
}


def kinds_document() -> dict[str, Any]:
    """The same providers with more models: loading it takes nothing away."""
    small = catalog_document()
    endpoints = [
        _endpoint(provider, model, kind, prices)
        for model, kind, served in _SERVED
        for provider, prices in served.items()
    ]
    models = [_model(model, kind) for model, kind, _ in _SERVED]
    return {
        **small,
        "models": [*small["models"], *models],
        "endpoints": [*small["endpoints"], *endpoints],
    }


def _model(name: str, kind: str) -> dict[str, Any]:
    title = name.split("/")[1].replace("-", " ").title()
    return model_row(name, title, "Acme", kind=kind, description="")


def _endpoint(provider: str, model: str, kind: str, prices: dict[str, str]) -> dict[str, Any]:
    window = {"context_window": 8192} if kind in ("embedding", "rerank") else {}
    return endpoint_row(provider, model, model.split("/")[1], prices, **window)


class KindTraffic(Traffic):
    """Requests to one model, each with a whole answer at that model's own surface."""

    def __init__(self, world: World, model: str, seed: int) -> None:
        super().__init__(world, [model], seed)
        self.kind = self.by_model[model][0].model.kind

    def some(self, n: int) -> list[UUID]:
        return [
            self.one(self.world.now - dt.timedelta(minutes=5 * number + 5), key=self.world.key)
            for number in range(n)
        ]

    @override
    def changed_intent(self, intent: Intent) -> Intent:
        return msgspec.structs.replace(intent, surface=KINDS[self.kind].surface, stream=False)

    @override
    def _finish(self, intent: Intent, endpoint: Endpoint, fails: bool) -> Finish:
        made = super()._finish(intent, endpoint, fails=False)
        usage = USAGES[self.kind]
        moment = dt.datetime.fromtimestamp(intent.received_at, dt.UTC)
        charge = pricing.charge(usage, self.sheets[endpoint.pk], moment)
        return msgspec.structs.replace(
            made,
            usage=usage,
            cost_usd=charge.amount_usd,
            cost_status=CostStatus.METERED,
            lines=encode_lines(charge.lines),
            ttft_ms=None,
            ttfa_ms=None,
            content_frames=0,
            first_chunk_tokens=None,
        )

    @override
    def changed_done(self, done: RequestDone) -> RequestDone:
        return msgspec.structs.replace(done, stream=False, ttft_ms=None)


class RefusedTraffic(Traffic):
    """Requests that ended before any policy was asked."""

    @override
    def changed_done(self, done: RequestDone) -> RequestDone:
        self.attempts.clear()
        return msgspec.structs.replace(
            done,
            outcome=Outcome.USER_ERROR,
            http_status=400,
            error_code="wrong_endpoint",
            attempts=0,
            endpoint_id=None,
            ttft_ms=None,
            policy="",
            policy_version=0,
            decision=b"",
        )


def add_kinds(world: World, per_model: int = 3) -> dict[str, UUID]:
    """Loads the models, sends some traffic to each, and returns a request of each kind."""
    catalog.load(kinds_document())
    found: dict[str, UUID] = {}
    for seed, (model, kind, _) in enumerate(_SERVED, start=100):
        traffic = KindTraffic(world, model, seed)
        found[kind] = traffic.some(per_model)[0]
        traffic.record()
    return found
