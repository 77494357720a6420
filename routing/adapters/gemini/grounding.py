"""What an answer rests on: grounding and citations as OpenAI's annotations of the text.

Google tells places in bytes of the text, OpenAI in characters. All that it says of its search goes
along as it is, for those who have to show it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from routing.adapters.jsonio import dict_of, dicts_in, dig, list_of, text_of
from routing.adapters.usage import count

_SOURCES = ("web", "retrievedContext", "maps")
# As Google's own OpenAI dialect names its additions: under `extra_content.google`.
_CARRIED = {
    "groundingMetadata": "grounding_metadata",
    "urlContextMetadata": "url_context_metadata",
}


class Text:
    """An answer's text so far, with its places in bytes."""

    __slots__ = ("_encoded", "whole")

    def __init__(self, whole: str) -> None:
        self.whole = whole
        self._encoded = whole.encode("utf-8", "surrogatepass")

    def place_of(self, segment: dict[str, Any]) -> tuple[int, int]:
        """In characters. The quoted words decide where the numbers say something else."""
        quoted = text_of(segment.get("text"))
        start, end = count(segment.get("startIndex")) or 0, count(segment.get("endIndex"))
        if end is not None and start <= end <= len(self._encoded):
            piece = self._decoded(start, end)
            if not quoted or piece == quoted:
                at = len(self._decoded(0, start))
                return at, at + len(piece)
        at = self.whole.find(quoted) if quoted else -1
        return (0, len(self.whole)) if at < 0 else (at, at + len(quoted))

    def _decoded(self, start: int, end: int) -> str:
        return self._encoded[start:end].decode("utf-8", "ignore")


class Cited(NamedTuple):
    url: str
    title: str
    start: int
    end: int

    def annotation(self) -> dict[str, Any]:
        found = {"start_index": self.start, "end_index": self.end}
        return {
            "type": "url_citation",
            "url_citation": {**found, "title": self.title, "url": self.url},
        }


def cited_in(candidate: dict[str, Any], answer: str) -> list[Cited]:
    """Each source once for each place; `answer` is the text that the candidate has come to."""
    if not (candidate.get("groundingMetadata") or candidate.get("citationMetadata")):
        return []
    text = Text(answer)
    found = [*_grounded(candidate, text), *_quoted(candidate, text)]
    return list(dict.fromkeys(found))


def carried_metadata(candidate: dict[str, Any]) -> dict[str, Any]:
    """For a message's `extra_content`; empty where there is nothing to tell."""
    found = {name: candidate[theirs] for theirs, name in _CARRIED.items() if candidate.get(theirs)}
    return {"google": found} if found else {}


def _grounded(candidate: dict[str, Any], text: Text) -> Iterator[Cited]:
    metadata = dict_of(candidate.get("groundingMetadata"))
    sources = [_source(chunk) for chunk in dicts_in(metadata.get("groundingChunks"))]
    supports = dicts_in(metadata.get("groundingSupports"))
    if not supports:
        yield from (Cited(url, title, 0, len(text.whole)) for url, title in sources if url)
    for support in supports:
        place = text.place_of(dict_of(support.get("segment")))
        for index in list_of(support.get("groundingChunkIndices")):
            if type(index) is int and 0 <= index < len(sources) and sources[index][0]:
                yield Cited(*sources[index], *place)


def _source(chunk: dict[str, Any]) -> tuple[str, str]:
    """(url, title); both empty where it has no address."""
    for kind in _SOURCES:
        source = dict_of(chunk.get(kind))
        if text_of(source.get("uri")):
            return source["uri"], text_of(source.get("title"))
    return "", ""


def _quoted(candidate: dict[str, Any], text: Text) -> Iterator[Cited]:
    """Passages that stand in a source word for word."""
    for names in ("citationMetadata.citationSources", "citationMetadata.citations"):
        for source in dicts_in(dig(candidate, names)):
            url = text_of(source.get("uri"))
            if url:
                yield Cited(url, text_of(source.get("title")), *text.place_of(source))
