"""All that a gateway process learns from its traffic, and what it tells the other processes of it."""

from __future__ import annotations

from routing.core.health import HealthBook
from routing.core.kinds import CHAT
from routing.core.news import NO_NEWS, News, decode_news, encode_news
from routing.core.output_lengths import OutputLengths
from routing.core.request import RequestFacts
from routing.core.rooms import Rooms
from routing.core.turns import Turns
from routing.core.usage import Usage, UsageSource


class Learning:
    """One per gateway process."""

    __slots__ = ("_inputs", "health", "lengths", "rooms", "turns")

    def __init__(self, health: HealthBook) -> None:
        self.health = health
        self.lengths = OutputLengths()
        self.turns = Turns(health)
        self.rooms = Rooms(health)
        self._inputs: dict[int, list[int]] = {}  # tokens, and those cached, not yet settled

    def expected_output(self, facts: RequestFacts, key_id: int) -> int:
        """Tokens that this key's answers of this model usually have, at most the client's cap."""
        if facts.kind != CHAT:
            return facts.output_tokens
        learned = self.lengths.expected(key_id, facts.model)
        if not learned:
            return facts.output_tokens
        most = facts.max_output_tokens
        return learned if most is None or learned < most else most

    def settle(self, now: float) -> None:
        """Counts what was noted of answers. To be called a few times a second."""
        self.lengths.settle()
        if self._inputs:
            inputs, self._inputs = self._inputs, {}
            for endpoint_id, (tokens, cached) in inputs.items():
                self.health.on_input(endpoint_id, now, tokens, cached)

    def on_answer(
        self, endpoint_id: int, key_id: int, facts: RequestFacts, usage: Usage, now: float
    ) -> None:
        """Of an attempt that ended well. `now` is monotonic seconds."""
        if usage.source is not UsageSource.ESTIMATED:
            if usage.output_total is not None and facts.kind == CHAT:
                self.lengths.note(key_id, facts.model, usage.output_total)
            cached, tokens = usage.cache_read, usage.input_total
            if cached is not None and tokens:
                noted = self._inputs.get(endpoint_id)
                if noted is None:
                    noted = self._inputs[endpoint_id] = [0, 0]
                noted[0] += tokens
                noted[1] += min(tokens, cached)
        if facts.conversation:
            self.health.conversations.note(facts, endpoint_id, now)

    @property
    def processes(self) -> int:
        """That serve requests of late, this one included."""
        return self.turns.processes

    @property
    def is_urgent(self) -> bool:
        """The others should be told at once, and not at the next round."""
        return self.turns.has_news

    def meet(self, processes: int) -> None:
        self.turns.processes = processes

    def tell(self, now: float) -> bytes:
        """For the other processes; b"" where nothing is new. `now` is monotonic seconds."""
        self.settle(now)
        health, lengths, turns = self.health.tell(now), self.lengths.tell(), self.turns.tell(now)
        news = News(health, lengths, turns, self.rooms.tell(now))
        return encode_news(news) if news != NO_NEWS else b""

    def hear(self, data: bytes | str, now: float, age_s: float) -> None:
        """What another process told `age_s` ago. Raises msgspec.MsgspecError on what is no news."""
        news = decode_news(data)
        self.health.hear([one for one in news.endpoints if one.is_sound], now, age_s)
        self.lengths.hear(news.lengths)
        self.turns.hear(news.turns, now, age_s)
        self.rooms.hear(news.rooms, now, age_s)
