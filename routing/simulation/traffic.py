"""The requests of the hour, and the luck that each would have at each provider.

Every way to choose meets the same requests with the same luck, so that differences are its own.
"""

from __future__ import annotations

from random import Random

import msgspec

from routing.core.request import RequestFacts
from routing.simulation.script import MODEL, Script

MEAN_LOG_INPUT, SPREAD_INPUT = 6.6, 0.9  # a median of 735 tokens when a conversation begins
MEAN_LOG_QUESTION, SPREAD_QUESTION = 4.0, 0.6  # 55 tokens, beside the answer before it
MEAN_LOG_OUTPUT, SPREAD_OUTPUT = 5.7, 0.6  # 299 tokens
MOST_TOKENS = 60_000


class Luck(msgspec.Struct, frozen=True):
    ttft: float  # standard normal
    speed: float  # standard normal
    failure: float  # 0..1


class Request(msgspec.Struct, frozen=True):
    number: int
    at_s: float  # since the start of the hour
    process: int
    facts: RequestFacts
    output_tokens: int  # what the answer will have
    luck: tuple[Luck, ...]  # by persona
    known_tokens: int = 0  # of the input, that the conversation's last request had already


class _Conversation:
    """Each request sends all that was said before."""

    __slots__ = ("name", "tokens")

    def __init__(self, name: str) -> None:
        self.name = name
        self.tokens = 0


def requests_of(script: Script, seed: int) -> list[Request]:
    rng = Random(f"traffic {seed}")
    found: list[Request] = []
    running = [_Conversation(f"c0-{n}") for n in range(script.conversations)]
    at_s = rng.expovariate(script.requests_per_s)
    while at_s < script.duration_s:
        place = rng.randrange(len(running))
        if rng.random() < 1.0 / script.turns:
            running[place] = _Conversation(f"c{len(found) + 1}-{place}")
        found.append(_request(len(found), at_s, running[place], script, rng))
        at_s += rng.expovariate(script.requests_per_s)
    return found


def luck_from(rng: Random) -> Luck:
    return Luck(rng.gauss(), rng.gauss(), rng.random())


def _request(
    number: int, at_s: float, conversation: _Conversation, script: Script, rng: Random
) -> Request:
    known_tokens = conversation.tokens
    if known_tokens:
        input_tokens = known_tokens + _tokens(rng, MEAN_LOG_QUESTION, SPREAD_QUESTION)
    else:
        input_tokens = _tokens(rng, MEAN_LOG_INPUT, SPREAD_INPUT)
    output_tokens = _tokens(rng, MEAN_LOG_OUTPUT, SPREAD_OUTPUT)
    conversation.tokens = min(input_tokens + output_tokens, MOST_TOKENS)
    return Request(
        number=number,
        at_s=at_s,
        process=rng.randrange(script.processes),
        facts=RequestFacts(
            requested_model=MODEL,
            model=MODEL,
            input_tokens=input_tokens,
            stream=True,
            conversation=conversation.name,
            key_id=1,
        ),
        output_tokens=output_tokens,
        luck=tuple([luck_from(rng) for _ in script.personas]),
        known_tokens=min(known_tokens, input_tokens),
    )


def _tokens(rng: Random, mean_log: float, spread: float) -> int:
    return min(max(int(rng.lognormvariate(mean_log, spread)), 1), MOST_TOKENS)
