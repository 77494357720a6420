from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routing.adapters.jsonio import BadJson, dig, dumps, loads

DEEP: Any = 0
for _ in range(5000):
    DEEP = [DEEP]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"NaN",
        b'{"a":1}{',
        b'"\xff"',
        b"[" * 5000,
        b"1e400",
        b'"a\nb"',
        b'["\\ud83d", NaN]',
        b'["\\ud83d"',
        b'"\\ud83d\xff"',
    ],
)
def test_what_is_not_json_is_bad_json(data: bytes) -> None:
    with pytest.raises(BadJson):
        loads(data)


@pytest.mark.parametrize("value", [DEEP, object(), {"a": ["\ud83d", object()]}])
def test_what_cannot_be_written_is_bad_json(value: Any) -> None:
    with pytest.raises(BadJson):
        dumps(value)


def test_half_an_emoji_is_read_and_written_as_an_escape() -> None:
    assert loads(b'{"a":"\\ud83d"}') == {"a": "\ud83d"}
    assert dumps({"a": "\ud83d"}) == b'{"a":"\\ud83d"}'


@settings(max_examples=100)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(st.characters(), max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=10,
    )
)
def test_whatever_is_written_is_read_again_and_has_no_line_break(value: Any) -> None:
    written = dumps(value)
    assert loads(written) == value
    assert b"\n" not in written
    assert b"\r" not in written


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("a", {"b": [1, {"c": 2}]}),
        ("a.b.1.c", 2),
        ("a.b.0", 1),
        ("a.b.7", None),
        ("a.b.x", None),
        ("a.x.y", None),
        ("a.b.0.c", None),
        ("a.b.-1", None),
    ],
)
def test_a_path_that_leads_nowhere_gives_none(path: str, found: Any) -> None:
    assert dig({"a": {"b": [1, {"c": 2}]}}, path) == found
