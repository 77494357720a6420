"""A decision in named fields, for people and for other programs.

The log stores a decision as an array of numbers; here endpoints have their names and money is in
dollars, and the text is kept short enough to travel in a response header.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from routing.core.catalog import Endpoint
from routing.core.decision import Candidate, Decision
from routing.core.pricing import PICO_PER_USD

MAX_HEADER_BYTES = 6 * 2**10

Fields = dict[str, Any]


def ranked(decision: Decision) -> list[Candidate]:
    """Those to be tried first, in their order, then the others by score, the excluded last."""
    places = {endpoint_id: place for place, endpoint_id in enumerate(decision.order)}
    last = len(places)
    return sorted(
        decision.candidates,
        key=lambda one: (
            one.endpoint_id not in places,
            bool(one.excluded),
            places.get(one.endpoint_id, last),
            one.score,
        ),
    )


def runner_up(decision: Decision) -> Candidate | None:
    """What the request would have gone to if its first choice had not been there."""
    others = [one for one in ranked(decision)[1:] if not one.excluded]
    return others[0] if decision.order and others else None


def cost_usd(candidate: Candidate) -> Decimal:
    return Decimal(candidate.cost_pico) / PICO_PER_USD


def explained(decision: Decision, endpoints: Mapping[int, Endpoint]) -> Fields:
    """Everything the decision was made from. `endpoints` is the snapshot's."""
    candidates = [_candidate(one, decision, endpoints) for one in ranked(decision)]
    return {**_frame(decision, endpoints), "candidates": candidates}


def header_text(
    decision: Decision, endpoints: Mapping[int, Endpoint], most_bytes: int = MAX_HEADER_BYTES
) -> bytes:
    """`explained` as JSON in ASCII; where it would be too long, the last candidates are left out.

    `candidates_omitted` says how many of them.
    """
    frame = _frame(decision, endpoints)
    candidates = ranked(decision)
    size = len(_compact({**frame, "candidates": [], "candidates_omitted": len(candidates)}))
    kept: list[Fields] = []
    for candidate in candidates:
        fields = _candidate(candidate, decision, endpoints)
        size += len(_compact(fields)) + 1
        if size > most_bytes:
            break
        kept.append(fields)
    omitted = len(candidates) - len(kept)
    return _compact({**frame, "candidates": kept, "candidates_omitted": omitted})


def _frame(decision: Decision, endpoints: Mapping[int, Endpoint]) -> Fields:
    second = runner_up(decision)
    return {
        "policy": decision.policy,
        "policy_version": decision.policy_version,
        "rule": decision.rule or None,
        "objective": decision.objective,
        "model": decision.model,
        "input_tokens": decision.input_tokens,
        "output_tokens": decision.output_tokens,
        "order": [_name(endpoint_id, endpoints) for endpoint_id in decision.order],
        "runner_up": None if second is None else _name(second.endpoint_id, endpoints),
        "runner_up_cost_usd": None if second is None else _plain(cost_usd(second)),
        "shadow": _name(decision.shadow, endpoints) if decision.shadow else None,
        "stays_at": _name(decision.home, endpoints) if decision.home else None,
        "exploration_share": _short(decision.explored_share),
        "exploration_cost_usd": _plain(Decimal(decision.exploration_pico) / PICO_PER_USD),
        "snapshot_version": decision.snapshot_version,
    }


def _candidate(one: Candidate, decision: Decision, endpoints: Mapping[int, Endpoint]) -> Fields:
    endpoint = endpoints.get(one.endpoint_id)
    order = decision.order
    return {
        "endpoint": _name(one.endpoint_id, endpoints),
        "endpoint_id": one.endpoint_id,
        "provider": "" if endpoint is None else endpoint.provider.slug,
        "place": order.index(one.endpoint_id) + 1 if one.endpoint_id in order else None,
        "estimated_cost_usd": _plain(cost_usd(one)),
        "ttft_ms": _short(one.ttft_ms),
        "speed_tps": _short(one.speed_tps),
        "success_rate": _short(one.success_rate),
        "samples": one.samples,
        "valid_rate": _short(one.valid_rate),
        "valid_samples": one.valid_samples if one.valid_rate is not None else None,
        "score": _short(one.score),
        "draw_probability": _short(one.share),
        "exploring_probability": _short(one.explored),
        "excluded": one.excluded or None,
        "detail": one.detail or None,
    }


def _name(endpoint_id: int, endpoints: Mapping[int, Endpoint]) -> str:
    """An endpoint that has left the catalog since has its number alone."""
    endpoint = endpoints.get(endpoint_id)
    return f"#{endpoint_id}" if endpoint is None else endpoint.key


def _plain(amount: Decimal) -> str:
    return f"{amount.normalize():f}"


def _short(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(f"{value:.5g}")


def _compact(fields: Fields) -> bytes:
    return json.dumps(fields, separators=(",", ":")).encode()
