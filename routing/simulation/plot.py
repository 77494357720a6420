"""The hour as one SVG picture: what each way costs and how long it waits, and who was asked when."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from html import escape
from math import ceil, floor, log10

from routing.simulation.contest import Result
from routing.simulation.script import Script, Span

WIDTH, SCATTER_HEIGHT, BAND_HEIGHT = 880, 330, 170
LEFT, RIGHT, TOP, GAP = 70, 130, 40, 58
SLICES = 60
COLORS = ("#8a8f98", "#2a78d6", "#eb6834", "#1baf7a", "#8d5ad1")  # by persona
INK, FAINT, GRID, PAPER = "#1c2430", "#5b6470", "#e3e6ea", "#ffffff"
SHOWN_OVER_TIME = ("balanced", "slo-cheapest")


def picture(script: Script, results: Sequence[Result]) -> str:
    shown = [one for one in results if one.name in SHOWN_OVER_TIME]
    height = TOP + SCATTER_HEIGHT + len(shown) * (BAND_HEIGHT + GAP) + 20
    parts = [_scatter(results)]
    for n, result in enumerate(shown):
        top = TOP + SCATTER_HEIGHT + GAP + n * (BAND_HEIGHT + GAP)
        parts.append(_over_time(script, result, top))
    opening = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        'font-family="system-ui, sans-serif" font-size="12" role="img" '
        'aria-label="Cost and time to first token of each way to choose, and the shares '
        'of the providers over the simulated hour">'
    )
    background = f'<rect width="{WIDTH}" height="{height}" fill="{PAPER}"/>'
    return "\n".join((opening, background, *parts, "</svg>\n"))


class _Axis:
    """A logarithmic scale with ticks at 1, 2 and 5 times powers of ten."""

    def __init__(self, values: Iterable[float], start: float, end: float) -> None:
        found = list(values)
        self.low, self.high = log10(min(found) * 0.8), log10(max(found) * 1.25)
        self.start, self.end = start, end

    def __call__(self, value: float) -> float:
        share = (log10(value) - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 1)

    def ticks(self) -> Iterator[float]:
        for power in range(floor(self.low), ceil(self.high) + 1):
            for step in (1, 2, 5):
                if self.low <= log10(step) + power <= self.high:
                    yield step * 10.0**power


def _scatter(results: Sequence[Result]) -> str:
    bottom, right = TOP + SCATTER_HEIGHT - 40, WIDTH - RIGHT
    x = _Axis((float(one.figures.cost_per_1000_usd) for one in results), LEFT, right)
    y = _Axis((one.figures.ttft_p95_ms for one in results), bottom, TOP)
    parts = [_text(LEFT, TOP - 16, "p95 time to first token (ms) by cost of 1,000 answers (USD)")]
    for tick in x.ticks():
        parts.append(_line(x(tick), TOP, x(tick), bottom))
        parts.append(_text(x(tick), bottom + 16, f"{tick:g}", "middle", FAINT))
    for tick in y.ticks():
        parts.append(_line(LEFT, y(tick), right, y(tick)))
        parts.append(_text(LEFT - 8, y(tick) + 4, f"{tick:g}", "end", FAINT))
    taken: list[tuple[float, float]] = []
    for one in results:
        at = x(float(one.figures.cost_per_1000_usd)), y(one.figures.ttft_p95_ms)
        ours = one.name in SHOWN_OVER_TIME
        parts.append(
            f'<circle cx="{at[0]}" cy="{at[1]}" r="5" fill="{COLORS[1] if ours else COLORS[0]}"/>'
        )
        below = sum(abs(at[0] - other[0]) < 60 and abs(at[1] - other[1]) < 12 for other in taken)
        parts.append(_text(at[0] + 9, at[1] + 4 + 14 * below, one.name))
        taken.append(at)
    return "\n".join(parts)


def _over_time(script: Script, result: Result, top: float) -> str:
    width = WIDTH - LEFT - RIGHT
    parts = [_text(LEFT, top - 8, f"{result.name}: whom first attempts went to, by minute")]
    lower = [0.0] * SLICES
    for place, persona in enumerate(script.personas):
        shares = _shares(script, result, place)
        upper = [below + share for below, share in zip(lower, shares, strict=True)]
        parts.append(_area(lower, upper, top, width, COLORS[place]))
        lower = upper
        label_at = top + BAND_HEIGHT - 10 - place * 18
        parts.append(_text(WIDTH - RIGHT + 12, label_at, persona.slug, color=COLORS[place]))
    for trouble, words in ((script.outage, "outage"), (script.slow_down, "slow")):
        parts.append(_span(trouble, f"{trouble.slug}: {words}", top, width))
    change = script.price_change
    x = LEFT + change.at * width
    parts.append(_line(x, top, x, top + BAND_HEIGHT, INK))
    parts.append(_text(x + 4, top + 14, f"{change.slug}: new price"))
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        minute = f"{share * script.duration_s / 60:g} min"
        parts.append(_text(LEFT + share * width, top + BAND_HEIGHT + 16, minute, "middle", FAINT))
    return "\n".join(parts)


def _shares(script: Script, result: Result, place: int) -> list[float]:
    ours, total = [0] * SLICES, [0] * SLICES
    for one in result.log.tried:
        if one.no == 1:
            part = min(int(one.started_s / script.duration_s * SLICES), SLICES - 1)
            total[part] += 1
            ours[part] += one.place == place
    return [mine / n if n else 0.0 for mine, n in zip(ours, total, strict=True)]


def _area(
    lower: Sequence[float], upper: Sequence[float], top: float, width: float, color: str
) -> str:
    step = width / (SLICES - 1)

    def points(values: Sequence[float]) -> list[str]:
        return [
            f"{LEFT + n * step:.1f},{top + BAND_HEIGHT * (1 - value):.1f}"
            for n, value in enumerate(values)
        ]

    outline = " ".join([*points(upper), *reversed(points(lower))])
    return f'<polygon points="{outline}" fill="{color}" fill-opacity="0.75"/>'


def _span(span: Span, words: str, top: float, width: float) -> str:
    x, wide = LEFT + span.start * width, (span.end - span.start) * width
    return (
        f'<rect x="{x:.1f}" y="{top}" width="{wide:.1f}" height="{BAND_HEIGHT}" fill="none" '
        f'stroke="{INK}" stroke-dasharray="4 3"/>' + _text(x + 4, top + 14, words)
    )


def _line(x1: float, y1: float, x2: float, y2: float, color: str = GRID) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{color}"/>'


def _text(x: float, y: float, words: str, anchor: str = "start", color: str = INK) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{color}">'
        f"{escape(words)}</text>"
    )
