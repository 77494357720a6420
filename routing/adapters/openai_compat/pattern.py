"""Recognising the next frame of a stream by the one before: nearly all differ in one text only."""

from __future__ import annotations

import msgspec

MAX_VAIN = 4
NO_STRING = (msgspec.MsgspecError, ValueError)
_PADDING = b'"obfuscation":"'  # letters and digits that hide how long the text is

read_string = msgspec.json.Decoder(str).decode


class Pattern(msgspec.Struct, frozen=True):
    """A frame of `before`, a JSON string without its quotes and `after` means the same as the
    frame that this was made of, but for that text."""

    before: bytes
    after: bytes
    start: int  # where the string begins, with its quote,
    end: int  # and ends, from the end of the frame
    sent_before: bytes  # what goes to the client around the text, where that is not the frame
    sent_after: bytes  # as it came; else empty


class Padded(msgspec.Struct, frozen=True):
    """The same with a padding of its own in every frame."""

    before: bytes
    between: bytes  # from the text's last quote to the padding's first
    after: bytes
    sent_before: bytes
    sent_between: bytes

    def fit(self, frame: bytes) -> tuple[str, bytes] | None:
        """The text, and what goes to the client."""
        start = len(self.before) - 1
        end = frame.find(b'"', start + 1)
        if not (
            frame.startswith(self.before)
            and frame.startswith(self.between, end)
            and frame.endswith(self.after)
        ):
            return None
        padding = frame[end + len(self.between) : -len(self.after)]
        if not padding.isalnum():
            return None
        try:
            text = read_string(frame[start : end + 1])
        except NO_STRING:
            return None
        if not self.sent_before:
            return text, frame
        string = frame[start + 1 : end]
        return text, b"".join((self.sent_before, string, self.sent_between, padding, self.after))


class Patterns:
    """Learns from frames that no pattern fits; gives up where one after the other is of no use."""

    __slots__ = ("_learnt_at", "_vain", "known", "padded")

    def __init__(self) -> None:
        self.known: Pattern | None = None
        self.padded: Padded | None = None
        self._learnt_at = 0
        self._vain = 0

    def learn(self, frame_no: int, frame: bytes, sent: bytes, text: str) -> None:
        """`text` is all that `frame` is about, `sent` is what goes to the client."""
        if self._vain >= MAX_VAIN:
            return
        self._vain = self._vain + 1 if frame_no - self._learnt_at < 2 else 0
        self._learnt_at = frame_no
        self.known = self.padded = None
        parts, sent_parts = _around(frame, text), _around(sent, text)
        if parts is None or sent_parts is None:
            return
        (before, after), (sent_before, sent_after) = parts, sent_parts
        if sent == frame:
            sent_before = sent_after = b""
        if _PADDING in after:
            self.padded = _padded(before, after, sent_before, sent_after)
        else:
            start, end = len(before) - 1, 1 - len(after)
            self.known = Pattern(before, after, start, end, sent_before, sent_after)


def _around(frame: bytes, text: str) -> tuple[bytes, bytes] | None:
    """What stands before and after the text, with its quotes; None where that cannot be told.

    Without a backslash each string stands in a frame as it is. So if the text stands in quotes
    just once, then that is the string that was read.
    """
    quoted = b'"%b"' % text.encode()
    if b"\\" in frame or frame.count(quoted) != 1:
        return None
    before, _, after = frame.partition(quoted)
    return before + b'"', b'"' + after


def _padded(before: bytes, after: bytes, sent_before: bytes, sent_after: bytes) -> Padded:
    between, padding, rest = after.partition(_PADDING)
    sent_between, sent_padding, _ = sent_after.partition(_PADDING)
    _, quote, after = rest.partition(b'"')
    return Padded(
        before, between + padding, quote + after, sent_before, sent_between + sent_padding
    )
