from __future__ import annotations

from typing import Any, get_args

import pytest
from openai.types.responses import ResponseIncludable

from routing.adapters.left_out import MOST_NAME_CHARS, MOST_NAMES
from routing.core.errors import HubError
from tests.routing.surfaces.responses.support import TOOL, request, voice_of

SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}}
CALL = {
    "type": "function_call",
    "call_id": "c1",
    "name": "get_temp",
    "arguments": '{"city":"Oslo"}',
}
RESULT = {"type": "function_call_output", "call_id": "c1", "output": "4 C"}
CHAT_CALL = {
    "id": "c1",
    "type": "function",
    "function": {"name": "get_temp", "arguments": '{"city":"Oslo"}'},
}


def refused(input: Any = "hello", **more: Any) -> HubError:
    with pytest.raises(HubError) as raised:
        voice_of(input, **more)
    assert raised.value.status == 400
    return raised.value


def messages(input: Any, **more: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = voice_of(input, **more).chat["messages"]
    return found


def test_a_text_is_one_user_message() -> None:
    assert voice_of("hi").chat == {
        "model": "openai/gpt-oss-120b",
        "messages": [{"role": "user", "content": "hi"}],
    }


def test_instructions_come_first() -> None:
    assert messages("hi", instructions="be brief") == [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "hi"},
    ]


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ({"role": "user", "content": "a"}, {"role": "user", "content": "a"}),
        (
            {
                "type": "message",
                "role": "developer",
                "content": [{"type": "input_text", "text": "a"}],
            },
            {"role": "developer", "content": "a"},
        ),
        (
            {"role": "assistant", "content": [{"type": "output_text", "text": "a"}]},
            {"role": "assistant", "content": "a"},
        ),
        (
            {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]},
            {"role": "assistant", "content": None, "refusal": "no"},
        ),
        (
            {
                "role": "user",
                "content": [
                    {"type": "input_text", "text": "what is it?"},
                    {
                        "type": "input_image",
                        "image_url": "https://x.example/a.png",
                        "detail": "low",
                    },
                    {"type": "input_file", "filename": "a.pdf", "file_data": "data:;base64,QQ=="},
                    {"type": "input_audio", "input_audio": {"data": "QQ==", "format": "wav"}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "what is it?"},
                    {
                        "type": "image_url",
                        "image_url": {"url": "https://x.example/a.png", "detail": "low"},
                    },
                    {
                        "type": "file",
                        "file": {"filename": "a.pdf", "file_data": "data:;base64,QQ=="},
                    },
                    {"type": "input_audio", "input_audio": {"data": "QQ==", "format": "wav"}},
                ],
            },
        ),
        (
            {
                "role": "user",
                "content": [
                    {"type": "input_text", "text": "a", "cache_control": {"type": "ephemeral"}}
                ],
            },
            {
                "role": "user",
                "content": [{"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}],
            },
        ),
    ],
)
def test_a_message_keeps_its_role_and_parts(item: dict[str, Any], message: dict[str, Any]) -> None:
    assert messages([item]) == [message]


def test_calls_and_their_results_are_a_turn_of_tools() -> None:
    again = {**CALL, "call_id": "c2"}
    results = [
        RESULT,
        {**RESULT, "call_id": "c2", "output": [{"type": "input_text", "text": "5 C"}]},
    ]
    assert messages([{"role": "user", "content": "hi"}, CALL, again, *results]) == [
        {"role": "user", "content": "hi"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [CHAT_CALL, {**CHAT_CALL, "id": "c2"}],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "4 C"},
        {"role": "tool", "tool_call_id": "c2", "content": "5 C"},
    ]


def test_what_the_model_said_in_one_turn_is_one_message() -> None:
    thought = {
        "type": "reasoning",
        "id": "rs_1",
        "summary": [{"type": "summary_text", "text": "hm"}],
    }
    said = {"role": "assistant", "content": "let me see"}
    assert messages([thought, said, CALL, RESULT]) == [
        {
            "role": "assistant",
            "content": "let me see",
            "reasoning_content": "hm",
            "tool_calls": [CHAT_CALL],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "4 C"},
    ]


def test_two_answers_in_a_row_stay_two_messages() -> None:
    said = [{"role": "assistant", "content": "one"}, {"role": "assistant", "content": "two"}]
    assert [message["content"] for message in messages(said)] == ["one", "two"]


def test_what_comes_between_a_call_and_its_result_joins_the_call() -> None:
    found = messages([CALL, {"role": "assistant", "content": "done soon"}, RESULT])
    assert [message["role"] for message in found] == ["assistant", "tool"]
    assert found[0]["content"] == "done soon"


def test_custom_tools_are_carried_both_ways() -> None:
    grammar = {"type": "grammar", "syntax": "lark", "definition": "start: A"}
    voice = voice_of(
        [
            {"type": "custom_tool_call", "call_id": "c1", "name": "sql", "input": "SELECT 1"},
            {"type": "custom_tool_call_output", "call_id": "c1", "output": "1"},
        ],
        tools=[{"type": "custom", "name": "sql", "description": "d", "format": grammar}],
        tool_choice={"type": "custom", "name": "sql"},
    )
    form = {"type": "grammar", "grammar": {"syntax": "lark", "definition": "start: A"}}
    custom = {"name": "sql", "description": "d", "format": form}
    assert voice.chat["tools"] == [{"type": "custom", "custom": custom}]
    assert voice.chat["tool_choice"] == {"type": "custom", "custom": {"name": "sql"}}
    call = voice.chat["messages"][0]["tool_calls"][0]
    assert call == {"id": "c1", "type": "custom", "custom": {"name": "sql", "input": "SELECT 1"}}


def test_a_function_gets_its_envelope() -> None:
    function = {name: TOOL[name] for name in ("name", "description", "parameters", "strict")}
    assert voice_of(tools=[TOOL]).chat["tools"] == [{"type": "function", "function": function}]


@pytest.mark.parametrize(
    ("choice", "carried"),
    [
        ("auto", "auto"),
        ("none", "none"),
        ("required", "required"),
        (
            {"type": "function", "name": "get_temp"},
            {"type": "function", "function": {"name": "get_temp"}},
        ),
        (
            {
                "type": "allowed_tools",
                "mode": "required",
                "tools": [{"type": "function", "name": "get_temp"}],
            },
            {
                "type": "allowed_tools",
                "allowed_tools": {
                    "mode": "required",
                    "tools": [{"type": "function", "function": {"name": "get_temp"}}],
                },
            },
        ),
    ],
)
def test_every_choice_among_tools_is_carried(choice: Any, carried: Any) -> None:
    assert voice_of(tools=[TOOL], tool_choice=choice).chat["tool_choice"] == carried


def test_without_tools_chat_hears_nothing_of_them() -> None:
    chat = voice_of(tools=[], tool_choice="auto", parallel_tool_calls=False).chat
    assert not chat.keys() & {"tools", "tool_choice", "parallel_tool_calls"}


@pytest.mark.parametrize(
    ("sent", "carried"),
    [
        ({"max_output_tokens": 50}, {"max_completion_tokens": 50}),
        ({"reasoning": {"effort": "low", "summary": "auto"}}, {"reasoning_effort": "low"}),
        ({"text": {"verbosity": "low"}}, {"verbosity": "low"}),
        ({"text": {"format": {"type": "text"}}}, {}),
        (
            {"text": {"format": {"type": "json_object"}}},
            {"response_format": {"type": "json_object"}},
        ),
        (
            {
                "text": {
                    "format": {"type": "json_schema", "name": "r", "strict": True, "schema": SCHEMA}
                }
            },
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "r", "schema": SCHEMA, "strict": True},
                }
            },
        ),
        (
            {"stream": True, "stream_options": {"include_obfuscation": False}},
            {"stream": True, "stream_options": {"include_usage": True}},
        ),
        (
            {"include": ["message.output_text.logprobs"], "top_logprobs": 3},
            {"logprobs": True, "top_logprobs": 3},
        ),
        (
            {"temperature": 0.5, "top_p": 1, "user": "u", "safety_identifier": "s"},
            {"temperature": 0.5, "top_p": 1, "user": "u", "safety_identifier": "s"},
        ),
        (
            {"prompt_cache_key": "k", "prompt_cache_retention": "24h", "service_tier": "flex"},
            {"prompt_cache_key": "k", "prompt_cache_retention": "24h", "service_tier": "flex"},
        ),
        # kept by the hub, of no interest to a provider
        ({"metadata": {"a": "b"}, "store": True, "truncation": "disabled"}, {}),
        # the hub's own fields, a provider's own, and chat's that have no other name here
        (
            {"provider": {"only": ["groq"]}, "models": ["m"], "top_k": 4, "seed": 1, "stop": ["x"]},
            {"provider": {"only": ["groq"]}, "models": ["m"], "top_k": 4, "seed": 1, "stop": ["x"]},
        ),
    ],
)
def test_settings_find_their_name_in_chat(sent: dict[str, Any], carried: dict[str, Any]) -> None:
    voice = voice_of(**sent)
    rest = {k: v for k, v in voice.chat.items() if k not in ("model", "messages")}
    assert rest == carried
    assert voice.uncarried == ()


@pytest.mark.parametrize(
    ("sent", "named"),
    [
        ({"truncation": "auto"}, "truncation"),
        ({"include": ["web_search_call.results"]}, "include.web_search_call.results"),
        ({"reasoning": {"effort": "low", "mode": "pro"}}, "reasoning.mode"),
        ({"moderation": {"model": "m"}}, "moderation"),
        ({"context_management": [{"type": "compaction"}]}, "context_management"),
        (
            {"stream": True, "stream_options": {"include_obfuscation": True}},
            "stream_options.include_obfuscation",
        ),
        ({"tools": [{**TOOL, "defer_loading": True}]}, "tools.defer_loading"),
        (
            {"input": [{"role": "assistant", "content": "a", "phase": "commentary"}]},
            "input.phase",
        ),
        (
            {"input": [{"type": "reasoning", "summary": [], "encrypted_content": "gAAAA-foreign"}]},
            "input.encrypted_content",
        ),
    ],
)
def test_what_chat_has_no_word_for_is_named(sent: dict[str, Any], named: str) -> None:
    assert voice_of(**{"input": "hello", **sent}).uncarried == (named,)


@pytest.mark.parametrize(
    ("sent", "param"),
    [
        ({"input": None}, "input"),
        ({"input": []}, "input"),
        ({"input": 5}, "input"),
        ({"input": ["a"]}, "input[0]"),
        ({"input": [{"type": {"a": 1}}]}, "input[0].type"),
        ({"input": [{"type": [], "role": "user", "content": "a"}]}, "input[0].type"),
        ({"input": [{"type": "item_reference", "id": "msg_1"}]}, "input[0].id"),
        ({"input": [{"role": "tool", "content": "a"}]}, "input[0].role"),
        ({"input": [{"role": "user", "content": 5}]}, "input[0].content"),
        ({"input": [{"role": "user", "content": [5]}]}, "input[0].content[0]"),
        (
            {"input": [{"role": "user", "content": [{"type": "input_text"}]}]},
            "input[0].content[0].text",
        ),
        (
            {"input": [{"role": "user", "content": [{"type": "input_image"}]}]},
            "input[0].content[0].image_url",
        ),
        (
            {"input": [{"role": "user", "content": [{"type": "input_file", "file_id": 5}]}]},
            "input[0].content[0].file_id",
        ),
        (
            {"input": [{"role": "user", "content": [{"type": "input_file"}]}]},
            "input[0].content[0].file_data",
        ),
        ({"input": [{**CALL, "arguments": {"city": "Oslo"}}, RESULT]}, "input[0].arguments"),
        ({"input": [CALL]}, "input"),
        ({"input": [RESULT]}, "input"),
        (
            {"input": [{"type": "reasoning", "summary": [], "encrypted_content": "pb1.%%%"}]},
            "input[0].encrypted_content",
        ),
        ({"tools": [{"name": "web_search"}]}, "tools[0].type"),
        ({"tools": [{"type": ["web_search"]}]}, "tools[0].type"),
        ({"tools": ["web_search"]}, "tools[0]"),
        ({"tools": [{"type": "function"}]}, "tools[0].name"),
        ({"tools": {"type": "function"}}, "tools"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tool_choice": "some", "tools": [TOOL]}, "tool_choice"),
        ({"tool_choice": {"type": "function", "name": "other"}, "tools": [TOOL]}, "tool_choice"),
        ({"tool_choice": {"type": "file_search"}, "tools": [TOOL]}, "tool_choice"),
        ({"background": True}, "background"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"n": 2}, "n"),
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"messages": []}, "messages"),
        ({"max_tokens": 5}, "max_tokens"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"text": {"format": {"type": "yaml"}}}, "text.format.type"),
        ({"text": {"format": {"type": "json_schema", "schema": {}}}}, "text.format.name"),
        ({"text": {"format": {"type": "json_schema", "name": "r"}}}, "text.format.schema"),
        ({"text": {"verbosity": "huge"}}, "text.verbosity"),
        ({"reasoning": {"effort": "vast"}}, "reasoning.effort"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"max_output_tokens": True}, "max_output_tokens"),
        ({"top_logprobs": 21}, "top_logprobs"),
        ({"temperature": "hot"}, "temperature"),
        ({"truncation": "middle"}, "truncation"),
        ({"metadata": {"a": 1}}, "metadata"),
        ({"include": [1]}, "include"),
        ({"include": ["reasoning.encrypted_content", "x"]}, "include[1]"),
        ({"stream": "yes"}, "stream"),
    ],
)
def test_what_cannot_be_done_is_refused_by_name(sent: dict[str, Any], param: str) -> None:
    error = refused(**{"input": "hello", **sent})
    assert error.param == param
    assert error.should_retry is False


def test_who_asks_to_include_what_nobody_knows_is_told_what_can_be_included() -> None:
    known = get_args(ResponseIncludable)
    assert voice_of("hi", include=list(known)).native.body["include"] == list(known)
    message = refused(include=["thoughts"]).message
    assert "'thoughts'" in message
    assert [name for name in known if name not in message] == []


def test_no_more_of_what_is_left_out_is_named_than_a_log_can_hold() -> None:
    tools = [{"type": f"made_up_{n}"} for n in range(1000)]
    voice = voice_of("hi", tools=tools, reasoning={f"{'x' * 1000}{n}": n for n in range(9)})
    assert len(voice.uncarried) == len(voice.essential) == MOST_NAMES
    named = voice_of("hi", reasoning={"x" * 1000: 1}).uncarried
    assert named == (f"reasoning.{'x' * 1000}"[:MOST_NAME_CHARS],)


def test_who_sends_a_chat_request_is_told_of_the_right_field() -> None:
    error = refused(None, messages=[{"role": "user", "content": "hi"}])
    assert error.message == "'messages' is a field of chat completions: here it is 'input'"


def test_the_request_as_it_was_written_is_there_for_providers_of_the_dialect() -> None:
    voice = voice_of("hi", provider={"only": ["openai"]}, truncation="auto")
    assert voice.native.dialect == "openai_responses"
    body = voice.native.body
    assert body["truncation"] == "auto"
    assert body["store"] is False
    assert "provider" not in body
    assert body["input"] == "hi"


def test_what_a_provider_cannot_know_is_not_sent_to_one_of_the_dialect() -> None:
    hex = "0" * 32
    ours = {
        "type": "reasoning",
        "id": f"rs_{hex}o0",
        "summary": [],
        "encrypted_content": "pb1.e30=",
    }
    theirs = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAA"}
    said = {"type": "message", "id": f"msg_{hex}o1", "role": "assistant", "content": "a"}
    voice = voice_of([ours, theirs, said, {"role": "user", "content": "q"}])
    assert voice.native.body["input"] == [
        theirs,
        {"type": "message", "role": "assistant", "content": "a"},
        {"role": "user", "content": "q"},
    ]


@pytest.mark.parametrize(("asked", "there"), [(True, True), (False, False), (None, False)])
def test_a_provider_keeps_a_copy_only_where_the_client_says_so(asked: Any, there: bool) -> None:
    more = {} if asked is None else {"store": asked}
    native = voice_of("hi", **more).native
    assert native.body["store"] is there
    assert native.returns_thoughts is (asked is not False)


@pytest.mark.parametrize("name", ["moderation", "access_programs", "prompt"])
def test_what_changes_the_question_is_essential(name: str) -> None:
    assert voice_of(**{name: {"model": "m"}}).essential == (name,)
    assert voice_of(truncation="auto").essential == ()


FILE = {"type": "input_file", "file_id": "file-1"}


@pytest.mark.parametrize(
    ("sent", "named"),
    [
        ({"tools": [{"type": "web_search"}, TOOL]}, ("tools.web_search",)),
        ({"tools": [{"type": "file_search", "vector_store_ids": []}]}, ("tools.file_search",)),
        ({"tools": [{"type": "of_next_year"}]}, ("tools.of_next_year",)),
        ({"tools": [{"type": "mcp"}], "tool_choice": "required"}, ("tools.mcp",)),
        (
            {"tools": [{"type": "mcp"}, TOOL], "tool_choice": {"type": "mcp", "server_label": "x"}},
            ("tools.mcp",),
        ),
        ({"input": [{"role": "user", "content": [FILE]}]}, ("input_file.file_id",)),
        (
            {"input": [{"role": "user", "content": [{"type": "input_file", "file_url": "http"}]}]},
            ("input_file.file_url",),
        ),
        (
            {"input": [{"role": "user", "content": [{"type": "input_image", "file_id": "f"}]}]},
            ("input_image.file_id",),
        ),
        (
            {"input": [CALL, {**RESULT, "output": [FILE]}]},
            ("input_file.file_id",),
        ),
        ({"input": [{"type": "computer_call", "id": "cu_1"}]}, ("input.computer_call",)),
        ({"input": [{"type": "code_interpreter_call"}]}, ("input.code_interpreter_call",)),
    ],
)
def test_what_only_a_provider_of_the_dialect_can_do_goes_there_alone(
    sent: dict[str, Any], named: tuple[str, ...]
) -> None:
    voice = voice_of(**{"input": "hello", **sent})
    assert voice.essential == named
    assert set(named) <= set(voice.uncarried)
    for field, value in sent.items():
        assert voice.native.body[field] == value


def test_what_an_answer_has_told_already_may_stay_behind() -> None:
    searched = {"type": "web_search_call", "id": "ws_1", "status": "completed"}
    voice = voice_of([{"role": "user", "content": "q"}, searched])
    assert voice.essential == ()
    assert voice.uncarried == ("input.web_search_call",)
    assert voice.native.body["input"][1] == searched


def test_a_prompt_that_the_provider_keeps_needs_no_input() -> None:
    voice = voice_of(None, prompt={"id": "pmpt_1", "variables": {"city": "Oslo"}})
    assert voice.native.body["prompt"]["id"] == "pmpt_1"
    assert "input" not in voice.native.body
    assert len(voice.chat["messages"]) == 1


def test_the_clients_body_is_left_as_it_was() -> None:
    body = request([{"role": "user", "content": "hi"}], tools=[TOOL], text={"verbosity": "low"})
    before = repr(body)
    voice_of(body["input"], **{k: v for k, v in body.items() if k not in ("input", "model")})
    assert repr(body) == before
