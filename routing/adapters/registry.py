"""Which adapter speaks which dialect. A new dialect is a package and one line here."""

from __future__ import annotations

from routing.adapters.anthropic.adapter import Anthropic
from routing.adapters.base import Adapter
from routing.adapters.gemini.adapter import Gemini
from routing.adapters.kinds.registry import KIND_ADAPTERS, kind_adapter_for
from routing.adapters.openai_compat.adapter import OpenAICompat
from routing.core.kinds import CHAT

_ADAPTERS: dict[str, Adapter] = {
    "anthropic": Anthropic(),
    "gemini": Gemini(),
    "openai_compat": OpenAICompat(),
}
DIALECTS = frozenset(_ADAPTERS)


def kinds_in(dialect: str) -> frozenset[str]:
    """The kinds of models that can be asked in this dialect."""
    others = {kind for kind, spoken in KIND_ADAPTERS if spoken == dialect}
    return frozenset({CHAT, *others} if dialect in _ADAPTERS else others)


def adapter_for(dialect: str, kind: str = CHAT) -> Adapter:
    """`kind` is the endpoint's. Raises KeyError naming the dialects that exist."""
    if kind != CHAT:
        return kind_adapter_for(kind, dialect)
    try:
        return _ADAPTERS[dialect]
    except KeyError:
        known = ", ".join(sorted(_ADAPTERS))
        raise KeyError(
            f"No adapter for the dialect {dialect!r}. Known dialects: {known}."
        ) from None
