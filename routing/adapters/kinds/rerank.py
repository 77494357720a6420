"""Reranking in the form of Jina and Together, which others share but for a name or two.

The answer is written anew: documents come back from the request itself, so that it does not
matter whether and how a provider repeats them.
"""

from __future__ import annotations

from typing import Any

from typing_extensions import override

from routing.adapters import errors
from routing.adapters.base import BuiltRequest, ChatCall, Headers, Reply
from routing.adapters.jsonio import dict_of, dicts_in, dumps, text_of
from routing.adapters.kinds.common import (
    WholeAnswers,
    as_billed,
    headers_for,
    sent_body,
)
from routing.adapters.kinds.counting import text_tokens
from routing.adapters.usage import count, first_count
from routing.adapters.wire import quirks_of
from routing.core.catalog import Endpoint
from routing.core.errors import BrokenAnswer
from routing.core.usage import Usage, UsageSource


class OpenAICompatRerank(WholeAnswers):
    dialect = "openai_compat"

    @override
    def build(self, call: ChatCall, endpoint: Endpoint, secret: str) -> BuiltRequest:
        body, dropped = sent_body(call, endpoint)
        body["documents"] = texts_of(call)
        body.pop("return_documents", None)
        headers = headers_for(endpoint, secret)
        return BuiltRequest(quirks_of(endpoint).rerank_path, headers, dumps(body), tuple(dropped))

    @override
    def read_reply(
        self, call: ChatCall, endpoint: Endpoint, headers: Headers, body: bytes
    ) -> Reply:
        document = errors.answer_in(body, headers, quirks_of(endpoint))
        found = dicts_in(document.get("results")) or dicts_in(document.get("data"))
        if not found:
            raise errors.not_an_answer(body)
        raw_usage = dict_of(document.get("usage"))
        usage = _usage(document, raw_usage, call)
        answer = {
            "id": text_of(document.get("id")),
            "object": "rerank",
            "model": text_of(document.get("model")) or endpoint.upstream_model,
            "results": _results(found, call),
            "usage": {
                "prompt_tokens": usage.input_total,
                "completion_tokens": usage.output_total,
                "total_tokens": (usage.input_total or 0) + (usage.output_total or 0),
            },
        }
        return Reply(
            raw=dumps(answer),
            usage=as_billed(usage, endpoint),
            usage_raw=dumps(raw_usage) if raw_usage else b"",
            response_model=text_of(document.get("model")),
        )


def texts_of(call: ChatCall) -> list[str]:
    documents = call.body["documents"]
    return [document if isinstance(document, str) else document["text"] for document in documents]


def estimated_tokens(query: str, texts: list[str]) -> int:
    """Each document is read together with the query."""
    return sum(map(text_tokens, texts)) + len(texts) * text_tokens(query)


def _usage(document: dict[str, Any], raw: dict[str, Any], call: ChatCall) -> Usage:
    searches = first_count(document, "meta.billed_units.search_units")
    output = first_count(raw, "completion_tokens") or 0
    prompt = first_count(raw, "prompt_tokens", "total_tokens")
    if prompt is None:
        prompt = first_count(document, "meta.tokens.input_tokens", "meta.billed_units.total_tokens")
    if prompt is not None or searches is not None:
        return Usage(input_total=prompt or 0, output_total=output, searches=searches)
    estimate = estimated_tokens(call.body["query"], texts_of(call))
    return Usage(input_total=estimate, output_total=0, source=UsageSource.ESTIMATED)


def _results(found: list[dict[str, Any]], call: ChatCall) -> list[dict[str, Any]]:
    texts, top = texts_of(call), call.body.get("top_n") or len(found)
    with_documents = call.body.get("return_documents") is True
    results: list[dict[str, Any]] = []
    for item in found[:top]:
        index, score = count(item.get("index")), item.get("relevance_score", item.get("score"))
        if index is None or index >= len(texts) or not isinstance(score, int | float):
            raise BrokenAnswer("bad_ranking", "a result has no document or no score", status=200)
        result: dict[str, Any] = {"index": index, "relevance_score": score}
        if with_documents:
            result["document"] = {"text": texts[index]}
        results.append(result)
    return results
