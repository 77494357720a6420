"""Which modules are compiled together: those that a plain request passes through.

A module belongs here when mypyc takes it and a measurement shows that it pays.
"""

from __future__ import annotations

HOT_MODULES = (
    "routing.adapters.estimate",
    "routing.adapters.openai_compat.adapter",
    "routing.adapters.openai_compat.plain",
    "routing.adapters.openai_compat.quick",
    "routing.adapters.wire",
    "routing.batches.line_scribe",
    "routing.core.draw",
    "routing.core.endpoint_health",
    "routing.core.health",
    "routing.core.ids",
    "routing.core.learning",
    "routing.core.limit_book",
    "routing.core.limit_share",
    "routing.core.memo",
    "routing.core.output_lengths",
    "routing.core.pricing",
    "routing.core.splicer",
    "routing.gateway.attempt",
    "routing.gateway.auth",
    "routing.gateway.eager_task",
    "routing.gateway.exchange",
    "routing.gateway.fixed_headers",
    "routing.gateway.hedging",
    "routing.gateway.hot_protocol",
    "routing.gateway.known_head",
    "routing.gateway.limits",
    "routing.gateway.outbox",
    "routing.gateway.parse",
    "routing.gateway.preferences",
    "routing.gateway.recording",
    "routing.gateway.scribe",
    "routing.gateway.service",
    "routing.gateway.spool",
    "routing.gateway.spool_segment",
    "routing.gateway.trying",
    "routing.gateway.upstream.connection",
    "routing.gateway.upstream.fast",
    "routing.gateway.upstream.plain",
    "routing.gateway.upstream.pool",
)
