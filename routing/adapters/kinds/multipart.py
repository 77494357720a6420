"""multipart/form-data, read and written: what audio files travel in."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from email.message import Message
from email.utils import collapse_rfc2231_value
from typing import Any

import msgspec
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser

from routing.adapters.base import Upload

MOST_PARTS = 100
MOST_FIELD_BYTES = 256 * 2**10  # of a field that is no file
_UNQUOTABLE = {'"': "%22", "\r": "%0D", "\n": "%0A"}


class BadForm(ValueError):
    """The message says what is wrong with the body."""


class Form(msgspec.Struct):
    fields: list[tuple[str, str]]  # in the order they came; a name may come again
    files: dict[str, Upload]


def boundary_of(content_type: str) -> bytes:
    """Raises BadForm unless this is the content type of a form."""
    message = Message()
    message["content-type"] = content_type
    boundary = message.get_param("boundary")
    if message.get_content_type() != "multipart/form-data" or not isinstance(boundary, str):
        raise BadForm("the content type must be multipart/form-data with a boundary")
    return boundary.encode("latin-1", "replace")


def read_form(content_type: str, body: bytes) -> Form:
    """Raises BadForm."""
    reader = _Reader()
    try:
        parser = MultipartParser(boundary_of(content_type), reader.callbacks)  # type: ignore[arg-type]
        parser.write(body)
        parser.finalize()
    except FormParserError as exc:
        raise BadForm(f"the form cannot be read: {exc}") from None
    if not reader.ended:
        raise BadForm("the form ends before its last boundary")
    return reader.form


class _Reader:
    """Collects the parser's pieces, part by part."""

    def __init__(self) -> None:
        self.form = Form([], {})
        self.ended = False
        self._parts = 0
        self._name, self._value = b"", b""
        self._headers: dict[str, str] = {}
        self._data: list[bytes] = []

    @property
    def callbacks(self) -> dict[str, Any]:
        return {
            "on_part_begin": self._part_begin,
            "on_part_data": self._part_data,
            "on_part_end": self._part_end,
            "on_header_field": self._header_field,
            "on_header_value": self._header_value,
            "on_header_end": self._header_end,
            "on_end": self._end,
        }

    def _part_begin(self) -> None:
        self._parts += 1
        if self._parts > MOST_PARTS:
            raise BadForm(f"the form has more than {MOST_PARTS} parts")
        self._headers, self._data = {}, []

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        name = self._name.decode("latin-1").lower()
        self._headers[name] = self._value.decode("utf-8", "replace")
        self._name, self._value = b"", b""

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        self._data.append(data[start:end])

    def _part_end(self) -> None:
        disposition = _parameters(self._headers.get("content-disposition", ""))
        name = disposition.get("name")
        if not name:
            raise BadForm("a part of the form has no name")
        data = b"".join(self._data)
        if "filename" in disposition:
            kind = self._headers.get("content-type", "application/octet-stream")
            self.form.files[name] = Upload(disposition["filename"], kind, data)
        elif len(data) > MOST_FIELD_BYTES:
            raise BadForm(f"the field {name[:60]!r} is longer than {MOST_FIELD_BYTES} bytes")
        else:
            self.form.fields.append((name, _decoded(name, data)))

    def _end(self) -> None:
        self.ended = True


def _parameters(disposition: str) -> dict[str, str]:
    message = Message()
    message["content-disposition"] = disposition.replace("\r", " ").replace("\n", " ")
    found = message.get_params(header="content-disposition") or []
    return {key.lower(): collapse_rfc2231_value(value) for key, value in found}


def _decoded(name: str, data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise BadForm(f"the field {name[:60]!r} is not UTF-8") from None


def write_form(
    fields: Iterable[tuple[str, str]], file_field: str, upload: Upload
) -> tuple[bytes, bytes]:
    """(content type, body). The same form is written the same way."""
    boundary = _free_boundary(upload.data)
    parts = [
        b'--%b\r\nContent-Disposition: form-data; name="%b"\r\n\r\n%b\r\n'
        % (boundary, _quoted(name), value.encode("utf-8", "replace"))
        for name, value in fields
    ]
    kind = "".join(c for c in upload.content_type if " " <= c <= "~")
    head = (
        b'--%b\r\nContent-Disposition: form-data; name="%b"; filename="%b"\r\n'
        b"Content-Type: %b\r\n\r\n"
        % (boundary, _quoted(file_field), _quoted(upload.filename), kind.encode("ascii"))
    )
    body = b"".join([*parts, head, upload.data, b"\r\n--%b--\r\n" % boundary])
    return b"multipart/form-data; boundary=%b" % boundary, body


def _free_boundary(data: bytes) -> bytes:
    """One that the file does not hold."""
    seed = data[:4096] + b"%d" % len(data)
    while True:
        boundary = b"panelboard-" + hashlib.sha256(seed).hexdigest()[:32].encode("ascii")
        if boundary not in data:
            return boundary
        seed += b"."


def _quoted(text: str) -> bytes:
    """As browsers do it."""
    return "".join(_UNQUOTABLE.get(c, c) for c in text).encode("utf-8", "replace")
