"""What a provider's error means: one extractor for all envelopes, one classifier for all.

The classes decide on retry, failover and health (`routing.core.errors.FailureClass`). Money and
credential come before capacity, because some providers dress both up as a 429.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from email.utils import parsedate_to_datetime
from typing import Any

import msgspec

from routing.adapters.base import Headers, header
from routing.adapters.jsonio import BadJson, dict_of, dicts_in, dig, list_of, loads, text_of
from routing.adapters.quirks import Quirks
from routing.core.errors import BrokenAnswer, FailureClass, Refused

MAX_MESSAGE_CHARS = 500
MAX_CODE_CHARS = 64
MAX_RETRY_AFTER_S = 60.0

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
_SECRET = re.compile(
    r"(?i:bearer\s+)\S+|\b(?:sk|gsk|hf|xai|csk|fw|nvapi|r8|key|sim)[-_][\w*-]{6,}|\bAIza[\w-]{10,}"
)
_WHERE_CODES_STAND = (
    "error.code",
    "error.type",
    "error.status",
    "error.metadata.error_type",
    "error.availability.code",
    "error.details.error_code",
    "error.innererror.code",
    "availability.code",
    "error_type",
    "error_code",
    "code",
    "reason",
    "type",
    "detail.error.code",
    "fault.detail.errorcode",
    "status_code",
)
_EMPTY_WORDS = frozenset({"", "error", "object", "none", "null"})


class ErrorFacts(msgspec.Struct, frozen=True):
    """What an error body says, whatever its envelope."""

    message: str
    code: str = ""
    words: frozenset[str] = frozenset()  # all codes and types found, in lower case
    status: int | None = None  # a status given inside the body
    retry_after_s: float | None = None


def facts_of(document: Any, text: str = "") -> ErrorFacts:
    """`document` is the parsed body, or None when it was not JSON; then `text` is quoted."""
    first = list_of(document)[0] if list_of(document) else document
    found = dict_of(first)
    codes = list(_codes(found))
    words = [code for code in codes if not _as_status(code)]
    message = _message(found) or text_of(first) or text
    return ErrorFacts(
        message=redact(message.strip())[:MAX_MESSAGE_CHARS],
        code=(words or codes or [""])[0],
        words=frozenset(codes),
        status=next(filter(None, map(_as_status, codes)), None),
        retry_after_s=_retry_after_in(found),
    )


def facts_in(body: bytes) -> ErrorFacts:
    try:
        document = loads(body)
    except BadJson:
        document = None
    return facts_of(document, body[:MAX_MESSAGE_CHARS].decode("utf-8", "replace"))


def _message(found: dict[str, Any]) -> str:
    detail = found.get("detail")
    candidates = (
        dig(found, "error.message"),
        found.get("error"),
        found.get("message"),
        detail,
        dig(detail, "error"),
        dig(detail, "error.message"),
        dig(detail, "0.msg"),
        dig(found, "fault.faultstring"),
        found.get("title"),
    )
    return next((text for text in candidates if isinstance(text, str) and text), "")


def _codes(found: dict[str, Any]) -> Iterator[str]:
    places = [dig(found, path) for path in _WHERE_CODES_STAND]
    reasons = [detail.get("reason") for detail in dicts_in(dig(found, "error.details"))]
    for value in [*places, *reasons]:
        if isinstance(value, str) and value.strip().lower() not in _EMPTY_WORDS:
            yield value.strip().lower()[:MAX_CODE_CHARS]
        elif type(value) is int and 0 < value < 1_000_000:
            yield str(value)


def _as_status(code: str) -> int | None:
    return int(code) if re.fullmatch(r"[45][0-9]{2}", code) else None


def redact(text: str) -> str:
    """Providers quote keys in their refusals; nothing that looks like one goes into our log."""
    return _SECRET.sub("[redacted]", text)


def is_error(document: Any) -> bool:
    """Does a 2xx body, or a frame of a stream, hold an error instead of an answer?"""
    if isinstance(document, list):
        return bool(dicts_in(document)) and is_error(document[0])
    found = dict_of(document)
    if found.get("error"):
        return True
    if "choices" in found or "candidates" in found or found.get("usage"):
        return False
    flat = found.get("detail") or found.get("fault") or found.get("object") == "error"
    return bool(flat) or (isinstance(found.get("message"), str) and bool(found["message"]))


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


_STABLE_CODES = {FailureClass.CONTEXT: "context_length_exceeded"}


def refused(
    facts: ErrorFacts,
    status: int | None,
    quirks: Quirks,
    *,
    headers: Headers | None = None,
    body: bytes = b"",
) -> Refused:
    failure = classify(facts, status, quirks)
    shown_status = status if status is not None and status >= 300 else facts.status or status
    code = _STABLE_CODES.get(failure) or facts.code or f"http_{shown_status or 'error'}"
    return Refused(
        failure,
        facts.message or f"The provider answered with status {shown_status} and no message.",
        status=shown_status,
        code=code,
        retry_after_s=_first_known(retry_after(headers or []), facts.retry_after_s),
        body=body[:4096],
    )


def not_an_answer(body: bytes, status: int = 200) -> BrokenAnswer:
    """For a 2xx body that is neither an answer nor an error object: HTML, text, nothing."""
    start = body.lstrip()[:1]
    if not start:
        return BrokenAnswer("empty_answer", "The provider's answer was empty.", status=status)
    if start == b"<":
        text = "The provider answered with a web page instead of JSON."
        return BrokenAnswer("html_answer", text, status=status)
    text = "The provider's answer is not a chat completion."
    return BrokenAnswer("not_an_answer", text, status=status)


def retry_after(headers: Headers) -> float | None:
    """Seconds from `retry-after-ms` or `retry-after`, 0 to 60; None where absent or nonsense."""
    milliseconds = _number(header(headers, b"retry-after-ms").decode("latin-1"))
    if milliseconds is not None:
        return clamp_wait(milliseconds / 1000)
    value = header(headers, b"retry-after").decode("latin-1").strip()
    seconds = _number(value)
    return clamp_wait(seconds) if seconds is not None else _until_date(value, headers)


def clamp_wait(seconds: float) -> float | None:
    """Negative and not-a-number say nothing; more than a minute is a minute."""
    return min(seconds, MAX_RETRY_AFTER_S) if 0 <= seconds < float("inf") else None


def _until_date(value: str, headers: Headers) -> float | None:
    """A date counts from the answer's own `date`, so neither clock needs to be right."""
    try:
        until = parsedate_to_datetime(value)
        sent = parsedate_to_datetime(header(headers, b"date").decode("latin-1"))
        return clamp_wait((until - sent).total_seconds())
    except (ValueError, TypeError, OverflowError):
        return None


def _retry_after_in(found: dict[str, Any]) -> float | None:
    """Google's RetryInfo (`"17s"`) or OpenRouter's `availability.retry_after`."""
    for detail in dicts_in(dig(found, "error.details")):
        delay = text_of(detail.get("retryDelay"))
        seconds = _number(delay.removesuffix("s")) if delay.endswith("s") else None
        if seconds is not None:
            return clamp_wait(seconds)
    hint = dig(found, "error.availability.retry_after")
    return clamp_wait(hint) if type(hint) in (int, float) else None


def _number(text: str) -> float | None:
    if not re.fullmatch(r"\s*\d{1,15}(\.\d{1,9})?\s*", text):
        return None
    return float(text)


def _first_known(*values: float | None) -> float | None:
    return next((value for value in values if value is not None), None)
