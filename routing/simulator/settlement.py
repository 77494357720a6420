"""What requests cost, asked for afterwards by their Inference-Id (the protocol of the HF router).

Ids that are unknown or still running are left out: ask again later. Asking twice gives the same.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from routing.simulator.asks import Refusal
from routing.simulator.journal import Journal, Row
from routing.simulator.prices import NANO_PER_USD, scaled_up

MAX_IDS = 10_000


def settle(journal: Journal, provider: str, body: Any) -> dict[str, Any]:
    """Raises Refusal when the body is not a list of ids."""
    ids = body.get("requestIds") if isinstance(body, dict) else None
    if not isinstance(ids, list) or not all(isinstance(one, str) for one in ids):
        raise Refusal(400, "requestIds must be a list of strings")
    if len(ids) > MAX_IDS:
        raise Refusal(400, f"requestIds may hold {MAX_IDS} ids")
    rows = (journal.by_inference_id(one) for one in dict.fromkeys(ids))
    return {
        "requests": [
            _line(row) for row in rows if row and row.closed_by and row.provider == provider
        ]
    }


def _line(row: Row) -> dict[str, Any]:
    return {
        "requestId": row.inference_id,
        "costNanoUsd": scaled_up(Decimal(row.cost_usd), NANO_PER_USD),
        "usage": {
            "input_total": row.input_tokens,
            "cache_read": row.cached_tokens,
            "cache_write_5m": row.cache_write_5m_tokens,
            "cache_write_1h": row.cache_write_1h_tokens,
            "output_total": row.output_tokens,
            "reasoning": row.reasoning_tokens,
            "cost_usd": row.cost_usd,
        },
    }
