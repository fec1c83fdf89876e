"""SVG elements as escaped markup, and round numbers for axes: what `plots.py` and `lineage.py` draw with."""

from __future__ import annotations

import math

from markupsafe import Markup, escape


def element(name: str, *children: str | Markup, **attributes: str | float) -> Markup:
    """One SVG (or HTML) element; text and attribute values are escaped, `Markup` children are kept.

    A trailing underscore is dropped from attribute names and the others become dashes:
    >>> element("text", "a < b", class_="label", text_anchor="end", x=1.25)
    Markup('<text class="label" text-anchor="end" x="1.25">a &lt; b</text>')
    """
    written = "".join(f' {_attribute(key)}="{escape(_value(value))}"' for key, value in attributes.items())
    inside = Markup("").join(children)
    return Markup(f"<{name}{written}>{inside}</{name}>") if inside else Markup(f"<{name}{written}/>")


def _attribute(key: str) -> str:
    return "viewBox" if key == "view_box" else key.rstrip("_").replace("_", "-")


def _value(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:.2f}".rstrip("0").rstrip(".")


def drawing(*children: Markup, width: float, height: float, label: str, kind: str = "") -> Markup:
    """The outer `<svg>`: scales with its column, is read out as one picture with that label."""
    return element(
        "svg",
        *children,
        view_box=f"0 0 {_value(width)} {_value(height)}",
        role="img",
        aria_label=label,
        class_=f"plot {kind}".strip(),
    )


def path(points: list[tuple[float, float]]) -> str:
    """Path data of an open line through the points, one decimal each."""
    return " ".join(f"{'L' if order else 'M'}{x:.1f} {y:.1f}" for order, (x, y) in enumerate(points))


def ticks(low: float, high: float, *, wanted: int = 4) -> list[float]:
    """Round numbers (1, 2, 2.5, 5 × 10ⁿ apart) that span low…high.

    >>> ticks(0.0, 83.0)
    [0.0, 25.0, 50.0, 75.0, 100.0]
    """
    span = (high - low) or abs(high) or 1.0
    rough = span / wanted
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(index * step, 10) for index in range(first, max(last, first + 1) + 1)]
