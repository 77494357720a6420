"""Transcripts and speech in the pieces they come in while a provider is at work."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterator
from typing import Any

from routing.simulator.kinds.base import EVENTS, Answer, event, told
from routing.simulator.prices import Tally
from routing.simulator.session import Frame, Kind, Report
from routing.simulator.world import Endpoint, Provider

PIECE_BYTES = 4096  # of sound


def transcript(
    provider: Provider, endpoint: Endpoint, words: list[str], seconds: float, tally: Tally
) -> Answer:
    """A word a frame."""
    write = _plain if provider.traits.transcription_style == "plain" else _openai
    return Answer(
        tally,
        content_type=EVENTS,
        frames=lambda report: write(endpoint, words, math.ceil(seconds), report),
    )


def _openai(_endpoint: Endpoint, words: list[str], _s: int, _report: Report) -> Iterator[Frame]:
    for piece in _pieces_of(words):
        yield Frame(Kind.CONTENT, event("transcript.text.delta", delta=piece), 1)
    yield Frame(Kind.DONE, event("transcript.text.done", text=" ".join(words)))


def _plain(endpoint: Endpoint, words: list[str], seconds: int, report: Report) -> Iterator[Frame]:
    """Mistral's events, which say their name twice."""
    language = event("transcription.language", named=True, audio_language="en")
    yield Frame(Kind.HEAD, language)
    for piece in _pieces_of(words):
        yield Frame(Kind.CONTENT, event("transcription.text.delta", named=True, text=piece), 1)
    counts = {"prompt_audio_seconds": seconds, "prompt_tokens": 0, "completion_tokens": 0}
    done: dict[str, Any] = {
        "model": endpoint.upstream_model,
        "text": " ".join(words),
        "language": "en",
        "segments": [],
        **told({**counts, "total_tokens": 0}, report),
    }
    yield Frame(Kind.DONE, event("transcription.done", named=True, **done))


def _pieces_of(words: list[str]) -> list[str]:
    return [word if at == 0 else f" {word}" for at, word in enumerate(words)]


def spoken(sound: bytes, tally: Tally) -> Answer:
    def frames(report: Report) -> Iterator[Frame]:
        for frame in pieces(sound, tally):
            audio = base64.b64encode(frame.data).decode("ascii")
            yield Frame(frame.kind, event("speech.audio.delta", audio=audio), frame.output)
        counts = {"input_tokens": tally.input_total, "output_tokens": tally.output_total}
        usage = {**counts, "total_tokens": tally.input_total + tally.output_total}
        yield Frame(Kind.DONE, event("speech.audio.done", **told(usage, report)))

    return Answer(tally, content_type=EVENTS, frames=frames)


def pieces(sound: bytes, tally: Tally) -> Iterator[Frame]:
    """The sound as it is, its tokens spread over it."""
    starts = range(0, len(sound), PIECE_BYTES)
    left = tally.output_total
    for number, at in enumerate(starts):
        share = left // (len(starts) - number)
        left -= share
        yield Frame(Kind.CONTENT, sound[at : at + PIECE_BYTES], share)
