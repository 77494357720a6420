from __future__ import annotations

import json
from typing import Any

import httpx2
import pytest
from anthropic import Anthropic, APIStatusError
from anthropic.types import MessageTokensCount
from anthropic.types.shared import ErrorResponse
from pydantic import TypeAdapter

from routing.core.errors import HubError
from routing.surfaces.messages.counting import ESTIMATED, count_body, count_tokens
from routing.surfaces.messages.surface import MessagesSurface
from tests.routing.surfaces.messages.support import ASKED, REQUEST_ID, TOOL, strictly

KNOWN_TO_ITS_TYPES = {400, 401, 402, 403, 404, 422, 429, 500, 502, 503, 504, 529}


def body_of(error: HubError) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(MessagesSurface().error_body(error, REQUEST_ID))
    return document


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (402, "billing_error"),
        (403, "permission_error"),
        (404, "not_found_error"),
        (409, "conflict_error"),
        (413, "request_too_large"),
        (415, "invalid_request_error"),
        (422, "invalid_request_error"),
        (429, "rate_limit_error"),
        (500, "api_error"),
        (502, "api_error"),
        (503, "overloaded_error"),
        (504, "timeout_error"),
        (529, "overloaded_error"),
    ],
)
def test_each_status_has_anthropics_word_for_it(status: int, kind: str) -> None:
    body = body_of(HubError(status, "some_code", "What happened. What to do"))
    details = body["error"].pop("details")
    assert body["error"] == {"type": kind, "message": "What happened. What to do"}
    assert details == {"error_code": "some_code"}
    if status in KNOWN_TO_ITS_TYPES:
        strictly(TypeAdapter(ErrorResponse), body)


def test_anthropics_client_raises_it_with_its_code_and_request_id() -> None:
    error = HubError(
        404, "model_not_found", "No such model", param="model", detail={"near": ["a/b"]}
    )
    body = MessagesSurface().error_body(error, REQUEST_ID)

    def answer(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(404, headers={"content-type": "application/json"}, content=body)

    http = httpx2.Client(transport=httpx2.MockTransport(answer))
    with (
        http,
        Anthropic(api_key="k", base_url="http://hub.test", http_client=http) as client,
        pytest.raises(APIStatusError) as caught,
    ):
        client.messages.create(**ASKED)
    raised = caught.value
    assert (raised.type, raised.error_code) == ("not_found_error", "model_not_found")
    assert raised.api_message == "No such model"
    assert raised.body == {
        "type": "error",
        "error": {
            "type": "not_found_error",
            "message": "No such model",
            "details": {"error_code": "model_not_found", "near": ["a/b"], "param": "model"},
        },
        "request_id": REQUEST_ID,
    }


# --- count_tokens ------------------------------------------------------------------------------

PROMPT = {"model": "asked/model", "messages": [{"role": "user", "content": "x" * 400}]}


def test_a_prompt_is_counted_without_a_limit() -> None:
    tokens = count_tokens(PROMPT)
    assert tokens == 104
    body = json.loads(count_body(tokens))
    strictly(TypeAdapter(MessageTokensCount), body)
    assert body == {"input_tokens": 104}
    assert ESTIMATED == [(b"x-panelboard-estimated", b"true")]


@pytest.mark.parametrize(
    "more",
    [
        {"system": "be brief and kind"},
        {"tools": [TOOL]},
        {"output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}}},
        {
            "messages": [
                *PROMPT["messages"],
                {
                    "role": "assistant",
                    "content": [{"type": "tool_use", "id": "a", "name": "f", "input": {"x": "y"}}],
                },
                {
                    "role": "user",
                    "content": [{"type": "tool_result", "tool_use_id": "a", "content": "4 C"}],
                },
            ]
        },
    ],
)
def test_everything_that_the_model_reads_counts(more: dict[str, Any]) -> None:
    assert count_tokens({**PROMPT, **more}) > count_tokens(PROMPT)


@pytest.mark.parametrize(
    ("source", "kind", "tokens"),
    [
        ({"type": "base64", "media_type": "image/png", "data": "AAAA"}, "image", 804),
        ({"type": "base64", "media_type": "application/pdf", "data": "AAAA"}, "document", 2004),
    ],
)
def test_pictures_and_files_count_a_flat_amount(
    source: dict[str, Any], kind: str, tokens: int
) -> None:
    messages = [{"role": "user", "content": [{"type": kind, "source": source}]}]
    assert count_tokens({"model": "m", "messages": messages}) == tokens


@pytest.mark.parametrize(
    ("asked", "param"), [({"model": "m"}, "messages"), ({"messages": PROMPT["messages"]}, "model")]
)
def test_a_bad_prompt_is_refused_by_the_name_of_its_field(
    asked: dict[str, Any], param: str
) -> None:
    with pytest.raises(HubError) as caught:
        count_tokens(asked)
    assert (caught.value.status, caught.value.param) == (400, param)
