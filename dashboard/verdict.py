"""A comparison in one sentence, with the conditions it holds under.

It names a leader per figure, never an overall winner, and says so where nothing can be told apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from dashboard import formatting, list_prices
from dashboard.comparison import (
    FEWEST_SUBJECTS,
    Finding,
    Kind,
    Metric,
    SharedModel,
    Subject,
    findings,
    metrics_of,
)


@dataclass(frozen=True, slots=True)
class Verdict:
    sentence: str
    conditions: str
    leaders: frozenset[str]  # names that lead in something


def of(subjects: Sequence[Subject], shared: Sequence[SharedModel], window: str) -> Verdict:
    """One sentence with its conditions. Names a leader per figure, never an overall winner."""
    found = findings(subjects)
    clauses = [_price_clause(subjects, shared), *_measured_clauses(found, metrics_of(subjects))]
    leaders = frozenset(finding.leader for finding in found.values() if finding.leader)
    told = "; ".join(clause for clause in clauses if clause)
    sentence = _sentence(told, [subject.name for subject in subjects])
    return Verdict(sentence, _conditions(subjects, window), leaders)


def _sentence(text: str, names: Sequence[str]) -> str:
    """Begins with a capital, unless it begins with a name: `openai/gpt-oss-120b` stays so."""
    if text.startswith(tuple(names)):
        return f"{text}."
    return f"{text[:1].upper()}{text[1:]}."


def _measured_clauses(found: Mapping[str, Finding], metrics: Sequence[Metric]) -> list[str]:
    clauses, blurred, unknown = [], [], []
    for metric in metrics:
        finding = found[metric.key]
        if finding.leader and finding.gap:
            clauses.append(
                f"{finding.leader} {metric.leads} than {_than(finding)} "
                f"({metric.write_range(*finding.gap)} {metric.unit_words})"
            )
        elif finding.gap:
            blurred.append(metric.noun)
        else:
            unknown.append(metric.noun)
    if blurred:
        clauses.append(f"{_listed(blurred)} cannot be separated")
    if len(unknown) == len(metrics):
        clauses.append("too little was measured to compare anything but prices")
    elif unknown:
        clauses.append(f"too little was measured to compare {_listed(unknown)}")
    return clauses


def _than(finding: Finding) -> str:
    return finding.rival if finding.measured == FEWEST_SUBJECTS else "all others measured"


def _listed(words: Sequence[str]) -> str:
    if len(words) == 1:
        return words[0]
    return f"{', '.join(words[:-1])} and {words[-1]}"


def _price_clause(subjects: Sequence[Subject], shared: Sequence[SharedModel]) -> str:
    if all(subject.kind is Kind.PROVIDER for subject in subjects):
        return _shared_clause(subjects, shared)
    if any(subject.kind is Kind.PROVIDER for subject in subjects):
        return "prices of a provider and of a model are not like for like"
    return _entry_clause(subjects)


def _shared_clause(subjects: Sequence[Subject], shared: Sequence[SharedModel]) -> str:
    if not shared:
        return "they serve no model in common, so prices cannot be compared like for like"
    wins = [
        (sum(row.cheapest == place for row in shared), subject.name)
        for place, subject in enumerate(subjects)
    ]
    told = [f"{name} is cheapest on {n}" for n, name in sorted(wins, key=lambda win: -win[0]) if n]
    if len(shared) == 1:
        cheapest = [name for n, name in wins if n]
        found = f"is cheapest at {cheapest[0]}" if cheapest else "has no cheapest provider"
        return f"the only model in common {found}"
    rest = len(shared) - sum(n for n, _ in wins)
    if rest:
        told.append(f"{rest} cost{'s' if rest == 1 else ''} the same" if told else "all cost alike")
    return f"of {formatting.counted(len(shared), 'model')} in common, {_listed(told)}"


def _entry_clause(subjects: Sequence[Subject]) -> str:
    ranges = {subject.name: list_prices.ranges(subject.endpoints) for subject in subjects}
    without = [name for name, found in ranges.items() if not found]
    if without:
        return f"no price is known for {_listed(without)}"
    units = {found.meter for several in ranges.values() for found in several}
    if len(units) > 1:
        return "they are priced by different units, so prices cannot be compared like for like"
    return _cheapest_clause(
        subjects, {name: found[0].low for name, found in ranges.items()}, *units
    )


def _cheapest_clause(subjects: Sequence[Subject], priced: Mapping[str, Decimal], meter: str) -> str:
    ranked = sorted(priced, key=lambda name: priced[name])
    least, second = priced[ranked[0]], priced[ranked[1]]
    at_best = "" if all(s.kind is Kind.ENDPOINT for s in subjects) else " at its cheapest endpoint"
    amount = list_prices.amount_words(meter, least)
    unit = "blended" if meter == list_prices.BLENDED else list_prices.UNITS[meter].words
    if least == second:
        return f"{ranked[0]} and {ranked[1]} cost the same{at_best} ({amount} {unit})"
    saving = formatting.percent(float((second - least) / second), 0)
    return f"{ranked[0]} is cheapest{at_best} ({amount} {unit}, {saving} below {ranked[1]})"


def _conditions(subjects: Sequence[Subject], window: str) -> str:
    sizes = ", ".join(
        f"{subject.name} {subject.measurement.n if subject.measurement else 0:,}"
        for subject in subjects
    )
    writes_text = all(subject.writes_text for subject in subjects)
    blended = ", blended 3 parts input to 1 part output" if writes_text else ""
    return (
        f"List prices in force now{blended}. Measured over {window}, "
        f"traffic and probes of this hub; attempts: {sizes}."
    )
