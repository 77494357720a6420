"""The quick reader of plain answers and the careful one tell the same."""

from __future__ import annotations

import json
from typing import Any

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from routing.adapters.base import ChatCall, Reply
from routing.adapters.openai_compat.adapter import OpenAICompat
from routing.adapters.openai_compat.plain import read_plain_text
from routing.adapters.quirks import PLAIN, Quirks
from tests.routing.factories import endpoint

CALL = ChatCall(body={}, stream=False, wants_usage=False)
HEADERS = [(b"content-type", b"application/json")]
ADAPTER = OpenAICompat()

COUNTS = st.one_of(st.integers(-3, 5000), st.none(), st.sampled_from(["7", 2.0, True, 2**70]))
MESSAGES = st.fixed_dictionaries(
    {"role": st.just("assistant"), "content": st.one_of(st.text(), st.none(), st.just([]))},
    optional={
        "refusal": st.none() | st.just("no"),
        "reasoning_content": st.none() | st.text(max_size=5),
        "tool_calls": st.none() | st.just([]) | st.just([{"function": {"name": "f"}}]),
        "annotations": st.just([]),
    },
)
USAGES = st.fixed_dictionaries(
    {"prompt_tokens": COUNTS, "completion_tokens": COUNTS},
    optional={
        "total_tokens": COUNTS,
        "prompt_tokens_details": st.none()
        | st.fixed_dictionaries({}, optional={"cached_tokens": COUNTS}),
        "completion_tokens_details": st.none()
        | st.fixed_dictionaries({}, optional={"reasoning_tokens": COUNTS}),
        "prompt_cache_hit_tokens": COUNTS,
    },
)
ANSWERS = st.fixed_dictionaries(
    {
        "id": st.just("c1"),
        "model": st.text(max_size=5),
        "choices": st.lists(
            st.fixed_dictionaries(
                {
                    "index": st.just(0),
                    "message": MESSAGES,
                    "finish_reason": st.sampled_from(["stop", "length", "eos", "tool_calls", None]),
                }
            ),
            min_size=1,
            max_size=2,
        ),
    },
    optional={"usage": USAGES | st.none(), "error": st.none()},
)


def told(reply: Reply) -> dict[str, Any]:
    kept = ("usage", "finish_reason", "response_model", "output_chars")
    return {name: getattr(reply, name) for name in kept} | {"body": reply.body}


@settings(max_examples=200)
@given(ANSWERS)
def test_what_the_quick_reader_takes_it_reads_as_the_careful_one_does(
    answer: dict[str, Any],
) -> None:
    body = json.dumps(answer).encode()
    quick = read_plain_text(body, PLAIN)
    if quick is None:
        return
    careful = ADAPTER.read_reply(CALL, endpoint("a", 1), HEADERS, body)
    assert told(quick) == told(careful)


def test_the_common_answer_is_taken_by_the_quick_reader() -> None:
    message = {"role": "assistant", "content": "hi", "refusal": None}
    usage = {
        "prompt_tokens": 57,
        "completion_tokens": 100,
        "total_tokens": 157,
        "prompt_tokens_details": {"cached_tokens": 16, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0},
    }
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    body = orjson.dumps({"id": "c", "model": "m", "choices": [choice], "usage": usage})
    reply = read_plain_text(body, PLAIN)
    assert reply is not None
    assert (reply.usage.input_total, reply.usage.cache_read, reply.usage.output_total) == (
        57,
        16,
        100,
    )
    assert orjson.loads(reply.usage_raw) == usage


def test_a_provider_with_habits_of_its_own_is_read_carefully() -> None:
    body = b'{"choices":[{"message":{"content":"x"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":1}}'
    assert read_plain_text(body, PLAIN) is not None
    assert read_plain_text(body, Quirks(cost_path="usage.cost")) is None
    assert read_plain_text(body, Quirks(finish_map={"stop": "length"})) is None
    assert read_plain_text(body, Quirks(output_includes_reasoning=False)) is None
