"""Recordings told in English: the same models, form and price as transcriptions, at another path."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest
from openai import BadRequestError, NotFoundError
from openai.types.audio import Translation, TranslationVerbose

from routing.simulator.server import ThreadedSimulator
from tests.routing.kinds.live import AUTH, LiveHub
from tests.routing.kinds.support import wav

# OpenAI's client warns of each call: its maker would rather have the models asked.
pytestmark = pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")
BY_BOTH = ["openai/whisper-1", "openai/whisper-large-v3"]


@pytest.fixture
async def hub(simulator: ThreadedSimulator) -> AsyncIterator[LiveHub]:
    hub = LiveHub(simulator)
    async with hub.served():
        yield hub
    assert simulator.violations() == []
    assert hub.cost() == hub.billed()


async def translated(hub: LiveHub, model: str, **fields: str) -> httpx.Response:
    async with httpx.AsyncClient(trust_env=False, headers=AUTH) as http:
        return await http.post(
            f"{hub.url}/audio/translations",
            data={"model": model, **fields},
            files={"file": ("a.wav", wav(12.4), "audio/wav")},
        )


@pytest.mark.parametrize("model", BY_BOTH)
async def test_a_translation_has_its_own_path_and_place_in_the_log(
    hub: LiveHub, model: str
) -> None:
    async with hub.client() as client:
        answer = await client.audio.translations.create(model=model, file=("a.wav", wav(12.4)))
    assert isinstance(answer, Translation)
    assert len(answer.text.split()) == 31
    assert hub.finish.usage.audio_seconds == 13
    assert hub.spool.done.surface == "translations"
    assert hub.cost() > 0


@pytest.mark.parametrize("model", BY_BOTH)
async def test_all_forms_are_those_of_transcriptions(hub: LiveHub, model: str) -> None:
    verbose = await translated(hub, model, response_format="verbose_json")
    told = TranslationVerbose.model_validate_json(verbose.content, strict=True)
    assert verbose.json()["task"] == "translate"
    srt = await translated(hub, model, response_format="srt")
    assert srt.text.startswith("1\n00:00:00,000 --> ")
    text = await translated(hub, model, response_format="text")
    assert text.text == told.text + "\n"


async def test_another_host_takes_over(hub: LiveHub) -> None:
    hub.simulator.add_fault("status", provider="openai", status=503)
    answer = await translated(hub, BY_BOTH[0], models=BY_BOTH[1])
    assert answer.headers["x-panelboard-provider"] == "groq"


async def test_what_does_not_translate_is_refused(hub: LiveHub) -> None:
    async with hub.client() as client:
        with pytest.raises(NotFoundError, match=r"missing_capability \(1: translation\)"):
            await client.audio.translations.create(
                model="openai/whisper-large-v3-turbo", file=("a.wav", wav(1))
            )
        with pytest.raises(BadRequestError, match="/v1/audio/translations takes transcription"):
            await client.audio.translations.create(model="openai/tts-1", file=("a.wav", wav(1)))
    streamed = await translated(hub, BY_BOTH[0], stream="true")
    assert (streamed.status_code, streamed.json()["error"]["param"]) == (400, "stream")
    assert hub.simulator.journal() == []
