"""What a provider consumed, in one inclusive form for all dialects.

`input_total` contains cache reads and cache writes, `output_total` contains reasoning.
`None` means the provider did not say; it is not zero.
"""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum

import msgspec


class Meter(StrEnum):
    """A priced quantity. Those of MILLION_METERS are priced per 1,000,000, the others per piece."""

    INPUT = "input"  # uncached input tokens
    CACHE_READ = "cache_read"
    CACHE_WRITE_5M = "cache_write_5m"
    CACHE_WRITE_1H = "cache_write_1h"
    OUTPUT = "output"
    REASONING = "reasoning"  # only where reasoning has a price of its own
    IMAGE = "image"
    AUDIO_SECOND = "audio_second"
    SEARCH = "search"
    REQUEST = "request"
    CHARACTER = "character"  # of a text to be spoken
    PIXEL = "pixel"  # of images made


TOKEN_METERS = frozenset(
    {
        Meter.INPUT,
        Meter.CACHE_READ,
        Meter.CACHE_WRITE_5M,
        Meter.CACHE_WRITE_1H,
        Meter.OUTPUT,
        Meter.REASONING,
    }
)

MILLION_METERS = TOKEN_METERS | {Meter.CHARACTER, Meter.PIXEL}


class UsageSource(StrEnum):
    PROVIDER = "provider"  # read from the provider's answer
    SETTLEMENT = "settlement"  # asked for afterwards, by request id
    ESTIMATED = "estimated"  # counted here, because the provider did not say


class Usage(msgspec.Struct, frozen=True, omit_defaults=True):
    """Token counts are integers; `provider_cost_usd` is what the provider says it charges."""

    input_total: int | None = None
    cache_read: int | None = None
    cache_write_5m: int | None = None
    cache_write_1h: int | None = None
    output_total: int | None = None
    reasoning: int | None = None
    images: int | None = None
    audio_seconds: int | None = None
    searches: int | None = None
    provider_cost_usd: Decimal | None = None
    source: UsageSource = UsageSource.PROVIDER
    characters: int | None = None
    pixels: int | None = None


NO_USAGE = Usage()
CHARS_PER_TOKEN = 4  # for estimates only; a provider's own count always wins


def estimated_output_tokens(chars: int) -> int:
    """Of so many characters of output, rounded up."""
    return -(-max(chars, 0) // CHARS_PER_TOKEN)
