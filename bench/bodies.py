"""The requests that are sent: a short prompt, one of 100 KB, and a short one for a Claude model."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

import msgspec

from bench.paths import RUN

LONG_BYTES = 100_000
SEED = 20_260_101
# The load client writes the request's number over the digits: no prompt is like the one before.
NUMBER_MARK = "Request 0000000000"
SHORT_PROMPT = (
    "Summarise the following notes for someone who was not there. Keep names and numbers. "
    "The release moved to Thursday because two checks were red on the storage branch. "
    "Mira takes the migration, Jonas the rollback plan, and both meet at ten. "
) * 3


class Body(msgspec.Struct, frozen=True):
    name: str
    model: str
    is_long: bool = False
    stream: bool = False
    max_tokens: int = 256  # at most so many events; the upstream has fewer to give

    @property
    def file(self) -> Path:
        return RUN / f"{self.name}.json"

    @property
    def warm_up(self) -> Body:
        """The same path through a gateway, over after two events."""
        return msgspec.structs.replace(self, name=f"{self.name}-warm-up", max_tokens=2)

    def text(self) -> str:
        """As clients send it: UTF-8 as it is, and escapes where JSON needs them."""
        messages = _long_messages() if self.is_long else _short_messages()
        document = {"model": self.model, "messages": messages, "temperature": 0.7}
        document["max_tokens"] = self.max_tokens
        if self.stream:
            document["stream"] = True
        return json.dumps(document, ensure_ascii=False)


SHORT = Body("short", "bench-model")
SHORT_STREAM = Body("short-stream", "bench-model", stream=True)
LONG = Body("long", "bench-model", is_long=True)
CLAUDE = Body("claude", "bench-claude")
CLAUDE_STREAM = Body("claude-stream", "bench-claude", stream=True)


def write(body: Body) -> Path:
    RUN.mkdir(parents=True, exist_ok=True)
    body.file.write_text(body.text(), encoding="utf-8")
    return body.file


Message = dict[str, str]


def _short_messages() -> list[Message]:
    return [
        {"role": "system", "content": f"You are brief. {NUMBER_MARK}."},
        {"role": "user", "content": SHORT_PROMPT},
    ]


# --- a long conversation about code and its logs --------------------------------------------------

_WHO = [
    "Mira",
    "Jonas",
    "the team in Łódź",
    "Zoë",
    "our customer",
    "Dr. Okafor",
    "李雷",
    "the night shift",
]
_DID = [
    "moved the release to",
    "asked twice about",
    "found a race in",
    "measured",
    "wrote “never again” under",
    "reverted",
    "sketched — on paper — ",
    "signed off on",
]
_WHAT = [
    "the storage branch",
    "a queue that holds 4,096 entries",
    "the naïve cache",
    "§ 7 of the contract",
    "prices in € and ¥",
    "the retry table",
    "C:\\builds\\nightly\\out.log",
    'the so-called "fast path"',
]
_WHY = [
    "because two checks were red",
    "although nobody had asked",
    ", which took 38 ms instead of 5",
    'and said: "it works here"',
    "before the café closed",
    "; see the notes below",
    "with care 🙂",
    "again",
]
_CODE = (
    '```python\ndef read(path: str) -> dict[str, int]:\n\twith open(path, "rb") as file:\n'
    '\t\treturn {"lines": sum(1 for _ in file), "path": len(path)}\n```\n'
)
_LOG = (
    '2026-01-08T09:14:{second:02d}Z \x1b[33mWARN\x1b[0m store: {{"took_ms": {took}, "path": '
    '"C:\\\\data\\\\part-{took}", "ok": false}}\r\n'
)


def _long_messages() -> list[Message]:
    """Turns of user and assistant until the JSON of it all has LONG_BYTES."""
    random = Random(SEED)
    system = f'You are a careful reviewer. {NUMBER_MARK}.\nAnswer in Markdown, "as is".'
    messages: list[Message] = [{"role": "system", "content": system}]
    size = _json_bytes(messages)
    while size < LONG_BYTES:
        role = "assistant" if len(messages) % 2 == 0 else "user"
        messages.append({"role": role, "content": _turn(random)})
        size += _json_bytes(messages[-1])
    messages.append({"role": "user", "content": "What should be done first, and by whom?"})
    return messages


def _json_bytes(value: object) -> int:
    return len(json.dumps(value, ensure_ascii=False).encode())


def _turn(random: Random) -> str:
    parts = [_paragraph(random) for _ in range(random.randint(2, 6))]
    parts.append(_CODE)
    parts += [
        _LOG.format(second=random.randrange(60), took=random.randrange(9999))
        for _ in range(random.randint(1, 5))
    ]
    return "\n\n".join(parts)


def _paragraph(random: Random) -> str:
    sentences = [
        f"{random.choice(_WHO)} {random.choice(_DID)} {random.choice(_WHAT)} {random.choice(_WHY)}."
        for _ in range(random.randint(3, 8))
    ]
    return " ".join(sentences)
