"""Rankings by the words that a document shares with the query."""

from __future__ import annotations

import hashlib
import re
from typing import Any

from routing.simulator.asks import wants
from routing.simulator.http11 import Request
from routing.simulator.kinds.base import (
    Answer,
    Reading,
    at_path,
    check_fields,
    json_reading,
    text_in,
    tokens_of,
    whole_in,
)
from routing.simulator.prices import Tally
from routing.simulator.world import Endpoint, Provider

KNOWN = "model query documents top_n return_documents"


def score_of(query: str, document: str) -> float:
    """Between 0 and 1, and never quite the same for two documents."""
    asked, told = (set(re.findall(r"\w+", text.lower())) for text in (query, document))
    shared = len(asked & told) / (len(asked) or 1)
    digest = hashlib.sha256(f"{query} {document}".encode("utf-8", "surrogatepass")).digest()
    return round(0.02 + 0.95 * shared + digest[0] / 256 * 0.02, 6)


class Rerank:
    kind = "rerank"

    def model_of(self, provider: Provider, request: Request) -> str | None:
        if provider.dialect != "openai_compat":
            return None
        return at_path(provider, request, provider.traits.rerank_path)

    def read(self, provider: Provider, request: Request) -> Reading:
        return json_reading(request)

    def answer(self, provider: Provider, endpoint: Endpoint, asked: Reading, now: float) -> Answer:
        fields = asked.fields
        check_fields(provider, self.kind, fields, KNOWN)
        query, documents = text_in(fields, "query"), fields.get("documents")
        is_list = isinstance(documents, list) and bool(documents)
        wants(
            is_list and all(isinstance(one, str) for one in documents or ()),
            "'documents' must be a list of texts",
            param="documents",
        )
        texts: list[str] = list(documents or ())
        top = whole_in(fields, "top_n", len(texts), 10**6)
        ranked = sorted(range(len(texts)), key=lambda at: -score_of(query, texts[at]))[:top]
        total = sum(map(tokens_of, texts)) + len(texts) * tokens_of(query)
        usage = {"prompt_tokens": total, "completion_tokens": 0, "total_tokens": total}
        return Answer(
            Tally(input_total=total), _document(provider, endpoint, query, texts, ranked), usage
        )


def _document(
    provider: Provider, endpoint: Endpoint, query: str, texts: list[str], ranked: list[int]
) -> dict[str, Any]:
    in_data = provider.persona.rerank_in_data
    rows = [
        {
            "index": at,
            "relevance_score": score_of(query, texts[at]),
            "document": texts[at] if in_data else {"text": texts[at]},
        }
        for at in ranked
    ]
    if in_data:
        return {"object": "list", "model": endpoint.upstream_model, "data": rows}
    id = hashlib.sha256(query.encode("utf-8", "surrogatepass")).hexdigest()[:24]
    return {"id": id, "results": rows}
