"""Bodies of plain calls, held to what the careful way builds of the same call."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routing.adapters.base import BuiltRequest, ChatCall
from routing.adapters.openai_compat import quick
from routing.core.catalog import Endpoint
from routing.gateway.parse import parse_chat
from tests.routing.adapters.support import ADAPTERS, plain_endpoint
from tests.routing.factories import MODEL, endpoint, model, snapshot

ASKED = ["m", MODEL, "größe", 'q"uo\\te', "a/b:c", "model"]
WORLD = snapshot(*(endpoint("groq", n, of=model(name, n)) for n, name in enumerate(ASKED, 1)))
UPSTREAM = ["up/model", 'we"ird\\', "größe\u2028", "x" * 300]
QUIRKS: list[dict[str, Any]] = [
    {},
    {"max_tokens_field": "max_completion_tokens"},
    {"max_tokens_field": "as_sent"},
    {"usage_mode": "always"},
    {"usage_mode": "finish_chunk", "rename_params": {"seed": "random_seed"}},
    {"strict_unknown": True},
    {"strict_unknown": True, "known_params": ("top_k",), "drop_params": ("user",)},
    {"drop_params": ("stream_options",)},
    {"drop_params": ("max_tokens", "temperature")},
    {"rename_params": {"max_tokens": "limit", "user": "seed"}},
    {"default_params": {"top_k": 3}},
    {"default_params": {"stream_options": {"include_obfuscation": False}}},
    {"developer_role": True, "content_parts": "string_only", "reasoning_field_in": "none"},
]
ENDPOINTS = [
    msgspec.structs.replace(plain_endpoint(**quirks), upstream_model=upstream)
    for quirks in QUIRKS
    for upstream in UPSTREAM[:2]
] + [msgspec.structs.replace(plain_endpoint(), upstream_model=name) for name in UPSTREAM]


def built(call: ChatCall, at: Endpoint) -> BuiltRequest:
    return ADAPTERS["openai_compat"].build(call, at, "s3cret")


def exactly(body: bytes) -> str:
    """A body's content, with 1, 1.0 and true told apart."""
    return json.dumps(orjson.loads(body), sort_keys=True)


def keys_of(body: bytes) -> list[str]:
    """The outermost keys as they stand there, a repeated one as often as it does."""
    pairs: list[tuple[str, Any]] = json.loads(body, object_pairs_hook=list)
    return [key for key, _ in pairs]


@contextmanager
def every_body_is_worth_it() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(quick, "SPLICED_FROM_BYTES", 0)
        patch.setattr(quick, "PROBED_ESCAPES", 0)
        yield


def same_both_ways(raw: bytes, at: Endpoint) -> bool:
    """True if the body was plain, so that there were two ways."""
    call, _ = parse_chat(orjson.loads(raw), raw, WORLD)
    if not call.is_plain:
        return False
    careful = built(msgspec.structs.replace(call, is_plain=False), at)
    with every_body_is_worth_it():
        spliced = built(call, at)
    for way in (built(call, at), spliced):
        assert exactly(way.body) == exactly(careful.body)
        assert keys_of(way.body)[0] == "model"
        assert keys_of(way.body).count("model") == 1
        assert (way.path, way.headers, way.dropped) == (
            careful.path,
            careful.headers,
            careful.dropped,
        )
    return True


# --- bodies as text, with everything that JSON allows --------------------------------------------

FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "model": st.sampled_from(ASKED),
    "messages": st.lists(
        st.fixed_dictionaries(
            {
                "role": st.sampled_from(["system", "user", "assistant"]),
                "content": st.sampled_from(
                    ["model", '"model":"x"', "\n\t\\", "é🙂\u2028", '{"model": "m"}', ""]
                )
                | st.text(st.characters(exclude_categories=["Cs"]), max_size=6),
            }
        ),
        min_size=1,
        max_size=2,
    ),
    "stream": st.booleans(),
    "stream_options": st.sampled_from(
        [{}, {"include_usage": True}, {"include_usage": False, "include_obfuscation": False}]
    ),
    "max_tokens": st.integers(1, 99),
    "max_completion_tokens": st.integers(1, 99),
    "temperature": st.sampled_from([0, 1, 1.0, 0.3, -0.0, 1e-7, 12345678901234567890123]),
    "user": st.sampled_from(["u", "model", {"model": "nested"}, ["model"], None]),
    "seed": st.integers() | st.none(),
    "top_k": st.integers(0, 9),
}
SPACES = st.sampled_from(["", "", "", " ", "\n", "\t "])


def escaped(text: str, places: set[int]) -> str:
    """A JSON string with some of its letters as escapes."""
    parts = [
        f"\\u{ord(c):04x}" if i in places and ord(c) < 0xFFFF else json.dumps(c)[1:-1]
        for i, c in enumerate(text)
    ]
    return '"' + "".join(parts) + '"'


@st.composite
def raw_bodies(draw: st.DrawFn) -> bytes:
    """A plain body's members in any order, some twice, some keys escaped, any white space."""
    more = draw(st.lists(st.sampled_from(sorted(FIELDS)), max_size=6))
    names = draw(st.permutations(["model", "messages", *more]))
    members = []
    for name in names:
        key = escaped(name, draw(st.sets(st.integers(0, 4), max_size=draw(st.integers(0, 2)))))
        value = draw(FIELDS[name])
        text = json.dumps(value, ensure_ascii=draw(st.booleans()))
        members.append(draw(SPACES) + key + draw(SPACES) + ":" + draw(SPACES) + text + draw(SPACES))
    return ("{" + ",".join(members) + "}" + draw(SPACES)).encode()


@settings(max_examples=200, deadline=None)
@given(raw_bodies(), st.sampled_from(ENDPOINTS))
def test_a_plain_body_is_what_the_careful_way_builds(raw: bytes, at: Endpoint) -> None:
    same_both_ways(raw, at)


TEXT = '[{"role":"user","content":"hi"}]'


@pytest.mark.parametrize(
    "raw",
    [
        f'{{"model":"m","messages":{TEXT},"model":"{MODEL}"}}',
        f'{{"model":"m","messages":{TEXT},"mod\\u0065l":"{MODEL}"}}',
        f'{{"mod\\u0065l":"m","messages":{TEXT},"user":"model"}}',
        f'{{"mod\\u0065l":"m","messages":{TEXT},"user":{{"model":"x"}}}}',
        f'{{"model":"m","messages":{TEXT},"user":{{"model":"m"}}}}',
        f'{{"model":"m","messages":{{"model":"x"}},"messages":{TEXT}}}',
        f'{{"messages":{TEXT},"model":"m"}}',
        f'{{"messages":{TEXT}, "model": "m", "seed": 1}}',
        f'{{ "model":"m","messages":{TEXT}}}',
        f'{{"model":"\\u006d","messages":{TEXT}}}',
        f'{{"model":"q\\"uo\\\\te","messages":{TEXT}}}',
        f'{{"model":"größe","messages":{TEXT}}}',
        f'{{"model":"model","messages":{TEXT}}}',
        f'{{"model":"m","messages":{TEXT},"stream":true}}\n',
        f'{{"model":"m","messages":{TEXT},"stream":true,"stream":false}}',
        f'{{"model":"m","messages":{TEXT},"max_tokens":3,"max_tokens":4}}',
        f'{{"model":"m","messages":{TEXT},"max_tokens":3,"max_completion_tokens":4}}',
        f'{{"model":"m","messages":{TEXT},"stream":true,"stream_options":{{"x":1}}}}',
    ],
)
@pytest.mark.parametrize(
    "at", ENDPOINTS[: 2 * len(QUIRKS) : 2], ids=lambda at: at.upstream_model[:3]
)
def test_an_odd_body_is_no_way_to_another_model_or_limit(raw: str, at: Endpoint) -> None:
    assert same_both_ways(raw.encode(), at)


# --- what is sent as it was received -------------------------------------------------------------

JSON_IN_JSON = json.dumps(json.dumps([{"id": n, "on": True} for n in range(2000)]))
MESSAGES = f'"messages" : [{{"role":"user","content":{JSON_IN_JSON}}}]'


@pytest.mark.parametrize(
    ("asked", "sent"),
    [
        ('{"model":"m",%s}', '{"model":"up/model",%s}'),
        ('{"model": "m", %s}', '{"model":"up/model", %s}'),
        ('{%s,"model":"m"}', '{"model":"up/model",%s}'),
        ('{%s, "model" : "m" , "seed":1}', '{"model":"up/model",%s , "seed":1}'),
        (
            '{"model":"m","stream":true,%s}',
            '{"model":"up/model","stream":true,%s,"stream_options":{"include_usage":true}}',
        ),
        (
            '{"model":"m","stream":true,"stream_options":{"include_usage":true},%s}',
            '{"model":"up/model","stream":true,"stream_options":{"include_usage":true},%s}',
        ),
    ],
)
def test_a_long_body_full_of_escapes_is_sent_as_it_was_received(asked: str, sent: str) -> None:
    raw = (asked % MESSAGES).encode()
    call, _ = parse_chat(orjson.loads(raw), raw, WORLD)
    assert built(call, plain_endpoint()).body == (sent % MESSAGES).encode()


@pytest.mark.parametrize(
    "asked",
    [
        '{"model":"m",%s,"stream":false}',
        '{"model":"m",%s,"max_completion_tokens":4}',
        '{"model":"m",%s,"stream":true,"stream_options":{}}',
        '{"model":"m",%s,"stream_options":{"include_usage":true}}',
        '{"model":"m",%s,"user":"model"}',
    ],
)
def test_where_more_than_the_model_has_to_change_it_is_written_anew(asked: str) -> None:
    raw = (asked % MESSAGES).encode()
    assert same_both_ways(raw, plain_endpoint())
    call, _ = parse_chat(orjson.loads(raw), raw, WORLD)
    assert b'"messages":[' in built(call, plain_endpoint()).body


def test_a_body_that_was_not_received_is_written() -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": "half \ud83d"}]}
    call, _ = parse_chat(body, b"", WORLD)
    assert call.is_plain
    assert json.loads(built(call, plain_endpoint()).body)["messages"] == body["messages"]


def test_quirks_are_worked_out_once_and_kept_within_bounds() -> None:
    call, _ = parse_chat(orjson.loads(b'{"model":"m","messages":%b}' % TEXT.encode()), b"", WORLD)
    for n in range(quick.MAX_WAYS + 10):
        at = plain_endpoint(default_params={"top_k": n})
        assert json.loads(built(call, at).body)["top_k"] == n
    assert 0 < len(quick._ways) <= quick.MAX_WAYS


def test_a_short_body_takes_no_more_memory_than_its_text() -> None:
    """A stream keeps it to its end."""
    raw = orjson.dumps({"model": MODEL, "messages": [{"role": "user", "content": "hello " * 50}]})
    call, _ = parse_chat(orjson.loads(raw), raw, WORLD)
    at = plain_endpoint()
    tracemalloc.start()
    try:
        bodies = [quick.plain_body(call, at) or b"" for _ in range(20)]
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert 300 < len(bodies[0]) < 600
    assert taken < len(bodies) * 1024
