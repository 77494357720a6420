"""The kinds of models. A model has one; it says what is asked of it, and at which path."""

from __future__ import annotations

import msgspec

from routing.core.catalog import Model, Snapshot
from routing.core.errors import HubError


class Kind(msgspec.Struct, frozen=True):
    name: str  # as the catalog and requests say it
    noun: str  # "an embedding model"
    path: str  # where clients ask for it
    surface: str  # as the log says it


CHAT = "chat"
EMBEDDING = "embedding"
RERANK = "rerank"
IMAGE = "image"
TRANSCRIPTION = "transcription"
SPEECH = "speech"

KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind(CHAT, "a chat model", "/v1/chat/completions", "chat"),
        Kind(EMBEDDING, "an embedding model", "/v1/embeddings", "embeddings"),
        Kind(RERANK, "a reranking model", "/v1/rerank", "rerank"),
        Kind(IMAGE, "an image model", "/v1/images/generations", "images"),
        Kind(
            TRANSCRIPTION,
            "a transcription model",
            "/v1/audio/transcriptions",
            "transcriptions",
        ),
        Kind(SPEECH, "a speech model", "/v1/audio/speech", "speech"),
    )
}
KIND_NAMES = frozenset(KINDS)
# What the hub asks by itself to measure it. The others would cost too much: a picture, some sound.
PROBED = frozenset({CHAT, EMBEDDING, RERANK})

# What else may be asked of models of a kind: it has a path and a name in the log of its own.
TRANSLATION = "translation"
_TASKS = {
    TRANSLATION: Kind(
        TRANSLATION, KINDS[TRANSCRIPTION].noun, "/v1/audio/translations", "translations"
    )
}
_MODEL_KINDS = {TRANSLATION: TRANSCRIPTION}
ASKED: dict[str, Kind] = {**KINDS, **_TASKS}


def model_kind(asked: str) -> str:
    """The kind of model that answers what is asked."""
    return _MODEL_KINDS.get(asked, asked)


def check_kind(model_name: str, wanted: str, snapshot: Snapshot, param: str = "model") -> None:
    """`model_name` is a canonical name. Raises HubError 400 naming the path that serves it."""
    model = snapshot.models.get(model_name)
    if model is not None and model.kind != wanted and model.kind != model_kind(wanted):
        raise wrong_kind(model, wanted, param)


def wrong_kind(model: Model, wanted: str, param: str = "model") -> HubError:
    found, asked = KINDS[model.kind], ASKED[wanted]
    return HubError(
        400,
        "wrong_endpoint",
        f"{model.name} is {found.noun}, and {asked.path} takes {_plural(asked)}. "
        f"Send this to POST {found.path}, or choose another model",
        param=param,
        should_retry=False,
        detail={"kind": found.name, "path": found.path},
    )


def _plural(kind: Kind) -> str:
    return kind.noun.split(" ", 1)[1] + "s"
