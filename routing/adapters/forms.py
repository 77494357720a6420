"""Reading an OpenAI chat request: the questions that several dialects ask of it."""

from __future__ import annotations

import re
from typing import Any, NamedTuple, NoReturn

from routing.adapters.jsonio import BadJson, dict_of, dicts_in, dig, list_of, loads, text_of
from routing.core.catalog import Endpoint
from routing.core.errors import FailureClass, Refused

# A chat request is plain when it has no field but these, its limit is a number, and each of its
# messages is one of these roles with a text and nothing more. Nothing in it then decides how it
# has to be routed or sent, except by the names of its fields.
PLAIN_FIELDS = frozenset(
    {
        "frequency_penalty",
        "max_completion_tokens",
        "max_tokens",
        "messages",
        "min_p",
        "model",
        "presence_penalty",
        "prompt_cache_key",
        "reasoning_effort",
        "repetition_penalty",
        "safety_identifier",
        "seed",
        "stream",
        "stream_options",
        "temperature",
        "top_k",
        "top_p",
        "user",
    }
)
PLAIN_ROLES = frozenset(("user", "assistant", "system"))

EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
# Leaving one of these out changes nothing.
_NO_OPS: dict[str, Any] = {
    "frequency_penalty": 0,
    "logit_bias": {},
    "logprobs": False,
    "metadata": {},
    "n": 1,
    "parallel_tool_calls": True,
    "presence_penalty": 0,
    "service_tier": "auto",
    "store": False,
}
_DATA_URL = re.compile(r"data:([\w.+-]+/[\w.+-]+)?(?:;[\w=.+-]+)*?;base64,(.*)", re.DOTALL)


def refuse(endpoint: Endpoint, param: str, reason: str) -> NoReturn:
    """Raises UpstreamError(CLIENT): this request cannot be expressed there. Nothing was sent."""
    raise Refused(
        FailureClass.CLIENT,
        f"{endpoint.provider.name} {reason}. Change `{param}`, or choose another provider.",
        code="unsupported_parameter",
        was_sent=False,
    )


def is_a_loss(name: str, value: Any) -> bool:
    """Would the client miss this parameter if it were left out?"""
    return value is not None and not (name in _NO_OPS and value == _NO_OPS[name])


class Inline(NamedTuple):
    media_type: str
    base64: str


def inline_data(url: str) -> Inline | None:
    """The content of a base64 `data:` URL; None for any other URL."""
    found = _DATA_URL.fullmatch(url)
    return Inline(found[1] or "application/octet-stream", found[2]) if found else None


def image_url_of(part: dict[str, Any]) -> str:
    """Of an `image_url` part, in the long form or as a bare string."""
    return text_of(dig(part, "image_url.url")) or text_of(part.get("image_url"))


def flat_text(content: Any) -> str | None:
    """Content as one string; None if a part of it is not text."""
    if content is None or isinstance(content, str):
        return content or ""
    texts = [part.get("text") for part in dicts_in(content)]
    if len(texts) != len(list_of(content)) or not all(isinstance(t, str) for t in texts):
        return None
    return "".join(map(str, texts))


def parts_of(content: Any) -> list[dict[str, Any]]:
    """Content as parts; an empty string has none."""
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content else []
    return [
        {"type": "text", "text": part} if isinstance(part, str) else part
        for part in list_of(content)
        if isinstance(part, dict | str)
    ]


def choice_kind(body: dict[str, Any]) -> str:
    """none, auto, required, named or another type's name; "" when the client did not choose."""
    choice = body.get("tool_choice")
    if isinstance(choice, str):
        return choice
    kind = text_of(dict_of(choice).get("type"))
    return "named" if kind == "function" else kind


class ToolWish(NamedTuple):
    """What the client wants called: `mode` is none, auto, required, named or ""."""

    mode: str
    names: tuple[str, ...] = ()  # the only tools allowed; empty means all


def tool_wish(body: dict[str, Any]) -> ToolWish:
    kind = choice_kind(body)
    choice = dict_of(body.get("tool_choice"))
    if kind == "named":
        return ToolWish("named", (text_of(dig(choice, "function.name")),))
    if kind == "allowed_tools":
        allowed = dict_of(choice.get("allowed_tools"))
        names = [text_of(dig(tool, "function.name")) for tool in dicts_in(allowed.get("tools"))]
        mode = text_of(allowed.get("mode")) or "auto"
        return ToolWish(mode, tuple(filter(None, names)))
    return ToolWish(kind)


def response_format_kind(body: dict[str, Any]) -> str:
    return text_of(dict_of(body.get("response_format")).get("type"))


def schema_of(body: dict[str, Any]) -> dict[str, Any]:
    """The JSON schema of `response_format`, in its envelope or flat."""
    form = dict_of(body.get("response_format"))
    return dict_of(dict_of(form.get("json_schema")).get("schema")) or dict_of(form.get("schema"))


def stop_list(body: dict[str, Any]) -> list[str]:
    stop = body.get("stop")
    return [stop] if isinstance(stop, str) else [s for s in list_of(stop) if isinstance(s, str)]


def max_tokens_of(body: dict[str, Any]) -> int | None:
    """The client's limit; the newer field wins."""
    for field in ("max_completion_tokens", "max_tokens"):
        if type(body.get(field)) is int:
            limit: int = body[field]
            return limit
    return None


def effort_of(body: dict[str, Any]) -> str:
    """Reasoning effort, from `reasoning_effort` or `reasoning.effort`; "" when unset."""
    effort = body.get("reasoning_effort") or dict_of(body.get("reasoning")).get("effort")
    return effort if effort in EFFORTS else ""


def arguments_of(call: dict[str, Any]) -> dict[str, Any]:
    """A tool call's arguments as an object; what is no JSON object counts as none."""
    arguments = dig(call, "function.arguments")
    if isinstance(arguments, dict):
        return arguments
    try:
        return dict_of(loads(text_of(arguments).encode("utf-8", "surrogatepass")))
    except BadJson:
        return {}
