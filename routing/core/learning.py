"""All that a gateway process learns from its traffic, and what it tells the other processes of it."""

from __future__ import annotations

import msgspec

from routing.core.health import HealthBook
from routing.core.output_lengths import LengthSighting, OutputLengths
from routing.core.sightings import Sighting


class News(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one process learned since it last told."""

    endpoints: list[Sighting] = []
    lengths: list[LengthSighting] = []


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(News).decode


class Learning:
    """One per gateway process."""

    __slots__ = ("health", "lengths")

    def __init__(self, health: HealthBook) -> None:
        self.health = health
        self.lengths = OutputLengths()

    def tell(self, now: float) -> bytes:
        """For the other processes; b"" where nothing is new. `now` is monotonic seconds."""
        news = News(self.health.tell(now), self.lengths.tell())
        return _encode(news) if news.endpoints or news.lengths else b""

    def hear(self, data: bytes | str, now: float, age_s: float) -> None:
        """What another process told `age_s` ago. Raises msgspec.MsgspecError on what is no news."""
        news = _decode(data)
        self.health.hear([one for one in news.endpoints if one.is_sound], now, age_s)
        self.lengths.hear(news.lengths)
