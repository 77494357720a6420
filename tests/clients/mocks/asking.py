"""One question to the hub, plain or streamed, and what became of it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import httpx


@dataclass(frozen=True)
class Answer:
    status: int
    text: str
    error: dict[str, Any]  # of the answer, or in the stream
    is_whole: bool  # with a finish reason and, in a stream, its [DONE]
    attempts: int
    provider: str
    retry_after_s: float | None


def ask(
    http: httpx.Client, model: str, *, stream: bool, text: str = "Hello", **more: Any
) -> Answer:
    body = {"model": model, "messages": [{"role": "user", "content": text}], "stream": stream}
    answer = http.post("/v1/chat/completions", json={**body, **more})
    said, error, is_whole = "", {}, False
    if not answer.is_success:
        error = answer.json()["error"]
    elif stream:
        said, error, is_whole = _streamed(answer.text)
    else:
        choice = answer.json()["choices"][0]
        said, is_whole = choice["message"]["content"] or "", bool(choice["finish_reason"])
    told = answer.headers.get("retry-after")
    return Answer(
        status=answer.status_code,
        text=said,
        error=error,
        is_whole=is_whole,
        attempts=int(answer.headers.get("x-panelboard-attempts", 0)),
        provider=answer.headers.get("x-panelboard-provider", ""),
        retry_after_s=float(told) if told else None,
    )


def _streamed(text: str) -> tuple[str, dict[str, Any], bool]:
    said, error, finish, done = "", {}, "", False
    for line in text.split("\n"):
        if not line.startswith("data: "):
            continue
        if line == "data: [DONE]":
            done = True
            continue
        chunk = json.loads(line.removeprefix("data: "))
        error = chunk.get("error") or error
        for choice in chunk.get("choices", ()):
            said += choice["delta"].get("content") or ""
            finish = choice.get("finish_reason") or finish
    return said, error, bool(finish) and done
