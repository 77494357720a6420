"""Ready-to-paste calls, shown on pages: for each kind of model, at the address that serves it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from routing.core import kinds

_TEXT = "Hello"
_SOUND_FILE, _SPEECH_FILE = "meeting.mp3", "hello.mp3"


@dataclass(frozen=True, slots=True)
class _Example:
    body: Mapping[str, Any]  # what is asked, beside the model
    python: str  # the call and what to do with its answer
    form_file: str = ""  # sent as a form with this file
    saved_as: str = ""  # an answer that is a file


_CHAT = """answer = client.chat.completions.create(
    model="{model}:cheapest",
    messages=[{{"role": "user", "content": "Hello"}}],
)
print(answer.choices[0].message.content)"""
_EMBEDDING = """answer = client.embeddings.create(
    model="{model}:cheapest",
    input=["A first text", "A second text"],
)
print(len(answer.data[0].embedding))"""
_IMAGE = """answer = client.images.generate(
    model="{model}",
    prompt="A lighthouse at dusk",
)
print(answer.data[0].url or len(answer.data[0].b64_json))"""
_TRANSCRIPTION = """with open("meeting.mp3", "rb") as sound:
    answer = client.audio.transcriptions.create(
        model="{model}",
        file=sound,
    )
print(answer.text)"""
_SPEECH = """answer = client.audio.speech.create(
    model="{model}",
    input="Hello",
    voice="alloy",  # or another of its own
)
answer.write_to_file("hello.mp3")"""
_RERANK = """answer = httpx.post(
    "{base_url}/rerank",
    headers={{"Authorization": f"Bearer {{os.environ['PANELBOARD_API_KEY']}}"}},
    json={{
        "model": "{model}:cheapest",
        "query": "Which animal purrs?",
        "documents": ["Dogs bark", "Cats purr"],
    }},
)
answer.raise_for_status()
print(answer.json()["results"])"""

_EXAMPLES: dict[str, _Example] = {
    kinds.CHAT: _Example({"messages": [{"role": "user", "content": _TEXT}]}, _CHAT),
    kinds.EMBEDDING: _Example({"input": ["A first text", "A second text"]}, _EMBEDDING),
    kinds.RERANK: _Example(
        {"query": "Which animal purrs?", "documents": ["Dogs bark", "Cats purr"]}, _RERANK
    ),
    kinds.IMAGE: _Example({"prompt": "A lighthouse at dusk"}, _IMAGE),
    kinds.TRANSCRIPTION: _Example({}, _TRANSCRIPTION, form_file=_SOUND_FILE),
    kinds.SPEECH: _Example({"input": _TEXT, "voice": "alloy"}, _SPEECH, saved_as=_SPEECH_FILE),
}


def curl(base_url: str, model: str, kind: str = kinds.CHAT) -> str:
    example = _EXAMPLES[kind]
    path = kinds.KINDS[kind].path.removeprefix("/v1")
    lines = [
        f"curl {base_url}{path}",
        '-H "Authorization: Bearer $PANELBOARD_API_KEY"',
        *_curl_body(example, model),
        *([f"--output {example.saved_as}"] if example.saved_as else []),
    ]
    return " \\\n  ".join(lines)


def _curl_body(example: _Example, model: str) -> list[str]:
    if example.form_file:
        return [f"-F model={model}", f"-F file=@{example.form_file}"]
    body = json.dumps({"model": model, **example.body}, indent=2)
    return ['-H "Content-Type: application/json"', f"-d '{body}'"]


def python(base_url: str, model: str, kind: str = kinds.CHAT) -> str:
    """With OpenAI's client, which knows every kind but reranking."""
    call = _EXAMPLES[kind].python.format(model=model, base_url=base_url)
    head = _PYTHON_HEADS.get(kind, _with_openai)
    return f"{head(base_url)}{call}"


def _with_openai(base_url: str) -> str:
    return f"""import os
from openai import OpenAI

client = OpenAI(
    base_url="{base_url}",
    api_key=os.environ["PANELBOARD_API_KEY"],
)
"""


def _with_httpx(_base_url: str) -> str:
    return "import os\nimport httpx\n\n"


_PYTHON_HEADS: dict[str, Callable[[str], str]] = {kinds.RERANK: _with_httpx}


def rest(url: str) -> str:
    return f'curl "{url}" \\\n  -H "Authorization: Bearer $PANELBOARD_REST_TOKEN"'
