"""OpenAI's Responses dialect, read into chat and written back out of it."""

from routing.surfaces.responses.store import (
    NO_HISTORY,
    History,
    KeptResponse,
    ResponseStore,
    ResponseTooLarge,
    Shelf,
    StoreUnavailable,
)
from routing.surfaces.responses.surface import ResponsesStream, ResponsesSurface, ResponsesVoice

__all__ = [
    "NO_HISTORY",
    "History",
    "KeptResponse",
    "ResponseStore",
    "ResponseTooLarge",
    "ResponsesStream",
    "ResponsesSurface",
    "ResponsesVoice",
    "Shelf",
    "StoreUnavailable",
]
