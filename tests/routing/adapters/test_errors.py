from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routing.adapters.errors import facts_in, facts_of, is_error, redact, retry_after
from routing.core.errors import FailureClass
from tests.routing.adapters.support import ADAPTERS, adapter_of, endpoint_of, recorded

F = FailureClass


@pytest.mark.parametrize(
    ("path", "status", "failure", "code"),
    [
        ("openai/error_400_context.json", 400, F.CONTEXT, "context_length_exceeded"),
        ("openai/error_400.json", 400, F.CLIENT, "unsupported_value"),
        ("openai/error_400_content.json", 400, F.CLIENT, "content_filter"),
        ("openai/error_401.json", 401, F.CREDENTIAL, "invalid_api_key"),
        ("openai/error_404.json", 404, F.MODEL_GONE, "model_not_found"),
        ("openai/error_429.json", 429, F.CAPACITY, "rate_limit_exceeded"),
        ("openai/error_429_quota.json", 429, F.BILLING, "insufficient_quota"),
        ("anthropic/error_429.json", 429, F.CAPACITY, "rate_limit_error"),
        ("anthropic/error_429_spend.json", 429, F.BILLING, "rate_limit_error"),
        ("anthropic/error_529.json", 529, F.TRANSIENT, "overloaded_error"),
        ("anthropic/error_402.json", 402, F.BILLING, "billing_error"),
        ("anthropic/error_400.json", 400, F.CONTEXT, "context_length_exceeded"),
        ("gemini/error_429.json", 429, F.CAPACITY, "resource_exhausted"),
        ("gemini/error_400_key.json", 400, F.CREDENTIAL, "invalid_argument"),
        ("gemini/error_400_region.json", 400, F.CREDENTIAL, "failed_precondition"),
        ("gemini/error_503.json", 503, F.TRANSIENT, "unavailable"),
        ("groq/error_498.json", 498, F.CAPACITY, "capacity_exceeded"),
        ("groq/error_413.json", 413, F.CAPACITY, "rate_limit_exceeded"),
        ("cerebras/error_400.json", 400, F.CLIENT, "wrong_api_format"),
        ("cerebras/error_401.json", 401, F.CREDENTIAL, "wrong_api_key"),
        ("sambanova/error_402.json", 402, F.BILLING, "payment_method_required"),
        ("together/error_403.json", 403, F.CONTEXT, "context_length_exceeded"),
        ("together/error_503.json", 503, F.TRANSIENT, "overloaded"),
        ("fireworks/error_500_fault.json", 500, F.TRANSIENT, "gateway.timeout"),
        ("fireworks/error_503.json", 503, F.CAPACITY, "service_overloaded"),
        ("deepinfra/error_500.json", 500, F.TRANSIENT, "http_500"),
        ("nebius/error_422.json", 422, F.CLIENT, "http_422"),
        ("novita/error_403.json", 403, F.BILLING, "not_enough_balance"),
        ("hyperbolic/error_402.json", 402, F.BILLING, "http_402"),
        ("mistral/error_422.json", 422, F.CLIENT, "invalid_request_error"),
        ("openrouter/error_429.json", 429, F.CAPACITY, "rate_limit_exceeded"),
        ("openrouter/error_402.json", 402, F.BILLING, "402"),
        ("scaleway/error_422.json", 422, F.MODEL_GONE, "http_422"),
        ("edge/error_502.html", 502, F.TRANSIENT, "http_502"),
    ],
)
def test_each_providers_error_gets_its_class_and_code(
    path: str, status: int, failure: FailureClass, code: str
) -> None:
    endpoint = endpoint_of(path.partition("/")[0])
    error = adapter_of(endpoint).read_error(endpoint, status, [], recorded(path))
    assert (error.failure, error.code, error.status) == (failure, code, status)
    assert error.message


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ('{"error":{"message":"a"}}', "a"),
        ('[{"error":{"message":"a"}}]', "a"),
        ('{"error":"a","message":"b"}', "a"),
        ('{"message":"a","detail":"b"}', "a"),
        ('{"detail":"a"}', "a"),
        ('{"detail":{"error":"a"}}', "a"),
        ('{"detail":{"error":{"message":"a"}}}', "a"),
        ('{"detail":[{"loc":["body"],"msg":"a"}]}', "a"),
        ('{"fault":{"faultstring":"a"}}', "a"),
        ('{"title":"a","status":422}', "a"),
        ('["a"]', "a"),
        ('"a"', "a"),
        ("upstream connect error", "upstream connect error"),
        ('{"strange":1}', '{"strange":1}'),
        ("", ""),
        ('{"error":{"message":"\\ud83d"}}', "\ud83d"),
    ],
)
def test_the_message_is_found_in_every_envelope(body: str, message: str) -> None:
    assert facts_in(body.encode()).message == message


def test_a_long_message_is_shortened() -> None:
    assert len(facts_in(json.dumps({"message": "x" * 9000}).encode()).message) == 500


@pytest.mark.parametrize(
    "text",
    [
        "Bad key: sk-abcd1234567890",
        "Authorization: Bearer abc.def",
        "key gsk_0123456789abcdef",
        "AIzaSyA1234567890abc",
    ],
)
def test_what_looks_like_a_key_is_not_quoted(text: str) -> None:
    assert "[redacted]" in redact(text)
    assert not any(word in redact(text) for word in ("abcd1234", "abc.def", "0123456", "SyA123"))


@pytest.mark.parametrize("status", [408, 409, 424, 425, 499, 500, 502, 503, 504, 520, 524, 529])
def test_a_status_alone_can_say_transient(status: int) -> None:
    endpoint = endpoint_of("nebius")
    error = ADAPTERS["openai_compat"].read_error(endpoint, status, [], b"")
    assert error.failure is F.TRANSIENT
    assert str(status) in error.message


@pytest.mark.parametrize(
    ("status", "failure"),
    [
        (400, F.CLIENT),
        (401, F.CREDENTIAL),
        (402, F.BILLING),
        (403, F.CREDENTIAL),
        (404, F.MODEL_GONE),
        (410, F.MODEL_GONE),
        (413, F.CLIENT),
        (418, F.CLIENT),
        (422, F.CLIENT),
        (429, F.CAPACITY),
        (301, F.TRANSIENT),
    ],
)
def test_a_status_without_a_body_is_classified(status: int, failure: FailureClass) -> None:
    endpoint = endpoint_of("nebius")
    assert ADAPTERS["openai_compat"].read_error(endpoint, status, [], b"").failure is failure


@pytest.mark.parametrize(
    ("quirks", "status", "body", "failure"),
    [
        ({"credential_statuses": (401,)}, 403, b"{}", F.CLIENT),
        ({"context_statuses": (403,)}, 403, b"{}", F.CONTEXT),
        ({"context_statuses": (403,)}, 403, b'{"error":{"code":"invalid_api_key"}}', F.CREDENTIAL),
        ({"model_gone_statuses": (422,)}, 422, b"{}", F.MODEL_GONE),
        ({"billing_codes": ("412",)}, 412, b"{}", F.BILLING),
        ({"billing_codes": ("Broke",)}, 429, b'{"code":"BROKE"}', F.BILLING),
        (
            {"retryable_codes": ("tool_use_failed",)},
            400,
            b'{"code":"tool_use_failed"}',
            F.TRANSIENT,
        ),
        ({"retryable_codes": ("503",)}, 503, b"{}", F.CAPACITY),
        ({}, 503, b"{}", F.TRANSIENT),
    ],
)
def test_a_quirk_record_changes_what_a_status_or_code_means(
    quirks: dict[str, object], status: int, body: bytes, failure: FailureClass
) -> None:
    endpoint = endpoint_of("acme", **quirks)
    assert ADAPTERS["openai_compat"].read_error(endpoint, status, [], body).failure is failure


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "3"}, 3.0),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after": "1000000000"}, 60.0),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "NaN"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": ""}, None),
        ({"retry-after": "1e9"}, None),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        (
            {
                "retry-after": "Mon, 23 Nov 2026 12:00:09 GMT",
                "date": "Mon, 23 Nov 2026 12:00:00 GMT",
            },
            9.0,
        ),
        (
            {
                "retry-after": "Mon, 23 Nov 2026 11:00:00 GMT",
                "date": "Mon, 23 Nov 2026 12:00:00 GMT",
            },
            None,
        ),
        ({"retry-after": "Mon, 23 Nov 2026 12:00:09 GMT"}, None),
        ({}, None),
    ],
)
def test_retry_after_is_clamped_or_absent(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after([(k.encode(), v.encode()) for k, v in headers.items()]) == seconds


@pytest.mark.parametrize(
    ("path", "seconds"), [("gemini/error_429.json", 17.0), ("openrouter/error_429.json", 5.0)]
)
def test_a_wait_given_in_the_body_is_read(path: str, seconds: float) -> None:
    endpoint = endpoint_of(path.partition("/")[0])
    adapter = adapter_of(endpoint)
    assert adapter.read_error(endpoint, 429, [], recorded(path)).retry_after_s == seconds
    header = [(b"retry-after", b"2")]
    assert adapter.read_error(endpoint, 429, header, recorded(path)).retry_after_s == 2.0


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({"error": {"message": "x"}}, True),
        ({"error": "x", "choices": []}, True),
        ([{"error": {"message": "x"}}], True),
        ({"detail": "x"}, True),
        ({"object": "error", "message": "x"}, True),
        ({"message": "x"}, True),
        ({"choices": [], "message": "x"}, False),
        ({"error": None, "choices": []}, False),
        ({"usage": {"prompt_tokens": 1}, "message": "x"}, False),
        ({}, False),
        ([], False),
        ("x", False),
    ],
)
def test_an_error_object_is_told_from_an_answer(document: object, expected: bool) -> None:
    assert is_error(document) is expected


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["error", "message", "code", "type", "detail", "details", "reason"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=8,
)


@settings(max_examples=150)
@given(JSON)
def test_no_error_body_makes_the_reader_fail(document: object) -> None:
    assert isinstance(facts_of(document).message, str)
    is_error(document)
    body = json.dumps(document).encode()
    for slug in ("openai", "anthropic", "gemini"):
        endpoint = endpoint_of(slug)
        error = adapter_of(endpoint).read_error(endpoint, 400, [], body)
        assert error.failure in F


@settings(max_examples=80)
@given(st.binary(max_size=60), st.binary(max_size=30))
def test_no_bytes_make_the_reader_fail(body: bytes, wait: bytes) -> None:
    endpoint = endpoint_of("openai")
    headers = [(b"retry-after", wait), (b"date", wait)]
    assert adapter_of(endpoint).read_error(endpoint, 500, headers, body).status == 500
