"""Much text, of which little is in memory: the rest lies in a file that has no name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from tempfile import SpooledTemporaryFile

import msgspec

IN_MEMORY_BYTES = 4 * 2**20
PIECE_BYTES = 64 * 2**10


class Paper:
    """Written first, then read. Raises OSError where the disk is full."""

    def __init__(self, separator: bytes = b"") -> None:
        self.size = self.count = 0
        self._separator = separator
        self._file = SpooledTemporaryFile(max_size=IN_MEMORY_BYTES)  # noqa: SIM115 (see close)

    def add(self, text: bytes) -> int:
        """Where the text begins."""
        if self.count and self._separator:
            self.size += self._file.write(self._separator)
        at = self.size
        self._file.write(text)
        self.size += len(text)
        self.count += 1
        return at

    def read(self, at: int, length: int) -> bytes:
        self._file.seek(at)
        return self._file.read(length)

    def pieces(self) -> Iterator[bytes]:
        for at in range(0, self.size, PIECE_BYTES):
            yield self.read(at, min(PIECE_BYTES, self.size - at))

    def close(self) -> None:
        self._file.close()


Body = Sequence[bytes | Paper]


def size_of(body: Body) -> int:
    return sum(part.size if isinstance(part, Paper) else len(part) for part in body)


def pieces_of(body: Body) -> Iterator[bytes]:
    for part in body:
        if isinstance(part, Paper):
            yield from part.pieces()
        elif part:
            yield part


class Answer(msgspec.Struct, frozen=True):
    """`status` is None where the provider never came to the request."""

    custom_id: str
    status: int | None
    body: bytes = b""


class Answers:
    """By the name of the line. What a provider says of one a second time does not count."""

    def __init__(self) -> None:
        self._paper = Paper()
        self._places: dict[str, tuple[int | None, int, int]] = {}

    def add(self, answer: Answer) -> None:
        if answer.custom_id not in self._places:
            at = self._paper.add(answer.body)
            self._places[answer.custom_id] = (answer.status, at, len(answer.body))

    def get(self, custom_id: str) -> Answer | None:
        place = self._places.get(custom_id)
        if place is None:
            return None
        status, at, length = place
        return Answer(custom_id, status, self._paper.read(at, length))

    def close(self) -> None:
        self._paper.close()
