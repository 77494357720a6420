"""Every cell, asked of a live hub: what happens is what the matrix says."""

from __future__ import annotations

import json
import traceback
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import httpx

from tests.matrix.exchange import Exchange, Refusal, Upstream
from tests.matrix.features import FEATURES, Feature
from tests.matrix.surfaces import SURFACES, Surface
from tests.support.running_hub import ROOT

AT_ONCE = 8
CATALOG = ROOT / "routing" / "catalog" / "data"
WORKS, REFUSED, NOT_OFFERED, BROKEN = (
    "works",
    "refused clearly",
    "not offered by provider",
    "broken",
)


@dataclass(frozen=True)
class Dialect:
    """An upstream dialect, by a provider that speaks it and models there."""

    title: str
    plain: Upstream
    thinking: Upstream
    breakable: tuple[str, ...]  # models, one for each surface, so that no breaker opens
    more: frozenset[str] = frozenset()  # what the catalog has no capability for


DIALECTS = (
    Dialect(
        "OpenAI",
        Upstream("openai", "openai/gpt-4.1-mini"),
        Upstream("together", "deepseek-ai/DeepSeek-V4-Pro-0813"),
        ("openai/gpt-4.1", "openai/gpt-4.1-mini", "openai/gpt-4o", "openai/gpt-4o-mini"),
        frozenset({"end_user", "one_call_at_most", "web_search"}),
    ),
    Dialect(
        "Anthropic",
        Upstream("anthropic", "anthropic/claude-haiku-5-5"),
        Upstream("anthropic", "anthropic/claude-haiku-5-5"),
        (
            "anthropic/claude-haiku-5-5",
            "anthropic/claude-haiku-4-5",
            "anthropic/claude-sonnet-4-6",
            "anthropic/claude-sonnet-5-5",
        ),
        frozenset({"end_user", "one_call_at_most", "web_search"}),
    ),
    Dialect(
        "Gemini",
        Upstream("gemini", "google/gemini-3.8-flash"),
        Upstream("gemini", "google/gemini-3.8-flash"),
        (
            "google/gemini-3.8-flash",
            "google/gemini-3.5-flash-lite",
            "google/gemini-2.5-flash",
            "google/gemini-4-argon",
        ),
        frozenset({"web_search"}),
    ),
)


@dataclass(frozen=True)
class Cell:
    surface: Surface
    dialect: Dialect
    feature: Feature

    @property
    def upstream(self) -> Upstream:
        if self.feature.faulty:
            model = self.dialect.breakable[SURFACES.index(self.surface)]
            return Upstream(self.dialect.plain.provider, model)
        return self.dialect.thinking if self.feature.needs == "reasoning" else self.dialect.plain

    @property
    def is_offered(self) -> bool:
        needs = self.feature.needs
        return (
            not needs
            or needs in self.dialect.more
            or needs in capabilities(self.upstream.provider, self.upstream.model)
        )


@dataclass(frozen=True)
class Observed:
    cell: Cell
    state: str
    why: str = ""  # of what is not there: how it was refused; of what is broken: the proof's words


def cells() -> Iterator[Cell]:
    for feature in FEATURES:
        for surface in SURFACES:
            for dialect in DIALECTS:
                yield Cell(surface, dialect, feature)


@cache
def capabilities(provider: str, model: str) -> frozenset[str]:
    document = json.loads(Path(CATALOG / f"endpoints-{provider}.json").read_text())
    rows = [row for row in document["endpoints"] if row["model"] == model]
    return frozenset(rows[0].get("capabilities", ()))


@dataclass(frozen=True)
class Observer:
    http: httpx.Client
    control: httpx.Client

    def observe_all(self, wanted: Iterable[Cell]) -> list[Observed]:
        """In the order of the matrix. Those that break a provider come one by one, at the end."""
        asked = list(wanted)
        self.control.post("/_control/requests", json={"keep": True}).raise_for_status()
        with ThreadPoolExecutor(AT_ONCE) as pool:
            calm = [cell for cell in asked if not cell.feature.faulty]
            found = {id(seen.cell): seen for seen in pool.map(self.observe, calm)}
        for cell in asked:
            if cell.feature.faulty:
                found[id(cell)] = self.observe(cell)
        self.control.post("/_control/requests", json={"keep": False}).raise_for_status()
        return [found[id(cell)] for cell in asked]

    def observe(self, cell: Cell) -> Observed:
        exchange = Exchange(self.http, self.control, cell.surface, cell.upstream)
        try:
            cell.feature.prove(exchange, cell.feature.asked)
        except Refusal as refusal:
            return _judged(cell, refusal)
        except Exception:
            if not self._is_left_out(exchange, cell):
                return Observed(cell, BROKEN, traceback.format_exc(limit=-3))
        if self._is_left_out(exchange, cell):
            return self._strictly(exchange, cell)
        return Observed(cell, WORKS)

    def _is_left_out(self, exchange: Exchange, cell: Cell) -> bool:
        return any(name.partition(".")[0] in exchange.dropped for name in cell.feature.fields)

    def _strictly(self, lenient: Exchange, cell: Cell) -> Observed:
        """What is left out with a word in a header has to be refused where it is required."""
        try:
            replace(lenient, strict=True, dropped=set()).ask(cell.feature.asked)
        except Refusal as refusal:
            judged = _judged(cell, refusal)
            return replace(judged, why=f"left out and named; if required, {judged.why}")
        return Observed(cell, BROKEN, f"required, and still left out: {lenient.dropped}")


def _judged(cell: Cell, refusal: Refusal) -> Observed:
    """A refusal is clear when it is the client's error and says what it is about."""
    names = filter(None, (*cell.feature.fields, cell.feature.needs))
    is_about = any(name in refusal.text for name in names)
    is_clear = 400 <= refusal.status < 500 and refusal.code and is_about
    if not is_clear:
        return Observed(cell, BROKEN, f"not clear about {cell.feature.fields}: {refusal}")
    state = REFUSED if cell.is_offered else NOT_OFFERED
    return Observed(cell, state, f"{refusal.status} {refusal.code}")
