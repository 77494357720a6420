"""Reads of telemetry and money, for pages, REST and metrics. Start here."""

from analytics.queries.cursors import BadCursor
from analytics.queries.figures import total
from analytics.queries.fresh import freshness
from analytics.queries.measured import measured_around, measurements
from analytics.queries.receipts import receipt
from analytics.queries.requests import request_page
from analytics.queries.totals import (
    breakdown,
    cost_series,
    headline,
    headline_and_parts,
    month_of,
    monthly_bill,
)
from analytics.queries.trends import by_day

__all__ = [
    "BadCursor",
    "breakdown",
    "by_day",
    "cost_series",
    "freshness",
    "headline",
    "headline_and_parts",
    "measured_around",
    "measurements",
    "month_of",
    "monthly_bill",
    "receipt",
    "request_page",
    "total",
]
