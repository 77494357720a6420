"""Providers that take whole batches, played by the simulator over real sockets."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from routing.models import Credential, Provider
from routing.services import catalog, credentials
from routing.simulator.server import ThreadedSimulator
from tests.routing.batches.world import World, run_sql
from tests.routing.edge.documents import price

CHAT, CLAUDE, VECTORS = "openai/gpt-oss-120b", "anthropic/claude-x", "openai/text-embedding-3-small"
GEMINI, MISTRAL = "google/gemini-x", "mistralai/mistral-x"
HALF = {"service_tier": "batch"}
DOCUMENT: dict[str, Any] = {
    "format": "panelboard-catalog/1",
    "checked_on": "2026-11-23",
    "source": "test",
    "providers": [
        {
            "slug": "openai",
            "name": "OpenAI",
            "dialect": "openai_compat",
            "base_url": "https://api.openai.example/v1",
            "quirks": {"batches": "openai", "responses_path": "/responses"},
        },
        {
            "slug": "plain",
            "name": "Plain",
            "dialect": "openai_compat",
            "base_url": "https://api.plain.example/v1",
        },
        {
            "slug": "anthropic",
            "name": "Anthropic",
            "dialect": "anthropic",
            "base_url": "https://api.anthropic.example",
            "quirks": {
                "chat_path": "/v1/messages",
                "auth": "header:x-api-key",
                "extra_headers": {"anthropic-version": "2023-06-01"},
                "batches": "anthropic",
            },
        },
        {
            "slug": "gemini",
            "name": "Gemini",
            "dialect": "gemini",
            "base_url": "https://gemini.example/v1beta",
            "quirks": {"auth": "header:x-goog-api-key", "batches": "gemini"},
        },
        {
            "slug": "mistral",
            "name": "Mistral",
            "dialect": "openai_compat",
            "base_url": "https://api.mistral.example/v1",
            "quirks": {"batches": "mistral"},
        },
    ],
    "models": [
        {"name": CHAT},
        {"name": CLAUDE},
        {"name": GEMINI},
        {"name": MISTRAL},
        {"name": VECTORS, "kind": "embedding"},
    ],
    "endpoints": [
        {
            "provider": provider,
            "model": model,
            "upstream_model": model.rpartition("/")[2],
            "context_window": 131072,
            "prices": [
                price("input", "2.00"),
                price("output", "8.00"),
                price("input", "1.00", **HALF),
                price("output", "4.00", **HALF),
            ],
        }
        for provider, model in (
            ("openai", CHAT),
            ("plain", CHAT),
            ("openai", VECTORS),
            ("mistral", VECTORS),
            ("anthropic", CLAUDE),
            ("gemini", GEMINI),
            ("mistral", MISTRAL),
        )
    ],
}


def load_catalog(simulator: ThreadedSimulator) -> None:
    catalog.load(DOCUMENT)
    for provider in Provider.objects.all():
        provider.simulated_base_url = simulator.base_url(provider.slug)
        provider.save()
        credentials.store_credential(
            provider=provider,
            name="simulator",
            secret=f"sim-{provider.slug}-key",
            origin=Credential.Origin.SIMULATOR,
        )


async def finished(world: World, batch_id: str) -> dict[str, Any]:
    for _ in range(60):
        await world.work(turn_s=0.2)
        await run_sql("UPDATE routing_nativebatch SET next_at = now() WHERE state <> 'over'")
        batch = await world.batch(batch_id)
        if batch["status"] in ("completed", "failed", "cancelled", "expired"):
            return batch
    raise AssertionError(batch)


def booked(world: World) -> Decimal:
    return sum((one.cost_usd for one in world.spool.finishes), Decimal(0))


def billed(simulator: ThreadedSimulator) -> Decimal:
    return sum((Decimal(row.cost_usd) for row in simulator.journal()), Decimal(0))
