"""Images as OpenAI asks for them; billed by the piece, by the pixel or by tokens."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from typing_extensions import override

from routing.adapters import errors
from routing.adapters.base import BuiltRequest, ChatCall, Headers, Reply, StreamReader
from routing.adapters.forms import refuse
from routing.adapters.jsonio import dict_of, dicts_in, dumps, text_of
from routing.adapters.kinds.common import (
    WholeAnswers,
    as_billed,
    headers_for,
    sent_body,
)
from routing.adapters.kinds.counting import (
    USUAL_PIXELS,
    pixels_of_png,
    pixels_of_size,
    text_tokens,
)
from routing.adapters.kinds.streams import EVENT_STREAM, KindStream
from routing.adapters.usage import count
from routing.adapters.wire import quirks_of
from routing.core.catalog import Endpoint
from routing.core.usage import Meter, Usage, UsageSource

PARTIAL = "image_generation.partial_image"
COMPLETED = "image_generation.completed"
PARTIAL_IMAGE_TOKENS = 100  # of output, as OpenAI bills each


class OpenAIImages(WholeAnswers):
    """`now` gives the `created` of answers that have none."""

    dialect = "openai_compat"

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now

    @override
    def build(self, call: ChatCall, endpoint: Endpoint, secret: str) -> BuiltRequest:
        body, dropped = sent_body(call, endpoint)
        if "image_url" not in endpoint.capabilities and body.pop("response_format", "") == "url":
            refuse(
                endpoint,
                "response_format",
                f"gives the images of {endpoint.model.name} as b64_json only",
            )
        accept = EVENT_STREAM if call.stream else b"application/json"
        headers = headers_for(endpoint, secret, accept=accept)
        return BuiltRequest(quirks_of(endpoint).images_path, headers, dumps(body), tuple(dropped))

    @override
    def read_reply(
        self, call: ChatCall, endpoint: Endpoint, headers: Headers, body: bytes
    ) -> Reply:
        document = errors.answer_in(body, headers, quirks_of(endpoint))
        images = dicts_in(document.get("data"))
        if not images or not all(image.get("b64_json") or image.get("url") for image in images):
            raise errors.not_an_answer(body)
        raw = body
        if not isinstance(document.get("created"), int):
            raw = dumps({**document, "created": int(self._now())})
        raw_usage = dict_of(document.get("usage"))
        return Reply(
            raw=raw,
            usage=as_billed(_usage(document, images, raw_usage, call, endpoint), endpoint),
            usage_raw=dumps(raw_usage) if raw_usage else b"",
            response_model=text_of(document.get("model")),
        )

    @override
    def open_stream(self, call: ChatCall, endpoint: Endpoint) -> StreamReader:
        return ImageStream(call, endpoint)


class ImageStream(KindStream):
    """Partial pictures, as many as were asked for or fewer, and the whole one."""

    @override
    def _on_event(self, name: str, event: dict[str, Any], sent: bytes) -> bytes:
        if name not in (PARTIAL, COMPLETED):
            return sent
        if not (event.get("b64_json") or event.get("url")):
            return self._fail("no_picture", "The provider sent an event without its picture.")
        self._count(0, is_answer=True)
        if name == PARTIAL:
            self.usage = self._so_far()
        else:
            raw = dict_of(event.get("usage"))
            usage = _usage(event, [event], raw, self._call, self._endpoint)
            self._end_with(as_billed(usage, self._endpoint), raw)
        return sent

    def _so_far(self) -> Usage:
        made = Usage(
            input_total=text_tokens(text_of(self._call.body.get("prompt"))),
            output_total=self.content_frames * PARTIAL_IMAGE_TOKENS,
            source=UsageSource.ESTIMATED,
        )
        return as_billed(made, self._endpoint)


def _usage(
    document: dict[str, Any],
    images: list[dict[str, Any]],
    raw: dict[str, Any],
    call: ChatCall,
    endpoint: Endpoint,
) -> Usage:
    size = pixels_of_size(document.get("size")) or pixels_of_size(call.body.get("size"))
    pixels = [pixels_of_png(text_of(image.get("b64_json"))) or size for image in images]
    priced = {row.meter for row in endpoint.prices.rows}
    is_guess = Meter.PIXEL in priced and None in pixels
    return Usage(
        input_total=count(raw.get("input_tokens")) or 0,
        output_total=count(raw.get("output_tokens")) or 0,
        images=len(images),
        pixels=sum(USUAL_PIXELS if one is None else one for one in pixels),
        source=UsageSource.ESTIMATED if is_guess else UsageSource.PROVIDER,
    )
