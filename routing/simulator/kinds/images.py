"""Pictures of one colour that the prompt decides: valid PNGs of the size asked for."""

from __future__ import annotations

import base64
import hashlib
import re
import struct
import zlib
from collections.abc import Iterator
from typing import Any

from routing.simulator.asks import wants
from routing.simulator.http11 import Request
from routing.simulator.kinds.base import (
    EVENTS,
    Answer,
    Reading,
    at_path,
    check_fields,
    event,
    json_reading,
    text_in,
    tokens_of,
    told,
    whole_in,
)
from routing.simulator.prices import Tally
from routing.simulator.session import Frame, Kind, Report
from routing.simulator.world import Endpoint, Provider

KNOWN = (
    "model prompt n size quality response_format user background moderation output_format "
    "output_compression safety_identifier seed aspect_ratio resolution stream partial_images"
)
USUAL_SIZE = "1024x1024"
MOST_SIDE = 4096
PIXELS_PER_TOKEN = 1000
PARTIAL_TOKENS = 100
MOST_PARTIAL = 3
EFFORT = {"low": 0.25, "high": 4.0}  # times the tokens of a usual picture


def png(width: int, height: int, colour: int) -> bytes:
    """One bit a pixel and a palette of one colour."""
    rows = (b"\x00" + bytes((width + 7) // 8)) * height
    head = struct.pack(">IIBBBBB", width, height, 1, 3, 0, 0, 0)
    chunks = (
        (b"IHDR", head),
        (b"PLTE", colour.to_bytes(3, "big")),
        (b"IDAT", zlib.compress(rows, 9)),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(name, data) for name, data in chunks)


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


class Images:
    kind = "image"

    def model_of(self, provider: Provider, request: Request) -> str | None:
        if provider.dialect != "openai_compat":
            return None
        return at_path(provider, request, provider.traits.images_path)

    def read(self, provider: Provider, request: Request) -> Reading:
        return json_reading(request)

    def answer(self, provider: Provider, endpoint: Endpoint, asked: Reading, now: float) -> Answer:
        fields = asked.fields
        check_fields(provider, self.kind, fields, KNOWN)
        prompt, n = text_in(fields, "prompt"), whole_in(fields, "n", 1, 10)
        width, height = _size(fields)
        gives_urls = endpoint.can("image_url")
        wants(
            gives_urls or "response_format" not in fields,
            "Unknown parameter: 'response_format'.",
            param="response_format",
        )
        as_url = gives_urls and fields.get("response_format", "url") == "url"
        data = [_image(f"{prompt} {at}", width, height, as_url) for at in range(n)]
        pieces = {"image": n, "pixel": n * width * height}
        tally = Tally(input_total=tokens_of(prompt), pieces=pieces)
        if not any(row.meter == "output" for row in endpoint.prices):
            return Answer(tally, {"data": data})
        effort = EFFORT.get(str(fields.get("quality")), 1.0)
        tally.output_total = n * int(width * height / PIXELS_PER_TOKEN * effort)
        if fields.get("stream"):
            return _streamed(endpoint, asked, now, tally, (width, height))
        shape = {"created": int(now), "data": data, "size": f"{width}x{height}"}
        return Answer(tally, shape, _usage(tally))


def _streamed(
    endpoint: Endpoint, asked: Reading, now: float, tally: Tally, size: tuple[int, int]
) -> Answer:
    """Each partial picture costs as many tokens as OpenAI says it does."""
    wants(endpoint.can("stream"), "Unknown parameter: 'stream'.", param="stream")
    partial = asked.fields.get("partial_images", 0)
    good = type(partial) is int and 0 <= partial <= MOST_PARTIAL
    wants(good, "partial_images must be between 0 and 3", param="partial_images")
    whole_tokens = tally.output_total
    tally.output_total += partial * PARTIAL_TOKENS
    prompt = str(asked.fields["prompt"])
    shape = {
        "created_at": int(now),
        "size": f"{size[0]}x{size[1]}",
        "quality": "high",
        "background": "opaque",
        "output_format": "png",
    }

    def frames(report: Report) -> Iterator[Frame]:
        for at in range(partial):
            picture = _image(f"{prompt} partial {at}", *size, as_url=False)
            name = "image_generation.partial_image"
            data = event(name, named=True, **picture, **shape, partial_image_index=at)
            yield Frame(Kind.CONTENT, data, PARTIAL_TOKENS)
        whole = {
            **_image(f"{prompt} 0", *size, as_url=False),
            **shape,
            **told(_usage(tally), report),
        }
        data = event("image_generation.completed", named=True, **whole)
        yield Frame(Kind.CONTENT, data, whole_tokens)

    return Answer(tally, content_type=EVENTS, frames=frames)


def _size(fields: dict[str, Any]) -> tuple[int, int]:
    size = fields.get("size", USUAL_SIZE)
    size = USUAL_SIZE if size == "auto" else size
    found = re.fullmatch(r"(\d{2,4})x(\d{2,4})", size) if isinstance(size, str) else None
    wants(found, "size must be like 1024x1024", param="size")
    assert found is not None
    width, height = int(found[1]), int(found[2])
    wants(max(width, height) <= MOST_SIDE, f"a side has {MOST_SIDE} pixels at most", param="size")
    return width, height


def _image(seed: str, width: int, height: int, as_url: bool) -> dict[str, Any]:
    digest = hashlib.sha256(seed.encode("utf-8", "surrogatepass")).hexdigest()
    if as_url:
        return {"url": f"https://images.invalid/{digest[:32]}.png", "revised_prompt": seed[:-2]}
    picture = png(width, height, int(digest[:6], 16))
    return {"b64_json": base64.b64encode(picture).decode("ascii")}


def _usage(tally: Tally) -> dict[str, Any]:
    return {
        "input_tokens": tally.input_total,
        "input_tokens_details": {"text_tokens": tally.input_total, "image_tokens": 0},
        "output_tokens": tally.output_total,
        "total_tokens": tally.input_total + tally.output_total,
    }
