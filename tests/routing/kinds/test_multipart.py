"""Forms, read and written; held against the standard library's own reader."""

from __future__ import annotations

from email.parser import BytesParser
from email.policy import HTTP

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routing.adapters.base import Upload
from routing.adapters.kinds.multipart import (
    MOST_FIELD_BYTES,
    MOST_PARTS,
    BadForm,
    boundary_of,
    read_form,
    write_form,
)

NAMES = st.text(st.characters(min_codepoint=97, max_codepoint=122), min_size=1, max_size=12)
FIELDS = st.lists(st.tuples(NAMES, st.text(max_size=40)), max_size=5)
DATA = st.binary(max_size=300) | st.sampled_from(
    [b"\r\n--panelboard-\r\n", b"--", b"\r\n", b"\r\n\r\n--x--\r\n" * 20]
)


@given(FIELDS, DATA)
@settings(max_examples=100)
def test_what_is_written_is_read_back(fields: list[tuple[str, str]], data: bytes) -> None:
    content_type, body = write_form(fields, "file", Upload("a.wav", "audio/wav", data))
    form = read_form(content_type.decode(), body)
    assert form.fields == fields
    assert form.files == {"file": Upload("a.wav", "audio/wav", data)}


@given(DATA)
@settings(max_examples=50)
def test_another_reader_finds_the_same_file(data: bytes) -> None:
    content_type, body = write_form([("model", "m")], "file", Upload("a b.wav", "audio/wav", data))
    message = BytesParser(policy=HTTP).parsebytes(
        b"content-type: " + content_type + b"\r\n\r\n" + body
    )
    model, file = message.iter_parts()
    assert model.get_content().rstrip("\n") == "m"
    assert (file.get_filename(), file.get_content_type()) == ("a b.wav", "audio/wav")


def test_a_boundary_is_never_part_of_the_file() -> None:
    first, _ = write_form([], "file", Upload("a", "audio/wav", b"x"))
    boundary = boundary_of(first.decode())
    held = b"x" * 4096 + boundary
    other, body = write_form([], "file", Upload("a", "audio/wav", held))
    assert boundary_of(other.decode()) not in held
    assert read_form(other.decode(), body).files["file"].data == held


def test_nothing_in_a_name_ends_its_header() -> None:
    upload = Upload('a"\r\nx-evil: 1\r\n\r\n', "audio/wav\r\nx-evil: 1", b"x")
    content_type, body = write_form([("m", "1")], "file", upload)
    assert b"\r\nx-evil" not in body
    assert read_form(content_type.decode(), body).files["file"].data == b"x"


@pytest.mark.parametrize(
    "content_type", ["", "multipart/form-data", "application/json; boundary=x", "text/plain"]
)
def test_what_is_no_form_is_refused(content_type: str) -> None:
    with pytest.raises(BadForm, match="multipart/form-data with a boundary"):
        read_form(content_type, b"--x--\r\n")


def part(head: bytes, data: bytes = b"v") -> bytes:
    return b"--x\r\n" + head + b"\r\n\r\n" + data + b"\r\n"


def field(name: bytes, data: bytes = b"v") -> bytes:
    return part(b'Content-Disposition: form-data; name="' + name + b'"', data)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (field(b"a"), "before its last boundary"),
        (part(b"Content-Type: text/plain") + b"--x--\r\n", "has no name"),
        (field(b"a", b"\xff\xfe") + b"--x--\r\n", "not UTF-8"),
        (field(b"a", b"v" * (MOST_FIELD_BYTES + 1)) + b"--x--\r\n", "longer than"),
        (field(b"a") * (MOST_PARTS + 1) + b"--x--\r\n", "more than"),
        (b"no boundary at all", "cannot be read"),
        (b"", "before its last boundary"),
    ],
)
def test_a_broken_form_says_what_is_wrong(body: bytes, reason: str) -> None:
    with pytest.raises(BadForm, match=reason):
        read_form("multipart/form-data; boundary=x", body)
