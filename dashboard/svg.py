"""Small drawings made on the server: they print, need no script, and cost a few hundred bytes.

Sizes are in CSS pixels. Colours come from style sheet classes, so both themes work. All of them
are decorative: the same figures stand beside them as text.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

WHISKER_WIDTH, WHISKER_HEIGHT = 96, 14
SPARK_WIDTH, SPARK_HEIGHT = 120, 32
_DOT_RADIUS = 3.0
_NOTHING = SafeString("")


def whisker(value: float, low: float | None, high: float | None, most: float) -> SafeString:
    """A dot at `value` and its interval, on an axis from 0 to `most` that a column shares."""
    middle = WHISKER_HEIGHT / 2
    interval = _NOTHING
    if low is not None and high is not None:
        interval = format_html(
            '<line class="w-range" x1="{}" x2="{}" y1="{}" y2="{}"/>',
            _whisker_x(low, most),
            _whisker_x(high, most),
            middle,
            middle,
        )
    return format_html(
        '<svg class="whisker" width="{w}" height="{h}" viewBox="0 0 {w} {h}" aria-hidden="true">'
        '<line class="w-axis" x1="0" x2="{w}" y1="{m}" y2="{m}"/>{interval}'
        '<circle class="w-dot" cx="{x}" cy="{m}" r="{r}"/></svg>',
        w=WHISKER_WIDTH,
        h=WHISKER_HEIGHT,
        m=middle,
        interval=interval,
        x=_whisker_x(value, most),
        r=_DOT_RADIUS,
    )


def _whisker_x(at: float, most: float) -> str:
    inner = WHISKER_WIDTH - 2 * _DOT_RADIUS
    return f"{_DOT_RADIUS + inner * _share(at, most):.1f}"


def _share(part: float, whole: float) -> float:
    return min(max(part / whole, 0.0), 1.0) if whole > 0 else 0.0


Point = tuple[float, float]


def sparkline(values: Sequence[float | None]) -> SafeString:
    """A line over equal steps, broken where a value is missing. Nothing below two values."""
    if sum(value is not None for value in values) < 2:
        return _NOTHING
    runs = list(_runs(_spark_points(values)))
    return format_html(
        '<svg class="spark" viewBox="0 0 {w} {h}" preserveAspectRatio="none" aria-hidden="true">'
        '<path class="s-area" d="{area}"/><path class="s-line" d="{line}"/></svg>',
        w=SPARK_WIDTH,
        h=SPARK_HEIGHT,
        area=" ".join(f"{_path(_closed(run))}Z" for run in runs),
        line=" ".join(map(_path, runs)),
    )


def _spark_points(values: Sequence[float | None]) -> Iterator[Point | None]:
    known = [value for value in values if value is not None]
    low = min(0.0, *known)
    span = (max(known) - low) or 1.0
    step = SPARK_WIDTH / (len(values) - 1)
    top, bottom = 2.0, SPARK_HEIGHT - 2.0
    for index, value in enumerate(values):
        if value is None:
            yield None
        else:
            yield index * step, bottom - (value - low) / span * (bottom - top)


def _runs(points: Iterator[Point | None]) -> Iterator[list[Point]]:
    run: list[Point] = []
    for point in points:
        if point is not None:
            run.append(point)
        elif run:
            yield run
            run = []
    if run:
        yield run


def _closed(run: list[Point]) -> list[Point]:
    return [(run[0][0], SPARK_HEIGHT), *run, (run[-1][0], SPARK_HEIGHT)]


def _path(points: Sequence[Point]) -> str:
    if len(points) == 1:  # a lone value still shows as a dash
        x, y = points[0]
        return f"M{max(x - 1, 0):.1f},{y:.1f}H{x + 1:.1f}"
    return "M" + "L".join(f"{x:.1f},{y:.1f}" for x, y in points)


def bar(part: float, whole: float, css_class: str = "") -> SafeString:
    """A share of a whole, as wide as its cell."""
    return format_html(
        '<svg class="bar {}" viewBox="0 0 100 4" preserveAspectRatio="none" aria-hidden="true">'
        '<rect class="b-track" width="100" height="4"/>'
        '<rect class="b-fill" width="{}" height="4"/></svg>',
        css_class,
        f"{_share(part, whole) * 100:.2f}",
    )


Segment = tuple[str, float, float]  # css class, start and length as shares 0..1


def segments(parts: Sequence[Segment]) -> SafeString:
    """Stretches of time on one line, for the attempts of a request."""
    drawn = format_html_join(
        "",
        '<rect class="seg {}" x="{}" y="0" width="{}" height="12"/>',
        (
            (css_class, f"{start * 100:.3f}", f"{max(length * 100, 0.25):.3f}")
            for css_class, start, length in parts
        ),
    )
    return format_html(
        '<svg class="segments" viewBox="0 0 100 12" preserveAspectRatio="none" aria-hidden="true">'
        "{}</svg>",
        drawn,
    )


# 24 x 24, stroked with the text colour.
_ICONS = {
    "overview": '<path d="M4 13h6V4H4zM14 20h6v-9h-6zM4 20h6v-4H4zM14 8h6V4h-6z"/>',
    "requests": '<path d="M4 6h16M4 12h16M4 18h10"/>',
    "batches": '<path d="M8 3h12v13M4 7h12v14H4zM7.5 12h5M7.5 16h5"/>',
    "models": '<path d="m12 3 8 4.5v9L12 21l-8-4.5v-9zM4 7.5l8 4.5 8-4.5M12 12v9"/>',
    "providers": '<path d="M4 4h16v7H4zM4 13h16v7H4zM8 7.5h.01M8 16.5h.01"/>',
    "policies": '<path d="M6 4v9a4 4 0 0 0 4 4h10M6 9h14M16 5l4 4-4 4M16 13l4 4-4 4"/>',
    "compare": '<path d="M12 3v18M4 8h4M4 12h4M4 16h4M16 8h4M16 12h4M16 16h4"/>',
    "spend": '<path d="M6 3h12v18l-3-2-3 2-3-2-3 2zM9 8h6M9 12h6"/>',
    "playground": '<path d="M4 5h7v14H4zM13 5h7v14h-7zM6.5 9h2M15.5 9h2M6.5 12h2M15.5 12h2"/>',
    "keys": '<path d="M14.5 9.5a4.5 4.5 0 1 0-3.6 4.4L13 16h2v2h2v2h3v-3.5z"/><path d="M7 9h.01"/>',
    "docs": '<path d="M5 4h9l5 5v11H5zM14 4v5h5M8 13h8M8 16.5h5"/>',
    "admin": '<path d="M4 7h9M17 7h3M4 17h3M11 17h9"/><circle cx="15" cy="7" r="2"/>'
    '<circle cx="9" cy="17" r="2"/>',
    "theme": '<circle cx="12" cy="12" r="8"/><path d="M12 4v16a8 8 0 0 0 0-16z" class="solid"/>',
    "menu": '<path d="M4 7h16M4 12h16M4 17h16"/>',
    "close": '<path d="m6 6 12 12M18 6 6 18"/>',
    "search": '<circle cx="11" cy="11" r="6"/><path d="m20 20-4.5-4.5"/>',
    "why": '<circle cx="12" cy="12" r="8.5"/><path d="M12 11v5M12 8h.01"/>',
    "check": '<path d="m5 12.5 4.5 4.5L19 7.5"/>',
    "warn": '<path d="M12 4 3 19.5h18zM12 10v4M12 17h.01"/>',
    "copy": '<path d="M9 9h11v11H9zM5 15H4V4h11v1"/>',
    "next": '<path d="m9 5 7 7-7 7"/>',
    "previous": '<path d="m15 5-7 7 7 7"/>',
    "up": '<path d="m6 14 6-6 6 6"/>',
    "down": '<path d="m6 10 6 6 6-6"/>',
    "external": '<path d="M10 5H5v14h14v-5M14 4h6v6M20 4l-9 9"/>',
    "logout": '<path d="M14 4H5v16h9M10 12h11M17 8l4 4-4 4"/>',
    "simulated": '<path d="M9 3h6M10 3v6l-5.5 9.5A1.7 1.7 0 0 0 6 21h12a1.7 1.7 0 0 0 1.5-2.5L14 9V3'
    'M7.5 15h9"/>',
    "play": '<path d="M7 4.5 19 12 7 19.5z"/>',
    "stop": '<path d="M6 6h12v12H6z"/>',
    "download": '<path d="M12 4v11M7 11l5 5 5-5M4 20h16"/>',
    "plus": '<path d="M12 5v14M5 12h14"/>',
    "change": '<path d="M4 16l5-5 4 4 7-8M15 7h5v5"/>',
}


def icon(name: str) -> SafeString:
    """Raises KeyError for a name that is not drawn: a template's slip, seen by any test of it."""
    return SafeString(
        '<svg class="icon" viewBox="0 0 24 24" aria-hidden="true" focusable="false">'
        f"{_ICONS[name]}</svg>"
    )


# The mark: one feed spread over circuits.
LOGO = SafeString(
    '<svg class="logo" viewBox="0 0 24 24" aria-hidden="true" focusable="false">'
    '<rect x="2.5" y="2.5" width="19" height="19" rx="5" class="logo-plate"/>'
    '<path d="M7 12h3M10 7v10M10 7h3.5M10 12h3.5M10 17h3.5" class="logo-wire"/>'
    '<circle cx="16" cy="7" r="1.6" class="logo-lamp"/><circle cx="16" cy="12" r="1.6" class="logo-lamp"/>'
    '<circle cx="16" cy="17" r="1.6" class="logo-lamp"/></svg>'
)
