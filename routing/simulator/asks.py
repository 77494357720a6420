"""A request as every dialect means it, and the ways a provider says no."""

from __future__ import annotations

from typing import Any

import msgspec

from routing.simulator.tokens import Prompt


class Refusal(Exception):
    """The provider answers with an error. `violation` names what the hub should never have sent."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        kind: str = "",
        param: str | None = None,
        violation: str = "",
        retry_after: str = "",
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.kind = kind
        self.param = param
        self.violation = violation
        self.retry_after = retry_after


class Tool(msgspec.Struct, frozen=True):
    name: str
    schema: dict[str, Any]


class Ask(msgspec.Struct):
    model: str
    stream: bool = False
    include_usage: bool = False
    prompt: Prompt = msgspec.field(default_factory=Prompt)
    user_text: str = ""  # text of the last user message
    tool_result: str | None = None  # the last message's, when it is a tool's
    tools: tuple[Tool, ...] = ()
    tool_mode: str = "auto"  # none | auto | required | named
    tool_name: str = ""
    parallel: bool = True
    schema: dict[str, Any] | None = None  # the answer must be valid against it
    json_object: bool = False
    max_tokens: int | None = None
    n: int = 1
    stop: tuple[str, ...] = ()
    reasons: bool = False  # think before answering
    shows_reasoning: bool = True
    logprobs: bool = False
    service_tier: str = ""
    cache_mark_bytes: int = 0  # length of the marked prefix of the prompt, 0 without a mark
    cache_mark_long: bool = False  # one hour instead of five minutes
    pieces: dict[str, int] = {}  # by meter: what is billed besides tokens
    own: dict[str, Any] = {}  # the body, where only its dialect knows what else is in it


def names(text: str) -> frozenset[str]:
    return frozenset(text.split())


def text_of(value: Any) -> str:
    return value if isinstance(value, str) else ""


def wants(condition: Any, message: str, *, param: str | None = None, status: int = 400) -> None:
    """Refuse as invalid unless `condition` holds."""
    if not condition:
        raise Refusal(status, message, kind="invalid_request_error", param=param)
