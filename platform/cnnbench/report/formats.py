"""Numbers and names as a reader sees them: English, three significant digits, SI prefixes."""

import json
import math
import re
import unicodedata
from collections.abc import Iterable, Sequence

NARROW_SPACE = "\u202f"
MINUS = "\u2212"
DASH = "\u2013"
_PREFIXES = ("", "k", "M", "G", "T", "P")


def count(value: float | None) -> str:
    """1814073 → '1.81 M'; None → an en dash."""
    if value is None:
        return DASH
    if abs(value) < 1000:
        return f"{value:.3g}"
    power = min(int(math.log10(abs(value)) // 3), len(_PREFIXES) - 1)
    scaled = float(f"{value / 1000**power:.3g}")
    if scaled >= 1000 and power + 1 < len(_PREFIXES):  # 999,999 is 1.00 M, not 1e+03 k
        scaled, power = scaled / 1000, power + 1
    return f"{_three_digits(scaled)}{NARROW_SPACE}{_PREFIXES[power]}"


def round_count(value: float) -> str:
    """``count`` for a tick: 2000000 → '2 M'."""
    return re.sub(r"\.?0+(?![\d.])", "", text) if "." in (text := count(value)) else text


def duration(seconds: float | None) -> str:
    """95.2 → '95.2 s', 400 → '6.67 min', 9000 → '2.50 h'."""
    if seconds is None:
        return DASH
    for unit, size, limit in (("s", 1, 120), ("min", 60, 7200)):
        if seconds < limit:
            return f"{_three_digits(seconds / size)}{NARROW_SPACE}{unit}"
    return f"{_three_digits(seconds / 3600)}{NARROW_SPACE}h"


def points(fraction: float | None, digits: int = 2) -> str:
    """A share of one in percent, without the sign: 0.98931 → '98.93'."""
    return DASH if fraction is None else f"{100 * fraction:.{digits}f}".replace("-", MINUS)


def share(part: float, whole: float) -> str:
    """How much ``part`` is of ``whole``: '3 %', or '0.05 %' where that would round to nothing."""
    percent = 100 * part / whole
    return f"{percent:.0f}{NARROW_SPACE}%" if percent >= 1 else f"{percent:.1g}{NARROW_SPACE}%"


def value(thing: object) -> str:
    """A configuration's value as its study file would have it: 0.0012, true, null, mish."""
    if isinstance(thing, float):
        return f"{thing:.4g}"
    return thing if isinstance(thing, str) else json.dumps(thing, ensure_ascii=False, default=str)


def listed(names: Sequence[str], most: int = 3) -> str:
    """'a', 'a and b', 'a, b and c', 'a, b, c and 4 more'."""
    shown = list(names) if len(names) <= most else [*names[:most], f"{len(names) - most} more"]
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"


def tally(values: Iterable[str]) -> str:
    """The distinct values, each with how often it occurs where there are several: 'fp32 (12), bf16 (4)'."""
    counts: dict[str, int] = {}
    for each in values:
        counts[each] = counts.get(each, 0) + 1
    if len(counts) == 1:
        return next(iter(counts))
    return ", ".join(f"{each} ({number})" for each, number in counts.items()) or DASH


def visible(name: str, most: int = 400) -> str:
    """``name`` with control and text-direction characters made visible, and cut to ``most`` characters."""
    shown = "".join(
        "\ufffd" if unicodedata.category(character) in ("Cc", "Cf", "Cs") else character for character in name
    )
    return shown if len(shown) <= most else shown[: most - 1] + "…"


def spreadsheet(cell: object) -> object:
    """A CSV cell that no spreadsheet takes for a formula: a text that begins like one gets an apostrophe before it. A
    carriage return, which the writer leaves unquoted and readers take for a new line, becomes a space."""
    if not isinstance(cell, str):
        return cell
    return ("'" if cell.startswith(("=", "+", "-", "@", "\t", "\r")) else "") + cell.replace("\r", " ")


def without_secrets(text: str) -> str:
    """``text`` without user:password in a URI, without its query, and without the folders above an absolute path."""
    text = re.sub(r"(?<=://)[^/@\s]*@", "", text)
    if "://" in text and not text.startswith(("file:", "sqlite:")):
        return text.partition("?")[0]
    text = re.sub(r"^(file|sqlite):/*", r"\1:/", text.partition("?")[0]) if "://" in text else text
    return re.sub(r"(^|(?<=:))[/~].*/(?=[^/]+/?$)", "…/", text)


def _three_digits(number: float) -> str:
    return f"{number:.{max(0, 2 - int(math.log10(abs(number))))}f}" if abs(number) >= 1 else f"{number:.2g}"
