from __future__ import annotations

import msgspec
import pytest

from routing.core.errors import HubError
from routing.core.request import NO_PREFERENCES
from routing.gateway.parse import load_json, parse_chat, parse_preferences
from tests.routing.factories import MODEL, endpoint, model, snapshot

WORLD = snapshot(endpoint("groq", 1), endpoint("other", 2, of=model("meta-llama/Llama-3.3-70B", 2)))
HELLO = [{"role": "user", "content": "hello"}]


def parsed(**more: object):
    body = {"model": MODEL, "messages": HELLO, **more}
    return parse_chat(body, b"{}", WORLD)


def refused(**more: object) -> HubError:
    with pytest.raises(HubError) as caught:
        parsed(**more)
    assert caught.value.status == 400
    return caught.value


@pytest.mark.parametrize(
    "raw", [b"", b"{", b"[1]", b'"x"', b"\xff\xfe", b'{"a":NaN}', b"{'a':1}", b"[" * 5000]
)
def test_bytes_that_are_no_json_object_are_a_400(raw: bytes) -> None:
    with pytest.raises(HubError) as caught:
        load_json(raw)
    assert (caught.value.status, caught.value.code) == (400, "invalid_json")


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": None}, "model"),
        ({"model": 7}, "model"),
        ({"model": ""}, "model"),
        ({"model": "m" * 301}, "model"),
        ({"messages": None}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": "hello"}, "messages"),
        ({"messages": ["hello"]}, "messages[0]"),
        ({"messages": [{"content": "x"}]}, "messages[0]"),
        ({"stream": "yes"}, "stream"),
        ({"stream_options": []}, "stream_options"),
        ({"max_tokens": "5"}, "max_tokens"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": True}, "max_tokens"),
        ({"max_completion_tokens": -1}, "max_completion_tokens"),
        ({"tools": {}}, "tools"),
        ({"response_format": "json"}, "response_format"),
        ({"provider": "groq"}, "provider"),
        ({"provider": {"order": "groq"}}, "provider.order"),
        ({"provider": {"only": [1]}}, "provider.only"),
        ({"provider": {"sort": "colour"}}, "provider.sort"),
        ({"provider": {"allow_fallbacks": "no"}}, "provider.allow_fallbacks"),
        ({"provider": {"max_price": 3}}, "provider.max_price"),
        ({"provider": {"max_price": {"prompt": "cheap"}}}, "provider.max_price.prompt"),
        ({"provider": {"max_price": {"prompt": -1}}}, "provider.max_price.prompt"),
        ({"provider": {"max_price": {"soul": 1}}}, "provider.max_price.soul"),
        ({"provider": {"preferred_max_latency": "soon"}}, "provider.preferred_max_latency"),
        ({"provider": {"colour": "red"}}, "provider.colour"),
        ({"models": "x"}, "models"),
        ({"models": [MODEL] * 9}, "models"),
    ],
)
def test_a_wrong_field_is_named(fields: dict[str, object], param: str) -> None:
    error = refused(**fields)
    assert error.param == param
    assert error.should_retry is False


@pytest.mark.parametrize("asked", [0, -1, 10**9])
def test_a_length_out_of_bounds_is_told_both_bounds(asked: int) -> None:
    assert "from 1 to 10,000,000" in refused(max_tokens=asked).message


def test_the_hubs_own_fields_do_not_travel_on() -> None:
    call, facts = parsed(
        provider={"order": ["groq"], "max_price": {"prompt": 0.5}},
        models=["llama-3.3-70b"],
        seed=3,
        custom={"x": 1},
    )
    assert set(call.body) == {"model", "messages", "seed", "custom"}
    assert facts.preferences.order == ("groq",)
    assert facts.preferences.max_price_prompt == "0.5"
    assert facts.fallback_models == ("meta-llama/Llama-3.3-70B",)


def test_an_unknown_fallback_model_is_a_404() -> None:
    with pytest.raises(HubError) as caught:
        parsed(models=["no/such"])
    assert (caught.value.status, caught.value.param) == (404, "models")


def test_needs_are_read_from_what_was_sent() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    _, facts = parsed(
        messages=[{"role": "user", "content": [{"type": "text", "text": "?"}, image, 3]}],
        tools=[{"type": "function", "function": {"name": "f"}}],
        response_format={"type": "json_schema", "json_schema": {"name": "r", "schema": {}}},
        logprobs=True,
    )
    assert facts.needs == {"vision", "tools", "structured_output", "logprobs"}


def test_a_schema_in_the_words_of_text_generation_inference_is_a_schema() -> None:
    schema = {"type": "object", "properties": {"city": {"type": "string"}}}
    call, facts = parsed(response_format={"type": "json_object", "value": schema})
    assert facts.needs == {"structured_output"}
    assert call.body["response_format"]["type"] == "json_schema"
    assert call.body["response_format"]["json_schema"]["schema"] == schema


@pytest.mark.parametrize("kind", [[], {}, ["json_schema"], 5])
def test_a_word_that_is_none_is_left_for_the_provider_to_refuse(kind: object) -> None:
    part = {"type": kind, "text": "hi"}
    messages = [{"role": "user", "content": [part]}]
    call, facts = parsed(messages=messages, response_format={"type": kind})
    assert (call.body["messages"], call.body["response_format"]) == (messages, {"type": kind})
    assert facts.needs == frozenset()


def test_such_a_schema_that_is_none_is_refused_by_name() -> None:
    with pytest.raises(HubError) as caught:
        parsed(response_format={"type": "json_object", "value": "yes"})
    assert (caught.value.status, caught.value.param) == (400, "response_format.value")


def test_tools_that_may_not_be_called_are_no_need() -> None:
    _, facts = parsed(tools=[{"type": "function"}], tool_choice="none")
    assert not facts.needs


def test_a_usage_chunk_is_wanted_only_when_asked_for() -> None:
    assert parsed(stream=True, stream_options={"include_usage": True})[0].wants_usage
    assert not parsed(stream=True)[0].wants_usage


def test_the_expected_output_is_bounded_by_the_clients_cap() -> None:
    assert parsed(max_tokens=20)[1].output_tokens == 20
    assert parsed(max_tokens=20)[1].max_output_tokens == 20
    assert parsed()[1].max_output_tokens is None


def test_nulls_in_the_provider_object_mean_nothing() -> None:
    assert (
        parse_preferences({"order": None, "sort": None, "max_price": {"prompt": None}})
        == NO_PREFERENCES
    )
    assert parse_preferences(None) is NO_PREFERENCES


# --- names of providers ---------------------------------------------------------------------------


@pytest.mark.parametrize("field", ["order", "only", "ignore"])
def test_a_provider_that_does_not_exist_is_named_with_those_that_are_near(field: str) -> None:
    error = refused(provider={field: ["groq", "gorq"]})
    assert (error.code, error.param) == ("unknown_provider", f"provider.{field}")
    assert "'gorq'" in error.message
    assert "Did you mean groq?" in error.message
    assert error.detail == {"near_matches": ["groq"]}
    assert "Did you mean groq?" in refused(provider={field: ["Groq/fp8"]}).message


def test_where_nothing_is_near_the_providers_are_listed() -> None:
    assert "There are groq, other." in refused(provider={"only": ["\n" * 250]}).message
    assert len(refused(provider={"only": ["x" * 250]}).message) < 300


@pytest.mark.parametrize("field", ["order", "only", "ignore"])
def test_a_provider_that_is_paused_or_does_not_serve_the_model_is_no_mistake(field: str) -> None:
    resting = msgspec.structs.replace(WORLD, resting_providers=frozenset({"together"}))
    for name in ("groq", "groq/fp8", "groq/eu", "other", "together", "together/fp8"):
        body = {"model": MODEL, "messages": HELLO, "provider": {field: [name]}}
        _, facts = parse_chat(body, b"", resting)
        assert getattr(facts.preferences, field) == (name,)


# --- limits ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [0, -1, 129, 10**12, 1.5, True, "2"])
def test_more_answers_than_128_or_fewer_than_one_are_refused(n: object) -> None:
    error = refused(n=n)
    assert (error.code, error.param) == ("invalid_value", "n")
    assert "from 1 to 128" in error.message


@pytest.mark.parametrize("n", [None, 1, 128])
def test_up_to_128_answers_may_be_asked_for(n: object) -> None:
    assert parsed(n=n)[0].body["n"] == n


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"provider": {"order": ["groq"] * 101}}, "provider.order"),
        ({"provider": {"quantizations": ["x" * 301]}}, "provider.quantizations"),
        ({"provider": {"max_price": {"prompt": "0." + "0" * 100}}}, "provider.max_price.prompt"),
        ({"service_tier": "x" * 201}, "service_tier"),
        ({"x" * 201: 1}, None),
        ({f"field_{n}": 1 for n in range(200)}, None),
    ],
)
def test_what_is_written_down_of_a_request_has_its_measure(
    more: dict[str, object], param: str | None
) -> None:
    error = refused(**more)
    assert (error.code, error.param) == ("invalid_value", param)
