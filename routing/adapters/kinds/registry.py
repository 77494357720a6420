"""Which adapter speaks which dialect, for each kind but chat. A new one is a line here."""

from __future__ import annotations

from routing.adapters.base import Adapter
from routing.adapters.kinds.embeddings import OpenAIEmbeddings
from routing.adapters.kinds.gemini_embeddings import GeminiEmbeddings
from routing.adapters.kinds.images import OpenAIImages
from routing.adapters.kinds.rerank import OpenAICompatRerank
from routing.adapters.kinds.speech import OpenAISpeech
from routing.adapters.kinds.transcriptions import OpenAITranscriptions
from routing.core.kinds import EMBEDDING, IMAGE, RERANK, SPEECH, TRANSCRIPTION

KIND_ADAPTERS: dict[tuple[str, str], Adapter] = {
    (EMBEDDING, "openai_compat"): OpenAIEmbeddings(),
    (EMBEDDING, "gemini"): GeminiEmbeddings(),
    (RERANK, "openai_compat"): OpenAICompatRerank(),
    (IMAGE, "openai_compat"): OpenAIImages(),
    (TRANSCRIPTION, "openai_compat"): OpenAITranscriptions(),
    (SPEECH, "openai_compat"): OpenAISpeech(),
}


def kind_adapter_for(kind: str, dialect: str) -> Adapter:
    """Raises KeyError naming the dialects in which this kind can be asked for."""
    try:
        return KIND_ADAPTERS[kind, dialect]
    except KeyError:
        known = ", ".join(sorted(d for k, d in KIND_ADAPTERS if k == kind))
        raise KeyError(
            f"No adapter for {kind!r} in the dialect {dialect!r}. "
            f"Dialects that have it: {known or 'none'}."
        ) from None
