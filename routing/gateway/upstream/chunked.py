"""Recognises the commonest piece of a stream: one whole chunk (RFC 9112, 7.1), and nothing else.

Such a piece says what it means without a parser, and can be passed on as it came. Whatever has
another form (extensions, padded sizes, several chunks, half of one) is left to the parser.
"""

from __future__ import annotations

from typing import Final

_MOST_BYTES: Final = 4096  # of pieces looked at: larger ones are rare, and cost little in a parser


def _size_line(piece_bytes: int, form: str) -> bytes:
    """The first line of a chunk that is `piece_bytes` long with its framing; b"" if none can be."""
    for digits in (1, 2, 3):
        size = piece_bytes - digits - 4
        if size > 0 and len(format(size, form)) == digits:
            return format(size, form).encode() + b"\r\n"
    return b""


_SMALL_LETTERS: Final[list[bytes]] = [_size_line(length, "x") for length in range(_MOST_BYTES)]
_CAPITALS: Final[list[bytes]] = [_size_line(length, "X") for length in range(_MOST_BYTES)]


def data_start(piece: bytes) -> int:
    """Where the data of `piece` begins, which then ends two bytes before it does; 0 for others.

    `piece` begins where a chunk has to begin. The last chunk, which is empty, is none of these.
    """
    length = len(piece)
    if length >= _MOST_BYTES or not piece.endswith(b"\r\n"):
        return 0
    line = _SMALL_LETTERS[length]
    if not piece.startswith(line):
        line = _CAPITALS[length]
        if not piece.startswith(line):
            return 0
    return len(line)
