"""Content blocks as parts of OpenAI chat messages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from routing.surfaces.messages.fields import at, bad, checked, optional, wanted
from routing.surfaces.messages.losses import Losses

Block = dict[str, Any]
Part = dict[str, Any]
DEFAULT_FILE_NAME = "document.pdf"


def blocks_at(content: Any, path: str) -> list[Block]:
    """Content as a list of blocks, each an object with a type; a string is one block of text."""
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    blocks = checked(content, path, list)
    for i, block in enumerate(blocks):
        wanted(checked(block, at(path, i), dict), "type", at(path, i), str)
    return list(blocks)


def parts_of(block: Block, path: str, losses: Losses) -> list[Part]:
    """Of a block for the reader. Where chat cannot say it, a note to the model stands for it."""
    if block.get("cache_control") is not None:
        losses.hint("cache_control")
    translate = _PARTS.get(block["type"])
    if translate is None:
        return _left_out(f"content.{block['type']}", losses)
    return translate(block, path, losses)


def text_part(text: str) -> Part:
    return {"type": "text", "text": text}


def content_of(parts: list[Part]) -> Any:
    """A lone text stands as a string, which every host takes."""
    if len(parts) == 1 and parts[0]["type"] == "text":
        return parts[0]["text"]
    return parts


def _text(block: Block, path: str, losses: Losses) -> list[Part]:
    text = wanted(block, "text", path, str)
    return [text_part(text)] if text else []


def _image(block: Block, path: str, losses: Losses) -> list[Part]:
    if block.get("transformations") is not None:
        losses.hint("content.image.transformations")
    source, where = _source(block, path)
    kind = source["type"]
    if kind == "base64":
        return [_image_part(_data_url(source, where))]
    if kind == "url":
        return [_image_part(wanted(source, "url", where, str))]
    return _left_out(f"content.image.source.{kind}", losses)


def _image_part(url: str) -> Part:
    return {"type": "image_url", "image_url": {"url": url}}


def _document(block: Block, path: str, losses: Losses) -> list[Part]:
    citations = optional(block, "citations", path, dict) or {}
    if citations.get("enabled"):
        losses.hint("content.document.citations")
    source, where = _source(block, path)
    translate = _DOCUMENT_SOURCES.get(source["type"])
    if translate is None:
        return _left_out(f"content.document.source.{source['type']}", losses)
    head = [optional(block, name, path, str) for name in ("title", "context")]
    parts = translate(source, where, head[0] or "", losses)
    labels = [text_part(text) for text in head if text]
    return [*labels, *parts]


def _file_source(source: Block, path: str, title: str, losses: Losses) -> list[Part]:
    data = {"filename": title or DEFAULT_FILE_NAME, "file_data": _data_url(source, path)}
    return [{"type": "file", "file": data}]


def _plain_source(source: Block, path: str, title: str, losses: Losses) -> list[Part]:
    return [text_part(wanted(source, "data", path, str))]


def _content_source(source: Block, path: str, title: str, losses: Losses) -> list[Part]:
    where = at(path, "content")
    blocks = blocks_at(source.get("content"), where)
    return [p for i, b in enumerate(blocks) for p in parts_of(b, at(where, i), losses)]


_DOCUMENT_SOURCES: dict[str, Callable[[Block, str, str, Losses], list[Part]]] = {
    "base64": _file_source,
    "text": _plain_source,
    "content": _content_source,
}


def _search_result(block: Block, path: str, losses: Losses) -> list[Part]:
    citations = optional(block, "citations", path, dict) or {}
    if citations.get("enabled"):
        losses.hint("content.search_result.citations")
    head = [wanted(block, name, path, str) for name in ("title", "source")]
    found = blocks_at(block.get("content"), at(path, "content"))
    texts = [wanted(b, "text", at(path, f"content.{i}"), str) for i, b in enumerate(found)]
    return [text_part("\n".join([*head, *texts]))]


_PARTS: dict[str, Callable[[Block, str, Losses], list[Part]]] = {
    "text": _text,
    "image": _image,
    "document": _document,
    "search_result": _search_result,
}


def _left_out(name: str, losses: Losses) -> list[Part]:
    losses.essential(name)
    return [text_part(f"[Left out here: {name}]")]


def _source(block: Block, path: str) -> tuple[Block, str]:
    where = at(path, "source")
    source = wanted(block, "source", path, dict)
    wanted(source, "type", where, str)
    return source, where


def _data_url(source: Block, path: str) -> str:
    media_type = wanted(source, "media_type", path, str)
    data = wanted(source, "data", path, str)
    if "/" not in media_type or not data:
        bad(path, "Input should be base64 data with its media type")
    return f"data:{media_type};base64,{data}"
