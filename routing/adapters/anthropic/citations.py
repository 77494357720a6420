"""Citations: those of web pages as OpenAI's annotations, those of documents as they are.

OpenAI has a word for a cited page alone. A place in a document, which has no address, travels in a
field of its own, `document_citations`: Anthropic's citation and where in the text it is made.
"""

from __future__ import annotations

from typing import Any

from routing.adapters.anthropic.foreign import UNSIGNED
from routing.adapters.jsonio import dict_of, dicts_in, text_of

WEB_PAGE = "web_search_result_location"
SEARCH_RESULT = "search_result_location"  # of results that the client sent: `source` may be a page
_PAGES = ("https://", "http://")


def cited_fields(citations: list[Any], start: int, end: int) -> dict[str, list[dict[str, Any]]]:
    """The fields of a message that tell what was cited for its text from `start` to `end`."""
    annotations, documents = [], []
    for citation in filter(None, map(dict_of, citations)):
        url = _url_of(citation)
        place = {"start_index": start, "end_index": end}
        if url:
            page = {**place, "title": text_of(citation.get("title")), "url": url}
            annotations.append({"type": "url_citation", "url_citation": page})
        elif citation.get("type") != WEB_PAGE:
            documents.append({**citation, **place})
    fields = {"annotations": annotations, "document_citations": documents}
    return {name: made for name, made in fields.items() if made}


def citations_in(blocks: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """As `cited_fields`, of the text blocks, whose texts stand one after the other."""
    found: dict[str, list[dict[str, Any]]] = {}
    start = 0
    for block in blocks:
        if block.get("type") != "text":
            continue
        end = start + len(text_of(block.get("text")))
        for name, made in cited_fields(dicts_in(block.get("citations")), start, end).items():
            found.setdefault(name, []).extend(made)
        start = end
    return found


def _url_of(citation: dict[str, Any]) -> str:
    kind = citation.get("type")
    if kind == WEB_PAGE:
        return text_of(citation.get("url"))
    source = text_of(citation.get("source")) if kind == SEARCH_RESULT else ""
    return source if source.startswith(_PAGES) else ""


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
