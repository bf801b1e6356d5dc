"""Figures as people read them. A time that is not known says so, and none is ever printed as 0."""

from __future__ import annotations


def time_text(us: float | None) -> str:
    """Microseconds as `untimed`, `< 1 us`, `12.3 us`, `4.56 ms` or `7.89 s`; a signed figure keeps its sign."""
    if us is None:
        return "untimed"
    size, sign = abs(us), "-" if us < 0 else ""
    if size < 1:
        return "< 1 us"
    for limit, divisor, unit in ((999.5, 1, "us"), (999_500, 1e3, "ms"), (float("inf"), 1e6, "s")):
        if size < limit:
            return f"{sign}{_three_digits(size / divisor)} {unit}"
    raise ValueError(f"{us} is no time")


def ms_text(ms: float | None) -> str:
    """Milliseconds, as `time_text` prints them."""
    return time_text(None if ms is None else ms * 1e3)


def in_ms(us: float | None) -> str:
    """Microseconds as milliseconds whatever their size: `1,140 ms`, `4.56 ms`, `0.042 ms`."""
    if us is None:
        return "untimed"
    if abs(us) < 1:
        return "< 1 us"
    return f"{us / 1e3:.3f} ms" if abs(us) < 1e3 else f"{_three_digits(us / 1e3)} ms"


def bytes_text(size: int | None) -> str:
    """Bytes in the largest unit that leaves a number of at least 1: `400 B`, `3.06 MiB`; `unknown` for None."""
    if size is None:
        return "unknown"
    if size < 1024:
        return f"{size} B"
    amount = float(size)
    for unit in ("KiB", "MiB", "GiB"):
        amount /= 1024
        if amount < 1024 or unit == "GiB":
            return f"{_three_digits(amount)} {unit}"
    raise ValueError(f"{size} is no size")


def count_text(amount: float | None, unit: str) -> str:
    """A large count with a decimal prefix: `231 MFLOP`, `1.81 GFLOP`."""
    if amount is None:
        return "unknown"
    for divisor, prefix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if amount >= divisor:
            return f"{_three_digits(amount / divisor)} {prefix}{unit}"
    return f"{amount:.0f} {unit}"


def share_text(part: float | None, whole: float | None = 1.0) -> str:
    """`part` of `whole` in per cent: `31 %`, `< 1 %`; a dash where either is not known."""
    if part is None or not whole:
        return "-"
    percent = 100 * part / whole
    return "< 1 %" if 0 < percent < 0.5 else f"{round(percent)} %"


def _three_digits(value: float) -> str:
    return f"{value:,.0f}" if value >= 99.95 else f"{value:.1f}" if value >= 9.995 else f"{value:.2f}"
