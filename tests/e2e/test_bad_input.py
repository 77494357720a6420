"""Whatever a client sends, the answer is OpenAI's envelope and never a traceback."""

from __future__ import annotations

import httpx
import pytest

from tests.support.hub_tools import MODEL, chat_body

pytestmark = pytest.mark.e2e

CHAT = "/v1/chat/completions"


@pytest.mark.parametrize(
    ("content", "status", "code"),
    [
        (b"", 400, "invalid_json"),
        (b"{not json", 400, "invalid_json"),
        (b"[]", 400, "invalid_json"),
        (b'{"model": 3}', 400, "invalid_type"),
        (b'{"messages": []}', 400, "missing_model"),
        (b'{"model": "x", "messages": []}', 400, "invalid_messages"),
        (b"[" * 100_000, 400, "invalid_json"),
        (b'{"model": "\xff", "messages": []}', 400, "invalid_json"),
    ],
)
def test_a_bad_body_is_a_400_in_the_envelope(
    http: httpx.Client, content: bytes, status: int, code: str
) -> None:
    answer = http.post(CHAT, content=content, headers={"content-type": "application/json"})
    assert answer.status_code == status
    error = answer.json()["error"]
    assert error["code"] == code
    assert set(error) >= {"message", "type", "param", "code", "request_id"}
    assert answer.headers["x-request-id"] == error["request_id"]
    assert "Traceback" not in answer.text


def test_a_body_over_the_cap_is_a_413_before_it_is_read(http: httpx.Client) -> None:
    answer = http.post(CHAT, content=b"x" * (20 * 2**20 + 1))
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "request_too_large")


def test_a_body_over_the_cap_without_a_length_is_a_413_too(http: httpx.Client) -> None:
    def pieces():
        for _ in range(21):
            yield b"x" * 2**20

    answer = http.post(CHAT, content=pieces())
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "request_too_large")


def test_a_compressed_body_is_a_415(http: httpx.Client) -> None:
    answer = http.post(CHAT, content=b"x", headers={"content-encoding": "gzip"})
    assert answer.status_code == 415


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", CHAT, 405),
        ("POST", "/v1/models", 405),
        ("POST", "/v1/nothing", 404),
        ("GET", "/v1/models/no/such-model", 404),
        ("GET", "/v1/models/%2e%2e%2fetc%2fpasswd", 404),
        ("GET", "/v1/", 404),
    ],
)
def test_a_wrong_path_or_method_says_what_there_is(
    http: httpx.Client, method: str, path: str, status: int
) -> None:
    answer = http.request(method, path)
    assert answer.status_code == status
    assert answer.json()["error"]["message"]


def test_a_model_id_may_be_asked_for_with_its_slash_encoded_or_not(http: httpx.Client) -> None:
    plain = http.get(f"/v1/models/{MODEL}")
    encoded = http.get(f"/v1/models/{MODEL.replace('/', '%2F')}")
    assert plain.json()["id"] == encoded.json()["id"] == MODEL


def test_a_providers_own_refusal_of_a_parameter_reaches_the_client_as_a_400(
    http: httpx.Client,
) -> None:
    answer = http.post(CHAT, json=chat_body(model=f"{MODEL}:groq", temperature="warm"))
    assert answer.status_code == 400
    assert answer.json()["error"]["code"]
