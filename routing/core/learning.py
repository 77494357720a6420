"""All that a gateway process learns from its traffic, and what it tells the other processes of it."""

from __future__ import annotations

import msgspec

from routing.core.health import HealthBook
from routing.core.kinds import CHAT
from routing.core.output_lengths import LengthSighting, OutputLengths
from routing.core.request import RequestFacts
from routing.core.sightings import Sighting
from routing.core.usage import Usage, UsageSource


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

    def expected_output(self, facts: RequestFacts, key_id: int) -> int:
        """Tokens that this key's answers of this model usually have, at most the client's cap."""
        if facts.kind != CHAT:
            return facts.output_tokens
        learned = self.lengths.expected(key_id, facts.model)
        if not learned:
            return facts.output_tokens
        most = facts.max_output_tokens
        return learned if most is None or learned < most else most

    def settle(self) -> None:
        """To be called a few times a second."""
        self.lengths.settle()

    def on_answer(
        self, endpoint_id: int, key_id: int, facts: RequestFacts, usage: Usage, now: float
    ) -> None:
        """Of an attempt that ended well. `now` is monotonic seconds."""
        if usage.source is not UsageSource.ESTIMATED:
            if usage.output_total is not None and facts.kind == CHAT:
                self.lengths.note(key_id, facts.model, usage.output_total)
            if usage.cache_read is not None and usage.input_total:
                self.health.on_input(endpoint_id, now, usage.input_total, usage.cache_read)
        if facts.conversation:
            self.health.conversations.note(facts, endpoint_id, now)

    def tell(self, now: float) -> bytes:
        """For the other processes; b"" where nothing is new. `now` is monotonic seconds."""
        news = News(self.health.tell(now), self.lengths.tell())
        return _encode(news) if news.endpoints or news.lengths else b""

    def hear(self, data: bytes | str, now: float, age_s: float) -> None:
        """What another process told `age_s` ago. Raises msgspec.MsgspecError on what is no news."""
        news = _decode(data)
        self.health.hear([one for one in news.endpoints if one.is_sound], now, age_s)
        self.lengths.hear(news.lengths)
