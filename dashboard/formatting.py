"""How numbers are written on every page: one rule per kind, so that a figure reads alike everywhere."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal

EMPTY = "–"  # shown only beside words that say why there is nothing
_THIN = "\N{NARROW NO-BREAK SPACE}"
_MINUS = "\N{MINUS SIGN}"
_SCALES = ((999_500_000, "B"), (999_500, "M"), (10_000, "k"))  # from where it is rounded up
_DIVISORS = {"B": 1_000_000_000, "M": 1_000_000, "k": 1_000}


def money(amount: Decimal | None) -> str:
    """Cents from one dollar up, four decimals below it, three significant digits below a cent."""
    if amount is None:
        return EMPTY
    return _signed(amount, "$" + _money_digits(abs(amount)))


def _money_digits(size: Decimal) -> str:
    if size == 0 or size >= 1:
        return f"{size.quantize(Decimal('0.01'), ROUND_HALF_EVEN):,}"
    if size >= Decimal("0.01"):
        return f"{size.quantize(Decimal('0.0001'), ROUND_HALF_EVEN):f}"
    places = -size.adjusted() + 2
    return f"{size.quantize(Decimal(1).scaleb(-places), ROUND_HALF_EVEN):f}"


def money_cents(amount: Decimal) -> str:
    """For columns of a bill: two decimals, and words for what is not nothing but below a cent."""
    if 0 < abs(amount) < Decimal("0.005"):
        return "under $0.01"
    return _signed(amount, f"${abs(amount).quantize(Decimal('0.01'), ROUND_HALF_EVEN):,}")


def money_exact(amount: Decimal | None) -> str:
    """Every digit that is stored, never fewer than two decimals: for receipts."""
    if amount is None:
        return EMPTY
    plain = f"{abs(amount).normalize():f}"
    whole, _, decimals = plain.partition(".")
    return _signed(amount, f"${int(whole):,}.{decimals.ljust(2, '0')}")


def unit_price(amount: Decimal | None) -> str:
    """A list price, as providers print it: `$0.15`, `$0.0375`, `$12.00`."""
    return money_exact(amount)


def _signed(amount: Decimal, text: str) -> str:
    return f"{_MINUS}{text}" if amount < 0 else text


def count(n: int | None) -> str:
    return EMPTY if n is None else f"{n:,}"


def counted(n: int, noun: str) -> str:
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def tokens(n: int | None) -> str:
    """Exact below 10,000, then three significant digits with k, M or B."""
    if n is None:
        return EMPTY
    for floor, letter in _SCALES:
        if n >= floor:
            return f"{_three_digits(n / _DIVISORS[letter])}{letter}"
    return f"{n:,}"


def _three_digits(value: float) -> str:
    if value >= 99.95:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 9.995 else f"{value:.2f}"


def duration(ms: float | None) -> str:
    if ms is None:
        return EMPTY
    if ms < 0:
        return _MINUS + duration(-ms)
    if ms < 10:
        return f"{ms:.1f}{_THIN}ms"
    if ms < 999.5:
        return f"{ms:.0f}{_THIN}ms"
    seconds = ms / 1000
    if seconds < 59.95:
        return f"{_three_digits(seconds)}{_THIN}s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}{_THIN}min {rest}{_THIN}s"


def speed(tps: float | None) -> str:
    return EMPTY if tps is None else f"{_three_digits(tps)}{_THIN}tok/s"


def percent(part: float | None, decimals: int = 1) -> str:
    """`part` is 0..1. Never rounds up to 100 or down to 0 what is not exactly that."""
    if part is None:
        return EMPTY
    if part in (0, 1):
        return f"{part * 100:.0f}%"
    step = 10.0**-decimals
    shown = min(max(part * 100, step), 100 - step)
    return f"{shown:.{decimals}f}%"


def percent_range(low: float, high: float) -> str:
    return f"{low * 100:.1f}\N{EN DASH}{high * 100:.1f}%"


def duration_range(low_ms: float, high_ms: float) -> str:
    return _range(duration(low_ms), duration(high_ms))


def speed_range(low_tps: float, high_tps: float) -> str:
    return _range(speed(low_tps), speed(high_tps))


def _range(low: str, high: str) -> str:
    """`310–420 ms` rather than `310 ms–420 ms` where the unit is the same."""
    number, _, unit = low.partition(_THIN)
    if unit and high.endswith(_THIN + unit) and _THIN not in unit:
        return f"{number}\N{EN DASH}{high}"
    return f"{low}\N{EN DASH}{high}"


def context_window(n: int | None) -> str:
    """Windows are named in powers of two or ten by their makers: `128k`, `131k`, `1M`."""
    if n is None:
        return EMPTY
    if n >= 1_000_000:
        return f"{n / 1_000_000:.2f}".rstrip("0").rstrip(".") + "M"
    return f"{n / 1000:.0f}k" if n >= 1000 else str(n)
