"""The declared rollups: which table is filled by which SELECT over the log.

Every SELECT takes `start` and `end` (instants) and `first_day` and `last_day` (partitions to look
in: one more on each side, because a day is told by the id and an instant by the clock).
"""

from __future__ import annotations

from dataclasses import dataclass

from analytics.histogram import bin_sql
from routing.core.decision import EXPLORATION_PLACE, EXPLORED_SHARE_PLACE, USUAL_PLACE
from routing.core.pricing import PICO_PER_USD

BUCKET = "date_bin('15 minutes', {}, timestamptz '2000-01-01 00:00+00')"
MIN_SPEED_TOKENS = 16  # with fewer, or in less time, a speed is noise
MIN_DECODE_MS = 50

_IN_RANGE = """
    {0}.day BETWEEN %(first_day)s AND %(last_day)s
    AND {0}.received_at >= %(start)s AND {0}.received_at < %(end)s
"""


@dataclass(frozen=True, slots=True)
class Stat:
    table: str
    columns: str
    select: str

    @property
    def delete_sql(self) -> str:
        return (
            f"DELETE FROM {self.table} WHERE bucket_start >= %(start)s AND bucket_start < %(end)s"  # noqa: S608
        )

    @property
    def insert_sql(self) -> str:
        return f"INSERT INTO {self.table} ({self.columns}) {self.select}"


REQUESTS = Stat(
    "request_cell",
    "bucket_start, project_id, key_id, kind, model_id, endpoint_id, outcome, simulated,"
    " requests, rescued, cancelled_early",
    f"""
    SELECT {BUCKET.format("r.received_at")}, r.project_id, r.key_id, r.kind,
        coalesce(r.model_id, 0), coalesce(r.endpoint_id, 0), r.outcome, r.simulated,
        count(*),
        count(*) FILTER (WHERE r.outcome = 'ok' AND r.attempts > 1 AND EXISTS (
            SELECT FROM attempt a
            WHERE a.day = r.day AND a.request_id = r.request_id AND a.attempt_no <= r.attempts
                AND a.outcome NOT IN ('ok', 'hedge_lost'))),
        count(*) FILTER (WHERE r.outcome = 'client_cancelled' AND r.ttft_ms IS NULL)
    FROM request_log r
    WHERE {_IN_RANGE.format("r")}
    GROUP BY 1, 2, 3, 4, 5, 6, 7, 8
    """,  # noqa: S608
)

# Rows of one table may be a moment ahead of the other's: an attempt without its request counts
# under its own outcome until the request row marks the bucket dirty.
_WITH_REQUEST = """
    LEFT JOIN request_log r ON r.day = a.day AND r.request_id = a.request_id
        AND r.day BETWEEN %(first_day)s AND %(last_day)s
"""

ATTEMPTS = Stat(
    "attempt_cell",
    "bucket_start, project_id, key_id, kind, model_id, endpoint_id, outcome, attempt_outcome,"
    " cost_status, simulated, attempts, censored, input_tokens, cache_read_tokens,"
    " cache_write_tokens, output_tokens, reasoning_tokens, cost_usd, correction_usd",
    f"""
    SELECT {BUCKET.format("a.received_at")}, a.project_id, a.key_id, a.kind, a.model_id,
        a.endpoint_id, coalesce(r.outcome, a.outcome), a.outcome,
        coalesce(c.cost_status, a.cost_status), a.simulated,
        count(*),
        count(*) FILTER (
            WHERE a.outcome IN ('timeout', 'client_cancelled') AND a.ttft_ms IS NULL),
        sum(coalesce(a.input_total, 0) + coalesce(c.input_delta, 0)),
        sum(coalesce(a.cache_read, 0) + coalesce(c.cache_read_delta, 0)),
        sum(coalesce(a.cache_write_5m, 0) + coalesce(a.cache_write_1h, 0)
            + coalesce(c.cache_write_delta, 0)),
        sum(coalesce(a.output_total, 0) + coalesce(c.output_delta, 0)),
        sum(coalesce(a.reasoning, 0) + coalesce(c.reasoning_delta, 0)),
        sum(a.cost_usd + coalesce(c.delta_usd, 0)),
        sum(coalesce(c.delta_usd, 0))
    FROM attempt a
    {_WITH_REQUEST}
    LEFT JOIN (
        SELECT request_id, attempt_no, sum(delta_usd) AS delta_usd,
            (array_agg(cost_status ORDER BY id DESC))[1] AS cost_status,
            sum(input_delta) AS input_delta, sum(cache_read_delta) AS cache_read_delta,
            sum(cache_write_delta) AS cache_write_delta, sum(output_delta) AS output_delta,
            sum(reasoning_delta) AS reasoning_delta
        FROM charge_correction
        WHERE day BETWEEN %(first_day)s AND %(last_day)s
        GROUP BY request_id, attempt_no
    ) c ON c.request_id = a.request_id AND c.attempt_no = a.attempt_no
    WHERE {_IN_RANGE.format("a")}
    GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10
    """,  # noqa: S608
)

# Pictures and sound come in pieces, not in tokens: their first piece is no first token.
IN_TOKENS = "{}.surface NOT IN ('images', 'speech')"

# Tokens after those of the first chunk, over the time since it; NULL where that is noise.
SPEED_TPS = f"""
    CASE WHEN a.outcome = 'ok' AND {IN_TOKENS.format("a")} AND a.usage_source <> 'estimated'
        AND a.output_total - coalesce(a.first_chunk_tokens, 1) >= {MIN_SPEED_TOKENS}
        AND a.last_chunk_ms - a.ttft_ms >= {MIN_DECODE_MS}
    THEN 1000 * (a.output_total - coalesce(a.first_chunk_tokens, 1))
        / (a.last_chunk_ms - a.ttft_ms) END
"""

_LATENCY_COLUMNS = "bucket_start, endpoint_id, project_id, kind, outcome, simulated, metric, bin, n"

# Answers of whole batches at a provider come when it likes: that is no latency.
ATTEMPT_LATENCY = Stat(
    "latency_cell",
    _LATENCY_COLUMNS,
    f"""
    SELECT {BUCKET.format("a.received_at")}, a.endpoint_id, a.project_id, a.kind,
        coalesce(r.outcome, a.outcome), a.simulated, m.metric, {bin_sql("m.value")}, count(*)
    FROM attempt a
    {_WITH_REQUEST}
    CROSS JOIN LATERAL (VALUES
        ('ttft', CASE WHEN a.stream AND {IN_TOKENS.format("a")} THEN a.ttft_ms END),
        ('speed', {SPEED_TPS}),
        ('e2e', CASE WHEN a.outcome = 'ok' AND a.service_tier <> 'batch' THEN a.e2e_ms END)
    ) m (metric, value)
    WHERE {_IN_RANGE.format("a")} AND m.value IS NOT NULL
    GROUP BY 1, 2, 3, 4, 5, 6, 7, 8
    """,  # noqa: S608
)

REQUEST_LATENCY = Stat(
    "latency_cell",
    _LATENCY_COLUMNS,
    f"""
    SELECT {BUCKET.format("r.received_at")}, coalesce(r.endpoint_id, 0), r.project_id, r.kind,
        r.outcome, r.simulated, m.metric, {bin_sql("m.value")}, count(*)
    FROM request_log r
    CROSS JOIN LATERAL (VALUES
        ('request_ttft', CASE WHEN r.stream AND {IN_TOKENS.format("r")} THEN r.ttft_ms END),
        ('request_e2e', CASE WHEN r.outcome = 'ok' AND r.kind <> 'batch' THEN r.e2e_ms END)
    ) m (metric, value)
    WHERE {_IN_RANGE.format("r")} AND m.value IS NOT NULL
    GROUP BY 1, 2, 3, 4, 5, 6, 7, 8
    """,  # noqa: S608
)

# By its place in routing.core.decision.Decision; decisions of an older version end before it.
EXPLORATION_PICO = f"coalesce((r.decision->>{EXPLORATION_PLACE})::numeric, 0)"
EXPLORED_SHARE = f"coalesce((r.decision->>{EXPLORED_SHARE_PLACE})::float8, 0)"
USUAL_PICO = f"coalesce((r.decision->>{USUAL_PLACE})::numeric, 0)"

POLICIES = Stat(
    "policy_cell",
    "bucket_start, project_id, kind, policy, requests, exploring, exploration_usd, explored,"
    " usual_usd",
    f"""
    SELECT {BUCKET.format("r.received_at")}, r.project_id, r.kind, coalesce(r.policy, ''),
        count(*), count(*) FILTER (WHERE {EXPLORED_SHARE} > 0 OR {EXPLORATION_PICO} <> 0),
        sum({EXPLORATION_PICO}) / {PICO_PER_USD}, sum({EXPLORED_SHARE}),
        sum({USUAL_PICO}) / {PICO_PER_USD}
    FROM request_log r
    WHERE {_IN_RANGE.format("r")}
    GROUP BY 1, 2, 3, 4
    """,  # noqa: S608
)

STATS = (REQUESTS, ATTEMPTS, ATTEMPT_LATENCY, REQUEST_LATENCY, POLICIES)
TABLES = tuple(dict.fromkeys(stat.table for stat in STATS))
