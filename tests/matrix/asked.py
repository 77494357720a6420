"""What a cell asks for, and what was answered, in no client's words."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Literal

Body = dict[str, Any]
HELLO = "Describe a panelboard in two sentences."
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
PICTURE_URL = "https://pictures.example/panel.png"
WEATHER = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
PANEL = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "circuits": {"type": "integer"}},
    "required": ["name", "circuits"],
    "additionalProperties": False,
}


@dataclass(frozen=True)
class Call:
    id: str
    name: str
    arguments: str  # JSON


@dataclass(frozen=True)
class Asked:
    """Empty or None: not asked for."""

    text: str = HELLO
    system: str = ""
    earlier: tuple[str, ...] = ()  # what was said before, by user and assistant in turn
    picture: Literal["", "inline", "address"] = ""
    tools: tuple[str, ...] = ()  # names; each takes a city
    web_search: bool = False  # the tool that a provider runs itself
    choice: Literal["", "required", "named", "none"] = ""
    one_call_at_most: bool = False
    schema: Body | None = None
    json_mode: bool = False
    effort: str = ""
    caches: bool = False  # marks the system prompt where the dialect has marks
    stop: tuple[str, ...] = ()
    temperature: float | None = None
    limit: int = 400
    logprobs: bool = False
    seed: int | None = None
    n: int = 1
    tier: str = ""
    user: str = ""
    stream: bool = False

    def streamed(self) -> Asked:
        return replace(self, stream=True)


@dataclass
class Said:
    """An answer, plain or added up from its stream."""

    text: str = ""
    calls: list[Call] = field(default_factory=list)
    thought: str = ""
    finish: str = ""  # stop, length or tool_calls, whatever the dialect calls it
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    choices: int = 1
    logprobs: bool = False
    tier: str = ""
    searched: bool = False
    turn: list[Body] = field(default_factory=list)  # the answer as the next request repeats it
    ended: bool = False  # by the dialect's own last word
    error: Body = field(default_factory=dict)  # of a stream that broke
