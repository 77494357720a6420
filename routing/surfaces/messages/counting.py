"""`/v1/messages/count_tokens`: how many tokens a prompt will be.

A provider of the dialect can be asked (`routing.adapters.anthropic.counting`); every other model is
counted by the hub's own rough estimate, and the answer's header says so.
"""

from __future__ import annotations

from typing import Any

from routing.adapters.base import Headers
from routing.adapters.estimate import estimate_input_tokens
from routing.adapters.jsonio import dicts_in, dumps
from routing.surfaces.messages.request import prompt_to_chat

TOKENS_PER_FILE = 2000  # about one page of a PDF with its picture
ESTIMATED: Headers = [(b"x-panelboard-estimated", b"true")]


def count_tokens(body: dict[str, Any]) -> int:
    """An estimate. Raises HubError 400 naming the field that is wrong."""
    chat = prompt_to_chat(body).chat
    parts = [p for message in chat["messages"] for p in dicts_in(message.get("content"))]
    files = len([part for part in parts if part.get("type") == "file"])
    return estimate_input_tokens(chat) + TOKENS_PER_FILE * files


def count_body(input_tokens: int) -> bytes:
    return dumps({"input_tokens": input_tokens})
