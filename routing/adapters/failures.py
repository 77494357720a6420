"""What a provider's error means for retry, failover and health.

Money and credential come before capacity, because some providers dress both up as a 429.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import msgspec

from routing.adapters.quirks import Quirks
from routing.core.errors import FailureClass

BILLING_WORDS = frozenset(
    {
        "402",
        "billing_error",
        "billing_hard_limit_reached",
        "billing_not_active",
        "credit_balance_exhausted",
        "enforced_spend_limit_reached",
        "insufficient_balance",
        "insufficient_credits",
        "insufficient_quota",
        "not_enough_balance",
        "payment_method_required",
        "payment_required",
    }
)
CONTENT_WORDS = frozenset(
    {
        "content_filter",
        "content_policy_violation",
        "refusal",
        "responsibleaipolicyviolation",
        "safety",
    }
)
CONTEXT_WORDS = frozenset(
    {
        "context_length_exceeded",
        "context_window_exceeded",
        "input_too_long",
        "model_context_window_exceeded",
        "prompt_too_long",
        "string_too_long",
        "token_limit_exceeded",
    }
)
CREDENTIAL_WORDS = frozenset(
    {
        "api_key_invalid",
        "authentication",
        "authentication_error",
        "invalid_api_key",
        "invalid_authentication",
        "unauthenticated",
        "wrong_api_key",
    }
)
MODEL_GONE_WORDS = frozenset(
    {
        "free_variant_ended",
        "model_decommissioned",
        "model_deprecated",
        "model_not_available",
        "model_not_found",
        "model_not_supported",
        "model_unavailable_upstream",
        "no_endpoints",
    }
)
CAPACITY_WORDS = frozenset(
    {
        "429",
        "498",
        "capacity_exceeded",
        "capacity_exhausted",
        "modelnotreadyexception",
        "rate_limit_error",
        "rate_limit_exceeded",
        "resource_exhausted",
        "throttlingexception",
        "too_many_requests",
    }
)
TRANSIENT_WORDS = frozenset(
    {
        "408",
        "409",
        "424",
        "425",
        "499",
        "api_error",
        "deadline_exceeded",
        "engine_overloaded",
        "internal",
        "internal_error",
        "internal_server_error",
        "overloaded_error",
        "provider_overloaded",
        "provider_unavailable",
        "server",
        "server_error",
        "service_unavailable",
        "temporarily_unavailable",
        "timeout",
        "timeout_error",
        "unavailable",
    }
)
CLIENT_WORDS = frozenset(
    {
        "invalid_argument",
        "invalid_request",
        "invalid_request_error",
        "request_too_large",
        "tool_use_failed",
        "unprocessable",
        "validation_error",
        "wrong_api_format",
    }
)
_TOO_LONG = re.compile(
    r"context (length|window)|maximum context|prompt is too long|input is too long"
    r"|too many (input )?tokens|exceeds the (maximum|max) number of (input )?tokens"
    r"|reduce the length|max_(new_|completion_)?tokens.{0,80}(context|must be <=)",
    re.IGNORECASE,
)
_MODEL_GONE = re.compile(r"model[^.]{0,120}(not found|does not exist)", re.IGNORECASE)


class ErrorFacts(msgspec.Struct, frozen=True):
    """What an error body says, whatever its envelope."""

    message: str
    code: str = ""
    words: frozenset[str] = frozenset()  # all codes and types found, in lower case
    status: int | None = None  # a status given inside the body
    retry_after_s: float | None = None


class _Case(msgspec.Struct, frozen=True):
    """`words` holds the status as a word too; `status` is 0 where none is known."""

    message: str
    words: frozenset[str]
    status: int
    quirks: Quirks


def classify(facts: ErrorFacts, status: int | None, quirks: Quirks) -> FailureClass:
    """`status` is that of the answer; behind a 2xx the one inside the body counts."""
    effective = status if status is not None and status >= 300 else facts.status or 0
    words = facts.words | {str(effective)} if effective else facts.words
    case = _Case(facts.message, words, effective, quirks)
    return next((failure for failure, holds in _RULES if holds(case)), FailureClass.TRANSIENT)


def _is_content_refusal(case: _Case) -> bool:
    return bool(case.words & CONTENT_WORDS)


def _is_billing(case: _Case) -> bool:
    if case.words & (BILLING_WORDS | _quirk_words(case.quirks.billing_codes)):
        return True
    return "failed_precondition" in case.words and "billing" in case.message.lower()


def _is_listed(case: _Case) -> bool:
    return bool(case.words & _quirk_words(case.quirks.retryable_codes))


def _is_listed_capacity(case: _Case) -> bool:
    """A 503 that the provider's record lists is its way of saying "full", not "ill"."""
    is_full = case.status in (429, 498, 503) or bool(case.words & CAPACITY_WORDS)
    return is_full and _is_listed(case)


def _is_context(case: _Case) -> bool:
    if case.words & CONTEXT_WORDS:
        return True
    if case.status in case.quirks.context_statuses and not case.words & CREDENTIAL_WORDS:
        return True
    may_be_length = case.status in (0, 400, 413, 422) and not case.words & CAPACITY_WORDS
    return may_be_length and _TOO_LONG.search(case.message) is not None


def _is_credential(case: _Case) -> bool:
    if case.words & CREDENTIAL_WORDS or case.status in case.quirks.credential_statuses:
        return True
    return "failed_precondition" in case.words and "location" in case.message.lower()


def _is_gone(case: _Case) -> bool:
    if case.status in case.quirks.model_gone_statuses or case.words & MODEL_GONE_WORDS:
        return True
    return case.status in (400, 404, 422) and _MODEL_GONE.search(case.message) is not None


def _is_capacity(case: _Case) -> bool:
    return bool(case.words & CAPACITY_WORDS)


def _is_transient(case: _Case) -> bool:
    return case.status >= 500 or bool(case.words & TRANSIENT_WORDS)


def _is_client(case: _Case) -> bool:
    return case.status >= 400 or bool(case.words & CLIENT_WORDS)


_RULES: tuple[tuple[FailureClass, Callable[[_Case], bool]], ...] = (  # the first that holds
    (FailureClass.CLIENT, _is_content_refusal),
    (FailureClass.BILLING, _is_billing),
    (FailureClass.CAPACITY, _is_listed_capacity),
    (FailureClass.TRANSIENT, _is_listed),
    (FailureClass.CONTEXT, _is_context),
    (FailureClass.CREDENTIAL, _is_credential),
    (FailureClass.MODEL_GONE, _is_gone),
    (FailureClass.CAPACITY, _is_capacity),
    (FailureClass.TRANSIENT, _is_transient),
    (FailureClass.CLIENT, _is_client),
)


def _quirk_words(codes: tuple[str, ...]) -> frozenset[str]:
    return frozenset(code.lower() for code in codes)
