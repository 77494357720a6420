"""Frames that are recognised by the one before are read as if each had been read on its own."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routing.adapters import sse
from routing.adapters.openai_compat import pattern
from routing.adapters.openai_compat.stream import OpenAIStream
from tests.routing.adapters.chunks import DONE, HEAD, HI, ROLE, STOP, chunk, event, stream_of

USAGE = {"prompt_tokens": 9, "completion_tokens": 3}


def learned(reader: OpenAIStream) -> dict[str, Any]:
    error = reader.error
    return {
        "started": (reader.content_started, reader.answer_started),
        "usage": reader.usage,
        "finish": (reader.finish_reason, reader.done),
        "counted": (reader.output_chars, reader.content_frames),
        "model": reader.response_model,
        "error": error and (error.failure, error.code, error.message),
    }


def same_as_byte_by_byte(pieces: list[bytes], **quirks: Any) -> OpenAIStream:
    """Byte by byte, no frame ever comes whole."""
    quick, slow = stream_of(**quirks), stream_of(**quirks)
    out = b"".join(map(quick.feed, pieces))
    expected = b"".join(slow.feed(bytes([byte])) for byte in b"".join(pieces))
    assert (out, learned(quick)) == (expected, learned(slow))
    assert (quick.close(), learned(quick)) == (slow.close(), learned(slow))
    return quick


# --- any sequence of frames ------------------------------------------------------------------

WORDS = st.sampled_from(
    [
        *["a", " b", "", "usage", "reasoning", "reasoning_content", "delta", "m", "s1"],
        *["\n", '"', "\\", '"}}]}\n\ndata: {', ',"usage":null', "é", "🙂", "\u2028", "\x7f"],
        "x" * 300,
    ]
) | st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
BROKEN_STRINGS = st.sampled_from([b"\n", b"\x01", b"\xff", b'"', b"\\", b"\\ud83d", b"\\x", b"\r"])
SHAPES: st.SearchStrategy[dict[str, Any]] = st.sampled_from(
    [
        {},
        {"usage": None},
        {"usage": None, "obfuscation": "aB3"},
        {"obfuscation": "zz"},
        {"obfuscation": ""},
        {"obfuscation": 'q"'},
        {"error": None},
        {"created": 6},
        {"usage": USAGE},
    ]
)
FIELDS = st.sampled_from(["content", "content", "content", "reasoning_content", "reasoning"])
DELTAS: st.SearchStrategy[dict[str, Any]] = st.builds(
    lambda field, text: {field: text}, FIELDS, WORDS
) | st.sampled_from(
    [
        {},
        {"content": "a", "reasoning": None},
        {"content": "a", "reasoning_content": "b"},
        {"content": "a", "content_type": "a"},
        {"content": None},
        {"tool_calls": [{"index": 0, "id": "c", "function": {"name": "f", "arguments": ""}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": "a"}}]},
    ]
)
OTHERS = st.sampled_from(
    [
        b": comment\n\n",
        b"event: x\n",
        b"\n",
        b"data: [DONE]\n\n",
        b"data: 7\n\n",
        chunk({}, "stop"),
        chunk({"content": "a"}, "stop"),
        event({"error": {"message": "full", "code": 429}}),
        event({**HEAD, "choices": [], "usage": USAGE}),
        chunk({"content": "a"}, error={"message": "x"}),
        HI.replace(b"data: ", b"data:"),
        HI.replace(b"\n", b"\r\n"),
        HI[:-3],
        HI[10:],
    ]
)


@st.composite
def frames(draw: st.DrawFn) -> bytes:
    if draw(st.integers(0, 9)) == 0:
        return draw(OTHERS)
    index = draw(st.sampled_from([0, 0, 0, 0, 1]))
    frame = chunk(draw(DELTAS), index=index, **draw(SHAPES))
    if draw(st.booleans()):
        frame = json.dumps(json.loads(frame[6:]), ensure_ascii=False).encode("utf-8")
        frame = b"data: " + frame + b"\n\n"
    if draw(st.integers(0, 15)) == 0:
        frame = frame.replace(b'"a"', b'"' + draw(BROKEN_STRINGS) + b'"')
    return frame


@st.composite
def streams(draw: st.DrawFn) -> list[bytes]:
    """The same few frames again and again, so that they are recognised; some glued or cut."""
    kinds = draw(st.lists(frames(), min_size=1, max_size=4))
    whole = [ROLE, HI, *draw(st.lists(st.sampled_from(kinds), max_size=12))]
    pieces: list[bytes] = []
    for frame in whole:
        how = draw(st.sampled_from(["whole", "whole", "whole", "glued", "cut"]))
        if how == "glued" and pieces:
            pieces[-1] += frame
        elif how == "cut":
            at = draw(st.integers(0, len(frame)))
            pieces += [frame[:at], frame[at:]]
        else:
            pieces.append(frame)
    return pieces


@settings(max_examples=200, deadline=None)
@given(streams(), st.sampled_from(["reasoning_content", "reasoning"]))
def test_any_frames_are_read_as_they_are_byte_by_byte(pieces: list[bytes], name: str) -> None:
    same_as_byte_by_byte(pieces, reasoning_field_out=name)


@settings(max_examples=200, deadline=None)
@given(st.lists(WORDS, max_size=8), SHAPES, FIELDS, st.booleans())
def test_any_texts_in_frames_of_one_shape_are_read_as_they_are_byte_by_byte(
    texts: list[str], shape: dict[str, Any], field: str, renames: bool
) -> None:
    pieces = [chunk({field: text}, **shape) for text in texts]
    name = "reasoning" if renames else "reasoning_content"
    same_as_byte_by_byte([ROLE, HI, *pieces, STOP, DONE], reasoning_field_out=name)


def choice(text: str) -> dict[str, Any]:
    return {"index": 0, "delta": {"content": text}, "finish_reason": None}


def named(name: str, content: str, **more: Any) -> bytes:
    return event({"name": name, **HEAD, "choices": [choice(content)], **more})


@pytest.mark.parametrize(
    "pieces",
    [
        # the text stands in the frame twice, and once it is another one's
        [named("a", "a"), named("a", "a"), named("long", "a")],
        # the text is escaped where it is read, and plain where it is not
        [named("hi", "_").replace(b'"_"', b'"h\\u0069"')] * 2
        + [named("long", "_").replace(b'"_"', b'"h\\u0069"')],
        # usage hides where a padding was
        [chunk({"content": "a" * n}, obfuscation="x" * n) for n in range(1, 4)]
        + [chunk({"content": "a"}, obfuscation="x", usage=USAGE, more="x")],
        [chunk({"content": "a" * n}, obfuscation="x" * n) for n in range(1, 4)]
        + [chunk({"content": "a"}, obfuscation="_").replace(b"_", b"\x01")],
        # a whole frame after something that has not ended
        [HI, HI, HI, b"x", HI],
        [HI, HI, HI, b"event: x\n", HI],
        [HI, HI, HI, b"\r", HI],
        # the end of a frame that is also its beginning
        [HI, HI, HI, HI[: HI.index(b"hi")] + HI[HI.index(b"hi") + 3 :]],
        [HI, chunk({"content": "a"}), chunk({}), chunk({"content": ""})],
    ],
)
def test_frames_that_only_look_alike_are_told_apart(pieces: list[bytes]) -> None:
    same_as_byte_by_byte([ROLE, chunk({"content": "xy"}), *pieces, STOP, DONE])


def spaced(delta: dict[str, Any], **more: Any) -> bytes:
    """White space shows whether a frame was written anew."""
    return chunk(delta, **more).replace(b'"role":', b'"role" :')


@pytest.mark.parametrize("padding", [{}, {"obfuscation": "aB"}])
def test_a_text_that_is_the_name_of_a_field_changes_nothing(padding: dict[str, Any]) -> None:
    texts = ["a", "b", "reasoning_content", "reasoning", "usage", "c"]
    for field in ("reasoning", "content"):
        pieces = [spaced({field: text, "role": None}, **padding) for text in texts]
        same_as_byte_by_byte([ROLE, HI, *pieces, STOP, DONE], reasoning_field_out="reasoning")


# --- what the common frames cost -----------------------------------------------------------------


def parsed_of(
    reader: OpenAIStream, pieces: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> list[bytes]:
    """The pieces that were not recognised at once."""
    parsed: list[bytes] = []
    feed_any = reader._feed_any

    def watched(data: bytes) -> bytes:
        parsed.append(data)
        return feed_any(data)

    monkeypatch.setattr(reader, "_feed_any", watched)
    for piece in pieces:
        reader.feed(piece)
    return parsed


def test_a_text_frame_like_the_one_before_is_passed_on_without_being_parsed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reader = stream_of()
    for text in ("hi", "ho"):
        reader.feed(chunk({"content": text}))
    frames = [chunk({"content": text}) for text in ["a", " naïve", '\n"', "\\u0041"]]
    assert parsed_of(reader, frames, monkeypatch) == []
    assert reader.output_chars == len("hi" + "ho" + "a" + " naïve" + '\n"' + "\\u0041")
    assert reader.content_frames == 6


def test_frames_with_a_padding_of_their_own_are_recognised_too() -> None:
    reader = stream_of()
    frames = [chunk({"content": "x" * n}, usage=None, obfuscation="aZ" * n) for n in range(1, 9)]
    reader.feed(ROLE + frames[0])
    reader.feed(frames[1])
    assert reader._padded is not None
    for frame in frames[2:]:
        assert reader.feed(frame) == frame.replace(b',"usage":null', b"")
    unchanged = [chunk({"content": "x"}, obfuscation="a" * n) for n in range(1, 5)]
    reader = stream_of()
    reader.feed(ROLE + unchanged[0])
    for frame in unchanged[1:]:
        assert reader.feed(frame) is frame


def test_several_frames_at_once_are_passed_on_as_they_are() -> None:
    reader = stream_of()
    reader.feed(ROLE + HI + HI)
    assert reader.feed(HI * 5) == HI * 5
    assert reader.output_chars == 2 * 7


def test_a_frame_beyond_the_limit_ends_the_stream_also_where_it_is_recognised() -> None:
    reader = stream_of()
    for _ in range(3):
        reader.feed(HI)
    long = chunk({"content": "x" * sse.MAX_EVENT_BYTES})
    assert reader.feed(long) == b""
    assert reader.error is not None
    assert reader.error.code == "event_too_large"


@pytest.mark.parametrize(
    "last", [DONE, event({"error": {"message": "x"}}), chunk({}, "stop") + DONE]
)
def test_nothing_is_passed_on_after_the_end(last: bytes) -> None:
    reader = stream_of()
    for _ in range(3):
        reader.feed(HI)
    reader.feed(last)
    assert reader.feed(HI) == b""


def test_nothing_is_passed_on_after_the_connection_has_closed() -> None:
    reader = stream_of()
    for _ in range(3):
        reader.feed(HI)
    reader.close()
    assert reader.error is not None
    assert reader.feed(HI) == b""


def test_a_finished_choice_is_not_carried_on_by_recognised_frames() -> None:
    same_as_byte_by_byte([ROLE, HI, HI, HI, STOP, HI, HI, DONE])


def test_it_gives_up_where_no_frame_is_like_the_one_before() -> None:
    reader = stream_of()
    reader.feed(ROLE + HI)
    for n in range(50):
        assert reader.feed(event({**HEAD, "id": f"s{n}", "choices": [choice("x")]})) != b""
    assert reader._patterns._vain == pattern.MAX_VAIN
    assert reader.output_chars == 2 + 50


def test_a_clock_in_the_frames_does_not_end_the_recognising() -> None:
    reader = stream_of()
    reader.feed(ROLE + HI)
    for n in range(200):
        reader.feed(event({**HEAD, "created": 5 + n // 20, "choices": [choice("x")]}))
    frame = event({**HEAD, "created": 5 + 199 // 20, "choices": [choice("x")]})
    assert reader._pattern is not None
    assert frame.startswith(reader._pattern.before)
