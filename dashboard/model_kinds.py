"""What the pages say of each kind of model, and of the addresses that serve them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from analytics.queries.types import ReceiptAttempt, RequestRow
from dashboard import formatting
from routing.core import kinds


@dataclass(frozen=True, slots=True)
class KindWords:
    name: str  # of routing.core.kinds
    label: str
    plural: str
    no_speed: str = ""  # why there is no time to a first token and no output speed; "" if there is

    @property
    def path(self) -> str:
        return kinds.KINDS[self.name].path

    @property
    def table_label(self) -> str:
        return f"Table of {self.plural.lower()}"

    @property
    def is_chat(self) -> bool:
        return self.name == kinds.CHAT

    @property
    def is_probed(self) -> bool:
        return self.name in kinds.PROBED


KINDS: dict[str, KindWords] = {
    kind.name: kind
    for kind in (
        KindWords(kinds.CHAT, "Chat", "Chat models"),
        KindWords(
            kinds.EMBEDDING,
            "Embedding",
            "Embedding models",
            "Vectors come all at once, not token by token",
        ),
        KindWords(
            kinds.RERANK,
            "Reranking",
            "Reranking models",
            "A ranking comes all at once, not token by token",
        ),
        KindWords(kinds.IMAGE, "Image", "Image models", "Images are not written token by token"),
        KindWords(
            kinds.TRANSCRIPTION,
            "Transcription",
            "Transcription models",
            "A transcript comes all at once, not token by token",
        ),
        KindWords(kinds.SPEECH, "Speech", "Speech models", "Sound is not written token by token"),
    )
}
LABELS = {name: kind.label for name, kind in KINDS.items()}
_PLACES = {name: place for place, name in enumerate(KINDS)}


def place(kind: str) -> int:
    """Where a kind stands in lists: chat first."""
    return _PLACES[kind]


def differ(found: Iterable[str]) -> str:
    """`an embedding model and a speech model` where kinds differ, "" where they are one."""
    names = sorted(set(found), key=place)
    nouns = [kinds.KINDS[name].noun for name in names]
    return f"{', '.join(nouns[:-1])} and {nouns[-1]}" if len(nouns) > 1 else ""


# --- surfaces: what the log says of the address that was asked --------------------------------------


@dataclass(frozen=True, slots=True)
class Surface:
    label: str
    path: str


SURFACES: dict[str, Surface] = {
    "chat": Surface("Chat completions", "/v1/chat/completions"),
    "messages": Surface("Messages", "/v1/messages"),
    "responses": Surface("Responses", "/v1/responses"),
    "completions": Surface("Completions", "/v1/completions"),
    "embeddings": Surface("Embeddings", "/v1/embeddings"),
    "rerank": Surface("Reranking", "/v1/rerank"),
    "images": Surface("Images", "/v1/images/generations"),
    "transcriptions": Surface("Transcriptions", "/v1/audio/transcriptions"),
    "translations": Surface("Translations", "/v1/audio/translations"),
    "speech": Surface("Speech", "/v1/audio/speech"),
}
SURFACE_LABELS = {name: surface.label for name, surface in SURFACES.items()}
WRITES_TEXT = frozenset({"chat", "messages", "responses", "completions"})


# --- what was used ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Used:
    """Quantities of one request or attempt. None is not known, which is not zero."""

    tokens_in: int | None
    tokens_out: int | None
    images: int | None = None
    pixels: int | None = None
    audio_seconds: int | None = None
    characters: int | None = None
    searches: int | None = None


_PIECES = (
    ("images", "image"),
    ("pixels", "pixel"),
    ("audio_seconds", "second of audio"),
    ("characters", "character"),
    ("searches", "search"),
)


def used_by(row: RequestRow | ReceiptAttempt) -> Used:
    return Used(
        row.input_tokens,
        row.output_tokens,
        row.images,
        row.pixels,
        row.audio_seconds,
        row.characters,
        row.searches,
    )


def pieces(used: Used) -> list[str]:
    """What is not tokens: `2 images`, `14 seconds of audio`."""
    return [_counted(n, noun) for name, noun in _PIECES if (n := getattr(used, name))]


def _counted(n: int, noun: str) -> str:
    if n == 1:
        return f"1 {noun}"
    head, _, rest = noun.partition(" ")
    plural = f"{head}es" if head.endswith("ch") else f"{head}s"
    return f"{formatting.tokens(n)} {plural} {rest}".rstrip()


def token_words(used: Used) -> str:
    """`7 tokens in, 20 out`, `1 token in`; "" where no token was counted."""
    sides = [(n, side) for n, side in ((used.tokens_in, "in"), (used.tokens_out, "out")) if n]
    if not sides:
        return ""
    (first, side), *rest = sides
    return ", ".join(
        [f"{_counted(first, 'token')} {side}", *(f"{formatting.tokens(n)} {s}" for n, s in rest)]
    )


def words(used: Used) -> Sequence[str]:
    """All that was used, pieces first. Empty where nothing was, or nothing is known."""
    tokens = token_words(used)
    return [*pieces(used), *([tokens] if tokens else [])]
