"""What each figure on a page means. "Why this number" boxes read from here, and nowhere else."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Definition:
    title: str
    meaning: str
    formula: str
    method: str = "Exact: summed from quarter-hour rollups of every recorded request."
    api: str = ""  # name of the REST route that gives the same figure


_QUANTILE = (
    "From log-spaced histograms (1 % relative error), merged over the window, never averaged. "
    "The interval is the distribution-free 95 % one of order statistics; "
    "its upper end is left out where n is too small to know it."
)
_WILSON = "Wilson 95 % interval: how far the true rate could lie from the observed one."
_USAGE = "rest:billing-usage"
_PRICES = "Approved price rows in force now, for a short request without a service tier."

DEFINITIONS = {
    "spend": Definition(
        "Spend",
        "What the hub's requests cost at the providers, corrections included. Failed, timed-out "
        "and cancelled attempts are charged for what they used.",
        "sum of quantity × unit price over all charge lines, in USD",
        method="Exact decimal sums; nothing is rounded per request.",
        api=_USAGE,
    ),
    "requests": Definition(
        "Requests",
        "What clients asked. One request may need several attempts; retries are not counted here.",
        "count of requests received in the window",
        api=_USAGE,
    ),
    "delivered": Definition(
        "Delivered success",
        "How often a client got its answer, after failover. Requests at fault themselves, blocked "
        "ones and those whose client left before the first token are not counted.",
        "ok ÷ (all − user errors − blocked − cancelled before the first token)",
        method=_WILSON,
    ),
    "ttft_request_p95": Definition(
        "p95 time to first token",
        "95 of 100 streaming requests showed their first token within this time, hub and failed "
        "attempts included.",
        "first content, reasoning or tool-call token − moment the request was received",
        method=_QUANTILE,
    ),
    "ttft": Definition(
        "TTFT p50: time to first token",
        "Half of the attempts showed their first token within this time. Lower is better.",
        "first content, reasoning or tool-call token − moment the attempt was sent",
        method=_QUANTILE,
    ),
    "ttft_p95": Definition(
        "TTFT p95",
        "95 of 100 attempts showed their first token within this time. Lower is better.",
        "first content, reasoning or tool-call token − moment the attempt was sent",
        method=_QUANTILE,
    ),
    "speed": Definition(
        "Output speed p50",
        "Half of the attempts wrote at least this fast once they had begun. Waiting for the first "
        "token is not part of it. Higher is better.",
        "output tokens after the first chunk ÷ time after the first chunk",
        method=_QUANTILE,
    ),
    "e2e": Definition(
        "End to end p50",
        "Half of the attempts were complete within this time. Depends on how much was written.",
        "attempt closed − attempt sent",
        method=_QUANTILE,
    ),
    "success": Definition(
        "Success of attempts",
        "How often the provider answered when it was asked. Counted per attempt, so that a "
        "failover does not hide a failure. Client errors do not count.",
        "ok ÷ (ok + provider errors + rate limits + timeouts)",
        method=_WILSON,
    ),
    "form": Definition(
        "Sound form",
        "How often an answer could be used by a program where it was to be: tool calls with "
        "arguments that their schema takes, JSON that parses and is of its schema. Requests that "
        "need such an answer are routed by it. Answers that a limit cut short do not count.",
        "answers of sound form ÷ answers looked at",
        method=_WILSON,
    ),
    "explored": Definition(
        "Explored",
        "The share of requests that are expected to be tried at another endpoint first, so that it "
        "stays measured. Worked out when each request is planned, not counted afterwards.",
        "Σ chance of going elsewhere to measure ÷ requests",
        api="rest:routing-exploration",
    ),
    "exploration_cost": Definition(
        "Cost added by exploring",
        "What trying other endpoints first is expected to add to the cost of requests. Below zero "
        "where they are cheaper.",
        "Σ chance of going elsewhere × (expected cost there − expected cost without exploring)",
        api="rest:routing-exploration",
    ),
    "price": Definition(
        "List price",
        "What the provider asks for 1M tokens, from its own listing or price page.",
        "the approved price row in force now",
        method=_PRICES,
        api="rest:providers",
    ),
    "blended": Definition(
        "Blended price 3:1",
        "One figure to compare endpoints by: the price of 1M tokens of which three quarters are "
        "input and one quarter is output.",
        "(3 × input price + 1 × output price) ÷ 4",
        method=_PRICES,
        api="rest:models",
    ),
    "cost_status": Definition(
        "Cost status",
        "How sure a cost is. Provider reported: the provider named the amount. Metered: the "
        "provider's token counts times our price rows. Estimated: the provider did not say, so "
        "the hub counted. Reconciled and disputed come from matching invoices.",
        "spend split by the status of each charge",
        method="Exact decimal sums.",
        api=_USAGE,
    ),
    "request_cost": Definition(
        "Cost of this request",
        "The sum over its attempts, failed ones included, and over later corrections.",
        "quantity × unit price ÷ 1,000,000 for tokens, quantity × unit price for the rest",
        method="Exact, with the price rows in force when the request started.",
    ),
    "overhead": Definition(
        "Hub overhead",
        "What the hub itself added: deciding where to send, and the time between failed attempts.",
        "(decided − received) + pauses between attempts",
        method="Measured on the process's own monotonic clock.",
    ),
    "share": Definition(
        "Share and score",
        "The score is what the policy ranks by: lower is better, in the objective's own unit. "
        "The share is the probability with which this endpoint was drawn to be tried first.",
        "as the policy's objective defines it",
        method="Recorded with the request when it was routed, never computed again.",
    ),
}
