from __future__ import annotations

import pytest

from routing.adapters import wire
from routing.adapters.base import Headers, header
from routing.adapters.quirks import PLAIN, Quirks
from routing.adapters.wire import forget_headers, request_headers, request_id_in
from routing.core.catalog import Endpoint
from tests.routing.adapters.support import adapter_of, call_of, endpoint_of, plain_endpoint


@pytest.fixture(autouse=True)
def _nothing_is_kept() -> None:
    forget_headers()


def test_requests_of_one_credential_share_their_headers() -> None:
    one = request_headers(PLAIN, "bearer", "s3cret", stream=True)
    assert request_headers(PLAIN, "bearer", "s3cret", stream=True) is one


@pytest.mark.parametrize("slug", ["openai", "gemini", "anthropic"])
def test_two_requests_of_one_endpoint_are_built_with_the_same_headers(slug: str) -> None:
    endpoint = endpoint_of(slug)
    builds = [adapter_of(endpoint).build(call_of(seed=n), endpoint, "s3cret") for n in range(2)]
    assert builds[0].headers is builds[1].headers


def test_a_requests_own_headers_leave_the_shared_ones_as_they_are() -> None:
    endpoint = endpoint_of("anthropic")
    usual = adapter_of(endpoint).build(call_of(), endpoint, "s").headers
    own = adapter_of(endpoint).build(call_of(betas=["context-1m"]), endpoint, "s").headers
    assert own == (*usual, (b"anthropic-beta", b"context-1m"))
    assert adapter_of(endpoint).build(call_of(), endpoint, "s").headers is usual


def test_headers_that_differ_in_anything_are_their_own() -> None:
    made = [
        request_headers(PLAIN, "bearer", "old", stream=False),
        request_headers(PLAIN, "bearer", "new", stream=False),
        request_headers(PLAIN, "bearer", "new", stream=True),
        request_headers(PLAIN, "key", "new", stream=True),
        request_headers(Quirks(extra_headers={"X-Title": "hub"}), "key", "new", stream=True),
    ]
    assert len(set(made)) == len(made)
    assert dict(made[1])[b"authorization"] == b"Bearer new"


def test_a_record_that_is_gone_leaves_nothing_to_the_next_one_at_its_place() -> None:
    for n in range(200):  # each is freed at once, so that ids come again
        quirks = Quirks(extra_headers={"x-n": str(n)})
        assert dict(request_headers(quirks, "bearer", "", stream=False))[b"x-n"] == b"%d" % n


def test_kept_headers_are_bounded_and_can_be_forgotten() -> None:
    for n in range(wire.MAX_KEPT + 5):
        request_headers(PLAIN, "bearer", f"secret-{n}", stream=False)
    assert 0 < len(wire._kept) <= wire.MAX_KEPT
    before = request_headers(PLAIN, "bearer", "secret", stream=False)
    forget_headers()
    after = request_headers(PLAIN, "bearer", "secret", stream=False)
    assert after == before
    assert after is not before


def request_id(endpoint: Endpoint, headers: Headers) -> str:
    return request_id_in(endpoint, lambda line: header(headers, line[1:-2]))


@pytest.mark.parametrize(
    ("names", "headers", "expected"),
    [
        (("x-request-id",), [(b"x-request-id", b"a")], "a"),
        (("Inference-Id", "x-request-id"), [(b"x-request-id", b"a"), (b"inference-id", b"b")], "b"),
        (("inference-id", "x-request-id"), [(b"x-request-id", b"a")], "a"),
        (("x-request-id",), [(b"x-request-id", b"a" * 500)], "a" * 200),
        ((), [(b"x-request-id", b"a")], ""),
    ],
)
def test_the_providers_request_id_is_taken_from_the_first_header_that_has_one(
    names: tuple[str, ...], headers: list[tuple[bytes, bytes]], expected: str
) -> None:
    endpoint = plain_endpoint(request_id_headers=names)
    assert request_id(endpoint, headers) == expected


def test_an_empty_request_id_is_passed_over_for_the_next_header_that_has_one() -> None:
    endpoint = endpoint_of("acme", request_id_headers=("First", "second"))
    headers = [(b"first", b""), (b"first", b"late"), (b"second", b"found")]
    assert [request_id(endpoint, headers) for _ in range(2)] == ["found", "found"]
