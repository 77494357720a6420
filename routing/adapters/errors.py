"""Reading what a provider says of an error: one extractor for all envelopes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from typing import Any

from typing_extensions import override

from routing.adapters.base import Adapter, Headers, header
from routing.adapters.failures import ErrorFacts, classify
from routing.adapters.jsonio import BadJson, dict_of, dicts_in, dig, list_of, loads, text_of
from routing.adapters.quirks import Quirks
from routing.core.catalog import Endpoint
from routing.core.errors import BrokenAnswer, FailureClass, Refused, UpstreamError

MAX_MESSAGE_CHARS = 500
MAX_CODE_CHARS = 64
MAX_RETRY_AFTER_S = 60.0

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


class UsualErrors(Adapter):
    """An adapter whose provider's errors come in any of the envelopes that are read here."""

    @override
    def read_error(
        self, endpoint: Endpoint, status: int, headers: Headers, body: bytes
    ) -> UpstreamError:
        quirks: Quirks = endpoint.provider.quirks
        return refused(facts_in(body), status, quirks, headers=headers, body=body)


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


def answer_in(body: bytes, headers: Headers, quirks: Quirks) -> dict[str, Any]:
    """Raises UpstreamError unless a 2xx body is a JSON object and no error."""
    try:
        document = loads(body)
    except BadJson as exc:
        raise not_an_answer(body) from exc
    if is_error(document):
        raise refused(facts_of(document), 200, quirks, headers=headers, body=body)
    if not isinstance(document, dict):
        raise not_an_answer(body)
    return document


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
