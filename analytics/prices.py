"""The approved price rows of endpoints, as the one charging function takes them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from routing.core.charges import Price
from routing.core.cursor import Cursor
from routing.core.pricing import PriceSheet
from routing.core.usage import Meter

_APPROVED = """
SELECT endpoint_id, id, meter, unit_price_usd, effective_from, min_input_tokens, service_tier,
       utc_from_minute, utc_until_minute, weekdays
FROM routing_price WHERE state = 'approved' AND endpoint_id = ANY(%s)
"""


def load_sheets(cursor: Cursor, endpoint_ids: Iterable[int]) -> dict[int, PriceSheet]:
    """One query. An endpoint without an approved price has an empty sheet."""
    rows: dict[int, list[Price]] = {endpoint_id: [] for endpoint_id in endpoint_ids}
    cursor.execute(_APPROVED, [list(rows)])
    for endpoint_id, *fields in cursor.fetchall():
        rows[endpoint_id].append(_price(*fields))
    return {endpoint_id: PriceSheet(prices) for endpoint_id, prices in rows.items()}


def _price(
    price_id: int, meter: str, unit_price_usd: Decimal, effective_from: dt.datetime, *rest: Any
) -> Price:
    return Price(price_id, Meter(meter), unit_price_usd, effective_from, *rest)
