"""Gemini's probabilities of tokens as OpenAI's."""

from __future__ import annotations

from itertools import zip_longest
from typing import Any

from routing.adapters.jsonio import dict_of, dicts_in, text_of


def logprobs_of(candidate: dict[str, Any]) -> dict[str, Any] | None:
    """For a choice's `logprobs`; None where nothing was told."""
    found = dict_of(candidate.get("logprobsResult"))
    chosen = dicts_in(found.get("chosenCandidates"))
    if not chosen:
        return None
    tops = [dicts_in(top.get("candidates")) for top in dicts_in(found.get("topCandidates"))]
    pairs = zip_longest(chosen, tops[: len(chosen)], fillvalue=())
    content = [
        {**_token(dict_of(token)), "top_logprobs": [_token(dict_of(top)) for top in others]}
        for token, others in pairs
    ]
    return {"content": content, "refusal": None}


def _token(found: dict[str, Any]) -> dict[str, Any]:
    token, value = text_of(found.get("token")), found.get("logProbability")
    return {
        "token": token,
        "logprob": float(value) if isinstance(value, int | float) else 0.0,  # zero is left out
        "bytes": list(token.encode("utf-8", "surrogatepass")),
    }
