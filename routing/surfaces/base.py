"""The seam between a client's dialect and the hub's own, which is OpenAI chat.

A surface translates and nothing else: no sockets, no clock of its own, no database. Where the
provider speaks the client's dialect itself, the request goes there as it was written (`native`), so
that nothing the dialect can say gets lost on the way.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

from routing.adapters import sse
from routing.adapters.base import Headers, NativeCall
from routing.core.errors import HubError

LONGEST_CHUNK_BYTES = 8 * sse.MAX_EVENT_BYTES  # translated, a provider's event may have grown


class VoiceStream(Protocol):
    """Fed with the hub's own event stream in any slices; returns the client's events."""

    def feed(self, data: bytes) -> bytes: ...

    def close(self) -> bytes:
        """The answer ended well: whatever the dialect still owes its client."""
        ...

    async def end(self) -> bytes:
        """`close`, after whatever has to be done before the client may see the end."""
        return self.close()

    def broken(self, error: HubError) -> bytes:
        """The answer broke after it had begun: the dialect's own error event."""
        ...


class Voice(Protocol):
    """One request of a client, and how to answer it in the same dialect."""

    chat: dict[str, Any]  # the request as OpenAI chat; the hub's own fields (`provider`) included
    native: NativeCall | None  # the request as it was written, for providers of that dialect
    uncarried: tuple[str, ...]  # fields that OpenAI chat has no word for; shown to the client
    essential: tuple[str, ...] = ()  # those of them without which it is another question
    request_id_name: bytes = b""  # the header this dialect's clients look for, beside ours

    def reply(self, answer: bytes) -> bytes:
        """From an OpenAI chat completion (JSON) to the dialect's whole answer (JSON)."""
        ...

    async def deliver(self, answer: bytes) -> bytes:
        """`reply`, after whatever has to be done before the client may see it."""
        return self.reply(answer)

    def open_stream(self) -> VoiceStream: ...

    async def deliver_native(self, answer: bytes) -> bytes:
        """As `deliver`, from an answer in this very dialect. Most leave it as it is."""
        return answer

    def open_native_stream(self) -> VoiceStream | None:
        """For a stream in this very dialect, fed whole events; None passes it on as it is."""
        return None


class Asker(NamedTuple):
    """Who asks, and what of the request is not in its body."""

    request_id: str
    now_unix_s: float
    project_id: int
    headers: Headers


class Surface(Protocol):
    name: str  # as it is written in the log: chat, messages, responses, completions
    request_id_name: bytes = b""

    async def open(self, body: dict[str, Any], asker: Asker) -> Voice:
        """`read`, with what has to be fetched for it first. Raises HubError 400 and 503."""
        return self.read(body, asker.request_id, asker.now_unix_s)

    def read(self, body: dict[str, Any], request_id: str, now_unix_s: float) -> Voice:
        """Raises HubError 400 naming the field that is wrong."""
        ...

    def error_body(self, error: HubError, request_id: str) -> bytes:
        """The dialect's error envelope, as JSON."""
        ...
