"""What the gateway shall reach beside others measured in the same run, and whether it does."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from bench.figures import GATEWAY, Table
from bench.forms import FORMS

Tables = Mapping[str, Table]  # by stage

FIRST, COMPLETE, FURTHER = "first", "complete", "further"
TITLES = {
    FIRST: "first aims (the hub runs)",
    COMPLETE: "aims of the complete gateway",
    FURTHER: "the complete gateway's shares of CPU per request, in the other stages",
}


class Rule(msgspec.Struct, frozen=True):
    """Our figure of a stage, as a share of the peer's."""

    list: str
    stage: str
    field: str
    peer: str
    text: str
    limit: float


class Aim(msgspec.Struct, frozen=True):
    form: str
    list: str
    text: str
    value: float
    limit: float
    unit: str = ""  # "" is a ratio
    note: str = ""

    @property
    def met(self) -> bool:
        return self.value <= self.limit


_CPU, _CHUNK, _ADDED = "cpu_us_per_request", "cpu_us_per_chunk", "added_p50_us"
_PEERS = (("litellm", "LiteLLM's", 1 / 60, 1 / 100), ("portkey", "Portkey's", 1 / 12, 1 / 20))
_FURTHER_STAGES = (("prompts-100k", "prompts of 100 KB"), ("claude", "Anthropic upstream"))

RULES = (
    *(
        Rule(FIRST, "throughput", _CPU, peer, f"CPU per request beside {whose}", first)
        for peer, whose, first, _ in _PEERS
    ),
    Rule(FIRST, "latency", _ADDED, "nginx", "added latency p50 beside nginx's", 4.0),
    Rule(FIRST, "streams-500", _CHUNK, "nginx", "CPU per chunk at 500 streams, to nginx's", 2.5),
    *(
        Rule(COMPLETE, "throughput", _CPU, peer, f"CPU per request beside {whose}", complete)
        for peer, whose, _, complete in _PEERS
    ),
    Rule(COMPLETE, "latency", _ADDED, "nginx", "added latency p50 beside nginx's", 2.5),
    Rule(
        COMPLETE, "streams-1000", _CHUNK, "nginx", "CPU per chunk at 1,000 streams, to nginx's", 1.8
    ),
    *(
        Rule(FURTHER, stage, _CPU, peer, f"{what}: CPU per request beside {whose}", complete)
        for stage, what in _FURTHER_STAGES
        for peer, whose, _, complete in _PEERS
    ),
)
MEMORY_STAGE = "streams-1000"
MOST_MEMORY_MB = 90.0


def aims(tables: Tables) -> list[Aim]:
    """Of both forms, and only those whose figures were measured in this run."""
    return [aim for form in FORMS for aim in _aims_of(form, tables)]


def _aims_of(form: str, tables: Tables) -> list[Aim]:
    ratios = [aim for rule in RULES if (aim := _ratio(rule, form, tables)) is not None]
    memory = _memory(form, tables)
    return [*ratios, memory] if memory is not None else ratios


def _ratio(rule: Rule, form: str, tables: Tables) -> Aim | None:
    table = tables.get(rule.stage, {})
    ours = getattr(table.get(form), rule.field, None)
    theirs = getattr(table.get(rule.peer), rule.field, None)
    if ours is None or not theirs:
        return None
    return Aim(form, rule.list, rule.text, ours / theirs, rule.limit)


def _memory(form: str, tables: Tables) -> Aim | None:
    """The aim is the gateway's own process; the recorder serves all gateways of a host."""
    ours = tables.get(MEMORY_STAGE, {}).get(form)
    if ours is None or ours.memory_mb is None:
        return None
    return Aim(
        form,
        COMPLETE,
        "memory of the gateway process at 1,000 streams",
        ours.memory_mb_by_part[GATEWAY],
        MOST_MEMORY_MB,
        unit="MB",
        note=f"gateway + recorder: {ours.memory_mb:,.0f} MB",
    )
