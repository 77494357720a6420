"""How the providers play what is not chat: what they refuse, and what their books say."""

from __future__ import annotations

import base64
import io
import json
import math
import wave
import zlib
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import httpx
import pytest

from routing.simulator.kinds.audio import length_s, wav
from routing.simulator.kinds.embeddings import vector_of
from routing.simulator.kinds.images import png
from routing.simulator.server import ThreadedSimulator
from routing.simulator.service import Options
from routing.simulator.world import CATALOG_DIR, read_documents


@pytest.fixture(scope="module")
def played() -> Iterator[ThreadedSimulator]:
    with ThreadedSimulator(read_documents(CATALOG_DIR), Options(speed=0)) as simulator:
        yield simulator


@pytest.fixture
def simulator(played: ThreadedSimulator) -> Iterator[ThreadedSimulator]:
    played.clear_faults()
    played.clear()
    yield played
    played.clear_faults()


def post(simulator: ThreadedSimulator, slug: str, path: str, **sent: Any) -> httpx.Response:
    headers = {"authorization": f"Bearer {simulator.key(slug)}", **sent.pop("headers", {})}
    with httpx.Client(timeout=10, trust_env=False) as http:
        return http.post(simulator.base_url(slug) + path, headers=headers, **sent)


def test_vectors_are_units_and_closer_where_words_are_shared() -> None:
    one, two, other = (vector_of(text, "m") for text in ("red fox", "red dog", "blue cat"))
    assert math.isclose(math.fsum(x * x for x in one), 1.0)
    assert one == vector_of("red fox", "m") != vector_of("red fox", "n")

    def cosine(a: list[float], b: list[float]) -> float:
        return math.fsum(x * y for x, y in zip(a, b, strict=True))

    assert cosine(one, two) > 0.3 > abs(cosine(one, other))


def test_a_shorter_vector_is_the_beginning_of_the_whole_one() -> None:
    whole, short = vector_of("text", "m"), vector_of("text", "m", 64)
    scale = short[0] / whole[0]
    assert all(
        math.isclose(a * scale, b, abs_tol=1e-12) for a, b in zip(whole, short, strict=False)
    )


def test_pictures_are_whole_pngs() -> None:
    data = png(33, 7, 0x102030)
    assert data[16:24] == (33).to_bytes(4, "big") + (7).to_bytes(4, "big")
    at, names = 8, []
    while at < len(data):
        size, name = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        content = data[at + 8 : at + 8 + size]
        checksum = int.from_bytes(data[at + 8 + size : at + 12 + size], "big")
        assert zlib.crc32(name + content) == checksum
        names.append(name)
        at += 12 + size
    assert names == [b"IHDR", b"PLTE", b"IDAT", b"IEND"]


def test_sound_has_the_length_it_says() -> None:
    assert length_s(wav(2.5)) == 2.5
    assert length_s(b"x" * 32_000) == 2.0


def test_a_model_is_only_served_at_its_own_path(simulator: ThreadedSimulator) -> None:
    chat = {"model": "baai/bge-m3", "messages": [{"role": "user", "content": "x"}]}
    assert post(simulator, "novita", "/chat/completions", json=chat).status_code == 404
    wrong = {"model": "openai/gpt-oss-120b", "input": "x"}
    assert post(simulator, "novita", "/embeddings", json=wrong).status_code == 404
    assert len(simulator.violations()) == 2


@pytest.mark.parametrize(
    ("slug", "path", "body"),
    [
        ("openai", "/embeddings", {"model": "text-embedding-3-small", "input": "x", "surprise": 1}),
        ("openai", "/embeddings", {"model": "text-embedding-3-small", "input": []}),
        (
            "novita",
            "/embeddings",
            {"model": "baai/bge-m3", "input": "x", "encoding_format": "base64"},
        ),
        ("novita", "/embeddings", {"model": "baai/bge-m3", "input": "x", "dimensions": 8}),
        ("together", "/embeddings", {"model": "BAAI/bge-base-en-v1.5", "input": "word " * 1000}),
        ("novita", "/rerank", {"model": "baai/bge-reranker-v2-m3", "query": "q", "documents": [1]}),
        (
            "xai",
            "/images/generations",
            {"model": "grok-imagine-image", "prompt": "x", "size": "1x1"},
        ),
        (
            "openai",
            "/images/generations",
            {"model": "gpt-image-2", "prompt": "x", "response_format": "url"},
        ),
        ("openai", "/audio/speech", {"model": "tts-1", "input": "x" * 5000, "voice": "a"}),
        (
            "groq",
            "/audio/speech",
            {
                "model": "canopylabs/orpheus-v1-english",
                "input": "x",
                "voice": "a",
                "instructions": "y",
            },
        ),
    ],
)
def test_what_the_real_ones_refuse_is_refused(
    simulator: ThreadedSimulator, slug: str, path: str, body: dict[str, Any]
) -> None:
    answer = post(simulator, slug, path, json=body)
    assert answer.status_code == 400, answer.text
    assert simulator.journal()[-1].cost_usd == "0"


def test_recordings_come_in_forms_only(simulator: ThreadedSimulator) -> None:
    path, model = "/audio/transcriptions", {"model": "whisper-large-v3"}
    assert post(simulator, "groq", path, json=model).status_code == 415
    files = {"file": ("a.wav", wav(3), "audio/wav")}
    good = post(simulator, "groq", path, data=model, files=files)
    assert len(good.json()["text"].split()) == 8
    assert good.json() == post(simulator, "groq", path, data=model, files=files).json()
    srt = {**model, "response_format": "srt"}
    assert post(simulator, "groq", path, data=srt, files=files).status_code == 400
    assert post(simulator, "groq", path, data=model, files={"file": ("a", b"")}).status_code == 400


def test_the_books_say_pieces_and_their_money(simulator: ThreadedSimulator) -> None:
    speech = {"model": "tts-1", "input": "x" * 200, "voice": "a", "response_format": "wav"}
    answer = post(simulator, "openai", "/audio/speech", json=speech)
    with wave.open(io.BytesIO(answer.content)) as sound:
        assert sound.getnframes() / sound.getframerate() == pytest.approx(200 / 15, abs=0.01)
    image = {"model": "black-forest-labs/FLUX.1-schnell", "prompt": "x", "n": 2, "size": "100x50"}
    picture = post(simulator, "nscale", "/images/generations", json=image)
    assert base64.b64decode(picture.json()["data"][0]["b64_json"])[:4] == b"\x89PNG"
    spoken, painted = simulator.journal()
    assert (spoken.pieces, Decimal(spoken.cost_usd)) == ({"character": 200}, Decimal("0.003"))
    assert painted.pieces == {"image": 2, "pixel": 10_000}
    assert Decimal(painted.cost_usd) == Decimal("0.000013")
    assert {spoken.closed_by, painted.closed_by} == {"server"}


def test_faults_strike_here_too(simulator: ThreadedSimulator) -> None:
    ask = {"model": "baai/bge-m3", "input": "x"}
    simulator.add_fault("malformed_frame", provider="novita", times=1)
    with pytest.raises(json.JSONDecodeError):
        post(simulator, "novita", "/embeddings", json=ask).json()
    simulator.add_fault("cut", provider="novita", times=1)
    with pytest.raises(httpx.HTTPError):
        post(simulator, "novita", "/embeddings", json=ask)
    simulator.add_fault("no_usage", provider="novita", times=1)
    assert "usage" not in post(simulator, "novita", "/embeddings", json=ask).json()
    assert [row.fault for row in simulator.journal()] == ["malformed_frame", "cut", "no_usage"]
