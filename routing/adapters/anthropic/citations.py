"""Citations of web pages: the one kind that both dialects have a word for."""

from __future__ import annotations

from typing import Any

from routing.adapters.anthropic.foreign import UNSIGNED
from routing.adapters.jsonio import dict_of, dicts_in, text_of

WEB_PAGE = "web_search_result_location"


def annotation_of(citation: Any, start: int, end: int) -> dict[str, Any] | None:
    """For OpenAI's `annotations`: what was cited for the text from `start` to `end`."""
    found = dict_of(citation)
    if found.get("type") != WEB_PAGE:
        return None
    url_citation = {
        "start_index": start,
        "end_index": end,
        "title": text_of(found.get("title")),
        "url": text_of(found.get("url")),
    }
    return {"type": "url_citation", "url_citation": url_citation}


def annotations_in(blocks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of the text blocks, whose texts stand one after the other."""
    found, start = [], 0
    for block in blocks:
        if block.get("type") != "text":
            continue
        end = start + len(text_of(block.get("text")))
        made = [annotation_of(each, start, end) for each in dicts_in(block.get("citations"))]
        found += [annotation for annotation in made if annotation is not None]
        start = end
    return found


def citation_of(annotation: dict[str, Any], text: str) -> dict[str, Any] | None:
    """From OpenAI's annotation of `text`. Marked, for Anthropic takes back only its own."""
    found = dict_of(annotation.get("url_citation"))
    if annotation.get("type") != "url_citation" or not text_of(found.get("url")):
        return None
    start, end = found.get("start_index"), found.get("end_index")
    has_place = type(start) is int and type(end) is int and 0 <= start <= end
    return {
        "type": WEB_PAGE,
        "cited_text": text[start:end] if has_place else "",
        "encrypted_index": UNSIGNED,
        "title": found.get("title") if isinstance(found.get("title"), str) else None,
        "url": found["url"],
    }


def is_foreign_citation(citation: Any) -> bool:
    return dict_of(citation).get("encrypted_index") == UNSIGNED


def without_foreign(block: dict[str, Any]) -> dict[str, Any]:
    """The block as Anthropic takes it back."""
    citations = block.get("citations")
    if not isinstance(citations, list) or not any(map(is_foreign_citation, citations)):
        return block
    return {**block, "citations": [each for each in citations if not is_foreign_citation(each)]}
