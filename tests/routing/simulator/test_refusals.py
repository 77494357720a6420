from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from routing.simulator.envelopes import ENVELOPES, Trouble, envelope, stream_error
from routing.simulator.server import ThreadedSimulator
from tests.routing.simulator.plays import WEATHER_TOOL, Player

Play = Callable[[str], Player]
TOOLS = [{"type": "function", "function": WEATHER_TOOL}]
JSON_SCHEMA = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}}
IMAGE = [{"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}]
TEXT = [{"type": "text", "text": "hi"}]
ORPHAN = [
    {"role": "user", "content": "hi"},
    {"role": "tool", "tool_call_id": "call_9", "content": "4"},
]
LONG_ID = [
    {"role": "user", "content": "hi"},
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {
                "id": "call_too_long",
                "type": "function",
                "function": {"name": "get_weather", "arguments": "{}"},
            }
        ],
    },
    {"role": "tool", "tool_call_id": "call_too_long", "content": "4"},
]
BAD_ROLE = [{"role": "critic", "content": "hi"}]

CASES: list[tuple[str, dict[str, Any], int, str]] = [
    ("groq", {"enable_thinking": True}, 400, "property 'enable_thinking' is unsupported"),
    ("groq", {"logprobs": True}, 400, "property 'logprobs' is unsupported"),
    ("groq", {"n": 2}, 400, "'n' must be at most 1"),
    ("groq", {"stop": list("abcde")}, 400, "may have 4 entries"),
    ("groq", {"max_tokens": 5}, 400, "Use 'max_completion_tokens'"),
    ("groq", {"stream_options": {"include_usage": True}}, 400, "when 'stream' is enabled"),
    ("groq", {"messages": BAD_ROLE}, 400, "'critic' is not known"),
    ("groq", {"messages": []}, 400, "must not be empty"),
    ("groq", {"messages": ORPHAN}, 400, "no such tool call"),
    ("groq", {"tools": [{"type": "function"}]}, 400, "function.name is missing"),
    ("groq", {"tool_choice": "required"}, 400, "needs tools"),
    ("groq", {"max_completion_tokens": 0}, 400, "at least 1"),
    ("groq", {"temperature": "warm"}, 400, "'temperature' must be a number from 0 to 2"),
    ("groq", {"temperature": 2.5}, 400, "'temperature' must be a number from 0 to 2"),
    ("groq", {"top_p": True}, 400, "'top_p' must be a number from 0 to 1"),
    ("groq", {"presence_penalty": -3}, 400, "'presence_penalty' must be a number from -2 to 2"),
    (
        "groq",
        {"messages": [{"role": "assistant", "content": "x", "reasoning_content": "y"}]},
        400,
        "reasoning_content",
    ),
    ("together", {"max_completion_tokens": 5}, 400, "Use 'max_tokens'"),
    ("together", {"messages": [{"role": "developer", "content": "hi"}]}, 400, "'developer'"),
    ("together", {"messages": [{"role": "user", "content": IMAGE}]}, 400, "image input"),
    ("together", {"max_tokens": 5000}, 403, "maximum context length is 4096"),
    ("mistral", {"seed": 1}, 422, "property 'seed' is unsupported"),
    ("mistral", {"tools": TOOLS, "tool_choice": "required"}, 400, "use one of none, auto, any"),
    ("mistral", {"messages": LONG_ID}, 400, "with a length of 9"),
    ("deepinfra", {"tools": TOOLS, "tool_choice": "required"}, 400, "use one of none, auto"),
    ("sambanova", {"messages": [{"role": "user", "content": TEXT}]}, 400, "must be a string"),
    ("fireworks", {"response_format": JSON_SCHEMA}, 400, "'json_schema' is not supported"),
    (
        "fireworks",
        {"tools": TOOLS, "response_format": {"type": "json_object"}},
        400,
        "cannot be used together",
    ),
    ("homemade", {"tools": TOOLS}, 400, "does not support tools"),
    ("homemade", {"response_format": JSON_SCHEMA}, 400, "does not support a response schema"),
    ("anthropic", {"max_tokens": None}, 400, "max_tokens: Field required"),
    ("anthropic", {"seed": 1}, 400, "seed: Extra inputs are not permitted"),
    ("anthropic", {"stop_sequences": [" "]}, 400, "non-whitespace"),
    ("anthropic", {"temperature": 1.5}, 400, "temperature: range"),
    ("anthropic", {"messages": [{"role": "system", "content": "hi"}]}, 400, "must be user"),
    ("anthropic", {"messages": [{"role": "user", "content": []}]}, 400, "must not be empty"),
    ("gemini", {"messages": []}, 400, 'Unknown name \\"messages\\"'),
    ("gemini", {"generationConfig": {"top_p": 1}}, 400, "generation_config.top_p"),
    ("gemini", {"generationConfig": {"stopSequences": list("abcdef")}}, 400, "at most 5"),
    ("gemini", {"contents": [{"role": "assistant", "parts": [{"text": "x"}]}]}, 400, "valid role"),
    ("gemini", {"contents": [{"role": "user", "parts": [{}]}]}, 400, "has no data"),
]


@pytest.mark.parametrize(("slug", "fields", "status", "message"), CASES)
def test_a_provider_refuses_what_it_does_not_take(
    player: Play,
    simulator: ThreadedSimulator,
    slug: str,
    fields: dict[str, Any],
    status: int,
    message: str,
) -> None:
    play = player(slug)
    assert play.ask().status_code == 200
    refused = play.ask(**fields)
    assert refused.status_code == status
    assert message in refused.text
    assert simulator.violations() == []
    row = simulator.journal()[-1]
    assert (row.status, row.output_tokens, row.cost_usd) == (status, 0, "0")


@pytest.mark.parametrize(
    "fields",
    [
        {"messages": "hello"},
        {"messages": [1]},
        {"messages": [{"role": "user"}]},
        {"messages": [{"role": "user", "content": [5]}]},
        {"messages": [{"role": "user", "content": {"a": 1}}]},
        {"tools": "all"},
        {"tools": [7]},
        {"stop": 3},
        {"stream": "yes"},
        {"stream_options": [1]},
        {"response_format": "json"},
        {"response_format": {"type": "json_schema", "json_schema": 4}},
        {"n": "two"},
    ],
)
def test_a_malformed_request_is_a_400_and_never_a_500(player: Play, fields: dict[str, Any]) -> None:
    assert player("together").ask(**fields).status_code == 400


@pytest.mark.parametrize(
    ("slug", "fields"),
    [
        ("anthropic", {"messages": [4]}),
        ("anthropic", {"messages": [{"role": "user", "content": [{"type": "tool_result"}]}]}),
        ("anthropic", {"tools": [3]}),
        ("anthropic", {"system": 5}),
        ("gemini", {"contents": [3]}),
        ("gemini", {"contents": [{"parts": [{"functionResponse": 5}]}]}),
        ("gemini", {"tools": [{"functionDeclarations": [{}]}]}),
        ("gemini", {"generationConfig": [1]}),
    ],
)
def test_so_it_is_in_the_other_dialects(player: Play, slug: str, fields: dict[str, Any]) -> None:
    assert player(slug).ask(**fields).status_code == 400


# --- what the hub must never send ---------------------------------------------------------------------


def _problem(simulator: ThreadedSimulator) -> str:
    (violation,) = simulator.violations()
    return violation.problem


@pytest.mark.parametrize(
    ("slug", "status", "in_body"),
    [
        ("groq", 401, '"code":"invalid_api_key"'),
        ("together", 401, '"type":"authentication_error"'),
        ("anthropic", 401, '"type":"authentication_error"'),
        ("gemini", 400, '"reason":"API_KEY_INVALID"'),
    ],
)
def test_a_wrong_credential_is_refused_as_the_provider_does(
    player: Play, simulator: ThreadedSimulator, slug: str, status: int, in_body: str
) -> None:
    play = player(slug)
    name = next(iter(play.headers()))
    answer = play.ask(headers={name: "Bearer nonsense"})
    assert answer.status_code == status
    assert in_body in answer.text
    assert "wrong credential" in _problem(simulator)


def test_the_clients_own_key_is_named_as_such(player: Play, simulator: ThreadedSimulator) -> None:
    player("groq").ask(headers={"authorization": "Bearer pb_live_0123456789"})
    assert _problem(simulator) == "the client's own key was passed on in authorization"


def test_a_second_credential_is_a_violation(player: Play, simulator: ThreadedSimulator) -> None:
    answer = player("anthropic").ask(headers={"authorization": "Bearer pb_live_0123456789"})
    assert answer.status_code == 401
    assert "a second credential in authorization" in _problem(simulator)


@pytest.mark.parametrize(
    ("headers", "problem"),
    [
        ({"cookie": "session=1"}, "header cookie"),
        ({"x-panelboard-policy": "cheap"}, "header x-panelboard-policy"),
        ({"x-forwarded-for": "10.0.0.1"}, "header x-forwarded-for"),
        ({"content-type": "text/plain"}, "content type text/plain"),
        ({"content-encoding": "gzip"}, "compressed body"),
    ],
)
def test_forbidden_headers_are_violations(
    player: Play, simulator: ThreadedSimulator, headers: dict[str, str], problem: str
) -> None:
    assert player("groq").ask(headers=headers).status_code in {400, 415}
    assert problem in _problem(simulator)


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"provider": {"order": ["groq"]}}, "field provider"),
        ({"models": ["a"]}, "field models"),
        ({"model": "openai/gpt-oss-120b:fastest"}, "unknown model 'openai/gpt-oss-120b:fastest'"),
        ({"model": None}, "unknown model ''"),
    ],
)
def test_the_hubs_own_fields_are_violations(
    player: Play, simulator: ThreadedSimulator, fields: dict[str, Any], problem: str
) -> None:
    assert player("groq").ask(**fields).status_code in {400, 404}
    assert problem in _problem(simulator)
    assert simulator.journal()[-1].violations == [_problem(simulator)]


def test_a_model_id_of_another_provider_is_unknown(
    player: Play, simulator: ThreadedSimulator
) -> None:
    answer = player("mistral").ask(model="openai/gpt-oss-120b")
    assert answer.status_code == 404
    assert answer.json()["message"].startswith("The model `openai/gpt-oss-120b` does not exist")
    assert player("homemade").ask(model="gone").status_code == 404


def test_a_body_that_is_not_a_json_object_is_a_violation(
    player: Play, simulator: ThreadedSimulator, http: httpx.Client
) -> None:
    play = player("groq")
    for content in (b"{", b"[1]", b""):
        headers = play.headers() | {"content-type": "application/json"}
        assert http.post(play.url(), content=content, headers=headers).status_code == 400
    assert len(simulator.violations()) == 3


def test_a_request_id_sent_twice_is_a_violation(player: Play, simulator: ThreadedSimulator) -> None:
    play = player("groq")
    assert play.ask(headers={"x-request-id": "r-1"}).status_code == 200
    assert simulator.violations() == []
    assert play.ask(headers={"x-request-id": "r-1"}).status_code == 200
    assert "used before" in _problem(simulator)


def test_an_unknown_path_is_a_violation_and_an_unknown_provider_says_who_is_there(
    simulator: ThreadedSimulator, http: httpx.Client
) -> None:
    lost = http.post(simulator.base_url("groq") + "/chat/complete", json={})
    assert lost.status_code == 404
    assert "POST /groq/openai/v1/chat/complete" in lost.json()["error"]["message"]
    assert "unknown path" in _problem(simulator)
    nobody = http.get(simulator.root_url() + "/nobody/v1/models")
    assert nobody.status_code == 404
    assert "groq" in nobody.json()["error"]["message"]


def test_anthropic_wants_its_version_header(player: Play, simulator: ThreadedSimulator) -> None:
    play = player("anthropic")
    headers = {"x-api-key": simulator.key("anthropic")}
    answer = play.http.post(play.url(), json=play.body("hi"), headers=headers)
    assert answer.status_code == 400
    assert _problem(simulator) == "no anthropic-version header"


def test_gemini_streams_only_as_sse(player: Play, simulator: ThreadedSimulator) -> None:
    play = player("gemini")
    url = play.url(stream=True).partition("?")[0]
    assert play.http.post(url, json=play.body("hi"), headers=play.headers()).status_code == 400
    assert _problem(simulator) == "stream without alt=sse"


# --- envelopes ----------------------------------------------------------------------------------------


def _messages_in(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [m for v in value.values() for m in _messages_in(v)]
    if isinstance(value, list):
        return [m for v in value for m in _messages_in(v)]
    return [value] if isinstance(value, str) else []


@pytest.mark.parametrize("name", ENVELOPES)
@pytest.mark.parametrize("status", [400, 402, 404, 422, 429, 500, 503, 529])
def test_every_envelope_carries_the_message_at_every_status(name: str, status: int) -> None:
    trouble = Trouble(status, "Such a pity.", request_id="req_1")
    assert "Such a pity." in _messages_in(envelope(name, trouble))
    framed = stream_error(name, trouble)
    assert isinstance(framed["error"], dict)
    assert "Such a pity." in _messages_in(framed)


def test_envelopes_have_the_shapes_of_their_providers() -> None:
    trouble = Trouble(429, "Slow down.", request_id="req_1", retry_after="17")
    assert envelope("openai", trouble)["error"]["code"] == "rate_limit_exceeded"
    assert envelope("anthropic", trouble)["error"]["type"] == "rate_limit_error"
    google = envelope("google", trouble)["error"]
    assert (google["code"], google["status"]) == (429, "RESOURCE_EXHAUSTED")
    assert google["details"][0]["retryDelay"] == "17s"
    assert set(envelope("flat", trouble)) == {"message", "type", "param", "code"}
    assert envelope("novita", trouble)["reason"] == "RATE_LIMIT_EXCEEDED"
    assert envelope("detail_error", trouble) == {"detail": {"error": "Slow down."}}
    assert envelope("xai", trouble) == {"code": "rate_limit_exceeded", "error": "Slow down."}
    assert envelope("mistral", Trouble(422, "No.", param="x"))["detail"][0]["loc"] == ["body", "x"]
