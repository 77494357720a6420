from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.core.rate_headers import REQUESTS, TOKENS, read_allowances, reset_s

NOW = 1_795_435_200.0  # 2026-11-23T12:00:00Z


def headers(text: str) -> list[tuple[bytes, bytes]]:
    pairs = (line.split(": ", 1) for line in text.strip().splitlines())
    return [(name.strip().encode(), value.encode()) for name, value in pairs]


def test_openai_s_headers_are_read() -> None:
    found = read_allowances(
        headers("""
            content-type: application/json
            x-ratelimit-limit-requests: 500
            x-ratelimit-limit-tokens: 30000
            x-ratelimit-remaining-requests: 499
            x-ratelimit-remaining-tokens: 29000
            x-ratelimit-reset-requests: 120ms
            x-ratelimit-reset-tokens: 6m0s
        """),
        NOW,
    )
    told = {one.of: (one.limit, one.remaining, one.reset_s) for one in found}
    assert told == {REQUESTS: (500, 499, 0.12), TOKENS: (30000, 29000, 360.0)}


def test_anthropic_s_headers_are_read_with_their_instants() -> None:
    found = read_allowances(
        headers("""
            anthropic-ratelimit-requests-limit: 50
            anthropic-ratelimit-requests-remaining: 0
            anthropic-ratelimit-requests-reset: 2026-11-23T12:00:30Z
            anthropic-ratelimit-input-tokens-limit: 40000
            anthropic-ratelimit-input-tokens-remaining: 39000
            anthropic-ratelimit-input-tokens-reset: 2026-11-23T12:00:02Z
            anthropic-ratelimit-output-tokens-limit: 8000
            anthropic-ratelimit-output-tokens-remaining: 8000
            anthropic-ratelimit-output-tokens-reset: 2026-11-23T12:00:00Z
        """),
        NOW,
    )
    assert [(one.of, one.limit, one.remaining, one.reset_s) for one in found] == [
        (REQUESTS, 50, 0, 30.0),
        (TOKENS, 40000, 39000, 2.0),
        (TOKENS, 8000, 8000, 0.0),
    ]
    assert len({one.name for one in found}) == 3


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (  # limits of two spans stay apart
            """
            x-ratelimit-limit-requests-day: 14400
            x-ratelimit-remaining-requests-day: 14000
            x-ratelimit-reset-requests-day: 3600
            x-ratelimit-limit-tokens-minute: 60000
            x-ratelimit-remaining-tokens-minute: 100
            x-ratelimit-reset-tokens-minute: 12.5
            """,
            {(REQUESTS, 14400, 14000, 3600.0), (TOKENS, 60000, 100, 12.5)},
        ),
        (
            """
            x-ratelimit-limit: 10
            x-ratelimit-remaining: 3
            x-ratelimit-reset: 1
            x-tokenlimit-limit: 2000
            x-tokenlimit-remaining: 1500
            """,
            {(REQUESTS, 10, 3, 1.0), (TOKENS, 2000, 1500, None)},
        ),
        ("x-ratelimit-limit-requests: 10", set()),  # what is left is not told
        ("x-ratelimit-limit-requests: 0\nx-ratelimit-remaining-requests: 0", set()),
        ("x-ratelimit-limit-requests: -1\nx-ratelimit-remaining-requests: -1", set()),
        ("x-ratelimit-limit-requests: 5\nx-ratelimit-remaining-requests: 9", set()),
        ("x-ratelimit-limit-requests: many\nx-ratelimit-remaining-requests: 9", set()),
        ("x-ratelimit-limit-requests: 1e999\nx-ratelimit-remaining-requests: 9", set()),
        ("x-ratelimit-over-limit: no\nx-ratelimited: 1\nretry-after: 3", set()),
    ],
)
def test_only_limits_that_are_told_in_full_are_taken(
    lines: str, expected: set[tuple[object, ...]]
) -> None:
    found = read_allowances(headers(lines), NOW)
    assert {(one.of, one.limit, one.remaining, one.reset_s) for one in found} == expected


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (b"12ms", 0.012),
        (b"1s", 1.0),
        (b"7.66s", 7.66),
        (b"6m0s", 360.0),
        (b"2m59.56s", 179.56),
        (b"1h2m3s", 3723.0),
        (b"1d", 86400.0),
        (b"15", 15.0),
        (b"0", 0.0),
        (b"1795435260", 60.0),
        (b"1795435260000", 60.0),
        (b"2026-11-23T12:01:00+00:00", 60.0),
        (b"2026-11-23T12:01:00", None),  # of no zone
        (b"2026-11-23T11:59:00Z", None),  # gone by
        (b"soon", None),
        (b"-5", None),
        (b"nan", None),
        (b"99999999", None),  # longer than any limit runs
        (b"", None),
    ],
)
def test_a_reset_is_a_duration_a_number_or_an_instant(value: bytes, seconds: float | None) -> None:
    found = reset_s(value, NOW)
    assert found == (None if seconds is None else pytest.approx(seconds))


@given(st.lists(st.tuples(st.binary(max_size=40), st.binary(max_size=40)), max_size=8))
def test_no_header_makes_it_fail(pairs: list[tuple[bytes, bytes]]) -> None:
    named = [(b"x-ratelimit-" + name, value) for name, value in pairs]
    for one in read_allowances([*pairs, *named], NOW):
        assert 0 <= one.remaining <= one.limit
