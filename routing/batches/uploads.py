"""A form with a file, read as it comes in: no more than a chunk of it is ever held."""

from __future__ import annotations

from collections.abc import Callable
from email.message import Message
from email.utils import collapse_rfc2231_value
from typing import Any

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser

from routing.adapters.kinds.multipart import BadForm, boundary_of

MOST_PARTS = 20
MOST_FIELD_BYTES = 4 * 2**10
MOST_HEADER_BYTES = 8 * 2**10  # of one header of a part


class FormStream:
    """Feed it with the body; it calls `on_file_data` with the pieces of the field "file".

    `fields` are the others, `filename` is "" until the file began. Raises BadForm.
    """

    def __init__(self, content_type: str, on_file_data: Callable[[bytes], None]) -> None:
        self.fields: dict[str, str] = {}
        self.filename = ""
        self.has_file = False
        self.is_whole = False
        self._on_file_data = on_file_data
        self._parts = 0
        self._header_name, self._header_value = b"", b""
        self._disposition = ""
        self._name = ""
        self._is_file = False
        self._value = b""
        self._parser = MultipartParser(boundary_of(content_type), self._callbacks())  # type: ignore[arg-type]

    def feed(self, data: bytes) -> None:
        try:
            self._parser.write(data)
        except FormParserError as exc:
            raise BadForm(f"the form cannot be read: {exc}") from None

    def close(self) -> None:
        if not self.is_whole:
            raise BadForm("the form ends before its last boundary")

    def _callbacks(self) -> dict[str, Any]:
        return {
            "on_part_begin": self._part_begin,
            "on_header_field": self._header_field,
            "on_header_value": self._header_value_part,
            "on_header_end": self._header_end,
            "on_headers_finished": self._headers_finished,
            "on_part_data": self._part_data,
            "on_part_end": self._part_end,
            "on_end": self._end,
        }

    def _part_begin(self) -> None:
        self._parts += 1
        if self._parts > MOST_PARTS:
            raise BadForm(f"the form has more than {MOST_PARTS} parts")
        self._disposition, self._value = "", b""

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]
        self._check_header()

    def _header_value_part(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]
        self._check_header()

    def _check_header(self) -> None:
        if len(self._header_name) + len(self._header_value) > MOST_HEADER_BYTES:
            raise BadForm(f"a header of a part is longer than {MOST_HEADER_BYTES} bytes")

    def _header_end(self) -> None:
        if self._header_name.lower() == b"content-disposition":
            self._disposition = self._header_value.decode("utf-8", "replace")
        self._header_name, self._header_value = b"", b""

    def _headers_finished(self) -> None:
        self._name, filename = part_names(self._disposition)
        self._is_file = filename is not None
        if not self._is_file:
            return
        if self._name != "file" or self.has_file:
            raise BadForm("the form must have one file, under the name 'file'")
        self.has_file = True
        self.filename = filename or ""

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        if self._is_file:
            self._on_file_data(data[start:end])
            return
        self._value += data[start:end]
        if len(self._value) > MOST_FIELD_BYTES:
            raise BadForm(f"the field {self._name[:60]!r} is longer than {MOST_FIELD_BYTES} bytes")

    def _part_end(self) -> None:
        if not self._is_file:
            self.fields[self._name] = self._value.decode("utf-8", "replace")

    def _end(self) -> None:
        self.is_whole = True


def part_names(disposition: str) -> tuple[str, str | None]:
    """The name of the field, and of the file if it is one. Raises BadForm."""
    message = Message()
    message["content-disposition"] = disposition.replace("\r", " ").replace("\n", " ")
    found = {
        key.lower(): collapse_rfc2231_value(value)
        for key, value in message.get_params(header="content-disposition") or []
    }
    if not found.get("name"):
        raise BadForm("a part of the form has no name")
    return found["name"], found.get("filename")


class LineSplitter:
    """Cuts what comes in into chunks of whole lines, and shows each line without its end."""

    def __init__(self, chunk_bytes: int, on_line: Callable[[bytes], object]) -> None:
        self.size_bytes = 0
        self._chunk_bytes = chunk_bytes
        self._on_line = on_line
        self._rest = bytearray()
        self._chunk: list[bytes] = []
        self._chunk_size = 0
        self._ready: list[tuple[bytes, int]] = []

    @property
    def rest_bytes(self) -> int:
        """Of a line that has not ended."""
        return len(self._rest)

    def feed(self, data: bytes) -> None:
        self.size_bytes += len(data)
        self._rest += data
        if b"\n" not in data:
            return
        *lines, rest = bytes(self._rest).split(b"\n")
        self._rest = bytearray(rest)
        for line in lines:
            self._add(line, b"\n")

    def close(self) -> None:
        if self._rest:
            self._add(bytes(self._rest), b"")
            self._rest.clear()
        self._cut()

    def take(self) -> list[tuple[bytes, int]]:
        """The chunks that are complete, with their number of lines; each is given once."""
        ready, self._ready = self._ready, []
        return ready

    def _add(self, line: bytes, end: bytes) -> None:
        self._on_line(line)
        self._chunk.append(line + end)
        self._chunk_size += len(line) + len(end)
        if self._chunk_size >= self._chunk_bytes:
            self._cut()

    def _cut(self) -> None:
        if self._chunk:
            self._ready.append((b"".join(self._chunk), len(self._chunk)))
            self._chunk, self._chunk_size = [], 0
