"""A small catalog, and requests and answers of each dialect in one form for the tests."""

from __future__ import annotations

import json
from typing import Any

import httpx

from routing.simulator.server import ThreadedSimulator

SINCE = "2026-11-01T00:00:00Z"
OPEN_MODEL = "openai/gpt-oss-120b"
EVERYTHING = [
    "tools",
    "tool_choice_required",
    "parallel_tools",
    "json_mode",
    "structured_output",
    "logprobs",
    "seed",
    "n",
]
WEATHER_TOOL = {
    "name": "get_weather",
    "description": "The weather in a city.",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 1}},
        "required": ["city", "days"],
        "additionalProperties": False,
    },
}
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


def price(meter: str, usd: str, **more: Any) -> dict[str, Any]:
    return {"meter": meter, "usd": usd, "effective_from": SINCE, "source": "test", **more}


def provider(
    slug: str, base_url: str, dialect: str = "openai_compat", **more: Any
) -> dict[str, Any]:
    return {"slug": slug, "name": slug.title(), "dialect": dialect, "base_url": base_url, **more}


def endpoint(
    slug: str, upstream: str, prices: list[dict[str, Any]], model: str = OPEN_MODEL, **more: Any
) -> dict[str, Any]:
    return {
        "provider": slug,
        "model": model,
        "upstream_model": upstream,
        "context_window": 131072,
        "capabilities": EVERYTHING,
        "prices": prices,
        **more,
    }


RATE_NAMES = {
    "limit_requests": "x-ratelimit-limit-requests",
    "remaining_requests": "x-ratelimit-remaining-requests",
    "reset_requests": "x-ratelimit-reset-requests",
    "remaining_tokens": "x-ratelimit-remaining-tokens",
}
CATALOG: dict[str, Any] = {
    "format": "panelboard-catalog/1",
    "providers": [
        provider(
            "openai",
            "https://api.openai.com/v1",
            quirks={
                "max_tokens_field": "max_completion_tokens",
                "developer_role": True,
                "reasoning_field_out": "none",
            },
        ),
        provider(
            "anthropic",
            "https://api.anthropic.com",
            "anthropic",
            quirks={"chat_path": "/v1/messages", "models_path": "/v1/models"},
        ),
        provider("gemini", "https://generativelanguage.googleapis.com/v1beta", "gemini"),
        provider(
            "groq",
            "https://api.groq.com/openai/v1",
            quirks={
                "usage_mode": "always",
                "usage_paths": ["x_groq.usage", "usage"],
                "max_tokens_field": "max_completion_tokens",
                "strict_unknown": True,
                "stop_max": 4,
                "n_max": 1,
                "drop_params": ["logit_bias", "logprobs"],
                "reasoning_field_in": "none",
                "reasoning_field_out": "reasoning",
                "ratelimit_headers": RATE_NAMES,
            },
        ),
        provider(
            "together",
            "https://api.together.ai/v1",
            quirks={"request_id_headers": ["inference-id", "x-together-request-id"]},
            listing={"path": "/models", "kind": "together"},
        ),
        provider(
            "mistral",
            "https://api.mistral.ai/v1",
            quirks={
                "usage_mode": "finish_chunk",
                "rename_params": {"seed": "random_seed"},
                "tool_choice_map": {"required": "any"},
                "strict_unknown": True,
            },
        ),
        provider(
            "xai",
            "https://api.x.ai/v1",
            quirks={
                "usage_mode": "always",
                "output_includes_reasoning": False,
                "cost_path": "usage.cost_in_usd_ticks",
                "cost_scale": 10**10,
            },
        ),
        provider(
            "deepinfra",
            "https://api.deepinfra.com/v1/openai",
            quirks={
                "cost_path": "usage.estimated_cost",
                "tool_choice_allowed": ["none", "auto"],
                "settlement_path": "/settlement",
            },
            listing={"path": "/models", "kind": "deepinfra", "needs_key": False},
        ),
        provider(
            "novita",
            "https://api.novita.ai/openai/v1",
            listing={"path": "/models", "kind": "novita", "needs_key": True},
        ),
        provider(
            "sambanova",
            "https://api.sambanova.ai/v1",
            quirks={"content_parts": "string_only"},
            listing={"path": "/models", "kind": "sambanova"},
        ),
        provider(
            "fireworks",
            "https://api.fireworks.ai/inference/v1",
            quirks={
                "usage_mode": "every_chunk",
                "tools_with_response_format": False,
                "response_format_style": "json_object_schema",
            },
            listing={"path": "/models", "kind": "openrouter"},
        ),
        provider(
            "deepseek",
            "https://api.deepseek.com",
            quirks={"ignore_leading_blank": True, "done_required": False},
            listing={"path": "/models", "kind": "hf_router", "needs_key": False},
        ),
        provider("homemade", "http://192.168.7.7:8000/v1"),
    ],
    "models": [
        {"name": OPEN_MODEL, "title": "gpt-oss-120b", "maker": "OpenAI", "released_on": "2025-08-05"},
        {"name": "thinker/one", "title": "One", "maker": "Thinker"},
    ],
    "endpoints": [
        endpoint(
            "openai",
            "gpt-thinks",
            [price("input", "2"), price("output", "8"), price("cache_read", "0.5")],
            model="thinker/one",
            capabilities=[*EVERYTHING, "vision", "reasoning", "prompt_cache"],
        ),
        endpoint(
            "anthropic",
            "claude-thinks",
            [
                price("input", "3"),
                price("output", "15"),
                price("cache_read", "0.3"),
                price("cache_write_5m", "3.75"),
                price("cache_write_1h", "6"),
            ],
            model="thinker/one",
            capabilities=[*EVERYTHING, "vision", "reasoning", "prompt_cache"],
        ),
        endpoint(
            "gemini",
            "gemini-thinks",
            [
                price("input", "1.25"),
                price("output", "10"),
                price("cache_read", "0.31"),
                price("input", "2.5", min_input_tokens=2000),
                price("output", "15", min_input_tokens=2000),
            ],
            model="thinker/one",
            capabilities=[*EVERYTHING, "vision", "reasoning", "prompt_cache"],
        ),
        endpoint("groq", "openai/gpt-oss-120b", [price("input", "0.15"), price("output", "0.6")]),
        endpoint(
            "groq",
            "reasoner",
            [price("input", "0.29"), price("output", "0.59")],
            model="thinker/one",
            capabilities=[*EVERYTHING, "reasoning"],
        ),
        endpoint(
            "together",
            "openai/gpt-oss-120b",
            [price("input", "0.15"), price("output", "0.6"), price("cache_read", "0.075")],
            context_window=4096,
        ),
        endpoint("mistral", "gpt-oss", [price("input", "0.4"), price("output", "2")]),
        endpoint(
            "xai",
            "grok-thinks",
            [price("input", "3"), price("output", "15")],
            model="thinker/one",
            capabilities=[*EVERYTHING, "reasoning"],
        ),
        endpoint(
            "deepinfra", "openai/gpt-oss-120b", [price("input", "0.037"), price("output", "0.17")]
        ),
        endpoint(
            "novita", "openai/gpt-oss-120b", [price("input", "0.05"), price("output", "0.25")]
        ),
        endpoint("sambanova", "gpt-oss-120b", [price("input", "0.22"), price("output", "0.59")]),
        endpoint(
            "fireworks",
            "accounts/fireworks/models/gpt-oss-120b",
            [price("input", "0.15"), price("output", "0.6"), price("input", "0.3", service_tier="priority")],
        ),
        endpoint("deepseek", "gpt-oss", [price("input", "0.28"), price("output", "0.4")]),
        endpoint(
            "homemade", "gpt-oss", [], free=True, capabilities=["json_mode"], max_output_tokens=64
        ),
        endpoint("homemade", "gone", [], status="retired"),
    ],
}  # fmt: skip


class Player:
    """Asks one simulated provider in its own dialect and reads the answer back into one form."""

    def __init__(self, simulator: ThreadedSimulator, http: httpx.Client, slug: str) -> None:
        self.simulator = simulator
        self.http = http
        self.slug = slug
        self.spec = simulator.server.world[slug]
        self.dialect = self.spec.dialect
        self.model = next(iter(self.spec.endpoints))

    def headers(self, **more: str) -> dict[str, str]:
        key = self.simulator.key(self.slug)
        own = {
            "anthropic": {"x-api-key": key, "anthropic-version": "2023-06-01"},
            "gemini": {"x-goog-api-key": key},
        }
        return own.get(self.dialect, {"authorization": f"Bearer {key}"}) | more

    def url(self, *, stream: bool = False, model: str = "") -> str:
        base = self.simulator.base_url(self.slug)
        if self.dialect == "gemini":
            verb = "streamGenerateContent?alt=sse" if stream else "generateContent"
            return f"{base}/models/{model or self.model}:{verb}"
        return base + self.spec.traits.chat_path

    def body(self, text: str, *, stream: bool = False, limit: int | None = None) -> dict[str, Any]:
        if self.dialect == "gemini":
            config = {"maxOutputTokens": limit} if limit else {}
            return {
                "contents": [{"role": "user", "parts": [{"text": text}]}],
                "generationConfig": config,
            }
        body: dict[str, Any] = {
            "model": self.model,
            "messages": [{"role": "user", "content": text}],
            "stream": stream,
        }
        if self.dialect == "anthropic":
            return body | {"max_tokens": limit or 4096}
        if stream and self.spec.traits.usage_mode == "include_usage":
            body["stream_options"] = {"include_usage": True}
        return body | ({self.spec.traits.max_tokens_field: limit} if limit else {})

    def send(self, body: dict[str, Any], *, stream: bool = False, **headers: str) -> httpx.Response:
        return self.http.post(self.url(stream=stream), json=body, headers=self.headers(**headers))

    def ask(
        self,
        text: str = "Tell me something.",
        *,
        stream: bool = False,
        limit: int | None = None,
        headers: dict[str, str] | None = None,
        **fields: Any,
    ) -> httpx.Response:
        body = self.body(text, stream=stream, limit=limit) | fields
        return self.send(body, stream=stream, **(headers or {}))


def events(response: httpx.Response) -> list[Any]:
    """The JSON of each SSE event, "[DONE]" as it is."""
    found = []
    for block in response.text.replace("\r\n", "\n").split("\n\n"):
        lines = [line for line in block.split("\n") if line.startswith("data:")]
        data = "\n".join(line.removeprefix("data:").strip() for line in lines)
        if data:
            found.append(data if data == "[DONE]" else json.loads(data))
    return found


def text_in(dialect: str, answer: Any) -> str:
    """The visible text of one answer or event."""
    if not isinstance(answer, dict):
        return ""
    if dialect == "anthropic":
        blocks = [answer.get("delta") or {}, *answer.get("content", ())]
        return "".join(block.get("text", "") for block in blocks)
    if dialect == "gemini":
        parts = [p for c in answer.get("candidates", ()) for p in c["content"]["parts"]]
        return "".join(p.get("text", "") for p in parts if not p.get("thought"))
    parts = [c.get("message") or c.get("delta") or {} for c in answer.get("choices", ())]
    return "".join(part.get("content") or "" for part in parts)


def usage_in(dialect: str, answers: list[Any]) -> tuple[int, int]:
    """(input, output) tokens, inclusive, from the last usage that was told."""
    found: dict[str, Any] = {}
    for answer in answers:
        if not isinstance(answer, dict):
            continue
        told = answer.get("usageMetadata") or answer.get("usage")
        found |= told or {}
    if dialect == "anthropic":
        cached = found["cache_read_input_tokens"] + found["cache_creation_input_tokens"]
        return found["input_tokens"] + cached, found["output_tokens"]
    if dialect == "gemini":
        thoughts = found.get("thoughtsTokenCount", 0)
        return found["promptTokenCount"], found["candidatesTokenCount"] + thoughts
    return found["prompt_tokens"], found["total_tokens"] - found["prompt_tokens"]
