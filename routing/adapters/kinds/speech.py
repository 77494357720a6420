"""Speech as OpenAI asks for it: text in, sound out, billed by the character."""

from __future__ import annotations

from typing_extensions import override

from routing.adapters import errors
from routing.adapters.base import BuiltRequest, ChatCall, Headers, Reply, header
from routing.adapters.jsonio import dumps, text_of
from routing.adapters.kinds.common import (
    WholeAnswers,
    answer_in,
    as_billed,
    headers_for,
    sent_body,
)
from routing.adapters.wire import quirks_of
from routing.core.catalog import Endpoint
from routing.core.usage import Usage

CONTENT_TYPES = {
    "mp3": b"audio/mpeg",
    "opus": b"audio/ogg",
    "aac": b"audio/aac",
    "flac": b"audio/flac",
    "wav": b"audio/wav",
    "pcm": b"audio/pcm",
}
USUAL_FORMAT = "mp3"
_TEXTUAL = (b"application/json", b"text/")


class OpenAISpeech(WholeAnswers):
    dialect = "openai_compat"

    @override
    def build(self, call: ChatCall, endpoint: Endpoint, secret: str) -> BuiltRequest:
        body, dropped = sent_body(call, endpoint)
        headers = headers_for(endpoint, secret, accept=b"*/*")
        return BuiltRequest(quirks_of(endpoint).speech_path, headers, dumps(body), tuple(dropped))

    @override
    def read_reply(
        self, call: ChatCall, endpoint: Endpoint, headers: Headers, body: bytes
    ) -> Reply:
        content_type = header(headers, b"content-type")
        if not body or content_type.lower().startswith(_TEXTUAL):
            answer_in(body, headers, quirks_of(endpoint))
            raise errors.not_an_answer(body)
        spoken = Usage(input_total=0, output_total=0, characters=len(call.body["input"]))
        return Reply(
            raw=body,
            usage=as_billed(spoken, endpoint),
            content_type=content_type if content_type.startswith(b"audio/") else _usual_type(call),
        )


def _usual_type(call: ChatCall) -> bytes:
    asked = text_of(call.body.get("response_format")) or USUAL_FORMAT
    return CONTENT_TYPES.get(asked, b"application/octet-stream")
