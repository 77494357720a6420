"""Which adapter speaks which dialect. A new dialect is a package and one line here."""

from __future__ import annotations

from routing.adapters.anthropic.adapter import Anthropic
from routing.adapters.base import Adapter, ChatCall
from routing.adapters.gemini.adapter import Gemini
from routing.adapters.kinds.registry import KIND_ADAPTERS, kind_adapter_for
from routing.adapters.openai_compat.adapter import OpenAICompat
from routing.adapters.openai_responses.adapter import OpenAIResponses
from routing.adapters.quirks import Quirks
from routing.core.catalog import Endpoint
from routing.core.kinds import CHAT

_ADAPTERS: dict[str, Adapter] = {
    "anthropic": Anthropic(),
    "gemini": Gemini(),
    "openai_compat": OpenAICompat(),
}
DIALECTS = frozenset(_ADAPTERS)
_RESPONSES = OpenAIResponses()


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


def spoken_beside(quirks: Quirks) -> frozenset[str]:
    """The dialects that a provider takes beside its own, from clients that write them."""
    return frozenset({_RESPONSES.dialect}) if quirks.responses_path else frozenset()


def adapter_in_the_words_of(call: ChatCall, endpoint: Endpoint, usual: Adapter) -> Adapter:
    """One for the dialect the client wrote, where the provider takes that beside its own."""
    native = call.native
    if native is None or native.dialect not in endpoint.provider.also_speaks:
        return usual
    return _RESPONSES
